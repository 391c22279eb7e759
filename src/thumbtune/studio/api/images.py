"""Images: a list with filters, one with its history, and their files and small copies."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from starlette.responses import FileResponse

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.store import browsing
from thumbtune.feedback.store.browsing import Filter, Listed
from thumbtune.feedback.store.store import StoredImage
from thumbtune.studio.api.shown import TYPES, ImageId, ShownImage, addresses_of, mark_of, suffix_of
from thumbtune.studio.people import Anybody, Owner, Studio
from thumbtune.studio.thumbs import Side, thumb_of

router = APIRouter(tags=["images"])
FOR_EVER = {"cache-control": "private, max-age=31536000, immutable"}
ALONE = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
Mark = Annotated[str | None, Query(max_length=64)]


class ListedImage(ShownImage):
    """An image of the list, the number of raters with each latest vote, and the vote of who asks, with its id."""

    likes: int
    dislikes: int
    skips: int
    own: str | None
    own_vote: str | None


class Images(BaseModel):
    """A page of the list, and the `after` of the next one; none at the end."""

    images: list[ListedImage]
    after: int | None


class Total(BaseModel):
    """How many images a query finds."""

    total: int


class VoteRecord(BaseModel):
    """A vote in an image's history, and whether it is the one of its rater that counts."""

    rater: str
    kind: str
    reason: str | None
    created_at: datetime
    counts: bool


class Image(ListedImage):
    """An image with all that is known of it."""

    seed: str | None  # as text: JavaScript rounds integers of 64 bits
    model: str | None
    source: str | None
    format: str
    added_at: datetime
    votes: list[VoteRecord]


class Filters(BaseModel):
    """Which images: with this label (of `mine` alone), and with a text in the prompt."""

    label: Filter = "all"
    mine: bool = False
    text: str = Field(default="", max_length=200)

    def query(self, rater: str) -> browsing.Query:
        """Return the query of a rater."""
        return browsing.Query(label=self.label, rater=rater if self.mine else None, text=self.text.strip())


class Page(Filters):
    """A page of the list: up to `limit` images after the image `after`."""

    after: int | None = Field(default=None, ge=1, lt=2**63)
    limit: int = Field(default=100, ge=1, le=500)


@router.get("/images")
def images(site: Studio, person: Owner, page: Annotated[Page, Query()]) -> Images:
    """List images, newest first: those with a label, without one, or with raters who disagree."""
    query = page.query(person.rater)
    found = browsing.list_images(site.store, person.rater, query, page.limit, page.after)
    last = found[-1].image.id if len(found) == page.limit else None
    return Images(images=[ListedImage.model_validate(_listed(one)) for one in found], after=last)


@router.get("/images/total")
def total(site: Studio, person: Owner, filters: Annotated[Filters, Query()]) -> Total:
    """Return how many images the list has."""
    return Total(total=browsing.count_images(site.store, filters.query(person.rater)))


@router.get("/images/{image}")
def image_(site: Studio, person: Owner, image: ImageId) -> Image:
    """Return an image with its generation and its votes."""
    row = site.store.image(image)
    query = browsing.Query()
    (listed,) = browsing.list_images(site.store, person.rater, query, 1, row.id + 1)
    known = {"seed": None if row.seed is None else str(row.seed), "model": row.model, "source": row.source}
    votes = [VoteRecord.model_validate(vars(vote)) for vote in browsing.history(site.store, row.id)]
    known |= {"format": suffix_of(row)[1:].upper(), "added_at": row.created_at, "votes": votes}
    return Image.model_validate(_listed(listed) | known)


@router.get("/images/{image}/file", response_class=Response)
def file(site: Studio, person: Anybody, image: ImageId, v: Mark = None) -> Response:
    """Return an image's bytes, as they were added. `v` is the beginning of their hash."""
    row = _checked(site, image, v)
    kind = TYPES.get(suffix_of(row), "application/octet-stream")
    return Response(site.store.read(row), media_type=kind, headers=FOR_EVER | ALONE)


@router.get("/images/{image}/thumb", response_class=FileResponse)
def thumb(site: Studio, person: Anybody, image: ImageId, side: Side = Side.SMALL, v: Mark = None) -> FileResponse:
    """Return a small copy of an image as WebP."""
    path = thumb_of(site, _checked(site, image, v), side)
    return FileResponse(path, media_type="image/webp", headers=FOR_EVER | ALONE)


def _checked(site: Studio, image: int, mark: str | None) -> StoredImage:
    """Return an image, if the address means this one.

    Raises:
        ThumbtuneError: there is no such image, or its hash is another one.
    """
    row = site.store.image(image)
    if mark is not None and mark != mark_of(row):
        raise ThumbtuneError(f"Image {image} is another one in this store; load the page again.", code="image-missing")
    return row


def _listed(one: Listed) -> dict[str, object]:
    own = one.own or (None, None)
    counts = {f"{kind}s": one.kinds[kind] for kind in ("like", "dislike", "skip")}
    return addresses_of(one.image) | counts | {"own": own[0], "own_vote": own[1]}
