"""A LoRA in two files: one that all of diffusers reads with the right strength, and one for ComfyUI and A1111.

`pytorch_lora_weights.safetensors`   B * alpha / rank, so that the scale is 1 with and without settings in the header
`kohya.safetensors`                  B, with the alpha of each layer as a tensor, since no header is read there; in
                                     the UNet of SDXL, original names as in sd-scripts (input_blocks)
`comfyui.safetensors`                of transformers for which ComfyUI needs its own names; it reads the first file of
                                     the others

A second network that is trained has files of its own beside these, pytorch_lora_weights_2.safetensors and another one
for ComfyUI. Its keys begin with `transformer.` too, since diffusers reads those into `transformer_2` if it is told to
(`load_into_transformer_2`). A folder of its own would not do: diffusers takes a file of that name outside it first.

Earlier versions wrote the first file with B, and its alpha in the settings alone; it is read as it was.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from thumbtune.errors import ThumbtuneError
from thumbtune.files import check_seal, refuse_not_finite, sweep, write_tensors
from thumbtune.models.families import family_of_network
from thumbtune.models.lora_header import (
    ALPHA,
    ARGUMENTS,
    CONV_ALPHA,
    DYNAMIC,
    IMPLEMENTATION,
    ORIGINAL,
    alpha_of,
    hashes,
    is_xl,
    network_facts,
)
from thumbtune.models.lora_names import PARTS, TRANSFORMER, UNET, in_text_model, kohya_prefixes, native_name
from thumbtune.models.original_layout import unet_modules

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
KOHYA_FILE = "kohya.safetensors"
COMFYUI_FILE = "comfyui.safetensors"
SECOND_FILE = "pytorch_lora_weights_2.safetensors"
EXPERT = "thumbtune.network"  # in the header: what people call the one of several networks that a file is for
SETTINGS = "lora_adapter_metadata"  # diffusers' key for PEFT's settings
_KINDS = {"lora_A": "lora_down.weight", "lora_B": "lora_up.weight", "lora_magnitude_vector": "dora_scale"}


@dataclass(frozen=True, kw_only=True)
class FileNames:
    """The names of the files of a transformer's LoRA: for diffusers, and for ComfyUI where it needs its own.

    expert: what people call the network, if it is one of several
    """

    diffusers: str = DIFFUSERS_FILE
    comfyui: str = COMFYUI_FILE
    expert: str | None = None


@dataclass(frozen=True)
class Still:
    """A LoRA that is not trained: its tensors under PEFT's names, and the scale of each layer."""

    tensors: Mapping[str, Tensor]
    scales: Mapping[str, float]

    @property
    def ranks(self) -> dict[str, int]:
        """Return the rank of each layer."""
        return {layer: self.tensors[f"{layer}.lora_A.weight"].shape[0] for layer in self.scales}

    @property
    def pairs(self) -> list[tuple[int, float]]:
        """Return the rank and the alpha of each layer."""
        return [(rank, alpha_of(self.scales[layer], rank)) for layer, rank in self.ranks.items()]

    def settings(self) -> dict[str, Any]:
        """Return PEFT's settings for matrices whose scale is 1."""
        from peft import LoraConfig

        ranks = self.ranks
        config = LoraConfig(
            r=next(iter(ranks.values())),
            target_modules=sorted(ranks),
            rank_pattern={re.escape(layer): rank for layer, rank in ranks.items()},
            use_dora=any(".lora_magnitude_vector" in key for key in self.tensors),
        )
        return _of_scale_1(config.to_dict())


Beside = Mapping[str, Still]  # the LoRA of other networks of a pipeline, by the network's name there


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the adapter's weights under PEFT's names, on the CPU in float32."""
    from peft.utils import get_peft_model_state_dict

    state = get_peft_model_state_dict(network)
    return {key: value.detach().float().cpu().contiguous() for key, value in state.items()}


def scales_of(network: nn.Module) -> dict[str, float]:
    """Return the number that each layer's product B A is multiplied by, alpha / rank."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = ((name, layer) for name, layer in network.named_modules() if isinstance(layer, BaseTunerLayer))
    return {name: float(layer.scaling["default"]) for name, layer in layers}  # type: ignore[index]


