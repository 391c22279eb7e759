"""LoRA files as other programs write them for a transformer, made of random layers; names as in those programs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Made:
    """One layer: its matrices, its alpha, and which rows of which modules of diffusers it moves."""

    down: Tensor
    up: Tensor
    alpha: float | None
    modules: tuple[str, ...]  # a fused layer moves several, one after the other

    @property
    def delta(self) -> Tensor:
        """The sum to add to the weights, in float64."""
        rank = self.down.shape[0]
        scale = (rank if self.alpha is None else self.alpha) / rank
        return scale * self.up.double() @ self.down.double()


def made(network: nn.Module, names: Mapping[str, tuple[str, ...]], with_alpha: bool = True) -> dict[str, Made]:
    """Random layers of ranks 2, 3 and 4 and alphas that differ, by their names in the file."""
    generator = torch.Generator().manual_seed(0)
    layers = {}
    for i, (name, modules) in enumerate(names.items()):
        parts: list[Any] = [network.get_submodule(module) for module in modules]
        shapes = [part.weight.shape for part in parts]
        rank, rows, columns = 2 + i % 3, sum(shape[0] for shape in shapes), shapes[0][1]
        down, up = (torch.randn(*shape, generator=generator) * 0.3 for shape in ((rank, columns), (rows, rank)))
        layers[name] = Made(down, up, 0.5 + 0.75 * i if with_alpha else None, modules)
    return layers


def merged(network: nn.Module, layers: Mapping[str, Made]) -> dict[str, Tensor]:
    """The weights with all layers added, by the names of modules."""
    weights = {}
    for layer in layers.values():
        begin = 0
        for module in layer.modules:
            weight: Any = network.get_submodule(module).weight
            rows = layer.delta[begin : begin + len(weight)]
            weights[module], begin = (weight.double() + rows).float(), begin + len(weight)
    return weights


def written(layers: Mapping[str, Made], down: str, up: str, flat: bool = False, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a file."""
    out = {}
    for name, layer in layers.items():
        own = prefix + (name.replace(".", "_") if flat else name)
        out |= {f"{own}.{down}": layer.down.clone(), f"{own}.{up}": layer.up.clone()}
        if layer.alpha is not None:
            out[f"{own}.alpha"] = torch.tensor(layer.alpha)
    return out


KOHYA: Mapping[str, Any] = {"down": "lora_down.weight", "up": "lora_up.weight", "flat": True, "prefix": "lora_unet_"}
PEFT: Mapping[str, Any] = {"down": "lora_A.weight", "up": "lora_B.weight"}
COMFYUI: Mapping[str, Any] = {**PEFT, "prefix": "diffusion_model."}
COMFYUI_UP: Mapping[str, Any] = {**COMFYUI, "down": "lora_down.weight", "up": "lora_up.weight"}

Names = Callable[[nn.Module], Mapping[str, tuple[str, ...]]]


def own(*ends: str) -> Names:
    """Names of diffusers: each layer that ends so is itself."""

    def names(network: nn.Module) -> dict[str, tuple[str, ...]]:
        return {name: (name,) for name, _ in network.named_modules() if name.endswith(ends)}

    return names


def table(names: Mapping[str, str]) -> Names:
    """Names of a file with those of diffusers, of which several are divided by blanks."""
    return lambda _: {name: tuple(modules.split()) for name, modules in names.items()}


def _joint(image: str, text: str, of: str = "transformer_blocks.0.attn") -> dict[str, str]:
    return {
        f"{image}.qkv": f"{of}.to_q {of}.to_k {of}.to_v",
        f"{image}.proj": f"{of}.to_out.0",
        f"{text}.qkv": f"{of}.add_q_proj {of}.add_k_proj {of}.add_v_proj",
        f"{text}.proj": f"{of}.to_add_out",
    }


