"""Import images without votes, to be judged in the studio."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, islice

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.metadata.automatic1111 import settings_apart
from thumbtune.feedback.prompts import plain_prompt
from thumbtune.feedback.source import SourceRow
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.votes import without_controls

ROWS_AT_ONCE = 100  # of one transaction, during which nobody else can write
NO_PROMPT = "it has no prompt; add one beside it, or give one for all"


@dataclass
class UnratedReport:
    """What became of each image: new, in the store before, or left out, with (where, why) of each."""

    rows: int = 0
    new: int = 0
    known: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


def import_unrated(
    rows: Iterable[SourceRow], store: Store, *, prompt: str = "", dry_run: bool = False
) -> UnratedReport:
    """Add the image of each row to the store, without its label; repeating it adds nothing.

    Args:
        prompt: of images that have none.
        dry_run: report, and store nothing.

    Raises:
        ThumbtuneError: the disk is full, or the database fails; images before stay.
    """
    report = UnratedReport()
    newest = store.newest()
    # one transaction for all of a rehearsal, so that an image that comes twice is found again
    parts = [rows] if dry_run else _in_parts(rows)
    for part in parts:
        with store.transaction(rehearsal=dry_run):
            for row in part:
                report.rows += 1
                newest = _add(settings_apart(row), store, prompt, report, newest)
    return report


def check_unrated(label: str | None, strict: bool, correct: bool) -> None:
    """Refuse options that have no effect on images without votes.

    Raises:
        UsageError: one of them is given.
    """
    given = {"--label": label is not None, "--strict": strict, "--correct": correct}
    for name in (name for name, is_given in given.items() if is_given):
        raise UsageError(
            f"{name} has no effect on images without votes; leave it or --unrated out.", code="unrated-option"
        )


def _in_parts(rows: Iterable[SourceRow]) -> Iterable[Iterable[SourceRow]]:
    iterator = iter(rows)
    for first in iterator:
        yield chain([first], islice(iterator, ROWS_AT_ONCE - 1))


def _add(row: SourceRow, store: Store, prompt: str, report: UnratedReport, newest: int) -> int:
    """Add one image; return the newest id."""
    words, _ = plain_prompt(without_controls(row.prompt or prompt), row.syntax)
    if row.image is None or not words:
        report.skipped.append((row.where, row.problem or NO_PROMPT))
        return newest
    try:
        image = store.add_image(row.image(), words, seed=row.seed, model=row.model, source=row.source)
    except ThumbtuneError as error:
        if error.code in ("disk-full", "image-not-written"):
            raise
        report.skipped.append((row.where, str(error).rstrip(".")))
        return newest
    report.new += image.id > newest
    report.known += image.id <= newest
    return max(newest, image.id)