def _split(key: str) -> tuple[str, str]:
    """Return the layer and the kind of one of PEFT's names.

    >>> _split("mid.to_q.lora_A.weight"), _split("mid.to_q.lora_magnitude_vector")
    (('mid.to_q', 'lora_A'), ('mid.to_q', 'lora_magnitude_vector'))
    """
    layer, _, kind = key.removesuffix(".weight").rpartition(".")
    return layer, kind


def scaled(tensors: Mapping[str, Tensor], factors: Mapping[str, float]) -> dict[str, Tensor]:
    """Return the tensors with each B multiplied by the factor of its layer."""
    out = {}
    for key, value in tensors.items():
        layer, kind = _split(key)
        factor = factors[layer] if kind == "lora_B" else 1.0
        out[key] = value if factor == 1.0 else value * factor
    return out


def kohya(
    tensors: Mapping[str, Tensor],
    scales: Mapping[str, float],
    prefix: str = "lora_unet",
    named: Callable[[str], str] = str,
) -> dict[str, Tensor]:
    """Return tensors under kohya's names: `mid.0.x.lora_A.weight` becomes `lora_unet_mid_0_x.lora_down.weight`.

    named: the function from a layer to what it is called there, with dots
    """
    out: dict[str, Tensor] = {}
    for key, value in tensors.items():
        layer, kind = _split(key)
        name = f"{prefix}_{named(layer).replace('.', '_')}"
        ones = (1,) * (tensors[f"{layer}.lora_A.weight"].dim() - 1)  # PEFT has the lengths of a convolution second
        out[f"{name}.{_KINDS[kind]}"] = value.reshape(-1, *ones) if kind == "lora_magnitude_vector" else value
        if kind == "lora_A":
            out[f"{name}.alpha"] = torch.tensor(alpha_of(scales[layer], value.shape[0]))
    return out


def save(
    network: nn.Module,
    folder: Path,
    about: Mapping[str, str] | None = None,
    beside: Beside | None = None,
    names: FileNames | None = None,
) -> None:
    """Write both files into `folder`.

    about: what the headers tell of the training and its base, beside what the network itself tells
    beside: the LoRA of the pipeline's text encoders, which belongs into the same files
    names: of the files, if they are not the usual ones
    """
    names = names or FileNames()
    tensors, scales, others = tensors_of(network), scales_of(network), beside or {}
    facts = {"format": "pt", **network_facts(network, [pair for still in others.values() for pair in still.pairs])}
    facts |= {**(about or {}), **({} if names.expert is None else {EXPERT: names.expert})}
    # all of them under PEFT's names: of a file that mixes these with `lora.down`, diffusers loads the latter alone
    own = part_of(network)
    plain = {f"{own}.{key}": value for key, value in scaled(tensors, scales).items()}
    settings = {f"{own}.{name}": value for name, value in _settings(network).items()}
    for part, still in others.items():
        plain |= {f"{part}.{in_text_model(key)}": value for key, value in scaled(still.tensors, still.scales).items()}
        settings |= {f"{part}.{name}": value for name, value in still.settings().items()}
    sweep(folder)
    header = {**facts, **hashes(plain), SETTINGS: json.dumps(settings, indent=2, sort_keys=True)}
    write_tensors(folder / names.diffusers, plain, header, durable=True)
    if own == UNET:
        _write_kohya(network, folder, facts, others)
    elif (family := family_of_network(network)) is not None and family.own_file:
        tensors = scaled(tensors, scales)
        native = {f"diffusion_model.{native_name(key, family.native)}": value for key, value in tensors.items()}
        write_tensors(folder / names.comfyui, native, {**facts, **hashes(native)}, durable=True)


