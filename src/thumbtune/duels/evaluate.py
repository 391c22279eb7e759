"""Evaluate a run: a duel of what it began as and the tuned model, on prompts and seeds that training never saw.

verdict.json     the decision, the sentence of every gate, and the agreement with held-out feedback; beside it stand the
                 files of the duel (see `duel` and `gallery`)
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from thumbtune.duels import duel, held_out, verdict
from thumbtune.duels.gallery import Gallery, GalleryPlan, gather
from thumbtune.duels.gallery_folder import at_work
from thumbtune.duels.held_out import FeedbackRow, HeldOut
from thumbtune.errors import UsageError, shown
from thumbtune.evaluation import gates
from thumbtune.evaluation.duel_folder import rewriting
from thumbtune.evaluation.gates import Gate
from thumbtune.evaluation.prompts import PromptSet
from thumbtune.evaluation.scorers.published_files import Locations
from thumbtune.files import write_text
from thumbtune.report.page import PAGE, write_page
from thumbtune.runs import build, run
from thumbtune.runs.card_files import write_card
from thumbtune.runs.recipe import Recipe, read_recipe
from thumbtune.training.progress import Progress, quiet

FOLDER, RESULT = "evaluation", "verdict.json"
PROMPTS = "evaluate.prompts"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is evaluated, against which model, on which prompts.

    run: a finished run.
    against: the side that the run may replace, see `sides`; None: what the run began as, its base or a LoRA on it.
    prompts: None: the recipe's file, or the prompts that the run held out.
    limit: the number of prompts, from the first on; None: all.
    out: the folder of the duel; None: `evaluation` in the run. An evaluation of another plan there is moved to
        `evaluation-before`, or `evaluation-before-2` ... if there is one.
    settings: what was changed of the run's recipe, as `option=value`.
    """

    run: Path
    against: str | None = None
    prompts: PromptSet | None = None
    limit: int | None = None
    out: Path | None = None
    settings: Sequence[str] = ()
    places: Locations = field(default_factory=Locations)

    @property
    def folder(self) -> Path:
        """The folder that the evaluation is written to."""
        return self.out or self.run / FOLDER


def evaluate_run(
    run_folder: Path | str, settings: Mapping[str, Any] | Sequence[str] = (), progress: Progress = quiet
) -> dict[str, Any] | None:
    """Evaluate a run against its base, with changed options if any, and write its page; return the verdict.

    Args:
        run_folder: a finished run.
        settings: options of `evaluate` and `gates`, as a mapping, {"evaluate.scorers": "red"}, or as `option=value`.
            In a mapping, evaluate.prompts may be a list of prompts too.
        progress: wraps images while they are generated and scored, as `bar(items, what)`.

    Returns:
        What verdict.json contains: `decision` (ship, do not ship, not enough evidence), its `sentence`, and the `gates`
        with `name`, `answer` and `sentence` each; `run`, `against`, `bars`, `settings`, `agreement` with held-out
        feedback or why there is none (`no_agreement`), `hardly_differ`, and `replaced`, where an earlier evaluation
        was moved. None on processes other than the main one.

    Raises:
        UsageError: an option that training depends on was changed, or a scorer or a prompt is off.
        ThumbtuneError: the run is not finished, or something cannot be loaded or written.
    """
    folder = Path(run_folder)
    prompts, words = _given(settings)
    answer = evaluate(Evaluation(run=folder, prompts=prompts, settings=words), recipe_of(folder, words), progress)
    if answer is not None:
        write_page(folder)
    return answer


def _given(settings: Mapping[str, Any] | Sequence[str]) -> tuple[PromptSet | None, list[str]]:
    """Return the prompts that are given as a list, if any, and the other settings as `option=value`.

    Raises:
        UsageError: the list of prompts is empty, or has other things.
    """
    if not isinstance(settings, Mapping):
        return None, list(settings)
    options = dict(settings)
    prompts = options.get(PROMPTS)
    if not isinstance(prompts, list | tuple):
        return None, [f"{name}={_text_of(value)}" for name, value in options.items()]
    del options[PROMPTS]
    if not prompts or not all(isinstance(prompt, str) and prompt.strip() for prompt in prompts):
        raise UsageError(
            f"{PROMPTS} is a list of prompts or the name of a file, not {shown(prompts)}; give texts.",
            code="evaluate-prompts-no-texts",
        )
    given = PromptSet("The list of prompts", tuple(prompts))
    return given, [f"{name}={_text_of(value)}" for name, value in options.items()]


def _text_of(value: Any) -> str:
    """Return a value as YAML reads it on one line; texts and paths as they are."""
    return str(value) if isinstance(value, str | Path) else json.dumps(value)


def recipe_of(folder: Path, settings: Sequence[str]) -> Recipe:
    """Return the recipe of a run with changed options of its evaluation.

    Raises:
        UsageError: the folder is no run, or an option that training depends on was changed.
    """
    trained = run.recipe_in(folder)
    # the run's own recipe has been read, so what is wrong now was given
    recipe = read_recipe(folder / "recipe.yaml", list(settings), "The evaluation")
    run.refuse_differences(trained, recipe, folder)
    return recipe


