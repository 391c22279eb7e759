"""The labels that the person of a ground gives to a pool of images, by the log-odds of the small style network."""

from collections.abc import Sequence
from functools import cache

from PIL.Image import Image

from thumbtune.evaluation.scorers.style_classifier import SMALL
from thumbtune.experiments import demo
from thumbtune.experiments.demo import LabelledImage, style_classifier
from thumbtune.experiments.grounds import Ground
from thumbtune.experiments.noisy_rater import image_key, likes, prefers, stars
from thumbtune.experiments.simulated_labels import (
    RULES,
    PoolImage,
    Rating,
    check_rule,
    chosen_labels,
    labels_by_comparison,
    top_tenth,
    upper_half,
    with_labels,
)

STARS, LIKE_AT, MOST_STARS = "five stars", 4, 5  # the rule, and the stars from which on an import reads a like


@cache
def concept_of() -> dict[str, str]:
    """Return bare prompt -> concept, of all concepts of the bundled model."""
    return {demo.prompt_of(concept): concept for group in demo.concepts().values() for concept in group}


def wanted_styles(ground: Ground, prompts: Sequence[str]) -> list[str]:
    """Return the style that the person wants for each bare prompt."""
    return [ground.wanted(concept_of()[prompt]) for prompt in prompts]


def log_odds(ground: Ground, images: Sequence[Image], prompts: Sequence[str], network: str) -> list[float]:
    """Return how well each image is what the person wants, by one network; not clipped."""
    return style_classifier().log_odds(images, wanted_styles(ground, prompts), network).tolist()


def rate_pool(pool: Sequence[PoolImage], ground: Ground, rating: Rating, seed: int) -> list[LabelledImage]:
    """Return the person's labels on a pool, in its order; the same person gives an image the same label again.

    Raises:
        UsageError: the rule is unknown, or the pool gives fewer labels than `count`.
    """
    check_rule(rating.rule, (*RULES, STARS))
    prompts, images = [one.prompt for one in pool], [one.image() for one in pool]
    odds = log_odds(ground, images, prompts, SMALL)
    keys = [image_key(image) for image in images]
    labels: Sequence[bool | None]
    if rating.rule == "person":
        labels = [likes(value, ground.tau, seed, key) for value, key in zip(odds, keys, strict=True)]
    elif rating.rule == STARS:
        labels = [stars(value, ground.tau, seed, key) >= LIKE_AT for value, key in zip(odds, keys, strict=True)]
    elif rating.rule == "upper half":
        labels = upper_half(odds)
    elif rating.rule == "top tenth":
        labels = top_tenth(odds)
    else:

        def preferred(a: int, b: int) -> bool | None:
            return prefers((odds[a], odds[b]), ground.tau, seed, (keys[a], keys[b]))

        labels = labels_by_comparison(prompts, preferred, rating.rule)
    return chosen_labels(with_labels(pool, labels), rating, seed)


def grades_of(pool: Sequence[PoolImage], ground: Ground, rating: Rating, seed: int) -> dict[str, float]:
    """Return file name -> (stars - 1) / 4 by the rule of five stars, and {} by any other rule.

    A label that `rate_pool` turned into its opposite has the opposite grade.
    """
    if rating.rule != STARS:
        return {}
    kept = {name: liked for name, _, _, liked, _ in rate_pool(pool, ground, rating, seed)}
    found = {}
    for one, value in zip(
        pool, log_odds(ground, [o.image() for o in pool], [o.prompt for o in pool], SMALL), strict=True
    ):
        count = stars(value, ground.tau, seed, image_key(one.image()))
        if one.file.name in kept:
            is_turned = kept[one.file.name] != (count >= LIKE_AT)
            found[one.file.name] = (MOST_STARS - count if is_turned else count - 1) / (MOST_STARS - 1)
    return found
