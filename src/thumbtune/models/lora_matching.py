"""Match each tensor of a LoRA to a layer of the networks, in any trainer's names; refuse a file if one has no place."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from thumbtune.errors import ThumbtuneError
from thumbtune.models.families import FAMILIES, family_of_network
from thumbtune.models.family import Family
from thumbtune.models.lora_converted import Converted, Given, converted
from thumbtune.models.lora_families import SD, XL, family_in
from thumbtune.models.lora_files import ReadLora
from thumbtune.models.lora_header import SPEC
from thumbtune.models.lora_names import TEXT_2, TRANSFORMER, Layer, Modules, Parts, layers_in, modules_of, read_name
from thumbtune.models.weight_files import metadata_in

MAX_NAMED = 3
Convert = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Misfit:
    """A file that may not fit a base, and what to do then."""

    file: Path
    base: str
    remedy: str

    def error(self, why: str) -> ThumbtuneError:
        """Return the error for a file that does not fit, with the reason."""
        return ThumbtuneError(f"{self.file} is not a LoRA for {self.base}: {why}; {self.remedy}.", code="side-misfit")


@dataclass(frozen=True)
class _Left:
    """Tensors that have no place: their names in the file, and of each what a converter called its layer, if it did."""

    names: Mapping[str, str]

    @property
    def listed(self) -> str:
        """Return the first of the names."""
        return ", ".join(sorted(self.names)[:MAX_NAMED]) + (", ..." if len(self.names) > MAX_NAMED else "")


def match(
    networks: Mapping[str, nn.Module], targets: Mapping[str, Mapping[str, nn.Module]], read: ReadLora, misfit: Misfit
) -> dict[Layer, Parts]:
    """Return the tensors of each layer of the networks.

    targets: the layers that may have a LoRA, by the networks' parts and by their names there

    Raises:
        ThumbtuneError: a tensor has no place.
    """
    family = family_of_network(networks[TRANSFORMER]) if TRANSFORMER in networks else None
    modules = modules_of(targets, family.native if family else ())
    layers, rest = layers_in(read.tensors, modules)
    left = _Left({key: read_name(key)[1] or key for key in rest})
    if rest and family is not None and (convert := _converter(family)) is not None:
        others, left = _convert(read, rest, modules, convert)
        for layer in layers.keys() & others.keys():
            left = _Left({**left.names, **dict.fromkeys(others[layer].names, layer[1])})
        layers |= {layer: parts for layer, parts in others.items() if layer not in layers}
    if left.names:
        name = (XL if TEXT_2 in networks else SD[0]) if family is None else family.name
        raise _left_over(misfit, left, len(read.tensors), modules, name)
    return layers


def _converter(family: Family) -> Convert | None:
    """Return what brings the names of other programs to those of diffusers in a family's pipeline; None without one."""
    import diffusers

    return getattr(getattr(diffusers, family.pipeline), "lora_state_dict", None)


def _convert(
    read: ReadLora, rest: Sequence[str], modules: Modules, convert: Convert
) -> tuple[dict[Layer, Parts], _Left]:
    """Return the layers that a converter makes of tensors, and which of these then have no place."""
    named: dict[str, dict[str, str]] = {}
    for key in rest:
        part, module = read_name(key)
        named.setdefault(module, {})[part or key] = key
    whole = {module: keys for module, keys in named.items() if {"down", "up"} <= keys.keys() <= {"down", "up", "alpha"}}
    given = {module: _scaled(read, module, keys) for module, keys in whole.items()}
    lost = {key: module or key for module, keys in named.items() if module not in whole for key in keys.values()}
    layers, without = _best(given, modules, convert)
    if without:  # some converters stop at the first name that they do not know
        alone = {module: _best({module: parts}, modules, convert) for module, parts in given.items()}
        unread = {module: without[module] for module in without if alone[module][1]}
        if len(unread) < len(without):
            layers, without = (
                {layer: one for own, rest in alone.values() if not rest for layer, one in own.items()},
                unread,
            )
    for parts in layers.values():
        parts.names[:] = [key for name in parts.names for key in whole[name].values()]
    return layers, _Left(lost | {key: became for module, became in without.items() for key in whole[module].values()})


