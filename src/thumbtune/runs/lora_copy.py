"""The LoRA that a run began from: its copy in the run's folder, from which the run is loaded and judged."""

import shutil
from functools import partial
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.files import file_sha256, write_whole
from thumbtune.models.lora_start import copies_of, files_of

OWN = "own"  # copies of the user's files that the recipe names
START = Path(OWN, "start")


def keep(start: str | None, folder: Path) -> None:
    """Copy the LoRA to begin from, if there is one, into a run."""
    if start is not None:
        for source, copy in copies_of(files_of(Path(start)), folder / START).items():
            write_whole(copy, partial(shutil.copyfile, source), durable=True)


def compare(start: str | None, folder: Path) -> None:
    """Check that the LoRA to begin from, if there is one, is what it was when the run began.

    Raises:
        ThumbtuneError: it is gone or has changed, so resuming would train something else.
    """
    if start is None:
        return
    ours = folder / START
    try:
        copies = copies_of(files_of(Path(start)), ours)
    except ThumbtuneError as error:
        raise ThumbtuneError(
            f"{start}, from which {folder} began, is missing or is no LoRA; put the copy {of_run(folder)} in its "
            "place, or start a new run.",
            code="run-start-missing",
        ) from error
    kept = {path for path in ours.rglob("*") if path.is_file()}
    changed = [source for source, copy in copies.items() if copy not in kept or not _same(source, copy)]
    if changed or kept != set(copies.values()):
        raise ThumbtuneError(
            f"{changed[0] if changed else start} has changed since {folder} was started; put back {of_run(folder)}, or "
            "start a new run.",
            code="run-file-changed",
        )


def _same(one: Path, other: Path) -> bool:
    return file_sha256(one) == file_sha256(other)


def of_run(folder: Path) -> Path:
    """Return the copy in a run: a file, or a folder if it is of several files."""
    kept = [path for path in (folder / START).rglob("*") if path.is_file()]
    return kept[0] if len(kept) == 1 else folder / START
