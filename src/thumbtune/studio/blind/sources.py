"""What can be tested blindly: the finished duels below the studio's root, which evaluations of runs are too."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.duel_folder import is_duel
from thumbtune.evaluation.human.duel_pairs import read_side_names
from thumbtune.feedback.store.store import is_store
from thumbtune.studio.folders import folder_id
from thumbtune.studio.site import Site

EVALUATION = "evaluation"  # in the folder of a run
MAX_DEPTH = 4  # folders below the root
MAX_FOLDERS = 5_000  # that are looked at


@dataclass(frozen=True)
class Source:
    """A finished duel. path: as commands name it; run: the run that it evaluates, or None."""

    id: str
    path: str
    run: str | None
    a: str
    b: str


def sources_of(site: Site) -> list[Source]:
    """Return the finished duels below the root, the last changed first."""
    if site.root is None:
        return []
    found = sorted(_duels(site.root), key=lambda folder: folder.stat().st_mtime, reverse=True)
    return [source for folder in found if (source := _source(site, site.root, folder)) is not None]


def _source(site: Site, root: Path, folder: Path) -> Source | None:
    try:
        a, b = read_side_names(folder)
    except ThumbtuneError:
        return None
    relative = folder.relative_to(root)
    is_of_run = folder.name == EVALUATION and (folder.parent / "recipe.yaml").is_file()
    run = folder.parent.name if is_of_run else None
    return Source(folder_id(site, folder), relative.as_posix(), run, a, b)


def _duels(root: Path) -> Iterator[Path]:
    """Yield the folders of finished duels, without following links."""
    looked = 0
    for where, names, _ in os.walk(root):
        folder = Path(where)
        looked += 1
        if looked > MAX_FOLDERS:
            return
        if is_duel(folder):
            yield folder
            names.clear()
        elif is_store(folder) or len(folder.relative_to(root).parts) >= MAX_DEPTH:
            names.clear()
        names[:] = sorted(name for name in names if not name.startswith("."))
