"""A grid of trainings on the bundled model, each in a folder of its own, each made once.

    pool of drawn images -> a simulated person's thumbs -> import -> train -> evaluate on held-out prompts -> row.json

These are the calls of `thumbtune demo`, and of any user. Trainings of one seed share their pool, and their duels have
the same prompts and seeds, so that they can be compared image by image. A second call leaves finished cells alone,
and goes on from the newest checkpoint of one that was stopped.
"""

import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from PIL.Image import Image

from thumbtune import __version__
from thumbtune.duels.evaluate import FOLDER as EVALUATION
from thumbtune.duels.evaluate import Evaluation, evaluate
from thumbtune.duels.image_grid import ImageGrid
from thumbtune.errors import Interrupted, ThumbtuneError, UsageError
from thumbtune.evaluation.duel_folder import read_duel
from thumbtune.experiments import demo
from thumbtune.experiments import thumbs as people
from thumbtune.experiments.experiments import Order, Say
from thumbtune.experiments.thumbs import Thumbs
from thumbtune.files import file_sha256, sha256, write_text
from thumbtune.models.protocol import Sampler
from thumbtune.runs import build, run
from thumbtune.runs import recipe as config
from thumbtune.runs.recipe import Recipe
from thumbtune.runs.renamed import RENAMED, RenamedOption
from thumbtune.training.batches import Progress, Sized
from thumbtune.training.trainer import MemoryRanOut, TrainingBroke

ROW = "row.json"
BROKE = "diverged"  # how the status of a cell begins whose training broke off
STYLE = "line art"  # of the five styles that the bundled judge of styles names
PER_PROMPT = demo.PER_PROMPT
# a default may move and an experiment not: what these defaults were when the first cells were made
FIRST = ("train.steps=200", "train.lr=1e-4", "train.cooldown=0")
QUICK = (
    *("train.steps=2", "train.batch=4", "train.micro_batch=4", "train.warmup=1", "train.cooldown=0"),
    *("train.checkpoint_every=1", "evaluate.steps=2", "evaluate.per_prompt=1"),
)
QUICK_CONCEPTS = 6
ALL_THUMBS = Thumbs()
SIDES = {"before": "a", "after": "b"}  # the sides of a run's evaluation


