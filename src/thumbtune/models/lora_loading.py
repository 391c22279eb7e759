"""Put a LoRA of any trainer on a pipeline through PEFT, all of it with the scale of each layer, or refuse it.

LoRA    W + scale * up @ down                                            Hu et al., arXiv 2106.09685
DoRA    m * (W + scale * up @ down) / |W + scale * up @ down|, by row     Liu et al., arXiv 2402.09353, eq. 5

A LoRA of which nothing or not all fits would be judged as another one, with the same win-rate in every table. So the
file is matched to the networks before anything is changed, and each of its tensors must have its place.
"""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from thumbtune.errors import ThumbtuneError
from thumbtune.models.lora_experts import expert_of
from thumbtune.models.lora_files import LoraFiles, ReadLora, read_lora
from thumbtune.models.lora_matching import Misfit, match
from thumbtune.models.lora_names import PARTS, TRANSFORMER, TRANSFORMER_2, Layer, Parts

LINEAR_DIMS, CONV_DIMS = 2, 4


@dataclass(frozen=True, kw_only=True)
class PlacedLayer:
    """The tensors of one layer in the shapes of its module, and its scale."""

    down: Tensor
    up: Tensor
    magnitude: Tensor | None
    scale: float

    @property
    def rank(self) -> int:
        """Return the number of rows of `down`."""
        return self.down.shape[0]


Placed = Mapping[Layer, PlacedLayer]


def put_on_pipeline(pipeline: Any, files: LoraFiles, base: str) -> Placed:
    """Put a LoRA on a pipeline's denoiser and text encoders; return each layer with its scale.

    Raises:
        ThumbtuneError: nothing or not all of it fits, it is no LoRA, or it is broken. The pipeline is unchanged.
    """
    networks = networks_of(pipeline)
    placed = place(networks, files, base)
    for part, network in networks.items():
        inject(network, layers_of(placed, part))
    return placed


def networks_of(pipeline: Any) -> dict[str, nn.Module]:
    """Return the networks of a pipeline that may carry a LoRA, by their part."""
    parts = {part: getattr(pipeline, part, None) for part in PARTS}
    return {part: network for part, network in parts.items() if network is not None}


def layers_of(placed: Placed, part: str) -> dict[str, PlacedLayer]:
    """Return the layers of one network, by their names in it."""
    return {module: layer for (own, module), layer in placed.items() if own == part}


def place(
    networks: Mapping[str, nn.Module], files: LoraFiles, base: str, remedy: str = "give its own base with --base"
) -> Placed:
    """Return the layers of a LoRA by the modules that they belong to; the networks may be without weights.

    remedy: what to do about a LoRA that does not fit

    Raises:
        ThumbtuneError: as `put_on_pipeline`.
    """
    file = next(iter(files.weights.values()))
    read = read_lora(files)
    misfit = Misfit(file, base, remedy)
    if TRANSFORMER_2 in files.weights and TRANSFORMER_2 not in networks:
        raise misfit.error(f"{files.weights[TRANSFORMER_2].name} beside it is for a second network, which that lacks")
    second = expert_of(files, read.tensors, networks) == TRANSFORMER_2
    if second:  # its layers have the names of the first
        networks = {part: one for part, one in networks.items() if part != TRANSFORMER_2} | {
            TRANSFORMER: networks[TRANSFORMER_2]
        }
    modules = {part: dict(_targets(networks[part])) for part in PARTS if part in networks}
    layers = match(networks, modules, read, misfit)
    placed = {
        layer: _placed(misfit, layer, parts, modules[layer[0]][layer[1]], read) for layer, parts in layers.items()
    }
    if second:
        placed = {(TRANSFORMER_2 if part == TRANSFORMER else part, name): one for (part, name), one in placed.items()}
    return placed


def _targets(network: nn.Module) -> Mapping[str, nn.Module]:
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}


