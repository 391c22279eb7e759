"""The commands that compare: duels of any two sides, and what can score them."""

from pathlib import Path
from typing import Annotated

import typer

from thumbtune.errors import UsageError
from thumbtune.terminal import bar, quieten, say


def duel(
    a: Annotated[
        str, typer.Argument(metavar="A", help="The side to beat: a model, a run, a checkpoint, a LoRA or pictures.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The side that is judged: the same kinds.")],
    prompts: Annotated[
        str, typer.Option(help="A file of prompts, or a published set: `thumbtune scorers` lists them.")
    ],
    scorers: Annotated[str, typer.Option(help="Who judges, with commas between: `thumbtune scorers` lists them.")],
    out: Annotated[Path, typer.Option(help="The duel's folder; the same command goes on in it.")] = Path("duel"),
    base: Annotated[str | None, typer.Option(help="The model that a LoRA belongs to.")] = None,
    per_prompt: Annotated[int, typer.Option(min=1, help="Pictures per prompt.")] = 4,
    first_seed: Annotated[int, typer.Option(min=0, help="First seed; every prompt has its own.")] = 10_000,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Denoising steps.")] = 25,
    guidance: Annotated[float, typer.Option(min=0, help="Classifier-free guidance.")] = 3.0,
    limit: Annotated[int | None, typer.Option(min=1, help="So many prompts from the beginning.")] = None,
    tie: Annotated[float, typer.Option(min=0, help="Scores that differ by no more are a tie.")] = 0.0,
    weights: Annotated[
        Path | None, typer.Option(help="A folder that holds scorers' weights or sets of prompts.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Fetch nothing.")] = False,
) -> None:
    """Let two models, or two folders of pictures, compete on the same prompts and seeds."""
    quieten()
    names = tuple(name.strip() for name in scorers.split(",") if name.strip())
    if not names:
        raise UsageError("A duel needs a scorer; name some with --scorers, as `thumbtune scorers` lists them.")
    from thumbtune.contest import Order, contest
    from thumbtune.evaluation.prompts import prompt_set
    from thumbtune.evaluation.published import Places
    from thumbtune.models.protocol import Sampler

    places = Places(local=weights, offline=offline)
    asked = prompt_set(prompts, places)
    order = Order(
        a=a,
        b=b,
        prompts=asked.first(limit) if limit else asked,
        out=out,
        scorers=names,
        per_prompt=per_prompt,
        first_seed=first_seed,
        sampler=Sampler(steps=steps, guidance=guidance),
        base=base,
        tie=tie,
        places=places,
    )
    result = contest(order, bar)
    for line in result["sentences"]:
        say(line)
    for one in result["scorers"]:
        if one["failed"]:
            file, why = next(iter(one["failed"].items()))
            say(f"{one['id']} has no score for {len(one['failed'])} pictures, the first {file}: {why}.")
    say(f"Tables: {out / 'result.md'}")


def scorers() -> None:
    """List what can score pictures, and the published sets of prompts."""
    quieten()
    from thumbtune.evaluation import judge
    from thumbtune.evaluation.prompts import SETS
    from thumbtune.evaluation.scorers.catalogue import ENTRIES
    from thumbtune.evaluation.tastes import TASTES

    say("Scorers, for --scorers:")
    say(f"  {judge.NAME:18} here      how sure the bundled judge is that an emoji shows its prompt")
    for name, taste in TASTES.items():
        say(f"  {name:18} here      {taste.sentence}")
    for name, entry in ENTRIES.items():
        say(f"  {name:18} {entry.backbone.size:5} M   {entry.what}; {entry.licence}, {_origin(entry.backbone.weights)}")
    say("  my_file.py:score   yours     def score(images, prompts) in a file of yours: a number for each picture")
    say("Sets of prompts, for --prompts:")
    for name, named in SETS.items():
        say(f"  {name:18} {named.count:5}     {named.what}; {named.licence}")
    say("  a file             yours     .txt, .json, .jsonl, .csv or .tsv; a column `style` or `category` groups them")


def _origin(file: object) -> str:
    return f"{getattr(file, 'repo', None)}: {getattr(file, 'name', '')}"
