"""How far a rater has come."""

from fastapi import APIRouter
from pydantic import BaseModel

from thumbtune.feedback.store.jobs import count_active
from thumbtune.feedback.store.judging import progress
from thumbtune.feedback.store.repeats import agreement_of
from thumbtune.studio.people import Anybody, Studio

router = APIRouter(tags=["counts"])


class Counts(BaseModel):
    """A rater's latest votes, the images that they have not judged, all images, and for the owner the active jobs."""

    images: int
    likes: int
    dislikes: int
    skips: int
    left: int
    jobs: int = 0


@router.get("/counts")
def counts(site: Studio, person: Anybody) -> Counts:
    """Return the numbers of the top bar."""
    jobs = count_active(site.store) if person.is_owner else 0
    return Counts(**vars(progress(site.store, person.rater)), jobs=jobs)


class Agreement(BaseModel):
    """How often a rater judged an image again, unannounced, and how often alike."""

    repeats: int
    agreed: int


@router.get("/agreement")
def agreement(site: Studio, person: Anybody) -> Agreement:
    """Return how well a rater agrees with themselves."""
    return Agreement(**vars(agreement_of(site.store, person.rater)))
