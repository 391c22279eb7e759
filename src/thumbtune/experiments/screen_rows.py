"""The rows of a screen: one small file for each cell, from which the page is made again without any training.

FOLDER/runs/NAME-seed-N/row.json    {"cell": what decides the row, "base": hash of the base, "row": its numbers}
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thumbtune import __version__
from thumbtune.errors import Interrupted, UsageError
from thumbtune.experiments.experiments import Say
from thumbtune.experiments.row_recipes import whole_recipe
from thumbtune.experiments.screen_cells import Screen, ScreenCell, row_of
from thumbtune.experiments.screen_methods import BUNDLED_ERRORS
from thumbtune.experiments.training_grid import ROW
from thumbtune.files import write_text


def file_of(screen: Screen, cell: ScreenCell) -> Path:
    """Return the file of a cell's row."""
    return screen.folder / "runs" / f"{cell.name}-seed-{cell.seed}" / ROW


def facts_of(screen: Screen, cell: ScreenCell) -> dict[str, Any]:
    """Return what decides a row, as its file stores it, but for the hash of the base."""
    recipe = screen.recipe_of(cell)
    sections = {} if recipe is None else recipe.model_dump(mode="json", include={"objective", "train", "seed"})
    facts = {
        "name": cell.name,
        "seed": cell.seed,
        "recipe": sections,
        "screen": screen.sizes.facts() | {"bundled_errors": BUNDLED_ERRORS},
        "thumbtune": __version__,
    }
    return json.loads(json.dumps(facts))


def finished_row(screen: Screen, cell: ScreenCell) -> dict[str, Any] | None:
    """Return the row of a finished cell, with the hash of its base; None if the cell is not finished.

    Raises:
        UsageError: its file has other settings, is of another version of Thumbtune, or cannot be read.
    """
    file = file_of(screen, cell)
    if not file.exists():
        return None
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        then, row, base = stored["cell"], stored["row"], stored["base"]
        sections = then["recipe"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{file} cannot be read ({error}); delete it to train this cell again.", code="screen-row-damaged"
        ) from error
    now = facts_of(screen, cell)
    recipes = [each and whole_recipe(each, ROW) for each in (sections, now["recipe"])]
    if {**then, "recipe": None} != {**now, "recipe": None} or recipes[0] != recipes[1]:
        raise UsageError(
            f"{file} has other settings, or is of another version of Thumbtune; give --out another folder, or delete "
            "it.",
            code="screen-row-differs",
        )
    return {**row, "base": base}


def run_cells(screen: Screen, cells: Sequence[ScreenCell], say: Say) -> list[dict[str, Any]]:
    """Train each cell that has no row yet, and print a line for each; return one row for each, in order.

    Raises:
        UsageError: as `finished_row`, or the finished rows are of another base; before any training but the base's.
        Interrupted: Ctrl-C; finished cells stay.
    """
    finished = [finished_row(screen, cell) for cell in cells]
    _check_base(screen, finished)
    rows = []
    for number, (cell, known) in enumerate(zip(cells, finished, strict=True), start=1):
        begun = time.perf_counter()
        try:
            row = known or row_of(screen, cell) | {"base": screen.base.hash}
        except (Interrupted, KeyboardInterrupt) as stop:
            raise Interrupted(
                f"Stopped in cell {number} of {len(cells)}, {cell.name} of seed {cell.seed}; the same command "
                "continues from there.",
                code="screen-stopped",
            ) from stop
        if known is None:
            numbers = {name: value for name, value in row.items() if name != "base"}
            stored = {"cell": facts_of(screen, cell), "base": row["base"], "row": numbers}
            write_text(file_of(screen, cell), json.dumps(stored, indent=1) + "\n")
        when = "finished before" if known else f"{time.perf_counter() - begun:.0f} s"
        say(f"[{number}/{len(cells)}] {line_of(cell, row)}, {when}")
        rows.append({"cell": cell.name, "method": cell.name, "seed": cell.seed, **row})
    return rows


def _check_base(screen: Screen, finished: Sequence[dict[str, Any] | None]) -> None:
    """Refuse rows of several bases: on another machine a base that is trained again differs in its last bits."""
    bases = {row["base"] for row in finished if row is not None}
    if bases and None in finished:
        bases.add(screen.base.hash)
    if len(bases) > 1:
        raise UsageError(
            f"{screen.folder} has rows of another base than this machine's, and rows of two bases cannot be compared; "
            "give --out a new folder.",
            code="screen-base-differs",
        )


def line_of(cell: ScreenCell, row: dict[str, Any]) -> str:
    """Return one line with the result of a finished cell."""
    if row["status"] != "trained":
        return f"{cell.name}, seed {cell.seed}: {row['status']}"
    return f"{cell.name}, seed {cell.seed}: like {row['like']:.3f}, sound {row['sound']:.3f}"
