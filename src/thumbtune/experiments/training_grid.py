"""A grid of trainings on the bundled model, each in a folder of its own.

    pool of images -> a simulated person's labels -> import -> train -> evaluate on held-out prompts -> row.json

These are the calls of `thumbtune demo`, and of any user. Trainings of one seed share their pool, and are evaluated on
the same prompts and seeds, so that they can be compared image by image. A second call keeps the finished cells, and
continues a stopped one from its newest checkpoint.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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
from thumbtune.experiments import demo, ground_labels, grounds, simulated_labels
from thumbtune.experiments.demo import LabelledImage
from thumbtune.experiments.experiments import Order, Say
from thumbtune.experiments.grounds import GROUNDS
from thumbtune.experiments.person_sentences import PAIRS, person_of
from thumbtune.experiments.row_recipes import whole_recipe
from thumbtune.experiments.simulated_labels import PoolImage, Rating
from thumbtune.experiments.step_clock import StepClock
from thumbtune.files import file_sha256, sha256, write_text
from thumbtune.models.protocol import Sampler
from thumbtune.runs import build, objectives
from thumbtune.runs.bundled_words import MODEL
from thumbtune.runs.checks import check_labels
from thumbtune.runs.recipe import Recipe, parse_recipe, read_recipe, with_settings
from thumbtune.runs.renamed import RENAMED
from thumbtune.runs.tuning import tune
from thumbtune.training.progress import Progress, Sized
from thumbtune.training.trainer import MemoryRanOut, TrainingBroke

ROW = "row.json"
DIVERGED_STATUS = "diverged"  # the first word of a cell's status if its training diverged
STYLE = "line art"  # one of the five styles that the bundled style judge names
PER_PROMPT = demo.PER_PROMPT
# defaults may change, experiments may not: these are the defaults of when the first cells were trained
ORIGINAL_DEFAULTS = ("train.steps=200", "train.lr=1e-4", "train.cooldown=0", *grounds.PLAIN)
# likewise of the demos
DEMO_SETTINGS = {
    "line-art": ("train.lr=5e-4", "train.steps=140", "train.cooldown=20"),
    "red": demo.PEOPLE["red"].settings,
}
QUICK = (
    *("train.steps=2", "train.batch=4", "train.micro_batch=4", "train.warmup=1", "train.cooldown=0"),
    *("train.checkpoint_every=1", "evaluate.steps=2", "evaluate.per_prompt=1"),
)
QUICK_CONCEPTS = 6
DEFAULT_RATING = Rating()
SIDES = {"before": "a", "after": "b"}  # the sides of a run's evaluation


def budget_text(order: Order, settings: Sequence[str]) -> str:
    """Return the length of each training of a grid as text, for quick orders too."""
    train = read_recipe(None, [*ORIGINAL_DEFAULTS, *settings, *(QUICK if order.quick else ())]).train
    return f"{train.steps} steps of {train.batch} images"


@dataclass(frozen=True, kw_only=True)
class GridCell:
    """One training of a grid.

    name:     with the seed, the name of its folder
    settings: `option=value` of the recipe, on top of the defaults
    columns:  further columns of its row
    ground:   the name of the ground whose person labels the pool, and whose budget comes before the settings; the
              taste is then this name too. "": the person is the taste's
    facts:    what decides the row beside all that: the constants of a measure of its own
    """

    name: str
    seed: int
    taste: str = "line-art"
    rating: Rating = DEFAULT_RATING
    per_prompt: int = PER_PROMPT
    settings: tuple[str, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)
    ground: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def person(self) -> str:
        """Return a sentence on who gives the labels."""
        if not self.ground:
            return demo.PEOPLE[self.taste].sentence
        rule = PAIRS if self.facts.get("pairs") else self.rating.rule
        return person_of(GROUNDS[self.ground], rule, self.rating.flipped)


@dataclass(frozen=True)
class Grid:
    """The folder of a grid, and how its progress is shown."""

    order: Order
    progress: Progress
    say: Say

    def run_of(self, cell: GridCell) -> Path:
        """Return the run folder of a cell; all lie side by side, and so share encoded images."""
        return self.order.folder / "runs" / f"{cell.name}-seed-{cell.seed}"

    def likes_of(self, cell: GridCell) -> Path:
        """Return the folder of a cell's labels, which cells with the same person and seed share."""
        return self.order.folder / "likes" / f"{cell.taste}-{cell.rating.name}-seed-{cell.seed}"

    def prompts(self) -> list[str]:
        """Return the evaluation prompts of all cells, which the simulated person did not rate."""
        unrated = demo.concepts()["unrated"]
        return [demo.prompt_of(concept) for concept in (unrated[:QUICK_CONCEPTS] if self.order.quick else unrated)]

    def recipe_of(self, cell: GridCell) -> Recipe:
        """Return the recipe of a cell: the defaults, its settings, and the demo's evaluation.

        Raises:
            UsageError: its settings are not valid options of a recipe.
        """
        data = {
            "model": MODEL,
            "likes": str(self.likes_of(cell) / "store"),
            "seed": cell.seed,
            # a failure is a result here, and every cell gets the same budget
            "train": {"guards": False, "validate_every": 0},
            "evaluate": {
                "prompts": str(self.order.folder / "prompts.txt"),
                "scorers": list(GROUNDS[cell.ground].scorers) if cell.ground else [cell.taste],
                "first_seed": demo.FIRST_SEED + demo.SEEDS_PER_DEMO * cell.seed,
            },
        }
        first = (*grounds.BUDGET, *grounds.REST) if cell.ground else ORIGINAL_DEFAULTS
        settings = [*first, *cell.settings, *(QUICK if self.order.quick else ())]
        return parse_recipe(with_settings(data, settings), f"The recipe of {cell.name}")


