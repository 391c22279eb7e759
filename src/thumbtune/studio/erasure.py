"""Erase a rater from what the studio keeps beside the votes: `thumbtune likes erase` calls it before it deletes those.

    blind/*/answers    the file of their answers, also of tests that have ended
    raters.json        their name, if they were added on the page: their link and cookies end
    settings.json      the label policy of their votes alone
    jobs               the policy `rater:NAME` in arguments and sentences

A second call deletes what an interrupted one has left. Results of tests that have ended stay; they are named.
"""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.policies import RATER_PREFIX
from thumbtune.feedback.store.jobs import forget_rater
from thumbtune.feedback.store.store import Store
from thumbtune.studio.access import Access, Person, digest_of, key_in
from thumbtune.studio.blind.folder import ANSWERS, FOLDER, find_test
from thumbtune.studio.choices import Choices, read_choices, write_choices
from thumbtune.studio.roster import RosterFile

RESULT = "result.json"


@dataclass(frozen=True, kw_only=True)
class ErasedInStudio:
    """What was deleted: answers, in how many tests, and whether they were a rater of the page.

    results: of tests that have ended, which still count the answers
    """

    answers: int
    tests: int
    was_rater: bool
    results: tuple[Path, ...]


def is_known(folder: Path, rater: str) -> bool:
    """Return whether a studio's folder has anything of a rater.

    Raises:
        ThumbtuneError: the list of raters cannot be read.
    """
    if not rater.isprintable():  # no rater of a studio has such a name
        return False
    return rater in RosterFile(folder).read().added or next(_answers_of(folder, rater), None) is not None


def erase_in_studio(store: Store, folder: Path, rater: str) -> ErasedInStudio:
    """Delete what a studio's folder and the jobs of its store have of a rater.

    Raises:
        ThumbtuneError: something cannot be read or deleted; a second call goes on.
    """
    answers, results, tests = 0, [], 0
    for file in list(_answers_of(folder, rater)):
        test = file.parent.parent
        with _alone(folder, test.name):
            answers += len(_content(file).get("answers", ()))
            tests += 1
            _remove(file)
        if (test / RESULT).exists():
            results.append(test / RESULT)
    was_rater = rater in RosterFile(folder).read().added
    if was_rater:
        Access(key_in(folder), [], RosterFile(folder)).remove(Person(rater, "rater"))
    if read_choices(folder).label_policy == f"{RATER_PREFIX}{rater}":
        write_choices(folder, Choices())
    forget_rater(store, rater)
    return ErasedInStudio(answers=answers, tests=tests, was_rater=was_rater, results=tuple(results))


def _answers_of(folder: Path, rater: str) -> Iterator[Path]:
    """Yield the files of a rater's answers, by their name, or by what they say."""
    name = f"{digest_of(rater)}.json"
    for file in sorted((folder / FOLDER).glob(f"*/{ANSWERS}/*.json")):
        if file.name == name or _content(file).get("rater") == rater:
            yield file


def _content(file: Path) -> dict[str, Any]:
    """Return what a file of answers says; nothing if it cannot be read."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _alone(folder: Path, test: str) -> AbstractContextManager[None]:
    """Let nobody write answers of a test meanwhile; of a test whose file is damaged, nobody can."""
    try:
        return find_test(folder, test).alone()
    except ThumbtuneError:
        return nullcontext()


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise ThumbtuneError(
            f"{file} still contains answers of the rater and could not be deleted ({error.strerror or error}); check "
            "its permissions, then run the same command again.",
            code="erasure-incomplete",
        ) from error
