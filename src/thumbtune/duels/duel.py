"""A duel of two sides: who wins how often, by each scorer, overall and by style.

The folder is a gallery of two sides, `a` and `b`, and what they come to:

result.json      who wins how often                result.csv .tex    the same as tables
result.md        the same for people
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thumbtune.duels import gallery
from thumbtune.duels.gallery import Gallery
from thumbtune.errors import UsageError, plural
from thumbtune.evaluation import tables
from thumbtune.evaluation.standings import Told, sentence, standings
from thumbtune.files import write_text
from thumbtune.training.batches import Progress

SIDES = A, B = ("a", "b")
SHOWN = 2  # last parts of a path
MAIN = "median"  # the estimand that is told in words: the paper's


def contest(
    order: gallery.Order, progress: Progress, tie: float = 0.0, paper_ci: bool = False
) -> dict[str, Any] | None:
    """Gather both sides' images and scores, count; write everything and return what result.json holds.

    Args:
        order: its sides are `a`, the one to beat, which is `before` in the tables, and `b`.
        tie: scores that differ by no more are a tie.
        paper_ci: whether the tables have the paper's own, too narrow interval beside ours.

    Returns:
        None in a process that has others to write for it.

    Raises:
        UsageError, ThumbtuneError: as `gallery.gather`.
    """
    if not order.scorers:
        raise UsageError("A duel needs a scorer; name some with --scorers, as `thumbtune scorers` lists them.")
    gathered = gallery.gather(order, progress)
    return None if gathered is None else written(gathered, tie, paper_ci)


def written(gathered: Gallery, tie: float = 0.0, paper_ci: bool = False) -> dict[str, Any]:
    """Count, and write it beside the images; a verdict on an earlier count goes."""
    (gathered.order.out / "verdict.json").unlink(missing_ok=True)
    result = result_of(gathered, tie, paper_ci)
    _write(gathered.order.out, gathered.order.prompts.name, result)
    return result


def result_of(gathered: Gallery, tie: float = 0.0, paper_ci: bool = False) -> dict[str, Any]:
    """What the scores of `a` and `b` come to."""
    order = gathered.order
    told = {one.id: Told(gathered.table(one.id, A), gathered.table(one.id, B)) for one in gathered.scores}
    rows = standings(told, order.prompts.prompts, order.prompts.styles, tie)
    names = names_of(order.sides)
    return {
        A: names[0],
        B: names[1],
        "prompts": len(order.prompts.prompts),
        "per_prompt": order.per_prompt,
        "tie": tie,
        "paper_ci": paper_ci,
        "asked": list(order.scorers),
        "places": {"local": order.places.local and str(order.places.local), "offline": order.places.offline},
        "scorers": [
            {
                "id": one.id,
                "revision": one.revision,
                "preprocessing": one.preprocessing,
                "failed": {gathered.file(gathered.places[i]): why for i, why in one.failed.items()},
            }
            for one in gathered.scores
        ],
        "standings": rows,
        "sentences": [sentence(row, *names) for row in rows if (row["style"], row["estimand"]) == (None, MAIN)],
    }


def names_of(sides: Mapping[str, str]) -> tuple[str, str]:
    """What people read: the end of each name, or the whole where these are the same."""
    said = [sides[name].rstrip("/") for name in SIDES]
    short = ["/".join(text.split("/")[-SHOWN:]) for text in said]
    if short[0] == short[1]:
        short = said if said[0] != said[1] else [f"{said[0]} (a)", f"{said[1]} (b)"]
    return short[0], short[1]


def _write(out: Path, prompts: str, result: Mapping[str, Any]) -> None:
    """The tables; result.json last: where it is, all is."""
    overall = [row for row in result["standings"] if row["style"] is None]
    write_text(out / "result.csv", tables.as_csv(result["standings"]))
    write_text(out / "result.tex", tables.latex(row for row in overall if row["estimand"] == MAIN))
    write_text(out / "result.md", "\n".join(_page(prompts, result)))
    write_text(out / "result.json", json.dumps(result, indent=1))


TITLES = {
    "median": "Medians of each prompt's images, as in the paper",
    "pairwise": "Pairs of images of the same prompt and seed",
}


def _page(prompts: str, result: Mapping[str, Any]) -> Iterator[str]:
    """result.md, line by line."""
    yield f"# {result['b']} against {result['a']}\n"
    yield f"{result['prompts']} prompts ({prompts}), {plural(result['per_prompt'], 'image')} each on both sides.\n"
    yield from (f"- {line}" for line in result["sentences"])
    for estimand, title in TITLES.items():
        yield f"\n## {title}\n"
        for style in dict.fromkeys(row["style"] for row in result["standings"]):
            rows = [row for row in result["standings"] if (row["style"], row["estimand"]) == (style, estimand)]
            if style is not None:
                yield f"### {style}\n"
            yield tables.markdown(rows, result["paper_ci"])
    yield (
        "Ties count half. The interval draws whole prompts, equal ones together, each style for itself; for medians "
        "the wider one of it and Wilson's with n = prompts. p: exact sign test over prompts, corrected for the number "
        "of scorers. `result.csv` has every number, and the interval as the paper computes it."
    )
    for one in result["scorers"]:
        if one["failed"]:
            first, why = next(iter(one["failed"].items()))
            yield f"\n{one['id']} has no score for {plural(len(one['failed']), 'image')}, the first {first}: {why}."
