"""A loaded pipeline as the base of a run: it is written into the run, so that evaluating and resuming have it too."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError, UsageError, joined
from thumbtune.files import write_text
from thumbtune.models.bars import without_bars

BASE, SUM = "base", "sha256.txt"


def check_pipeline_object(pipeline: Any) -> None:
    """Refuse what is no pipeline of diffusers, and a pipeline with a LoRA, which would be lost or trained twice.

    Raises:
        UsageError: it is one of both.
    """
    if not hasattr(pipeline, "save_pretrained") or not isinstance(getattr(pipeline, "components", None), dict):
        raise UsageError(
            f"A model is the name of a model or a loaded pipeline of diffusers, not a {type(pipeline).__name__}; give "
            "the pipeline that the network belongs to.",
            code="trainer-no-pipeline",
        )
    if parts := _parts_with_lora(pipeline):
        raise UsageError(
            f"The pipeline has a LoRA in its {joined(parts)}, which is no part of a base; drop it with "
            "pipeline.unload_lora_weights(), keep it in the weights with pipeline.fuse_lora() before that, or go on "
            'training it with its file, as Config(lora={"start": FILE}).',
            code="trainer-has-lora",
        )


def _parts_with_lora(pipeline: Any) -> list[str]:
    """Return the names of the parts with layers of an adapter."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch import nn

    networks = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    return [name for name, part in networks.items() if any(isinstance(one, BaseTunerLayer) for one in part.modules())]


def name_of_pipeline(pipeline: Any) -> str:
    """Return the last part of the name that a pipeline was loaded by; `pipeline` if it has none."""
    told = str(pipeline.config.get("_name_or_path") or "") if hasattr(pipeline.config, "get") else ""
    return os.path.basename(told.rstrip("/\\")) or "pipeline"


def base_of(model: Any, run: Path) -> str:
    """Return the name of a run's base: a name as it is, and of a pipeline the folder that `write_base` writes."""
    if isinstance(model, str | os.PathLike):
        return str(model)
    return str(run / BASE / name_of_pipeline(model))


def inside(run: Path, model: str) -> Path | None:
    """Return the path inside a run of the base that `write_base` wrote, also if the run was moved; None without one."""
    path = Path(BASE, Path(model).name)
    return path if Path(model).parent.name == BASE and (run / path / SUM).is_file() else None


def write_base(pipeline: Any, folder: Path) -> None:
    """Write a pipeline into a run, whole or not at all, in the type of its weights; the same one is not written again.

    Raises:
        ThumbtuneError: the folder holds another pipeline, or cannot be written.
    """
    digest, told = sum_of(pipeline), folder / SUM
    if told.is_file():
        if told.read_text(encoding="utf-8").strip() != digest:
            raise ThumbtuneError(
                f"{folder} has another pipeline, with which this run began; give that one, or choose another "
                "output_dir.",
                code="trainer-other-pipeline",
            )
        return
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with without_bars():
            pipeline.save_pretrained(partial, safe_serialization=True)
        write_text(partial / SUM, f"{digest}\n")
        os.replace(partial, folder)
    except OSError as error:
        raise ThumbtuneError(
            f"The pipeline could not be written to {folder} ({error.strerror or error}); make room, or give the "
            "name of a model in place of the pipeline.",
            code="trainer-base-unwritable",
        ) from error


def sum_of(pipeline: Any) -> str:
    """Return a hash of all weights of a pipeline and of the settings of its parts."""
    import torch
    from torch import nn

    total = hashlib.sha256()
    for name, part in sorted(pipeline.components.items()):
        settings: Any = getattr(part, "config", None) or {}
        plain = dict(settings.to_dict() if hasattr(settings, "to_dict") else settings)
        plain = {key: value for key, value in plain.items() if not key.startswith("_")}
        total.update(f"{name} {type(part).__name__} {sorted(map(str, plain.items()))}\n".encode())
        if isinstance(part, nn.Module):
            for key, value in sorted(part.state_dict().items()):
                total.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
                total.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
