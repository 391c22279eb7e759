"""The objects of one training, made from its recipe once: `setup = prepare(recipe)`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from thumbtune.feedback.clips import Clips
from thumbtune.feedback.likes import Split, sizes_of
from thumbtune.models.buckets import Placement, Shape
from thumbtune.models.process import Process
from thumbtune.models.protocol import PipelineModel
from thumbtune.objective.beta import Beta
from thumbtune.objective.protocol import Objective
from thumbtune.objective.reference_point import ReferencePoint
from thumbtune.runs import build, objectives
from thumbtune.runs.checks import amount_notes, check_enough, check_labels, likes_notes, settings_notes
from thumbtune.runs.image_sizes import (
    check_sizes,
    clips_note,
    clips_of,
    placements_of,
    size_notes,
    sizes_to_encode,
    stills_note,
)
from thumbtune.runs.recipe import Recipe
from thumbtune.training import trackers
from thumbtune.training.batches import Batches
from thumbtune.training.cache import Cache
from thumbtune.training.encoded import Encoded
from thumbtune.training.guards import Advice
from thumbtune.training.trainer import Settings


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The parts of one training. `beta` and `reference_point` change while it runs, so each training needs a new setup.

    split:     the feedback to train on, and the held-out feedback
    prompts:   the prompts of the evaluation, which training does not see
    prefix:    the words before a prompt that ask the tuned model for good images; None: no words
    contrasts: whether likes are set against dislikes, so that held-out likes should have the higher implicit reward
    result:    the path of the tuned weights inside the run's folder
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

    @cached_property
    def image_sizes(self) -> list[Shape]:
        """The size of each image to train on, (height, width).

        Raises:
            ThumbtuneError: an image is missing.
        """
        return sizes_of(self.split.train)

    def placements(self, model: PipelineModel) -> list[Placement]:
        """Return how each image to train on is resized and cropped for a model."""
        return placements_of(self.recipe, model, self.image_sizes)

    def size_notes(self, model: PipelineModel) -> list[str]:
        """Return a sentence on images that are too small, on those that lose much by cropping, and on frames.

        Raises:
            ThumbtuneError: as `clips`.
        """
        clips = self.clips(model)
        note = stills_note(model, self.split.train) if self.recipe.frames == 1 else clips_note(clips)
        return [*size_notes(self.split.train, self.image_sizes, self.placements(model)), *([note] if note else [])]

    @cached_property
    def _counted(self) -> dict[int, Clips]:
        return {}

    def clips(self, model: PipelineModel) -> Clips:
        """Return the frames of each row to train on for a model; files are read once.

        Raises:
            ThumbtuneError: a file is missing or damaged.
        """
        rate = model.frame_rate
        if rate not in self._counted:
            self._counted[rate] = clips_of(self.recipe, model, self.split.train)
        return self._counted[rate]

    def notes(self) -> list[str]:
        """Return a sentence on each unusual setting or property of the likes.

        Raises:
            ThumbtuneError: nothing can be learnt from the likes, or an image is missing.
        """
        amounts = amount_notes(self.recipe, self.objective, self.split)
        return [*settings_notes(self.recipe), *amounts, *likes_notes(self.split.train, self.recipe.frames > 1)]


def prepare(recipe: Recipe, *, given: Objective | None = None, split_of: Callable[[], Split] | None = None) -> Setup:
    """Return the setup of a recipe, checked before any long work.

    given:    an objective in place of the recipe's
    split_of: gives the feedback in place of that of the recipe's store

    Raises:
        UsageError: the objective, the utility, or the evaluation's prompts or scorers cannot be used.
        ThumbtuneError: as `build.check_model`; there is no feedback, or too little of a kind; a library is missing.
    """
    build.check_model(recipe)
    check_sizes(recipe, build.model_path(recipe.model))
    build.check_library(recipe)
    trackers.check(recipe.train.report_to)
    objective = given or objectives.objective_of(recipe)
    split = split_of() if split_of else build.split_of(recipe)
    prompts = build.check_judging(recipe, split)
    check_enough(recipe, objective, split)
    check_labels(recipe, objective, split.train)
    return Setup(
        recipe=recipe,
        objective=objective,
        beta=objectives.beta_of(recipe, objective),
        reference_point=objectives.reference_point_of(recipe),
        settings=build.settings_of(recipe),
        split=split,
        prompts=prompts,
        prefix=objectives.good_prefix_of(objective),
        contrasts=objectives.contrasts(objective),
        advice=objectives.advice_of(recipe),
        result=build.result_of(recipe),
    )


def encoded_of(setup: Setup, model: PipelineModel, cache: Cache) -> Encoded:
    """Return the images and prompts of a training for a model, of which none is encoded yet."""
    return Encoded(
        setup.split.train,
        model,
        cache,
        objectives.prefixes_of(setup.objective),
        sizes=sizes_to_encode(model, setup.placements(model)),
        flips=setup.recipe.train.flip,
    ).taking(setup.clips(model))


def batches_from(encoded: Encoded, process: Process, recipe: Recipe, objective: Objective) -> Batches:
    """Return the batches of a recipe over encoded images."""
    low, high = recipe.train.disliked_timesteps
    return Batches(
        encoded=encoded,
        process=process,
        size=recipe.train.batch,
        liked_share=objectives.liked_share(recipe, objective),
        prompt_dropout=recipe.train.prompt_dropout,
        timestep_bias=recipe.train.timestep_bias,
        disliked_timesteps=(low, high),
        paired="pairs" in objective.needs,
        noise_draws=recipe.train.noise_draws,
        seed=recipe.seed,
    )