def budget_said(order: Order, settings: Sequence[str]) -> str:
    """How long each training of a grid is, in words: of a quick one, as long as quick ones are."""
    train = config.read(None, [*FIRST, *settings, *(QUICK if order.quick else ())]).train
    return f"{train.steps} steps of {train.batch} images"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training.

    name:     of its folder, with the seed
    settings: `option=value` of the recipe, on top of the defaults
    columns:  what the table says of it, beside the name and the seed
    """

    name: str
    seed: int
    taste: str = "line-art"
    thumbs: Thumbs = ALL_THUMBS
    per_prompt: int = PER_PROMPT
    settings: tuple[str, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lab:
    """Where cells are made, and how it is told."""

    order: Order
    progress: Progress
    say: Say

    def run_of(self, cell: Cell) -> Path:
        """The run of a cell; all lie beside each other, and so share encoded images."""
        return self.order.folder / "runs" / f"{cell.name}-seed-{cell.seed}"

    def likes_of(self, cell: Cell) -> Path:
        """The thumbs of a cell, which cells with the same person and seed share."""
        return self.order.folder / "likes" / f"{cell.taste}-{cell.thumbs.name}-seed-{cell.seed}"

    def prompts(self) -> list[str]:
        """Prompts that nobody rated, for all cells."""
        unrated = demo.concepts()["unrated"]
        return [demo.prompt_of(concept) for concept in (unrated[:QUICK_CONCEPTS] if self.order.quick else unrated)]

    def recipe_of(self, cell: Cell) -> Recipe:
        """The recipe of a cell: the defaults, its settings, and the demo's way of judging.

        Raises:
            UsageError: its settings are no recipe.
        """
        data = {
            "model": demo.MODEL,
            "likes": str(self.likes_of(cell) / "store"),
            "seed": cell.seed,
            # what goes wrong is a result here: every cell is to have the budget that the others have
            "train": {"guards": False, "validate_every": 0},
            "evaluate": {
                "prompts": str(self.order.folder / "prompts.txt"),
                "scorers": [cell.taste],
                "first_seed": demo.FIRST_SEED + demo.SEEDS_PER_DEMO * cell.seed,
            },
        }
        settings = [*FIRST, *cell.settings, *(QUICK if self.order.quick else ())]
        return config.parse(config.with_settings(data, settings), f"The recipe of {cell.name}")


def thumbs_on(lab: Lab, cell: Cell) -> tuple[int, int]:
    """Draw the pool and rate it, unless both are there; (likes, dislikes)."""
    quick, folder = lab.order.quick, lab.likes_of(cell)
    done = folder / "counts.json"
    if done.exists():
        found = json.loads(done.read_text(encoding="utf-8"))
        return found["likes"], found["dislikes"]
    drawn = people.pool(
        lab.order.folder / "pools" / f"seed-{cell.seed}",
        cell.seed,
        QUICK_CONCEPTS if quick else len(demo.concepts()["rated"]),
        min(cell.per_prompt, 3) if quick else cell.per_prompt,
        Sampler(steps=2, guidance=demo.POOL.guidance) if quick else demo.POOL,
        lab.progress,
    )
    # two denoising steps draw nothing that a person would like: a quick one likes the better half
    unlike = quick and cell.taste != "red" and cell.thumbs.rule == "person"
    rule = Thumbs(rule="upper half", count=cell.thumbs.count, flipped=cell.thumbs.flipped) if unlike else cell.thumbs
    likes, dislikes = people.likes_in(folder, people.rated(drawn, cell.taste, rule, cell.seed), cell.taste)
    write_text(done, json.dumps({"likes": likes, "dislikes": dislikes}))
    return likes, dislikes


def trained(lab: Lab, cell: Cell) -> dict[str, Any]:
    """Rate and train, going on from where an earlier call stopped; what the row says of it.

    A set that lacks a kind of thumb, and a training that diverged, are results: `status` tells them.
    """
    recipe, folder = lab.recipe_of(cell), lab.run_of(cell)
    likes, dislikes = thumbs_on(lab, cell)
    row = {"likes": likes, "dislikes": dislikes, "status": "trained"}
    try:
        build.check_thumbs(recipe, build.objective_of(recipe), build.split_of(recipe).train)
    except UsageError:
        raise
    except ThumbtuneError as error:
        return row | {"status": f"cannot be trained: {error}"}
    story = {"source": "an experiment's folder of thumbs", "simulated": demo.PEOPLE[cell.taste].sentence}
    steps = run.tune(recipe, folder, lab.progress, resume=True, story=story)
    try:
        for _ in lab.progress(Sized(steps, recipe.train.steps), "Tuning"):
            pass
    except MemoryRanOut:
        raise
    except TrainingBroke as error:
        return row | {"status": f"{BROKE}: {error}"}
    return row


def judged(lab: Lab, cell: Cell) -> dict[str, Any]:
    """Train and evaluate: the numbers of a row."""
    row = trained(lab, cell)
    if row["status"] != "trained":
        return row
    recipe, folder = lab.recipe_of(cell), lab.run_of(cell)
    verdict = evaluate(Evaluation(run=folder), recipe, lab.progress)
    wanted, faithful = (standing(folder, scorer) for scorer in (cell.taste, "faithfulness"))
    row |= {"taste_before": wanted["before"]["mean"], "taste_after": wanted["after"]["mean"]}
    row |= {"gain": wanted["change"]["mean"], "win_rate": wanted["rate"]}
    row |= {"faithfulness_before": faithful["before"]["mean"], "faithfulness_after": faithful["after"]["mean"]}
    row |= {"faithfulness_change": faithful["change"]["mean"]}
    for side, name in SIDES.items():
        named = style_named(images(lab, cell, name))
        row[f"named_{STYLE.replace(' ', '_')}_{side}"] = sum(map(sum, named)) / sum(map(len, named))
    row["auc"] = verdict["agreement"]["auc"] if verdict and verdict["agreement"] else None
    return row


def standing(folder: Path, scorer: str) -> dict[str, Any]:
    """Return the standing of the tuned images of a run by one scorer, over pairs of images of all prompts."""
    rows = read_duel(folder / EVALUATION).result["standings"]
    key = (scorer, "pairwise", None)
    return next(row for row in rows if (row["scorer"], row["estimand"], row["style"]) == key)


def images(lab: Lab, cell: Cell, side: str) -> Iterator[list[Image]]:
    """The judged images of a finished cell, prompt by prompt; `side` is a (the base) or b (tuned)."""
    recipe = lab.recipe_of(cell)
    grid = ImageGrid(
        folder=lab.run_of(cell) / EVALUATION,
        prompts=lab.prompts(),
        per_prompt=recipe.evaluate.per_prompt,
        first_seed=recipe.evaluate.first_seed,
        sampler=build.sampler_of(recipe),
    )
    return (grid.images(side, place) for place in range(len(grid.prompts)))


def style_named(each: Iterator[list[Image]]) -> list[list[float]]:
    """[prompts, seeds]: 1 where the judge of styles, which no training sees, names the image line art."""
    from thumbtune.evaluation.scorers.style import StyleJudge

    judge = StyleJudge(build.BUNDLED / "style")
    return [[float(name == STYLE) for name in judge.names(images)] for images in each]


def settings_of(lab: Lab, cell: Cell) -> dict[str, Any]:
    """All that decides a cell's row, as it is kept with it."""
    return json.loads(json.dumps(asdict(cell) | {"recipe": lab.recipe_of(cell).model_dump(mode="json"), **_by_what()}))


