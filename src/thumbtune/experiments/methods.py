"""The methods that are compared on a ground: a name, and a function that returns the row of a cell.

Most are settings of a recipe, trained as any user trains. Another kind of method gives its own `measure`, which gets
the lab and the cell and returns a row as `ground_cells.tuned` does.
"""

from dataclasses import dataclass
from functools import partial

from thumbtune.experiments.alignprop_cells import rewarded
from thumbtune.experiments.experiments import Order
from thumbtune.experiments.ground_cells import Measure, ground_cell, mark_cells, measured, tuned
from thumbtune.experiments.ground_labels import STARS
from thumbtune.experiments.grounds import GROUNDS
from thumbtune.experiments.noisy_rater import CLIP
from thumbtune.experiments.rounds_cells import in_rounds
from thumbtune.experiments.simulated_labels import Rating
from thumbtune.experiments.training_grid import Grid, GridCell

PAPER, LEAD, AUTO = "paper", "lead", "auto"
LEAD_SETTINGS = ("objective.name=kto", "objective.beta=250", "train.timestep_bias=3", "train.liked_share=0.5")
DPO_SETTINGS = ("objective.name=dpo", "objective.beta=500")
KTO = ("objective.name=kto", "train.liked_share=0.8")  # the paper's share; all is written out, as defaults may change


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method: what it is, how the pool is labelled, and how a cell is measured.

    settings: on top of the ground's budget
    rule:     how the person labels the pool, see `Rating`
    """

    about: str
    settings: tuple[str, ...] = ()
    measure: Measure = tuned
    rule: str = "person"


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
    "kto-three-rounds": Method(
        about="the lead's settings in three rounds of 64 labels, the later ones on images of the tuned model",
        settings=LEAD_SETTINGS,
        measure=in_rounds,
    ),
    "dpo-pairs": Method(
        about="Diffusion-DPO, beta 500, on 96 pairs that the person compared",
        settings=DPO_SETTINGS,
        measure=partial(in_rounds, count=1, is_paired=True),
    ),
    "dpo-three-rounds": Method(
        about="online DPO, for D3PO: the same in three rounds of 32 pairs, the later ones of the tuned model",
        settings=DPO_SETTINGS,
        measure=partial(in_rounds, is_paired=True),
    ),
    "kto-graded": Method(
        about="the lead's settings on one to five stars in place of labels, as grades",
        settings=LEAD_SETTINGS,
        rule=STARS,
    ),
    "kto-top-tenth": Method(
        about="the paper's settings, liked: the tenth of the pool with the highest log-odds, as in its Figure 7",
        settings=(*KTO, "objective.beta=5000"),
        rule="top tenth",
    ),
    "alignprop": Method(
        about="AlignProp: the rater's network as a reward, through the last sampling step",
        measure=rewarded,
    ),
    "alignprop-stopped": Method(
        about=f"AlignProp, stopped at a mean held-out reward of {CLIP:g}, beyond which the person tells no difference",
        measure=partial(rewarded, enough=CLIP),
    ),
}


def method_cell(ground: str, name: str, seed: int, method: Method) -> GridCell:
    """Return the cell of a method on a seed of a ground."""
    rating = Rating(rule=method.rule, flipped=GROUNDS[ground].flipped)
    return ground_cell(ground, name, seed, method.settings, columns={"method": name}, rating=rating)


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
