"""Settings that are allowed and rarely meant."""

from thumbtune.config import Recipe, TrainSection


def hints(recipe: Recipe) -> list[str]:
    """A sentence on each."""
    train, found = recipe.train, []
    if train.weights == "full" and train.lr >= TrainSection().lr:
        found.append(f"A train.lr of {train.lr:g} is a LoRA's; the paper trained all weights with 1e-07.")
    if train.warmup + train.cooldown > train.steps:
        found.append(
            f"train.warmup of {train.warmup} and train.cooldown of {train.cooldown} are more than all "
            f"{train.steps} steps, so that the rate never reaches train.lr."
        )
    return found
