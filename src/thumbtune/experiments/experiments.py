"""The list of experiments, and the folder that each of them writes. Imports no torch until an experiment starts.

thumbtune paper NAME --out FOLDER

experiment.json   the experiment that this folder belongs to; a folder of another one is refused
figure.png|svg    table.csv|md    page.md     the result
provenance.json   the options, the versions, the hardware and the time that it took
"""

import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from thumbtune import distributed as processes
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.evaluation.scorers.published_files import Locations
from thumbtune.files import write_text

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
Say = Callable[[str], None]

EXPERIMENTS = {
    "fig9": "the utilities and their slopes",
    "fig6": "3,500 points in the plane: what each objective does to a small model",
    "fig7": "a taste against the step: redness, and line art",
    "fig8": "four ablations: sampling policy, positive ratio, utility, beta",
    "noise": "the gain against the share of wrong labels",
    "few": "the gain against the number of labels",
    "search": "the demo's recipe with one change at a time, and its baselines with settings of their own",
    "beyond": "the paper's recipe, four baselines and our recipes at an equal budget",
    "rounds": "labels on images of the tuned model, in three rounds against one",
    "levels": "where over the noise levels a recipe learns, and which dislikes teach",
    "screen": "many methods in seconds each, in a small world whose truth is known: for ideas, no judge of settings",
    "draws": "noise draws that repeat, so that the reference denoises each once, against new noise at each step",
    "orders": "images to judge next: those of which a first run is uncertain against random ones, at equal votes",
    "raters": "two people of opposite tastes: one LoRA of both against one each",
    "table1": "win-rates of Diffusion-KTO on SD v1-5 against all baselines",
    "table2": "mean scores of all models on SD v1-5",
    "table6": "mean scores of Diffusion-KTO by style",
    "table7": "win-rates on SD v2-1, on three sets of prompts",
}
NEED_GROUND = ("rounds", "levels", "draws", "orders", "raters")
ON_GROUNDS = (
    "beyond",
    "search",
    "few",
    "noise",
    "fig8",
    *NEED_GROUND,
)  # those that --ground puts on another person and judge
WITH_METHODS = (
    "beyond",
    "search",
    "few",
    "noise",
    "rounds",
    "levels",
    "screen",
)  # those of which --only takes some methods
EXPERIMENT_FILE = "experiment.json"
QUICK_NOTE = "**A quick run: it only shows that the command works. No number or verdict below means anything.**"
FIRST_SEARCH_SEED = 10  # of the search for a recipe
FIRST_UNSEEN_SEED = 20  # the demos' settings were chosen by hand on seeds below this one


@dataclass(frozen=True, kw_only=True)
class Order:
    """The options of one experiment.

    seeds:  the number of repetitions; None: the experiment's default
    quick:  run at a tiny size, which only shows that the command works
    ground: the name of the ground (`grounds`) that it stands on; "": the taste that it was made with
    only:   methods to take; empty: all
    first_seed: on a ground: the first of the seeds; None: the ground's own
    models: tables only: row -> the model that stands for it
    limit:  tables only: the number of prompts to take, from the first
    """

    folder: Path
    seeds: int | None = None
    quick: bool = False
    ground: str = ""
    only: tuple[str, ...] = ()
    first_seed: int | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    places: Locations = field(default_factory=Locations)

    def seeds_or(self, default: int, quick: int = 1) -> int:
        """Return the number of repetitions: `seeds`, or else the default."""
        return self.seeds or (quick if self.quick else default)

    def chosen(self, names: Iterable[str]) -> list[str]:
        """Return the names that `only` asks for, in their order; without `only`, all.

        Raises:
            UsageError: `only` has another name; the sentence has the nearest one, or else lists all.
        """
        names = list(names)
        unknown = next((name for name in self.only if name not in names), None)
        if unknown is not None:
            near = get_close_matches(unknown, names, 1)
            what = f"did you mean {near[0]}?" if near else f"give one of {'; '.join(names)}."
            raise UsageError(f"There is no method {unknown!r}; {what}", code="paper-no-method")
        return [name for name in names if not self.only or name in self.only]

    def demo_seeds(self, default: int) -> range:
        """Return seeds on which no setting of the demos was chosen."""
        return range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + self.seeds_or(default))


def _silent(line: str) -> None:
    """Print nothing: only the main process prints."""


def check_name(name: str) -> None:
    """Refuse an unknown experiment.

    Raises:
        UsageError: the name is unknown; the sentence lists all names.
    """
    if name not in EXPERIMENTS:
        raise UsageError(
            f"There is no experiment {name!r}; give one of {', '.join(EXPERIMENTS)}.", code="paper-unknown-name"
        )


