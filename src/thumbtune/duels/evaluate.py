"""Judge a run: duels on prompts and seeds that training never saw, scores, statistics, a verdict."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.evaluation import verdict
from thumbtune.evaluation.duel import Duel, draw
from thumbtune.evaluation.statistics import compare
from thumbtune.feedback.policies import ONE
from thumbtune.feedback.store.store import is_store
from thumbtune.files import file_sha256, write_text
from thumbtune.runs import build, run
from thumbtune.runs.recipe import Recipe
from thumbtune.training.batches import Encoded, Progress

Pair = tuple[str, str]  # what tells images apart: the image's id and its prompt
Scores = dict[str, dict[str, Any]]
Scorer = Callable[[list[Image], str], list[float]]


@dataclass(frozen=True)
class HeldOut:
    """Two tables of thumbs that training never saw: the policy's labels, of both kinds, and each rater's own votes."""

    labels: Any
    votes: Any


def prompts_of(recipe: Recipe, rows: list[dict[str, Any]]) -> list[str]:
    """The prompts of the recipe's file, or the held-out prompts of the run's likes: none that training saw.

    Raises:
        UsageError: the file is missing or empty or holds trained prompts, or the likes used the seeds.
    """
    sides = ({row["prompt"] for row in rows if row["held_out"] == held_out} for held_out in (False, True))
    found = build.judged_prompts(recipe, *sides)
    if not found:
        raise UsageError("No prompts were held out of the likes; set evaluate.prompts to a file with a prompt a line.")
    options = recipe.evaluate
    judged = range(options.first_seed, options.first_seed + len(found) * options.seeds)
    used = {row["seed"] for row in rows} & set(judged)
    if used:
        raise UsageError(f"evaluate.first_seed: the likes were drawn with seed {min(used)} too; choose another.")
    return found


def likes_of(folder: Path) -> list[dict[str, Any]]:
    """Image, prompt, seed and side of every thumb that the run knew."""
    from pyarrow import parquet

    try:
        return parquet.read_table(
            folder / "likes.parquet", columns=["image_id", "prompt", "seed", "held_out"]
        ).to_pylist()
    except (OSError, ValueError) as error:
        raise ThumbtuneError(f"{folder / 'likes.parquet'} cannot be read ({error}); train the run again.") from error


def assess(folder: Path, recipe: Recipe, progress: Progress) -> dict[str, Any]:
    """Draw, score, compare; write evaluation.json into the run and return it.

    Raises:
        ThumbtuneError: the run is not finished, there is nothing to judge it by, or an image could not be written.
    """
    build.taste_of(recipe)  # a name that nobody knows is refused before an earlier evaluation goes
    rows = likes_of(folder)
    prompts = prompts_of(recipe, rows)
    held_out, why_not = _held_out(recipe, folder, rows)
    accelerator = build.accelerator_of(recipe)
    model = run.trained_model(recipe, folder, accelerator.device)
    duel = Duel(
        folder=folder / "evaluation",
        prompts=prompts,
        per_prompt=recipe.evaluate.seeds,
        first_seed=recipe.evaluate.first_seed,
        sampler=build.sampler_of(recipe),
        mark=run.mark_of(folder),
    )
    _forget_other_duels(duel, recipe, folder)
    draw(duel, model, progress, build.at_once(recipe))
    scores, silent = _scores(recipe, duel)
    comparisons = {name: compare(score["before"], score["after"]) for name, score in scores.items()}
    agreement = None if held_out is None else _agreement(held_out, recipe, folder, model, accelerator, progress)
    gates = _gates(scores, comparisons, agreement, run.contrasts(folder))
    result = {
        "before": recipe.model,
        "after": build.result_of(recipe).parent.name,
        "mark": duel.mark,
        "sampler": {"steps": recipe.evaluate.steps, "guidance": recipe.evaluate.guidance},
        "options": recipe.evaluate.model_dump(mode="json"),
        "prompts": list(duel.prompts),
        "seeds": [list(duel.seeds(prompt)) for prompt in range(len(duel.prompts))],
        "scores": scores,
        "no_scores": silent,
        "comparisons": {name: asdict(comparison) for name, comparison in comparisons.items()},
        "likes": str(recipe.likes),
        "agreement": agreement,
        "no_agreement": why_not,
        "gates": verdict.as_json(gates),
        "verdict": verdict.verdict(gates),
    }
    write_text(folder / "evaluation" / "evaluation.json", json.dumps(result, indent=1))
    return result


def _forget_other_duels(duel: Duel, recipe: Recipe, folder: Path) -> None:
    """Neither images nor a verdict of other prompts, another sampler or another result may stand for these."""
    (duel.folder / "evaluation.json").unlink(missing_ok=True)
    made = {
        "prompts": list(duel.prompts),
        "seeds": [duel.first_seed, duel.per_prompt],
        "sampler": asdict(duel.sampler),
        "model": recipe.model,
        **({"mark": duel.mark} if duel.mark else {}),
    }
    result = build.result_of(recipe)
    mark = json.dumps(made | {result.parent.name: file_sha256(folder / result)})
    file = duel.folder / "duel.json"
    if file.exists() and file.read_text() == mark:
        return
    for side in ("before", "after"):
        for image in (duel.folder / side).glob("*.png"):
            image.unlink()
    write_text(file, mark)


def _scores(recipe: Recipe, duel: Duel) -> tuple[Scores, str | None]:
    """Every score of every image, [prompts, seeds] for both sides, one prompt's in memory at a time; or why none."""
    scorers = list(_scorers(recipe, duel.prompts))
    if not scorers:
        return {}, (
            "No score compares the images: evaluate.taste names none, and the bundled judge was not asked "
            "or does not know every prompt; look at them yourself."
        )
    scores: Scores = {}
    for name, role, what, score in scorers:
        rows = {
            side: [score(duel.images(side, p), prompt) for p, prompt in enumerate(duel.prompts)]
            for side in ("before", "after")
        }
        scores[name] = {"role": role, "what": what, **{side: np.round(r, 6).tolist() for side, r in rows.items()}}
    return scores, None