def _best(given: Given, modules: Modules, convert: Convert) -> tuple[dict[Layer, Parts], dict[str, str]]:
    """Return the layers of the spelling of which most has a place; and of what has none, what it became."""
    forms = {_form(name) for name in modules.by_name}
    tried: list[tuple[tuple[int, int], dict[Layer, Parts], dict[str, str]]] = []
    for made in converted(given, convert) if given else ():
        layers, without = _placed(made, modules)
        without |= {module: module for module in made.without(given) if module not in without}
        tried.append(((len(without), sum(_form(one) not in forms for one in without.values())), layers, without))
        if not without:
            break
    _, layers, without = min(tried, key=lambda one: one[0], default=(0, {}, {module: module for module in given}))
    return layers, without


def _scaled(read: ReadLora, module: str, keys: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the two matrices of a layer, with its scale in the second one."""
    down, up = read.tensors[keys["down"]], read.tensors[keys["up"]]
    alpha = read.tensors.get(keys.get("alpha", ""))
    rank = down.shape[0] if down.dim() else 0
    usable = rank > 0 and (alpha is None or alpha.numel() == 1)
    return {"down": down, "up": up * read.scale(TRANSFORMER, module, rank, alpha) if usable else up}


def _placed(made: Converted, modules: Modules) -> tuple[dict[Layer, Parts], dict[str, str]]:
    """Return the layers of what a converter made, with the file's names of each; and which of these have no place."""
    layers, rest = layers_in(made.tensors, modules)
    without = {source.rpartition(" ")[0]: read_name(key)[1] or key for key in rest for source in made.layers[key]}
    for parts in layers.values():
        sources = {source.rpartition(" ")[0] for key in parts.names for source in made.layers[key]}
        parts.names[:] = sorted(sources)
    return layers, without


def _left_over(misfit: Misfit, left: _Left, total: int, modules: Modules, base: str) -> ThumbtuneError:
    """Return the error for tensors that have no place, with the family that they are of if their names tell it."""
    count = f"{len(left.names)} of its {total} tensors"
    told = _told_family(misfit.file)
    found = (told, False) if told is not None and told != base else family_in(left.names, base)
    if found is not None and not found[1]:
        return ThumbtuneError(
            f"{misfit.file} is a LoRA for {found[0]}, not for {misfit.base}: {count} have no place there "
            f"({left.listed}); {misfit.remedy}.",
            code="lora-other-family",
        )
    forms = {_form(name) for name in modules.by_name}
    if all(_form(name) in forms for name in left.names.values()):
        return misfit.error(
            f"{count} are of blocks that it does not have ({left.listed}), as those of a larger model of its family"
        )
    if found is not None:
        return ThumbtuneError(
            f"{misfit.file} names layers of {found[0]} in a way that neither Thumbtune nor diffusers reads: {count} "
            f"have no place in {misfit.base} ({left.listed}); save it with the names of diffusers.",
            code="lora-other-names",
        )
    return misfit.error(f"{count} have no place there ({left.listed}), so not all of it would be used")


def _told_family(file: Path) -> str | None:
    """Return the name of the family that the header of a file tells, as those of our own do; None if it tells none."""
    told = metadata_in(file).get(f"{SPEC}.architecture", "").removesuffix("/lora")
    return next(
        (family.name for family in FAMILIES if family.denoiser == TRANSFORMER and family.architecture == told), None
    )


def _form(name: str) -> str:
    """Return the name of a layer without the numbers of blocks.

    >>> _form("base_model.model.blocks.12.to_out.0"), _form("lora_unet_blocks_3_to_q")
    ('blocks.#.to_out.#', 'lora_unet_blocks_#_to_q')
    """
    return re.sub(r"(?<=[._])\d+(?=[._]|$)", "#", name.removeprefix("base_model.model."))
