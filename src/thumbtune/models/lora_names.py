"""The names that trainers give the tensors of a LoRA, brought into one form: layers of a network, each with its parts.

kohya                 lora_unet_mid_block_attentions_0_proj_in.lora_down.weight, .lora_up.weight, .alpha, .dora_scale
kohya, of SDXL        lora_unet_middle_block_1_proj_in.lora_down.weight, from the original names; lora_te1_, lora_te2_
diffusers             unet.mid_block.attentions.0.proj_in.lora_A.weight, .lora_B.weight, .lora_magnitude_vector
diffusers of before   unet.(...).to_q.lora.down.weight, (...).to_q.lora_linear_layer.up.weight,
                      (...).attn1.processor.to_q_lora.down.weight, all of them with or without `unet.`
PEFT                  base_model.model.mid_block.attentions.0.proj_in.lora_A.weight
OneTrainer            unet.mid_block.attentions.0.proj_in.lora_down.weight, .alpha
of transformers       diffusers' names after transformer., diffusion_model., lora_transformer_, lora_unet_ or lycoris_;
                      `lora_converted` reads those of the networks' authors

The delta of a layer is up @ down * alpha / rank. With a middle tensor (LyCORIS), down is first multiplied by it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from thumbtune.models.original_layout import unet_modules

UNET, TRANSFORMER, TEXT, TEXT_2 = "unet", "transformer", "text_encoder", "text_encoder_2"
TRANSFORMER_2 = "transformer_2"
PARTS = (UNET, TRANSFORMER, TRANSFORMER_2, TEXT, TEXT_2)  # of a pipeline, that may carry a LoRA
Layer = tuple[str, str]  # the part of a pipeline, and the name of a module in it

_PARTS = {
    "lora_down": "down",
    "lora_A": "down",
    "down": "down",
    "lora_up": "up",
    "lora_B": "up",
    "up": "up",
    "lora_mid": "mid",
}
_ADAPTER = r"(?:\.[A-Za-z0-9]\w*)?"  # PEFT's name of the adapter: `.default`
_FORMS = (
    re.compile(rf"(?P<module>.+)\.(?P<part>lora_down|lora_up|lora_mid|lora_A|lora_B){_ADAPTER}\.weight"),
    re.compile(r"(?P<module>.+)\.(?:lora|lora_linear_layer)\.(?P<part>down|up)\.weight"),
    re.compile(r"(?P<module>.+)_lora\.(?P<part>down|up)\.weight"),
)
_ALPHA = re.compile(r"(?P<module>.+?)(?:\.lora|\.lora_linear_layer|_lora)?\.alpha")
_MAGNITUDE = re.compile(rf"(?P<module>.+)\.(?:dora_scale|lora_magnitude_vector{_ADAPTER}(?:\.weight)?)")
# the attention processors of early diffusers, and what the layers behind them are called
_PROCESSOR = {"to_out": "to_out.0"}
_TEXT_PROCESSOR = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}


@dataclass(kw_only=True)
class Parts:
    """The tensors of one layer, and the names that they have in the file."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Modules:
    """The modules of a pipeline's networks that may carry a LoRA, under all names that trainers give them."""

    by_name: Mapping[str, Layer]

    def find(self, name: str) -> Layer | None:
        """Return the layer that a name in a file means; None if no network has it."""
        name = name.removeprefix("base_model.model.")
        for plain in (name, *_behind_processors(name)):
            if plain in self.by_name:
                return self.by_name[plain]
        return None


