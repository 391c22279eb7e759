"""`thumbtune compare`: images of a run's checkpoints side by side, or of its LoRA at several strengths."""

from pathlib import Path
from typing import Annotated

import typer

from thumbtune.cli.progress import bar
from thumbtune.cli.stops import stopping
from thumbtune.cli.terminal import quieten, say
from thumbtune.cli.train import Guidance, ImageSize, Negative, Steps

AGAIN = "Stopped; images so far stay, and the same command goes on."


def compare(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run; it may still train.")],
    prompts: Annotated[
        list[str] | None, typer.Argument(help="Prompts of the images. Default: up to four of the run, held-out first.")
    ] = None,
    checkpoints: Annotated[
        list[int] | None,
        typer.Option(
            "--checkpoint",
            metavar="STEP",
            help="Compare this checkpoint; may be repeated; 0: none. "
            "Default: all that are kept, between base and result.",
        ),
    ] = None,
    strengths: Annotated[
        list[float] | None,
        typer.Option(
            "--strength",
            metavar="NUMBER",
            help="Instead, compare the LoRA at this strength; may be repeated: 0 is without it, 1 as it was trained.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of images for each prompt.")] = 1,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first image of each prompt.")] = 0,
    steps: Steps = None,
    guidance: Guidance = None,
    size: ImageSize = None,
    negative: Negative = "",
) -> None:
    """Generate images of a run's base, checkpoints and result, or of its LoRA at several strengths."""
    quieten()
    from thumbtune.duels import compared
    from thumbtune.duels.columns import chosen_checkpoints, columns_of
    from thumbtune.runs.sampler_defaults import sampler_for

    columns = columns_of(run_folder, chosen_checkpoints(checkpoints), strengths or ())
    chosen = prompts or compared.default_prompts(run_folder)
    plan = compared.Plan(
        run=run_folder,
        columns=columns,
        pairs=[(prompt, seed) for prompt in chosen for seed in range(first_seed, first_seed + seeds)],
        sampler=sampler_for([run_folder], steps, guidance, negative, size),
    )
    with stopping(AGAIN):
        for file in compared.compare(plan, bar):
            say(str(file))
    say(f"Columns: {', '.join(column.name for column in columns)}. Their images: {plan.out / compared.GRID}")
