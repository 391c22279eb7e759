"""The two tables of the store: pictures, and votes that are only ever added to."""

from datetime import UTC, datetime

from sqlalchemy import (
    DDL,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    String,
    TypeDecorator,
    UniqueConstraint,
    event,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = 1


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
    """The parent of both tables; its metadata is what a migration tool would compare with."""


class Picture(Table):
    """One picture made for one prompt. The same bytes under two prompts are two pictures and one file."""

    __tablename__ = "pictures"
    __table_args__ = (UniqueConstraint("sha256", "prompt"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    prompt: Mapped[str]
    file: Mapped[str]  # relative to the store's folder, with forward slashes
    width: Mapped[int]
    height: Mapped[int]
    seed: Mapped[int | None]
    model: Mapped[str | None]
    source: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)


class Vote(Table):
    """One thing somebody said about a picture, or (`undo`) took back. Never changed, never deleted."""

    __tablename__ = "votes"
    __table_args__ = (
        CheckConstraint("kind IN ('like', 'dislike', 'skip', 'undo')", name="kind_is_known"),
        CheckConstraint("(kind = 'undo') = (undoes IS NOT NULL)", name="undo_names_a_vote"),
        CheckConstraint("weight >= 0", name="weight_is_not_negative"),
        CheckConstraint("grade IS NULL OR (grade >= 0 AND grade <= 1)", name="grade_is_a_fraction"),
        Index("votes_by_picture_and_rater", "picture_id", "rater", "sequence"),
        {"sqlite_autoincrement": True},  # a sequence number is never used twice, so "last" stays "last"
    )

    sequence: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(36), unique=True)  # a UUID chosen by whoever votes
    picture_id: Mapped[int] = mapped_column(ForeignKey("pictures.id"))
    rater: Mapped[str]
    kind: Mapped[str] = mapped_column(String(8))
    undoes: Mapped[str | None] = mapped_column(ForeignKey("votes.id"), index=True)
    weight: Mapped[float] = mapped_column(default=1.0)
    grade: Mapped[float | None]
    reason: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)


def _forbid(verb: str) -> DDL:
    """A trigger that turns any attempt to change or remove a vote into an error."""
    return DDL(
        f"CREATE TRIGGER votes_refuse_{verb.lower()} BEFORE {verb} ON votes "
        "BEGIN SELECT RAISE(ABORT, 'votes are append-only'); END"
    )


for _verb in ("UPDATE", "DELETE"):
    event.listen(Vote.__table__, "after_create", _forbid(_verb).execute_if(dialect="sqlite"))
