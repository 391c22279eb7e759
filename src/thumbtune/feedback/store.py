"""The store of likes: a folder with `likes.sqlite` and the pictures, byte for byte, under `images/`.

A vote is never changed. Somebody who changes their mind votes again, or takes the vote back with `undo`; what
counts is the last word of each rater on each picture.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session, sessionmaker

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.database import WRITES, in_sentences, open_database
from thumbtune.feedback.pictures import look_at
from thumbtune.feedback.tables import Picture, Vote
from thumbtune.feedback.votes import (
    Details,
    Kind,
    check_picture,
    check_vote,
    chosen_id,
    derived_id,
    post,
    standing,
)
from thumbtune.files import sha256, write_whole

__all__ = ["STORE_FILE", "Counts", "Details", "Kind", "Opinion", "Picture", "Store", "is_store"]

STORE_FILE = "likes.sqlite"


def is_store(folder: Path) -> bool:
    """Whether a folder is a store of likes."""
    return (folder / STORE_FILE).is_file()


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """The last word of one rater on one picture."""

    picture: Picture
    rater: str
    liked: bool
    weight: float
    grade: float | None
    reason: str | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How much the store holds; likes and dislikes count last words, `votes` counts every row."""

    pictures: int
    votes: int
    likes: int
    dislikes: int
    raters: int