def _scorers(recipe: Recipe, prompts: Sequence[str]) -> Iterator[tuple[str, str, str, Scorer]]:
    """(name, role, what it means, how to score one prompt's images) of what the recipe asks for."""
    if (person := build.taste_of(recipe)) is not None:
        yield person.name, "taste", person.sentence, lambda images, prompt: [person.score(im) for im in images]
    if recipe.evaluate.judge is not False:
        from thumbtune.evaluation.scorers import judge

        one = judge.Judge(build.BUNDLED / "judge")
        ours = build.model_path(recipe.model) != recipe.model  # it knows nothing but emoji
        if recipe.evaluate.judge or (ours and all(one.knows(prompt) for prompt in prompts)):
            yield (
                judge.NAME,
                "faithfulness",
                judge.WHAT,
                lambda images, prompt: one.score(images, [prompt] * len(images)).tolist(),
            )


def _held_out(recipe: Recipe, folder: Path, rows: list[dict[str, Any]]) -> tuple[HeldOut | None, str | None]:
    """The thumbs that this run held out, or None and why none of them can be asked.

    Raises:
        ThumbtuneError: they cannot be read, and nothing else was asked to judge the run.
    """
    try:
        known = build.split_of(recipe).held_out
    except ThumbtuneError as error:  # as when a run was copied elsewhere: a taste can still be asked
        if recipe.evaluate.taste or recipe.evaluate.judge:
            return None, str(error)
        if is_store(recipe.likes):
            raise
        raise ThumbtuneError(
            f"Nothing can judge {folder} here: {recipe.likes} is no store of likes, and no taste is named; "
            "say where the likes are with --set likes=FOLDER, or name a taste with --set evaluate.taste=NAME."
        ) from error
    ours = {(row["image_id"], row["prompt"]) for row in rows if row["held_out"]}
    # an image may have been shown under two prompts, of which only one was held out
    trained = {row["image_id"] for row in rows if not row["held_out"]}
    pairs = _pairs(known)
    labels = known.select([i for i, pair in enumerate(pairs) if pair in ours and pair[0] not in trained])
    if ours and not len(labels):
        return (
            None,
            f"Of the {len(ours)} thumbs that this run held out, {recipe.likes} holds none that training never saw.",
        )
    if not 0 < sum(labels["label"]) < len(labels):
        return None, f"The {len(labels)} held-out thumbs are not of both kinds."
    later = set(pairs) - ours  # labelled today, and not when the run began
    return HeldOut(labels, _votes(recipe, labels, rows, later)), None


