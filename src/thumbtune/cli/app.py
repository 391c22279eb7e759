"""The command line: each command parses its options, calls one function and prints the result.

Commands import torch inside their bodies, so that `--help` starts at once.
"""

import logging
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from thumbtune import __version__, distributed, signals
from thumbtune.cli import failures
from thumbtune.cli.compare import compare
from thumbtune.cli.concepts import concepts
from thumbtune.cli.duels import duel, evaluate, report, verdict
from thumbtune.cli.human import human_app
from thumbtune.cli.likes import import_, likes_app
from thumbtune.cli.merge import merge
from thumbtune.cli.order import PANEL_OF, InOrderOfUse
from thumbtune.cli.progress import bar
from thumbtune.cli.push import push, push_likes
from thumbtune.cli.recipe_options import named_options
from thumbtune.cli.round import round_
from thumbtune.cli.scorers import scorers_app
from thumbtune.cli.stops import stopping
from thumbtune.cli.studio import studio
from thumbtune.cli.terminal import quieten, say, speaks
from thumbtune.cli.train import Set, generate, recipe_, train
from thumbtune.cli.unknown_options import CommandOfImages, CommandOfRecipe
from thumbtune.errors import Interrupted, Terminated, ThumbtuneError, UsageError
from thumbtune.passwords import without_passwords

app = typer.Typer(
    help="Align text-to-image diffusion models with people's likes and dislikes (Diffusion-KTO).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    cls=InOrderOfUse,
)

STOPPED = Interrupted.exit_code
HOME = re.compile(r"~[\w.-]*(?:/|$)")  # ~, ~/run or ~ann/run


def _add(name: str, command: Callable[..., None], cls: type[TyperCommand] | None = None) -> None:
    app.command(name, cls=cls, rich_help_panel=PANEL_OF[name])(command)


_add("train", named_options(train), CommandOfRecipe)
_add("recipe", named_options(recipe_), CommandOfRecipe)
for _name, _command in {"evaluate": evaluate, "verdict": verdict}.items():
    _add(_name, _command, CommandOfRecipe)
_add("generate", generate, CommandOfImages)
for _name, _command in {
    "import": import_,
    "merge": merge,
    "round": round_,
    "compare": compare,
    "duel": duel,
    "report": report,
    "push": push,
    "concepts": concepts,
    "studio": studio,
}.items():
    _add(_name, _command)
for _name, _group in {"likes": likes_app, "human": human_app, "scorers": scorers_app}.items():
    app.add_typer(_group, name=_name, rich_help_panel=PANEL_OF[_name])
likes_app.command("push")(push_likes)


@app.command(rich_help_panel=PANEL_OF["demo"])
def demo(
    taste: Annotated[
        str, typer.Option(help="The taste of the simulated person: line-art, red or style-soft-3d.")
    ] = "line-art",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the whole demo.")] = 0,
    out: Annotated[Path, typer.Option(help="The folder for everything that the demo makes.")] = Path("demo"),
    settings: Set = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start again instead of continuing.")] = False,
) -> None:
    """Go from likes to a verdict with the bundled model and a simulated person, in a few minutes."""
    quieten()
    from thumbtune.experiments.demo import demo as run_demo
    from thumbtune.experiments.demo import get_person

    get_person(taste)  # before --fresh deletes the folder of that name
    folder = out / f"{taste}-{seed}"
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    without = " without --fresh" if fresh else ""
    with stopping(f"Stopped; the same command{without} continues from there."):
        page = run_demo(folder, taste, seed, bar, say, settings)
    say(f"\nPage: {page.resolve()}")


Ground = Annotated[
    str,
    typer.Option(
        help="For beyond, search, few, noise and fig8: the person, judge and budget to use instead of their own: "
        "soft-3d, conditional or line-art-wrong (docs/grounds.md). rounds, levels, draws, orders and raters need one."
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METHOD",
        help="For beyond, search and screen, and on a ground for few, noise, rounds and levels: run only this method. "
        "Can be repeated.",
    ),
]
FirstSeed = Annotated[
    int | None, typer.Option(min=0, help="With --ground: the first seed. Default: 40, or 10 for search.")
]