@cache
def _by_what() -> dict[str, str]:
    """The version, the model and the judges that a row is of: rows of others must not stand in one table with it."""
    files = [*(build.BUNDLED / demo.MODEL).rglob("*.safetensors")]
    files += [file for judge in ("judge", "style") for file in (build.BUNDLED / judge).rglob("*") if file.is_file()]
    names = {file: str(file.relative_to(build.BUNDLED)) for file in files}
    told = "".join(f"{names[file]} {file_sha256(file)}\n" for file in sorted(files))
    return {"thumbtune": __version__, "bundled": sha256(told.encode())[:16]}


def row_in(lab: Lab, cell: Cell) -> dict[str, Any] | None:
    """The row of a finished cell.

    Raises:
        UsageError: the folder holds the cell with other settings.
    """
    file = lab.run_of(cell) / ROW
    if not file.exists():
        return None
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        made, row = kept["cell"], kept["row"]
        made["settings"] = [_setting_with_new_name(setting) for setting in made["settings"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file} cannot be read ({error}); delete it to make this cell again.") from error
    now = settings_of(lab, cell)
    if {**made, "recipe": None} != {**now, "recipe": None} or _learns(made["recipe"]) != _learns(now["recipe"]):
        raise UsageError(
            f"{file} was made with other settings, or by another Thumbtune; give --out another folder, or delete "
            f"{file.parent}."
        )
    return row


def _setting_with_new_name(setting: str) -> str:
    """Return `option=value` with today's name of the option: rows keep the name of when they were made."""
    option, _, value = setting.partition("=")
    return f"{RENAMED.get(option, option)}={value}"


def _learns(recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """A recipe without its paths, as results may have been moved since, and without gates, which no row holds.

    An option that it does not name is newer than it, and at its default changes nothing. None: it is no
    recipe any more.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RenamedOption)  # rows keep the names of when they were made
            whole = config.parse(dict(recipe), ROW).model_dump(mode="json")
    except UsageError:
        return None
    judging = {name: value for name, value in whole["evaluate"].items() if name != "prompts"}
    return {**whole, "likes": None, "gates": None, "evaluate": judging}


def rows_of(lab: Lab, cells: Sequence[Cell], measure: Any = judged) -> list[dict[str, Any]]:
    """Make every cell that is not there yet, with a line for each; one row for each, in their order.

    Raises:
        UsageError: a cell's settings are no recipe, or the folder holds it with others; before any work is done.
        Interrupted: Ctrl-C; what is finished stays.
    """
    known = [row_in(lab, cell) for cell in cells]
    for cell in cells:
        lab.recipe_of(cell)
    write_text(lab.order.folder / "prompts.txt", "\n".join(lab.prompts()) + "\n")
    rows = []
    for number, (cell, made) in enumerate(zip(cells, known, strict=True), start=1):
        begun, again = time.perf_counter(), made is not None
        try:
            row = made or measure(lab, cell)
        except (Interrupted, KeyboardInterrupt) as stop:
            raise Interrupted(
                f"Stopped in cell {number} of {len(cells)}, {cell.name} of seed {cell.seed}; "
                "the same command goes on from there."
            ) from stop
        took = time.perf_counter() - begun
        if not again:
            kept = json.dumps({"cell": settings_of(lab, cell), "row": row, "seconds": round(took, 1)}, indent=1)
            write_text(lab.run_of(cell) / ROW, kept)
        lab.say(f"[{number}/{len(cells)}] {line_of(cell, row)}, {'made before' if again else f'{took:.0f} s'}")
        rows.append({"cell": cell.name, "seed": cell.seed, "taste": cell.taste, **cell.columns, **row})
    return rows


def line_of(cell: Cell, row: Mapping[str, Any]) -> str:
    """A finished cell in words and numbers."""
    what = f"{cell.name}, seed {cell.seed}: "
    if row["status"] != "trained":
        return what + row["status"]
    if "taste_after" not in row:
        return what + "done"
    return (
        f"{what}{cell.taste} {row['taste_before']:.3f} → {row['taste_after']:.3f}, "
        f"faithfulness {row['faithfulness_before']:.3f} → {row['faithfulness_after']:.3f}"
    )