def _pairs(likes: Any) -> list[Pair]:
    """What tells the image of each row apart."""
    return list(zip(likes["image_id"], likes["prompt"], strict=True))


def _votes(recipe: Recipe, labels: Any, rows: list[dict[str, Any]], later: set[Pair]) -> Any:
    """Each rater's own thumbs on the images of the labels, and on held-out ones that their raters left without one.

    Where a policy gives no label because raters differ, those are the very images on which raters can be told apart.
    A policy of a single rater leaves without one what that rater did not see; those images are left out here too.

    Args:
        labels: those of the policy that the run held out.
        rows: what the run knew, as `likes_of` gives it; neither an image nor a prompt of the training is asked about.
        later: images that the run did not know and that have a label today.
    """
    if recipe.label_policy == build.PER_VOTE:
        return labels
    votes, asked = build.votes_of(recipe), set(_pairs(labels))
    images, prompts = ({row[column] for row in rows if not row["held_out"]} for column in ("image_id", "prompt"))
    of_one = recipe.label_policy.startswith(ONE)

    def wanted(pair: Pair) -> bool:
        apart = pair[0] in images or pair[1] in prompts or pair in later
        return pair in asked or not (of_one or apart)

    return votes.select([i for i, pair in enumerate(_pairs(votes)) if wanted(pair)])


def agreement_of(folder: Path, recipe: Recipe, progress: Progress) -> tuple[dict[str, Any] | None, str | None]:
    """How well the tuned model agrees with the run's held-out thumbs, or None and why it cannot be asked."""
    held_out, why_not = _held_out(recipe, folder, likes_of(folder))
    if held_out is None:
        return None, why_not
    accelerator = build.accelerator_of(recipe)
    model = run.trained_model(recipe, folder, accelerator.device)
    return _agreement(held_out, recipe, folder, model, accelerator, progress), None


def _agreement(
    held_out: HeldOut, recipe: Recipe, folder: Path, model: Any, accelerator: Any, progress: Progress
) -> dict[str, Any]:
    """How well the implicit reward tells held-out likes from dislikes; each image is asked about once."""
    from datasets import concatenate_datasets

    from thumbtune.evaluation.agreement import implicit_reward
    from thumbtune.evaluation.classifier import Thumbs, agreement

    thumbs = concatenate_datasets([held_out.labels, held_out.votes])
    first: dict[Pair, int] = {}
    for row, pair in enumerate(_pairs(thumbs)):
        first.setdefault(pair, row)
    place = {pair: number for number, pair in enumerate(first)}
    images = thumbs.select(list(first.values()))
    asked = build.asked_by(run.mark_of(folder), images)
    encoded = Encoded(asked, model, run.cache_of(folder)).fill(progress, build.at_once(recipe))
    reward = implicit_reward(model, encoded, accelerator, progress).numpy()

    def on_images(table: Any) -> Thumbs:
        numbers = np.array([place[pair] for pair in _pairs(table)], dtype=np.int64)
        return Thumbs(numbers, np.array(list(table["label"]), dtype=bool), list(table["rater"]))

    return agreement(reward, list(images["prompt"]), on_images(held_out.labels), on_images(held_out.votes))


def _gates(
    scores: Scores, comparisons: dict[str, Any], agreement: dict[str, Any] | None, contrasts: bool
) -> list[verdict.Gate]:
    make = {"taste": verdict.taste_gate, "faithfulness": verdict.faithfulness_gate}
    gates = [make[score["role"]](comparisons[name]) for name, score in scores.items()]
    if not any(score["role"] == "taste" for score in scores.values()) and agreement:
        gates.append(verdict.agreement_gate(agreement, contrasts))
    return gates
