"""The grid of a comparison, read from the file that `thumbtune compare` writes, without loading torch."""

from dataclasses import dataclass
from pathlib import Path

from thumbtune.documents import DocumentFault, read_json

GRID = "grid.json"


@dataclass(frozen=True)
class Row:
    """A prompt and a seed. images: the file's name in each column; None where it is not made yet."""

    prompt: str
    seed: int
    images: list[str | None]


@dataclass(frozen=True)
class Grid:
    """The names of the columns, and the rows."""

    columns: list[str]
    rows: list[Row]


def read_grid(folder: Path) -> Grid:
    """Return the grid in a folder; an empty one if there is none, or it cannot be read."""
    try:
        told = read_json(folder / GRID)
        there = {file.name for file in folder.iterdir()}
        return Grid(
            [str(column["name"]) for column in told["columns"]],
            [
                Row(str(row["prompt"]), int(row["seed"]), [name if name in there else None for name in names])
                for row, names in zip(told["rows"], told["files"], strict=True)
            ],
        )
    except (DocumentFault, OSError, KeyError, TypeError, ValueError):
        return Grid([], [])
