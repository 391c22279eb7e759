"""The columns of a comparison: one run at several of its steps, or its LoRA at several strengths.

base         what the run began as: its model, or the LoRA that it began from
step N       the weights of a checkpoint; with an EMA, the average
result       the tuned weights
strength s   W + s * alpha / rank * B A: 1 is as it was trained, 0 is the model without the LoRA
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from thumbtune.duels.sides import Side, side
from thumbtune.errors import UsageError
from thumbtune.models.protocol import PipelineModel
from thumbtune.runs import build, run
from thumbtune.training import checkpoint

MAX_STRENGTH = 10.0
B_OF_LORA = ".lora_B."  # in the names of trained weights


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: its name, what stands for it (see `sides`), and the strength of its LoRA."""

    name: str
    source: str
    strength: float = 1.0


def side_of(column: Column, folder: Path) -> Side:
    """Return the side of a run's column, which generates at full strength; nothing is loaded yet."""
    recipe = run.recipe_in(folder)
    return side(column.source, recipe.model, build.options_of(recipe), build.precision_of(recipe))


def checkpoints_of(folder: Path) -> list[int]:
    """Return the steps of a run's kept checkpoints, but for the first, which is the base."""
    return [step for step in checkpoint.steps_in(folder) if step]


def chosen_checkpoints(given: Sequence[int] | None) -> list[int] | None:
    """Return the checkpoints that are named, of which 0 stands for none: an empty list; None if nothing is named.

    Step 0 is the base, which is a column anyway.

    >>> chosen_checkpoints(None), chosen_checkpoints([]), chosen_checkpoints([0]), chosen_checkpoints([20, 0])
    (None, None, [], [20])
    """
    return [step for step in given if step] if given else None


def columns_of(folder: Path, checkpoints: Sequence[int] | None = None, strengths: Sequence[float] = ()) -> list[Column]:
    """Return the columns of a run: its base, checkpoints and result; or its LoRA at each strength.

    Args:
        checkpoints: their steps; None: all that are kept, but for that of the last step of a finished run. With
            strengths: the one whose LoRA is taken; none: the result's.
        strengths: of the LoRA.

    Raises:
        UsageError: the folder is no run, has no such checkpoint or nothing to compare, or trains no LoRA that has a
            strength.
    """
    recipe = run.recipe_in(folder)
    kept = checkpoints_of(folder)
    for step in checkpoints or ():
        if step not in kept:
            there = ", ".join(map(str, kept)) or "none"
            raise UsageError(
                f"{folder} has kept no checkpoint of step {step}; those of these steps are there: {there}.",
                code="compare-no-checkpoint",
            )
    is_finished = (folder / build.result_in(folder, recipe)).is_file()
    if strengths:
        return _of_strengths(folder, checkpoints or (), strengths, is_finished)
    if checkpoints is None:
        is_whole = is_finished and not (folder / run.STOPPED).exists()
        checkpoints = [step for step in kept if not (is_whole and step == recipe.train.steps)]
    steps = [_at(folder, step) for step in sorted(set(checkpoints))]
    result = [Column(name="result", source=str(folder))] if is_finished else []
    if not steps and not result:
        raise UsageError(
            f"{folder} has neither a checkpoint nor a result yet; save a checkpoint of it first.",
            code="compare-nothing",
        )
    return [Column(name="base", source=run.baseline(recipe, folder)), *steps, *result]


def _at(folder: Path, step: int) -> Column:
    return Column(name=f"step {step}", source=str(checkpoint.folder_of(folder, step)))


def _of_strengths(
    folder: Path, checkpoints: Sequence[int], strengths: Sequence[float], is_finished: bool
) -> list[Column]:
    recipe = run.recipe_in(folder)
    if recipe.train.weights != "lora" or recipe.lora.dora:
        raise UsageError(
            f"{folder} trains {'a DoRA' if recipe.lora.dora else 'all weights'}, which has no strength; compare its "
            "checkpoints.",
            code="compare-no-strength",
        )
    if wrong := [value for value in strengths if not abs(value) <= MAX_STRENGTH]:  # NaN too
        raise UsageError(
            f"A LoRA cannot have a strength of {wrong[0]:g}; give one between -{MAX_STRENGTH:g} and {MAX_STRENGTH:g}.",
            code="compare-bad-strength",
        )
    if len(checkpoints) > 1 or not (checkpoints or is_finished):
        raise UsageError(
            f"Strengths are those of one LoRA; name one checkpoint of {folder}, or none for its result.",
            code="compare-one-lora",
        )
    of = _at(folder, checkpoints[0]) if checkpoints else Column(name="", source=str(folder))
    names = [f"{of.name}, strength {value:g}".lstrip(", ") for value in dict.fromkeys(strengths)]
    return [
        Column(name=name, source=of.source, strength=value)
        for name, value in zip(names, dict.fromkeys(strengths), strict=True)
    ]


@contextmanager
def at_strength(model: PipelineModel, strength: float) -> Iterator[None]:
    """Multiply what the LoRA adds by a strength inside the `with` block."""
    weights = [weight for name, weight in model.trainable() if B_OF_LORA in name] if strength != 1 else []
    before = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight in weights:
            weight.mul_(strength)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, before, strict=True):
                weight.copy_(value)