def pool_sampler(lab: Grid, cell: GridCell) -> Sampler:
    """Return how the images of a cell's pool are generated."""
    sampler = grounds.POOL if cell.ground else demo.POOL
    return replace(sampler, steps=2) if lab.order.quick else sampler


def pool_of(lab: Grid, cell: GridCell) -> list[PoolImage]:
    """Return the pool that the trainings of a seed share; images that are missing are generated."""
    quick = lab.order.quick
    return simulated_labels.generate_pool(
        lab.order.folder / "pools" / f"seed-{cell.seed}",
        cell.seed,
        QUICK_CONCEPTS if quick else len(demo.concepts()["rated"]),
        min(cell.per_prompt, 3) if quick else cell.per_prompt,
        pool_sampler(lab, cell),
        lab.progress,
    )


def label_pool(lab: Grid, cell: GridCell) -> tuple[int, int]:
    """Generate the pool and label it, unless both exist; return the numbers of likes and dislikes."""
    folder = lab.likes_of(cell)
    counts_file = folder / "counts.json"
    if counts_file.exists():
        counts = json.loads(counts_file.read_text(encoding="utf-8"))
        return counts["likes"], counts["dislikes"]
    pool = pool_of(lab, cell)
    rating = cell.rating if cell.taste == "red" else rating_in(lab, cell.rating)
    labels = rate(cell, pool, rating)
    grades = ground_labels.grades_of(pool, GROUNDS[cell.ground], rating, cell.seed) if cell.ground else {}
    likes, dislikes = simulated_labels.import_labels(folder, labels, cell.taste, grades)
    write_text(counts_file, json.dumps({"likes": likes, "dislikes": dislikes}))
    return likes, dislikes


def rating_in(lab: Grid, rating: Rating) -> Rating:
    """Return how a pool is rated: in a quick run no image is liked after two denoising steps, so the better half is."""
    none_liked = lab.order.quick and rating.rule in ("person", ground_labels.STARS)
    return replace(rating, rule="upper half") if none_liked else rating


def rate(cell: GridCell, pool: Sequence[PoolImage], rating: Rating) -> list[LabelledImage]:
    """Return the labels that a cell's person gives to a pool."""
    if cell.ground:
        return ground_labels.rate_pool(pool, GROUNDS[cell.ground], rating, cell.seed)
    return simulated_labels.rate_pool(pool, cell.taste, rating, cell.seed)


def trained(lab: Grid, cell: GridCell) -> dict[str, Any]:
    """Label and train, continuing where an earlier call stopped; return the row's counts and status.

    Labels of one kind only, and a training that diverged, are results: `status` names them.
    """
    return trained_on(lab, cell, lab.recipe_of(cell), *label_pool(lab, cell))


