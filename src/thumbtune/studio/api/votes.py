"""Votes: many at once, each stored once however often it is sent, in the order in which they were given."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.store.repeats import is_repeat, post_repeat
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.votes import Details
from thumbtune.studio.access import Person
from thumbtune.studio.folder_names import told_to
from thumbtune.studio.people import Anybody, Studio
from thumbtune.studio.sender import check_sender
from thumbtune.studio.site import Site

router = APIRouter(tags=["judge"])
MAX_VOTES = 50
Kind = Literal["like", "dislike", "skip"]
LIMIT = 2**63
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)  # of a browser's clock


class Vote(BaseModel):
    """A vote on the image that was on the screen. `id` is a UUID of the client's; `at` is when it was given."""

    model_config = ConfigDict(extra="forbid")

    id: UUID
    image: int = Field(ge=1, lt=LIMIT)
    kind: Kind
    reason: str | None = Field(default=None, max_length=2000)
    at: AwareDatetime | None = Field(default=None, ge=EARLIEST, lt=LATEST)


class Undo(BaseModel):
    """Takes a vote back, by its id."""

    model_config = ConfigDict(extra="forbid")

    undoes: UUID


class Batch(BaseModel):
    """Votes and undos, oldest first. `store` and `rater` say for which store and from whom, as `me` tells."""

    model_config = ConfigDict(extra="forbid")

    store: str | None = Field(default=None, max_length=100)
    rater: str | None = Field(default=None, max_length=100)
    votes: list[Vote | Undo] = Field(min_length=1, max_length=MAX_VOTES)


class Result(BaseModel):
    """What became of a vote: it is stored, from now or from before, or it was refused and why."""

    stored: bool
    code: str | None = None
    message: str | None = None


class Results(BaseModel):
    """A result for each vote, in their order."""

    results: list[Result]


@router.post("/votes")
def votes(site: Studio, person: Anybody, batch: Batch) -> Results:
    """Store votes and undos in one transaction: all that are valid, or in a failure none."""
    check_sender(site, person, store=batch.store, rater=batch.rater)
    with site.store.transaction():
        return Results(results=[_result(site, one, person) for one in batch.votes])


@router.post("/votes/{vote}/undo")
def undo(site: Studio, person: Anybody, vote: Annotated[UUID, Path()]) -> Result:
    """Take a vote of the rater's own back; the vote before it counts again."""
    site.store.undo(str(vote), rater=person.rater)
    return Result(stored=True)


def _result(site: Site, one: Vote | Undo, person: Person) -> Result:
    try:
        _store(site.store, one, person.rater)
    except ThumbtuneError as error:  # of this vote alone; failures of the database end the transaction
        return Result(stored=False, code=error.code, message=told_to(person, site, str(error)))
    return Result(stored=True)


def _store(store: Store, one: Vote | Undo, rater: str) -> None:
    if isinstance(one, Undo):
        store.undo(str(one.undoes), rater=rater)
    elif is_repeat(str(one.id)):
        post_repeat(store, str(one.id), one.image, one.kind, rater)
    else:
        details: Details = {"vote_id": str(one.id), "reason": one.reason, "created_at": one.at}
        store.vote(one.image, one.kind, rater=rater, **details)
