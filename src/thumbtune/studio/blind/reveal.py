"""The end of a blind test: its answers are evaluated as `thumbtune human read` does, and the result is saved.

The result lies in the folder of the test, and in `blind/` beside the images that were compared: in the folder of the
run, or of the duel. The end is noted first: answers do not wait for a folder that cannot be written, and what could
not be saved is saved when the owner looks at the result, or the owner is told why not.
"""

import json
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune import documents
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.files import write_text
from thumbtune.studio.blind.folder import ANSWERS, FOLDER, KEY, BlindTest
from thumbtune.studio.blind.sitting import content_of, sittings
from thumbtune.studio.blind.sources import EVALUATION
from thumbtune.studio.site import Site

RESULT = "result"
MAX_RESULT_BYTES = 50_000_000


@dataclass(frozen=True)
class Revealed:
    """A result.

    files: where it was saved, seen from the root; command: does the same; unsaved: why it lies not beside the images
    """

    result: dict[str, Any]
    files: list[str]
    command: str
    unsaved: str | None = None


def reveal(site: Site, test: BlindTest, keep_careless: bool = False) -> Revealed:
    """End a test and return its result; that of an ended test is the same each time.

    Raises:
        UsageError: there is nothing to count; the test goes on.
        ThumbtuneError: a file cannot be read or written; the test goes on.
    """
    with test.alone():
        if test.reread().facts.ended_at is None:
            if not sittings(test):
                raise UsageError("Nobody has answered a pair yet; answer some first.", code="blind-no-answers")
            _end(site, test, keep_careless)
    return revealed(site, test)


def end_if_decided(site: Site, test: BlindTest) -> bool:
    """End a test whose rule, which was set before, has decided; return whether it did."""
    if test.facts.stop != "sequential":
        return False
    from thumbtune.evaluation.human.answers import read_answer_files
    from thumbtune.evaluation.human.sequential import decide_study  # with scipy, which a start does not need

    with test.alone():  # so that no file goes meanwhile
        if test.reread().facts.ended_at is not None or not sittings(test):
            return False
        files = [file for file in sorted(test.answers.glob("*.json")) if _is_counted(file)]
        if decide_study(test.study, read_answer_files(files, test.study.questionnaire)[0]).decided is None:
            return False
        _end(site, test, keep_careless=True)  # the rule counts all raters
    return True


def _end(site: Site, test: BlindTest, keep_careless: bool) -> None:
    """End the test and save its result; nobody else may write meanwhile."""
    result = _result_of(test, keep_careless)  # which may refuse the end
    test.end(keep_careless)
    with suppress(ThumbtuneError):  # `revealed` tries again, and tells the owner
        _save(test.folder, RESULT, result)
        _save_beside(site, test, result)


def _is_counted(file: Path) -> bool:
    """Return whether a file has something to count: answers, or the arrivals of those that were taken back."""
    record = content_of(file)
    return bool(record["answers"] or record.get("arrivals"))


def result_file(test: BlindTest, ending: str) -> Path:
    """Return the file of a result, by the ending of its name.

    Raises:
        ThumbtuneError: the test has not ended, or the file is gone.
    """
    file = test.folder / f"{RESULT}.{ending}"
    if test.reread().facts.ended_at is None or not file.is_file() or file.is_symlink():
        raise ThumbtuneError(f"This blind test has no {RESULT}.{ending}; end it first.", code="blind-not-ended")
    return file


def revealed(site: Site, test: BlindTest) -> Revealed:
    """Return the result of a test that has ended.

    Raises:
        ThumbtuneError: it has not ended, or the result cannot be read.
    """
    facts = test.reread().facts
    if facts.ended_at is None:
        raise ThumbtuneError(
            "This blind test has not ended, so nobody may know its result; end it first.", code="blind-not-ended"
        )
    if not (test.folder / f"{RESULT}.json").exists():  # it could not be saved at the end
        with test.alone():
            _save(test.folder, RESULT, _result_of(test, facts.keep_careless))
    try:
        result = documents.read_json(test.folder / f"{RESULT}.json", max_bytes=MAX_RESULT_BYTES)
    except documents.DocumentFault as fault:
        raise ThumbtuneError(
            f"The result of this blind test cannot be read ({fault}); run `{_command(test)}`.", code="blind-no-result"
        ) from fault
    unsaved = None
    try:
        _save_beside(site, test, result)
    except ThumbtuneError as error:
        unsaved = f"The result lies in the studio alone, not beside the images: {error}"
    folder = _beside(site, test)
    beside = [] if folder is None else sorted(folder.glob(f"{test.facts.id}.*"))
    files = [file.relative_to(site.root).as_posix() for file in beside] if site.root else []
    return Revealed(result, files, _command(test), unsaved)


def _result_of(test: BlindTest, keep_careless: bool) -> dict[str, Any]:
    from thumbtune.report.human_study import read_study  # with scipy, which a start does not need

    files = sorted(test.answers.glob("*.json"))
    for file in files:
        if not _is_counted(file):
            file.unlink()  # all answers of a file of before were taken back; `human read` refuses empty files
    return read_study(test.key, [test.answers], keep_careless)


def _save(folder: Path, name: str, result: dict[str, Any]) -> None:
    from thumbtune.report.human_result import result_page, result_table

    texts = {"html": result_page(result), "csv": result_table(result), "json": json.dumps(result, indent=1)}
    for ending, text in texts.items():  # json as the last: with it, all are there
        write_text(folder / f"{name}.{ending}", text)


def _save_beside(site: Site, test: BlindTest, result: dict[str, Any]) -> None:
    """Save a result beside the images, unless it lies there."""
    beside = _beside(site, test)
    if beside is not None and not (beside / f"{test.facts.id}.json").exists():
        _save(beside, test.facts.id, result)


def _beside(site: Site, test: BlindTest) -> Path | None:
    """Return the folder for the result beside the images; None if they are not below this root any more."""
    if site.root is None:
        return None
    duel = (site.root / test.facts.duel).resolve()
    if not duel.is_dir() or not duel.is_relative_to(site.root):
        return None
    return (duel.parent if duel.name == EVALUATION else duel) / FOLDER


def _command(test: BlindTest) -> str:
    careless = ["--keep-careless"] if test.reread().facts.keep_careless else []
    return shlex.join(["thumbtune", "human", "read", str(test.folder / KEY), str(test.folder / ANSWERS), *careless])
