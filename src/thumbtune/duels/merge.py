"""Write a tuned model as a whole one: a run, a checkpoint, a LoRA or a UNet, merged into its base."""

from pathlib import Path

from thumbtune.duels.sides import side
from thumbtune.errors import UsageError
from thumbtune.models.merging import halve, merge_pipeline, write_checkpoint, write_pipeline
from thumbtune.models.weight_files import SAFETENSORS


def merge(name: str, out: Path, base: str | None = None, fp16: bool = False) -> str | None:
    """Write what a name stands for as a folder of diffusers or, if `out` ends in .safetensors, as one file.

    Args:
        name: what a duel takes as a side, except a folder of images.
        base: the model that a LoRA or a UNet belongs to.
        fp16: whether to write float16, in half the size, in place of float32.

    Returns:
        The prefix that training put before prompts, or None.

    Raises:
        UsageError: `out` exists, or the name is no model.
        ThumbtuneError: it cannot be loaded, merged or written.
    """
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} exists, and nothing is written over it; name another place.", code="merge-exists")
    found = side(name, base)
    if found.load is None:
        raise UsageError(
            f"{name} is a folder of images and not a model; name a run, a LoRA or a model.", code="merge-no-model"
        )
    if found.check is not None:
        found.check()
    model = found.load("cpu")
    merge_pipeline(model.pipeline)
    if fp16:
        halve(model.pipeline)
    if out.suffix.lower() == SAFETENSORS:
        write_checkpoint(model.pipeline, out, model.size)
    else:
        write_pipeline(model.pipeline, out)
    return found.prompt_prefix