def evaluate(asked: Evaluation, recipe: Recipe, progress: Progress) -> dict[str, Any] | None:
    """Generate and score the images of both sides, ask every gate; write verdict.json and return what it holds.

    The model card of the run gets the result too, unless `out` is another folder.

    Args:
        recipe: the run's, with the scorers and gates to ask.

    Returns:
        What verdict.json contains, and under `replaced` where an earlier evaluation was moved; None on processes other
        than the main one.

    Raises:
        UsageError: the prompts were trained on, or a scorer or a side is unknown.
        ThumbtuneError: the run is not finished, or something cannot be loaded or written.
    """
    rows = held_out.feedback_of(asked.run)
    plan = _plan(asked, recipe, rows)
    feedback, why_not = _held_out(asked, recipe, rows)  # before anything is generated: it may be refused
    accelerator = build.accelerator_of(recipe)  # so may the precision
    measured = None
    if feedback is not None:
        measured = partial(held_out.agreement_of, feedback, recipe, asked.run, accelerator, progress)
    with at_work(plan.out):
        gallery = gather(plan, progress)
        if gallery is None:
            return None
        return _judged(asked, recipe, gallery, why_not, measured)


def _judged(
    asked: Evaluation,
    recipe: Recipe,
    gallery: Gallery,
    why_not: str | None,
    measured: Callable[[], dict[str, Any]] | None,
) -> dict[str, Any]:
    """Ask every gate of a gallery; write verdict.json and return what it holds.

    `measured` returns the agreement with held-out feedback; None if there is none, and `why_not` tells why.
    """
    result = duel.write_result(gallery)  # deletes an earlier verdict, which other gates may have given
    agreement = None if measured is None else measured()
    answers = [*_gain(agreement, why_not, asked, recipe), *verdict.gates_of(gallery, result["standings"], recipe)]
    found = {
        "run": result["b"],
        "against": result["a"],
        **gates.verdict(answers),
        "gates": [asdict(gate) for gate in answers],
        "bars": recipe.gates.model_dump(mode="json"),
        "settings": list(asked.settings),
        "agreement": agreement,
        "no_agreement": why_not,
        "hardly_differ": result["hardly_differ"],
    }
    out = gallery.plan.out
    if asked.out is None:
        (asked.run / PAGE).unlink(missing_ok=True)  # it shows the verdict before this one
    with rewriting(out, RESULT):
        write_text(out / RESULT, json.dumps(found, indent=1), durable=True)
    if asked.out is None:
        write_card(asked.run)
    return {**found, "replaced": gallery.replaced and str(gallery.replaced)}


def _plan(asked: Evaluation, recipe: Recipe, rows: Sequence[FeedbackRow]) -> GalleryPlan:
    """Return the duel that the gates need."""
    prompts, against = _prompts(asked, recipe, rows), asked.against or run.baseline(recipe, asked.run)
    return GalleryPlan(
        sides=dict(zip(duel.SIDES, (against, str(asked.run)), strict=True)),
        prompts=prompts,
        out=asked.folder,
        scorers=tuple(verdict.scorers_of(recipe, prompts)),
        per_prompt=recipe.evaluate.per_prompt,
        first_seed=recipe.evaluate.first_seed,
        sampler=build.sampler_of(recipe),
        base=recipe.model,
        precision=build.precision_of(recipe),
        options=build.options_of(recipe),
        given=(),  # the options are the recipe's, and count for no run beside it
        replace=asked.out is None,  # a run has one evaluation: the newest, of its present weights
        places=asked.places,
    )


def _prompts(asked: Evaluation, recipe: Recipe, rows: Sequence[FeedbackRow]) -> PromptSet:
    """Return the prompts that were asked for, or those of the recipe.

    Raises:
        UsageError: the run was trained on some of them, or there are none.
    """
    prompts = asked.prompts
    if prompts is None:
        name = str(recipe.evaluate.prompts or "held-out prompts")
        prompts = PromptSet(name, tuple(held_out.prompts_of(recipe, rows)))
    else:
        trained = {row["prompt"] for row in rows if not row["held_out"]}
        if seen := build.trained_among(recipe, trained, prompts.prompts):
            raise UsageError(
                f"{prompts.name} contains {len(seen)} training prompts ({seen[0]!r}); remove them, or give no "
                "prompts, which takes the held-out prompts of the run.",
                code="evaluate-trained-prompts",
            )
    return prompts.first(asked.limit) if asked.limit else prompts


def _held_out(asked: Evaluation, recipe: Recipe, rows: Sequence[FeedbackRow]) -> tuple[HeldOut | None, str | None]:
    """Return the held-out feedback, or None and why it is not used."""
    if asked.against not in {None, recipe.lora.start or recipe.model, run.baseline(recipe, asked.run)}:
        own = "its own base" if recipe.lora.start is None else "the LoRA that it began from"
        return None, f"Held-out feedback compares a run with {own} alone."
    return held_out.held_out_of(asked.run, recipe, rows)


def _gain(agreement: Mapping[str, Any] | None, why_not: str | None, asked: Evaluation, recipe: Recipe) -> list[Gate]:
    """Return the gate of held-out feedback, where no scorer measures the gain."""
    if recipe.evaluate.scorers:
        return []
    if agreement is None:
        return [Gate("gain", "open", f"{why_not} Name scorers in evaluate.scorers.")]
    return [gates.agreement(agreement, run.contrasts(asked.run))]
