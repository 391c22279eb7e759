"""How to generate images with a model where nobody says it: as its family is used, or as the bundled model is."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from thumbtune.errors import UsageError, shown
from thumbtune.models.pipeline_files import longest_of, units_of
from thumbtune.models.protocol import Sampler, Size
from thumbtune.models.sizes import check_longest
from thumbtune.runs import build
from thumbtune.runs.evaluation_sections import EvaluateSection
from thumbtune.runs.family_defaults import family_of, sampling_defaults
from thumbtune.runs.recipe import Recipe, parse_recipe
from thumbtune.runs.run import recipe_in
from thumbtune.runs.values import height_and_width_of, image_size
from thumbtune.sides import check_size


def sampler_for(
    names: Iterable[str | Path | None],
    steps: int | None = None,
    guidance: float | None = None,
    negative: str = "",
    size: str | None = None,
    frames: int | None = None,
) -> Sampler:
    """Return the options of generating, with the defaults of the first name whose family is known.

    Args:
        names: models, runs, LoRAs or folders of images; None: a name that was not given.
        negative: what images should not show.
        size: pixels, as 768 or 768x512 (width x height); None: the model's own.
        frames: of a clip; None: as the first run was trained, and 1 without a run.

    Raises:
        UsageError: the size cannot be read, or a model cannot have it.
    """
    names = list(names)
    usual = EvaluateSection()
    models = [_model_of(name) for name in names if name]
    chosen = next(filter(None, map(sampling_defaults, models)), {})
    values = {name.partition(".")[2]: default.value for name, default in chosen.items()}
    return Sampler(
        steps=values.get("steps", usual.steps) if steps is None else steps,
        guidance=values.get("guidance", usual.guidance) if guidance is None else guidance,
        size=_size_of(size, models),
        negative=negative,
        frames=_frames_of(names) if frames is None else frames,
    )


def _frames_of(names: Iterable[str | Path | None]) -> int:
    """Return the frames with which the first run among names was trained; 1 without a run."""
    recipes = (recipe_of(name) for name in names if name)
    return next((recipe.frames for recipe in recipes if recipe is not None), 1)


def _size_of(size: str | None, models: Sequence[str]) -> Size | None:
    """Return a size as models take it, checked against those whose settings are on this machine."""
    if size is None:
        return None
    try:
        pixels = height_and_width_of(image_size(size))
    except ValueError as error:
        raise UsageError(f"--size {shown(size)} {error}.", code="size-unreadable") from error
    for model in models:
        units = units_of(build.model_path(model))
        if units is not None and pixels is not None:
            check_size(pixels, units[1], "--size")
            check_longest(pixels, longest_of(build.model_path(model)), "--size")
    return pixels


def precision_for(names: Iterable[str | Path | None]) -> build.Precision:
    """Return the precision of generating with several models: that of the first run, else of the first model.

    Args:
        names: models, runs, LoRAs or folders of images; None: a name that was not given.
    """
    recipes = [(recipe_of(name), name) for name in names if name]
    trained = [recipe for recipe, _ in recipes if recipe is not None]
    first = trained or [parse_recipe({"model": str(name)}, str(name)) for _, name in recipes if family_of(str(name))]
    return build.precision_of(first[0]) if first else "no"


def _model_of(name: str | Path) -> str:
    """Return the base model of a run, or of its checkpoint or LoRA; any other name unchanged."""
    recipe = recipe_of(name)
    return str(name) if recipe is None else recipe.model


def recipe_of(name: str | Path) -> Recipe | None:
    """Return the recipe of a run, or of the run that a checkpoint or a LoRA belongs to; None for any other name.

    A recipe in the current folder is no run, though it lies above a hub id, read as a path.
    """
    folder = Path(name)
    runs = [above for above in folder.parents[:2] if (above / "checkpoints").is_dir()]
    for place in (folder, *runs):
        if (place / "recipe.yaml").is_file():
            return recipe_in(place)
    return None
