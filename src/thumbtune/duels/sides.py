"""A side of a duel: a model that generates images, or a folder of existing images.

a run's folder, or one of its checkpoints       the model that it tuned, with the prefix that it learnt
a .safetensors file, or a folder with a LoRA    the base model with it; in the form of diffusers, kohya or PEFT
a whole checkpoint in one .safetensors file     that pipeline
a diffusers folder, a hub id, tiny-emoji-64     that pipeline
a folder or `unet:` hub id with a UNet alone    the base model with that UNet in the place of its own; or `transformer:`
any other folder                                its images
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from thumbtune import hub
from thumbtune.duels.network_alone import ALONE, NetworkAlone, part_of
from thumbtune.errors import ThumbtuneError, UsageError, reason
from thumbtune.evaluation.image_folder import source_files
from thumbtune.files import file_sha256, refuse_not_finite, sha256
from thumbtune.hub import INDEX
from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline, type_for
from thumbtune.models.lora import DIFFUSERS_FILE
from thumbtune.models.lora_files import LoraFiles, find_lora
from thumbtune.models.lora_loading import place, put_on_pipeline
from thumbtune.models.missing import missing, near, refuse_missing_model
from thumbtune.models.model_options import PLAIN, ModelOptions
from thumbtune.models.pipeline_files import check_pipeline
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.protocol import PipelineModel
from thumbtune.models.weight_files import is_checkpoint, keys_in, kind_of, refuse_as_lora, refuse_other_file
from thumbtune.models.without_weights import networks_without_weights
from thumbtune.runs import build, run
from thumbtune.training import checkpoint

CHECKPOINT, AVERAGE = "weights.safetensors", "average.safetensors"


@dataclass(frozen=True)
class Side:
    """One of the sides that are compared.

    name: what the caller named it.
    kind: run, checkpoint, lora, unet, transformer, model or images.
    fingerprint: the hash of its weights or images; for a hub model, its commit.
    prompt_prefix: what goes before its prompts.
    encoding: how it reads prompts.
    reader: the model whose text encoders read them; None: of images.
    folder: the folder of its images, if they are there already.
    by_order: whether these have no metadata, so that the order of their names alone gives them their prompts.
    load: device -> the model, if they are not.
    check: refuses what `load` would, without its weights; None if there is nothing to check.
    options: with which its model is loaded and its prompts are read, of what the caller said; None: it has its own.
    own_options: those that it has in place of them.
    """

    name: str
    kind: str
    fingerprint: str
    prompt_prefix: str | None = None
    encoding: PromptEncoding = field(default_factory=PromptEncoding)
    reader: str | None = None
    folder: Path | None = None
    load: Callable[[Any], PipelineModel] | None = None
    check: Callable[[], object] | None = None
    by_order: bool = False
    options: ModelOptions | None = None
    own_options: ModelOptions = PLAIN

    @property
    def loaded_with(self) -> ModelOptions:
        """Return the options with which its model is loaded and its prompts are read."""
        return self.own_options if self.options is None else self.options


def side(name: str, base: str | None = None, options: ModelOptions = PLAIN, precision: build.Precision = "no") -> Side:
    """Return what a name stands for; nothing is loaded yet.

    Args:
        name: a folder, a file, a hub id or the name of a bundled model.
        base: the model that a LoRA or a UNet belongs to.
        options: of loading a model or a base, and how it reads prompts; a run has its own.
        precision: in which it generates images.

    Raises:
        UsageError: the name stands for nothing of this, or a LoRA or a UNet has no base.
        ThumbtuneError: a run is not finished, or the hub has no such model.
    """
    found = _side(name, base, options, precision)
    if precision == "no" or found.load is None:
        return found
    return replace(found, fingerprint=sha256(f"{found.fingerprint} {precision}".encode()))


def _side(name: str, base: str | None, options: ModelOptions, precision: build.Precision) -> Side:
    path, half = Path(name), build.HALF.get(precision)
    try:
        path.exists()
    except OSError as error:
        raise _unknown(f"{name[:60]}...") from error
    if (path / "recipe.yaml").is_file():
        return _run(name, path, precision)
    if (path / CHECKPOINT).is_file() and (path.parent.parent / "recipe.yaml").is_file():
        return _checkpoint(name, path, precision)
    if (part := part_of(name)) is not None:
        return _network(name, part, base, options, half)
    whole = (path / INDEX).is_file() and not (path / DIFFUSERS_FILE).is_file()  # a pipeline's folder, and no LoRA in it
    single = is_checkpoint(path)
    if single:
        check_pipeline(name, _options_of(name, base, options))
    if path.exists() and not whole and not single and (files := find_lora(path)) is not None:
        return _lora(name, files, base, options, half)
    if path.is_dir() and not (path / INDEX).is_file():
        sources, by_order = source_files(path)
        return Side(name, "images", _of_files(sources), folder=path, by_order=by_order)
    if path.is_file() and not single:
        refuse_other_file(path)
    folder = build.model_path(name)
    is_path = not path.exists() and folder == name and (not hub.is_hub_id(name) or near(path) is not None)
    if (path.is_file() and not single) or is_path:
        raise _unknown(name)
    return _model(name, base, options, half)


def _model(name: str, base: str | None, options: ModelOptions, half: torch.dtype | None) -> Side:
    """Return a whole model."""
    folder, options = build.model_path(name), _options_of(name, base, options)
    return Side(
        name,
        "model",
        _of_base(name, options),
        encoding=options.encoding,
        reader=folder,
        load=lambda device: _reading(load_pipeline(folder, type_for(half), options), options, half).on(device),
        check=lambda: check_pipeline(folder, options),
        options=options,
    )


def _options_of(name: str, base: str | None, options: ModelOptions) -> ModelOptions:
    """Return the options of a whole model: without those of loading, which are of the base, if it is another one."""
    return options if base is None or _is_same(name, base) else ModelOptions(encoding=options.encoding)


def _is_same(name: str, other: str) -> bool:
    """Return whether two names stand for one model, as two paths of one folder or a bundled name and its path do."""
    if name == other:
        return True
    try:
        return Path(build.model_path(name)).samefile(build.model_path(other))
    except (OSError, ValueError):  # one of them is no path here: a hub id, or nothing
        return False


def _unknown(name: str) -> UsageError:
    kinds = "a run, a LoRA, a model or a folder of images"
    if not Path(name).exists():
        return UsageError(missing(name, kinds), code="side-unknown")
    return UsageError(f"{name} is not {kinds}; name one of these.", code="side-unknown")


def _run(name: str, folder: Path, precision: build.Precision) -> Side:
    recipe = run.recipe_in(folder)
    result = folder / build.result_in(folder, recipe)
    if not result.is_file():
        raise ThumbtuneError(
            f"{folder} has not finished training; continue it with `thumbtune train --out {folder} --resume`.",
            code="run-unfinished",
        )
    options, reader = build.options_of(recipe), build.model_path(recipe.model)
    # of a model with two networks, two LoRAs
    weights = " ".join(file_sha256(file) for file in sorted(result.parent.glob(f"{result.stem}*{result.suffix}")))
    fingerprint = sha256(f"{_of_base(recipe.model, options)} {weights}".encode())
    prefix = run.prompt_prefix_of(folder)

    def load(device: Any) -> PipelineModel:
        return run.trained_model(recipe, folder, device, precision)

    return Side(name, "run", fingerprint, prefix, options.encoding, reader, load=load, own_options=options)


def _checkpoint(name: str, folder: Path, precision: build.Precision) -> Side:
    owner = folder.parent.parent
    recipe = run.recipe_in(owner)
    averaged = recipe.train.ema and (folder / AVERAGE).is_file()  # the average is then the result of the run
    file = folder / (AVERAGE if averaged else CHECKPOINT)

    def load(device: Any) -> PipelineModel:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        model = build.model_of(run.with_own_start(recipe, owner), training=False, precision=precision)
        try:
            if (folder / checkpoint.STATE).is_file():
                checkpoint.check_files(folder, checkpoint.state_in(folder), file.name)
            weights = load_file(file)
            refuse_not_finite(weights)
            for key, parameter in model.trainable():
                parameter.data.copy_(weights[key])
            build.store_whole(recipe, model)
        except (SafetensorError, OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
            raise ThumbtuneError(
                f"{file} does not fit its run ({reason(error)}); name another checkpoint.", code="checkpoint-misfit"
            ) from error
        model.complete = run.prompt_completion(owner)
        return model.on(device)

    options, reader = build.options_of(recipe), build.model_path(recipe.model)
    fingerprint = sha256(f"{_of_base(recipe.model, options)} {file_sha256(file)}".encode())
    own = Side(name, "checkpoint", fingerprint, run.prompt_prefix_of(owner), options.encoding, reader, load=load)
    return replace(own, own_options=options)


def _lora(name: str, files: LoraFiles, base: str | None, options: ModelOptions, half: torch.dtype | None) -> Side:
    if base is None:
        kind = kind_of(keys_in(next(iter(files.weights.values()))))
        for file in files.weights.values():
            refuse_as_lora(file, kind)
        raise UsageError(f"{name} is a LoRA; name the model that it belongs to with --base.", code="side-no-base")
    folder = build.model_path(base)

    def load(device: Any) -> PipelineModel:
        pipeline = load_pipeline(folder, type_for(half), options)
        put_on_pipeline(pipeline, files, base)
        return _reading(pipeline, options, half).on(device)

    def check() -> None:
        if (networks := networks_without_weights(folder, options)) is not None:
            place(networks, files, base)

    # a file alone is known by its bytes; of several, each decides what is put on
    weights = file_sha256(files.all[0]) if len(files.all) == 1 else _of_files(files.all)
    fingerprint = sha256(f"{_of_base(base, options)} {weights}".encode())
    own = Side(name, "lora", fingerprint, encoding=options.encoding, reader=folder, load=load, check=check)
    return replace(own, options=options)


def _network(name: str, part: str, base: str | None, options: ModelOptions, half: torch.dtype | None) -> Side:
    """Return a denoiser as papers and runs publish it: the folder of that part of a pipeline, and nothing else."""
    if base is None:
        raise UsageError(
            f"{name} is a {ALONE[part]}; name the model that it belongs to with --base.", code="side-no-base"
        )
    folder, alone = build.model_path(base), NetworkAlone(name, part, base)

    def load(device: Any) -> PipelineModel:
        pipeline = load_pipeline(folder, options=options)
        setattr(pipeline, part, alone.load(pipeline))
        return _reading(pipeline, options, half).on(device)

    fingerprint = sha256(f"{_of_base(base, options)} {_of_model(alone.source, alone.config)}".encode())
    own = Side(name, part, fingerprint, encoding=options.encoding, reader=folder, load=load)
    return replace(own, options=options, check=lambda: alone.check(folder, options))


def _reading(pipeline: Any, options: ModelOptions, half: torch.dtype | None) -> PipelineModel:
    """Return the adapter of a pipeline, which reads prompts in a given way."""
    model = adapter_of(pipeline, half=half)
    model.read_prompts(options.encoding)
    return model


def _of_base(name: str, options: ModelOptions) -> str:
    """Return the hash of a model with the options of loading it."""
    return sha256(f"{_of_model(name)}{told}".encode()) if (told := options.identity()) else _of_model(name)


def _of_model(name: str, index: str = INDEX) -> str:
    """Return the hash of a folder's weights and settings, all of which decide an image; for a hub id, its commit."""
    here = Path(build.model_path(name))
    if here.is_file():
        settings = here.with_suffix(".yaml")
        return _of_files([here, *([settings] if settings.is_file() else [])])
    if not here.is_dir():
        return _on_hub(name, index)
    return _of_files(sorted(path for kind in ("*.safetensors", "*.json") for path in here.rglob(kind)))


