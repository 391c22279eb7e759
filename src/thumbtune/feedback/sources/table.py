"""Likes in a table: metadata.jsonl, .csv or .parquet in the convention of Hugging Face's imagefolder.

Columns: file_name (or image), prompt (text, caption), label (liked, like); and, if there, weight, grade, rater,
reason, pair, seed, model, source, created_at, vote_id. In Parquet the image may be the bytes themselves, as
`datasets` writes them.
"""

import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PureWindowsPath

from thumbtune.feedback.cells import (
    IMAGE_COLUMNS,
    first,
    label_in,
    moment_in,
    number_in,
    prompt_in,
    text_in,
    whole_number_in,
)
from thumbtune.feedback.pictures import UnreadablePicture, read_picture
from thumbtune.feedback.sources.found import Bytes, Found
from thumbtune.feedback.sources.rows import Record, count_rows, read_rows


class Table:
    """One metadata file, or the shards of one. File names in it are relative to the folder it lies in."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = tuple(files)

    def __length_hint__(self) -> int:
        return sum(count_rows(file) for file in self.files)

    def __iter__(self) -> Iterator[Found]:
        for file in self.files:
            for where, row in read_rows(file):
                yield _found(row, where, file)


def _found(row: Record | None, where: str, file: Path) -> Found:
    """Read one row; whatever is wrong with it is in the `problem`, so that the rows after it still count."""
    if row is None:
        return Found(where=where, problem="it is no JSON object; mend the line or remove it")
    prompt, liked, image, problem = prompt_in(row), label_in(row), None, None
    if liked is None or prompt is None:  # without a prompt in the row there may still be one for all
        where = f"{where} (columns: {', '.join(row) or 'none'})"
    try:
        image = _image_of(row, file.parent)
        extras = _extras_of(row, file)
    except (UnreadablePicture, ValueError) as error:
        image, problem, extras = None, str(error), {}
    return Found(where=where, image=image, prompt=prompt, liked=liked, problem=problem, **extras)  # type: ignore[arg-type]


def _extras_of(row: Record, file: Path) -> dict[str, object]:
    weight = number_in(row, "weight")
    return {
        "rater": text_in(row, "rater"),
        "weight": 1.0 if weight is None else weight,
        "grade": _grade_in(row),
        "reason": text_in(row, "reason"),
        "pair": text_in(row, "pair"),
        "seed": whole_number_in(row, "seed"),
        "model": text_in(row, "model"),
        "source": text_in(row, "source") or file.name,
        "created_at": moment_in(row, "created_at"),
        "vote_id": _uuid_in(row),
    }


def _grade_in(row: Record) -> float | None:
    grade = number_in(row, "grade")
    if grade is not None and grade > 1:
        raise ValueError(f"grade {grade:g} does not lie between 0 and 1; rescale it or leave it empty")
    return grade


def _uuid_in(row: Record) -> str | None:
    """The vote's UUID; other programs number their votes otherwise, and those numbers are of no use here."""
    try:
        return str(uuid.UUID(text_in(row, "vote_id")))
    except (ValueError, AttributeError, TypeError):
        return None


def _image_of(row: Record, folder: Path) -> Bytes:
    """The picture's bytes, from the cell itself or from the file it names.

    Raises:
        UnreadablePicture: the cell is empty, or names no file inside `folder`.
    """
    cell = first(row, IMAGE_COLUMNS)
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes):
        return lambda: cell
    if not isinstance(cell, str) or not cell.strip():
        raise UnreadablePicture("it names no picture; fill in file_name or remove the row")
    return partial(read_picture, folder / _inside(cell.strip()))


def _inside(name: str) -> Path:
    """The name as a path that stays in its folder: a table from elsewhere must not pick files here.

    Raises:
        UnreadablePicture: it leads out, or starts at the root.
    """
    path = PureWindowsPath(name)  # understands both kinds of slash, and drive letters, on every system
    if path.drive or path.root or ".." in path.parts:
        raise UnreadablePicture(f"{name!r} leads out of the folder; put the picture beside the table or into it")
    return Path(name)
