"""Divide the network of a training among its processes, as `train.shard` asks."""

from typing import Any

from thumbtune.errors import UsageError
from thumbtune.models.full import Whole
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.sharding import check_torch, shard
from thumbtune.runs.recipe import Recipe
from thumbtune.training.batches import Batches
from thumbtune.training.denoising import error
from thumbtune.training.lockstep import Alone, Lockstep, blank


def is_asked(recipe: Recipe, accelerator: Any) -> bool:
    """Return whether a recipe's network is to be divided: one process has it whole."""
    return recipe.train.shard and accelerator.num_processes > 1


def check_division(recipe: Recipe, model: LatentDiffusion, accelerator: Any) -> None:
    """Refuse to divide several networks: which of them a pass goes through depends on the times of its images.

    Raises:
        UsageError: the model has several, or this torch cannot divide a network.
    """
    if not is_asked(recipe, accelerator):
        return
    check_torch()
    if len(model.networks) > 1:
        raise UsageError(
            f"train.shard divides one network, and {model.family.name} has {len(model.networks)} that take turns by "
            "noise level; leave train.shard out, and take train.quantize_base or train.blocks_to_swap.",
            code="shard-several-networks",
        )


def divided(model: LatentDiffusion, batches: Batches, accelerator: Any) -> Alone:
    """Divide the network of a model, and its reference; return how the passes are shared.

    A stand-in's pass has the shape of the first image of the training.
    """
    shard(model.network, accelerator.device)
    if isinstance(model.trained, Whole):
        model.trained.divide()
    batch = blank(batches.batch(0, 0, 1)).to(accelerator.device)
    return Lockstep(model.network, accelerator, lambda: error(model, batch, accelerator).sum())
