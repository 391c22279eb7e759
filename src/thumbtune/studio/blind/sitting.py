"""The answers of one rater to a blind test, in the file that `thumbtune human read` reads.

Each answer has an id that the browser chose. The file also keeps the ids of all answers and undos that came, so that a
request that is sent again, after a lost answer or a restart, changes nothing. And it keeps the first answer to each
trial with the time at which it came, by which the stopping rule counts, whatever is changed or taken back later. These
times keep the order of arrival of all raters together, also if the machine's clock is set back meanwhile. The number
of ids is bounded, so that no rater can make a file too large to be read again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from thumbtune import documents
from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.human.answers import ANSWERS_VERSION, MAX_ANSWER_BYTES, Choice
from thumbtune.files import write_text
from thumbtune.studio.access import digest_of
from thumbtune.studio.blind.folder import BlindTest

MAX_EVENTS = 20_000  # answers and undos of a rater, of 42 bytes each; a test has 750 trials at most


@dataclass(frozen=True)
class Given:
    """An answer as a browser gives it. seconds: how long the pair was visible."""

    id: str
    trial: str
    choice: Choice
    seconds: float


@dataclass(frozen=True)
class TakenBack:
    """An undo: the answer with this id does not count, even if it comes later."""

    id: str


def answer_file(test: BlindTest, rater: str) -> Path:
    """Return the file of a rater's answers."""
    return test.answers / f"{digest_of(rater)}.json"


def answered(test: BlindTest, rater: str) -> set[str]:
    """Return the trials that a rater has answered."""
    return {answer["id"] for answer in _read(test, rater)["answers"]}


def sittings(test: BlindTest) -> list[tuple[str, int]]:
    """Return each rater who has answered, with the number of answers, in order of name."""
    return sorted((record["rater"], len(record["answers"])) for record in _records(test) if record["answers"])


def give(test: BlindTest, rater: str, events: Sequence[Given | TakenBack]) -> list[ThumbtuneError | None]:
    """Store answers and undos in their order; return what is wrong with each, or None.

    Raises:
        ThumbtuneError: the file of answers cannot be read or written; nothing is stored.
    """
    with test.alone():
        if test.reread().facts.ended_at is not None:
            ended = ThumbtuneError("This blind test has ended; no more answers count.", code="blind-ended")
            return [ended] * len(events)
        record = _read(test, rater)
        trials, known = {trial.id for trial in test.study.trials}, dict.fromkeys(record["events"])
        at = _arrival_time(test)
        results = [_apply(record, event, trials, known, at) for event in events]
        record["events"] = list(known)
        _write(test, rater, record)
        return results


def _apply(
    record: dict[str, Any], event: Given | TakenBack, trials: set[str], known: dict[str, None], at: str
) -> ThumbtuneError | None:
    """Change a record by an event, unless its id is known, and add that to the known ones; return what is wrong."""
    answers, is_new = record["answers"], event.id not in known
    if isinstance(event, Given) and event.trial not in trials:
        return ThumbtuneError("This pair is not of this blind test; load the page again.", code="blind-no-trial")
    if is_new and len(known) >= MAX_EVENTS:
        return ThumbtuneError(
            f"You have answered and undone {MAX_EVENTS:,} times in this blind test, and no more is stored; ask the "
            "owner to end it.",
            code="blind-many-answers",
        )
    known[event.id] = None
    if isinstance(event, TakenBack):
        record["answers"] = [answer for answer in answers if answer["event"] != event.id]
    elif is_new:
        row = {"id": event.trial, "choice": event.choice, "seconds": event.seconds, "event": event.id}
        record["answers"] = [answer for answer in answers if answer["id"] != event.trial] + [row]
        if all(arrival["id"] != event.trial for arrival in record["arrivals"]):
            record["arrivals"].append(_arrival(row, at))
    return None


def _read(test: BlindTest, rater: str) -> dict[str, Any]:
    file = answer_file(test, rater)
    if file.exists():
        record = content_of(file)
        if "arrivals" not in record:  # a file of before: what it has came no later than now
            record["arrivals"] = [_arrival(answer, _now()) for answer in record["answers"]]
        return record
    start = {"form": ANSWERS_VERSION, "study": test.facts.id, "rater": rater, "started": _now(), "finished": None}
    return {**start, "answers": [], "events": [], "arrivals": []}


def _arrival(answer: dict[str, Any], at: str) -> dict[str, Any]:
    return {**{name: answer[name] for name in ("id", "choice", "seconds")}, "at": at}


def _arrival_time(test: BlindTest) -> str:
    """Return the time of answers that come now: for a stopping rule it is after all arrivals before, of all raters."""
    now = datetime.fromisoformat(_now())
    if test.facts.stop == "all":  # the order counts for nothing
        return now.isoformat()
    before = [datetime.fromisoformat(one["at"]) for record in _records(test) for one in record.get("arrivals", [])]
    return max([now, *(at + timedelta(microseconds=1) for at in before)]).isoformat()


def _records(test: BlindTest) -> list[dict[str, Any]]:
    """Return what the files of all raters hold."""
    return [content_of(file) for file in test.answers.glob("*.json")]


def content_of(file: Path) -> dict[str, Any]:
    """Return what a file of answers says.

    Raises:
        ThumbtuneError: it cannot be read.
    """
    try:
        content = documents.read_json(file, max_bytes=MAX_ANSWER_BYTES)
        if {"rater", "answers", "events"} <= set(content):
            return content
        fault = "fields are missing"
    except (documents.DocumentFault, TypeError) as error:
        fault = str(error)
    raise ThumbtuneError(
        f"{file} cannot be read ({fault}); put back its content, or delete it.", code="blind-answers-damaged"
    )


def _write(test: BlindTest, rater: str, record: dict[str, Any]) -> None:
    done = len(record["answers"]) == test.facts.trials
    record["finished"] = (record["finished"] or _now()) if done else None
    text = json.dumps(record, indent=1)
    if len(text) > MAX_ANSWER_BYTES:  # ASCII; it could not be read again
        raise ThumbtuneError(
            f"Your answers to this blind test would have more than {MAX_ANSWER_BYTES:,} bytes, and no more are stored; "
            "ask the owner to end it.",
            code="blind-many-answers",
        )
    write_text(answer_file(test, rater), text, durable=True)


def _now() -> str:
    return datetime.now(UTC).isoformat()