def _write_kohya(network: nn.Module, folder: Path, facts: Mapping[str, str], others: Beside) -> None:
    """Write the file for ComfyUI and A1111; of a transformer, ComfyUI reads the one for diffusers."""
    has_two = is_xl(network.config)  # type: ignore[arg-type]
    prefixes = kohya_prefixes(has_two)
    original = unet_modules(name for name, _ in network.named_modules()) if has_two else str
    named = kohya(tensors_of(network), scales_of(network), prefixes[UNET], original)
    for part, still in others.items():
        named |= kohya(still.tensors, still.scales, prefixes[part], in_text_model)
    of_names = {IMPLEMENTATION: ORIGINAL} if has_two and IMPLEMENTATION in facts else {}
    write_tensors(folder / KOHYA_FILE, named, {**facts, **of_names, **hashes(named)}, durable=True)


def part_of(network: nn.Module) -> str:
    """Return the name that pipelines have for a network that is trained: `unet` or `transformer`."""
    return UNET if type(network).__name__.startswith("UNet") else TRANSFORMER


def _settings(network: nn.Module) -> dict[str, Any]:
    """Return PEFT's settings for matrices whose scale is 1: every alpha is its rank."""
    return _of_scale_1(network.peft_config["default"].to_dict())  # type: ignore[union-attr, index]


def _of_scale_1(config: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
    return {**plain, "lora_alpha": plain["r"], "alpha_pattern": plain["rank_pattern"]}


def load(network: nn.Module, folder: Path, name: str = DIFFUSERS_FILE) -> None:
    """Read weights that `save` wrote into adapters of the same shape.

    Raises:
        ThumbtuneError: the file is missing, damaged, or was made for other layers, another rank or another alpha.
    """
    from diffusers.utils import convert_unet_state_dict_to_peft
    from peft.utils import set_peft_model_state_dict

    file = folder / name
    try:
        check_seal(file)
        stored = load_file(file)
        with safe_open(file, "pt") as opened:
            header = opened.metadata() or {}
        settings = json.loads(header.get(SETTINGS, "{}"))
        refuse_not_finite(stored)
    except Exception as error:
        raise ThumbtuneError(
            f"{file} is not a readable LoRA file ({error}); name the folder that a run wrote.", code="result-unreadable"
        ) from error
    part = part_of(network)
    named = convert_unet_state_dict_to_peft(stored)
    others = tuple(f"{other}." for other in PARTS if other != part)  # which training does not change
    tensors = {key.removeprefix(f"{part}."): value for key, value in named.items() if not key.startswith(others)}
    wanted = {key: value.shape for key, value in tensors_of(network).items()}
    if {key: value.shape for key, value in tensors.items()} != wanted:
        raise ThumbtuneError(
            f"{file} was made for other layers or another rank; use the recipe that it was trained with.",
            code="result-other-network",
        )
    is_baked = ALPHA in header
    _refuse_other_alpha(file, header if is_baked else {ALPHA: settings.get(f"{part}.lora_alpha")}, network)
    if is_baked:
        tensors = scaled(tensors, {name: 1 / scale for name, scale in scales_of(network).items()})
    set_peft_model_state_dict(network, tensors)


def _refuse_other_alpha(file: Path, header: Mapping[str, Any], network: nn.Module) -> None:
    ours = network_facts(network)
    pairs = {"lora.alpha": (header.get(ALPHA), ours[ALPHA])}
    if ARGUMENTS in header or ARGUMENTS in ours:
        own, other = (json.loads(one.get(ARGUMENTS) or "{}").get(CONV_ALPHA) for one in (ours, header))
        pairs["lora.conv_alpha"] = (other, own)
    for option, (stored, own) in pairs.items():
        if stored is not None and own is not None and DYNAMIC not in (stored, own) and float(stored) != float(own):
            raise ThumbtuneError(
                f"{file} was made with {option} {float(stored):g}, not {float(own):g}; use the recipe that it was "
                "trained with.",
                code="result-other-alpha",
            )
