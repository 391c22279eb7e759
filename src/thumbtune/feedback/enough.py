"""How many labels and prompts are enough, and what is said of fewer; the reasons stand at the numbers."""

import math
from collections.abc import Iterable

from thumbtune.errors import plural
from thumbtune.feedback.likes import VALIDATION_SHARE, alike, is_held_out

MIN_PROMPTS = 10  # of a verdict: a bootstrap over fewer prompts promises too much
ENOUGH_PROMPTS = 400  # of which 80 are held out on average: more need not be looked at
# The smallest set from which a gain was measured (docs/few.md) had 20 labels, of which 4 were likes.
MIN_LABELS = 20
MIN_OF_A_KIND = 4
# Of these 20, a fifth was held out, and 140 steps of 32 images showed each of the other 16 so often.
MOST_SHOWN = 280
DEMO_SHOWN = 11  # times: 50 steps of 32 images, of 144 labels


def verdict_note(prompts: Iterable[str], of: str = "store") -> str | None:
    """Return what prompts of labelled images lack for a verdict on held-out feedback; None if nothing is missing.

    Args:
        prompts: those of the images, which may repeat; no more are read than are needed.
        of: what holds them, in words.
    """
    distinct: set[str] = set()
    held_out = 0
    for prompt in prompts:
        plain = alike(prompt)
        held_out += plain not in distinct and is_held_out(prompt)
        distinct.add(plain)
        if held_out >= MIN_PROMPTS:
            return None
    return (
        f"The {of} has {plural(len(distinct), 'prompt')}. By default a training holds out {held_out} of them, and a "
        f"verdict needs {MIN_PROMPTS}: label images of about {_more(held_out)} more prompts, or name a scorer and "
        "prompts of your own (evaluate.scorers, evaluate.prompts)."
    )


def _more(held_out: int, share: float = VALIDATION_SHARE) -> int:
    """Return about how many more prompts are needed: each is held out with the probability `share`."""
    return math.ceil((MIN_PROMPTS - held_out) / share)


def few_prompts_note(held_out: Iterable[str], share: float) -> str | None:
    """Return what the held-out prompts of a training lack for a verdict; None if nothing is missing."""
    count = len({alike(prompt) for prompt in held_out})
    if count >= MIN_PROMPTS or not share:  # who holds none out knows it
        return None
    return (
        f"The held-out labels are of {plural(count, 'prompt')}, and a verdict needs {MIN_PROMPTS}: label images of "
        f"about {_more(count, share)} more prompts, or name evaluate.scorers and evaluate.prompts."
    )


def few_labels_note(likes: int, dislikes: int, needs_both: bool) -> str | None:
    """Return a warning of labels that are fewer than any set from which a gain was measured, or None."""
    kinds = {"likes": likes, "dislikes": dislikes} if needs_both else {"likes": likes}
    few = {kind: number for kind, number in kinds.items() if number < MIN_OF_A_KIND}
    if not few and sum(kinds.values()) >= MIN_LABELS:
        return None
    found = " and ".join(plural(number, kind.removesuffix("s")) for kind, number in kinds.items())
    return (
        f"The feedback has {found}, and the smallest set from which a gain was measured had {MIN_LABELS} labels, at "
        f"least {MIN_OF_A_KIND} of a kind: the model may only learn these images by heart, so label more."
    )


def often_shown_note(images: int, steps: int, batch: int) -> str | None:
    """Return a warning of images that are shown more often than in any training that gained, or None.

    Args:
        images: the labels to train on.
        batch: images of a step.
    """
    if not images or steps * batch <= MOST_SHOWN * images:
        return None
    fewer = max(1, round(DEMO_SHOWN * images / batch))
    return (
        f"Each image is shown {steps * batch / images:,.0f} times, and gains were measured up to {MOST_SHOWN} "
        f"(docs/few.md): the model may learn these images by heart. The demo shows each {DEMO_SHOWN} times, which "
        f"train.steps={fewer} does here."
    )
