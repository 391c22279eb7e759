"""What the page Settings shows besides raters: label policies with their counts, a copy of the votes, and versions."""

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from thumbtune import __version__
from thumbtune.feedback.policies import POLICIES
from thumbtune.feedback.policy_counts import policy_counts
from thumbtune.passwords import without_passwords
from thumbtune.studio.backup import backup_command, backup_of
from thumbtune.studio.choices import Choices, read_choices, write_choices
from thumbtune.studio.people import Owner, Studio
from thumbtune.studio.site import Site

router = APIRouter(tags=["settings"])
SHOWN = ("torch", "diffusers", "transformers", "peft", "fastapi", "sqlalchemy", "pillow")


class Policy(BaseModel):
    """A label policy: the labels that it would give now, and the images that it leaves undecided."""

    policy: str
    likes: int
    dislikes: int
    undecided: int


class Policies(BaseModel):
    """The policies, and the one that Train fills in."""

    chosen: str
    policies: list[Policy]


class ChosenPolicy(BaseModel):
    """The policy that Train is to fill in."""

    model_config = ConfigDict(extra="forbid")

    policy: Annotated[str, Field(max_length=100)]


class About(BaseModel):
    """Versions by name, the store, where its images are, the folder of jobs, and the command that copies the votes.

    folder: the studio's own, with its key, its list of raters, blind tests and logs
    """

    versions: dict[str, str]
    store: str
    images: str
    root: str | None
    folder: str
    backup: str
    on_server: bool


@router.get("/label-policies")
def policies(site: Studio, person: Owner) -> Policies:
    """Return each label policy with the number of labels that it gives, and the chosen one."""
    chosen = read_choices(site.folder).label_policy or POLICIES[0]
    return Policies(chosen=chosen, policies=[Policy(**asdict(count)) for count in policy_counts(site.store)])


@router.post("/label-policies")
def choose_policy(site: Studio, person: Owner, body: ChosenPolicy) -> Policies:
    """Let Train fill in a policy from now on; a recipe and a run keep theirs."""
    write_choices(site.folder, Choices(label_policy=body.policy))
    return policies(site, person)


@router.get("/backup", response_class=FileResponse)
def backup(site: Studio, person: Owner) -> FileResponse:
    """Return a consistent copy of the store's database, made while others vote."""
    made = backup_of(site)
    headers = {"cache-control": "no-store"}
    media = "application/vnd.sqlite3"
    return FileResponse(
        made.file, filename=made.name, media_type=media, headers=headers, background=BackgroundTask(made.remove)
    )


@router.get("/about")
def about(site: Studio, person: Owner) -> About:
    """Return the versions of what runs here, and where the studio keeps things."""
    return About(
        versions=_versions(),
        store=site.store.name,
        images=_images(site),
        root=None if site.root is None else str(site.root),
        folder=str(site.folder),
        backup=backup_command(site),
        on_server=site.store.folder is None,
    )


def _images(site: Site) -> str:
    storage = site.store.storage
    assert storage is not None, "a rehearsal"
    return without_passwords(storage.address("images"))


def _versions() -> dict[str, str]:
    found = {"thumbtune": __version__, "Python": platform.python_version()}
    for name in SHOWN:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
