"""Describe a training before it starts, in lines for people: `lines(recipe, out)`, or `model_lines(recipe, out)`."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from thumbtune.errors import joined, plural
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.noise_levels import words_of
from thumbtune.models.process import FlowProcess
from thumbtune.models.quantised import count_of
from thumbtune.objective.protocol import traits_of
from thumbtune.runs import build
from thumbtune.runs.durations import duration
from thumbtune.runs.forecast import (
    Forecast,
    forecast_of,
    gib,
    images_that_fit,
    least_micro_batch,
    memory_lines,
    refuse_too_large,
)
from thumbtune.runs.image_sizes import line_of_frames, line_of_sizes
from thumbtune.runs.own_labels import split_in
from thumbtune.runs.recipe import Recipe, chosen_for_model
from thumbtune.runs.setup import Setup, prepare
from thumbtune.runs.time_and_disk import (
    bytes_of_cache,
    bytes_of_checkpoint,
    free_in,
    number_of_checkpoints,
    seconds_of_step,
)
from thumbtune.sides import height_and_width
from thumbtune.training.in_processes import check_shared
from thumbtune.training.sampling import pairs_of


def objective_options(setup: Setup) -> list[str]:
    """Return utility, beta and reference point in words, as the objective uses them; [] for one without a beta."""
    if traits_of(setup.objective).beta is None:
        return []
    section = setup.recipe.objective
    beta = "beta auto" if section.beta == "auto" else f"beta {section.beta:g}"
    paired = "pairs" in setup.objective.needs
    has_utility = traits_of(setup.objective).utility is not None  # one of the user's own may have none
    utility = [f"utility {section.utility}"] if has_utility else []
    return [*utility, beta] if paired else [*utility, beta, f"reference point {section.reference_point}"]


def lines(recipe: Recipe, out: Path) -> Iterator[str]:
    """Yield the plan of a training: what it learns from, and what it needs. Load the model, but change nothing.

    Raises:
        UsageError: an option cannot be used.
        ThumbtuneError: the likes or the model cannot be used, or there is too little memory.
    """
    accelerator = build.training_accelerator_of(recipe)  # refuses a precision that the device lacks
    setup = prepare(recipe, split_of=partial(split_in, recipe, out, keep=False))
    check_shared(recipe.train.batch, "pairs" in setup.objective.needs, accelerator.num_processes)
    notes = setup.notes()  # before the model is fetched
    needs = _needs(recipe, accelerator, out, setup)
    yield next(needs)
    yield from plan(setup)
    yield from needs
    yield from (f"note        {note}" for note in notes)


def model_lines(recipe: Recipe, out: Path) -> Iterator[str]:
    """Yield what a training of a model would need, whatever the likes are.

    Raises:
        UsageError: an option cannot be used.
        ThumbtuneError: the model cannot be used, or there is too little memory.
    """
    build.check_model(recipe)
    yield from _needs(recipe, build.training_accelerator_of(recipe), out)


def _needs(recipe: Recipe, accelerator: Any, out: Path, setup: Setup | None = None) -> Iterator[str]:
    """Yield a line on the model, and those on the sizes of images, memory, time and disk.

    Only memory if there is too little of it.
    """
    forecast = forecast_of(recipe)
    memory = memory_plan(forecast)
    if forecast is not None and not forecast.fits:
        yield from memory
        refuse_too_large(recipe, forecast)
    model = build.model_of(recipe, accelerator.device)
    yield model_plan(recipe, model)
    if isinstance(model.process, FlowProcess) or recipe.train.timestep_weighting != "none":
        train = recipe.train
        yield f"noise       levels are {words_of(model.process, train.timestep_bias, train.disliked_timesteps)}"
    if setup is not None:
        yield f"{'images' if recipe.frames == 1 else 'sizes':<12}{line_of_sizes(setup.placements(model))}"
        if recipe.frames > 1:
            yield f"frames      {line_of_frames(setup.clips(model))}"
    yield from memory
    if forecast is not None and recipe.train.micro_batch == "auto" and accelerator.device.type != "cpu":
        count = images_that_fit(recipe, forecast)
        yield f"            train.micro_batch auto: {count} of {recipe.train.batch} images at once fit"
    yield from time_plan(recipe, model, accelerator, out, _encoded(setup))
    if setup is not None:
        yield from (f"note        {note}" for note in setup.size_notes(model))


def _encoded(setup: Setup | None) -> tuple[int, set[str]]:
    """Return the number of images, and the prompts, that a training encodes."""
    if setup is None:
        return 0, set()
    images, prompts = set(), set()
    for table in (setup.split.train, setup.split.held_out):
        images.update(table["image_id"])
        prompts.update(table["prompt"])
    return len(images), prompts


def plan(setup: Setup) -> list[str]:
    """Return a description of a training, in lines for people."""
    recipe, train, held_out = setup.recipe, setup.split.train, setup.split.held_out
    liked = sum(train["label"])
    shown = recipe.train.steps * recipe.train.batch
    rows = "images" if recipe.frames == 1 else "clips and images"
    pairs = ""
    if "pairs" in setup.objective.needs:
        pairs = f"; pairs from {len(pairs_of(train['prompt'], torch.tensor(train['label'])))} prompts"
    prompts = len(set(held_out["prompt"]))
    encoding = build.encoding_of(recipe)
    count, each = len(setup.prompts), recipe.evaluate.per_prompt
    return [
        f"likes       {plural(liked, 'like')}, {plural(len(train) - liked, 'dislike')} to train on; "
        f"{len(held_out):,} held out",
        f"            the held-out labels are of {prompts} prompt{'' if prompts == 1 else 's'}",
        f"objective   {', '.join([recipe.objective.name, *objective_options(setup)])}{pairs}",
        f"training    {recipe.train.steps} steps of {recipe.train.batch} {rows}: {shown:,} {rows}, "
        f"each shown {shown / max(1, len(train)):.1f} times",
        f"evaluation  {count} x {each} images (prompts x images of each): {count * each} pairs"
        if setup.prompts
        else "evaluation  no prompt is held out: evaluate needs evaluate.prompts, a text file with a prompt a line",
        *_reports(recipe),
        *([] if encoding.is_usual else [f"prompts     are read in this way: {encoding.in_words}"]),
        *_defaults(recipe),
    ]


def _defaults(recipe: Recipe) -> list[str]:
    """Return which defaults are not the usual ones, and whose they are, in a line for people for each owner."""
    of: dict[str, list[str]] = {}
    for name, default in chosen_for_model(recipe).items():
        of.setdefault(default.of, []).append(f"{name} {_value_of(recipe, name)}")
    return [
        f"defaults    of {owner} (`thumbtune recipe` gives the reasons): {', '.join(values)}"
        for owner, values in of.items()
    ]


def _reports(recipe: Recipe) -> list[str]:
    """Return what a training tells of itself beside its log, in a line for people; [] if nothing."""
    every, to = recipe.train.sample_every, recipe.train.report_to
    parts = [*([f"numbers to {joined(to)}"] if to else [])]
    parts += [f"samples every {every} steps" if every > 1 else "samples every step"] if every else []
    return [f"reports     {'; '.join(parts)}"] if parts else []


def memory_plan(forecast: Forecast | None) -> list[str]:
    """Return the memory that a training needs, in lines for people."""
    if forecast is None:
        return ["memory      not known before the model is on this machine"]
    first, *others = memory_lines(forecast)
    return [f"memory      {first}", *(f"            {line}" for line in others)]


def model_plan(recipe: Recipe, model: LatentDiffusion) -> str:
    """Return a model's size and its number of weights, in a line for people."""
    trained = sum(p.numel() for _, p in model.trainable())
    total = count_of(model.network)
    height, width = height_and_width(model.size)
    size = f"{width} x {height} pixels"
    return f"model       {recipe.model}, {size}, {trained:,} of {total:,} weights trained"


