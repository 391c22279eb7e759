"""The commands that compare models: evaluate, verdict, duel and report."""

import json
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from thumbtune.cli.processes import NumProcesses, share
from thumbtune.cli.progress import bar
from thumbtune.cli.terminal import quieten, say
from thumbtune.cli.train import (
    ClipSkip,
    Frames,
    Guidance,
    ImageSize,
    Negative,
    OverLength,
    Prediction,
    Steps,
    Syntax,
    Vae,
    ZeroTerminalSnr,
    given_options,
    model_options,
)
from thumbtune.errors import ThumbtuneError, UsageError, plural

NO_SCORER = "none"
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A finished run.")]
Against = Annotated[
    str | None, typer.Option(help="The baseline, in any form that `duel` takes. Default: the run's base model.")
]
Prompts = Annotated[
    str | None, typer.Option(help="A file of prompts, or a published set. Default: the run's held-out prompts.")
]
Out = Annotated[Path | None, typer.Option(help="The folder for images and scores. Default: RUN/evaluation.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only the first N prompts. Default: all.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="OPTION=VALUE",
        help="Set an option of evaluate or gates, as in gates.min_diversity=0.6; may be repeated.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the verdict as JSON, and nothing else.")]
Weights = Annotated[Path | None, typer.Option(help="A folder that contains weights of scorers, or sets of prompts.")]
Offline = Annotated[bool, typer.Option("--offline", help="Download nothing.")]
A = Annotated[str, typer.Argument(metavar="A", help="The baseline: a model, run, checkpoint, LoRA or image folder.")]
PerPrompt = Annotated[int, typer.Option(min=1, help="Number of images for each prompt.")]
FirstSeed = Annotated[int, typer.Option(min=0, max=2**53, help="First seed; every image has its own seed.")]
Tie = Annotated[float, typer.Option(min=0, max=1e9, help="Largest difference of two scores that is a tie.")]


def evaluate(
    run_folder: Run,
    against: Against = None,
    prompts: Prompts = None,
    out: Out = None,
    limit: Limit = None,
    settings: Settings = None,
    as_json: AsJson = False,
    weights: Weights = None,
    offline: Offline = False,
    num_processes: NumProcesses = 1,
) -> None:
    """Compare a run with its base model on prompts and seeds that training did not use, and write the run's page."""
    share(num_processes)
    _evaluated(run_folder, against, prompts, out, limit, settings, as_json, weights, offline)


def verdict(
    run_folder: Run,
    against: Against = None,
    prompts: Prompts = None,
    out: Out = None,
    limit: Limit = None,
    settings: Settings = None,
    as_json: AsJson = False,
    weights: Weights = None,
    offline: Offline = False,
    num_processes: NumProcesses = 1,
) -> None:
    """Evaluate a run and return the verdict as the exit code: 0 ship, 3 do not ship, 4 not enough evidence."""
    share(num_processes)
    found = _evaluated(run_folder, against, prompts, out, limit, settings, as_json, weights, offline)
    if found is not None:
        from thumbtune.evaluation.gates import EXIT_CODES

        raise typer.Exit(EXIT_CODES[found["decision"]])


def _evaluated(
    run_folder: Path,
    against: str | None,
    prompts: str | None,
    out: Path | None,
    limit: int | None,
    settings: list[str] | None,
    as_json: bool,
    weights: Path | None,
    offline: bool,
) -> dict[str, Any] | None:
    """Evaluate, write the page, print the verdict and return it; None on processes other than the main one."""
    quieten()
    from thumbtune.duels.evaluate import Evaluation, recipe_of
    from thumbtune.duels.evaluate import evaluate as run_evaluation
    from thumbtune.evaluation.prompts import load_prompt_set
    from thumbtune.evaluation.scorers.published_files import Locations

    recipe = recipe_of(run_folder, settings or ())
    places = Locations(local=weights, offline=offline)
    asked = Evaluation(
        run=run_folder,
        against=against,
        prompts=load_prompt_set(prompts, places) if prompts else None,
        limit=limit,
        out=out,
        settings=settings or (),
        places=places,
    )
    found = run_evaluation(asked, recipe, bar)
    if found is not None:
        _print_verdict(found, _page_of(asked.run, asked.folder), as_json)
    return found


def _page_of(run_folder: Path, folder: Path) -> Path:
    """Write the page: of the run, where its own evaluation was made, else of the folder of the duel."""
    from thumbtune.report.page import EVALUATION, write_page

    return write_page(run_folder if folder == run_folder / EVALUATION else folder)


def _print_verdict(found: dict[str, Any], page: Path, as_json: bool) -> None:
    from thumbtune.evaluation import classifier
    from thumbtune.evaluation.gates import line_of

    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    say(found["sentence"])
    for gate in found["gates"]:
        say(f"  {line_of(gate)}")
    if found["agreement"]:
        say(f"    {classifier.format_agreement(found['agreement'])}")
    elif found["no_agreement"]:
        say(f"    {found['no_agreement']}")
    if found["hardly_differ"]:
        say(f"    {found['hardly_differ']}")
    if found["replaced"]:
        say(f"The evaluation before this one is in {found['replaced']}.")
    say(f"Page: {page}")


