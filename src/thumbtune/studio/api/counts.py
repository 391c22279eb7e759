"""How far a rater has come."""

from fastapi import APIRouter
from pydantic import BaseModel

from thumbtune.feedback.store.judging import progress
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
