"""The commands that compare: duels of any two sides."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from thumbtune.cli.terminal import bar, quieten, say
from thumbtune.errors import ThumbtuneError, UsageError, plural

FAILED, UNKNOWN = 3, 4  # exit codes of a verdict

Limit = Annotated[int | None, typer.Option(min=1, help="So many prompts from the beginning.")]
Weights = Annotated[Path | None, typer.Option(help="A folder that holds scorers' weights or sets of prompts.")]
Offline = Annotated[bool, typer.Option("--offline", help="Fetch nothing.")]
Seen = Annotated[
    str | None, typer.Option(help="A file of prompts, or a published set; default: those that the run held out.")
]


def duel(
    a: Annotated[
        str, typer.Argument(metavar="A", help="The side to beat: a model, a run, a checkpoint, a LoRA or images.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The side that is judged: the same kinds.")],
    prompts: Annotated[
        str, typer.Option(help="A file of prompts, or a published set: `thumbtune scorers` lists them.")
    ],
    scorers: Annotated[str, typer.Option(help="Who judges, with commas between: `thumbtune scorers` lists them.")],
    out: Annotated[Path, typer.Option(help="The duel's folder; the same command goes on in it.")] = Path("duel"),
    base: Annotated[str | None, typer.Option(help="The model that a LoRA belongs to.")] = None,
    per_prompt: Annotated[int, typer.Option(min=1, help="Images per prompt.")] = 4,
    first_seed: Annotated[int, typer.Option(min=0, max=2**53, help="First seed; every prompt has its own.")] = 10_000,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Denoising steps.")] = 25,
    guidance: Annotated[float, typer.Option(min=0, max=100, help="Classifier-free guidance.")] = 3.0,
    limit: Limit = None,
    tie: Annotated[float, typer.Option(min=0, max=1e9, help="Scores that differ by no more are a tie.")] = 0.0,
    paper_ci: Annotated[bool, typer.Option("--paper-ci", help="Add the interval as the paper computes it.")] = False,
    weights: Weights = None,
    offline: Offline = False,
) -> None:
    """Let two models, or two folders of images, compete on the same prompts and seeds."""
    quieten()
    names = tuple(name.strip() for name in scorers.split(",") if name.strip())
    if not names:
        raise UsageError("A duel needs a scorer; name some with --scorers, as `thumbtune scorers` lists them.")
    from thumbtune.duels.duel import SIDES, contest
    from thumbtune.duels.gallery import Order
    from thumbtune.evaluation.prompts import prompt_set
    from thumbtune.evaluation.scorers.published import Places
    from thumbtune.models.protocol import Sampler

    places = Places(local=weights, offline=offline)
    asked = prompt_set(prompts, places)
    order = Order(
        sides=dict(zip(SIDES, (a, b), strict=True)),
        prompts=asked.first(limit) if limit else asked,
        out=out,
        scorers=names,
        per_prompt=per_prompt,
        first_seed=first_seed,
        sampler=Sampler(steps=steps, guidance=guidance),
        base=base,
        places=places,
    )
    _told(contest(order, bar, tie, paper_ci), out)


def _told(result: dict[str, Any] | None, out: Path) -> None:
    """What a duel came to; nothing in a process that has others to speak for it."""
    from thumbtune.report.duel import write_page

    if result is None:
        return
    for line in result["sentences"]:
        say(line)
    for one in result["scorers"]:
        if one["failed"]:
            file, why = next(iter(one["failed"].items()))
            say(f"{one['id']} has no score for {plural(len(one['failed']), 'picture')}, the first {file}: {why}.")
    say(f"Page: {write_page(out)}")
    if not any(row["prompts"] for row in result["standings"]):
        raise ThumbtuneError("Nothing was scored on both sides, so that nobody won; look at what the scorers said.")


def verdict(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run.")],
    against: Annotated[
        str | None, typer.Option(help="The model that it may replace: anything that duels; default: the run's base.")
    ] = None,
    prompts: Seen = None,
    out: Annotated[Path | None, typer.Option(help="The duel's folder; default: RUN/verdict.")] = None,
    limit: Limit = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="Change a gate, as gates.most_lost=0.02."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON, and nothing else.")] = False,
    weights: Weights = None,
    offline: Offline = False,
) -> None:
    """Ship it? Ask the recipe's gates: exit code 0 for ship, 3 for do not ship, 4 for not enough evidence."""
    quieten()
    from thumbtune.duels.verdict import FOLDER, Question, release
    from thumbtune.evaluation.prompts import prompt_set
    from thumbtune.evaluation.scorers.published import Places
    from thumbtune.report.duel import write_page
    from thumbtune.runs import recipe as config
    from thumbtune.runs import run

    places = Places(local=weights, offline=offline)
    trained = run.recipe_in(folder)
    recipe = config.read(folder / "recipe.yaml", settings)
    run.refuse_differences(trained, recipe, folder)
    asked = prompt_set(prompts, places) if prompts else None
    question = Question(
        run=folder,
        against=against,
        prompts=asked,
        limit=limit,
        out=out,
        settings=settings or (),
        places=places,
    )
    result = release(question, recipe, bar)
    if result is None:
        return
    page = write_page(out or folder / FOLDER)
    _answer(result, page, as_json)


def _answer(result: dict[str, Any], page: Path, as_json: bool) -> None:
    """A verdict in words, or as JSON, and as an exit code."""
    from thumbtune.evaluation.gates import KEEP, SHIP
    from thumbtune.evaluation.verdict import line_of

    if as_json:
        typer.echo(json.dumps(result, indent=1))
    else:
        say(result["sentence"])
        for gate in result["gates"]:
            say(f"  {line_of(gate)}")
        say(f"Page: {page}")
    if result["decision"] != SHIP:
        raise typer.Exit(FAILED if result["decision"] == KEEP else UNKNOWN)
