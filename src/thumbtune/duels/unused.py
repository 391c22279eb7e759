"""Options of loading models, of reading prompts and of drawing that count for no side: refused, so none is ignored."""

from collections.abc import Iterable, Mapping

from thumbtune.duels.sides import Side
from thumbtune.errors import UsageError, joined
from thumbtune.models.model_options import ModelOptions

LOADING = ("vae", "prediction", "zero_terminal_snr")
READING = ("over_length", "syntax", "clip_skip")
DRAWING = ("steps", "guidance", "size", "frames", "negative")
KINDS = {
    "run": "a run, which loads its model and reads prompts as it was trained",
    "checkpoint": "a checkpoint of a run, which loads its model and reads prompts as it was trained",
    "images": "a folder of images, which are drawn already",
    "model": "another model than --base",
}


def given_in(options: ModelOptions) -> list[str]:
    """Return the names of the options that are not at their defaults."""
    usual = ModelOptions()
    pairs = ((LOADING, options, usual), (READING, options.encoding, usual.encoding))
    return [name for names, own, default in pairs for name in names if getattr(own, name) != getattr(default, name)]


def refuse_unused(options: ModelOptions, sides: Iterable[Side], given: Iterable[str] | None = None) -> None:
    """Refuse options that no side is loaded with, reads its prompts by, or draws by.

    given: the names of the options that a person gave; None: those that are not at their defaults

    Raises:
        UsageError: it names the options and the sides.
    """
    sides = _each(sides)
    drawn = [side for side in sides if side.folder is None]
    names = [
        name
        for name in (given_in(options) if given is None else given)
        if not (drawn if name in DRAWING else [side for side in sides if _takes(side, name, options)])
    ]
    if names:
        whose = ". ".join(_what(side) for side in sides)
        raise UsageError(f"Leave out {flags(names)}, which would change nothing: {whose}.", code="side-unused-option")


def used_notes(options: ModelOptions, sides: Iterable[Side]) -> list[str]:
    """Return a sentence on each option of loading that counts for a part of the sides."""
    sides, notes = _each(sides), []
    for name in given_in(options):
        others = [side for side in sides if not _takes(side, name, options)]
        takers = [side.name for side in sides if _takes(side, name, options)]
        if name in LOADING and takers and others:
            whose = ". ".join(_what(side) for side in others)
            notes.append(f"{flags([name])} counts for {joined(takers)} alone: {whose}.")
    return notes


def _what(side: Side) -> str:
    return f"{side.name} is {KINDS.get(side.kind, f'a {side.kind}')}"


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


def _each(sides: Iterable[Side]) -> list[Side]:
    """Return sides of different names."""
    named: Mapping[str, Side] = {side.name: side for side in sides}
    return list(named.values())
