"""How far a rater has come."""

from fastapi import APIRouter
from pydantic import BaseModel

from thumbtune.feedback.store.judging import progress
from thumbtune.feedback.store.repeats import agreement_of
from thumbtune.studio.people import Anybody, Studio

router = APIRouter(tags=["counts"])


class Counts(BaseModel):
    """A rater's latest votes, the images that they have not judged, and all images."""

    images: int
    likes: int
    dislikes: int
    skips: int
    left: int


@router.get("/counts")
def counts(site: Studio, person: Anybody) -> Counts:
    """Return the numbers of the top bar."""
    return Counts(**vars(progress(site.store, person.rater)))


class Agreement(BaseModel):
    """How often a rater judged an image again, unannounced, and how often alike."""

    repeats: int
    agreed: int


@router.get("/agreement")
def agreement(site: Studio, person: Anybody) -> Agreement:
    """Return how well a rater agrees with themselves."""
    return Agreement(**vars(agreement_of(site.store, person.rater)))
