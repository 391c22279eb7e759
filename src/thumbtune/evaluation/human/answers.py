"""Raters' answer files: one JSON file each, written by anybody, so every field is checked.

    {"form": 1, "study": ID, "rater": TEXT, "started": TIME, "finished": TIME or null,
     "answers": [{"id": ID, "choice": "left" | "right" | "tie", "seconds": NUMBER}, ...],
     "arrivals": [{"id": ID, "choice": ..., "seconds": NUMBER, "at": TIME}, ...]}

Times are ISO 8601. A rater may stop early and answer only part of the trials. Files of the studio have `arrivals`: the
first answer to each trial and when it came, also of answers that were changed or taken back later.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from thumbtune.errors import UsageError
from thumbtune.evaluation.human.key import read_json
from thumbtune.evaluation.human.plan import Questionnaire

ANSWERS_VERSION = 1
MAX_ANSWER_BYTES = 5_000_000  # 50,000 answers
MAX_NAME_CHARACTERS = 200
MAX_TIME_CHARACTERS = 40
MAX_SHOWN_CHARACTERS = 40  # of a wrong value in an error
ASK_AGAIN = "ask the rater to download the answers again"
Choice = Literal["left", "right", "tie"]
CHOICES: tuple[Choice, ...] = get_args(Choice)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The choice for one trial and the seconds that it took."""

    id: str
    choice: Choice
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """The first answer to a trial, and when it came, in seconds since 1970, by the clock of the studio."""

    at: float
    answer: Answer


@dataclass(frozen=True, kw_only=True)
class AnswerFile:
    """One rater's answers. finished: None if the rater stopped early; arrivals: None if nobody noted them."""

    rater: str
    started: str
    finished: str | None
    answers: tuple[Answer, ...]
    arrivals: tuple[Arrival, ...] | None = None


def seconds_of(time: str) -> float:
    """Return an ISO 8601 time in seconds since 1970; one without a zone is in UTC.

    >>> seconds_of("1970-01-01T01:00:00+01:00"), seconds_of("1970-01-01T00:01:00")
    (0.0, 60.0)
    """
    at = datetime.fromisoformat(time)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def read_answer_files(paths: Iterable[Path], questionnaire: Questionnaire) -> tuple[list[AnswerFile], list[str]]:
    """Return the answers of these files, and notes on files that are not counted and raters that are renamed.

    Files of one sitting (same rater, same start) count once, by the longest file. Several sittings under one name
    count as several raters.

    Raises:
        UsageError: a file contains no answers to this questionnaire.
    """
    sittings: dict[tuple[str, str], tuple[Path, AnswerFile]] = {}
    notes: list[str] = []
    for path in paths:
        answers = read_answer_file(path, questionnaire)
        sitting = (answers.rater, answers.started)
        earlier = sittings.get(sitting)
        if earlier is None:
            sittings[sitting] = (path, answers)
            continue
        longest, left_out = earlier, (path, answers)
        if _progress(answers) > _progress(earlier[1]):
            longest, left_out = left_out, earlier
        sittings[sitting] = longest
        relation = (
            "contains the same answers as" if longest[1] == left_out[1] else "is an earlier part of the sitting in"
        )
        notes.append(f"{left_out[0]} {relation} {longest[0]} and is not counted again.")
    return _with_unique_names([answers for _, answers in sittings.values()], notes), notes


def _progress(file: AnswerFile) -> tuple[int, str]:
    """Return the number of answers and the time of the last one."""
    return len(file.answers), file.finished or ""


def _with_unique_names(files: list[AnswerFile], notes: list[str]) -> list[AnswerFile]:
    taken = {file.rater for file in files}
    seen: set[str] = set()
    named = []
    for file in files:
        name = file.rater
        if name in seen:
            number = 2
            while (name := f"{file.rater} ({number})") in taken:
                number += 1
            taken.add(name)
            notes.append(f'"{file.rater}" has two sittings; the second counts as another rater, "{name}".')
        seen.add(file.rater)
        named.append(replace(file, rater=name))
    return named


def read_answer_file(path: Path, questionnaire: Questionnaire) -> AnswerFile:
    """Return the answers of one file.

    Raises:
        UsageError: the file contains no answers to this questionnaire.
    """
    return parse_answers(read_json(path, MAX_ANSWER_BYTES, ASK_AGAIN), questionnaire, str(path))


