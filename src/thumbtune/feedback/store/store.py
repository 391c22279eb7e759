"""The store of likes: a database of images and votes, and the images themselves, byte for byte.

By default it is a folder with `likes.sqlite` and `images/`; a team's is an address, postgresql://user@host/database,
whose images lie where fsspec finds them. A vote is never changed. Somebody who changes their mind votes again, or
takes the vote back with `undo`; what counts is the last word of each rater on each image.
"""

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
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
    has_tables,
    in_sentences,
    is_address,
    name_of,
    open_database,
)
from thumbtune.feedback.store.erasure import Erased, erase
from thumbtune.feedback.store.intake import Drawn, Outcome, Thumb, add_images, add_thumbs
from thumbtune.feedback.store.location import STORE_FILE, check_is_store, is_store
from thumbtune.feedback.store.places import Place, place_at
from thumbtune.feedback.store.tables import Place as PlaceRow
from thumbtune.feedback.store.tables import StoredImage, Vote
from thumbtune.feedback.store.votes import (
    Details,
    Kind,
    check_image,
    check_vote,
    chosen_id,
    insert_new,
    last_words,
    post,
    stripped,
    undo_of,
)
from thumbtune.feedback.store.withdrawal import Silence, Wish, say_anew, take_back, with_thumbs

__all__ = ["Counts", "Details", "Kind", "Opinion", "Outcome", "Store", "StoredImage", "Thumb", "is_store"]

BESIDE = "."  # images lie beside the database


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """The last word of one rater on one image."""

    image: StoredImage
    rater: str
    liked: bool
    weight: float
    grade: float | None
    reason: str | None
    created_at: datetime
    pair: str | None = None
    vote_id: str | None = None


