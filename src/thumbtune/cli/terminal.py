"""The output of commands: lines, counts, progress bars; other libraries are kept quiet."""

import os
from collections.abc import Iterable, Mapping
from operator import length_hint
from typing import Any

import typer


def speaks() -> bool:
    """Return whether this process prints: of the processes of a launcher, only the first."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    """Print a line on standard output."""
    if speaks():
        typer.echo(text)


def counts(numbers: Mapping[str, int | str]) -> None:
    """Print numbers under each other, each behind its name."""
    width = max(map(len, numbers), default=0)
    for name, number in numbers.items():
        say(f"  {name:<{width}}  {number:>9,}" if isinstance(number, int) else f"  {name:<{width}}  {number:>9}")


def bar(items: Iterable[Any], what: str) -> Iterable[Any]:
    """Wrap items in a progress bar on standard error; without a total where their number is unknown."""
    from rich.console import Console
    from rich.progress import track

    total = length_hint(items, -1)
    console = Console(stderr=True)
    if (total == 0 and hasattr(items, "__len__")) or not console.is_terminal or not speaks():
        return items
    return track(items, f"     {what}", total=total if total > 0 else None, console=console, transient=True)


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
