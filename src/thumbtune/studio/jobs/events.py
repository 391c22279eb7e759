"""What happens to a job, as server-sent events that a browser can take up again where it was cut off.

    id: 350.1204.9f.3.running       bytes of the log and of steps.jsonl, which steps.jsonl, sets of samples, state
    event: steps                    also: log, samples, state, reset, end
    data: [{"step": 1, ...}]

The id says all that the server must know, so it keeps nothing: `events_after` is a function of an id and the files. A
training that is resumed writes its steps again from a checkpoint on, in a new file: `reset` comes before these.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from thumbtune.feedback.store.jobs import ENDED
from thumbtune.studio.jobs.files import read_from
from thumbtune.studio.jobs.progress import samples_of, steps_in
from thumbtune.studio.jobs.wording import in_studio

STEPS = "steps.jsonl"
ID = re.compile(r"(\d{1,15})\.(\d{1,15})\.([0-9a-f]{1,20})\.(\d{1,9})\.([a-z-]{0,40})")
NO_FILE = "0"


@dataclass(frozen=True)
class Cursor:
    """How far a client knows a job.

    log, steps: bytes of the log and of steps.jsonl; file: which steps.jsonl; samples: sets of sample images
    """

    log: int = 0
    steps: int = 0
    file: str = NO_FILE
    samples: int = 0
    state: str = ""

    @classmethod
    def of(cls, text: str | None) -> Self:
        """Return the cursor of a Last-Event-ID; the beginning for none, or for one that is not ours."""
        found = ID.fullmatch(text or "")
        if found is None:
            return cls()
        log, steps, file, samples, state = found.groups()
        return cls(int(log), int(steps), file, int(samples), state)

    def __str__(self) -> str:
        return f"{self.log}.{self.steps}.{self.file}.{self.samples}.{self.state}"


@dataclass(frozen=True)
class Event:
    """One event, and the cursor of a client that has got it."""

    name: str
    data: Any
    cursor: Cursor

    def text(self) -> str:
        """Return the event as it goes over the line."""
        return f"id: {self.cursor}\nevent: {self.name}\ndata: {json.dumps(self.data)}\n\n"


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A job as it stands: its state, what a page shows of it, its log, and the run that it writes if it trains.

    shown: a word that changes with what a page shows
    """

    state: str
    shown: str
    facts: dict[str, Any]
    log: Path
    run: Path | None = None


def events_after(cursor: Cursor, job: Watched) -> Iterator[Event]:
    """Yield what a client with this cursor does not know yet.

    `end` comes last, once the job has ended; the job is to be looked at before its files, or their last lines are lost.
    """
    if job.shown != cursor.state:
        cursor = replace(cursor, state=job.shown)
        yield Event("state", job.facts, cursor)
    for event in _of_run(cursor, job.run):
        cursor = event.cursor
        yield event
    text, place = read_from(job.log, cursor.log)
    while text:
        cursor = replace(cursor, log=place)
        yield Event("log", [in_studio(line) for line in text.splitlines()], cursor)
        text, place = read_from(job.log, place)
    if job.state in ENDED:
        yield Event("end", job.state, cursor)


def _of_run(cursor: Cursor, run: Path | None) -> Iterator[Event]:
    if run is None:
        return
    file = _number_of(run / STEPS)
    if file != cursor.file:
        was, cursor = cursor, replace(cursor, file=file, steps=0)
        if was.steps:
            yield Event("reset", None, cursor)
    text, place = read_from(run / STEPS, cursor.steps)
    while text:
        cursor = replace(cursor, steps=place)
        yield Event("steps", steps_in(text), cursor)
        text, place = read_from(run / STEPS, place)
    samples = samples_of(run)
    if len(samples) != cursor.samples:
        yield Event("samples", samples, replace(cursor, samples=len(samples)))


def _number_of(file: Path) -> str:
    """Return what tells a file from one that takes its place."""
    try:
        return f"{file.stat().st_ino:x}"
    except OSError:
        return NO_FILE
