"""The commands around one run: train, recipe and generate."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal

import typer

from thumbtune.cli.processes import NumProcesses, share
from thumbtune.cli.progress import bar
from thumbtune.cli.stops import stopping
from thumbtune.cli.terminal import quieten, say, say_prefix
from thumbtune.errors import UsageError, plural

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="OPTION=VALUE",
        help="Set an option, as in train.warmup=100; may be repeated. `thumbtune recipe` lists all options. One that "
        "is also given by a name of its own, such as --lr, is refused.",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1000,
        help="Number of denoising steps. Default: that of the model's family, such as 50 for Stable Diffusion; 25 for "
        "the bundled model.",
    ),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=100,
        help="Scale of classifier-free guidance. Default: that of the model's family, such as 7.5 for SD 1.x and 2.x, "
        "5 for SDXL and 4 for FLUX.2 Klein; 3 for the bundled model.",
    ),
]
Negative = Annotated[str, typer.Option(help="What images should not show: one text for all prompts.")]
Frames = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1000,
        help="Frames of each clip, for Wan and LTX-Video, which write WebP animations; 1 for images. Default: as the "
        "first run among the models was trained, for all of them; 1 without a run.",
    ),
]
OverLength = Annotated[
    Literal["cut", "chunks"] | None,
    typer.Option(
        help="Prompts longer than the text encoder reads: cut, or read in chunks. Default: cut; a run has its own way."
    ),
]
Syntax = Annotated[
    Literal["plain", "a1111"] | None,
    typer.Option(
        help="The syntax of prompts: plain text, or weights and tags of A1111. Default: plain; a run has its own."
    ),
]
ClipSkip = Annotated[
    int | None,
    typer.Option(
        min=1, help="The layer of the text encoder: 1 is the last one. Default: the model's; a run has its own."
    ),
]


Vae = Annotated[
    str | None, typer.Option(help="A VAE in the place of a model's own: a folder, a hub id or a .safetensors file.")
]
Prediction = Annotated[
    Literal["epsilon", "v"] | None,
    typer.Option(help="What a model predicts, if its files do not say it; it goes before what they say."),
]
ZeroTerminalSnr = Annotated[
    bool, typer.Option("--zero-terminal-snr", help="The last step of a v model's noise schedule is pure noise.")
]


def given_options(
    vae: str | None,
    prediction: str | None,
    zero_terminal_snr: bool,
    over_length: str | None,
    syntax: str | None,
    clip_skip: int | None,
) -> dict[str, Any]:
    """Return the options of loading a model and of reading prompts by name; None for one that is not given."""
    loading = {"vae": vae, "prediction": prediction, "zero_terminal_snr": zero_terminal_snr or None}
    return loading | {"over_length": over_length, "syntax": syntax, "clip_skip": clip_skip}


def model_options(given: Mapping[str, Any]) -> Any:
    """Return options of loading a model and of reading prompts, with those that are given."""
    from thumbtune.models.model_options import ModelOptions
    from thumbtune.models.prompt_chunks import encoding_with

    reading = ("over_length", "syntax", "clip_skip")
    loading = {name: value for name, value in given.items() if name not in reading}
    return ModelOptions(**loading, encoding=encoding_with({name: given[name] for name in reading}))


AGAIN = "Stopped; images so far stay in {out}; the same command begins again and writes none of them twice."
NONE_YET = "Stopped; no image was finished yet."
SHIPPED = (
    "A YAML recipe, or a shipped one: chroma, flux, flux2, klein, krea2, ltx, lumina2, paper, paper-sd21, pixart, "
    "qwen-image, sana, sd3, sdxl, wan or z-image."
)
ImageSize = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="PIXELS",
        help="Size of the images: 768 for a square, or 768x512 (width x height). Default: the model's own size.",
    ),
]
IntoStore = Annotated[
    str | None,
    typer.Option(
        "--likes",
        help="Also put the images into this store, without a vote, for `thumbtune studio` to show: a folder, or "
        "postgresql://user@host/database.",
    ),
]


def train(
    recipe: Annotated[
        Path | None,
        typer.Argument(help=f"{SHIPPED} Default: the default of every option; with --resume, the run's recipe."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The run's folder.")] = Path("runs/first"),
    settings: Set = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the plan, and change nothing.")
    ] = False,
    num_processes: NumProcesses = 1,
) -> None:
    """Tune a LoRA, or all weights of a model, on likes and dislikes."""
    quieten()
    from thumbtune.runs.recipe import read_recipe

    if resume:
        from thumbtune.runs.run import recipe_in

        if not out.exists():
            raise UsageError(f"{out} does not exist yet; leave --resume out the first time.", code="run-not-begun")
        recipe_in(out)  # a mistyped folder must not begin a new run
        recipe = recipe or out / "recipe.yaml"
    chosen = read_recipe(recipe, settings)  # before torch loads: a bad recipe is told at once
    share(num_processes)
    from thumbtune.runs import build, plan, run
    from thumbtune.runs.tuning import line_of, tune
    from thumbtune.training.progress import Sized

    if dry_run:
        run.check(chosen, out, resume)
        for line in plan.lines(chosen, out):
            say(line)
        return
    steps = Sized(tune(chosen, out, bar, resume), chosen.train.steps, place=lambda step: step.step)
    for step in bar(steps, "Tuning"):
        for note in run.notes_of(out) if step.step == 1 else ():
            say(f"     Note: {note}")
        if step.step % 25 == 0 or step.step in {1, chosen.train.steps}:
            say(f"     {line_of(step)}")
    say_prefix(run.prompt_prefix_of(out))
    next_ = run.evaluation_command(out, chosen)
    say(f"The result is in {out / build.result_of(chosen).parent}. Next: {next_}")


def recipe_(
    recipe: Annotated[
        Path | None,
        typer.Argument(help=f"{SHIPPED} Default: the default of every option."),
    ] = None,
    settings: Set = None,
) -> None:
    """Print a recipe: every option with its value and one line on what it does."""
    from thumbtune.runs.family_defaults import refuse_unknown_family
    from thumbtune.runs.recipe import heading_of, read_recipe, recipe_text

    chosen = read_recipe(recipe, settings)
    refuse_unknown_family(chosen.model_dump(exclude_unset=True))
    is_of_its_model = not any(setting.startswith("model=") for setting in settings or [])
    if recipe is not None and is_of_its_model and (heading := heading_of(recipe)):
        say(heading)
    say(recipe_text(chosen).rstrip())


def generate(
    prompts: Annotated[list[str], typer.Argument(help="Prompts of the images.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="The model: a diffusers folder, a .safetensors checkpoint or a hub id. Default: tiny-emoji-64."
        ),
    ] = None,
    tuned: Annotated[Path | None, typer.Option("--run", help="A finished run, whose tuned model generates.")] = None,
    out: Annotated[Path, typer.Option(help="The folder for the images.")] = Path("images"),
    seeds: Annotated[int, typer.Option(min=1, help="Number of images for each prompt.")] = 4,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first image of each prompt.")] = 0,
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
    likes: IntoStore = None,
) -> None:
    """Generate images with a model, or with the result of a run."""
    quieten()
    from thumbtune.feedback.store.store import Store
    from thumbtune.runs.generate import Generator, generate_images
    from thumbtune.runs.recipe import Recipe
    from thumbtune.runs.sampler_defaults import sampler_for
    from thumbtune.runs.to_store import stored

    given = given_options(vae, prediction, zero_terminal_snr, over_length, syntax, clip_skip)
    model, tuned = _model_or_run(model, tuned, given)
    named_model = model or (None if tuned else Recipe().model)
    sampler = sampler_for([tuned, named_model], steps, guidance, negative, size, frames)
    pairs = [(prompt, seed) for prompt in prompts for seed in range(first_seed, first_seed + seeds)]
    by = Generator(model=model, tuned=tuned, options=model_options(given))
    finished = False
    told = lambda: AGAIN.format(out=out) if finished else NONE_YET  # noqa: E731 - of the moment at which it is asked
    with nullcontext() if likes is None else Store.open(likes) as store, stopping(told):
        paths = generate_images(pairs, sampler, out, bar, by)
        named = ((prompt, path) for (prompt, _), path in zip(pairs, paths, strict=True))
        for path in paths if store is None else stored(named, store):
            finished = True
            say(str(path))
    if store is not None:
        say(f"Put {plural(len(pairs), 'image')} into {store.name} without a vote. Next: {_studio_of(likes)}")


def _model_or_run(model: str | None, tuned: Path | None, given: Mapping[str, Any]) -> tuple[str | None, Path | None]:
    """Return the base model or the run that generates; a model may be the folder of a run.

    Raises:
        UsageError: both are given, or options that a run has itself.
    """
    if model and not tuned and (Path(model) / "recipe.yaml").is_file():
        model, tuned = None, Path(model)
    if model and tuned:
        raise UsageError(
            "A run generates with the model that it tuned; leave out --model or --run.", code="generate-two-models"
        )
    if tuned and any(given.values()):
        named = ", ".join(f"--{name.replace('_', '-')}" for name, value in given.items() if value)
        raise UsageError(
            f"The run {tuned} loads its model and reads prompts as it was trained; leave out {named}, or --run.",
            code="generate-run-options",
        )
    return model, tuned


def _studio_of(likes: str | None) -> str:
    """Return the command that shows a store's images; the default store needs no name."""
    from thumbtune.feedback.store.database import name_of

    return "thumbtune studio" + (f" --likes {quote(name_of(likes))}" if likes and likes != "likes" else "")
