"""Insert images and votes into the database, many at a time.

Others may write at the same time: what two processes insert at once is stored once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.image_content import Content, bytes_of, digest_of
from thumbtune.feedback.images import ImageInfo, UnreadableImage, inspect_image
from thumbtune.feedback.store.damage import check_image_cells
from thumbtune.feedback.store.erased_raters import forget
from thumbtune.feedback.store.image_storage import ImageStorage
from thumbtune.feedback.store.order import LatestVote, Times, in_parts, is_one_of, latest_votes, times_of
from thumbtune.feedback.store.tables import StoredImage, Vote, now
from thumbtune.feedback.store.votes import Kind, chosen_id, derived_id, insert_many, key_of

MAX_KNOWN_IMAGES = 100_000  # some 20 MB
_known: dict[str, ImageInfo] = {}  # by the hash of their bytes
FIRST_REPEATED_SWITCH = 2  # after two changes of mind a rater votes as they did at first


class KnownImage(NamedTuple):
    """The cells of a stored image that an import needs: rows that the session follows take five times as long."""

    id: int
    key: str
    sha256: str
    prompt: str
    file: str
    seed: int | None
    source: str | None


KNOWN_CELLS = tuple(getattr(StoredImage, name) for name in KnownImage._fields)


@dataclass(kw_only=True, slots=True)
class NewImage:
    """An image's bytes, the prompt that it was made for, and what else is known of it. Nobody changes it."""

    data: Content
    prompt: str
    seed: int | None = None
    model: str | None = None
    source: str | None = None
    _digest: str | None = field(default=None, init=False, repr=False, compare=False)
    _key: str | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """The sha256 of its bytes."""
        if self._digest is None:
            self._digest = digest_of(self.data)
        return self._digest

    @property
    def key(self) -> str:
        """The key of this image under this prompt."""
        if self._key is None:
            self._key = key_of(self.digest, self.prompt)
        return self._key


def add_images(
    session: Session, storage: ImageStorage | None, images: Sequence[NewImage]
) -> list[StoredImage | UnreadableImage]:
    """Return the row of each image, inserted if it is new; for an unreadable image, the error."""
    added, _ = _add_images(session, storage, images)
    ids = [image for image in added if isinstance(image, int)]
    rows = {
        row.id: row
        for part in in_parts(ids)
        for row in session.scalars(select(StoredImage).where(StoredImage.id.in_(part)))
    }
    return [rows[image] if isinstance(image, int) else image for image in added]


def _add_images(
    session: Session, storage: ImageStorage | None, images: Sequence[NewImage]
) -> tuple[list[int | UnreadableImage], set[int]]:
    """Return the id of each image, inserted if it is new, or the error; and the ids of those that nobody rated yet.

    Files are written before the rows that name them, so that no row ever names a missing file. Without a storage, as
    in a dry run, no files are written.
    """
    keys = [image.key for image in images]
    stored = images_by_key(session, keys)
    ids = {key: image.id for key, image in stored.items()}
    new: dict[str, dict[str, Any]] = {}
    written: set[str] = set()
    unreadable: dict[str, UnreadableImage] = {}
    at = now()
    for key, image in zip(keys, images, strict=True):
        row = stored.get(key)
        try:
            if row is None and key not in new:
                new[key] = _image_row(key, _inspected(image), image, at)
            file = row.file if row else new[key]["file"]
            # also writes the file again if it was lost
            if storage is not None and file not in written:
                if not storage.has(file, len(image.data)):
                    storage.write(file, bytes_of(image.data))
                written.add(file)
        except UnreadableImage as error:
            unreadable[key] = error
            new.pop(key, None)
    if storage is not None:
        storage.flush()
    unrated = _insert_images(session, new)
    ids |= unrated
    return [unreadable[key] if key in unreadable else ids[key] for key in keys], set(unrated.values())


def _insert_images(session: Session, new: Mapping[str, dict[str, Any]]) -> dict[str, int]:
    """Insert images, a row by key, and return their ids by key, of those too that somebody else has just inserted.

    A writer of SQLite is alone from its first statement on, so that it may choose the ids, which are those that SQLite
    would choose. On a server, what was inserted is asked for.
    """
    if not new:
        return {}
    if session.get_bind().dialect.name != "sqlite":
        insert_many(session, StoredImage, list(new.values()), StoredImage.key)
        return {key: image.id for key, image in images_by_key(session, new).items()}
    first = (session.scalar(select(func.max(StoredImage.id))) or 0) + 1
    ids = {key: first + number for number, key in enumerate(new)}
    for key, row in new.items():
        row["id"] = ids[key]
    insert_many(session, StoredImage, list(new.values()), StoredImage.key)
    return ids


def _inspected(image: NewImage) -> ImageInfo:
    """Return what an image's bytes are; the same bytes under many prompts are decoded once.

    Raises:
        UnreadableImage: they are no whole image.
    """
    info = _known.get(image.digest)
    if info is None:
        info = inspect_image(bytes_of(image.data))
        if len(_known) >= MAX_KNOWN_IMAGES:
            _known.clear()  # other threads may do so too: what is returned is not looked up again
        _known[image.digest] = info
    return info


def _image_row(key: str, info: ImageInfo, image: NewImage, at: datetime) -> dict[str, Any]:
    return {
        "key": key,
        "sha256": image.digest,
        "prompt": image.prompt,
        "file": f"images/{image.digest[:2]}/{image.digest}{info.suffix}",
        "width": info.width,
        "height": info.height,
        "seed": image.seed,
        "model": image.model,
        "source": image.source,
        "created_at": at,
    }


