"""The runs that were trained on a store, as far as they lie where runs are usually made."""

from pathlib import Path
from typing import Any

from thumbtune.documents import DocumentFault, read_text
from thumbtune.feedback.store.database import is_address
from thumbtune.yaml_text import YamlFault, parse_yaml

RUNS = "runs"  # the folder of runs, here or beside the store


def runs_on(likes: str) -> list[Path]:
    """Return the folders of runs in `runs/`, here and beside the store, whose recipe names this store."""
    folders = [Path(RUNS)] if is_address(likes) else [Path(RUNS), Path(likes).parent / RUNS]
    runs = {file.parent.resolve(): file.parent for folder in folders for file in sorted(folder.glob("*/recipe.yaml"))}
    return [run for run in runs.values() if _is_same(_likes_in(run / "recipe.yaml"), likes)]


def _likes_in(file: Path) -> Any:
    """Return the store that a recipe names; None if it cannot be read."""
    try:
        recipe = parse_yaml(read_text(file))
    except (DocumentFault, YamlFault, OSError):
        return None
    return recipe.get("likes") if isinstance(recipe, dict) else None


def _is_same(named: Any, likes: str) -> bool:
    if not isinstance(named, str) or is_address(named) or is_address(likes):
        return named == likes
    return Path(named).resolve() == Path(likes).resolve()