def _on_hub(name: str, index: str) -> str:
    """Return `id@commit`, with the newest commit of the hub or, without a connection, of the hub's cache.

    Raises:
        ThumbtuneError: there is neither.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    refuse_missing_model(name)
    try:
        return f"{name}@{hub.newest_commit(name, index)}"
    except LocalEntryNotFoundError as error:
        raise ThumbtuneError(
            f"The model {name!r} could not be loaded (there is no such folder here, and the hub cannot be reached); "
            "check the connection, or name a folder in diffusers' layout or a whole checkpoint in .safetensors.",
            code="model-missing",
        ) from error
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise ThumbtuneError(
            f"The model {name!r} could not be loaded ({reason(error)}); name another one.", code="model-missing"
        ) from error


def _of_files(files: Sequence[Path]) -> str:
    return sha256(json.dumps([(file.name, _hash_of(file)) for file in files]).encode())


def _hash_of(file: Path) -> str:
    """Return the hash of a file, computed once: several sides of one base read its gigabytes once."""
    stat = file.stat()
    return _hash_at(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _hash_at(file: Path, size: int, time: int) -> str:
    return file_sha256(file)


@contextmanager
def loaded(side: Side, device: Any) -> Iterator[PipelineModel]:
    """Yield the side's model, in memory for as long as the block lasts."""
    import gc

    assert side.load is not None
    model = side.load(device)
    try:
        yield model
    finally:
        del model
        gc.collect()