def modules_of(names: Mapping[str, Iterable[str]], native: Sequence[tuple[str, str]] = ()) -> Modules:
    """Return the modules of networks, given the names that each network has for them.

    A name that two modules would share is none: guessing would put a LoRA on the wrong layer.

    native: what to replace in the names of a transformer for those of its authors, in this order
    """
    found: dict[str, Layer | None] = {}
    prefixes = kohya_prefixes(TEXT_2 in names)
    for part, listed in names.items():
        own, prefix = list(listed), prefixes[part]
        original = unet_modules(own) if TEXT_2 in names and part == UNET else str
        for name in own:
            layer = (part, name)
            spelled = {name, f"{part}.{name}", f"{prefix}_{name.replace('.', '_')}"}
            if part == UNET:
                spelled |= {f"{prefix}_{original(name).replace('.', '_')}", f"diffusion_model.{original(name)}"}
            elif part == TRANSFORMER_2:  # other names are those of the first, as in diffusers
                spelled = {f"{part}.{name}", f"{prefix}_{name.replace('.', '_')}"}
            elif part == TRANSFORMER:
                for each in {name, native_name(name, native)}:
                    flat = each.replace(".", "_")
                    spelled |= {f"diffusion_model.{each}", f"lycoris_{flat}", f"lora_unet_{flat}"}
            else:  # transformers of before had one more level
                plain = name.removeprefix("text_model.")
                spelled |= {f"{start}{level}{plain}" for start in ("", f"{part}.") for level in ("", "text_model.")}
                flat = plain.replace(".", "_")
                spelled |= {f"{prefix}_{flat}", f"{prefix}_text_model_{flat}"}
            for each in spelled:
                found[each] = layer if found.get(each, layer) == layer else None
    return Modules({name: layer for name, layer in found.items() if layer is not None})


def kohya_prefixes(has_two: bool) -> dict[str, str]:
    """Return what kohya's names of each network begin with; text encoders are numbered only if there are two."""
    return {
        UNET: "lora_unet",
        TRANSFORMER: "lora_transformer",
        TRANSFORMER_2: "lora_transformer_2",
        TEXT: "lora_te1" if has_two else "lora_te",
        TEXT_2: "lora_te2",
    }


def native_name(name: str, replaced: Sequence[tuple[str, str]]) -> str:
    """Return the name that the authors of a network, and so ComfyUI, have for a layer or for a tensor of its LoRA.

    >>> native_name("blocks.0.attn1.to_q.lora_A.weight", [("attn1.", "self_attn."), ("to_q", "q")])
    'blocks.0.self_attn.q.lora_A.weight'
    """
    for ours, theirs in replaced:
        name = name.replace(ours, theirs)
    return name


def in_text_model(name: str) -> str:
    """Return the name of a text encoder's layer with the level that files have and new versions of transformers lack.

    >>> in_text_model("encoder.layers.0.mlp.fc1"), in_text_model("text_projection")
    ('text_model.encoder.layers.0.mlp.fc1', 'text_projection')
    """
    return f"text_model.{name}" if name.startswith("encoder.layers.") else name  # other encoders have no such level


def _behind_processors(name: str) -> list[str]:
    """Return the layers that a name of early diffusers means: `attn1.processor.to_q` is `attn1.to_q`."""
    attention, _, layer = name.replace(".processor.", ".").rpartition(".")
    unet, text = _PROCESSOR.get(layer, layer), _TEXT_PROCESSOR.get(layer, layer)
    return [f"{attention}.{unet}", f"{attention}.{text}"]


def layers_in(tensors: Mapping[str, Tensor], modules: Modules) -> tuple[dict[Layer, Parts], list[str]]:
    """Return the layers of a file, and the names of the tensors that belong to no layer of the networks."""
    layers: dict[Layer, Parts] = {}
    rest: list[str] = []
    for key, tensor in tensors.items():
        part, module = read_name(key)
        layer = modules.find(module) if part else None
        if layer is None:
            rest.append(key)
            continue
        own = layers.setdefault(layer, Parts())
        if part in own.tensors:  # one layer under two names
            rest.append(key)
            continue
        own.tensors[part] = tensor
        own.names.append(key)
    for layer, own in list(layers.items()):
        if not {"down", "up"} <= own.tensors.keys():
            rest += own.names
            del layers[layer]
    return layers, sorted(rest)


def read_name(key: str) -> tuple[str, str]:
    """Return the part of a layer that a tensor is, and the layer's name; two empty words for other tensors.

    >>> read_name("unet.mid.to_q.lora_A.default.weight"), read_name("lora_te_x.alpha"), read_name("mid.to_q.diff")
    (('down', 'unet.mid.to_q'), ('alpha', 'lora_te_x'), ('', ''))
    """
    for form in _FORMS:
        if match := form.fullmatch(key):
            return _PARTS[match["part"]], match["module"]
    for part, form in (("alpha", _ALPHA), ("magnitude", _MAGNITUDE)):
        if match := form.fullmatch(key):
            return part, match["module"]
    return "", ""
