"""The tables of the store, in their newest form: images, and votes that are only ever added to.

`migrations` makes them and is the only thing that does; that both say the same is tested on both databases.
"""

from datetime import UTC, datetime

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
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Large = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only what it calls INTEGER, of 64 bits


class UTCDateTime(TypeDecorator[datetime]):
    """A moment, always kept and returned in UTC (SQLite itself forgets the time zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Shift to UTC on the way in; a moment without a zone is read as UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Say again on the way out that it is UTC."""
        return self.process_bind_param(value, dialect)


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


class Table(DeclarativeBase):
    """The parent of all tables."""


class Place(Table):
    """One row: where the images lie, a folder or URL as fsspec takes it; a relative one starts at the database."""

    __tablename__ = "place"
    __table_args__ = (CheckConstraint("id = 1", name="there_is_one_place"),)

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    images: Mapped[str]


class StoredImage(Table):
    """One image made for one prompt. The same bytes under two prompts are two images and one file."""

    __tablename__ = "pictures"
    __table_args__ = (UniqueConstraint("key", name="uq_pictures_key"),)

    id: Mapped[int] = mapped_column(Large, primary_key=True)
    key: Mapped[str] = mapped_column(String(64))  # votes.key_of(sha256, prompt)
    sha256: Mapped[str] = mapped_column(String(64))
    prompt: Mapped[str]
    file: Mapped[str]  # relative to the place, with forward slashes
    width: Mapped[int]
    height: Mapped[int]
    seed: Mapped[int | None] = mapped_column(Large)
    model: Mapped[str | None]
    source: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)


class Vote(Table):
    """One thing somebody said about an image, or (`undo`) took back. Never changed; deleted with its rater alone."""

    __tablename__ = "votes"
    __table_args__ = (
        CheckConstraint("kind IN ('like', 'dislike', 'skip', 'undo')", name="kind_is_known"),
        CheckConstraint("(kind = 'undo') = (undoes IS NOT NULL)", name="undo_names_a_vote"),
        CheckConstraint("weight >= 0", name="weight_is_not_negative"),
        CheckConstraint("grade IS NULL OR (grade >= 0 AND grade <= 1)", name="grade_is_a_fraction"),
        Index("votes_by_picture_and_rater", "picture_id", "rater", "sequence"),
        {"sqlite_autoincrement": True},  # a sequence number is never used twice, so "last" stays "last"
    )

    sequence: Mapped[int] = mapped_column(Large, primary_key=True)
    id: Mapped[str] = mapped_column(String(36), unique=True)  # a UUID chosen by whoever votes
    picture_id: Mapped[int] = mapped_column(ForeignKey("pictures.id"))
    rater: Mapped[str]
    kind: Mapped[str] = mapped_column(String(8))
    undoes: Mapped[str | None] = mapped_column(ForeignKey("votes.id"), index=True)
    weight: Mapped[float] = mapped_column(Float, default=1.0)
    grade: Mapped[float | None] = mapped_column(Float)
    reason: Mapped[str | None]
    pair: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)


class Erasing(Table):
    """The rater whose votes are being removed, while they are; what refuses to remove votes looks here."""

    __tablename__ = "erasing"

    rater: Mapped[str] = mapped_column(primary_key=True)
