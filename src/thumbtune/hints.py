"""Settings that are allowed and rarely meant."""

from thumbtune.config import Recipe, TrainSection

LEAST_OF_LORAS = 1e-5  # slower than any LoRA is trained; all weights are trained more slowly still


def hints(recipe: Recipe) -> list[str]:
    """A sentence on each."""
    train, found = recipe.train, []
    if train.weights == "full" and train.lr >= LEAST_OF_LORAS:
        found.append(f"A train.lr of {train.lr:g} is a LoRA's; the paper trained all weights with 1e-07.")
    if train.weights == "lora" and recipe.model != Recipe().model and train.lr == TrainSection().lr:
        found.append(
            f"The default train.lr of {train.lr:g} was measured on the bundled model only; a LoRA of a large one is "
            "usually trained with 1e-04."
        )
    if train.warmup + train.cooldown > train.steps:
        found.append(
            f"train.warmup of {train.warmup} and train.cooldown of {train.cooldown} are more than all "
            f"{train.steps} steps, so that the rate never reaches train.lr."
        )
    return found