class Store:
    """Images and what people said about them. Open it with `Store.open`."""

    def __init__(self, where: Path | str, engine: Engine, images: str | None = None) -> None:
        self.where = where
        self.folder = None if is_address(where) else Path(where)
        self.name = name_of(where) if self.folder is None else str(self.folder / STORE_FILE)
        self._engine = engine
        self._reading = sessionmaker(engine, expire_on_commit=False)
        self._writing = sessionmaker(engine.execution_options(**WRITES), expire_on_commit=False)
        self._open = threading.local()  # the transaction of this thread, if it is inside one
        self._place = place_at(self._place_of(images), self.folder or Path())

    @classmethod
    def open(cls, where: Path | str, create: bool = True, images: str | None = None) -> Self:
        """Open the store in a folder or at an address, making it first if there is none and `create` is true.

        `images` is where a new store keeps its images, a folder or URL as fsspec takes it; by default beside the
        database. A server's store must be told.

        Raises:
            ThumbtuneError: there is none, it is not ours, it is from a newer version, it cannot be written, or nothing
                opens `images`.
            UsageError: a server's new store was not told where images go, or another one where to move them.
        """
        if images is not None:
            place_at(images, Path())  # before anything is made: a new store would be bound to a place that nobody opens
        if is_address(where):
            if not create and not has_tables(where):
                raise ThumbtuneError(f"{name_of(where)} holds no store of likes; import some first.")
            return cls._on(where, where, images)
        folder = Path(where)
        if not create:
            check_is_store(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise ThumbtuneError(f"{folder} could not be made ({reason}); choose another folder.") from error
        return cls._on(folder, folder / STORE_FILE, images)

    @classmethod
    def _on(cls, where: Path | str, database: Path | str, images: str | None) -> Self:
        engine = open_database(database)
        try:
            return cls(where, engine, images)
        except BaseException:
            engine.dispose()
            raise

    def _place_of(self, images: str | None) -> str:
        """Where this store's images lie; said once, by whoever makes it."""
        with self._read() as session:
            known = session.scalar(select(PlaceRow.images))
        if known is None and images is None and self.folder is None:
            raise UsageError(f"{self.name} is new: say with --images where its images go, a shared folder or s3://....")
        if known is None and (images is not None or self.folder is None):
            with self._write() as session:  # somebody else may be making the same store
                insert_new(session, PlaceRow, [{"id": 1, "images": images}], PlaceRow.id)
            return self._place_of(images)
        if images not in (None, known or BESIDE):
            raise UsageError(f"{self.name} keeps its images in {known or 'its folder'}, not in {images}; leave it out.")
        return known or BESIDE

    def close(self) -> None:
        """Let go of the database file."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self, rehearsal: bool = False) -> Iterator[None]:
        """Everything said in the block is kept, or after an error or Ctrl-C none of it.

        A `rehearsal` runs the same way and keeps nothing: no rows, and no image files either.
        A transaction inside a transaction joins the outer one.
        """
        if self._session is not None:
            yield
            return
        with in_sentences(self.name), self._writing() as session:
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
    def _read(self) -> Iterator[Session]:
        if self._session is not None:
            yield self._session
            return
        with in_sentences(self.name), self._reading() as session:
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
        """Keep an image made for `prompt`; the same bytes under the same prompt are kept once.

        Raises:
            UnreadableImage: the bytes are not a whole image.
            ThumbtuneError: the prompt is empty, the seed out of range, or the disk full or read-only.
        """
        prompt = prompt.strip()
        check_image(prompt, seed)
        drawn = Drawn(data=data, prompt=prompt, seed=seed, model=stripped(model), source=stripped(source))
        with self._write() as session:
            (image,) = add_images(session, self.place, [drawn])
        if isinstance(image, UnreadableImage):
            raise image
        return image

    @property
    def tables(self) -> Path | None:
        """Where the tables lie that training reads; None beside a server, where they live as long as the program."""
        return self.folder and self.folder / "tables"

    @property
    def place(self) -> Place | None:
        """Where images are written; nowhere in a rehearsal."""
        return None if getattr(self._open, "rehearsal", False) else self._place

    def image(self, picture_id: int) -> StoredImage:
        """The image with this id.

        Raises:
            ThumbtuneError: there is none.
        """
        with self._read() as session:
            image = session.get(StoredImage, picture_id)
        if image is None:
            raise ThumbtuneError(f"{self.name} holds no image {picture_id}; add the image first.")
        return image

    def address_of(self, image: StoredImage) -> str:
        """Where the image's bytes lie: a path, or a URL."""
        return self._place.address(image.file)

    def read(self, image: StoredImage) -> bytes:
        """The image's bytes, as they came.

        Raises:
            ThumbtuneError: they are gone, or cannot be reached.
        """
        return self._place.read(image.file)

    def vote(self, image: StoredImage | int, kind: Kind, *, rater: str, **details: Unpack[Details]) -> str:
        """Add one vote and return its id. Posting the same `vote_id` twice is one vote.

        Args:
            image: from `add_image`, or its id.
            kind: like, dislike, or skip (which also withdraws an earlier opinion).
            rater: who says so.
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
            if session.get(StoredImage, number) is None:
                raise ThumbtuneError(f"{self.name} holds no image {number}; add the image first.")
            return post(session, vote)

    def keep(self, thumbs: Sequence[Thumb]) -> list[Outcome]:
        """Images and votes, many at once; what became of each, in their order. Checked by whoever calls.

        What somebody said before, and then the opposite, is no news; `say_anew` says it again.

        Raises:
            ThumbtuneError: the disk is full, or the database fails: nothing of it is kept.
        """
        with self._write() as session:
            return add_thumbs(session, self.place, thumbs)

    def undo(self, vote_id: str, *, rater: str) -> str:
        """Take a vote back: the rater's vote before it counts again. Return the id of the undo.

        Taking the same vote back twice is one undo.

        Raises:
            ThumbtuneError: there is no such vote, it is somebody else's, or it is itself an undo.
        """
        name = chosen_id(vote_id)
        with self._write() as session:
            vote = session.scalar(select(Vote).where(Vote.id == name))
            if vote is None:
                raise ThumbtuneError(f"{self.name} holds no vote {name}; there is nothing to undo.")
            if vote.rater != rater.strip():
                raise ThumbtuneError(f"vote {name} is {vote.rater}'s; only {vote.rater} can take it back.")
            if vote.kind == "undo":
                raise ThumbtuneError(f"vote {name} is itself an undo; vote again instead.")
            return post(session, undo_of(name, vote.picture_id, vote.rater))

    def newest(self) -> int:
        """The id of the image that came last; 0 where there is none."""
        with self._read() as session:
            return session.scalar(select(func.max(StoredImage.id))) or 0

    def prompts(self, newest: int) -> Iterator[str]:
        """The prompt of each image up to that one."""
        said = select(StoredImage.prompt).where(StoredImage.id <= newest)
        with self._read() as session:
            yield from session.scalars(said.execution_options(yield_per=1000))

    def silence(self, silences: Sequence[Silence], really: bool) -> int:
        """How many of these raters like or dislike these images; `really` takes all that they said of them back."""
        with self._write() as session:
            whose = with_thumbs(session, silences)
            if really:
                take_back(session, whose)
            return len(whose)

    def say_anew(self, wishes: Sequence[Wish]) -> list[tuple[Kind, bool]]:
        """Let these raters' last words be these; the kind of each that was not, and whether the opposite stood."""
        with self._write() as session:
            return say_anew(session, wishes)

    def erase(self, rater: str) -> Erased:
        """Delete all votes of a rater for good; what that touched.

        Raises:
            UsageError: nobody of that name has voted.
        """
        with self._write() as session:
            erased = erase(session, rater)
        checkpoint(self._engine)  # of what was erased, SQLite's log holds a copy
        if self.tables is not None:
            shutil.rmtree(self.tables, ignore_errors=True)  # of rows with this rater in them; made anew when needed
        return erased

    def rows(self) -> Iterator[Opinion]:
        """The last word of each rater on each image, in the order in which the images came."""
        last = last_words()
        said = (
            select(Vote, StoredImage)
            .join(StoredImage, StoredImage.id == Vote.picture_id)
            .where(Vote.sequence.in_(last))
        )
        said = said.where(Vote.kind.in_(("like", "dislike"))).order_by(Vote.picture_id, Vote.rater)
        with self._read() as session, session.execute(said.execution_options(yield_per=1000)) as found:
            for vote, image in found:
                yield Opinion(
                    image=image,
                    rater=vote.rater,
                    liked=vote.kind == "like",
                    weight=vote.weight,
                    grade=vote.grade,
                    reason=vote.reason,
                    created_at=vote.created_at,
                    pair=vote.pair,
                    vote_id=vote.id,
                )

    def skips(self) -> int:
        """How many last words of a rater on an image are a skip: `rows` leaves them out."""
        last = last_words()
        with self._read() as session:
            return session.scalar(select(func.count()).where(Vote.sequence.in_(last), Vote.kind == "skip")) or 0

    def state(self) -> list[Any]:
        """Numbers that are others after every vote, every undo and every erasure, and where images lie."""
        with self._read() as session:
            votes = session.execute(select(func.count(Vote.sequence), func.max(Vote.sequence))).one()
        return [*votes, self._place.address("")]

    def busiest(self, most: int | None = None) -> list[str]:
        """Those raters, or all, who voted most often, but for what they took back, most votes first."""
        with self._read() as session:
            return counting.busiest(session, most)

    def variety(self) -> Variety:
        """How many different images and prompts there are."""
        with self._read() as session:
            return counting.variety(session)

    def counts(self) -> Counts:
        """How many images, votes, likes, dislikes and raters there are."""
        with self._read() as session:
            return counting.counts(session)
