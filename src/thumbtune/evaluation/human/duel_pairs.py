"""Read what a human test needs from a duel's folder: pairs of images, styles, and the names of the sides."""

from pathlib import Path
from typing import Any

from thumbtune.documents import DocumentFault
from thumbtune.errors import UsageError
from thumbtune.evaluation.duel_folder import IMAGES, RESULT, read_images
from thumbtune.evaluation.duel_records import SideNames, record
from thumbtune.evaluation.human.plan import Pair

COLUMNS = ("side", "prompt", "seed", "file", "words")
ImageRow = dict[str, Any]


def read_pairs(folder: Path) -> list[Pair]:
    """Return the pairs of a finished duel, sorted by prompt and seed; files are relative to the folder.

    Raises:
        UsageError: the folder contains no finished duel of two sides, or its list of images is damaged.
    """
    table = folder / IMAGES
    try:
        rows = [_parse_row(row) for row in read_images(folder)]
    except ValueError as error:
        raise UsageError(
            f"{table} is not a duel's list of images ({error}); run the duel again.", code="duel-images-unreadable"
        ) from error
    if not rows:
        raise UsageError(
            f"{folder} contains no finished duel; finish it first with `thumbtune duel A B --out {folder}`.",
            code="duel-unfinished",
        )
    sides: dict[tuple[int, int], dict[str, ImageRow]] = {}
    for row in rows:
        sides.setdefault((row["prompt"], row["seed"]), {})[row["side"]] = row
    return [_pair(table, both) for _, both in sorted(sides.items())]


def _parse_row(row: dict[str, Any]) -> ImageRow:
    parsed = {name: int(row[name]) if name in ("prompt", "seed") else row[name] for name in COLUMNS}
    return {**parsed, "style": row.get("style") or None}


def _pair(table: Path, both: dict[str, ImageRow]) -> Pair:
    row = next(iter(both.values()))
    if set(both) != {"a", "b"}:
        raise UsageError(
            f"{table} has the sides {', '.join(sorted(both))} for prompt {row['prompt']}, seed {row['seed']}; "
            "a human test needs a and b, so run the duel again.",
            code="duel-not-two-sides",
        )
    a, b = both["a"]["file"], both["b"]["file"]
    return Pair(prompt=row["prompt"], words=row["words"], seed=row["seed"], a=a, b=b, style=row["style"])


def read_side_names(folder: Path) -> tuple[str, str]:
    """Return the names of the sides in the duel's result, or "a" and "b" if it has no result.

    Raises:
        UsageError: the result is damaged.
    """
    file = folder / RESULT
    if not file.is_file():
        return "a", "b"
    try:
        result = record(file, SideNames)
    except DocumentFault as fault:
        raise UsageError(
            f"{file} is not a duel's result ({fault}); run the duel again.", code="duel-unreadable"
        ) from fault
    return result["a"], result["b"]
