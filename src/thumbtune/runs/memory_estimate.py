"""How much memory a training will need, part by part, from steps on tensors without values: `estimate(recipe)`.

The numbers are sums of the tensors that are alive at once (`training.live_memory`). On a GPU the workspaces of kernels,
the allocator's gaps and the driver come on top.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from thumbtune.models.families import adapter_of
from thumbtune.models.protocol import PipelineModel, Size
from thumbtune.models.without_weights import pipeline_without_weights
from thumbtune.runs import build
from thumbtune.runs.recipe import Recipe
from thumbtune.runs.values import height_and_width_of
from thumbtune.training.live_memory import LiveMemory, give_shapes, without_values

IMAGES_AT_ONCE = 8  # of an evaluation


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Bytes. Each peak contains the weights of all networks, and that of a step what the optimiser keeps.

    networks:  the weights of each network, by its name in the pipeline; those of the LoRA count with its network
    optimiser: AdamW's two moments of every trained weight
    step:      the peak of a step with `micro_batch` images at once
    encode:    the peak of encoding an image or a prompt
    generate:  the peak of generating `at_once` images
    """

    networks: dict[str, int]
    optimiser: int
    step: int
    micro_batch: int
    encode: int
    generate: int
    at_once: int

    @property
    def peak(self) -> int:
        """Return the most of all."""
        return max(self.step, self.encode, self.generate)


def estimate(recipe: Recipe, micro_batch: int | None = None, at_once: int = IMAGES_AT_ONCE) -> Estimate | None:
    """Return the memory that a recipe will need; None for a model that is not on this machine.

    Args:
        micro_batch: images in the network at once; None: as the recipe says.
        at_once: images that are generated together.

    Raises:
        ThumbtuneError: the model cannot be tuned.
    """
    pipeline = pipeline_without_weights(build.model_path(recipe.model), build.options_of(recipe))
    if pipeline is None:
        return None
    size = micro_batch or build.micro_batch_of(recipe)
    with torch.device("meta"):
        model = adapter_of(pipeline, build.tuning_of(recipe), recipe.seed, recipe.train.gradient_checkpointing)
    with without_values(), LiveMemory() as memory:
        networks = {}
        for name, part in pipeline.components.items():
            if isinstance(part, nn.Module):
                before = memory.now
                for weight in give_shapes(part).parameters():
                    memory.count(weight)
                networks[name] = memory.now - before
        autocast = partial(_autocast, build.precision_of(recipe))
        trained = Inputs(model, recipe.train.size or model.size)
        drawn = Inputs(model, height_and_width_of(recipe.evaluate.size) or model.size)
        encode = _peak(memory, lambda: (trained.latents(1), model.embed(["a"])))
        generate = _peak(memory, lambda: _generate(drawn, at_once))
        step, optimiser = _step(memory, trained, recipe, size, autocast)
    return Estimate(
        networks=networks,
        optimiser=optimiser,
        step=step,
        micro_batch=size,
        encode=encode,
        generate=generate,
        at_once=at_once,
    )


def _autocast(precision: build.Precision) -> AbstractContextManager[Any]:
    dtype = build.HALF.get(precision)
    return nullcontext() if dtype is None else torch.autocast("cpu", dtype)


def _peak(memory: LiveMemory, work: Callable[[], object]) -> int:
    memory.begin_peak()
    work()
    return memory.peak


@dataclass(frozen=True)
class Inputs:
    """What a model is given, for images of one size."""

    model: PipelineModel
    size: Size

    def latents(self, count: int) -> Tensor:
        """Return the latents of images without content."""
        one = self.model.encode([Image.new("RGB", (64, 64))], size=self.size)
        return one.expand(count, *one.shape[1:]).contiguous()

    def condition(self, count: int) -> dict[str, Tensor]:
        """Return the condition of these images and a prompt."""
        about = self.model.image_condition([Image.new("RGB", (64, 64))], size=self.size)
        one = self.model.embed(["a"]) | about
        return {name: value.expand(count, *value.shape[1:]).contiguous() for name, value in one.items()}


@torch.no_grad()
def _generate(inputs: Inputs, count: int) -> None:
    """Denoise once with guidance, and decode."""
    model, noisy, condition = inputs.model, inputs.latents(2 * count), inputs.condition(2 * count)
    model.predict(noisy, torch.zeros(2 * count), condition)
    model.pipeline.vae.decode(noisy[:count], return_dict=False)


def _step(
    memory: LiveMemory,
    inputs: Inputs,
    recipe: Recipe,
    count: int,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> tuple[int, int]:
    """Return the peak of the second of two steps, when the optimiser has its moments, and what these take."""
    model = inputs.model
    trained = [parameter for _, parameter in model.trainable()]
    optimizer = torch.optim.AdamW(trained)
    latents, condition, t = inputs.latents(count), inputs.condition(count), torch.zeros(count)

    def error() -> Tensor:
        noisy, noise = latents + latents, torch.zeros_like(latents)
        with autocast():
            output = model.predict(noisy, t, condition)
        return (output.float() - noise).pow(2).flatten(1).mean(1)

    def step() -> None:
        with torch.no_grad(), model.reference():
            reference = error()
        ((error() - reference) * recipe.train.lr).sigmoid().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    before = memory.now
    step()
    optimiser = memory.now - before
    return _peak(memory, step), optimiser
