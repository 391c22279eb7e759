"""What a page or a run says of the person of a ground: what they want, how they label, and what is then turned."""

from thumbtune.experiments.grounds import Ground
from thumbtune.experiments.noisy_rater import STAR_CUTS

PAIRS = "pairs"  # comparisons of images 1 and 2, 3 and 4, ... of a prompt (`rounds_cells`)
LIKED_BY = {  # a rule on comparisons -> the images that it likes
    "win": "liked are the images that never lost",
    "win + intermediate": "liked are the images that won at least once",
    "without intermediate": "liked are the images that never lost, and those that both won and lost have no label",
}
BY_SCORE = {
    "upper half": "liked is the half of the images with the highest log-odds, without noise",
    "top tenth": "liked is the tenth of the images with the highest log-odds, without noise",
}


def labels_of(ground: Ground, rule: str = "person", flipped: float = 0.0) -> str:
    """Return how the person of a ground labels by a rule, as a clause.

    Args:
        rule: of `Rating`, or PAIRS.
        flipped: the share of labels that are then turned into their opposite.
    """
    turned = f"; then {flipped:.0%} of the labels are turned into their opposite" if flipped else ""
    return _clause(ground, rule) + turned


def _clause(ground: Ground, rule: str) -> str:
    if rule in BY_SCORE:
        return BY_SCORE[rule]
    if rule == "person":
        if ground.tau is None:
            return "an image is liked if its log-odds are above 0"
        return f"an image is liked with the chance sigmoid(log-odds / {ground.tau:g}), so close calls often go wrong"
    if rule == PAIRS or rule in LIKED_BY:
        is_first = "of two images, the one with higher log-odds is preferred"
        if ground.tau is not None:
            is_first = f"the first of two images is preferred with the chance sigmoid(difference / {ground.tau:g})"
        if rule == PAIRS:
            return f"{is_first}, and each image is compared with one other of its prompt"
        return f"{is_first}, each image is compared with up to four others of its prompt, and {LIKED_BY[rule]}"
    noisy = "" if ground.tau is None else f" / {ground.tau:g} plus noise"
    cuts = ", ".join(f"{cut:g}" for cut in STAR_CUTS)
    return f"an image has one to five stars by its log-odds{noisy}, cut at {cuts}, and four or five are a like"


def person_of(ground: Ground, rule: str = "person", flipped: float | None = None, labels: str = "") -> str:
    """Return a sentence on the person of a ground.

    Args:
        rule: how they label, as `labels_of`.
        flipped: the share of turned labels; None: the ground's own.
        labels: how they label in other words; "": by the rule.
    """
    share = ground.flipped if flipped is None else flipped
    return f"{ground.wants}; {labels or labels_of(ground, rule, share)}."
