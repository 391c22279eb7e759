"""Settings that are allowed and rarely meant."""

from thumbtune.runs import build
from thumbtune.runs.recipe import Recipe, TrainSection

LORA_RATE = 1e-4  # usual for LoRAs of Stable Diffusion, as in the examples of diffusers


def hints(recipe: Recipe) -> list[str]:
    """A sentence on each."""
    train, found = recipe.train, []
    if train.weights == "full" and train.lr >= LORA_RATE:
        found.append(f"A train.lr of {train.lr:g} is a LoRA's; the paper trained all weights with 1e-07.")
    if train.weights == "lora" and train.lr >= TrainSection().lr and not build.is_bundled(recipe.model):
        found.append(
            f"A train.lr of {train.lr:g} is the bundled model's; a LoRA of a large one is usually trained with "
            f"{LORA_RATE:g}."
        )
    if train.warmup + train.cooldown > train.steps + 1:
        found.append(
            f"train.warmup of {train.warmup} and train.cooldown of {train.cooldown} are more than all "
            f"{train.steps} steps, so that the rate never reaches train.lr."
        )
    return found
