"""A side of a duel: whatever draws images, or a folder of images that are there already.

a run's folder, or one of its checkpoints       the model that it tuned, with what it learnt
a .safetensors file, or a folder with a LoRA    the base model with it; in the form of diffusers or of kohya
a diffusers folder, a hub id, tiny-emoji-64     that pipeline
a folder or `unet:` hub id with a UNet alone    the base model with it in the place of its own
any other folder                                its images
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError, UsageError, reason
from thumbtune.evaluation.folder import sources
from thumbtune.files import file_sha256, sha256
from thumbtune.models import lora
from thumbtune.models.stable_diffusion import StableDiffusion, load_pipeline
from thumbtune.runs import build, run

CHECKPOINT, AVERAGE = "weights.safetensors", "average.safetensors"
INDEX, UNET_INDEX = "model_index.json", "unet/config.json"
UNET = "unet:"  # before a hub id that holds no whole pipeline, as those of many papers


@dataclass(frozen=True)
class Side:
    """One of two that are compared.

    said: as it was named
    kind: run, checkpoint, lora, unet, model or images
    fingerprint: another one where the weights, or the images, are others; of a hub id, its commit
    mark: what goes before its prompts
    folder: of images, where they are there already
    painter: device -> the model, where they are not
    """

    said: str
    kind: str
    fingerprint: str
    mark: str | None = None
    folder: Path | None = None
    painter: Callable[[Any], StableDiffusion] | None = None


def side(said: str, base: str | None = None) -> Side:
    """What a name stands for. Nothing is loaded yet.

    Args:
        said: a folder, a file, a hub id or the name of a bundled model.
        base: the model that a LoRA belongs to.

    Raises:
        UsageError: it is none of all that, or a LoRA without a base.
    """
    path = Path(said)
    try:
        path.exists()
    except OSError as error:
        raise UsageError(f"{said[:60]}... is no run, no LoRA, no model and no folder of images; name one.") from error
    if (path / "recipe.yaml").is_file():
        return _run(said, path)
    if (path / CHECKPOINT).is_file() and (path.parent.parent / "recipe.yaml").is_file():
        return _checkpoint(said, path)
    weights = path / lora.DIFFUSERS_FILE if path.is_dir() else path
    if weights.suffix == ".safetensors" and weights.is_file():
        return _lora(said, weights, base)
    if said.startswith(UNET) or ((path / "unet" / "config.json").is_file() and not (path / INDEX).is_file()):
        return _unet(said, base)
    if path.is_dir() and not (path / INDEX).is_file():
        return Side(said, "images", _of_files(sources(path)), folder=path)
    if path.is_file() or (not path.exists() and said.startswith((".", "/", "~"))):
        raise UsageError(f"{said} is no run, no LoRA, no model and no folder of images; name one of these.")
    here = Path(build.model_path(said))
    return Side(
        said, "model", _of_model(said), painter=lambda device: StableDiffusion(load_pipeline(str(here))).to(device)
    )


def _run(said: str, folder: Path) -> Side:
    recipe = run.recipe_in(folder)
    result = folder / build.result_of(recipe)
    if not result.is_file():
        raise ThumbtuneError(f"{folder} has not finished training; continue it with --resume, or name a checkpoint.")
    fingerprint = sha256(f"{_of_model(recipe.model)} {file_sha256(result)}".encode())
    return Side(
        said, "run", fingerprint, run.mark_of(folder), painter=lambda device: run.trained_model(recipe, folder, device)
    )


def _checkpoint(said: str, folder: Path) -> Side:
    owner = folder.parent.parent
    recipe = run.recipe_in(owner)
    averaged = recipe.train.ema and (folder / AVERAGE).is_file()  # the average is then the result of the run
    file = folder / (AVERAGE if averaged else CHECKPOINT)

    def painter(device: Any) -> StableDiffusion:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        model = build.model_of(recipe, training=False)
        try:
            weights = load_file(file)
            for name, parameter in model.trainable():
                parameter.data.copy_(weights[name])
        except (SafetensorError, OSError, KeyError, RuntimeError) as error:
            raise ThumbtuneError(f"{file} does not fit its run ({reason(error)}); name another checkpoint.") from error
        return model.to(device)

    fingerprint = sha256(f"{_of_model(recipe.model)} {file_sha256(file)}".encode())
    return Side(said, "checkpoint", fingerprint, run.mark_of(owner), painter=painter)


def _lora(said: str, weights: Path, base: str | None) -> Side:
    if base is None:
        raise UsageError(f"{said} is a LoRA; name the model that it belongs to with --base.")

    def painter(device: Any) -> StableDiffusion:
        pipeline = load_pipeline(build.model_path(base))
        try:
            pipeline.load_lora_weights(str(weights.parent), weight_name=weights.name)
        except Exception as error:  # of keys, of shapes, of the file itself: diffusers raises a dozen kinds
            raise ThumbtuneError(f"{weights} is no LoRA for {base} ({reason(error)}); name its own base.") from error
        return StableDiffusion(pipeline).to(device)

    return Side(said, "lora", sha256(f"{_of_model(base)} {file_sha256(weights)}".encode()), painter=painter)


def _unet(said: str, base: str | None) -> Side:
    """As papers publish what they trained: the folder `unet` of a pipeline, and nothing else."""
    name = said.removeprefix(UNET)
    if base is None:
        raise UsageError(f"{said} is a UNet; name the model that it belongs to with --base.")

    def painter(device: Any) -> StableDiffusion:
        from diffusers import UNet2DConditionModel

        pipeline = load_pipeline(build.model_path(base))
        try:
            unet = UNet2DConditionModel.from_pretrained(name, subfolder="unet", use_safetensors=True)
            if unet.config["cross_attention_dim"] != pipeline.unet.config["cross_attention_dim"]:
                raise ValueError(f"its text is {unet.config['cross_attention_dim']} wide")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ThumbtuneError(f"{said} is no UNet for {base} ({reason(error)}); name its own base.") from error
        pipeline.unet = unet
        return StableDiffusion(pipeline).to(device)

    return Side(said, "unet", sha256(f"{_of_model(base)} {_of_model(name, UNET_INDEX)}".encode()), painter=painter)


def _of_model(name: str, index: str = INDEX) -> str:
    """Of a folder its weights and settings, all of which decide what is drawn; of a hub id its commit."""
    here = Path(build.model_path(name))
    if not here.is_dir():
        return _on_hub(name, index)
    return _of_files(sorted(path for kind in ("*.safetensors", "*.json") for path in here.rglob(kind)))


def _on_hub(name: str, index: str) -> str:
    """`id@commit`: the hub's newest, or without a connection the newest here.

    Raises:
        ThumbtuneError: there is neither; it says so before anything is drawn.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return f"{name}@{_commit_of(Path(hf_hub_download(name, index)))}"
    except LocalEntryNotFoundError as error:
        why = "the hub cannot be reached, and it is not here"
        raise ThumbtuneError(f"The model {name!r} could not be had ({why}); look at the connection.") from error
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise ThumbtuneError(f"The model {name!r} could not be had ({reason(error)}); name another.") from error


def _commit_of(file: Path) -> str:
    """Of a file in the hub's cache: ...snapshots/COMMIT/..."""
    return file.parts[file.parts.index("snapshots") + 1]


def _of_files(files: Sequence[Path]) -> str:
    return sha256(json.dumps([(file.name, file_sha256(file)) for file in files]).encode())


@contextmanager
def ready(side: Side, device: Any) -> Iterator[StableDiffusion]:
    """The side's model in memory, for as long as the block lasts."""
    import gc

    assert side.painter is not None
    model = side.painter(device)
    try:
        yield model
    finally:
        del model
        gc.collect()
