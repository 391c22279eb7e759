"""The order of a rater's votes on an image, of which the latest counts.

    (ordered_at, created_at, sequence)

`created_at` is the time that people see: of the source, or of this machine's clock. `sequence` is the order of arrival.
`ordered_at` is `created_at`, except where that cannot be right:

- A vote without a time of its own comes after every vote before it, even if the clock was set back in between.
- A time that lies in the future is bounded by now, so that no later vote is outranked for ever. Of two such times the
  later one is still later.

A vote that its source dates in the past lies there: an old file that is imported today overrules nothing newer.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Select, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from thumbtune.feedback.store.tables import DamagedCell, Vote

T = TypeVar("T")
PARAMETERS_AT_ONCE = 500  # of one statement; SQLite takes some 32,000, and each row of votes has ten
ORDERED_AT = func.coalesce(Vote.ordered_at, Vote.created_at)
ORDER = (ORDERED_AT, Vote.created_at, Vote.sequence)
MOMENT = timedelta(microseconds=1)  # the smallest difference of two times in both databases


class Times(NamedTuple):
    """The time of a vote that people see, and the one that orders it where that is another."""

    created_at: datetime
    ordered_at: datetime | None = None

    @property
    def order(self) -> datetime:
        """The time that orders it."""
        return self.ordered_at or self.created_at


class LatestVote(NamedTuple):
    """A rater's latest vote on an image."""

    kind: str
    created_at: datetime
    id: str
    ordered_at: datetime

    def is_before(self, times: Times) -> bool:
        """Return whether a vote that is stored now, with these times, is later."""
        return (self.ordered_at, self.created_at) <= (times.order, times.created_at)


def times_of(given: datetime | None, latest: LatestVote | None, at: datetime) -> Times:
    """Return the times of a new vote.

    Args:
        given: the time that its source gives, or None.
        latest: the rater's latest vote on the image so far.
        at: the time now.
    """
    after = at if latest is None or latest.ordered_at < at else _just_after(latest.ordered_at)
    if given is None:
        return Times(at, None if after == at else after)
    given = given.astimezone(UTC) if given.tzinfo else given.replace(tzinfo=UTC)
    if given <= at:
        return Times(given)
    if latest is not None and latest.created_at > given:  # both lie in the future, and their own order holds
        return Times(given, latest.ordered_at)
    return Times(given, after)


def _just_after(time: datetime) -> datetime:
    return min(time, datetime.max.replace(tzinfo=UTC) - MOMENT) + MOMENT


def standing_votes() -> Select[str]:
    """Select the kinds of all votes that were not undone; callers may select other columns or narrow it."""
    undone = select(Vote.undoes).where(Vote.undoes.is_not(None))
    return select(Vote.kind).where(Vote.kind != "undo", Vote.id.not_in(undone))


def latest_sequences() -> Select[int]:
    """Select the sequence of each rater's latest vote on each image."""
    newest_first = [column.desc() for column in ORDER]
    rank = func.row_number().over(partition_by=(Vote.picture_id, Vote.rater), order_by=newest_first)
    ranked = standing_votes().with_only_columns(Vote.sequence, rank.label("rank")).subquery()
    return select(ranked.c.sequence).where(ranked.c.rank == 1)


def latest_votes(session: Session, raters: Iterable[tuple[int, str]]) -> dict[tuple[int, str], LatestVote]:
    """Return (image, rater) -> the latest vote that was not undone.

    Raises:
        DamagedCell: a vote has no time.
    """
    columns: tuple[Any, ...] = (Vote.picture_id, Vote.rater, Vote.kind, Vote.id, Vote.created_at, Vote.ordered_at)
    votes = standing_votes().with_only_columns(*columns).order_by(*ORDER)
    connection, found = session.connection(), dict[tuple[int, str], LatestVote]()
    for part in in_parts(raters):
        rows: Any = connection.execute(votes.where(is_among(session, part))).all()
        for image, rater, kind, name, at, ordered_at in rows:
            if at is None:  # SQLite keeps even this
                raise DamagedCell("a vote has no time")
            found[image, rater] = LatestVote(kind, at, name, ordered_at or at)
    return found


def is_among(session: Session, raters: Sequence[tuple[int, str]]) -> ColumnElement[bool]:
    """Return the condition that a vote is one of these (image, rater), for which the index of both is used."""
    pair = tuple_(Vote.picture_id, Vote.rater)
    if session.get_bind().dialect.name != "sqlite":
        return pair.in_(raters)
    pairs = func.json_each(json.dumps(raters)).table_valued("value").c.value  # a list of pairs would read all votes
    return pair.in_(select(func.json_extract(pairs, "$[0]"), func.json_extract(pairs, "$[1]")))


def is_one_of(session: Session, column: InstrumentedAttribute[str], values: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that a column has one of these values; to SQLite they are one parameter, which is faster."""
    if session.get_bind().dialect.name != "sqlite":
        return column.in_(values)
    return column.in_(select(func.json_each(json.dumps(values)).table_valued("value").c.value))


def in_parts(values: Iterable[T]) -> Iterator[list[T]]:
    """Yield the distinct values in lists of at most `PARAMETERS_AT_ONCE`."""
    distinct = list(dict.fromkeys(values))
    return (distinct[start : start + PARAMETERS_AT_ONCE] for start in range(0, len(distinct), PARAMETERS_AT_ONCE))
