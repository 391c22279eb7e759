"""Options that save memory and exclude each other."""

from thumbtune.runs import values
from thumbtune.runs.recipe_sections import LoraSection, TrainSection


def refuse_combinations(train: TrainSection, lora: LoraSection) -> None:
    """Refuse options of a training that do not go together.

    Raises:
        UnusedOption: one of them would have no effect, or would break another one.
    """
    if train.quantize_base != "no" and (train.weights == "full" or lora.dora):
        what = "train.weights full" if train.weights == "full" else "lora.dora"
        raise values.UnusedOption(
            f"{what} trains what train.quantize_base would round: leave train.quantize_base out or at no"
        )
    if train.blocks_to_swap != 0 and train.weights == "full":
        raise values.UnusedOption(
            "train.weights full trains the weights that train.blocks_to_swap would leave in the memory of the "
            "machine: leave train.blocks_to_swap out or at 0"
        )
    if train.blocks_to_swap != 0 and not train.gradient_checkpointing:
        raise values.UnusedOption(
            "train.blocks_to_swap saves memory only with train.gradient_checkpointing, without which the GPU keeps "
            "all copies for the gradient: set train.gradient_checkpointing to true, or train.blocks_to_swap to 0"
        )
    for option, usual in (("blocks_to_swap", 0), ("quantize_base", "no")):
        if train.shard and getattr(train, option) != usual:
            raise values.UnusedOption(
                f"train.shard divides the weights that train.{option} keeps in another way: leave out one of them"
            )
    if train.shard and train.weights == "full" and train.optimizer == "adamw-8bit":
        raise values.UnusedOption(
            "train.shard divides the moments of all weights, whose blocks of 256 adamw-8bit scales together: leave "
            "train.shard out, or set train.optimizer to adamw"
        )
