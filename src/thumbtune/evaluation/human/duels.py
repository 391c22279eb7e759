"""What a duel's folder has to show people: pairs of images, styles, and the names of its sides."""

import csv
import json
from pathlib import Path, PurePosixPath
from typing import Any

from thumbtune.errors import UsageError
from thumbtune.evaluation.human.plan import Pair

COLUMNS = ("side", "prompt", "seed", "file", "words")
Row = dict[str, Any]


def pairs_of(folder: Path) -> list[Pair]:
    """The pairs of a finished duel, prompt by prompt; their files are paths inside the folder.

    Raises:
        UsageError: the folder holds no finished duel of two sides, or its list of images is damaged.
    """
    listed = folder / "images.csv"
    if not listed.is_file():
        raise UsageError(f"{folder} holds no finished duel; finish it first: thumbtune duel A B --out {folder}")
    try:
        with listed.open(encoding="utf-8", newline="") as file:
            rows = [_row(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UsageError(f"{listed} is no list of a duel's images ({error}); run the duel again.") from error
    sides: dict[tuple[int, int], dict[str, Row]] = {}
    for row in rows:
        sides.setdefault((row["prompt"], row["seed"]), {})[row["side"]] = row
    return [_pair(listed, both) for _, both in sorted(sides.items())]


def _row(row: dict[str, Any]) -> Row:
    path = PurePosixPath(row["file"])
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{row['file']} lies outside the folder")
    if not isinstance(row["words"], str):
        raise ValueError("a row is too short")
    found = {name: int(row[name]) if name in ("prompt", "seed") else row[name] for name in COLUMNS}
    return {**found, "style": row.get("style") or None}


def _pair(listed: Path, both: dict[str, Row]) -> Pair:
    one = next(iter(both.values()))
    if set(both) != {"a", "b"}:
        raise UsageError(
            f"{listed} has the sides {', '.join(sorted(both))} for prompt {one['prompt']}, seed {one['seed']}; "
            "a human test compares a and b."
        )
    a, b = both["a"]["file"], both["b"]["file"]
    return Pair(prompt=one["prompt"], words=one["words"], seed=one["seed"], a=a, b=b, style=one["style"])


def names_of(folder: Path) -> tuple[str, str]:
    """What the duel's result calls its sides, or else "a" and "b"."""
    try:
        told = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        a, b = told["a"], told["b"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "a", "b"
    return (a, b) if isinstance(a, str) and isinstance(b, str) else ("a", "b")
