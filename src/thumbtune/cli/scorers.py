"""The commands about scorers: list them, and verify them against published scores."""

from pathlib import Path
from typing import Annotated

import typer

from thumbtune.cli.terminal import quieten, say
from thumbtune.errors import ThumbtuneError

scorers_app = typer.Typer(help="List scorers and published sets of prompts.")


@scorers_app.callback(invoke_without_command=True)
def scorers(context: typer.Context) -> None:
    """List scorers and published sets of prompts; `verify` checks scorers against published scores."""
    if context.invoked_subcommand is not None:
        return
    quieten()
    from thumbtune.evaluation.prompts import PROMPT_SETS
    from thumbtune.evaluation.scorers import faithfulness
    from thumbtune.evaluation.scorers.published_scorers import PUBLISHED_SCORERS
    from thumbtune.evaluation.scorers.style_scorers import STYLE_SCORERS
    from thumbtune.evaluation.scorers.tastes import TASTES

    say("Scorers, for --scorers:")
    say(f"  {faithfulness.NAME:20} bundled   probability that an emoji shows its prompt, by the bundled judge")
    for name, taste in TASTES.items():
        say(f"  {name:20} bundled   {taste.sentence}")
    for name, (style, network) in STYLE_SCORERS.items():
        say(f"  {name:20} bundled   log-odds that an emoji is {style}, by the {network} network")
    for name, scorer in PUBLISHED_SCORERS.items():
        origin = f"{scorer.backbone.weights.repo}: {scorer.backbone.weights.name}"
        say(f"  {name:20} {scorer.backbone.size:5} M   {scorer.description}; {scorer.licence}, {origin}")
    say("  my_file.py:score     yours     def score(images, prompts) in your file, with a number for each image")
    say("Sets of prompts, for --prompts:")
    for name, prompts in PROMPT_SETS.items():
        say(f"  {name:20} {prompts.count:5}     {prompts.description}; {prompts.licence}")
    say("  a file               yours     .txt, .json, .jsonl, .csv, .tsv; a column `style` or `category` groups them")


@scorers_app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAMES", help="Scorers. Default: all that have published scores.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="A folder that contains weights or published images.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
) -> None:
    """Score published images with published weights, and compare with the published scores."""
    quieten()
    from thumbtune.evaluation.scorers.published_files import Locations
    from thumbtune.evaluation.scorers.resolve import LoadOptions, resolve_scorers
    from thumbtune.evaluation.scorers.verification import ScoreCheck, check_scores, select_published_scores

    requested = list(dict.fromkeys(names or []))
    resolve_scorers(requested, LoadOptions(Path()))  # refuses an unknown name first
    published = select_published_scores(requested)
    for name in requested:
        if name not in {score.scorer for score in published}:
            say(f"{name} cannot be verified: no published score of it has an image that can be downloaded.")
    if not published:
        return
    width = max(len(score.image.name) for score in published)
    checks: list[ScoreCheck] = []
    for check in check_scores(published, Locations(local=weights, offline=offline)):
        score = check.score
        if not checks:
            say(f"{'scorer':14} {'image':{width}} {'published':>10} {'computed':>10} {'difference':>10}")
        numbers = f"{score.published:10.4f} {check.computed:10.4f} {check.difference:+10.4f}"
        say(f"{score.scorer:14} {score.image.name:{width}} {numbers} {'ok' if check.agrees else 'differs'}")
        checks.append(check)
    different = [check for check in checks if not check.agrees]
    if different:
        raise ThumbtuneError(
            f"{len(different)} of {len(checks)} scores differ from the published ones because the weights, an image or "
            "a library changed; do not compare these scores with published results.",
            code="scorers-differ",
        )
