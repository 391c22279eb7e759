"""The verdict on a gallery of two sides: every gate that its images and scores can answer."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from math import isnan
from typing import Any

from PIL import Image

from thumbtune.duels.duel import MAIN, A, B
from thumbtune.duels.gallery import Gallery
from thumbtune.errors import ThumbtuneError, UsageError, joined, plural, shown
from thumbtune.evaluation import gates
from thumbtune.evaluation.diversity import diversity
from thumbtune.evaluation.gates import Gate
from thumbtune.evaluation.prompts import PromptSet
from thumbtune.evaluation.scorers import faithfulness
from thumbtune.evaluation.scorers.resolve import scorer_id
from thumbtune.evaluation.scorers.scoring import open_image
from thumbtune.evaluation.win_rates import Units, units
from thumbtune.runs import build
from thumbtune.runs.bundled_base import is_bundled_model
from thumbtune.runs.recipe import Recipe

MAX_NAMED = 3  # prompts in a sentence
NO_SCORER = "none"  # as evaluate.faithfulness or evaluate.safety: the gate is left out


def scorers_of(recipe: Recipe, prompts: PromptSet) -> list[str]:
    """Return the scorers that the gates of a recipe need, each once."""
    names = [*recipe.evaluate.scorers, faithfulness_of(recipe, prompts), safety_of(recipe)]
    return list(dict.fromkeys(name for name in names if name))


def faithfulness_of(recipe: Recipe, prompts: PromptSet) -> str | None:
    """Return the scorer of faithfulness: the recipe's, or the bundled judge if it knows the model and every prompt."""
    if recipe.evaluate.faithfulness:
        return None if recipe.evaluate.faithfulness == NO_SCORER else recipe.evaluate.faithfulness
    if not is_bundled_model(recipe.model):
        return None
    return None if _unknown(prompts) else faithfulness.NAME


def _unknown(prompts: PromptSet) -> list[str]:
    """Return the prompts without a concept that the bundled judge knows."""
    bundled = faithfulness.FaithfulnessJudge(build.BUNDLED / "judge")
    return [prompt for prompt in dict.fromkeys(prompts.prompts) if not bundled.knows(prompt)]


def why_no_faithfulness(recipe: Recipe, prompts: PromptSet) -> str:
    """Return why no scorer measures faithfulness where none is named, and what to do."""
    if not is_bundled_model(recipe.model):
        return (
            "No scorer measures faithfulness, so no number of prompts decides it: the bundled one is for the bundled "
            "model alone; set evaluate.faithfulness, as to clip-h14, or to none to leave the gate out."
        )
    unknown = _unknown(prompts)
    more = [] if len(unknown) <= MAX_NAMED else [plural(len(unknown) - MAX_NAMED, "more", "more")]
    return (
        f"The bundled scorer of faithfulness knows no thing of {plural(len(unknown), 'prompt')} "
        f"({joined([*map(shown, unknown[:MAX_NAMED]), *more])}); name things as `thumbtune concepts` does, "
        "with evaluate.prompts a file of such prompts, or set evaluate.faithfulness, as to clip-h14."
    )


def safety_of(recipe: Recipe) -> str | None:
    """Return the scorer of safety, or None."""
    return None if recipe.evaluate.safety in {None, "", NO_SCORER} else recipe.evaluate.safety


def gates_of(gallery: Gallery, standings: Sequence[Mapping[str, Any]], recipe: Recipe) -> Iterator[Gate]:
    """Yield every gate that images and scores can answer.

    Raises:
        UsageError: the scorer of safety gives other numbers than 0 and 1.
    """
    prompts, bars = gallery.plan.prompts, recipe.gates
    unit = units(prompts.prompts, prompts.styles)
    wanted = {scorer_id(name) for name in recipe.evaluate.scorers}
    rows = [row for row in standings if row["estimand"] == MAIN and row["scorer"] in wanted]
    yield from (gates.gain(row) for row in rows if row["style"] is None)
    yield from _faithfulness(gallery, recipe, unit)
    if (by_style := gates.styles(rows, bars.min_style_win_rate)) is not None:
        yield by_style
    yield gates.diversity(_diversity(gallery, A), _diversity(gallery, B), unit, bars.min_diversity)
    yield from _safety(gallery, recipe, unit)
    for scores in gallery.scores:
        if (failed := gates.failed_scores(scores.id, *_tables(gallery, scores.id))) is not None:
            yield failed


def _faithfulness(gallery: Gallery, recipe: Recipe, unit: Units) -> Iterator[Gate]:
    scorer = faithfulness_of(recipe, gallery.plan.prompts)
    if scorer is not None:
        name = scorer_id(scorer)
        yield gates.faithfulness(name, *_tables(gallery, name), unit, recipe.gates.max_faithfulness_loss)
    elif recipe.evaluate.faithfulness != NO_SCORER:
        yield Gate("faithfulness", "open", why_no_faithfulness(recipe, gallery.plan.prompts), undecidable=True)


def _safety(gallery: Gallery, recipe: Recipe, unit: Units) -> Iterator[Gate]:
    if (scorer := safety_of(recipe)) is None:
        return
    tables = _tables(gallery, scorer_id(scorer))
    if any(value not in {0.0, 1.0} for table in tables for value in chain.from_iterable(table) if not isnan(value)):
        raise UsageError(
            f"evaluate.safety: {scorer} returns numbers other than 0 and 1; name a scorer that returns only these.",
            code="evaluate-safety-not-binary",
        )
    yield gates.safety(*tables, unit, recipe.gates.max_harm_rise)


def _tables(gallery: Gallery, scorer: str) -> tuple[list[list[float]], list[list[float]]]:
    return gallery.table(scorer, A), gallery.table(scorer, B)


def _diversity(gallery: Gallery, side: str) -> list[float]:
    """Return the diversity of each prompt, by those of its images that can be read."""
    images: dict[int, list[Image.Image]] = {}
    for image in gallery.images:
        if image.side == side:
            readable = images.setdefault(image.prompt, [])
            with suppress(ThumbtuneError):
                readable.append(open_image(image.file).convert("L"))
    return [diversity(of_prompt) for of_prompt in images.values()]
