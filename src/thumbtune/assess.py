"""Judge a run: duels on prompts and seeds that training never saw, scores, statistics, a verdict."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from thumbtune import build, run
from thumbtune.batches import Encoded, Progress
from thumbtune.cache import Cache
from thumbtune.config import Recipe
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.evaluation import verdict
from thumbtune.evaluation.duel import Duel, draw
from thumbtune.evaluation.statistics import compare
from thumbtune.evaluation.tastes import taste
from thumbtune.files import write_text

Scores = dict[str, dict[str, Any]]


def prompts_of(recipe: Recipe, folder: Path) -> list[str]:
    """The prompts of the recipe's file, or the held-out prompts of the run's likes.

    Raises:
        UsageError: the file is missing or empty, or nothing was held out.
    """
    file = recipe.evaluate.prompts
    if file is not None:
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"evaluate.prompts: {file} cannot be read as text; give a file with a prompt a line."
            ) from error
        found = list(dict.fromkeys(line for line in lines if line))
        if not found:
            raise UsageError(f"evaluate.prompts: {file} holds no prompts; write one a line.")
        return found
    from pyarrow import parquet

    rows = parquet.read_table(folder / "likes.parquet", columns=["prompt", "held_out"]).to_pylist()
    found = sorted({row["prompt"] for row in rows if row["held_out"]})
    if not found:
        raise UsageError("No prompts were held out of the likes; set evaluate.prompts to a file with a prompt a line.")
    return found


def assess(folder: Path, recipe: Recipe, progress: Progress) -> dict[str, Any]:
    """Draw, score, compare; write evaluation.json into the run and return it.

    Raises:
        ThumbtuneError: the run is not finished, or a picture could not be written.
    """
    from accelerate import Accelerator

    accelerator = Accelerator()
    model = run.trained_model(recipe, folder, accelerator.device)
    options = recipe.evaluate
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    duel = Duel(
        folder=folder / "evaluation",
        prompts=prompts_of(recipe, folder),
        seeds=list(seeds),
        sampler=build.sampler_of(recipe),
    )
    _forget_other_duels(duel, recipe)
    draw(duel, model, progress)
    scores = _scores(recipe, duel)
    comparisons = {name: compare(score["before"], score["after"]) for name, score in scores.items()}
    agreement = _agreement(recipe, folder, model, accelerator, progress)
    gates = _gates(scores, comparisons, agreement)
    result = {
        "before": recipe.model,
        "after": str(folder / "lora"),
        "sampler": {"steps": options.steps, "guidance": options.guidance},
        "prompts": list(duel.prompts),
        "seeds": list(duel.seeds),
        "scores": scores,
        "comparisons": {name: asdict(comparison) for name, comparison in comparisons.items()},
        "agreement": agreement,
        "gates": verdict.as_json(gates),
        "verdict": verdict.verdict(gates),
    }
    write_text(folder / "evaluation" / "evaluation.json", json.dumps(result, indent=1))
    return result


def _forget_other_duels(duel: Duel, recipe: Recipe) -> None:
    """Pictures drawn for other prompts or another sampler must not be taken for these."""
    mark = json.dumps({"prompts": list(duel.prompts), "sampler": asdict(duel.sampler), "model": recipe.model})
    file = duel.folder / "duel.json"
    if file.exists() and file.read_text() == mark:
        return
    for side in ("before", "after"):
        for picture in (duel.folder / side).glob("*.png"):
            picture.unlink()
    write_text(file, mark)


def _scores(recipe: Recipe, duel: Duel) -> Scores:
    """Every score of every picture, [prompts, seeds] for both sides."""
    sides = {side: duel.pictures(side) for side in ("before", "after")}
    shape = (len(duel.prompts), len(duel.seeds))
    asked = [prompt for prompt in duel.prompts for _ in duel.seeds]
    scores: Scores = {}
    if recipe.evaluate.taste is not None:
        person = taste(recipe.evaluate.taste)
        values = {side: np.reshape([person.score(im) for im in images], shape) for side, images in sides.items()}
        scores[person.name] = _entry("taste", person.sentence, values)
    if recipe.evaluate.judge:
        from thumbtune.evaluation import judge

        one = judge.Judge(build.BUNDLED / "judge")
        values = {side: one.score(images, asked).numpy().reshape(shape) for side, images in sides.items()}
        scores[judge.NAME] = _entry("faithfulness", judge.WHAT, values)
    return scores


def _entry(role: str, what: str, values: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "what": what, **{side: np.asarray(v, float).round(6).tolist() for side, v in values.items()}}


def _agreement(recipe: Recipe, folder: Path, model: Any, accelerator: Any, progress: Progress) -> dict[str, Any] | None:
    """How well the implied reward tells held-out likes from dislikes; None where there are not both."""
    from thumbtune.evaluation.agreement import agreement

    try:
        held_out = build.split_of(recipe).held_out
    except ThumbtuneError:
        return None  # the store has gone, as when a run was copied elsewhere: everything else can still be judged
    if not 0 < sum(held_out["label"]) < len(held_out):
        return None
    encoded = Encoded(held_out, model, Cache(folder.parent / "cache")).fill(progress)
    return agreement(model, encoded, accelerator, progress)


def _gates(scores: Scores, comparisons: dict[str, Any], agreement: dict[str, Any] | None) -> list[verdict.Gate]:
    make = {"taste": verdict.taste_gate, "faithfulness": verdict.faithfulness_gate}
    gates = [make[score["role"]](comparisons[name]) for name, score in scores.items()]
    if not any(score["role"] == "taste" for score in scores.values()) and agreement:
        gates.append(verdict.agreement_gate(agreement))
    return gates
