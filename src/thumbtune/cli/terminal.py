"""The output of commands: lines, counts, durations; other libraries are kept quiet."""

import os
from collections.abc import Mapping

import typer

MINUTE = 60  # seconds


def speaks() -> bool:
    """Return whether this process prints: of the processes of a launcher, only the first."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    """Print a line on standard output."""
    if speaks():
        typer.echo(text)


def say_prefix(prefix: str | None) -> None:
    """Print what must stand before prompts, if the training of a model put words there."""
    if prefix:
        say(f'Begin every prompt with "{prefix}, ": training put these words before the prompts of good images.')


def counts(numbers: Mapping[str, int | str]) -> None:
    """Print numbers under each other, each behind its name; a Chinese letter takes two places of a terminal."""
    from rich.cells import cell_len

    width = max(map(cell_len, numbers), default=0)
    for name, number in numbers.items():
        filled = name + " " * (width - cell_len(name))
        say(f"  {filled}  {number:>9,}" if isinstance(number, int) else f"  {filled}  {number:>9}")


def duration(seconds: float) -> str:
    """Return a duration for people: 40 s, 3 min, 2 h 5 min."""
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    minutes = round(seconds / MINUTE)
    return f"{minutes} min" if minutes < MINUTE else f"{minutes // MINUTE} h {minutes % MINUTE} min"


def quieten() -> None:
    """Silence the notices of other libraries, but for their errors."""
    import logging
    import warnings

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # or it tells of every try at a network that is not there
    os.environ.setdefault("DATASETS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # about odd EXIF, in images that can be read all the same
    logging.getLogger("transformers").setLevel(logging.ERROR)
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)  # diffusers imports it, and it warns
