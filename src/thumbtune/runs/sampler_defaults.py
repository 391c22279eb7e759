"""How to generate images with a model where nobody says it: as its family is used, or as the bundled model is."""

from collections.abc import Iterable
from pathlib import Path

from thumbtune.models.protocol import Sampler
from thumbtune.runs.build import Precision, precision_of
from thumbtune.runs.family_defaults import family_of, sampling_defaults
from thumbtune.runs.recipe import Recipe, parse_recipe
from thumbtune.runs.recipe_sections import EvaluateSection
from thumbtune.runs.run import recipe_in


def sampler_for(
    names: Iterable[str | Path | None], steps: int | None = None, guidance: float | None = None, negative: str = ""
) -> Sampler:
    """Return the options of generating, with the defaults of the first name whose family is known.

    Args:
        names: models, runs, LoRAs or folders of images; None: a name that was not given.
        negative: what images should not show.
    """
    usual = EvaluateSection()
    chosen = next(filter(None, (sampling_defaults(_model_of(name)) for name in names if name)), {})
    values = {name.partition(".")[2]: default.value for name, default in chosen.items()}
    return Sampler(
        steps=values.get("steps", usual.steps) if steps is None else steps,
        guidance=values.get("guidance", usual.guidance) if guidance is None else guidance,
        negative=negative,
    )


def precision_for(names: Iterable[str | Path | None]) -> Precision:
    """Return the precision of generating with several models: that of the first run, else of the first model.

    Args:
        names: models, runs, LoRAs or folders of images; None: a name that was not given.
    """
    recipes = [(recipe_of(name), name) for name in names if name]
    trained = [recipe for recipe, _ in recipes if recipe is not None]
    first = trained or [parse_recipe({"model": str(name)}, str(name)) for _, name in recipes if family_of(str(name))]
    return precision_of(first[0]) if first else "no"


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
