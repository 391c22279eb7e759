"""Read the contents of a run's folder. Only the recipe must exist; other files may come later."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.training.step import with_new_names


@dataclass(frozen=True)
class RunFolder:
    """The contents of a run's folder, as written; None or empty for a missing file."""

    folder: Path
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    likes: Mapping[str, Any] | None
    steps: list[dict[str, Any]]
    stopped: Mapping[str, Any] | None


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
        recipe=_mapping(recipe, _parsed(recipe, yaml.safe_load)),
        environment=_optional(folder / "environment.json") or {},
        likes=_optional(folder / "likes.json"),
        steps=_steps(folder / "steps.jsonl"),
        stopped=_optional(folder / "stopped.json"),
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


def _optional(path: Path) -> Mapping[str, Any] | None:
    """Return the JSON object in `path`, or None if the file does not exist."""
    return _mapping(path, _parsed(path, json.loads)) if path.is_file() else None


def _steps(path: Path) -> list[dict[str, Any]]:
    """Return one dictionary for each line, without a last line that a crash cut short."""
    if not path.is_file():
        return []
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    steps = []
    for number, line in enumerate(lines, start=1):
        try:
            steps.append(with_new_names(_mapping(path, json.loads(line))))
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise ThumbtuneError(
                f"{path}, line {number}, is not JSON; correct or remove that line.", code="run-file-unreadable"
            ) from error
    return steps


def _parsed(path: Path, parse: Any) -> Any:
    """Return the parsed text of a file; raise a ThumbtuneError if it cannot be read or parsed."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ThumbtuneError(
            f"{path} cannot be read; restore it, or run the command that wrote it.", code="run-file-unreadable"
        ) from error


def _mapping(path: Path, value: Any) -> Mapping[str, Any]:
    """Return `value` if it is a mapping; else raise a ThumbtuneError."""
    if not isinstance(value, Mapping):
        raise ThumbtuneError(
            f"{path} does not contain a JSON object; run the command that wrote it again.", code="run-file-unreadable"
        )
    return value