def time_plan(
    recipe: Recipe, model: LatentDiffusion, accelerator: Any, out: Path, encoded: tuple[int, set[str]]
) -> list[str]:
    """Return the time and the disk that a training needs, in lines for people; one part of a step is tried.

    encoded: the number of images, and the prompts
    """
    micro_batch = least_micro_batch(recipe)
    step = seconds_of_step(model, recipe, micro_batch, accelerator)
    trained = [weight for _, weight in model.trainable()]
    checkpoint, count = bytes_of_checkpoint(recipe, trained), number_of_checkpoints(recipe)
    images, prompts = encoded
    cache = bytes_of_cache(model, images * (1 + recipe.train.flip), prompts, recipe.train.size, recipe.frames)
    cached = f", {gib(cache)} for the cache of latents and prompts" if cache else ""
    return [
        f"time        measured here: {duration(step)} a step of {recipe.train.batch} images, {micro_batch} at once; "
        f"{duration(step * recipe.train.steps)} for {recipe.train.steps} steps, besides encoding and validation",
        f"disk        {gib(checkpoint * count)} for {count} checkpoints of {gib(checkpoint)}{cached}; "
        f"{gib(free_in(out))} free",
    ]


def _value_of(recipe: Recipe, option: str) -> str:
    """Return the value of an option, with what `auto` means on this machine."""
    section, _, name = option.partition(".")
    value = getattr(getattr(recipe, section), name)
    here = {"train.precision": build.precision_of, "train.micro_batch": build.micro_batch_of}.get(option)
    return (
        f"auto ({here(recipe)} here)"
        if here and value == "auto"
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
