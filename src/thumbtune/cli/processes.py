"""The option --num-processes: a command starts itself several times here, and the processes share its work."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

OPTION = "--num-processes"
NumProcesses = Annotated[
    int,
    typer.Option(
        OPTION,
        min=1,
        metavar="N",
        help="Processes of this machine that share the work, one for each GPU; the result stays the same.",
    ),
]


def share(count: int) -> None:
    """Run this command in several processes, and end with their exit code; with one process, return at once.

    Raises:
        UsageError: a launcher started this process.
        typer.Exit: the processes have ended.
    """
    if count == 1:
        return
    from thumbtune.launcher import run_in_processes

    raise typer.Exit(run_in_processes(without_option(sys.argv[1:]), count))


def without_option(words: Sequence[str]) -> list[str]:
    """Return the words of a command without --num-processes and its value.

    >>> without_option(["train", "--num-processes", "2", "--lr=1e-4", "--num-processes=3"])
    ['train', '--lr=1e-4']
    """
    left, rest = [], iter(words)
    for word in rest:
        if word == OPTION:
            next(rest, None)
        elif not word.startswith(f"{OPTION}="):
            left.append(word)
    return left
