"""LoRA on a network, through PEFT. Adapters are switched off or swapped for the reference.

LoRA    W + alpha / rank * B A                                                    Hu et al., arXiv 2106.09685
DoRA    m * (W + alpha / rank * B A) / |W + alpha / rank * B A|, m of each row    Liu et al., arXiv 2402.09353

`lora_saving` writes and reads the two files of a result.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from thumbtune.models.devices import device_of
from thumbtune.models.lora_saving import (
    DIFFUSERS_FILE,
    KOHYA_FILE,
    SECOND_FILE,
    Beside,
    FileNames,
    load,
    save,
    tensors_of,
)
from thumbtune.models.lora_targets import ATTENTION, wide_convolutions, written_out
from thumbtune.models.quantised import Bits, quantise
from thumbtune.models.swap import swapped

__all__ = [
    "DIFFUSERS_FILE",
    "KOHYA_FILE",
    "SECOND_FILE",
    "Adapters",
    "LoRA",
    "load",
    "put_on",
    "save",
    "switched_off",
    "tensors_of",
]


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """The adapters to add.

    rank, alpha: the scale of a layer is alpha / rank
    targets: the ends of their layers' names, or whole names with * for any letters; a family has sets of them
    conv_rank: the rank of targeted convolutions that are larger than 1 x 1; None: `rank`
    conv_alpha: their alpha; None: the one with which their scale is that of the other layers
    dora: whether the length of each row is trained too
    quantize: how the frozen linear layers below are quantised; None: not at all
    about: what to tell in the headers of the files, asked for when they are written
    names: of its files
    """

    rank: int = 16
    alpha: float = 16.0
    targets: tuple[str, ...] = ATTENTION
    conv_rank: int | None = None
    conv_alpha: float | None = None
    dora: bool = False
    quantize: Bits | None = None
    about: Callable[[], Mapping[str, str]] = field(default=dict, compare=False, repr=False)
    names: FileNames = field(default_factory=FileNames)

    def on(self, network: nn.Module, seed: int = 0) -> "Adapters":
        """Add the adapters to a network, and return it with its reference.

        Raises:
            ThumbtuneError: a library is missing that `quantize` needs.
        """
        if self.quantize is not None:
            quantise(network.requires_grad_(False), self.quantize)
        put_on(network, self, seed)
        return Adapters(network, self.about, names=self.names)

    def called(self, name: str, is_first: bool) -> "LoRA":
        """Return the same adapters for one of two networks, whose files have names of their own."""
        diffusers = DIFFUSERS_FILE if is_first else SECOND_FILE
        names = FileNames(diffusers=diffusers, comfyui=f"comfyui_{name}.safetensors", expert=name)
        return replace(self, names=names)


class Adapters:
    """A LoRA on a network. The reference is the network without it, or with an earlier state of it.

    about, names: as in `LoRA`
    beside: the LoRA of the pipeline's other networks, which is written into the same files
    """

    def __init__(
        self,
        network: nn.Module,
        about: Callable[[], Mapping[str, str]] = dict,
        beside: Beside | None = None,
        names: FileNames | None = None,
    ) -> None:
        self.network, self.about, self.beside = network, about, beside
        self.names = names or FileNames()
        self._reference: dict[str, Tensor] = {}  # the LoRA of a synced reference; empty: no LoRA

    def reference(self) -> AbstractContextManager[None]:
        if self._reference:
            device = device_of(self.network)
            for name, value in self._reference.items():
                self._reference[name] = value.to(device)  # moved once: it stays there
            return swapped(dict(self.trainable()), self._reference)
        return switched_off(self.network)

    def freeze_reference(self) -> None:
        self._reference = {name: weight.detach().clone() for name, weight in self.trainable()}

    def reference_state(self) -> dict[str, Tensor]:
        return dict(self._reference)

    def restore_reference(self, state: dict[str, Tensor]) -> None:
        device = device_of(self.network)
        self._reference = {name: value.to(device) for name, value in state.items()}

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in self.network.named_parameters() if p.requires_grad)

    def save(self, folder: Path) -> None:
        save(self.network, folder, self.about(), self.beside, self.names)

    def load(self, folder: Path) -> None:
        load(self.network, folder, self.names.diffusers)


def put_on(network: nn.Module, lora: LoRA, seed: int = 0) -> None:
    """Freeze a diffusers network and add float32 adapters that do not change its output yet (B = 0)."""
    from peft import LoraConfig, inject_adapter_in_model

    network.requires_grad_(False)
    rank, alpha = lora.conv_rank or lora.rank, lora.conv_alpha
    alpha = lora.alpha * rank / lora.rank if alpha is None else alpha
    wide = wide_convolutions(network, lora.targets) if (rank, alpha) != (lora.rank, lora.alpha) else []
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # PEFT divides it by the rank, so fractions work
        target_modules=written_out(network, lora.targets),
        init_lora_weights="gaussian",
        rank_pattern=dict.fromkeys(map(re.escape, wide), rank),
        alpha_pattern=dict.fromkeys(map(re.escape, wide), alpha),
        use_dora=lora.dora,
    )
    # PEFT samples A with the global generator: fork it, so that other random numbers do not change
    with torch.random.fork_rng(devices=[]), _as_if_in_float32(network):
        torch.manual_seed(seed)
        if hasattr(network, "add_adapter"):
            network.add_adapter(config)  # type: ignore[operator]
        else:
            inject_adapter_in_model(config, network)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


@contextmanager
def _as_if_in_float32(network: nn.Module) -> Iterator[None]:
    """Let weights of 16 bits look like zeros in float32: PEFT rounds what it samples to their type."""
    kept = [(weight, weight.data) for weight in network.parameters() if weight.dtype in (torch.bfloat16, torch.float16)]
    try:
        for weight, values in kept:
            weight.data = torch.zeros((), device=values.device).expand(values.shape)
        yield
    finally:
        for weight, values in kept:
            weight.data = values


@contextmanager
def switched_off(network: nn.Module) -> Iterator[None]:
    """Switch the adapters off inside the `with` block: the network is then the reference."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [layer for layer in network.modules() if isinstance(layer, BaseTunerLayer) and not layer.disable_adapters]
    for layer in layers:
        layer.enable_adapters(enabled=False)
    try:
        yield
    finally:
        for layer in layers:  # none if this block is inside another one
            layer.enable_adapters(enabled=True)
