"""Options of loading models, of reading prompts and of drawing that count for no side: refused, so none is ignored."""

from collections.abc import Iterable, Mapping
from typing import Any

from thumbtune.duels.sides import Side
from thumbtune.errors import UsageError, joined
from thumbtune.models.model_options import ModelOptions
from thumbtune.models.protocol import Sampler

LOADING = ("vae", "prediction", "zero_terminal_snr")
READING = ("over_length", "syntax", "clip_skip")
KINDS = {
    "run": "a run, which loads its model and reads prompts as it was trained",
    "checkpoint": "a checkpoint of a run, which loads its model and reads prompts as it was trained",
    "images": "a folder of images, which are drawn already",
    "model": "another model than --base",
}


def given_in(options: ModelOptions) -> dict[str, Any]:
    """Return the options that are not at their defaults, by name."""
    usual, values = ModelOptions(), {}
    for names, own, default in ((LOADING, options, usual), (READING, options.encoding, usual.encoding)):
        values |= {name: value for name in names if (value := getattr(own, name)) != getattr(default, name)}
    return values


def refuse_unused(options: ModelOptions, sides: Iterable[Side], sampler: Sampler | None = None) -> None:
    """Refuse options that no side is loaded with, or reads its prompts by.

    sampler: how images are drawn, which counts for none if all sides are folders of images

    Raises:
        UsageError: it names the options and the sides.
    """
    sides = list(sides)
    names = [name for name in given_in(options) if not any(_takes(side, name, options) for side in sides)]
    if sampler is not None and all(side.folder is not None for side in sides):
        usual = Sampler()
        names += [name for name in ("negative", "size", "steps", "guidance") if _differ(sampler, usual, name)]
    if not names:
        return
    whose = joined([f"{side.name} is {KINDS.get(side.kind, f'a {side.kind}')}" for side in _each(sides)])
    raise UsageError(f"Leave out {flags(names)}, which would change nothing: {whose}.", code="side-unused-option")


def used_notes(options: ModelOptions, sides: Iterable[Side]) -> list[str]:
    """Return a sentence on options of loading that count for a part of the sides."""
    sides, notes = list(sides), []
    for name in LOADING:
        if name not in given_in(options):
            continue
        others = [side for side in _each(sides) if not _takes(side, name, options)]
        takers = [side.name for side in _each(sides) if _takes(side, name, options)]
        if takers and others:
            whose = joined([f"{side.name} is {KINDS.get(side.kind, f'a {side.kind}')}" for side in others])
            notes.append(f"{flags([name])} counts for {joined(takers)} alone: {whose}.")
    return notes


def flags(names: Iterable[str]) -> str:
    """Return options as the command line has them.

    >>> flags(["vae", "clip_skip"])
    '--vae and --clip-skip'
    """
    return joined([f"--{name.replace('_', '-')}" for name in names])


def _takes(side: Side, name: str, options: ModelOptions) -> bool:
    """Return whether a side is loaded with an option, or reads prompts by it."""
    if side.options is None:
        return False
    own, asked = (each if name in LOADING else each.encoding for each in (side.options, options))
    return getattr(own, name) == getattr(asked, name)


def _differ(sampler: Sampler, usual: Sampler, name: str) -> bool:
    return getattr(sampler, name) != getattr(usual, name)


def _each(sides: Iterable[Side]) -> list[Side]:
    """Return sides of different names."""
    named: Mapping[str, Side] = {side.name: side for side in sides}
    return list(named.values())
