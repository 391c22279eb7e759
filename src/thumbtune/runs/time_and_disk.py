"""How long a training will take on this machine, from a part of a step that is tried, and how much it will write."""

import math
import shutil
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch

from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.objective.protocol import reads_reference
from thumbtune.runs import objectives
from thumbtune.runs.memory_estimate import Inputs
from thumbtune.runs.recipe import Recipe
from thumbtune.training.optimizers import bytes_of_moments

TRIES = 2  # the first one also finds memory and chooses kernels


def seconds_of_step(model: LatentDiffusion, recipe: Recipe, micro_batch: int, accelerator: Any) -> float:
    """Return the seconds of a step, measured on one part of it: the reference, the policy and its gradient.

    Where the reference point is of several parts, the policy is measured once more, without a gradient. The weights
    stay as they are. Several processes share a step.
    """
    parts = math.ceil(recipe.train.batch / (micro_batch * accelerator.num_processes))
    looks_at = objectives.reference_point_of(recipe).looks_at
    of_whole_batch = parts * accelerator.num_processes > 1 and looks_at == "batch"
    # of mismatched prompts, the reference and the policy once more
    more = {"nothing": 0, "mismatched": 2}.get(looks_at, int(of_whole_batch))
    passes = 1 + more if _asks_reference(recipe) else 0
    shape = model.latent_shape(recipe.train.size or model.size, recipe.frames)
    latents = torch.zeros(micro_batch, *shape, device=model.device)
    inputs = Inputs(model, recipe.train.size or model.size)
    condition = {name: value.to(model.device) for name, value in inputs.condition(micro_batch).items()}
    model.rest()  # as in training
    t = torch.full((micro_batch,), 500, device=model.device)
    seconds = 0.0
    for _ in range(TRIES):
        begun = time.perf_counter()
        for _ in range(passes):
            with torch.no_grad(), model.reference(), accelerator.autocast():
                model.predict(latents, t, condition)
        with accelerator.autocast():
            output = model.predict(latents, t, condition)
        gradients = torch.autograd.grad(
            output.float().square().mean(), [weight for _, weight in model.trainable()], allow_unused=True
        )
        _wait(gradients)
        seconds = time.perf_counter() - begun
    return seconds * parts


def _asks_reference(recipe: Recipe) -> bool:
    """Return whether a step asks the reference, as far as a recipe tells; without a validation, guards do."""
    train = recipe.train
    is_validated = bool(train.validation_share and train.reaches_validation)
    return reads_reference(objectives.objective_of(recipe)) or (train.guards and not is_validated)


def _wait(gradients: Any) -> None:
    """Wait for the device: it works on after Python has told it what to do."""
    for gradient in gradients:
        if gradient is not None:
            gradient.flatten()[0].item()
            return


def bytes_of_checkpoint(recipe: Recipe, trained: Sequence[torch.Tensor]) -> int:
    """Return the bytes of one checkpoint of trained weights: with the optimiser, an average and a reference."""
    copies = 1 + bool(recipe.train.ema) + bool(recipe.train.sync_reference_every)
    return copies * sum(weight.nbytes for weight in trained) + bytes_of_moments(recipe.train.optimizer, trained)


def number_of_checkpoints(recipe: Recipe) -> int:
    """Return how many checkpoints a finished run has; guards keep the best one, and the first to go back to."""
    train = recipe.train
    made = math.ceil(train.steps / train.checkpoint_every) + train.guards
    return min(made, train.keep_checkpoints + train.guards) if train.keep_checkpoints else made


def bytes_of_cache(
    model: LatentDiffusion, images: int, prompts: Collection[str], size: int | None = None, frames: int = 1
) -> int:
    """Return the bytes of the cached latents and conditions at most, in float32: every prompt counts as the longest.

    size: the side of the square in which images are trained; None: the model's own
    frames: of a clip at most; every image counts as one
    """
    longest = max(prompts, key=len, default="")
    condition = sum(value.nbytes for value in model.embed([longest]).values()) if prompts else 0
    return images * 4 * math.prod(model.latent_shape(size or model.size, frames)) + len(prompts) * condition


def free_in(folder: Path) -> int:
    """Return the free bytes of the disk of a folder, which need not be there yet."""
    return shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.is_dir())).free