DuelPrompts = Annotated[
    str, typer.Option(help="A file of prompts, or a published set: `thumbtune scorers` lists them.")
]

DuelScorers = Annotated[
    str, typer.Option(help="Scorers, separated by commas; `thumbtune scorers` lists them. none: a duel for people.")
]


def duel(
    a: A,
    b: Annotated[str, typer.Argument(metavar="B", help="The model to test, in one of the same forms.")],
    prompts: DuelPrompts,
    scorers: DuelScorers,
    out: Annotated[Path, typer.Option(help="The folder of the duel; the same command continues in it.")] = Path("duel"),
    base: Annotated[str | None, typer.Option(help="The model that a LoRA, a UNet or a transformer belongs to.")] = None,
    per_prompt: PerPrompt = 4,
    first_seed: FirstSeed = 10_000,
    steps: Steps = None,
    guidance: Guidance = None,
    size: ImageSize = None,
    vae: Vae = None,
    prediction: Prediction = None,
    zero_terminal_snr: ZeroTerminalSnr = False,
    frames: Frames = None,
    negative: Negative = "",
    over_length: OverLength = None,
    syntax: Syntax = None,
    clip_skip: ClipSkip = None,
    limit: Limit = None,
    tie: Tie = 0.0,
    paper_ci: Annotated[bool, typer.Option("--paper-ci", help="Also compute the interval of the paper.")] = False,
    weights: Weights = None,
    offline: Offline = False,
) -> None:
    """Compare two models, or two folders of images, on the same prompts and seeds."""
    quieten()
    from thumbtune.duels.duel import SIDES, GalleryPlan, run_duel
    from thumbtune.evaluation.prompts import load_prompt_set
    from thumbtune.evaluation.scorers.published_files import Locations
    from thumbtune.runs.sampler_defaults import precision_for, sampler_for

    chosen = load_prompt_set(prompts, places := Locations(local=weights, offline=offline))
    given = given_options(vae, prediction, zero_terminal_snr, over_length, syntax, clip_skip)
    plan = GalleryPlan(
        sides=dict(zip(SIDES, (a, b), strict=True)),
        prompts=chosen.first(limit) if limit else chosen,
        out=out,
        scorers=_scorers_in(scorers),
        per_prompt=per_prompt,
        first_seed=first_seed,
        sampler=sampler_for([base, a, b], steps, guidance, negative, size, frames),
        base=base,
        precision=precision_for([a, b, base]),
        places=places,
        options=model_options(given),
        given=_names(given, steps=steps, guidance=guidance, size=size, frames=frames, negative=negative or None),
    )
    _print_duel(run_duel(plan, bar, tie, paper_ci, is_for_people=not plan.scorers), out)


def _names(given: Mapping[str, Any], **drawing: Any) -> tuple[str, ...]:
    """Return the names of the options of loading, reading and drawing that a person gave."""
    return tuple(name for name, value in {**given, **drawing}.items() if value is not None)


def _scorers_in(scorers: str) -> tuple[str, ...]:
    """Return the names of scorers between commas, at least one; () for `none`, of a duel for people alone."""
    if scorers.strip() == NO_SCORER:
        return ()
    names = tuple(name.strip() for name in scorers.split(",") if name.strip())
    if not names:
        raise UsageError("A duel needs a scorer; name one (`thumbtune scorers` lists all).", code="duel-no-scorer")
    return names


def _print_duel(result: dict[str, Any] | None, out: Path) -> None:
    """Write the page of a duel and print its result; do nothing on processes other than the main one."""
    from thumbtune.report.page import write_page

    if result is None:
        return
    for line in (*result["sentences"], *result["notes"], *filter(None, [result["hardly_differ"]])):
        say(line)
    for scorer in result["scorers"]:
        if scorer["failed"]:
            file, why = next(iter(scorer["failed"].items()))
            count = plural(len(scorer["failed"]), "image")
            say(f"{scorer['id']} has no score for {count}; the first is {file}: {why}.")
    say(f"Page: {write_page(out)}")
    if not result["scorer_names"]:
        say(f"No scorer judged the images. Next: thumbtune human export {quote(str(out))}")
    elif not any(row["prompts"] for row in result["standings"]):
        raise ThumbtuneError(
            "No prompt has scores for both models, so neither model won; read why the scorers failed.",
            code="duel-nothing-scored",
        )


def report(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a run or a duel.")]) -> None:
    """Write the page of a run or a duel again from its folder."""
    from thumbtune.report.page import write_page

    say(f"Page: {write_page(folder)}")