class Store:
    """A folder of pictures and of what people said about them. Open it with `Store.open`."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        self.file = folder / STORE_FILE
        self._engine = engine
        self._reading = sessionmaker(engine, expire_on_commit=False)
        self._writing = sessionmaker(engine.execution_options(**WRITES), expire_on_commit=False)
        self._open = threading.local()  # the transaction of this thread, if it is inside one

    @classmethod
    def open(cls, folder: Path, create: bool = True) -> Self:
        """Open the store in `folder`, making it first if there is none and `create` is true.

        Raises:
            ThumbtuneError: there is none, it is not ours, it is from a newer version, or cannot be written.
        """
        file = folder / STORE_FILE
        if not create and not file.is_file():
            raise ThumbtuneError(f"{folder} has no likes.sqlite and so no store of likes; import some first.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise ThumbtuneError(f"{folder} could not be made ({reason}); choose another folder.") from error
        return cls(folder, open_database(file))

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

        A `rehearsal` runs the same way and keeps nothing: no rows, and no picture files either.
        A transaction inside a transaction joins the outer one.
        """
        if self._session is not None:
            yield
            return
        with in_sentences(self.file), self._writing() as session:
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
        with in_sentences(self.file), self._reading() as session:
            yield session

    def add_picture(
        self,
        data: bytes,
        prompt: str,
        *,
        seed: int | None = None,
        model: str | None = None,
        source: str | None = None,
    ) -> Picture:
        """Keep a picture made for `prompt`; the same bytes under the same prompt are kept once.

        Raises:
            UnreadablePicture: the bytes are not a whole picture.
            ThumbtuneError: the prompt is empty, the seed out of range, or the disk full or read-only.
        """
        check_picture(prompt, seed)
        name = sha256(data)
        with self._write() as session:
            same = select(Picture).where(Picture.sha256 == name, Picture.prompt == prompt)
            if (known := session.scalar(same)) is not None:
                self._keep(self.path_of(known), data)  # in case the file was lost
                return known
            look = look_at(data)
            file = f"images/{name[:2]}/{name}{look.suffix}"
            self._keep(self.folder / file, data)
            picture = Picture(sha256=name, prompt=prompt, file=file, width=look.width, height=look.height)
            picture.seed, picture.model, picture.source = seed, model, source
            session.add(picture)
            session.flush()
            return picture

    def _keep(self, path: Path, data: bytes) -> None:
        """Write the bytes, before the row that names them, so that no row ever names a missing file."""
        if self._open.rehearsal or (path.is_file() and path.stat().st_size == len(data)):
            return
        write_whole(path, lambda partial: partial.write_bytes(data))

    def picture(self, picture_id: int) -> Picture:
        """The picture with this id.

        Raises:
            ThumbtuneError: there is none.
        """
        with self._read() as session:
            picture = session.get(Picture, picture_id)
        if picture is None:
            raise ThumbtuneError(f"{self.file} holds no picture {picture_id}; add the picture first.")
        return picture

    def path_of(self, picture: Picture) -> Path:
        """Where the picture's bytes lie."""
        return self.folder / picture.file

    def vote(self, picture: Picture | int, kind: Kind, *, rater: str, **details: Unpack[Details]) -> str:
        """Add one vote and return its id. Posting the same `vote_id` twice is one vote.

        Args:
            picture: from `add_picture`, or its id.
            kind: like, dislike, or skip (which also withdraws an earlier opinion).
            rater: who says so.
            details: weight (1 if not given), grade in [0, 1], reason, vote_id (a UUID), created_at.

        Raises:
            ThumbtuneError: an argument is out of range, the id is taken, or the disk is full.
        """
        check_vote(kind, rater, details)
        number = picture if isinstance(picture, int) else picture.id
        given = {key: value for key, value in details.items() if key != "vote_id" and value is not None}
        vote = Vote(id=chosen_id(details.get("vote_id")), picture_id=number, rater=rater, kind=kind, **given)
        with self._write() as session:
            if session.get(Picture, number) is None:
                raise ThumbtuneError(f"{self.file} holds no picture {number}; add the picture first.")
            return post(session, vote)

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
                raise ThumbtuneError(f"{self.file} holds no vote {name}; there is nothing to undo.")
            if vote.rater != rater:
                raise ThumbtuneError(f"vote {name} is {vote.rater}'s; only {vote.rater} can take it back.")
            if vote.kind == "undo":
                raise ThumbtuneError(f"vote {name} is itself an undo; vote again instead.")
            undo = Vote(id=derived_id("undo", name), picture_id=vote.picture_id, rater=rater, kind="undo")
            undo.undoes = name
            return post(session, undo)

    def holds_vote(self, vote_id: str) -> bool:
        """Has this vote been posted before?"""
        with self._read() as session:
            return session.scalar(select(Vote.sequence).where(Vote.id == vote_id)) is not None

    def opinion(self, picture: Picture, rater: str) -> bool | None:
        """Does this rater, by their last word, like the picture? None if they have no opinion."""
        mine = standing().where(Vote.picture_id == picture.id, Vote.rater == rater)
        with self._read() as session:
            kind = session.scalar(mine.order_by(Vote.sequence.desc()).limit(1))
        return {"like": True, "dislike": False}.get(kind or "skip")

    def rows(self) -> Iterator[Opinion]:
        """The last word of each rater on each picture, in the order in which the pictures came."""
        last = standing().with_only_columns(func.max(Vote.sequence)).group_by(Vote.picture_id, Vote.rater)
        said = select(Vote, Picture).join(Picture, Picture.id == Vote.picture_id).where(Vote.sequence.in_(last))
        said = said.where(Vote.kind.in_(("like", "dislike"))).order_by(Vote.picture_id, Vote.rater)
        with self._read() as session:
            for vote, picture in session.execute(said.execution_options(yield_per=1000)):
                yield Opinion(
                    picture=picture,
                    rater=vote.rater,
                    liked=vote.kind == "like",
                    weight=vote.weight,
                    grade=vote.grade,
                    reason=vote.reason,
                    created_at=vote.created_at,
                )

    def counts(self) -> Counts:
        """How many pictures, votes, likes, dislikes and raters there are."""
        last = standing().with_only_columns(func.max(Vote.sequence)).group_by(Vote.picture_id, Vote.rater)
        by_kind = select(Vote.kind, func.count()).where(Vote.sequence.in_(last)).group_by(Vote.kind)
        with self._read() as session:
            kinds = {kind: number for kind, number in session.execute(by_kind)}
            return Counts(
                pictures=session.scalar(select(func.count(Picture.id))) or 0,
                votes=session.scalar(select(func.count(Vote.sequence))) or 0,
                likes=kinds.get("like", 0),
                dislikes=kinds.get("dislike", 0),
                raters=session.scalar(select(func.count(Vote.rater.distinct()))) or 0,
            )
