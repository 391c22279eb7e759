"""Pass the steps of a training on, and report each to the trackers of its recipe, with samples where they are due."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from thumbtune.models.protocol import PipelineModel
from thumbtune.objective.log_ratio import relative
from thumbtune.objective.protocol import traits_of
from thumbtune.runs.recipe import Recipe, recipe_options
from thumbtune.runs.samples import Samples
from thumbtune.runs.setup import Setup
from thumbtune.signals import Requests
from thumbtune.training.step import Step
from thumbtune.training.trackers import Trackers
from thumbtune.training.trainer import Training

PRIVATE = ("likes", "evaluate.prompts")  # places of this machine, which a tracker may show to others


def shown_options(recipe: Recipe) -> dict[str, Any]:
    """Return the options of a recipe for a tracker: dotted names, plain values, and no folders of this machine."""
    shown: dict[str, Any] = {}
    for name in recipe_options():
        value: Any = recipe
        for part in name.split("."):
            value = getattr(value, part)
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        if name not in PRIVATE and value is not None:
            shown[name] = os.path.basename(value) if isinstance(value, str) and os.path.isabs(value) else value
    return shown


def reported(
    steps: Generator[Step, None, None],
    setup: Setup,
    model: PipelineModel,
    training: Training,
    folder: Path,
    asked: Requests,
) -> Iterator[Step]:
    """Yield each step of a training after its report; closing this generator closes the training's.

    Samples are drawn where they are due, and where `asked` has a request that all processes know of. Call it in all
    processes: the first one reports, and the others wait for it in their next step, or for its samples if they share
    the passes of the network.

    Raises:
        ThumbtuneError: trackers.json, or the log of the run, is damaged.
    """
    samples = Samples(setup, model, training, folder)
    if not training.accelerator.is_main_process:
        yield from _beside(steps, samples, training, asked)
        return
    is_relative = traits_of(setup.objective).log_ratio is relative
    trackers = Trackers(folder, setup.recipe.train.report_to, is_relative)
    try:
        trackers.open(shown_options(setup.recipe), training.step)
        if training.step == 0 and samples.is_due(0):
            trackers.show(samples.draw(0), 0)
        for step in steps:
            trackers.report(step)
            if asked.take_agreed() or samples.is_due(step.step):
                trackers.show(samples.draw(step.step), step.step)
            yield step
    finally:
        steps.close()  # its checkpoint is saved before a tracker may wait for a network
        trackers.finish()


def _beside(
    steps: Generator[Step, None, None], samples: Samples, training: Training, asked: Requests
) -> Iterator[Step]:
    """Yield each step in a process that does not report, which makes the passes of samples along if it has to."""
    if not training.lockstep.is_shared:
        yield from steps
        return
    if training.step == 0 and samples.is_due(0):
        samples.draw(0)
    try:
        for step in steps:
            if asked.take_agreed() or samples.is_due(step.step):
                samples.draw(step.step)
            yield step
    finally:
        steps.close()