def check_options(name: str, order: Order) -> None:
    """Refuse options that do not fit an experiment.

    Raises:
        UsageError: the sentence names the option.
    """
    is_table = name.startswith("table")
    if order.seeds is not None and (is_table or name == "fig9"):
        why = "has five images of each prompt, as in the paper" if is_table else "has no randomness, and so no seeds"
        raise UsageError(f"{name} {why}; leave --seeds out.", code="paper-no-seeds")
    if not is_table and (order.models or order.limit):
        raise UsageError(f"{name} is not a table; leave --model and --limit out.", code="paper-not-a-table")
    if order.ground and name not in ON_GROUNDS:
        raise UsageError(
            f"{name} does not stand on a ground; leave --ground out, or take one of {', '.join(ON_GROUNDS)}.",
            code="paper-no-ground",
        )
    if not order.ground and name in NEED_GROUND:
        raise UsageError(f"{name} stands on a ground; name it with --ground soft-3d.", code="paper-needs-ground")
    if order.only and (name not in WITH_METHODS or (name in {"few", "noise"} and not order.ground)):
        raise UsageError(
            f"{name} has no methods to choose from; leave --only out, or take one of {', '.join(WITH_METHODS)}.",
            code="paper-no-methods",
        )
    if order.first_seed is not None and not order.ground:
        raise UsageError("--first-seed is for a ground; name one with --ground.", code="paper-first-seed")


def claim_folder(folder: Path, name: str, quick: bool, ground: str = "") -> None:
    """Write this experiment's name into the folder, or check that the folder has it.

    Raises:
        UsageError: the folder holds something else, which must not be overwritten or mixed with this.
    """
    owner = {"experiment": name, "quick": quick} | ({"ground": ground} if ground else {})
    file = folder / EXPERIMENT_FILE
    if not file.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} contains other files; give --out a new folder.", code="paper-folder-foreign")
        write_text(file, json.dumps(owner))
        return
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
        other = f"{written['experiment']}{' --quick' if written['quick'] else ''}"
        other += f" --ground {written['ground']}" if "ground" in written else ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{file} cannot be read ({error}); give --out a new folder.", code="paper-folder-damaged"
        ) from error
    if written != owner:
        raise UsageError(
            f"{folder} contains results of `thumbtune paper {other}`; give --out another folder.",
            code="paper-folder-of-another",
        )


@contextmanager
def _leaving_nothing(folder: Path | None) -> Iterator[None]:
    """Remove the name in a folder again if the experiment fails before it wrote anything else; None: do not."""
    try:
        yield
    except ThumbtuneError:
        if folder is not None and [file.name for file in folder.iterdir()] == [EXPERIMENT_FILE]:
            (folder / EXPERIMENT_FILE).unlink()
            folder.rmdir()
        raise


def perform(name: str, order: Order, progress: Progress, say: Say) -> Path:
    """Run an experiment, keeping all that an earlier call finished; write its result and return the page.

    Raises:
        UsageError: the name or the ground is unknown, an option does not fit it, the folder holds something else, or
            several processes were started for an experiment that is not a table.
    """
    check_name(name)
    check_options(name, order)
    is_table = name.startswith("table")
    if order.ground:
        from thumbtune.experiments.grounds import get_ground

        get_ground(order.ground)
    from thumbtune.experiments.result_page import PAGE, write_result
    from thumbtune.runs.run import environment

    team = processes.team()
    if team.num_processes > 1 and not is_table:
        raise UsageError(
            f"{name} runs in one process, but {team.num_processes} were started; start one.",
            code="paper-one-process",
        )
    begun = time.perf_counter()
    if team.is_main_process:  # all processes generate images of a table; one prints and writes
        claim_folder(order.folder, name, order.quick, order.ground)
    team.wait_for_everyone()
    with _leaving_nothing(order.folder if team.is_main_process else None):
        result = import_module(f"thumbtune.experiments.{name}").make(
            order, progress, say if team.is_main_process else _silent
        )
    if not team.is_main_process:
        return order.folder / PAGE
    if order.quick:
        result = replace(result, title=f"{result.title} (quick)", about=f"{QUICK_NOTE} {result.about}")
    page = write_result(result, order.folder)
    provenance = {"experiment": name, "seeds": order.seeds, "quick": order.quick, "environment": environment()}
    provenance |= {"ground": order.ground} if order.ground else {}
    provenance |= {"platform": platform.platform(), "processes": team.num_processes}
    provenance["seconds_of_this_call"] = round(time.perf_counter() - begun, 1)
    write_text(order.folder / "provenance.json", json.dumps(provenance, indent=1) + "\n")
    return page
