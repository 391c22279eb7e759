"""A blind test on the disk, in the studio's folder of the store; no address of the studio leads to these files.

blind/ID/test.json            what is compared, and when the test ended
blind/ID/key.json             the key, as `thumbtune human export` writes it
blind/ID/answers/RATER.json   a rater's answers, as `thumbtune human read` reads them
blind/ID/images/TRIAL-left    the images of a trial, encoded alike and of one size in bytes; -right
blind/ID/result.*             once the test has ended
"""

import base64
import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from thumbtune import documents, locks
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.evaluation.human.duel_pairs import read_pairs, read_side_names
from thumbtune.evaluation.human.key import format_key, read_key
from thumbtune.evaluation.human.plan import StoppingRule, Study, StudyDesign, Trial, order_for, plan_study
from thumbtune.files import partial_beside, working_folder, write_text
from thumbtune.studio.blind.tickets import PLACES, Place

FOLDER, FACTS, KEY, ANSWERS, IMAGES, LOCK = "blind", "test.json", "key.json", "answers", "images", "lock"
FORM = 1
MAX_FACTS_BYTES = 100_000

_thread = threading.Lock()  # of this process; the lock on the disk is for other studios


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What test.json says.

    duel: the folder of the images, seen from the studio's root; a, b: the names of its sides; pairs: shown ones;
    keep_careless: the result counts raters who contradict themselves
    """

    id: str
    question: str
    duel: str
    a: str
    b: str
    pairs: int
    trials: int
    made_at: str
    ended_at: str | None = None
    stop: StoppingRule = "all"
    keep_careless: bool = False


@dataclass(frozen=True)
class BlindTest:
    """A blind test in its folder."""

    folder: Path
    facts: Facts

    @cached_property
    def study(self) -> Study:
        """The plan with its sides, from the key."""
        return read_key(self.key)

    @property
    def key(self) -> Path:
        """The file of the key."""
        return self.folder / KEY

    @property
    def answers(self) -> Path:
        """The folder of the raters' answers."""
        return self.folder / ANSWERS

    def order(self, rater: str) -> tuple[Trial, ...]:
        """Return the trials in a rater's own order."""
        return order_for(self.study, rater)

    def image(self, trial: str, place: Place) -> bytes:
        """Return an image, as it is sent.

        Raises:
            ThumbtuneError: it is gone.
        """
        try:
            return (self.folder / IMAGES / f"{trial}-{place}").read_bytes()
        except OSError as error:
            raise ThumbtuneError(
                "An image of this blind test is gone; make a new test.", code="blind-image-gone"
            ) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else write answers or end the test inside the `with` block."""
        descriptor = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            with _thread:
                locks.take(descriptor, wait=True)
                yield
        finally:
            os.close(descriptor)

    def reread(self) -> "BlindTest":
        """Return the test as its file tells it now."""
        return _read(self.folder)

    def end(self, keep_careless: bool = False) -> "BlindTest":
        """Return the test after noting that it has ended; an ended one as it is."""
        if self.facts.ended_at is not None:
            return self
        ended = BlindTest(
            self.folder, replace(self.facts, ended_at=datetime.now(UTC).isoformat(), keep_careless=keep_careless)
        )
        _write_facts(self.folder, ended.facts)
        return ended


def make_test(place: Path, duel: Path, shown: str, design: StudyDesign) -> BlindTest:
    """Return a new test of a duel, whose plan and images are in a folder of its own.

    Args:
        place: the studio's folder.
        shown: the duel's folder as people see it.
        design: its names of the sides are replaced by the duel's.

    Raises:
        UsageError: the folder contains no finished duel, or the design is invalid.
        ThumbtuneError: an image cannot be read, or a file cannot be written.
    """
    a, b = read_side_names(duel)
    study = plan_study(read_pairs(duel), replace(design, a=a, b=b))
    folder = place / FOLDER / study.id
    facts = Facts(
        id=study.id,
        question=study.question,
        duel=shown,
        a=a,
        b=b,
        pairs=len(study.first_showings),
        trials=len(study.trials),
        made_at=datetime.now(UTC).isoformat(),
        stop=study.stop,
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_beside(folder)
    with working_folder(partial):
        _pack(study, duel, partial / IMAGES)
        (partial / ANSWERS).mkdir()
        write_text(partial / KEY, format_key(study))
        _write_facts(partial, facts)
        partial.rename(folder)
    return BlindTest(folder, facts)


def _pack(study: Study, duel: Path, images: Path) -> None:
    """Encode both images of each trial alike, and make all of them equally large.

    They are encoded now, so that the time of an answer does not tell what an image shows. What fills them up follows
    the end of an image, where browsers read no further, and is random, so that it cannot be compressed.
    """
    from thumbtune.report.human_page import encode_pair  # with Pillow, which a start does not need

    images.mkdir()
    files = []
    for trial in study.trials:
        left, right = trial.files
        for place, uri in zip(PLACES, encode_pair(duel / left, duel / right), strict=True):
            files.append(images / f"{trial.id}-{place}")
            files[-1].write_bytes(base64.b64decode(uri.partition(",")[2]))
    sizes = [file.stat().st_size for file in files]
    for file, size in zip(files, sizes, strict=True):
        with file.open("ab") as end:
            end.write(secrets.token_bytes(max(sizes) - size))


def find_test(place: Path, name: str) -> BlindTest:
    """Return the test with an id of 20 hexadecimal digits.

    Raises:
        ThumbtuneError: there is none, or its file cannot be read.
    """
    folder = place / FOLDER / name
    if not (folder / FACTS).is_file():
        raise ThumbtuneError("There is no such blind test; load the page again.", code="blind-missing")
    return _read(folder)


def all_tests(place: Path) -> tuple[list[BlindTest], list[ThumbtuneError]]:
    """Return the tests, the newest first, and an error for each one that cannot be read."""
    tests, faults = [], []
    for file in sorted((place / FOLDER).glob(f"*/{FACTS}")):
        if file.parent.name.startswith("."):
            continue
        try:
            tests.append(_read(file.parent))
        except ThumbtuneError as error:
            faults.append(error)
    return sorted(tests, key=lambda test: test.facts.made_at, reverse=True), faults


def _read(folder: Path) -> BlindTest:
    file = folder / FACTS
    try:
        content = documents.read_json(file, max_bytes=MAX_FACTS_BYTES)
        form = content.pop("form")
        facts = Facts(**content)
    except (documents.DocumentFault, AttributeError, KeyError, TypeError) as error:
        raise UsageError(f"{file} is damaged; make a new blind test.", code="blind-damaged") from error
    if form != FORM:
        raise UsageError(f"{file} is of another version of Thumbtune; use that one.", code="blind-version")
    return BlindTest(folder, facts)


def _write_facts(folder: Path, facts: Facts) -> None:
    write_text(folder / FACTS, json.dumps({"form": FORM, **asdict(facts)}, indent=1), durable=True)
