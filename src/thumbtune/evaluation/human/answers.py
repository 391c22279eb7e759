"""What raters sent back: one JSON file each, of anybody's making, and so checked field by field.

    {"form": 1, "study": ID, "rater": TEXT, "started": TIME, "finished": TIME or null,
     "answers": [{"id": ID, "choice": "left" | "right" | "tie", "seconds": NUMBER}, ...]}

Times are ISO 8601. A rater may stop early: any part of the trials is an answer.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from thumbtune.errors import UsageError
from thumbtune.evaluation.human.key import read_json
from thumbtune.evaluation.human.plan import Questionnaire

FORM = 1  # of the answers
LARGEST = 5_000_000  # bytes of a file: 50,000 answers
LONGEST_NAME = 200  # characters of a rater's name
LONGEST_TIME = 40
SHOWN = 40  # characters of a wrong value in a sentence
AGAIN = "ask the rater to download the answers again"
Choice = Literal["left", "right", "tie"]
CHOICES: tuple[Choice, ...] = get_args(Choice)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was chosen for one trial, and how long that took."""

    id: str
    choice: Choice
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """One rater's answers. finished: None where the rater stopped early."""

    rater: str
    started: str
    finished: str | None
    answers: tuple[Answer, ...]


def read_ballots(paths: Iterable[Path], asked: Questionnaire) -> tuple[list[Ballot], list[str]]:
    """The ballots of these files, and notes on files that are not counted or whose rater gets another name.

    One sitting (the same rater, begun at the same time) counts once, as far as it went at last. Different sittings
    under one name count as different raters.

    Raises:
        UsageError: a file is no answers to this questionnaire.
    """
    sittings: dict[tuple[str, str], tuple[Path, Ballot]] = {}
    notes: list[str] = []
    for path in paths:
        ballot = read_ballot(path, asked)
        sitting = (ballot.rater, ballot.started)
        earlier = sittings.get(sitting)
        if earlier is None:
            sittings[sitting] = (path, ballot)
            continue
        kept, left_out = earlier, (path, ballot)
        if _reach(ballot) > _reach(earlier[1]):
            kept, left_out = left_out, earlier
        sittings[sitting] = kept
        same = kept[1] == left_out[1]
        what = "holds the same answers as" if same else "is an earlier part of the sitting in"
        notes.append(f"{left_out[0]} {what} {kept[0]} and is not counted again.")
    return _with_own_names([ballot for _, ballot in sittings.values()], notes), notes


def _reach(ballot: Ballot) -> tuple[int, str]:
    """How far a ballot went."""
    return len(ballot.answers), ballot.finished or ""


def _with_own_names(ballots: list[Ballot], notes: list[str]) -> list[Ballot]:
    taken = {ballot.rater for ballot in ballots}
    seen: set[str] = set()
    named = []
    for ballot in ballots:
        name = ballot.rater
        if name in seen:
            number = 2
            while (name := f"{ballot.rater} ({number})") in taken:
                number += 1
            taken.add(name)
            notes.append(f'Two sittings are of "{ballot.rater}"; the second counts as another rater, "{name}".')
        seen.add(ballot.rater)
        named.append(Ballot(rater=name, started=ballot.started, finished=ballot.finished, answers=ballot.answers))
    return named


def read_ballot(path: Path, asked: Questionnaire) -> Ballot:
    """One file's ballot.

    Raises:
        UsageError: it is no answers to this questionnaire.
    """
    return ballot_of(read_json(path, LARGEST, AGAIN), asked, str(path))


def ballot_of(found: Any, asked: Questionnaire, where: str) -> Ballot:
    """The ballot of parsed JSON; `where` names it in sentences.

    Raises:
        UsageError: it is no answers to this questionnaire.
    """
    if not isinstance(found, dict) or "answers" not in found or "study" not in found:
        raise UsageError(f"{where} holds no answers of a human test; {AGAIN}.")
    if found.get("form") != FORM:
        raise UsageError(f"{where} has answers of another version ({_short(found.get('form'))}); {AGAIN}.")
    if found["study"] != asked.study:
        raise UsageError(
            f"{where} answers another human test, {_short(found['study'])} and not {asked.study}; "
            "give the key of that one."
        )
    if not isinstance(found["answers"], list) or not found["answers"]:
        raise UsageError(f"{where} has an empty list of answers; leave it out.")
    known = {name for name, _ in asked.trials}
    answers: dict[str, Answer] = {}
    for number, one in enumerate(found["answers"], start=1):
        answer = _answer(one, known, f"{where}, answer {number}")
        if answer.id in answers:
            raise UsageError(f"{where}, answer {number} is a second one for {answer.id}; {AGAIN}.")
        answers[answer.id] = answer
    return Ballot(
        rater=_rater(found.get("rater"), where),
        started=_time(found.get("started"), "started", where),
        finished=None if found.get("finished") is None else _time(found["finished"], "finished", where),
        answers=tuple(answers.values()),
    )


def _answer(one: Any, known: set[str], where: str) -> Answer:
    if not isinstance(one, dict):
        raise UsageError(f"{where} is {_short(one)} and no answer; {AGAIN}.")
    name, choice, seconds = (one.get(field) for field in ("id", "choice", "seconds"))
    if not isinstance(name, str) or name not in known:
        raise UsageError(f"{where} is for {_short(name)}, which this test does not ask; {AGAIN}.")
    if not isinstance(choice, str) or choice not in CHOICES:
        raise UsageError(f"{where} chooses {_short(choice)} and not left, right or tie; {AGAIN}.")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds < math.inf:
        raise UsageError(f"{where} took {_short(seconds)} seconds, which is no time; {AGAIN}.")
    return Answer(id=name, choice=next(c for c in CHOICES if c == choice), seconds=float(min(seconds, 1e9)))


def _rater(name: Any, where: str) -> str:
    """A name that can be printed: what cannot be, such as half of a surrogate, is a question mark."""
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME:
        raise UsageError(f"{where} names no rater, or one of over {LONGEST_NAME} characters; write a name there.")
    return "".join(letter if letter.isprintable() else "?" for letter in name.strip())


def _time(said: Any, name: str, where: str) -> str:
    try:
        if isinstance(said, str) and len(said) <= LONGEST_TIME:
            return datetime.fromisoformat(said).isoformat()
    except ValueError:
        pass
    raise UsageError(f"{where} has {_short(said)} under `{name}`, which is no time; {AGAIN}.")


def _short(value: Any) -> str:
    """A wrong value for a sentence, in ASCII and cut."""
    text = ascii(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
