"""May a run take the place of another model? A duel on prompts that the run never saw, and the recipe's gates.

verdict.json     the decision, a sentence for each gate      beside it the duel's own files: see `contest`
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from math import isnan
from pathlib import Path
from typing import Any

from PIL import Image

from thumbtune.duels import duel as contest
from thumbtune.duels import evaluate as assess
from thumbtune.duels.duel import A, B
from thumbtune.duels.gallery import Gallery, Order, gather
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.evaluation import gates
from thumbtune.evaluation.diversity import diversity
from thumbtune.evaluation.prompts import PromptSet
from thumbtune.evaluation.scorers import judge
from thumbtune.evaluation.scorers.lineup import id_of
from thumbtune.evaluation.scorers.published import Places
from thumbtune.evaluation.scorers.scoring import opened
from thumbtune.evaluation.verdict import Gate, agreement_gate
from thumbtune.evaluation.win_rates import CHANCE, units
from thumbtune.feedback.likes import alike
from thumbtune.files import write_text
from thumbtune.runs import build, run
from thumbtune.runs.recipe import Recipe
from thumbtune.training.batches import Progress

FOLDER, RESULT = "verdict", "verdict.json"
NOTHING = "none"  # as gates.faithful: the gate is left out


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked.

    against: a side, see `sides`
    prompts: None for those that the run held out
    limit: so many of them
    settings: what was changed of the run's recipe, as `option=value`
    """

    run: Path
    against: str | None = None
    prompts: PromptSet | None = None
    limit: int | None = None
    out: Path | None = None
    settings: Sequence[str] = ()
    places: Places = field(default_factory=Places)


def release(question: Question, recipe: Recipe, progress: Progress) -> dict[str, Any] | None:
    """Draw, score, ask every gate; write verdict.json and return what it holds.

    Args:
        recipe: the run's, with the gates to be asked.

    Returns:
        None in a process that has others to write for it.

    Raises:
        UsageError: the prompts were trained on, or a scorer or a side is unknown.
        ThumbtuneError: the run is not finished, or something cannot be loaded.
    """
    order = _order(question, recipe)
    gallery = gather(order, progress)
    if gallery is None:
        return None
    found = contest.written(gallery)  # takes an earlier verdict away: none of other gates may stand for this one
    asked = list(_gates(gallery, found["standings"], recipe))
    if not _tastes(recipe):
        asked.insert(0, _agreement(question, recipe, progress))
    result = {
        "run": found["b"],
        "against": found["a"],
        **gates.decision(asked),
        "gates": [asdict(gate) for gate in asked],
        "asked": recipe.gates.model_dump(mode="json"),
        "settings": list(question.settings),
    }
    write_text(order.out / RESULT, json.dumps(result, indent=1))
    return result


def _order(question: Question, recipe: Recipe) -> Order:
    """The duel that the gates need."""
    prompts = _prompts(question, recipe)
    safe = None if recipe.gates.safe == NOTHING else recipe.gates.safe
    scorers = [*_tastes(recipe), _faithful(recipe, prompts), safe]
    return Order(
        sides=dict(zip(contest.SIDES, (question.against or recipe.model, str(question.run)), strict=True)),
        prompts=prompts,
        out=question.out or question.run / FOLDER,
        scorers=tuple(dict.fromkeys(name for name in scorers if name)),
        per_prompt=recipe.evaluate.seeds,
        first_seed=recipe.evaluate.first_seed,
        sampler=build.sampler_of(recipe),
        base=recipe.model,
        places=question.places,
    )


def _prompts(question: Question, recipe: Recipe) -> PromptSet:
    """The prompts that were asked for, or those that the run held out.

    Raises:
        UsageError: the run was trained on some of them, or there are none.
    """
    rows = assess.likes_of(question.run)
    if question.prompts is None:
        held_out = PromptSet("held-out prompts", tuple(assess.prompts_of(recipe, rows)))
        return held_out.first(question.limit) if question.limit else held_out
    trained = {alike(row["prompt"]) for row in rows if not row["held_out"]}
    seen = [prompt for prompt in question.prompts.prompts if alike(prompt) in trained]
    if seen:
        raise UsageError(
            f"{question.prompts.name} holds {len(seen)} prompts of the training ({seen[0]!r}); take them out, or leave "
            "--prompts out, which asks those that the run held out."
        )
    return question.prompts.first(question.limit) if question.limit else question.prompts


