"""Who is signed in, and signing in with a token."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from thumbtune.studio.access import Role
from thumbtune.studio.guard import signed_in
from thumbtune.studio.pages import set_cookie
from thumbtune.studio.people import Anybody, Studio

router = APIRouter(tags=["session"])


class SignIn(BaseModel):
    """A token, from the link that the studio printed."""

    token: str = Field(max_length=200)


class Session(BaseModel):
    """Who is signed in, and at which store."""

    rater: str
    role: Role
    store: str


@router.post("/session")
def sign_in(request: Request, response: Response, site: Studio, body: SignIn) -> Session:
    """Sign in: the answer sets the cookie."""
    person = signed_in(site, request.scope, body.token)
    set_cookie(response, site, person)
    return Session(rater=person.rater, role=person.role, store=site.mark)


@router.get("/me")
def me(site: Studio, person: Anybody) -> Session:
    """Return who is signed in."""
    return Session(rater=person.rater, role=person.role, store=site.mark)
