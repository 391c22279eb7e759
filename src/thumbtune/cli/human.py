"""The human test: export a page on which people compare a duel's sides blindly, and read their answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from thumbtune.cli.progress import bar
from thumbtune.cli.terminal import quieten, say

human_app = typer.Typer(
    help="Let people compare the images of a duel without knowing which model made them.", no_args_is_help=True
)
SEED_BITS = 63
BYTES_IN_MB = 1_000_000


@human_app.command("export")
def export_(
    duel: Annotated[Path, typer.Argument(metavar="DUEL", help="The folder of a finished duel.")],
    out: Annotated[Path, typer.Option(help="The page for raters: one HTML file that works without a server.")] = Path(
        "human.html"
    ),
    key: Annotated[
        Path, typer.Option(help="The key, which names the model of each image; do not show it to raters.")
    ] = Path("human-key.json"),
    trials: Annotated[
        int, typer.Option(min=1, help="Largest number of pairs for each rater; about a tenth is shown twice.")
    ] = 50,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of all random choices. Default: a secret seed, which raters cannot guess."),
    ] = None,
    question: Annotated[
        str, typer.Option(help="The question to raters.")
    ] = "Which image do you like better for this text?",
    stop: Annotated[
        Literal["all", "sequential"],
        typer.Option(
            help="When the test ends: after all pairs, or as soon as a sequential test tells the models apart, so that "
            "you may read the answers at any time; it counts complete sittings, in the order of their end."
        ),
    ] = "all",
) -> None:
    """Write a page for raters, and a key that reading their answers needs."""
    quieten()
    import secrets

    from thumbtune.evaluation.human.plan import StudyDesign
    from thumbtune.report.human_study import export_study

    seed = secrets.randbits(SEED_BITS) if seed is None else seed
    design = StudyDesign(seed=seed, question=question, trials=trials, stop=stop)
    exported = export_study(duel, out, key, design, bar)
    first = exported.study.first_showings
    repeats = len(exported.study.trials) - len(first)
    size = out.stat().st_size / BYTES_IN_MB
    say(f"{len(first)} of {exported.available} pairs, {repeats} of them shown twice. Page: {out} ({size:.1f} MB)")
    say(f"Give raters the page, and keep {key}: reading the answers needs it, since it names the model of each image.")
    say(f"Next, with the files that raters send back: thumbtune human read {key} answers-*.json")


@human_app.command("read")
def read_(
    key: Annotated[Path, typer.Argument(metavar="KEY", help="The key of the page.")],
    answers: Annotated[
        list[Path], typer.Argument(metavar="ANSWERS...", help="Files that raters sent back, or folders of such files.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write all numbers to this file, as JSON.")] = None,
    keep_careless: Annotated[
        bool,
        typer.Option(
            "--keep-careless", help="Also count raters who contradict themselves in more than half of their repeats."
        ),
    ] = False,
) -> None:
    """Print which model people prefer, with an interval."""
    quieten()
    from thumbtune.report.human_study import read_study, write_result

    result = read_study(key, answers, keep_careless)
    written = None if out is None else write_result(out, result, [key, *answers])
    for note in result["notes"]:
        say(f"Note: {note}")
    for line in _table(result):
        say(line)
    for line in result["sentences"]:
        say(line)
    if written is not None:
        say(f"Numbers: {written}")


def _table(result: Mapping[str, Any]) -> list[str]:
    """Return a line for each rater, and one for all counted raters."""
    width = max(len("rater"), *(len(rater["name"]) for rater in result["raters"]))
    lines = [f"{'rater':<{width}}   for B  no pref.   for A  prefers B  repeats kept  seconds"]
    for rater in result["raters"]:
        share = "none" if rater["share"] is None else f"{rater['share']:.1%}"
        kept = f"{rater['agreed']:g} of {rater['repeats']}"
        out = "" if rater["counted"] else "  left out"
        lines.append(_line(rater["name"], width, rater["votes"], share) + f"{kept:>14}{rater['seconds']:>9.1f}{out}")
    overall = result["overall"]
    return [*lines, _line("all", width, overall["votes"], f"{overall['rate']['rate']:.1%}")]


def _line(name: str, width: int, votes: tuple[int, int, int], share: str) -> str:
    return f"{name:<{width}}" + f"{votes[0]:>8}{votes[1]:>10}{votes[2]:>8}{share:>11}"
