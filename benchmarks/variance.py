"""How much of the gradient's variance the choice of noise levels in a batch explains: stratified, antithetic, by norm.

    python -m benchmarks.variance            the bundled model on soft 3d, into benchmarks/variance.json; ten minutes
    python -m benchmarks.variance --quick    a few steps, which only show that the command works

A recipe trains for some steps. Then its weights stand still, and the gradients of further steps are taken in several
ways, of the same images and the same noise; only the noise levels differ. Likes and dislikes are arranged apart.

    independent  each image's level by itself: what training does
    stratified   one level in each of n equal parts of the noise levels, for n images
    antithetic   two images share u and 1 - u

    variance     the sum of the variances of all coordinates of the gradient of a batch, as a multiple of that with
                 independent levels, with a 95 % interval by the jackknife over steps
    by norm      what levels that were drawn in proportion to the gradient norm of their images would leave of an
                 image's part: mean(norm) ^ 2 / mean(norm ^ 2) over eighths of the levels, norm being the root of the
                 mean square of an eighth. It is the best that importance sampling by noise level can do
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from benchmarks import machine
from thumbtune.experiments.experiments import Order
from thumbtune.experiments.ground_cells import ground_cell
from thumbtune.experiments.methods import AUTO_WINDOW, METHODS, PAPER
from thumbtune.experiments.training_grid import Grid, label_pool
from thumbtune.models.process import Times
from thumbtune.runs import build
from thumbtune.runs.setup import batches_from, encoded_of, prepare
from thumbtune.training import trainer
from thumbtune.training.batches import Batches
from thumbtune.training.cache import Cache
from thumbtune.training.sampling import seeded_generator
from thumbtune.training.trainer import Settings, Training, train

FILE = Path(__file__).with_suffix(".json")
GROUND, SEED = "soft-3d", 40
RECIPES = {"paper": PAPER, "default": AUTO_WINDOW}
KINDS = ("independent", "stratified", "antithetic")
WARM, STEPS, NORMS = 40, 100, 24  # steps of training, with still weights for each kind, and for norms of images
PARTS = 8


def stratified(uniform: Float[Tensor, "n"], order: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Return one number in each of n equal parts of [0, 1), in a random order.

    >>> stratified(torch.tensor([0.5, 0.0]), torch.tensor([1, 0]))
    tensor([0.7500, 0.0000])
    """
    return (order + uniform) / len(uniform)


