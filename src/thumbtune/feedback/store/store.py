"""The store of likes: a database of images and votes, and the image files, byte for byte.

By default a store is a folder with `likes.sqlite` and `images/`. A team's store is an address,
postgresql://user@host/database, with its images at any fsspec location. Votes are never changed: a rater who changes
their mind votes again, or takes a vote back with `undo`. The latest vote of each rater on each image counts.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session, sessionmaker

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.store import counting
from thumbtune.feedback.store.counting import Counts, Variety
from thumbtune.feedback.store.database import (
    WRITES,
    checkpoint,
    explain_errors,
    has_tables,
    is_address,
    name_of,
    open_database,
)
from thumbtune.feedback.store.erased_raters import ErasedRaters, erased_in
from thumbtune.feedback.store.erasure import TABLES, Erased, check_rater, erase, erasing
from thumbtune.feedback.store.hold import make_and_hold, release
from thumbtune.feedback.store.image_storage import ImageStorage, storage_at
from thumbtune.feedback.store.intake import NewImage, NewVote, VoteResult, add_images, add_votes, files_of
from thumbtune.feedback.store.labels import AnyImage, Label, labels_in
from thumbtune.feedback.store.location import STORE_FILE, check_is_store, is_store
from thumbtune.feedback.store.order import latest_votes, times_of
from thumbtune.feedback.store.reconciliation import (
    Unrated,
    WantedVote,
    imported_labels,
    make_latest,
    undo_imported,
)
from thumbtune.feedback.store.tables import DamagedCell, ImageLocation, StoredImage, now
from thumbtune.feedback.store.votes import (
    Details,
    Kind,
    check_image,
    check_vote,
    chosen_id,
    insert_new,
    post,
    stripped,
    undo_of,
    vote_to_undo,
    without_controls,
)

__all__ = ["Counts", "Details", "Kind", "Label", "NewVote", "Store", "StoredImage", "VoteResult", "is_store"]

BESIDE_DATABASE = "."


class Store:
    """Images and votes on them. Open it with `Store.open`."""

    def __init__(self, where: Path | str, engine: Engine, images: str | None = None, hold: int | None = None) -> None:
        self.where = where
        self.folder = None if is_address(where) else Path(where)
        self.name = name_of(where) if self.folder is None else name_of(self.folder / STORE_FILE)
        self._engine = engine
        self._reading = sessionmaker(engine, expire_on_commit=False)
        self._writing = sessionmaker(engine.execution_options(**WRITES), expire_on_commit=False)
        self._open = threading.local()  # this thread's transaction, if it is in one
        self._storage = storage_at(self._image_location(images), self.folder or Path())
        self._hold = hold

    @classmethod
    def open(cls, where: Path | str, create: bool = True, images: str | None = None) -> Self:
        """Return the store in a folder or at an address, made first if there is none and `create` is true.

        `images` is the folder or fsspec URL where a new store keeps its images; by default beside the database. A
        server's new store needs it.

        Raises:
            ThumbtuneError: there is no store, it is of another program or a newer version, it cannot be written, or
                `images` cannot be opened.
            UsageError: `images` is missing for a server's new store, or differs from that of an existing store.
        """
        if images is not None:
            storage_at(images, Path())  # check it before a new store is bound to it
        if is_address(where):
            if not create and not has_tables(where):
                raise ThumbtuneError(
                    f"{name_of(where)} contains no store of likes; import some likes first.", code="store-missing"
                )
            return cls._on(where, open_database(where), images)
        folder = Path(where)
        if not create:
            check_is_store(folder)
        try:
            hold = make_and_hold(folder)
        except OSError as error:
            reason = error.strerror or error
            raise ThumbtuneError(
                f"{folder} could not be created ({reason}); choose another folder.", code="store-not-made"
            ) from error
        try:
            if not create:
                check_is_store(folder)  # again: until it was held, it could be removed
            return cls._on(folder, open_database(folder / STORE_FILE, create), images, hold)
        except BaseException:
            release(hold)
            raise

    @classmethod
    def _on(cls, where: Path | str, engine: Engine, images: str | None, hold: int | None = None) -> Self:
        try:
            return cls(where, engine, images, hold)
        except BaseException:
            engine.dispose()
            raise

    def _image_location(self, images: str | None) -> str:
        """Return where this store keeps its images; a new store stores the given location."""
        with self.reading() as session:
            stored = session.scalar(select(ImageLocation.images))
            if not isinstance(stored, str | None):
                raise DamagedCell("the location of its images is not text")
        if stored is None and images is None and self.folder is None:
            raise UsageError(
                f"{self.name} is new; give the location of its images with --images, a shared folder or s3://....",
                code="images-no-location",
            )
        if stored is None and (images is not None or self.folder is None):
            with self._write() as session:  # another process may be making the same store
                insert_new(session, ImageLocation, [{"id": 1, "images": images}], ImageLocation.id)
            return self._image_location(images)
        if images not in (None, stored or BESIDE_DATABASE):
            raise UsageError(
                f"{self.name} stores its images in {stored or 'its folder'}, not in {images}; leave out --images.",
                code="images-other-location",
            )
        return stored or BESIDE_DATABASE

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()
        release(self._hold)
        self._hold = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self, rehearsal: bool = False) -> Iterator[None]:
        """Commit everything written in the block, or after an error or Ctrl-C nothing.

        A `rehearsal` runs the same way and writes nothing: neither rows nor image files.
        A transaction inside a transaction joins the outer one.
        """
        if self._session is not None:
            yield
            return
        with explain_errors(self.name), self._writing() as session:
            self._open.session, self._open.rehearsal = session, rehearsal
            try:
                yield
                if not rehearsal:
                    session.commit()
            finally:  # leaving the session without a commit rolls back
                self._open.session, self._open.rehearsal = None, False

    @property
    def _session(self) -> Session | None:
        return getattr(self._open, "session", None)

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with self.transaction():
            assert self._session is not None
            yield self._session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session for queries: that of this thread's transaction, or one of its own."""
        if self._session is not None:
            yield self._session
            return
        with explain_errors(self.name), self._reading() as session:
            yield session

    def add_image(
        self,
        data: bytes,
        prompt: str,
        *,
        seed: int | None = None,
        model: str | None = None,
        source: str | None = None,
    ) -> StoredImage:
        """Store an image made for `prompt`, and return its row; equal bytes under an equal prompt are stored once.

        Raises:
            UnreadableImage: the bytes are not a whole image.
            ThumbtuneError: the prompt is empty, the seed is out of range, or the disk is full or read-only.
        """
        prompt = without_controls(prompt)
        check_image(prompt, seed)
        new = NewImage(data=data, prompt=prompt, seed=seed, model=stripped(model), source=stripped(source))
        with self._write() as session:
            (image,) = add_images(session, self.storage, [new])
        if isinstance(image, UnreadableImage):
            raise image
        return image

    @property
    def tables(self) -> Path | None:
        """The folder of the tables that training reads; None on a server, where tables live as long as the program."""
        return self.folder and self.folder / TABLES

    @property
    def storage(self) -> ImageStorage | None:
        """Where images are written; None in a rehearsal."""
        return None if getattr(self._open, "rehearsal", False) else self._storage

    def image(self, image_id: int) -> StoredImage:
        """Return the image with this id.

        Raises:
            ThumbtuneError: there is no such image.
        """
        with self.reading() as session:
            return self._image(session, image_id)

    def _image(self, session: Session, image_id: int) -> StoredImage:
        image = session.get(StoredImage, image_id)
        if image is None:
            raise ThumbtuneError(
                f"{self.name} contains no image {image_id}; add the image first.", code="image-missing"
            )
        return image

    def address_of(self, image: AnyImage) -> str:
        """Return the path or URL of an image's file."""
        return self._storage.address(image.file)

    def addresses(self, digests: Iterable[str]) -> dict[str, str]:
        """Return the path or URL of each of the images with these sha256 that the store has."""
        with self.reading() as session:
            return {digest: self._storage.address(file) for digest, file in files_of(session, digests)}

    def read(self, image: AnyImage) -> bytes:
        """Return the image's bytes, as they were added.

        Raises:
            ThumbtuneError: the file is gone, or cannot be reached.
        """
        return self._storage.read(image.file)

    def vote(self, image: AnyImage | int, kind: Kind, *, rater: str, **details: Unpack[Details]) -> str:
        """Add one vote and return its id. Votes with the same `vote_id` are stored once.

        Args:
            image: from `add_image`, or its id.
            kind: like, dislike, or skip (which also replaces an earlier like or dislike).
            rater: the voter's name.
            details: weight (1 if not given), grade in [0, 1], reason, pair, vote_id (a UUID), created_at.

        Raises:
            ThumbtuneError: an argument is out of range, the id is taken, or the disk is full.
        """
        rater = rater.strip()
        check_vote(kind, rater, details)
        details |= {"reason": stripped(details.get("reason")), "pair": stripped(details.get("pair"))}
        number = image if isinstance(image, int) else image.id
        given = {key: value for key, value in details.items() if key != "vote_id" and value is not None}
        vote = {"id": chosen_id(details.get("vote_id")), "picture_id": number, "rater": rater, "kind": kind, **given}
        with self._write() as session:
            self._image(session, number)
            latest = latest_votes(session, [(number, rater)]).get((number, rater))
            return post(session, vote | times_of(details.get("created_at"), latest, now())._asdict())

    def add_votes(self, votes: Sequence[NewVote]) -> list[VoteResult]:
        """Add many votes and their images, which the caller has checked; return a status or error for each.

        A vote that was stored before is not added again, even if its rater has voted the opposite since; `make_latest`
        adds it again.

        Raises:
            ThumbtuneError: the disk is full, or the database fails; no vote is stored.
        """
        with self._write() as session:
            return add_votes(session, self.storage, votes)

    def undo(self, vote_id: str, *, rater: str) -> str:
        """Undo a vote, so that the rater's vote before it counts again; return the id of its one undo.

        Raises:
            ThumbtuneError: there is no such vote, it is another rater's, or it is itself an undo.
        """
        name = chosen_id(vote_id)
        with self._write() as session:
            vote = vote_to_undo(session, self.name, name, rater.strip())
            return post(session, undo_of(name, vote.picture_id, vote.rater))

    def newest(self) -> int:
        """Return the id of the newest image; 0 without images."""
        with self.reading() as session:
            return session.scalar(select(func.max(StoredImage.id))) or 0

    def prompts(self, newest: int) -> Iterator[str]:
        """Yield the prompt of each image whose id is at most `newest`."""
        with self.reading() as session:
            yield from counting.prompts(session, newest)

    def distinct_prompts(self, limit: int) -> list[str]:
        """Return at most `limit` of the prompts, each once."""
        with self.reading() as session:
            return list(session.scalars(select(StoredImage.prompt).distinct().limit(limit)))

    def withdraw(self, unrated: Sequence[Unrated], undo: bool) -> int:
        """Return how many of these images have an imported like or dislike of these raters; `undo` undoes those."""
        with self._write() as session:
            raters = imported_labels(session, unrated)
            if undo:
                undo_imported(session, raters)
            return len(raters)

    def make_latest(self, wanted: Sequence[WantedVote]) -> list[tuple[Kind, bool]]:
        """Make each given vote the rater's latest; return each vote added, and whether it replaced its opposite."""
        with self._write() as session:
            return make_latest(session, wanted)

    def check_rater(self, rater: str) -> None:
        """Refuse a rater who cannot be erased.

        Raises:
            UsageError: the rater has no votes, and was never erased.
        """
        with self.reading() as session:
            check_rater(session, self.folder, rater)

    def erase(self, rater: str) -> Erased:
        """Delete all votes of a rater for good, also in the tables made of them; return what that changed.

        Raises:
            UsageError: the rater has no votes.
            ThumbtuneError: something could not be deleted; a second call goes on.
        """
        self.check_rater(rater)
        with erasing(self.folder, rater) as erasure:
            with self._write() as session:
                erased = replace(erase(session, rater), resumed=erasure.resumed)
            if self._session is None:  # otherwise nothing is committed yet
                erasure.clean(self.name, log_is_empty=checkpoint(self._engine))
        return erased

    def erased_raters(self) -> ErasedRaters:
        """Return the raters who were erased."""
        with self.reading() as session:
            return erased_in(session)

    def labels(self) -> Iterator[Label]:
        """Yield the latest vote of each rater on each image, if it is a like or dislike, in the images' order."""
        with self.reading() as session:
            yield from labels_in(session)

    def skips(self) -> int:
        """Return how many latest votes are skips, which `labels` leaves out."""
        with self.reading() as session:
            return counting.skips(session)

    def state(self) -> list[Any]:
        """Return numbers that every vote, undo and erasure changes, and the location of the images."""
        with self.reading() as session:
            return [*counting.extent(session), self._storage.address("")]

    def busiest_raters(self, limit: int | None = None) -> list[str]:
        """Return the raters with the most likes and dislikes that were not undone, most first; all without a limit."""
        with self.reading() as session:
            return counting.busiest_raters(session, limit)

    def variety(self) -> Variety:
        """Return how many distinct images and prompts there are."""
        with self.reading() as session:
            return counting.variety(session)

    def counts(self) -> Counts:
        """Return how many images, votes, likes, dislikes and raters there are."""
        with self.reading() as session:
            return counting.counts(session)
