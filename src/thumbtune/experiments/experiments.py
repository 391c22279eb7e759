"""Which experiments there are, and the folder that each of them fills. Knows no torch until one begins.

thumbtune paper NAME --out FOLDER

experiment.json   which experiment this folder belongs to; a folder of something else is refused
figure.png|svg    table.csv|md    page.md     what was found
provenance.json   what was asked, the versions, the hardware and the time that it took
"""

import json
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from thumbtune import distributed as processes
from thumbtune.errors import UsageError
from thumbtune.evaluation.scorers.published import Places
from thumbtune.files import write_text

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
Say = Callable[[str], None]

EXPERIMENTS = {
    "fig9": "the utilities and their slopes",
    "fig6": "3,500 points in the plane: what each objective does to a small model",
    "fig7": "a taste against the step: redness, and line art",
    "fig8": "four ablations: sampling policy, positive ratio, utility, beta",
    "noise": "what wrong thumbs cost",
    "few": "how many thumbs are enough",
    "search": "the recipe with one thing changed at a time, and its rivals with settings of their own",
    "beyond": "the paper's recipe, its rivals and ours at an equal budget",
    "table1": "win-rates of Diffusion-KTO on SD v1-5 against all its rivals",
    "table2": "mean scores of all of them",
    "table6": "mean scores of Diffusion-KTO by style",
    "table7": "win-rates on SD v2-1, on three sets of prompts",
}
MARK = "experiment.json"
QUICK = "**A quick run, so small that it shows nothing but that it runs: no number or verdict below means anything.**"
SEARCHED = 10  # the first seed of the search for a recipe
UNSEEN = 20  # the demos' settings were chosen by hand on seeds below it


@dataclass(frozen=True, kw_only=True)
class Order:
    """What was asked for.

    seeds: how many repetitions; None: as many as the experiment's default
    quick: so small that it shows nothing but that it runs
    models: of a table: which side stands for which of its rows
    limit: of a table: so many prompts from the beginning
    """

    folder: Path
    seeds: int | None = None
    quick: bool = False
    models: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    places: Places = field(default_factory=Places)

    def seeds_or(self, default: int, quick: int = 1) -> int:
        """The number of repetitions that was asked for, or else the default."""
        return self.seeds or (quick if self.quick else default)

    def demo_seeds(self, default: int) -> range:
        """Seeds that no setting of the demos was chosen on."""
        return range(UNSEEN, UNSEEN + self.seeds_or(default))


def _silent(line: str) -> None:
    """What other processes than the first say."""


def check_name(name: str) -> None:
    """Refuse a name that nobody knows.

    Raises:
        UsageError: it lists the known ones.
    """
    if name not in EXPERIMENTS:
        raise UsageError(f"There is no experiment {name!r}; known are {', '.join(EXPERIMENTS)}.")


def claim_folder(folder: Path, name: str, quick: bool) -> None:
    """Mark a folder as this experiment's, or see that it is.

    Raises:
        UsageError: it holds something else, which must not be overwritten or mixed with this.
    """
    mark = {"experiment": name, "quick": quick}
    file = folder / MARK
    if not file.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} holds other files; give --out a new folder.")
        write_text(file, json.dumps(mark))
        return
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        there = f"{found['experiment']}{' --quick' if found['quick'] else ''}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file} cannot be read ({error}); give --out a new folder.") from error
    if found != mark:
        raise UsageError(f"{folder} holds results of `thumbtune paper {there}`; give --out another folder.")


def perform(name: str, order: Order, progress: Progress, say: Say) -> Path:
    """Make an experiment and write what it found; what an earlier call finished is not made again. Returns the page.

    Raises:
        UsageError: an unknown name, a folder that holds something else, or several processes for what is no table.
    """
    check_name(name)
    is_table = name.startswith("table")
    if order.seeds is not None and (is_table or name == "fig9"):
        why = "draws five images of each prompt, as the paper" if is_table else "has no randomness and so no seeds"
        raise UsageError(f"{name} {why}; leave --seeds out.")
    if not is_table and (order.models or order.limit):
        raise UsageError(f"{name} is no table: leave --model and --limit out.")
    from thumbtune.experiments.results import PAGE, write
    from thumbtune.runs.run import environment

    team = processes.team()
    if team.num_processes > 1 and not is_table:
        raise UsageError(f"{name} works in one process, and {team.num_processes} were started; start one.")
    begun = time.perf_counter()
    if team.is_main_process:  # the images of tables are shared out; one process speaks and writes
        claim_folder(order.folder, name, order.quick)
    team.wait_for_everyone()
    found = import_module(f"thumbtune.experiments.{name}").make(
        order, progress, say if team.is_main_process else _silent
    )
    if not team.is_main_process:
        return order.folder / PAGE
    if order.quick:
        found = replace(found, title=f"{found.title} (quick)", about=f"{QUICK} {found.about}")
    page = write(found, order.folder)
    made = {"experiment": name, "seeds": order.seeds, "quick": order.quick, "environment": environment()}
    made |= {"platform": platform.platform(), "processes": team.num_processes}
    made["seconds_of_this_call"] = round(time.perf_counter() - begun, 1)
    write_text(order.folder / "provenance.json", json.dumps(made, indent=1) + "\n")
    return page
