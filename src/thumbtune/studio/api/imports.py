"""Import a folder below the root, as `thumbtune import` does, first as a dry run.

The readers of formats are loaded with the first import, so that the studio starts at once.
"""

from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.rehearsal import needs_copy, rehearsed
from thumbtune.feedback.store.database import name_of
from thumbtune.feedback.store.store import Store
from thumbtune.studio.folders import described, folder_with, folders_in
from thumbtune.studio.people import Owner, Studio
from thumbtune.studio.site import Site

router = APIRouter(tags=["import"])
MAX_LISTED = 50
Labels = Literal["folders", "unrated", "like", "dislike"]
FolderId = Annotated[str, Query(max_length=8000)]


class Folder(BaseModel):
    """A folder by its id, and how many images lie right in it."""

    id: str
    name: str
    images: int
    relative: str


class Folders(BaseModel):
    """A folder, the one that it lies in (none for the root), and those in it."""

    folder: Folder
    parent: str | None
    folders: list[Folder]


class Import(BaseModel):
    """What to import. `labels`: from folders named like and dislike, none, or one for all images."""

    model_config = ConfigDict(extra="forbid")

    folder: str = Field(max_length=8000)
    labels: Labels = "folders"
    prompt: str = Field(default="", max_length=2000)
    dry_run: bool = True


class Skipped(BaseModel):
    """A file that was left out, and why."""

    where: str
    why: str


class Report(BaseModel):
    """What became of the images. `command` does the same in a terminal, in the root's folder."""

    rows: int
    new: int
    likes: int
    dislikes: int
    known: int
    left_out: int
    skipped: list[Skipped]
    dry_run: bool
    command: str


@router.get("/folders")
def folders(site: Studio, person: Owner, folder: FolderId = "") -> Folders:
    """List the folders in a folder; those of the root without one."""
    path = folder_with(site, folder)
    is_root = path == site.root
    return Folders(
        folder=Folder(**asdict(described(site, path))),
        parent=None if is_root else described(site, path.parent).id,
        folders=[Folder(**asdict(one)) for one in folders_in(site, path)],
    )


@router.post("/imports")
def import_(site: Studio, person: Owner, body: Import) -> Report:
    """Import a folder, or only report what would be imported."""
    path = folder_with(site, body.folder)
    try:
        if body.dry_run and needs_copy(site.likes):
            with rehearsed(site.likes) as store:
                numbers = _run(path, store, site, body, person.rater)
        else:
            numbers = _run(path, site.store, site, body, person.rater)
    except ThumbtuneError as error:
        error.args = (_without_root(str(error), site),)
        raise
    skipped = [Skipped(where=_without_root(where, site), why=why) for where, why in numbers.pop("skipped")]
    return Report(
        **numbers, skipped=skipped[:MAX_LISTED], dry_run=body.dry_run, command=_command(site, path, body, person.rater)
    )


def _run(path: Path, store: Store, site: Site, body: Import, rater: str) -> dict[str, Any]:
    from thumbtune.feedback.importers import import_from
    from thumbtune.feedback.source import Reading
    from thumbtune.feedback.sources.kinds import open_source
    from thumbtune.feedback.unrated import import_unrated

    # without labels, each image gets one that is not stored
    label = {"folders": None, "unrated": True, "like": True, "dislike": False}[body.labels]
    source = open_source(path, site.store.folder, Reading(label=label))
    if body.labels == "unrated":
        found = import_unrated(source, store, prompt=body.prompt.strip(), dry_run=body.dry_run)
        return {
            "rows": found.rows, "new": found.new, "likes": 0, "dislikes": 0, "known": found.known,
            "left_out": len(found.skipped), "skipped": found.skipped,
        }  # fmt: skip
    report = import_from(
        source, store, name=path.name, rater=rater, prompt=body.prompt.strip() or None, dry_run=body.dry_run
    )
    new = report.likes + report.dislikes
    return {
        "rows": report.rows, "new": new, "likes": report.likes, "dislikes": report.dislikes, "known": report.duplicates,
        "left_out": report.rows - new - report.duplicates, "skipped": report.skipped,
    }  # fmt: skip


def _command(site: Site, path: Path, body: Import, rater: str) -> str:
    assert site.root is not None
    folder = path.relative_to(site.root).as_posix()
    words = ["thumbtune", "import", folder, "--likes", name_of(site.likes), "--rater", rater]
    words += {"folders": [], "unrated": ["--unrated"]}.get(body.labels, ["--label", body.labels])
    words += ["--prompt", body.prompt.strip()] if body.prompt.strip() else []
    return " ".join(map(quote, words))


def _without_root(text: str, site: Site) -> str:
    """Return a sentence without the path of the root: answers name no path of this machine."""
    return text.replace(f"{site.root}/", "").replace(str(site.root), ".")
