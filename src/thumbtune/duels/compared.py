"""Images of a run's columns for the same prompts and seeds, beside the run; those that are there are kept.

compared/grid.json   the columns, the prompts and seeds, and the file of each image
compared/HASH.png    an image; the hash is of the weights, the strength, the prompt, the seed and the sampler

Each image is generated alone, so that it does not depend on those beside it, and is the same in any grid.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from thumbtune import distributed
from thumbtune.clips import Clip, write_clip
from thumbtune.documents import DocumentFault, read_json
from thumbtune.duels.columns import Column, at_strength, side_of
from thumbtune.duels.sides import Side, loaded
from thumbtune.errors import UsageError
from thumbtune.files import sha256, write_png, write_text
from thumbtune.models.protocol import Sampler
from thumbtune.training import records
from thumbtune.training.progress import Progress, Sized

FOLDER, GRID = "compared", "grid.json"
FORM = 1
HASH_CHARACTERS = 32
MAX_DEFAULT_PROMPTS = 4

Pair = tuple[str, int]  # a prompt and a seed


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is generated of a run: each pair of a prompt and a seed, in each column."""

    run: Path
    columns: Sequence[Column]
    pairs: Sequence[Pair]
    sampler: Sampler

    @property
    def out(self) -> Path:
        """The folder of the images."""
        return self.run / FOLDER


def default_prompts(folder: Path) -> list[str]:
    """Return a few prompts for a run's comparison: held-out ones if there are any.

    Raises:
        ThumbtuneError: the run's list of likes cannot be read.
    """
    rows = records.read_labels(folder, ("prompt", "held_out"))
    rows.sort(key=lambda row: not row["held_out"])  # keeps the order among each kind
    return list(dict.fromkeys(row["prompt"] for row in rows if row["prompt"].strip()))[:MAX_DEFAULT_PROMPTS]


def compare(plan: Plan, progress: Progress) -> Iterator[Path]:
    """Write the grid, generate the images that are missing, and yield the file of each.

    Raises:
        UsageError: a prompt is empty, or nothing is to be compared.
        ThumbtuneError: a model cannot be loaded, or the disk is full.
    """
    if not plan.pairs or any(not prompt.strip() for prompt, _ in plan.pairs):
        raise UsageError("There is no prompt, or an empty one; write what an image should show.", code="compare-prompt")
    sides = {column.source: column for column in plan.columns}
    sides = {source: side_of(column, plan.run) for source, column in sides.items()}
    files = [[_file(plan, sides[column.source], column, pair) for column in plan.columns] for pair in plan.pairs]
    names = [[file.name for file in row] for row in files]
    rows = [{"prompt": prompt, "seed": seed} for prompt, seed in plan.pairs]
    columns = [{"name": column.name, "strength": column.strength} for column in plan.columns]
    grid = {"form": FORM, "columns": columns, "rows": rows, "files": names, "sampler": asdict(plan.sampler)}
    write_text(plan.out / GRID, json.dumps(grid, indent=1, ensure_ascii=False), durable=True)
    whole = Sized(_made(plan, sides, files), len(plan.pairs) * len(plan.columns))
    yield from progress(whole, "Comparing")


def _made(plan: Plan, sides: dict[str, Side], files: list[list[Path]]) -> Iterator[Path]:
    """Yield the files column by column; a model is loaded once for the columns that share its weights."""
    numbered = list(enumerate(plan.columns))
    for source, group in groupby(numbered, key=lambda one: one[1].source):
        part = list(group)
        if all(row[place].exists() for place, _ in part for row in files):
            yield from (row[place] for place, _ in part for row in files)
            continue
        with loaded(sides[source], distributed.team().device) as model:
            for place, column in part:
                with at_strength(model, column.strength):
                    for row, (prompt, seed) in zip(files, plan.pairs, strict=True):
                        if not row[place].exists():
                            _write(row[place], model.generate([prompt], [seed], plan.sampler)[0])
                        yield row[place]


def _write(file: Path, image: Any) -> None:
    if isinstance(image, Clip):
        write_clip(file, image)
    else:
        write_png(file, image)


def _file(plan: Plan, of: Side, column: Column, pair: Pair) -> Path:
    """Return the file of an image; its name follows from all that decides the image."""
    told = [of.fingerprint, of.prompt_prefix, asdict(of.encoding), column.strength, *pair, asdict(plan.sampler)]
    digest = sha256(json.dumps(told).encode())[:HASH_CHARACTERS]
    return plan.out / f"{digest}{'.png' if plan.sampler.frames == 1 else '.webp'}"


def read_grid(folder: Path) -> dict[str, Any] | None:
    """Return the newest grid of a run, as its file tells it; None if there is none, or it cannot be read."""
    try:
        grid = read_json(folder / FOLDER / GRID)
        return grid if grid["form"] == FORM else None
    except (DocumentFault, KeyError, TypeError):
        return None
