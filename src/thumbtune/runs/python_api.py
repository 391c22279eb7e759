"""The Python interface: train from a recipe in any form, load a model by its name or its run."""

import sys
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from thumbtune.distributed import team
from thumbtune.errors import ThumbtuneError, ThumbtuneWarning, UsageError
from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline, type_for
from thumbtune.models.model_options import PLAIN, ModelOptions
from thumbtune.models.protocol import PipelineModel
from thumbtune.runs import build, run
from thumbtune.runs.given_feedback import in_python
from thumbtune.runs.recipe import Recipe, parse_recipe, read_recipe
from thumbtune.runs.tuning import tune
from thumbtune.training.progress import quiet
from thumbtune.training.step import Step

PACKAGE = Path(__file__).parents[1]
AnyRecipe = Recipe | str | Path | Mapping[str, Any] | Sequence[str]


def recipe_from(recipe: AnyRecipe) -> Recipe:
    """Return a recipe from its file, the name of a shipped one, a mapping of options, or `option=value` settings.

    Raises:
        UsageError: it is not a recipe.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, str | Path):
        return read_recipe(Path(recipe))
    if not isinstance(recipe, Mapping):
        return read_recipe(None, list(recipe))
    sections: dict[str, Any] = {}
    for name, value in recipe.items():
        *path, option = name.split(".")
        section = sections
        for part in path:
            section = section.setdefault(part, {})
        section[option] = {**section.get(option, {}), **value} if isinstance(value, Mapping) else value
    return parse_recipe(sections, "The recipe")


def with_warnings(steps: Generator[Step, None, None], folder: Path) -> Iterator[Step]:
    """Yield the steps, and warn of each note on a training that begins, as the command line prints them, once each.

    Warns:
        ThumbtuneWarning: a setting or the likes are unusual.
    """
    with in_words_of_python(), closing(steps):  # who stops iterating gets a checkpoint
        for step in steps:
            for note in run.notes_of(folder) if step.step == 1 and team().is_main_process else ():
                warnings.warn(in_python(note), ThumbtuneWarning, stacklevel=_level_outside())
            yield step


@contextmanager
def in_words_of_python() -> Iterator[None]:
    """Tell an error inside the `with` block without the options of the command line; its class and code stay.

    Raises:
        ThumbtuneError: the error inside.
    """
    try:
        yield
    except ThumbtuneError as error:
        error.args = (in_python(str(error)),)
        raise


def _level_outside() -> int:
    """Return the level, as `warnings.warn` counts for its caller, of the first line that is not in this package."""
    level, frame = 0, sys._getframe(1)
    while frame is not None and Path(frame.f_code.co_filename).is_relative_to(PACKAGE):
        level, frame = level + 1, frame.f_back
    return level + 1


def train(recipe: AnyRecipe, out: str | Path, resume: bool = False) -> Iterator[Step]:
    """Train by a recipe, and yield a Step after every weight update; write the result to `out` at the end.

    Iterate to train. Notes on settings and likes are warnings, of the category ThumbtuneWarning. If you stop iterating,
    a checkpoint of the last step is saved; `resume=True` continues from it.

    recipe: a Recipe, its file, the name of a shipped one, a mapping of options, or a list of `option=value` settings
    out:    the run's folder

    Raises:
        UsageError: it is not a recipe, or `out` holds another run.
        WentWrong: a guard stopped the training; the result has the weights of the best checkpoint.
        ThumbtuneError: bad likes, a full disk, or broken training; earlier checkpoints are intact.
    """
    return with_warnings(tune(recipe_from(recipe), Path(out), quiet, resume), Path(out))


def load(name: str | Path, device: Any = None, options: ModelOptions = PLAIN) -> PipelineModel:
    """Return a model that generates images: a run's result, or a base model by its bundled name, folder or hub id.

    If training put a prefix before the prompts of good images (csft), the model's `generate` adds it. It generates in
    the precision in which the run was trained, and a base model in that of its family's recipe.

    device:  the device of the model; None: the best one available
    options: of loading a base model, and how it reads prompts; a run has its own

    Raises:
        ThumbtuneError: the model cannot be loaded, or the run has not finished training.
    """
    folder, device = Path(name), team().device if device is None else device
    if (folder / "recipe.yaml").exists():
        if options != PLAIN:
            raise UsageError(
                f"The run {folder} loads its model and reads prompts as it was trained; leave out the options.",
                code="generate-run-options",
            )
        return run.trained_model(run.recipe_in(folder), folder, device)
    half = build.half_of(recipe_from({"model": str(name)}))
    model = adapter_of(load_pipeline(build.model_path(str(name)), type_for(half), options), half=half)
    model.read_prompts(options.encoding)
    return model.on(device)
