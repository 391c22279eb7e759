"""Define the newest form of the store's tables: images, and votes that are only ever added.

`migrations` creates the tables. Tests check on both databases that the migrations and this file agree.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from thumbtune.feedback.quoting import shown

Large = BigInteger().with_variant(Integer(), "sqlite")  # SQLite auto-increments INTEGER only, which has 64 bits
JOB_KINDS = ("generate", "train", "evaluate", "round", "merge", "export", "compare", "duel")
_time_of = datetime.fromisoformat


class DamagedCell(Exception):
    """A cell of the database holds what its column never holds; the message says which."""


class UTCDateTime(TypeDecorator[datetime]):
    """A time that is stored and returned in UTC (SQLite drops the time zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC; a time without a zone is taken as UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the stored time with its zone, UTC."""
        return self.process_bind_param(value, dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Return the function that reads a cell; that of SQLite does at once what SQLAlchemy does in three calls.

        The function raises DamagedCell: SQLite returned what is no time.
        """
        read = super().result_processor(dialect, coltype)

        def process(cell: Any) -> Any:
            try:
                return read(cell) if read is not None else cell
            except (ValueError, TypeError) as error:
                raise DamagedCell(f"{shown(cell)} is no time") from error

        def of_text(cell: Any) -> Any:
            if cell is None:
                return None
            try:
                time = _time_of(cell)
            except (ValueError, TypeError) as error:
                raise DamagedCell(f"{shown(cell)} is no time") from error
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)

        return of_text if dialect.name == "sqlite" else process


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


class Table(DeclarativeBase):
    """The base class of all tables."""


class ImageLocation(Table):
    """One row: the folder or fsspec URL of the images. A relative folder starts at the database."""

    __tablename__ = "place"
    __table_args__ = (CheckConstraint("id = 1", name="there_is_one_place"),)

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    images: Mapped[str]


class StoredImage(Table):
    """One image made for one prompt. The same bytes under two prompts are two rows and one file."""

    __tablename__ = "pictures"
    __table_args__ = (UniqueConstraint("key", name="uq_pictures_key"),)

    id: Mapped[int] = mapped_column(Large, primary_key=True)
    key: Mapped[str] = mapped_column(String(64))  # votes.key_of(sha256, prompt)
    sha256: Mapped[str] = mapped_column(String(64))
    prompt: Mapped[str]
    file: Mapped[str]  # relative to the image location, with forward slashes
    width: Mapped[int]
    height: Mapped[int]
    seed: Mapped[int | None] = mapped_column(Large)
    model: Mapped[str | None]
    source: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)


class Vote(Table):
    """One vote of a rater on an image, or the `undo` of one. Rows never change; only erasing a rater deletes them."""

    __tablename__ = "votes"
    __table_args__ = (
        CheckConstraint("kind IN ('like', 'dislike', 'skip', 'undo')", name="kind_is_known"),
        CheckConstraint("(kind = 'undo') = (undoes IS NOT NULL)", name="undo_names_a_vote"),
        CheckConstraint("weight >= 0", name="weight_is_not_negative"),
        CheckConstraint("grade IS NULL OR (grade >= 0 AND grade <= 1)", name="grade_is_a_fraction"),
        Index("votes_by_picture_and_rater", "picture_id", "rater", "sequence"),
        {"sqlite_autoincrement": True},  # sequence numbers are never reused, so the latest vote stays the latest
    )

    sequence: Mapped[int] = mapped_column(Large, primary_key=True)
    id: Mapped[str] = mapped_column(String(36), unique=True)  # a UUID chosen by the client
    picture_id: Mapped[int] = mapped_column(ForeignKey("pictures.id"))
    rater: Mapped[str]
    kind: Mapped[str] = mapped_column(String(8))
    undoes: Mapped[str | None] = mapped_column(ForeignKey("votes.id"), index=True)
    weight: Mapped[float] = mapped_column(Float, default=1.0)
    grade: Mapped[float | None] = mapped_column(Float)
    reason: Mapped[str | None]
    pair: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    ordered_at: Mapped[datetime | None] = mapped_column(UTCDateTime)  # order.py; None: as created_at


class Erasing(Table):
    """The rater whose votes are being erased. The trigger against deleting votes lets this rater's go."""

    __tablename__ = "erasing"

    rater: Mapped[str] = mapped_column(primary_key=True)


class ErasedRater(Table):
    """The keyed hash of a rater who was erased (erased_raters.py)."""

    __tablename__ = "erased"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)


class ErasureKey(Table):
    """One row: the key of these hashes, as a hexadecimal number."""

    __tablename__ = "erasure_key"
    __table_args__ = (CheckConstraint("id = 1", name="there_is_one_key"),)

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    key: Mapped[str] = mapped_column(String(64))


class Uncertainty(Table):
    """How uncertain a run is of an image: the distance of its log-ratio from the reference point (uncertainty.py)."""

    __tablename__ = "uncertainty"

    picture_id: Mapped[int] = mapped_column(ForeignKey("pictures.id"), primary_key=True, autoincrement=False)
    value: Mapped[float] = mapped_column(Float)
    run: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)


class Job(Table):
    """One job of the studio: a command that runs in a process of its own (jobs.py)."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"kind IN {JOB_KINDS}", name="job_kind_is_known"),
        CheckConstraint("state IN ('waiting', 'running', 'done', 'failed', 'stopped')", name="job_state_is_known"),
        Index(
            "one_job_at_work",
            "host",
            unique=True,
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
        {"sqlite_autoincrement": True},  # the number of a deleted job, which names its files, is never given again
    )

    id: Mapped[int] = mapped_column(Large, primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    folder: Mapped[str]  # that it writes, relative to the studio's root
    arguments: Mapped[str]  # JSON
    state: Mapped[str] = mapped_column(String(8), default="waiting")
    host: Mapped[str | None]  # the machine where it runs or ran
    pid: Mapped[int | None] = mapped_column(Large)
    exit_code: Mapped[int | None]
    sentence: Mapped[str | None]  # the last one that it said
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    started_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    stop_asked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
