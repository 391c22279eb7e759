"""`thumbtune round`: images of a run for the next round of judging."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from thumbtune.cli.progress import bar
from thumbtune.cli.stops import stopping
from thumbtune.cli.terminal import quieten, say
from thumbtune.cli.train import Guidance, ImageSize, Negative, Steps
from thumbtune.errors import UsageError, plural

if TYPE_CHECKING:
    from thumbtune.feedback.store.store import Store

AGAIN = "Stopped; images so far are in the store; the same command goes on."


def round_(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run, whose tuned model generates.")],
    likes: Annotated[
        str | None,
        typer.Option(help="The store: a folder, or postgresql://user@host/database. Default: that of the run."),
    ] = None,
    prompts: Annotated[
        str | None, typer.Option(help="A file of fresh prompts, or a published set, beside the prompts of the store.")
    ] = None,
    per_prompt: Annotated[int, typer.Option(min=0, help="Number of images for each prompt; 0 only measures.")] = 4,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Use at most N prompts: fresh ones, then those of uncertain images. Default: all."),
    ] = None,
    uncertain: Annotated[
        int, typer.Option(min=0, help="Measure how uncertain the run is of the N newest unrated images.")
    ] = 500,
    out: Annotated[
        Path | None, typer.Option(help="The folder for the images. Default: images/RUN-round, by the run's name.")
    ] = None,
    steps: Steps = None,
    guidance: Guidance = None,
    size: ImageSize = None,
    negative: Negative = "",
) -> None:
    """Generate images with a run, to be judged for the next round, and find those that it is least certain of."""
    quieten()
    from thumbtune.evaluation.prompts import load_prompt_set
    from thumbtune.feedback.store.store import Store
    from thumbtune.runs.next_round import generate_round, kept_plan, plan_round
    from thumbtune.runs.run import recipe_in
    from thumbtune.runs.sampler_defaults import sampler_for

    likes = likes or recipe_in(run_folder).likes
    fresh = load_prompt_set(prompts).prompts if prompts else ()
    out = out or Path("images", f"{run_folder.resolve().name}-round")
    with Store.open(likes, create=False) as store, stopping(AGAIN):
        sampler = sampler_for([run_folder], steps, guidance, negative, size)
        plan = kept_plan(out, plan_round(run_folder, store, fresh, per_prompt, limit)) if per_prompt else None
        if plan is not None:
            for path in generate_round(plan, store, out, sampler, bar):
                say(str(path))
        measured = _measure(run_folder, store, uncertain)
    _say_next(run_folder, likes)
    if plan is not None:
        count, prompt_count = plural(len(plan.pairs), "image"), plural(len(plan.prompts), "prompt")
        say(f"{count} for {prompt_count} are in {store.name} without a vote.")
    say(f"Measured how uncertain {run_folder} is of {plural(measured, 'unrated image')}.")


def _measure(run_folder: Path, store: "Store", most: int) -> int:
    """Store how uncertain a run is of the newest unrated images, and return of how many."""
    from thumbtune.feedback.store.uncertainty import keep_uncertainty, unrated_images
    from thumbtune.runs.uncertainty import measure_uncertainty

    found = measure_uncertainty(run_folder, store, unrated_images(store, most), bar)
    keep_uncertainty(store, found, str(run_folder))
    return len(found)


def _say_next(run_folder: Path, likes: str) -> None:
    """Print the commands that judge the images, and train on the votes."""
    from thumbtune.feedback.store.database import name_of
    from thumbtune.runs.next_training import next_command

    say(f"Judge them: thumbtune studio --open --likes {quote(name_of(likes))}")
    try:
        say(f"Then train: {next_command(run_folder)}")
    except UsageError as error:  # all weights were trained
        say(str(error))
