"""A duel of two sides: how often the second wins, by each scorer, over all prompts and by style.

The folder is a gallery of the sides `a` and `b` (see `gallery`), with the result beside the images:

result.json      every win-rate                      result.csv .tex    the same as tables
result.md        the same for people
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thumbtune.duels import gallery
from thumbtune.duels.gallery import Gallery, GalleryPlan
from thumbtune.duels.gallery_folder import at_work
from thumbtune.errors import UsageError, plural
from thumbtune.evaluation import tables
from thumbtune.evaluation.duel_folder import RESULT, VERDICT, rewriting
from thumbtune.evaluation.likeness import median_change, sentence_of
from thumbtune.evaluation.scorers.scoring import PromptedImage
from thumbtune.evaluation.standings import ScorePair, sentence, standings
from thumbtune.files import write_text
from thumbtune.training.progress import Progress

SIDES = A, B = ("a", "b")
SHOWN_PATH_PARTS = 2
MAIN = "median"  # the estimand of the sentences and of the gates: the paper's


def run_duel(
    plan: GalleryPlan, progress: Progress, tie: float = 0.0, paper_ci: bool = False, is_for_people: bool = False
) -> dict[str, Any] | None:
    """Generate and score the images of both sides, count, write everything; return what result.json holds.

    Args:
        plan: its sides are `a`, the side to beat, which the tables call `before`, and `b`.
        tie: scores that differ by no more than this are a tie.
        paper_ci: whether the tables show the interval as the paper computes it, which is too narrow.
        is_for_people: whether no scorer is needed, as for a human test.

    Returns:
        None on processes other than the main one.

    Raises:
        UsageError, ThumbtuneError: as `gallery.gather`; the plan has no scorer, or another process works on this duel.
    """
    if not plan.scorers and not is_for_people:
        raise UsageError(
            "A duel needs at least one scorer; name it with --scorers (`thumbtune scorers` lists all).",
            code="duel-no-scorer",
        )
    with at_work(plan.out):
        gathered = gallery.gather(plan, progress)
        return None if gathered is None else write_result(gathered, tie, paper_ci)


def write_result(gathered: Gallery, tie: float = 0.0, paper_ci: bool = False) -> dict[str, Any]:
    """Write the result beside the images and return it. A verdict on an earlier result is deleted."""
    (gathered.plan.out / VERDICT).unlink(missing_ok=True)
    result = result_of(gathered, tie, paper_ci)
    _write(gathered.plan.out, gathered.plan.prompts.name, result)
    return result


def result_of(gathered: Gallery, tie: float = 0.0, paper_ci: bool = False) -> dict[str, Any]:
    """Return the win-rates of `b` over `a`, with everything that they depend on."""
    plan = gathered.plan
    scores = {each.id: ScorePair(gathered.table(each.id, A), gathered.table(each.id, B)) for each in gathered.scores}
    rows = standings(scores, plan.prompts.prompts, plan.prompts.styles, tie)
    names = names_of(plan.sides)
    return {
        A: names[0],
        B: names[1],
        "prompts": len(plan.prompts.prompts),
        "per_prompt": plan.per_prompt,
        "tie": tie,
        "paper_ci": paper_ci,
        "scorer_names": list(plan.scorers),
        "places": {"local": plan.places.local and str(plan.places.local), "offline": plan.places.offline},
        "scorers": [
            {
                "id": each.id,
                "revision": each.revision,
                "preprocessing": each.preprocessing,
                "failed": {gathered.name(gathered.images[i]): why for i, why in each.failed.items()},
            }
            for each in gathered.scores
        ],
        "notes": list(gathered.notes),
        "hardly_differ": sentence_of(median_change(_pairs(gathered)), *names),
        "standings": rows,
        "sentences": [sentence(row, *names) for row in rows if (row["style"], row["estimand"]) == (None, MAIN)],
    }


def _pairs(gathered: Gallery) -> list[tuple[PromptedImage, PromptedImage]]:
    """Return the images of both sides by prompt and seed."""
    images = {(image.side, image.prompt, image.seed): image.file for image in gathered.images}
    return [(file, images[B, prompt, seed]) for (side, prompt, seed), file in images.items() if side == A]


def names_of(sides: Mapping[str, str]) -> tuple[str, str]:
    """Return the names that people read: the end of each path, or the whole path where the ends are the same."""
    names = [sides[name].rstrip("/") for name in SIDES]
    short = ["/".join(name.split("/")[-SHOWN_PATH_PARTS:]) for name in names]
    if short[0] == short[1]:
        short = names if names[0] != names[1] else [f"{names[0]} (a)", f"{names[1]} (b)"]
    return short[0], short[1]


def _write(out: Path, prompts: str, result: Mapping[str, Any]) -> None:
    """Write the tables, and result.json last: where it is, everything is."""
    overall = [row for row in result["standings"] if row["style"] is None]
    with rewriting(out, "result.csv", "result.tex", "result.md", RESULT):
        write_text(out / "result.csv", tables.as_csv(result["standings"]))
        write_text(out / "result.tex", tables.latex(row for row in overall if row["estimand"] == MAIN))
        write_text(out / "result.md", "\n".join(_page(prompts, result)))
        write_text(out / RESULT, json.dumps(result, indent=1), durable=True)


TITLES = {
    "median": "Medians of the images of each prompt, as in the paper",
    "pairwise": "Pairs of images of the same prompt and seed",
}


def _notes(result: Mapping[str, Any]) -> list[str]:
    """Return what people must know of the images, and that they hardly differ if so."""
    return [*result["notes"], *([result["hardly_differ"]] if result["hardly_differ"] else [])]


def _page(prompts: str, result: Mapping[str, Any]) -> Iterator[str]:
    """Yield result.md line by line."""
    yield f"# {result['b']} against {result['a']}\n"
    yield f"{result['prompts']} prompts ({prompts}), {plural(result['per_prompt'], 'image')} of each by each model.\n"
    yield from (f"- {line}" for line in (*result["sentences"], *_notes(result)))
    for estimand, title in TITLES.items():
        yield f"\n## {title}\n"
        for style in dict.fromkeys(row["style"] for row in result["standings"]):
            rows = [row for row in result["standings"] if (row["style"], row["estimand"]) == (style, estimand)]
            if style is not None:
                yield f"### {style}\n"
            yield tables.markdown(rows, result["paper_ci"])
    yield (
        "Ties count half. The interval resamples whole prompts within each style, equal prompts together; for "
        "medians it is the wider one of this bootstrap and Wilson's interval with n = prompts. p: exact sign test over "
        "prompts, corrected for the number of scorers. `result.csv` has every number, and the interval as the paper "
        "computes it."
    )
    for scorer in result["scorers"]:
        if scorer["failed"]:
            first, why = next(iter(scorer["failed"].items()))
            count = plural(len(scorer["failed"]), "image")
            yield f"\n{scorer['id']} has no score for {count}; the first is {first}: {why}."
