"""Describe a training before it starts, in lines for people."""

import torch

from thumbtune.objective.protocol import traits_of
from thumbtune.runs import build
from thumbtune.runs.family_defaults import family_of
from thumbtune.runs.image_sizes import line_of_sizes
from thumbtune.runs.recipe import Recipe, chosen_for_model
from thumbtune.runs.setup import Setup
from thumbtune.training.sampling import pairs_of


def _beta_and_reference_point(setup: Setup) -> list[str]:
    """Return beta and the reference point in words; an empty list for an objective without a beta."""
    if traits_of(setup.objective).beta is None:
        return []
    section = setup.recipe.objective
    beta = "beta auto" if section.beta == "auto" else f"beta {section.beta:g}"
    paired = "pairs" in setup.objective.needs
    return [beta] if paired else [beta, f"reference point {section.reference_point}"]


def plan(setup: Setup) -> list[str]:
    """Return a description of a training, in lines for people. Load the model, but change nothing.

    The last lines are notes on the sizes of images, which depend on the model.
    """
    recipe, train, held_out = setup.recipe, setup.split.train, setup.split.held_out
    model = build.model_of(recipe)
    liked = sum(train["label"])
    trained = sum(p.numel() for _, p in model.trainable())
    shown = recipe.train.steps * recipe.train.batch
    total = sum(p.numel() for p in model.network.parameters())
    pairs = ""
    if "pairs" in setup.objective.needs:
        pairs = f"; pairs from {len(pairs_of(train['prompt'], torch.tensor(train['label'])))} prompts"
    prompts = len(set(held_out["prompt"]))
    count, each = len(setup.prompts), recipe.evaluate.per_prompt
    chosen = ", ".join(f"{name} {_value_of(recipe, name)}" for name in chosen_for_model(recipe))
    return [
        f"model       {recipe.model}, {trained:,} of {total:,} weights trained",
        f"likes       {liked} likes, {len(train) - liked} dislikes to train on; {len(held_out)} held out",
        f"            the held-out labels are of {prompts} prompt{'' if prompts == 1 else 's'}",
        f"images      {line_of_sizes(setup.placements(model))}",
        f"objective   {', '.join([recipe.objective.name, *_beta_and_reference_point(setup)])}{pairs}",
        f"training    {recipe.train.steps} steps of {recipe.train.batch} images: {shown:,} images, "
        f"each shown {shown / max(1, len(train)):.1f} times",
        f"evaluation  {count} x {each} images (prompts x images of each): {count * each} pairs"
        if setup.prompts
        else "evaluation  no prompt is held out: evaluate needs evaluate.prompts, a text file with a prompt a line",
        *(
            [f"defaults    of {family_of(recipe.model)} (`thumbtune recipe` gives the reasons): {chosen}"]
            if chosen
            else []
        ),
        *(f"note        {note}" for note in setup.size_notes(model)),
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
