"""LoRA on a network, through PEFT. Adapters are switched off or swapped for the reference, and saved in two formats.

`pytorch_lora_weights.safetensors` has the keys and metadata of diffusers. `kohya.safetensors` has the keys that ComfyUI
and A1111 read, with every alpha.
"""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from thumbtune.errors import ThumbtuneError
from thumbtune.files import check_seal, refuse_not_finite, sweep, write_sealed, write_tensors
from thumbtune.models.swap import swapped

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
KOHYA_FILE = "kohya.safetensors"
# the attention projections of a UNet, as in the official LoRA option of Diffusion-KTO
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """The adapters to add: their rank, alpha (the scale is alpha / rank), and the ends of their layers' names."""

    rank: int = 16
    alpha: float = 16.0
    targets: tuple[str, ...] = ATTENTION

    def on(self, network: nn.Module, seed: int = 0) -> "Adapters":
        """Add the adapters to a network, and return it with its reference."""
        put_on(network, self, seed)
        return Adapters(network, self)


class Adapters:
    """A LoRA on a network. The reference is the network without it, or with an earlier state of it."""

    def __init__(self, network: nn.Module, lora: LoRA) -> None:
        self.network = network
        self.lora = lora
        self._reference: dict[str, Tensor] = {}  # the LoRA of a synced reference; empty: no LoRA

    def reference(self) -> AbstractContextManager[None]:
        if self._reference:
            return swapped(dict(self.trainable()), self._reference)
        return switched_off(self.network)

    def freeze_reference(self) -> None:
        self._reference = {name: weight.detach().clone() for name, weight in self.trainable()}

    def reference_state(self) -> dict[str, Tensor]:
        return dict(self._reference)

    def restore_reference(self, state: dict[str, Tensor]) -> None:
        device = next(self.network.parameters()).device
        self._reference = {name: value.to(device) for name, value in state.items()}

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in self.network.named_parameters() if p.requires_grad)

    def save(self, folder: Path) -> None:
        save(self.network, self.lora, folder)

    def load(self, folder: Path) -> None:
        load(self.network, folder)


def put_on(network: nn.Module, lora: LoRA, seed: int = 0) -> None:
    """Freeze a diffusers network and add float32 adapters that do not change its output yet (B = 0)."""
    from peft import LoraConfig

    network.requires_grad_(False)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # PEFT divides it by the rank, so fractions work
        target_modules=list(lora.targets),
        init_lora_weights="gaussian",
    )
    # PEFT samples A with the global generator: fork it, so that other random numbers do not change
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.add_adapter(config)  # type: ignore[operator]
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


@contextmanager
def switched_off(network: nn.Module) -> Iterator[None]:
    """Switch the adapters off inside the `with` block: the network is then the reference."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    on = any(isinstance(layer, BaseTunerLayer) and not layer.disable_adapters for layer in network.modules())
    network.disable_adapters()  # type: ignore[operator]
    try:
        yield
    finally:
        if on:  # not if this block is inside another one
            network.enable_adapters()  # type: ignore[operator]


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the adapter's weights under PEFT's names, on the CPU in float32."""
    from peft.utils import get_peft_model_state_dict

    state = get_peft_model_state_dict(network)
    return {key: value.detach().float().cpu().contiguous() for key, value in state.items()}


def kohya(tensors: dict[str, Tensor], alpha: float, prefix: str = "lora_unet") -> dict[str, Tensor]:
    """Return tensors under kohya's names: `mid.0.x.lora_A.weight` becomes `lora_unet_mid_0_x.lora_down.weight`."""
    out: dict[str, Tensor] = {}
    for key, value in tensors.items():
        module, _, kind = key.removesuffix(".weight").rpartition(".")
        name = f"{prefix}_{module.replace('.', '_')}"
        out[f"{name}.{'lora_down' if kind == 'lora_A' else 'lora_up'}.weight"] = value
        out[f"{name}.alpha"] = torch.tensor(float(alpha))
    return out


def save(network: nn.Module, lora: LoRA, folder: Path) -> None:
    """Write both formats into `folder`."""
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import convert_state_dict_to_diffusers

    tensors = tensors_of(network)
    config = network.peft_config["default"].to_dict()  # type: ignore[union-attr, index]
    metadata = {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}

    def write(file: Path) -> None:
        StableDiffusionPipeline.save_lora_weights(
            save_directory=file.parent,
            unet_lora_layers=convert_state_dict_to_diffusers(tensors),
            weight_name=file.name,
            unet_lora_adapter_metadata=metadata,
        )

    sweep(folder)
    write_sealed(folder / DIFFUSERS_FILE, write, durable=True)
    write_tensors(folder / KOHYA_FILE, kohya(tensors, lora.alpha), {"format": "pt"}, durable=True)


def _alpha_in(file: Path) -> float | None:
    """Return the alpha that a file was written with; None if it does not contain it."""
    with safe_open(file, "pt") as opened:
        metadata = json.loads((opened.metadata() or {}).get("lora_adapter_metadata", "{}"))
    return metadata.get("unet.lora_alpha")


def load(network: nn.Module, folder: Path) -> None:
    """Read weights that `save` wrote into adapters of the same shape.

    Raises:
        ThumbtuneError: the file is missing, damaged, or was made for other layers, another rank or another alpha.
    """
    from diffusers.utils import convert_unet_state_dict_to_peft
    from peft.utils import set_peft_model_state_dict

    file = folder / DIFFUSERS_FILE
    try:
        check_seal(file)
        stored, alpha = load_file(file), _alpha_in(file)
        refuse_not_finite(stored)
    except Exception as error:
        raise ThumbtuneError(
            f"{file} is not a readable LoRA file ({error}); name the folder that a run wrote.", code="result-unreadable"
        ) from error
    tensors = {key.removeprefix("unet."): value for key, value in convert_unet_state_dict_to_peft(stored).items()}
    wanted = {key: value.shape for key, value in tensors_of(network).items()}
    if {key: value.shape for key, value in tensors.items()} != wanted:
        raise ThumbtuneError(
            f"{file} was made for other layers or another rank; use the recipe that it was trained with.",
            code="result-other-network",
        )
    ours = network.peft_config["default"].lora_alpha  # type: ignore[union-attr, index]
    if alpha is not None and alpha != ours:
        raise ThumbtuneError(
            f"{file} was made with lora.alpha {alpha:g}, not {ours:g}; use the recipe that it was trained with.",
            code="result-other-alpha",
        )
    set_peft_model_state_dict(network, tensors)
