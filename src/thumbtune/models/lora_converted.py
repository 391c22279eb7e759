"""Layers of a LoRA under the names of a network's authors, given those of diffusers by its own converters.

diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight      ComfyUI
lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight         kohya

A converter may leave tensors out without an error, may read one spelling alone, and may read alpha in another one only.
So alpha is multiplied into the numbers first, each spelling is tried, and each tensor is followed to what it becomes.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Given = Mapping[str, Mapping[str, Tensor]]  # by the name of a layer: its matrices down and up, with the scale in them

PREFIXES = ("diffusion_model.", "lora_unet_", "transformer.", "lora_transformer_", "lora_te", "text_encoder")
NATIVE = "diffusion_model."
# down, up and whether an alpha stands beside them
SPELLINGS = (
    (".lora_A.weight", ".lora_B.weight", False),
    (".lora_down.weight", ".lora_up.weight", True),
    (".lora.down.weight", ".lora.up.weight", True),
)
FAULTS = (  # of converters that meet other names than theirs
    *(ValueError, KeyError, IndexError, TypeError, AttributeError, NameError),
    *(AssertionError, NotImplementedError, RuntimeError),
)


class Traced(Tensor):
    """A tensor that remembers which tensors of a file it is made of."""

    sources: frozenset[str]

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Compute as any tensor does, and return results that remember what they are made of."""
        out = super().__torch_function__(func, types, args, kwargs or {})
        sources = frozenset().union(*(one.sources for one in _leaves(args) if hasattr(one, "sources")))
        for one in _leaves((out,)):
            one.sources = sources
        return out


def _leaves(values: Any) -> Iterator[Traced]:
    for value in values:
        if isinstance(value, Traced):
            yield value
        elif isinstance(value, list | tuple):
            yield from _leaves(value)


def _traced(name: str, tensor: Tensor) -> Traced:
    one = tensor.as_subclass(Traced)
    one.sources = frozenset([name])
    return one


@dataclass(frozen=True)
class Converted:
    """What a converter made of layers.

    tensors: under the names of diffusers, with a scale of 1
    layers: of each of these tensors, the names that its layer has in the file
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    layers: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def without(self, given: Given) -> set[str]:
        """Return the layers of the file of which the converter made nothing, or only a part."""
        made = {name for names in self.layers.values() for name in names}
        wanted = {layer: {f"{layer} {part}" for part in parts} for layer, parts in given.items()}
        return {layer for layer, parts in wanted.items() if not parts <= made}


def converted(given: Given, convert: Callable[[dict[str, Tensor]], Mapping[str, Tensor]]) -> Iterator[Converted]:
    """Yield what a converter makes of layers in each spelling that it reads.

    convert: `lora_state_dict` of a pipeline
    """
    bare = not any(name.startswith(PREFIXES) for name in given)
    for prefix in ("", NATIVE) if bare else ("",):
        for down, up, has_alpha in SPELLINGS:
            spelled: dict[str, Tensor] = {}
            for name, parts in given.items():
                spelled[f"{prefix}{name}{down}"] = _traced(f"{name} down", parts["down"])
                spelled[f"{prefix}{name}{up}"] = _traced(f"{name} up", parts["up"])
                if has_alpha:  # that of a scale of 1
                    rank = float(parts["down"].shape[0])
                    spelled[f"{prefix}{name}.alpha"] = torch.tensor(rank, device=parts["down"].device)
            try:
                with _quiet():
                    made = dict(convert(spelled))
            except FAULTS:
                continue
            kept = {key: value for key, value in made.items() if isinstance(value, Traced)}
            yield Converted(
                {key: value.as_subclass(Tensor) for key, value in kept.items()},
                {key: value.sources for key, value in kept.items()},
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep diffusers from telling what it leaves out, since that is counted here."""
    logger = logging.getLogger("diffusers")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