DOUBLE = _joint("double_blocks.0.img_attn", "double_blocks.0.txt_attn")
FLUX = DOUBLE | {
    "double_blocks.0.img_mlp.0": "transformer_blocks.0.ff.net.0.proj",
    "double_blocks.0.img_mlp.2": "transformer_blocks.0.ff.net.2",
    "double_blocks.0.txt_mlp.0": "transformer_blocks.0.ff_context.net.0.proj",
    "double_blocks.0.txt_mlp.2": "transformer_blocks.0.ff_context.net.2",
    "single_blocks.0.linear2": "single_transformer_blocks.0.proj_out",
}
FLUX_MODULATED = FLUX | {
    "double_blocks.0.img_mod.lin": "transformer_blocks.0.norm1.linear",
    "double_blocks.0.txt_mod.lin": "transformer_blocks.0.norm1_context.linear",
    "single_blocks.0.modulation.lin": "single_transformer_blocks.0.norm.linear",
    "img_in": "x_embedder",
}
KLEIN = DOUBLE | {
    "double_blocks.0.img_mlp.0": "transformer_blocks.0.ff.linear_in",
    "double_blocks.0.txt_mlp.2": "transformer_blocks.0.ff_context.linear_out",
    "single_blocks.0.linear1": "single_transformer_blocks.0.attn.to_qkv_mlp_proj",
    "single_blocks.0.linear2": "single_transformer_blocks.0.attn.to_out",
}
Z_IMAGE = {
    "layers.0.attention.qkv": "layers.0.attention.to_q layers.0.attention.to_k layers.0.attention.to_v",
    "layers.0.attention.out": "layers.0.attention.to_out.0",
    "layers.0.feed_forward.w1": "layers.0.feed_forward.w1",
    "context_refiner.0.feed_forward.w2": "context_refiner.0.feed_forward.w2",
}
KREA = {
    **{
        f"blocks.0.attn.{theirs}": f"transformer_blocks.0.attn.{ours}"
        for theirs, ours in (("wq", "to_q"), ("wk", "to_k"), ("wv", "to_v"), ("wo", "to_out.0"), ("gate", "to_gate"))
    },
    **{f"blocks.0.mlp.{one}": f"transformer_blocks.0.ff.{one}" for one in ("gate", "up", "down")},
    "first": "img_in",
    "last.linear": "final_layer.linear",
    "tmlp.0": "time_embed.linear_1",
    "txtfusion.projector": "text_fusion.projector",
}
WAN = {
    **{
        f"blocks.0.{theirs}.{end}": f"blocks.0.{ours}.{name}"
        for theirs, ours in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for end, name in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"))
    },
    "blocks.0.ffn.0": "blocks.0.ffn.net.0.proj",
    "blocks.0.ffn.2": "blocks.0.ffn.net.2",
}
WAN_ATTENTION = {name: module for name, module in WAN.items() if "self_attn" in name}
QWEN = own("attn.to_q", "attn.add_k_proj", "attn.to_out.0", "attn.to_add_out", "img_mlp.net.2", "txt_mod.1")
ATTENTION = own("to_q", "to_k", "to_v", "to_out.0")

# of each file: the family, the names, how they are written, and whether alphas stand in it
FILES: dict[str, tuple[str, Names, Mapping[str, Any], bool]] = {
    **{
        f"{family} {form}": (family, ATTENTION, spelling, with_alpha)
        for family in ("flux", "sd3", "klein", "flux2", "qwen-image", "krea2", "z-image", "chroma", "sana", "pixart")
        for form, spelling, with_alpha in (
            ("diffusers", {**PEFT, "prefix": "transformer."}, False),
            ("diffusers with alpha", {**PEFT, "prefix": "transformer."}, True),
            ("OneTrainer", {**KOHYA, "flat": False, "prefix": "transformer."}, True),
            ("ComfyUI with diffusers' names", COMFYUI, True),
            ("kohya with diffusers' names", {**KOHYA, "prefix": "lora_transformer_"}, True),
        )
    },
    "flux kohya": ("flux", table(FLUX_MODULATED), KOHYA, True),
    "flux kohya without alpha": ("flux", table(FLUX), KOHYA, False),
    "flux ComfyUI": ("flux", table(FLUX_MODULATED), COMFYUI, False),
    "flux ComfyUI with alpha": ("flux", table(FLUX_MODULATED), COMFYUI, True),
    "flux ComfyUI of down and up": ("flux", table(FLUX), COMFYUI_UP, True),
    "flux bare": ("flux", table(FLUX), PEFT, False),
    "chroma kohya": ("chroma", table(FLUX), KOHYA, True),
    "klein kohya": ("klein", table(KLEIN), KOHYA, True),
    "klein ComfyUI": ("klein", table(KLEIN), COMFYUI, False),
    "klein ComfyUI with alpha": ("klein", table(KLEIN), COMFYUI_UP, True),
    "flux2 kohya": ("flux2", table(KLEIN), KOHYA, True),
    "flux2 ComfyUI with alpha": ("flux2", table(KLEIN), COMFYUI, True),
    "qwen-image kohya": ("qwen-image", QWEN, KOHYA, True),
    "qwen-image ComfyUI": ("qwen-image", QWEN, COMFYUI, True),
    "z-image kohya": ("z-image", table(Z_IMAGE), KOHYA, True),
    "z-image kohya with diffusers' names": ("z-image", ATTENTION, KOHYA, True),
    "z-image ComfyUI": ("z-image", table(Z_IMAGE), COMFYUI, False),
    "z-image ComfyUI with alpha": ("z-image", table(Z_IMAGE), COMFYUI_UP, True),
    "krea2 ComfyUI": ("krea2", table(KREA), COMFYUI, False),
    "krea2 ComfyUI with alpha": ("krea2", table(KREA), COMFYUI, True),
    "krea2 ComfyUI of down and up": ("krea2", table(KREA), COMFYUI_UP, True),
    "wan kohya": ("wan", table(WAN), KOHYA, True),
    "wan kohya of some layers": ("wan", table(WAN_ATTENTION), KOHYA, True),
    "wan ComfyUI": ("wan", table(WAN), COMFYUI, False),
    "wan ComfyUI with alpha": ("wan", table(WAN), COMFYUI_UP, True),
    "wan diffusers": ("wan", ATTENTION, {**PEFT, "prefix": "transformer."}, True),
    "lumina2 diffusers": ("lumina2", ATTENTION, {**PEFT, "prefix": "transformer."}, True),
}
