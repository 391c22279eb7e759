"""What a rater judges next."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from thumbtune.feedback.store.judging import Order, Place, next_images
from thumbtune.feedback.store.repeats import repeats_for, seed_of
from thumbtune.feedback.store.tables import now
from thumbtune.studio.api.shown import ShownImage, addresses_of
from thumbtune.studio.people import Anybody, Studio

router = APIRouter(tags=["judge"])
ONE_REPEAT_IN = 20
MAX_PLACE = 2**63 - 1


class Next(ShownImage):
    """An image to judge. `vote` is the id that the vote must have, or none for an id of the client's own."""

    vote: str | None = None


class Queue(BaseModel):
    """The next images, and where the ones after them begin: give it back as `after`. `now` is the studio's time."""

    images: list[Next]
    after: str | None
    now: str


@router.get("/queue")
def queue(
    site: Studio,
    person: Anybody,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Order = "random",
    after: Annotated[str | None, Query(pattern=r"^-?\d{1,18}\.\d{1,18}$")] = None,
) -> Queue:
    """Return images on which the rater has no vote, in an order of the rater's own, or the newest first.

    One in twenty was judged before: its vote measures whether the rater agrees with themselves, and changes no label.
    """
    begin = None if after is None else Place(*map(int, after.split(".")))
    found = next_images(site.store, person.rater, limit, order=order, after=begin)
    images = []
    for place, image in found:
        images.append(Next.model_validate(addresses_of(image)))
        seed = seed_of(person.rater, place.place)
        if seed % ONE_REPEAT_IN == 0:
            again = repeats_for(site.store, person.rater, 1, seed)
            images += [Next.model_validate(addresses_of(old) | {"vote": vote}) for vote, old in again]
    last = f"{found[-1][0].place}.{found[-1][0].image}" if found else None
    return Queue(images=images, after=last, now=now().isoformat())