@dataclass(kw_only=True, slots=True)
class NewVote(NewImage):
    """An image and one rater's vote on it.

    vote_id:  a UUID chosen by the voter; None: one derived from the vote, so that the same vote is recognised again
    switches: how often the rater had changed their mind before, in the source of this vote
    """

    kind: Kind
    rater: str
    weight: float = 1.0
    grade: float | None = None
    reason: str | None = None
    pair: str | None = None
    created_at: datetime | None = None
    vote_id: str | None = None
    switches: int = 0


class VoteStatus(Enum):
    """The result of adding a valid vote."""

    NEW = "new"
    CHANGED = "new, and the opposite of the rater's vote before"
    DUPLICATE = "stored before"
    CONTRADICTED = "stored before, and its rater has voted the opposite since"
    UNDONE = "stored before, and undone since"


VoteResult = VoteStatus | ThumbtuneError
StoredVote = tuple[int, str, str]  # image, rater, kind


def add_votes(session: Session, storage: ImageStorage | None, votes: Sequence[NewVote]) -> list[VoteResult]:
    """Add votes and their images; return a status for each, or the error for a vote that cannot be stored.

    A rater who was erased, and whose votes are added all the same, is no longer an erased one.
    """
    forget(session, {vote.rater for vote in votes})
    images, unrated = _add_images(session, storage, votes)
    ids = [chosen_id(vote.vote_id) if vote.vote_id else _derived_id(vote) for vote in votes]
    stored = votes_by_id(session, ids)
    latest = latest_votes(
        session,
        {
            (image, vote.rater)
            for image, vote in zip(images, votes, strict=True)
            if isinstance(image, int) and image not in unrated
        },
    )
    results: list[VoteResult] = []
    rows: list[dict[str, Any]] = []
    at = now()  # of all: votes of one rater on one image are ordered after each other all the same
    for image, name, vote in zip(images, ids, votes, strict=True):
        if isinstance(image, UnreadableImage):
            results.append(image)
            continue
        wanted, before = (image, vote.rater, vote.kind), latest.get((image, vote.rater))
        if name in stored:
            results.append(_status_of_stored(name, stored[name], wanted, before))
            continue
        times = times_of(vote.created_at, before, at)
        rows.append(_vote_row(name, image, vote, times))
        stored[name] = wanted
        is_latest = before is None or before.is_before(times)
        is_opposite = is_latest and before is not None and before.kind not in {"skip", vote.kind}
        if is_latest:
            latest[image, vote.rater] = LatestVote(vote.kind, times.created_at, name, times.order)
        results.append(VoteStatus.CHANGED if is_opposite else VoteStatus.NEW)
    if rows:
        insert_many(session, Vote, rows, Vote.id)
    return results


def _status_of_stored(name: str, stored: StoredVote, wanted: StoredVote, before: LatestVote | None) -> VoteResult:
    """Return the status of a vote whose id is stored already, or the error if that is another vote's."""
    if stored != wanted:
        return ThumbtuneError(
            f"its vote id {name} belongs to another vote; give every vote its own id, or leave them out.",
            code="vote-id-taken",
        )
    if before is None:
        return VoteStatus.UNDONE
    return VoteStatus.DUPLICATE if before.kind == wanted[-1] else VoteStatus.CONTRADICTED


def _derived_id(vote: NewVote) -> str:
    """Return the id derived from a vote.

    It differs for the same vote at another time, and for the same vote after the rater had voted the opposite.
    """
    when = () if vote.created_at is None else (vote.created_at.astimezone(UTC).isoformat(),)
    again = () if vote.switches < FIRST_REPEATED_SWITCH else (f"after {vote.switches} changes of mind",)
    return derived_id(vote.digest, vote.prompt, vote.rater, vote.kind, *when, *again)


def _vote_row(name: str, image: int, vote: NewVote, times: Times) -> dict[str, Any]:
    return {
        "id": name,
        "picture_id": image,
        "rater": vote.rater,
        "kind": vote.kind,
        "weight": vote.weight,
        "grade": vote.grade,
        "reason": vote.reason,
        "pair": vote.pair,
        "created_at": times.created_at,
        "ordered_at": times.ordered_at,
    }


def images_by_key(session: Session, keys: Iterable[str]) -> dict[str, KnownImage]:
    """Return the stored images with these keys.

    Raises:
        DamagedCell: a cell of one is not what its column holds.
    """
    connection, images = session.connection(), dict[str, KnownImage]()
    for part in in_parts(keys):
        rows = connection.execute(select(*KNOWN_CELLS).where(is_one_of(session, StoredImage.key, part)))
        images |= {image.key: image for image in map(KnownImage._make, rows.all())}
    for image in images.values():
        check_image_cells(image)
    return images


def files_of(session: Session, digests: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (sha256, file) of the stored images with these hashes; of several prompts too, since the file is one."""
    for part in in_parts(digests):
        images = select(StoredImage.sha256, StoredImage.file).where(StoredImage.sha256.in_(part)).distinct()
        yield from session.execute(images)


def votes_by_id(session: Session, ids: Iterable[str]) -> dict[str, StoredVote]:
    """Return the stored votes with these ids."""
    connection, found = session.connection(), dict[str, StoredVote]()
    for part in in_parts(ids):
        votes = select(Vote.id, Vote.picture_id, Vote.rater, Vote.kind).where(is_one_of(session, Vote.id, part))
        found |= {name: (image, rater, kind) for name, image, rater, kind in connection.execute(votes).all()}
    return found