def antithetic(uniform: Float[Tensor, "n"], order: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Return u for half of the places and 1 - u for as many others; of an odd number one stays alone.

    >>> antithetic(torch.tensor([0.25, 0.5, 0.5]), torch.tensor([0, 1, 2]))
    tensor([0.2500, 0.7500, 0.5000])
    """
    half = len(order) // 2
    changed = uniform.clone()
    changed[order[half : 2 * half]] = 1 - uniform[order[:half]]
    return changed


ARRANGED = {"stratified": stratified, "antithetic": antithetic}


@dataclass(frozen=True, kw_only=True)
class ArrangedBatches(Batches):
    """Batches whose noise levels are arranged within a step, for likes and dislikes apart."""

    kind: str = KINDS[0]

    def _times(self, uniform: Float[Tensor, "b"], liked: Bool[Tensor, "b"], positions: Int[Tensor, "b"]) -> Times:
        if self.kind in ARRANGED:
            uniform = uniform.clone()
            for label in (True, False):
                rows = (liked == label).nonzero()[:, 0]
                seeds = [round(1e6 * float(one)) for one in uniform[rows]]  # other ones in each step
                order = torch.randperm(len(rows), generator=seeded_generator(self.seed, "order", *seeds))
                uniform[rows] = ARRANGED[self.kind](uniform[rows], order)
        return super()._times(uniform, liked, positions)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A training whose weights stand still, and its batches."""

    training: Training
    batches: Batches
    objective: Any

    def steps(self, kind: str, count: int) -> Iterator[Any]:
        """Make steps with one arrangement, the same images and noise each time."""
        given = {field.name: getattr(self.batches, field.name) for field in fields(Batches)}
        self.training.step = 1000
        steps = train(self.training, ArrangedBatches(**given, kind=kind), self.objective)
        for _ in range(count):
            yield next(steps)


def bench_of(method: str, warm: int, folder: Path, quick: bool) -> Bench:
    """Train a method for `warm` steps on the ground."""

    def silent(works: Any, _: str) -> Any:
        return works

    lab = Grid(Order(folder=folder, ground=GROUND, quick=quick), silent, lambda _: None)
    cell = ground_cell(GROUND, method, SEED, METHODS[method].settings)
    label_pool(lab, cell)
    recipe = lab.recipe_of(cell)
    (folder / "prompts.txt").write_text("\n".join(lab.prompts()) + "\n", encoding="utf-8")
    setup = prepare(recipe)
    accelerator = build.training_accelerator_of(recipe)
    model = build.model_of(recipe, accelerator.device)
    encoded = encoded_of(setup, model, Cache(folder / "cache")).fill()
    batches = batches_from(encoded, model.process, recipe, setup.objective)
    settings = Settings(steps=10**6, micro_batch=recipe.train.batch, lr=recipe.train.lr)
    training = Training(model, setup.reference_point, settings, accelerator, setup.beta)
    steps = train(training, batches, setup.objective)
    for _ in range(warm):
        next(steps)
    return Bench(training=training, batches=batches, objective=setup.objective)


def gradients_of(bench: Bench, kind: str, count: int) -> Float[Tensor, "n n"]:
    """Return the products of the gradients of `count` steps with each other; no step changes a weight."""
    found: list[Tensor] = []

    def kept(training: Training, empty: bool) -> float:
        found.append(torch.cat([one.grad.flatten() for one in training.parameters]).clone())  # type: ignore[union-attr]
        training.optimizer.zero_grad()
        return 1.0

    with patch.object(trainer, "_update", kept):
        for _ in bench.steps(kind, count):
            pass
    table = torch.stack(found)
    return (table @ table.T).double()


def norms_of(bench: Bench, count: int) -> list[tuple[float, float]]:
    """Return the noise level of each image of `count` steps, as a share of the process, and its gradient's norm."""
    measured, loss_of, found = trainer.measured, trainer.loss_of, []
    norms: list[float] = []
    parameters = bench.training.parameters

    def loss(objective: Any, judged: Any) -> Tensor:
        losses = loss_of(objective, judged)
        for one in losses:
            slopes = torch.autograd.grad(one, parameters, retain_graph=True)
            norms.append(math.sqrt(sum(float(slope.double().pow(2).sum()) for slope in slopes)))
        return losses

    def kept(objective: Any, judged: Any, losses: Tensor, share: Tensor) -> Any:
        found.extend(zip(share.tolist(), norms, strict=True))
        norms.clear()
        return measured(objective, judged, losses, share)

    with patch.multiple(trainer, loss_of=loss, measured=kept, _update=_unchanged):
        for _ in bench.steps(KINDS[0], count):
            pass
    return found


def _unchanged(training: Training, empty: bool) -> float:
    return 1.0


def variance(products: Float[Tensor, "n n"], steps: Sequence[int] | None = None) -> float:
    """Return the sum of the variances of all coordinates, of n vectors of which the products are given.

    >>> variance(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))  # of 1 and -1
    2.0
    """
    chosen = products if steps is None else products[steps][:, steps]
    count = len(chosen)
    return float(chosen.diagonal().sum() - chosen.sum() / count) / (count - 1)


def ratio(products: Float[Tensor, "n n"], other: Float[Tensor, "n n"]) -> tuple[float, float, float]:
    """Return one variance over another one, with a 95 % interval: the jackknife of its logarithm, step by step."""

    def log_ratio(steps: Sequence[int] | None = None) -> float:
        return math.log(variance(products, steps) / variance(other, steps))

    count = len(products)
    without = np.array([log_ratio([step for step in range(count) if step != one]) for one in range(count)])
    half = 1.96 * math.sqrt((count - 1) * float(np.var(without)))
    middle = log_ratio()
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def left_by_norm(found: Sequence[tuple[float, float]]) -> float:
    """Return what importance sampling by noise level would leave of the mean square of the norms.

    >>> left_by_norm([(place / 8, 1.0 + (place < 4)) for place in range(8)])
    0.9
    """
    levels, norms = np.array(found).T
    parts = np.array_split(norms[np.argsort(levels, kind="stable")], min(PARTS, len(norms)))
    rms = np.array([np.sqrt(np.mean(part**2)) for part in parts])
    return float(rms.mean() ** 2 / np.mean(rms**2))


def rows_of(name: str, folder: Path, quick: bool) -> list[dict[str, Any]]:
    """Return the rows of a recipe: the ways, and what norms would leave."""
    warm, steps, count = (2, 4, 1) if quick else (WARM, STEPS, NORMS)
    bench = bench_of(RECIPES[name], warm, folder, quick)
    products = {kind: gradients_of(bench, kind, steps) for kind in KINDS}
    rows = []
    for kind in KINDS[1:]:
        middle, low, high = ratio(products[kind], products[KINDS[0]])
        rows.append({"recipe": name, "levels": kind, "variance": middle, "low": low, "high": high, "steps": steps})
    images = norms_of(bench, count)
    return [*rows, {"recipe": name, "levels": "by norm", "variance": left_by_norm(images), "images": len(images)}]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a table of Markdown."""
    lines = ["| recipe | noise levels of a batch | variance of the gradient |", "|---|---|---|"]
    for row in rows:
        interval = f" ({row['low']:.2f} to {row['high']:.2f})" if "low" in row else ""
        lines.append(f"| {row['recipe']} | {row['levels']} | {row['variance']:.2f}{interval} |")
    return "\n".join(lines)


def main() -> None:
    """Measure both recipes, print a table, and write the rows."""
    parser = machine.parser_of(__doc__, FILE)
    parser.add_argument("--quick", action="store_true", help="a few steps, to try the command")
    asked = parser.parse_args()
    about = machine.about(machine.threads_of_torch())
    with tempfile.TemporaryDirectory() as name:
        rows = [row for recipe in RECIPES for row in rows_of(recipe, Path(name), asked.quick)]
    print(table(rows))
    machine.keep(asked.out, about, rows)


if __name__ == "__main__":
    main()
