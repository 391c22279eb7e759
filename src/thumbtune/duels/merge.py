"""Write a tuned model as a whole one: a run, a checkpoint, a LoRA or a denoiser, merged into its base."""

from pathlib import Path

from thumbtune.duels.sides import side
from thumbtune.duels.unused import refuse_unused
from thumbtune.errors import UsageError, note
from thumbtune.models.families import family_of
from thumbtune.models.family import UNET
from thumbtune.models.merging import halve, merge_pipeline, untold_by_file, write_checkpoint, write_pipeline
from thumbtune.models.model_options import PLAIN, ModelOptions
from thumbtune.models.pipeline_files import index_of
from thumbtune.models.weight_files import CKPT, OTHER_FILES, PICKLES, SAFETENSORS


def merge(
    name: str, out: Path, base: str | None = None, fp16: bool = False, options: ModelOptions = PLAIN
) -> str | None:
    """Write what a name stands for as a folder of diffusers or, if `out` ends in .safetensors, as one file.

    A note names what one file cannot tell of the model.

    Args:
        name: what a duel takes as a side, except a folder of images.
        base: the model that a LoRA or a UNet belongs to.
        fp16: whether to write float16, in half the size, in place of float32.
        options: of loading the model or its base; a run has its own.

    Returns:
        The prefix that training put before prompts, or None.

    Raises:
        UsageError: `out` exists, ends as a file of another kind or as one file of a family that has none here, the name
            is no model, or an option is given for a run.
        ThumbtuneError: it cannot be loaded, merged or written.
    """
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} exists, and nothing is written over it; name another place.", code="merge-exists")
    if out.suffix.lower() in (*PICKLES, CKPT, *OTHER_FILES):
        raise UsageError(
            f"{out} ends in {out.suffix}, which Thumbtune does not write; name {out.with_suffix(SAFETENSORS)} for one "
            f"file, or {out.with_suffix('')} for a folder of diffusers.",
            code="merge-ending",
        )
    found = side(name, base, options)
    if found.load is None:
        raise UsageError(
            f"{name} is a folder of images and not a model; name a run, a LoRA or a model.", code="merge-no-model"
        )
    refuse_unused(options, [found])
    if out.suffix.lower() == SAFETENSORS and found.reader is not None:
        _refuse_one_file(found.reader, out)
    if found.check is not None:
        found.check()
    model = found.load("cpu")
    merge_pipeline(model.pipeline)
    if fp16:
        halve(model.pipeline)
    if out.suffix.lower() == SAFETENSORS:
        write_checkpoint(model.pipeline, out, model.size)
        if (sentence := untold_by_file(model.pipeline, out)) is not None:
            note(sentence)
    else:
        write_pipeline(model.pipeline, out)
    return found.prompt_prefix


def _refuse_one_file(base: str, out: Path) -> None:
    """Refuse one file of a family whose pipelines are written as folders alone.

    base: the folder, file or hub id that is merged into

    Raises:
        UsageError: it is of such a family.
    """
    family = family_of((index_of(base) or {}).get("_class_name"))
    if family.denoiser != UNET:
        raise UsageError(
            f"{out} would be one file of {family.name}, and Thumbtune writes one file only for Stable Diffusion 1.x, "
            f"2.x and XL, in their original layout; name the folder {out.with_suffix('')} for the layout of diffusers.",
            code="merge-other-family",
        )