def parse_answers(content: Any, questionnaire: Questionnaire, where: str) -> AnswerFile:
    """Return the answers in parsed JSON; `where` names it in errors.

    Raises:
        UsageError: it contains no answers to this questionnaire.
    """
    if not isinstance(content, dict) or "answers" not in content or "study" not in content:
        raise UsageError(f"{where} contains no answers of a human test; {ASK_AGAIN}.", code="human-no-answers")
    if content.get("form") != ANSWERS_VERSION:
        raise UsageError(
            f"{where} contains answers of version {_short(content.get('form'))}; {ASK_AGAIN}.",
            code="human-answers-version",
        )
    if content["study"] != questionnaire.study:
        raise UsageError(
            f"{where} answers the human test {_short(content['study'])} and not {questionnaire.study}; "
            "give the key of that test.",
            code="human-other-study",
        )
    trials = {name for name, _ in questionnaire.trials}
    arrivals = _parse_arrivals(content.get("arrivals"), trials, where)
    if not isinstance(content["answers"], list) or not (content["answers"] or arrivals):
        raise UsageError(f"{where} has an empty list of answers; leave it out.", code="human-answers-empty")
    answers: dict[str, Answer] = {}
    for number, row in enumerate(content["answers"], start=1):
        answer = _parse_answer(row, trials, f"{where}, answer {number}")
        if answer.id in answers:
            raise UsageError(
                f"{where}, answer {number} repeats the trial {answer.id}; {ASK_AGAIN}.", code="human-answer-repeated"
            )
        answers[answer.id] = answer
    finished = content.get("finished")
    return AnswerFile(
        rater=_parse_rater(content.get("rater"), where),
        started=_parse_time(content.get("started"), "started", where),
        finished=None if finished is None else _parse_time(finished, "finished", where),
        answers=tuple(answers.values()),
        arrivals=arrivals,
    )


def _parse_arrivals(rows: Any, trials: set[str], where: str) -> tuple[Arrival, ...] | None:
    """Return the first answers to trials in the order of their arrival; None where there are none to read."""
    if rows is None:
        return None
    if not isinstance(rows, list):
        raise UsageError(f"{where} has {_short(rows)} as `arrivals`; {ASK_AGAIN}.", code="human-answer-type")
    first: dict[str, Arrival] = {}
    for number, row in enumerate(rows, start=1):
        of = f"{where}, arrival {number}"
        answer = _parse_answer(row, trials, of)
        first.setdefault(answer.id, Arrival(at=seconds_of(_parse_time(row.get("at"), "at", of)), answer=answer))
    return tuple(first.values())


def _parse_answer(row: Any, trials: set[str], where: str) -> Answer:
    if not isinstance(row, dict):
        raise UsageError(f"{where} is {_short(row)} instead of an object; {ASK_AGAIN}.", code="human-answer-type")
    name, choice, seconds = (row.get(field) for field in ("id", "choice", "seconds"))
    if not isinstance(name, str) or name not in trials:
        raise UsageError(
            f"{where} is for {_short(name)}, which is not a trial of this test; {ASK_AGAIN}.",
            code="human-answer-unknown-trial",
        )
    if not isinstance(choice, str) or choice not in CHOICES:
        raise UsageError(
            f"{where} chooses {_short(choice)} instead of left, right or tie; {ASK_AGAIN}.", code="human-answer-choice"
        )
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds < math.inf:
        raise UsageError(
            f"{where} took {_short(seconds)} seconds, which is not a duration; {ASK_AGAIN}.",
            code="human-answer-seconds",
        )
    return Answer(id=name, choice=next(c for c in CHOICES if c == choice), seconds=float(min(seconds, 1e9)))


def _parse_rater(name: Any, where: str) -> str:
    """Return a printable name, with a question mark for each other character, such as half a surrogate."""
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_CHARACTERS:
        raise UsageError(
            f"{where} has no rater's name, or a name of over {MAX_NAME_CHARACTERS} characters; write a shorter name.",
            code="human-answers-rater",
        )
    return "".join(letter if letter.isprintable() else "?" for letter in name.strip())


def _parse_time(value: Any, name: str, where: str) -> str:
    try:
        if isinstance(value, str) and len(value) <= MAX_TIME_CHARACTERS:
            return datetime.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise UsageError(
        f"{where} has {_short(value)} under `{name}`, which is not a time; {ASK_AGAIN}.", code="human-answers-time"
    )


def _short(value: Any) -> str:
    """Return a wrong value for an error, in ASCII and cut."""
    text = ascii(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}..."
