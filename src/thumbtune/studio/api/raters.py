"""Raters and their links: those of the command line, and those whom the owner adds on the page."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from thumbtune.studio.access import Person, Role
from thumbtune.studio.pages import set_cookie
from thumbtune.studio.people import Owner, Studio
from thumbtune.studio.site import Site

router = APIRouter(tags=["raters"])
MAX_TEXT = 10_000
RaterId = Annotated[str, Path(max_length=64)]


class NewRater(BaseModel):
    """The name of a rater to add."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=MAX_TEXT)  # access.py refuses what cannot be a name, in a sentence


class Rater(BaseModel):
    """A person of the studio. `named`: on the command line, by --rater, or on this page."""

    id: str
    name: str
    role: Role
    named: Literal["command", "page"]


class Link(BaseModel):
    """The end of a link that signs a rater in; the studio's own address stands before it."""

    path: str


@router.get("/raters")
def raters(site: Studio, person: Owner) -> list[Rater]:
    """Return the owner, the raters of the command line, and those of the page."""
    return [_view(site, each) for each in site.access.people]


@router.post("/raters", status_code=201)
def add(site: Studio, person: Owner, body: NewRater) -> Rater:
    """Add a rater, who may judge and answer blind tests with a link of their own, also after a restart."""
    return _view(site, site.access.add(body.name))


@router.get("/raters/{rater}/link")
def link(response: Response, site: Studio, person: Owner, rater: RaterId) -> Link:
    """Return the link of a rater."""
    return _link(response, site, site.access.by_id(rater))


@router.post("/raters/{rater}/link")
def new_link(response: Response, site: Studio, person: Owner, rater: RaterId) -> Link:
    """Make a new link for a rater. The link of before and its cookies end at once; who asks stays signed in."""
    whose = site.access.by_id(rater)
    site.access.renew(whose)
    if whose == person:
        set_cookie(response, site, person)
    return _link(response, site, whose)


@router.post("/raters/{rater}/remove")
def remove(site: Studio, person: Owner, rater: RaterId) -> list[Rater]:
    """Remove a rater of the page: their link and cookies end at once, and their votes stay. Return who is left."""
    site.access.remove(site.access.by_id(rater))
    return raters(site, person)


def _view(site: Site, person: Person) -> Rater:
    named = "page" if site.access.is_added(person) else "command"
    return Rater(id=site.access.id_of(person), name=person.rater, role=person.role, named=named)


def _link(response: Response, site: Site, person: Person) -> Link:
    response.headers["cache-control"] = "no-store"
    return Link(path=f"/welcome?token={site.access.token_of(person)}")
