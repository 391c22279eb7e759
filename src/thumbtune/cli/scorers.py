"""The commands about scorers: which there are, and whether they give the scores that others published."""

from pathlib import Path
from typing import Annotated

import typer

from thumbtune.cli.terminal import quieten, say
from thumbtune.errors import ThumbtuneError

scorers_app = typer.Typer(help="List what can score images, and the published sets of prompts.")


@scorers_app.callback(invoke_without_command=True)
def scorers(context: typer.Context) -> None:
    """List what can score images, and the published sets of prompts; `verify` checks published scores."""
    if context.invoked_subcommand is not None:
        return
    quieten()
    from thumbtune.evaluation.prompts import SETS
    from thumbtune.evaluation.scorers import judge
    from thumbtune.evaluation.scorers.catalogue import ENTRIES
    from thumbtune.evaluation.scorers.tastes import TASTES

    say("Scorers, for --scorers:")
    say(f"  {judge.NAME:18} here      how sure the bundled judge is that an emoji shows its prompt")
    for name, taste in TASTES.items():
        say(f"  {name:18} here      {taste.sentence}")
    for name, entry in ENTRIES.items():
        say(f"  {name:18} {entry.backbone.size:5} M   {entry.what}; {entry.licence}, {_origin(entry.backbone.weights)}")
    say("  my_file.py:score   yours     def score(images, prompts) in a file of yours: a number for each image")
    say("Sets of prompts, for --prompts:")
    for name, named in SETS.items():
        say(f"  {name:18} {named.count:5}     {named.what}; {named.licence}")
    say("  a file             yours     .txt, .json, .jsonl, .csv or .tsv; a column `style` or `category` groups them")


@scorers_app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAMES", help="Scorers; none: all with published scores.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="A folder that holds weights or published images.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Fetch nothing.")] = False,
) -> None:
    """Score published images with published weights, and compare with the published scores."""
    quieten()
    from thumbtune.evaluation.scorers.golden import Checked, check, golden_of
    from thumbtune.evaluation.scorers.lineup import Means, lineup
    from thumbtune.evaluation.scorers.published import Places

    asked = list(dict.fromkeys(names or []))
    lineup(asked, Means(Path()))  # a name that nobody knows is refused first
    golden = golden_of(asked)
    for name in asked:
        if name not in {one.scorer for one in golden}:
            say(f"Nobody published a score of {name} with an image that can be had, so that nothing checks it.")
    if not golden:
        return
    width = max(len(one.image.name) for one in golden)
    done: list[Checked] = []
    for one in check(golden, Places(local=weights, offline=offline)):
        if not done:
            say(f"{'scorer':14} {'picture':{width}} {'published':>10} {'here':>10} {'difference':>10}")
        said = f"{one.golden.published:10.4f} {one.here:10.4f} {one.difference:+10.4f}"
        say(f"{one.golden.scorer:14} {one.golden.image.name:{width}} {said} {'ok' if one.agrees else 'differs'}")
        done.append(one)
    bad = [one for one in done if not one.agrees]
    if bad:
        raise ThumbtuneError(
            f"{len(bad)} of {len(done)} scores differ from the published ones; the weights, an image or a library are "
            "not what they were, so do not compare such scores with those of others."
        )


def _origin(file: object) -> str:
    return f"{getattr(file, 'repo', None)}: {getattr(file, 'name', '')}"