def trained_on(
    lab: Grid, cell: GridCell, recipe: Recipe, likes: int, dislikes: int, person: str = ""
) -> dict[str, Any]:
    """Train by a recipe whose store has labels already; return the row's counts and status, as `trained` does.

    person: a sentence on who gave the labels; "": the cell's own
    train_seconds: of the processor, see `StepClock`; None if an earlier call took the first steps
    """
    folder = lab.run_of(cell)
    row = {"likes": likes, "dislikes": dislikes, "status": "trained"}
    if (why_not := not_trainable(recipe)) is not None:
        return row | {"status": why_not}
    story = {"source": "an experiment's folder of labels", "simulated": person or cell.person}
    steps, clock = tune(recipe, folder, lab.progress, resume=True, story=story), StepClock()
    try:
        for _ in lab.progress(Sized(clock.timed(steps), recipe.train.steps), "Tuning"):
            pass
    except MemoryRanOut:
        raise
    except TrainingBroke as error:
        return row | {"status": f"{DIVERGED_STATUS}: {error}"}
    return row | {"train_seconds": clock.seconds}


def not_trainable(recipe: Recipe) -> str | None:
    """Return the status of a cell whose labels are of one kind, or make no pair; None if they can be trained on."""
    try:
        check_labels(recipe, objectives.objective_of(recipe), build.split_of(recipe).train)
    except UsageError:
        raise
    except ThumbtuneError as error:
        return f"cannot be trained: {error}"
    return None


def judged(lab: Grid, cell: GridCell) -> dict[str, Any]:
    """Train and evaluate; return the numbers of a row."""
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
    found = verdict["agreement"] if verdict else None
    row |= {"auc": found["auc"], "auc_images": found["images"], "auc_liked": found["liked"]} if found else {"auc": None}
    return row


def standing(folder: Path, scorer: str) -> dict[str, Any]:
    """Return the standing of the tuned images of a run by one scorer, over pairs of images of all prompts."""
    rows = read_duel(folder / EVALUATION).result["standings"]
    key = (scorer, "pairwise", None)
    return next(row for row in rows if (row["scorer"], row["estimand"], row["style"]) == key)


def images(lab: Grid, cell: GridCell, side: str) -> Iterator[list[Image]]:
    """Return the evaluation images of a finished cell, prompt by prompt; `side` is a (the base) or b (tuned)."""
    recipe = lab.recipe_of(cell)
    grid = ImageGrid(
        folder=lab.run_of(cell) / EVALUATION,
        prompts=lab.prompts(),
        per_prompt=recipe.evaluate.per_prompt,
        first_seed=recipe.evaluate.first_seed,
        sampler=build.sampler_of(recipe),
    )
    return (grid.images(side, place) for place in range(len(grid.prompts)))


def style_named(images_of_prompts: Iterator[list[Image]]) -> list[list[float]]:
    """Return [prompts, seeds]: 1 if the style judge, which no training uses, names the image line art, else 0."""
    from thumbtune.evaluation.scorers.style_classifier import StyleClassifier

    judge = StyleClassifier(build.BUNDLED / "style")
    return [[float(name == STYLE) for name in judge.names(images)] for images in images_of_prompts]


def settings_of(lab: Grid, cell: GridCell) -> dict[str, Any]:
    """Return all that decides a cell's row, as `row.json` stores it."""
    settings = asdict(cell)
    settings["thumbs"] = settings.pop("rating")  # the stored key of all rows
    ground, facts = settings.pop("ground"), settings.pop("facts")
    if facts:
        settings["facts"] = facts
    if ground:  # rows without a ground are older than grounds
        settings["ground"] = GROUNDS[ground].facts()
    recipe = lab.recipe_of(cell).model_dump(mode="json")
    recipe["likes"], recipe["evaluate"]["prompts"] = "likes", "prompts.txt"  # wherever the folder lies
    return json.loads(json.dumps(settings | {"recipe": recipe, **_versions()}))


