"""The methods that are compared on a ground: a name, and a function that returns the row of a cell.

Most are settings of a recipe, trained as any user trains. Another kind of method gives its own `measure`, which gets
the lab and the cell and returns a row as `ground_cells.tuned` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from thumbtune.experiments import alignprop_cells, rounds_cells
from thumbtune.experiments.experiments import Order
from thumbtune.experiments.ground_cells import Measure, ground_cell, mark_cells, measured, tuned
from thumbtune.experiments.ground_labels import LIKE_AT, STARS
from thumbtune.experiments.grounds import FIRST_SEED, GROUNDS
from thumbtune.experiments.noisy_rater import CLIP, STAR_CUTS
from thumbtune.experiments.rounds_cells import ROUNDS
from thumbtune.experiments.simulated_labels import Rating
from thumbtune.experiments.training_grid import Grid, GridCell

PAPER, LEAD, AUTO, WINDOW, AUTO_WINDOW = "paper", "lead", "auto", "lead-window", "auto-window"
LEAD_SETTINGS = ("objective.name=kto", "objective.beta=250", "train.timestep_bias=3", "train.liked_share=0.5")
WINDOW_SETTINGS = (
    *("objective.name=kto", "objective.beta=500", "train.timestep_bias=3", "train.liked_share=0.5"),
    "train.disliked_timesteps=[0.5,1]",
)
AUTO_WINDOW_SETTINGS = (
    *("objective.name=kto", "objective.beta=auto", "objective.gain_scale=0.5"),
    *WINDOW_SETTINGS[2:],
)
DPO_SETTINGS = ("objective.name=dpo", "objective.beta=500")
KTO = ("objective.name=kto", "train.liked_share=0.8")  # the paper's share; all is written out, as defaults may change


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method: what it is, how the pool is labelled, and how a cell is measured.

    settings: on top of the ground's budget
    rule:     how the person labels the pool, see `Rating`
    facts:    constants that decide the row beside the settings; rows store them
    seen:     the seed whose rows were seen before this method was added; None: no row was
    """

    about: str
    settings: tuple[str, ...] = ()
    measure: Measure = tuned
    rule: str = "person"
    facts: Mapping[str, Any] = field(default_factory=dict)
    seen: int | None = None


def _in_rounds(about: str, settings: tuple[str, ...], count: int = ROUNDS, is_paired: bool = False) -> Method:
    return Method(
        about=about,
        settings=settings,
        measure=partial(rounds_cells.in_rounds, count=count, is_paired=is_paired),
        facts=rounds_cells.facts_of(count, is_paired),
    )


def _by_reward(about: str, enough: float | None = None, seen: int | None = None) -> Method:
    return Method(
        about=about,
        measure=partial(alignprop_cells.rewarded, enough=enough),
        facts=alignprop_cells.facts_of(enough),
        seen=seen,
    )


METHODS: dict[str, Method] = {
    PAPER: Method(about="Diffusion-KTO as in the paper: beta 5000", settings=(*KTO, "objective.beta=5000")),
    "sft": Method(about="fine-tuning on liked images", settings=("objective.name=sft",)),
    "csft": Method(about="fine-tuning on all images, with words", settings=("objective.name=csft", KTO[1])),
    "dpo": Method(about="Diffusion-DPO, beta 500", settings=DPO_SETTINGS),
    "bco": Method(about="BCO, beta 250", settings=("objective.name=bco", "objective.beta=250", KTO[1])),
    AUTO: Method(about="KTO, beta auto", settings=(*KTO, "objective.beta=auto")),
    "kto-60": Method(about="KTO, beta 60", settings=(*KTO, "objective.beta=60")),
    LEAD: Method(
        about="KTO, beta 250, timestep bias 3, liked share 0.5",
        settings=LEAD_SETTINGS,
    ),
    WINDOW: Method(
        about="the lead with beta 500, and dislikes in the upper half of the noise alone; chosen by the search, on "
        "other seeds, after the lead's rows were seen",
        settings=WINDOW_SETTINGS,
    ),
    AUTO_WINDOW: Method(
        about="lead-window with beta auto, gain scale 0.5; chosen by the search, on other seeds, after the rows of the "
        "lead and of lead-window were seen",
        settings=AUTO_WINDOW_SETTINGS,
    ),
    "kto-three-rounds": _in_rounds(
        "the lead's settings in three rounds of 64 labels, the later ones on images of the tuned model", LEAD_SETTINGS
    ),
    "dpo-pairs": _in_rounds(
        "Diffusion-DPO, beta 500, on 96 pairs that the person compared", DPO_SETTINGS, count=1, is_paired=True
    ),
    "dpo-three-rounds": _in_rounds(
        "online DPO, for D3PO: the same in three rounds of 32 pairs, the later ones of the tuned model",
        DPO_SETTINGS,
        is_paired=True,
    ),
    "kto-graded": Method(
        about="the lead's settings on one to five stars in place of labels, as grades; four and five are likes, so it "
        "has fewer likes than the lead",
        settings=LEAD_SETTINGS,
        rule=STARS,
        facts={"star_cuts": STAR_CUTS, "like_at": LIKE_AT},
    ),
    "kto-top-tenth": Method(
        about="the paper's settings, liked: the tenth of the pool with the highest log-odds, as in its Figure 7",
        settings=(*KTO, "objective.beta=5000"),
        rule="top tenth",
    ),
    "alignprop": _by_reward("AlignProp: the rater's network as a reward, through the last sampling step"),
    "alignprop-stopped": _by_reward(
        f"AlignProp, stopped where the held-out reward is {CLIP:g} on average, at which the person's log-odds of an "
        "image are cut off, or after 20 steps without a new best in place of 40; added after the first row of "
        "AlignProp was seen",
        enough=CLIP,
        seen=FIRST_SEED,
    ),
}


def method_cell(ground: str, name: str, seed: int, method: Method) -> GridCell:
    """Return the cell of a method on a seed of a ground."""
    rating = Rating(rule=method.rule, flipped=GROUNDS[ground].flipped)
    more: dict[str, Any] = {"columns": {"method": name}, "rating": rating, "facts": method.facts}
    return ground_cell(ground, name, seed, method.settings, **more)


def method_cells(order: Order, seeds: range, methods: dict[str, Method]) -> list[GridCell]:
    """Return the cells, seed by seed: the reference marks, and the chosen methods."""
    return [
        cell
        for seed in seeds
        for cell in (
            *mark_cells(order.ground, seed),
            *(method_cell(order.ground, name, seed, methods[name]) for name in order.chosen(methods)),
        )
    ]


def measure_of(methods: dict[str, Method]) -> Measure:
    """Return the function that measures a cell of a mark or of one of these methods."""

    def measure(lab: Grid, cell: GridCell) -> dict[str, object]:
        return methods[cell.name].measure(lab, cell) if cell.name in methods else measured(lab, cell)

    return measure
