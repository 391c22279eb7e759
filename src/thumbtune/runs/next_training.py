"""The training of the next round: the recipe of the run before, which begins from its LoRA, with the reference stated.

Nothing here loads torch: the studio asks too.
"""

import json
import shlex
from itertools import count
from pathlib import Path
from typing import Literal

from thumbtune.errors import UsageError
from thumbtune.runs.recipe import Recipe, read_recipe
from thumbtune.runs.recipe_sections import LoraSection


def folder_after(folder: Path) -> Path:
    """Return a name for the run after this one, which no folder has.

    >>> folder_after(Path("runs/none-such"))
    PosixPath('runs/none-such-2')
    """
    stem, _, number = folder.name.rpartition("-")
    stem, first = (stem, int(number) + 1) if stem and number.isdecimal() else (folder.name, 2)
    return next(path for n in count(first) if not (path := folder.with_name(f"{stem}-{n}")).exists())


def next_settings(recipe: Recipe, folder: Path, reference: Literal["last", "base"] = "last") -> dict[str, str]:
    """Return the settings that differ from a run's recipe in the training after it; a start gives rank and layers.

    Raises:
        UsageError: the run trained all weights, so there is no LoRA to begin from.
    """
    if recipe.train.weights != "lora":
        raise UsageError(
            f"{folder} trained all weights; merge it with `thumbtune merge {folder} FOLDER`, and train that model.",
            code="round-no-lora",
        )
    given = {"lora.start": str(folder), "lora.reference": reference}
    for name, field in LoraSection.model_fields.items():
        if f"lora.{name}" not in given and getattr(recipe.lora, name) != field.default:
            given[f"lora.{name}"] = json.dumps(field.default) if field.default is not None else "null"
    return given


def next_command(folder: Path) -> str:
    """Return the command that trains the round after a run, on the labels that its store has then."""
    settings = next_settings(read_recipe(folder / "recipe.yaml", []), folder)
    words = ["train", str(folder / "recipe.yaml"), "--out", str(folder_after(folder))]
    words += ["--start", settings.pop("lora.start"), "--reference", settings.pop("lora.reference")]
    return shlex.join(["thumbtune", *words, *(f"--set={name}={value}" for name, value in settings.items())])