@cache
def _versions() -> dict[str, str]:
    """Return the version of Thumbtune and a hash of the model and judges; a table has rows of one version only."""
    files = [*(build.BUNDLED / MODEL).rglob("*.safetensors")]
    files += [file for judge in ("judge", "style") for file in (build.BUNDLED / judge).rglob("*") if file.is_file()]
    names = {file: str(file.relative_to(build.BUNDLED)) for file in files}
    hashes = "".join(f"{names[file]} {file_sha256(file)}\n" for file in sorted(files))
    return {"thumbtune": __version__, "bundled": sha256(hashes.encode())[:16]}


def finished_row(lab: Grid, cell: GridCell) -> dict[str, Any] | None:
    """Return the row of a finished cell, or None if the cell is not finished.

    Raises:
        UsageError: the folder holds the cell with other settings, or its row cannot be read.
    """
    file = lab.run_of(cell) / ROW
    if not file.exists():
        return None
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        then, row = stored["cell"], stored["row"]
        then["settings"] = [_setting_with_new_name(setting) for setting in then["settings"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{file} cannot be read ({error}); delete it to train this cell again.", code="grid-row-damaged"
        ) from error
    now = settings_of(lab, cell)
    recipes = [_recipe_as_trained(settings["recipe"]) for settings in (then, now)]
    if {**then, "recipe": None} != {**now, "recipe": None} or recipes[0] != recipes[1]:
        raise UsageError(
            f"{file} has other settings, or is of another version of Thumbtune; give --out another folder, or delete "
            f"{file.parent}.",
            code="grid-row-differs",
        )
    return row


def _setting_with_new_name(setting: str) -> str:
    """Return `option=value` with the present name of the option; rows keep the name of their time."""
    option, _, value = setting.partition("=")
    return f"{RENAMED.get(option, option)}={value}"


def _recipe_as_trained(recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a recipe without paths, as results may have moved, and without gates, which decide no row.

    Return None if the recipe cannot be read any more.
    """
    whole = whole_recipe(recipe, ROW)
    if whole is None:
        return None
    judging = {name: value for name, value in whole["evaluate"].items() if name != "prompts"}
    return {**whole, "likes": None, "gates": None, "evaluate": judging}


def run_grid(lab: Grid, cells: Sequence[GridCell], measure: Any = judged) -> list[dict[str, Any]]:
    """Train each cell that has no row yet, and print a line for each; return one row for each, in order.

    Raises:
        UsageError: a cell's settings are not valid, or the folder holds it with other settings; before any work.
        Interrupted: Ctrl-C; finished cells stay.
    """
    finished = [finished_row(lab, cell) for cell in cells]
    for cell in cells:
        lab.recipe_of(cell)
    write_text(lab.order.folder / "prompts.txt", "\n".join(lab.prompts()) + "\n")
    rows = []
    for number, (cell, known_row) in enumerate(zip(cells, finished, strict=True), start=1):
        begun = time.perf_counter()
        try:
            row = known_row or measure(lab, cell)
        except (Interrupted, KeyboardInterrupt) as stop:
            kind = type(stop) if isinstance(stop, Interrupted) else Interrupted
            raise kind(
                f"Stopped in cell {number} of {len(cells)}, {cell.name} of seed {cell.seed}; "
                "the same command continues from there.",
                code="grid-stopped",
            ) from stop
        took = time.perf_counter() - begun
        if known_row is None:
            stored = json.dumps({"cell": settings_of(lab, cell), "row": row, "seconds": round(took, 1)}, indent=1)
            write_text(lab.run_of(cell) / ROW, stored)
        when = f"{took:.0f} s" if known_row is None else "finished before"
        lab.say(f"[{number}/{len(cells)}] {line_of(cell, row)}, {when}")
        rows.append({"cell": cell.name, "seed": cell.seed, "taste": cell.taste, **cell.columns, **row})
    return rows


def line_of(cell: GridCell, row: Mapping[str, Any]) -> str:
    """Return one line with the result of a finished cell."""
    name = f"{cell.name}, seed {cell.seed}: "
    if row["status"] != "trained":
        return name + row["status"]
    if "log_odds" in row:
        return f"{name}log-odds {row['log_odds']:+.2f}, faithfulness {row['faithfulness']:.3f}"
    if "taste_after" not in row:
        return name + "done"
    return (
        f"{name}{cell.taste} {row['taste_before']:.3f} → {row['taste_after']:.3f}, "
        f"faithfulness {row['faithfulness_before']:.3f} → {row['faithfulness_after']:.3f}"
    )
