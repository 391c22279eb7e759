"""Read the contents of a run's folder. Only the recipe must exist; other files may come later."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune.documents import read_text
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.training import records
from thumbtune.yaml_text import parse_yaml


@dataclass(frozen=True)
class RunFolder:
    """The contents of a run's folder, as written; None or empty for a missing file."""

    folder: Path
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    likes: Mapping[str, Any] | None
    steps: list[dict[str, Any]]
    stopped: Mapping[str, Any] | None
    base: Mapping[str, Any] | None


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run: whether it contains a recipe."""
    return (folder / "recipe.yaml").is_file()


def read_run(folder: Path) -> RunFolder:
    """Read the text files of a run; images are read when they are shown.

    Raises:
        ThumbtuneError: the folder or its recipe is missing, or a file cannot be understood.
    """
    recipe = folder / "recipe.yaml"
    if not recipe.is_file():
        raise UsageError(
            f"{folder} has no recipe.yaml, so it is not a run; give the folder that `thumbtune train` wrote.",
            code="run-missing",
        )
    return RunFolder(
        folder=folder,
        recipe=_recipe(recipe),
        environment=records.read_environment(folder),
        likes=records.read_story(folder),
        steps=records.read_step_rows(folder),
        stopped=records.read_stop(folder),
        base=records.read_base(folder),
    )


def flat(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as rows of (dotted name, text), in their own order."""
    rows: list[tuple[str, str]] = []
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            rows += flat(value, f"{name}.")
        else:
            rows.append((name, _text(value)))
    return rows


def _text(value: Any) -> str:
    """Return a setting as a person would write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or "none"
    return str(value)


def _recipe(path: Path) -> Mapping[str, Any]:
    """Return the options of a recipe as they are written."""
    try:
        options = parse_yaml(read_text(path))
        if not isinstance(options, Mapping):
            raise ValueError("it has no lines of `option: value`")
    except ValueError as error:
        raise ThumbtuneError(
            f"{path} cannot be read ({error}); restore it, or train the run again.", code="run-file-unreadable"
        ) from error
    return options
