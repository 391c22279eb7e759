"""What a training would do, in words, before it does it."""

import torch

from thumbtune.objective.kto import Objective
from thumbtune.runs import build
from thumbtune.runs.recipe import Recipe
from thumbtune.training.sampling import pairs_of


def _with_a_beta(recipe: Recipe, objective: Objective) -> list[str]:
    """Beta and the reference point, of objectives that have them."""
    if getattr(objective, "beta", None) is None:
        return []
    o = recipe.objective
    beta = "beta auto" if o.beta == "auto" else f"beta {o.beta:g}"
    return [beta] if "pairs" in objective.needs else [beta, f"reference point {o.reference_point}"]


def plan(recipe: Recipe) -> list[str]:
    """What a training would do, in lines for people; loads the model and the likes, and changes nothing."""
    parts = build.split_of(recipe, keep=False)
    objective = build.objective_of(recipe)
    build.beta_of(recipe, objective)
    build.check_thumbs(recipe, objective, parts.train)
    judged = build.check_judging(recipe, parts)
    model = build.model_of(recipe)
    liked = sum(parts.train["label"])
    trained = sum(p.numel() for _, p in model.trainable())
    seen = recipe.train.steps * recipe.train.batch
    total = sum(p.numel() for p in model.network.parameters())
    o = recipe.objective
    sides = pairs_of(parts.train["prompt"], torch.tensor(parts.train["label"])) if "pairs" in objective.needs else []
    pairs = f"; pairs from {len(sides)} prompts" if sides else ""
    from thumbtune.evaluation.gates import MIN_PROMPTS  # with scipy, which no training needs

    prompts = len(set(parts.held_out["prompt"]))
    few = "" if prompts >= MIN_PROMPTS else f", of {MIN_PROMPTS} that it takes to tell by thumbs whether it helped"
    images = len(judged) * recipe.evaluate.per_prompt
    return [
        f"model       {recipe.model}, {trained:,} of {total:,} weights trained",
        f"likes       {liked} likes, {len(parts.train) - liked} dislikes to train on; {len(parts.held_out)} held out",
        f"            the held-out thumbs are of {prompts} prompt{'' if prompts == 1 else 's'}{few}",
        f"objective   {', '.join([o.name, *_with_a_beta(recipe, objective)])}{pairs}",
        f"training    {recipe.train.steps} steps of {recipe.train.batch} images: {seen:,} images, "
        f"{seen / max(1, len(parts.train)):.1f} looks at each",
        f"evaluation  {len(judged)} x {recipe.evaluate.per_prompt} images (prompts x images of each): {images} pairs"
        if judged
        else "evaluation  no prompt is held out: evaluate will ask for evaluate.prompts, a file with a prompt a line",
    ]
