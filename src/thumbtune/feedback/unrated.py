"""Import images without votes, to be judged in the studio."""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.metadata.automatic1111 import settings_apart
from thumbtune.feedback.prompts import plain_prompt
from thumbtune.feedback.source import SourceRow
from thumbtune.feedback.store.intake import NewImage, add_images
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.votes import check_image, check_text, stripped, without_controls

ROWS_AT_ONCE = 50  # of one transaction, during which nobody else can write; images of 2 MB are 100 MB of memory
NO_IMAGE = "the image is missing; add it or remove the row"
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
    seen: set[int] = set()  # images that this import added
    # one transaction for all of a rehearsal, so that an image that comes twice is found again
    with store.transaction(rehearsal=True) if dry_run else nullcontext():
        newest = store.newest()
        for part in _in_parts(rows):
            images = [(row.where, _image_of(settings_apart(row), prompt)) for row in part]
            report.rows += len(images)
            good = [image for _, image in images if isinstance(image, NewImage)]
            with store.transaction(), store.reading() as session:
                stored = iter(add_images(session, store.storage, good))
            for where, image in images:
                result = next(stored) if isinstance(image, NewImage) else image
                if isinstance(result, ThumbtuneError):
                    report.skipped.append((where, str(result).rstrip(".")))
                    continue
                is_new = result.id > newest and result.id not in seen
                seen.add(result.id)
                report.new += is_new
                report.known += not is_new
    return report


def _image_of(row: SourceRow, prompt: str) -> NewImage | ThumbtuneError:
    """Return the image of a row, or why it cannot be used."""
    try:
        words, _ = plain_prompt(without_controls(row.prompt or prompt), row.syntax)
        if row.image is None:
            return ThumbtuneError(row.problem or NO_IMAGE, code="image-unreadable")
        if not words:
            return ThumbtuneError(NO_PROMPT, code="image-no-prompt")
        check_image(words, row.seed)
        for name in ("model", "source"):
            check_text(getattr(row, name) or "", name)
        return NewImage(
            data=row.image(), prompt=words, seed=row.seed, model=stripped(row.model), source=stripped(row.source)
        )
    except ThumbtuneError as error:
        return error


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


def _in_parts(rows: Iterable[SourceRow]) -> Iterator[list[SourceRow]]:
    iterator = iter(rows)
    while part := list(islice(iterator, ROWS_AT_ONCE)):
        yield part