def _placed(misfit: Misfit, layer: Layer, parts: Parts, module: nn.Module, read: ReadLora) -> PlacedLayer:
    """Return a layer's tensors in the shapes that PEFT has for its module."""
    tensors = parts.tensors
    rank = tensors["up"].shape[1] if tensors["up"].dim() >= LINEAR_DIMS else 0
    down, up = _down(tensors), tensors["up"]
    if rank > 0 and down.dim() >= LINEAR_DIMS and down.shape[0] != rank:
        raise ThumbtuneError(
            f"{misfit.file} has rank {down.shape[0]} in the first matrix of {layer[1]} and rank {rank} in the second, "
            "so they cannot be multiplied; get the file again.",
            code="side-misfit",
        )
    weight: Tensor = module.weight  # type: ignore[assignment]
    wanted = (rank, *weight.shape[1:]), (weight.shape[0], rank, *(1 for _ in weight.shape[2:]))
    fits = rank > 0 and down.numel() == _size(wanted[0]) and up.numel() == _size(wanted[1])
    fits = fits and _plain(down) == _plain_shape(wanted[0]) and _plain(up) == _plain_shape(wanted[1])
    magnitude, alpha = tensors.get("magnitude"), tensors.get("alpha")
    if not fits or (alpha is not None and alpha.numel() != 1):
        raise misfit.error(
            f"the shapes of {layer[1]} are {tuple(down.shape)} and {tuple(up.shape)} in the file, and its weight in "
            f"the base is {tuple(weight.shape)}"
        )
    return PlacedLayer(
        down=down.reshape(wanted[0]),
        up=up.reshape(wanted[1]),
        magnitude=None if magnitude is None else _magnitude(misfit.file, layer, parts, weight),
        scale=read.scale(*layer, rank, alpha),
    )


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


def _plain_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without the ones at its end: a linear layer is a convolution of 1 x 1."""
    while len(shape) > LINEAR_DIMS and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _plain(tensor: Tensor) -> tuple[int, ...]:
    return _plain_shape(tuple(tensor.shape))


def _down(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the matrix that goes down to the rank; LyCORIS may have split a convolution into two."""
    down, middle = tensors["down"], tensors.get("mid")
    if middle is None or middle.dim() != CONV_DIMS or middle.shape[1] != down.shape[0]:
        return down if middle is None else down.new_zeros(0)  # which fits nowhere
    return torch.einsum("rskl,si->rikl", middle, down.flatten(1))


def _magnitude(file: Path, layer: Layer, parts: Parts, weight: Tensor) -> Tensor:
    """Return DoRA's length of each row, as PEFT has it.

    Raises:
        ThumbtuneError: it has a length for each column, as early LyCORIS, or for another number of rows.
    """
    rows, magnitude = weight.shape[0], parts.tensors["magnitude"]
    first = magnitude.shape[0] if magnitude.dim() else 1
    # PEFT has the rows of a convolution second; kohya and LyCORIS have them first, and columns second
    of_peft = magnitude.dim() == CONV_DIMS and not any(name.endswith(".dora_scale") for name in parts.names)
    if magnitude.numel() != rows or (magnitude.shape[1] if of_peft else first) != rows:
        raise ThumbtuneError(
            f"{file} is a DoRA whose lengths of {layer[1]} have the shape {tuple(magnitude.shape)}, and only one "
            f"length for each of its {rows} outputs is read; train it with `wd_on_output=True`, or merge it into its "
            "model.",
            code="lora-dora-by-input",
        )
    return magnitude.reshape(rows) if weight.dim() == LINEAR_DIMS else magnitude.reshape(1, rows, 1, 1)


def inject(network: Any, layers: Mapping[str, PlacedLayer]) -> None:
    """Add the layers to a network through PEFT, plain ones and those of DoRA as an adapter each."""
    groups = {
        "default": {name: layer for name, layer in layers.items() if layer.magnitude is None},
        "dora": {name: layer for name, layer in layers.items() if layer.magnitude is not None},
    }
    groups = {adapter: own for adapter, own in groups.items() if own}
    for adapter, own in groups.items():
        add(network, adapter, own)
    if groups:
        activate(network, list(groups))


def activate(network: Any, adapters: list[str]) -> None:
    """Make the adapters of a network count and train."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    if hasattr(network, "set_adapter"):
        network.set_adapter(adapters)
        return
    for layer in network.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.set_adapter(adapters)


def add(network: Any, adapter: str, layers: Mapping[str, PlacedLayer]) -> None:
    """Add frozen layers to a network through PEFT, as one adapter."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=next(iter(layers.values())).rank,
        target_modules=list(layers),
        rank_pattern={re.escape(name): layer.rank for name, layer in layers.items()},
        use_dora=any(layer.magnitude is not None for layer in layers.values()),
    )
    # PEFT samples first weights, which are replaced below, and warns of a second adapter, which is meant
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if hasattr(network, "add_adapter"):
            network.add_adapter(config, adapter)
        else:
            inject_adapter_in_model(config, network, adapter)
    with torch.no_grad():
        for name, layer in layers.items():
            module = network.get_submodule(name)
            device = module.lora_A[adapter].weight.device
            module.lora_A[adapter].weight = nn.Parameter(layer.down.to(device), requires_grad=False)
            module.lora_B[adapter].weight = nn.Parameter(layer.up.to(device), requires_grad=False)
            module.scaling[adapter] = layer.scale
            if layer.magnitude is not None:
                own = module.lora_magnitude_vector[adapter]
                own.weight = nn.Parameter(layer.magnitude.to(device), requires_grad=False)
    network.requires_grad_(False)
