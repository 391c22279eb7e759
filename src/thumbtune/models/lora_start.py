"""A LoRA to begin from, of any trainer: its layers on the denoiser are trained on, and those on text encoders stay.

Ranks, alphas and layers are those of the file. The reference is the model with this LoRA, so that the first log-ratios
are 0; or the base, whose denoiser has no LoRA, so that they are what the LoRA has gained. Text encoders have their
layers either way. The result is the whole LoRA: the layers of the text encoders are written as they were read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.hub import INDEX
from thumbtune.models.lora import DIFFUSERS_FILE, Adapters
from thumbtune.models.lora_files import LoraFiles, find_lora
from thumbtune.models.lora_loading import PlacedLayer, activate, add, inject, layers_of, networks_of, place
from thumbtune.models.lora_names import TEXT, TEXT_2, TRANSFORMER, UNET
from thumbtune.models.lora_saving import Still
from thumbtune.models.missing import BUNDLED, missing
from thumbtune.models.quantised import Bits, quantise
from thumbtune.models.weight_files import keys_in, kind_of, refuse_as_lora

DENOISERS = {UNET: "UNet", TRANSFORMER: "transformer"}
OF_RUN = Path("lora", DIFFUSERS_FILE)


@dataclass(frozen=True, kw_only=True)
class StartedLoRA:
    """A LoRA that was trained before.

    layers: those of the denoiser
    beside: those of the text encoders, by the part of the pipeline
    quantize, about: as in `LoRA`
    is_reference: whether the network with these layers is the reference, and not the one without
    """

    layers: Mapping[str, PlacedLayer]
    beside: Mapping[str, Still]
    quantize: Bits | None = None
    about: Callable[[], Mapping[str, str]] = dict
    is_reference: bool = True

    def on(self, network: nn.Module, seed: int = 0) -> Adapters:
        """Add the layers to a network, and return it with its reference.

        Raises:
            UsageError: it is a DoRA, whose base must not be quantised.
            ThumbtuneError: a library is missing that `quantize` needs.
        """
        network.requires_grad_(False)
        if self.quantize is not None:
            if any(layer.magnitude is not None for layer in self.layers.values()):
                raise UsageError(
                    "lora.start is a DoRA, which trains what train.quantize_base would round; leave "
                    "train.quantize_base out or at no.",
                    code="option-unused",
                )
            quantise(network, self.quantize)
        add(network, "default", {name: _own(layer) for name, layer in self.layers.items()})
        network.peft_config["default"].target_modules = set(self.layers)  # type: ignore[index]  # PEFT shortens them
        activate(network, ["default"])  # which makes them trainable
        adapters = Adapters(network, self.about, self.beside)
        if self.is_reference:
            adapters.freeze_reference()
        return adapters


def _own(layer: PlacedLayer) -> PlacedLayer:
    """Return a layer whose tensors training may change; one of scale 0 would never learn, so it gets scale 1."""
    up = layer.up.clone() if layer.scale else torch.zeros_like(layer.up)
    magnitude = None if layer.magnitude is None else layer.magnitude.clone()
    return replace(layer, down=layer.down.clone(), up=up, magnitude=magnitude, scale=layer.scale or 1.0)


def files_of(start: Path) -> LoraFiles:
    """Return the files of a LoRA to begin from; of a run, those of its result.

    Raises:
        UsageError: there is none.
        ThumbtuneError: it is in a form that is not read.
    """
    if any((place / INDEX).is_file() and not (place / DIFFUSERS_FILE).is_file() for place in (start, BUNDLED / start)):
        raise UsageError(
            f"lora.start: {start} is a whole model and not a LoRA; name it as model={start}, and leave lora.start out "
            "or name a LoRA of that model.",
            code="lora-start-missing",
        )
    if not start.exists():
        forms = "a .safetensors file, a folder with one, or a run"
        raise UsageError(missing(str(start), forms, "lora.start"), code="lora-start-missing")
    files = find_lora(start / OF_RUN if (start / OF_RUN).is_file() else start)
    if files is None:
        raise UsageError(
            f"lora.start: {start} is not a LoRA; name a .safetensors file, a folder with one, or a run.",
            code="lora-start-missing",
        )
    return files


def check_start(start: Path) -> None:
    """Refuse what is no LoRA to begin from, by the headers of its files.

    Raises:
        ThumbtuneError: as `files_of`; or it is a model, a part of one or of another method.
    """
    for file in files_of(start).weights.values():
        refuse_as_lora(file, kind_of(keys_in(file)))


def copies_of(files: LoraFiles, folder: Path) -> dict[Path, Path]:
    """Return where each file of a LoRA lies in a copy of it, which `find_lora` finds as the same LoRA."""
    parts = {path.parent if part else path for part, path in files.weights.items()}
    root = next(iter(parts)).parent
    return {path: folder / path.relative_to(root) for path in files.all}


def begin(pipeline: Any, files: LoraFiles, base: str) -> StartedLoRA:
    """Put a LoRA's layers on the text encoders of a pipeline, frozen; return the rest, to be trained.

    Raises:
        ThumbtuneError: it does not fit, has no layer of the denoiser, or is a DoRA in some of its layers alone.
    """
    networks = networks_of(pipeline)
    placed = place(networks, files, base, "begin from a LoRA for this model, or set model to the one that it is for")
    denoiser = next(part for part in (TRANSFORMER, UNET) if part in networks)
    layers = layers_of(placed, denoiser)
    file = next(iter(files.weights.values()))
    if not layers:
        raise ThumbtuneError(
            f"{file} has no layer of the {DENOISERS[denoiser]}, which is what is trained; begin from another LoRA.",
            code="lora-start-text-alone",
        )
    beside = {part: texts for part in (TEXT, TEXT_2) if (texts := layers_of(placed, part))}
    for own in (layers, *beside.values()):
        lengths = sum(layer.magnitude is not None for layer in own.values())
        if 0 < lengths < len(own):
            raise ThumbtuneError(
                f"{file} is a DoRA in {lengths} of {len(own)} layers of one network, and a training goes on only from "
                "one that is a DoRA in all of them or in none; merge it into its model with `thumbtune merge`, and "
                "train that.",
                code="lora-start-mixed",
            )
    for part, texts in beside.items():
        # with the scale in the numbers, so that cached prompts of another scale are not taken for these
        inject(networks[part], {name: replace(own, up=own.up * own.scale, scale=1.0) for name, own in texts.items()})
    return StartedLoRA(layers=layers, beside={part: _still(texts) for part, texts in beside.items()})


def _still(layers: Mapping[str, PlacedLayer]) -> Still:
    named = {name.removeprefix("text_model."): layer for name, layer in layers.items()}
    tensors = {}
    for name, layer in named.items():
        tensors |= {f"{name}.lora_A.weight": layer.down, f"{name}.lora_B.weight": layer.up}
        if layer.magnitude is not None:
            tensors[f"{name}.lora_magnitude_vector.weight"] = layer.magnitude  # as transformers reads it
    return Still(
        {key: value.cpu().contiguous() for key, value in tensors.items()}, {n: o.scale for n, o in named.items()}
    )
