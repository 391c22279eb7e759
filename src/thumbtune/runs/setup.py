"""Everything that a recipe decides about a training, made once: `setup = prepare(recipe)`."""

from dataclasses import dataclass
from pathlib import Path

from thumbtune.feedback.likes import Split
from thumbtune.models.stable_diffusion import StableDiffusion
from thumbtune.objective.beta import Beta
from thumbtune.objective.protocol import Objective
from thumbtune.objective.reference_point import ReferencePoint
from thumbtune.runs import build
from thumbtune.runs.checks import check_labels, likes_notes, settings_notes
from thumbtune.runs.recipe import Recipe
from thumbtune.training.batches import Batches, Encoded, Progress
from thumbtune.training.cache import Cache
from thumbtune.training.guards import Advice
from thumbtune.training.trainer import Settings


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The parts of one training. `beta` and `reference_point` change while it runs, so each training needs a new setup.

    split:     the likes to train on, and those held out
    prompts:   the prompts that the evaluation will use; training sees none of them
    prefix:    what goes before a prompt to ask the tuned model for good images; None: nothing
    contrasts: whether likes are set against dislikes, so that held-out likes should have the higher implicit reward
    result:    the file, in the run's folder, that holds what was tuned
    """

    recipe: Recipe
    objective: Objective
    beta: Beta
    reference_point: ReferencePoint
    settings: Settings
    split: Split
    prompts: list[str]
    prefix: str | None
    contrasts: bool
    advice: Advice
    result: Path

    def notes(self) -> list[str]:
        """Return what looks odd about the settings and the likes, a sentence each.

        Raises:
            ThumbtuneError: nothing can be learnt from the likes, or an image is gone.
        """
        return [*settings_notes(self.recipe), *likes_notes(self.split.train)]


def prepare(recipe: Recipe, *, keep: bool = True) -> Setup:
    """Make what a recipe describes, before any long work; `keep` as in `likes_of`.

    Raises:
        UsageError: the objective, the utility, the evaluation's prompts or its taste are wrong.
        ThumbtuneError: there are no likes, or too few of a kind.
    """
    objective = build.objective_of(recipe)
    split = build.split_of(recipe, keep=keep)
    prompts = build.check_judging(recipe, split)
    check_labels(recipe, objective, split.train)
    return Setup(
        recipe=recipe,
        objective=objective,
        beta=build.beta_of(recipe, objective),
        reference_point=build.reference_point_of(recipe),
        settings=build.settings_of(recipe),
        split=split,
        prompts=prompts,
        prefix=build.good_prefix_of(objective),
        contrasts=build.contrasts(objective),
        advice=build.advice_of(recipe),
        result=build.result_of(recipe),
    )


def batches_of(setup: Setup, model: StableDiffusion, cache: Cache, progress: Progress) -> Batches:
    """Return the batches of a training; encodes its images and prompts."""
    recipe, objective = setup.recipe, setup.objective
    return Batches(
        encoded=Encoded(setup.split.train, model, cache, build.prefixes_of(objective)).fill(
            progress, build.at_once(recipe)
        ),
        process=model.process,
        size=recipe.train.batch,
        liked_share=build.liked_share(recipe, objective),
        prompt_dropout=recipe.train.prompt_dropout,
        timestep_bias=recipe.train.timestep_bias,
        paired="pairs" in objective.needs,
        seed=recipe.seed,
    )