@app.command(rich_help_panel=PANEL_OF["paper"])
def paper(
    name: Annotated[
        str,
        typer.Argument(
            help="The experiment: fig6, fig7, fig8, fig9, noise, few, search, beyond, rounds, levels, draws, "
            "orders, raters, screen, table1, table2, table6 or table7."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder for the results. Default: runs/paper/NAME, with -GROUND and -quick behind it where these "
            "are given."
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Number of seeds. Default: the experiment's own.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Run at a tiny size, only to check that it works.")] = False,
    ground: Ground = "",
    only: Only = None,
    first_seed: FirstSeed = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=MODEL", help="For a table: the model of a row, as in sft=RUN."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="For a table: use only the first N prompts. Default: all.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A folder that contains weights of scorers, or sets of prompts.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
) -> None:
    """Repeat a figure or a table of the paper, or run another experiment; a second call continues it."""
    quieten()
    from thumbtune.evaluation.scorers.published_files import Locations
    from thumbtune.experiments.experiments import Order, check_name, perform

    check_name(name)
    folder = out or Path("runs/paper") / "-".join([name, *([ground] if ground else []), *(["quick"] if quick else [])])
    named = [(row, side) for row, _, side in (one.partition("=") for one in model or [])]
    if not all(row and side for row, side in named):
        raise UsageError("--model is written as NAME=MODEL, for example --model sft=runs/sft.", code="paper-bad-model")
    places = Locations(local=weights, offline=offline)
    on_ground = {"ground": ground, "only": tuple(only or ()), "first_seed": first_seed}
    order = Order(folder=folder, seeds=seeds, quick=quick, models=dict(named), limit=limit, places=places, **on_ground)
    with stopping("Stopped; the same command continues from there."):
        page = perform(name, order, bar, say)
    say(f"Page: {page}")


@app.command(rich_help_panel=PANEL_OF["doctor"])
def doctor(
    recipe: Annotated[
        Path | None, typer.Argument(help="Tell what training by this recipe would need here; a file, or a shipped one.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Tell what tuning this model would need here: a folder, a .safetensors file or a hub id."),
    ] = None,
    settings: Set = None,
) -> None:
    """Check what this machine has, and what would not work on it."""
    quieten()
    if settings and not (model or recipe):
        raise UsageError("--set changes the training of --model, or of a recipe; name one too.", code="doctor-no-model")
    from thumbtune.cli.doctor import findings

    bad = 0
    for good, text in findings():
        bad += not good
        say(f"{'ok  ' if good else 'BAD '} {text}")
    if bad:
        raise ThumbtuneError(
            f"{bad} of these checks failed and would stop a run; follow the advice in their lines.",
            code="doctor-found-problems",
        )
    if model or recipe:
        from thumbtune.runs.plan import model_lines
        from thumbtune.runs.recipe import read_recipe

        named = [f"model={model}"] if model else []
        for line in model_lines(read_recipe(recipe, [*named, *(settings or [])]), Path.cwd()):
            say(line)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Align text-to-image diffusion models with people's likes and dislikes (Diffusion-KTO)."""
    if show:
        say(f"thumbtune {__version__}")
        raise typer.Exit


_shown: set[str] = set()


def _show_note(sentence: str) -> None:
    """Print a note as one line, and each once: a model may be loaded several times."""
    if speaks() and sentence not in _shown:
        _shown.add(sentence)
        typer.echo(without_passwords(f"thumbtune: Note: {sentence}"), err=True)


def _show_warning(message: Warning | str, category: type[Warning], *where: object, **how: object) -> None:
    """Print a warning as a note for people, without the place in our code that it came from."""
    _show_note(str(message))


def _at_home(word: str) -> str:
    """Return a word of a command with the home folder in place of ~, which no shell does in --out=~/run."""
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    return f"{option}{equals}{os.path.expanduser(value)}" if HOME.match(value) else word


class _Notes(logging.Handler):
    """Print the notes of the program."""

    def emit(self, record: logging.LogRecord) -> None:
        _show_note(record.getMessage())


def main() -> None:
    """The entry point: every error becomes one sentence and an exit code; Ctrl-C is 130, and SIGTERM 143."""
    warnings.showwarning = _show_warning
    logging.getLogger("thumbtune").handlers[:] = [_Notes()]
    failures.prepare_streams()
    listener = signals.Listener()
    listener.listen()
    try:
        app([_at_home(word) for word in sys.argv[1:]])
    except ThumbtuneError as error:
        if speaks() or not error.everywhere:
            typer.echo(f"thumbtune: {error}", err=True)
        is_end = isinstance(error, Interrupted) and listener.terminated
        sys.exit(Terminated.exit_code if is_end else error.exit_code)
    except (KeyboardInterrupt, SystemExit) as stop:  # typer makes the latter of the former, without a word
        if isinstance(stop, SystemExit) and stop.code != STOPPED:
            raise
        if speaks():
            typer.echo("thumbtune: Stopped; what was saved before is whole.", err=True)
        sys.exit(Terminated.exit_code if listener.terminated else STOPPED)
    except Exception as error:
        lost = distributed.lost_process(error) if isinstance(error, RuntimeError) else None
        if lost is None:
            sys.exit(failures.tell(error))
        typer.echo(f"thumbtune: {lost}", err=True)
        sys.exit(lost.exit_code)
    finally:
        failures.flush_quietly()


if __name__ == "__main__":
    main()
