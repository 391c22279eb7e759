"""The recipes of kept rows, read again: an option that a row does not name is newer than the row."""

import warnings
from collections.abc import Mapping
from typing import Any

from thumbtune.errors import UsageError
from thumbtune.runs.recipe import parse_recipe
from thumbtune.runs.renamed import RenamedOption

# newer options whose default is not what was done before there was one
BEFORE = {"objective": {"gain_scale": 1.0}, "train": {"disliked_timesteps": [0.0, 1.0]}}


def whole_recipe(recipe: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return all options of a row's recipe, as they were when it was trained; None if it cannot be read any more.

    name: of the recipe, in errors
    """
    sections = {
        section: {**BEFORE[section], **options} if section in BEFORE and isinstance(options, Mapping) else options
        for section, options in recipe.items()
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RenamedOption)  # rows keep the names of their time
            return parse_recipe(sections, name).model_dump(mode="json")
    except UsageError:
        return None