def _tastes(recipe: Recipe) -> list[str]:
    return recipe.gates.taste or [name for name in [recipe.evaluate.taste] if name]


def _faithful(recipe: Recipe, prompts: PromptSet) -> str | None:
    """The scorer of faithfulness: the recipe's, or the bundled judge where it knows what is asked."""
    if recipe.gates.faithful:
        return None if recipe.gates.faithful == NOTHING else recipe.gates.faithful
    if build.model_path(recipe.model) == recipe.model:  # no bundled model
        return None
    one = judge.Judge(build.BUNDLED / "judge")
    return judge.NAME if all(one.knows(prompt) for prompt in prompts.prompts) else None


def _gates(gallery: Gallery, standings: Sequence[Mapping[str, Any]], recipe: Recipe) -> Iterator[Gate]:
    """Every gate that the images can answer."""
    order, asked = gallery.order, recipe.gates
    unit = units(order.prompts.prompts, order.prompts.styles)
    tastes = [id_of(name) for name in _tastes(recipe)]
    main = [row for row in standings if row["estimand"] == contest.MAIN and row["scorer"] in tastes]
    yield from (gates.gain(row) for row in main if row["style"] is None)
    faithful = _faithful(recipe, order.prompts)
    if faithful is not None:
        yield gates.faithfulness(id_of(faithful), *_tables(gallery, faithful), unit, asked.most_lost)
    elif asked.faithful != NOTHING:
        yield Gate("faithfulness", False, "Nobody scores faithfulness; set gates.faithful, as to clip-h14.", False)
    if (styles := gates.styles(main, asked.least_style)) is not None:
        yield styles
    yield gates.diversity(_diversity(gallery, A), _diversity(gallery, B), unit, asked.least_diversity)
    if asked.safe and asked.safe != NOTHING:
        tables = _tables(gallery, asked.safe)
        if any(value not in {0.0, 1.0} for table in tables for value in chain.from_iterable(table) if not isnan(value)):
            raise UsageError(f"gates.safe: {asked.safe} gives other numbers than 0 and 1; name one that gives these.")
        yield gates.safety(*tables, unit, asked.most_unsafe)
    for scorer in gallery.scores:
        if (gate := gates.blind(scorer.id, *(gallery.table(scorer.id, side) for side in (A, B)))) is not None:
            yield gate


def _tables(gallery: Gallery, scorer: str) -> tuple[list[list[float]], list[list[float]]]:
    return gallery.table(id_of(scorer), A), gallery.table(id_of(scorer), B)


def _diversity(gallery: Gallery, side: str) -> list[float]:
    """Of each prompt, by those of its images that can be read."""
    images: dict[int, list[Image.Image]] = {}
    for place in gallery.places:
        if place.side == side:
            seen = images.setdefault(place.prompt, [])
            with suppress(ThumbtuneError):
                seen.append(opened(place.image).convert("L"))
    return [diversity(one) for one in images.values()]


def _agreement(question: Question, recipe: Recipe, progress: Progress) -> Gate:
    """Where no scorer stands for the taste: held-out likes, which the tuned model prefers, or not, or too little."""
    if question.against not in {None, recipe.model}:
        return Gate("gain", False, "Held-out likes compare a run with its own base alone; set gates.taste.", False)
    agreement, why_not = assess.agreement_of(question.run, recipe, progress)
    if agreement is None:
        return Gate("gain", False, f"{why_not} Name scorers in gates.taste.", False)
    gate = agreement_gate(agreement, run.contrasts(question.run))
    known = gate.enough and (gate.passed or agreement["high"] < CHANCE)
    return replace(gate, name="gain on held-out likes", enough=known)
