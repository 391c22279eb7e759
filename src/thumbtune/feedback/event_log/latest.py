"""The latest vote of each rater on each image, by the rules of the store, from the table `coded`.

    place of a row:   (its time, or infinity without one;  the first of equal votes before the later ones)

One pass over the rows finds the greatest place of a like and that of a dislike, and the greater one counts. Some
groups need more than that and are read row by row, by the store's own functions: those with a time in the future, with
ids of votes, or with both a like and a dislike at their latest time. They are few.

A log may have more rows than fit into memory, so that the groups are made in parts: those of image i in part i mod N.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from thumbtune.feedback.event_log.engine import batches, insert
from thumbtune.feedback.event_log.votes import State, microseconds
from thumbtune.feedback.store.intake import FIRST_REPEATED_SWITCH
from thumbtune.feedback.store.order import MOMENT, LatestVote, times_of

if TYPE_CHECKING:
    import duckdb

ROWS_A_PART = 8_000_000
BITS = 40  # of the number of a row
PLACES = 2**BITS  # rows of a log at most
NO_TIME = 2**61  # microseconds: later than any time
FIRST_MOMENT = -(2**57)  # microseconds: earlier than any time
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COLUMNS = (
    *(("image", "BIGINT"), ("prompt", "BIGINT"), ("rater", "BIGINT"), ("liked", "BOOLEAN"), ("n", "BIGINT")),
    *(("moment", "BIGINT"), ("weight", "DOUBLE"), ("grade", "DOUBLE")),
)


class LogRow(NamedTuple):
    """One vote of a group: its place in the log, its label, its time in microseconds and its id."""

    n: int
    liked: bool
    at: int | None
    vote_id: str | None
    weight: float
    grade: float | None


def make_latest(connection: duckdb.DuckDBPyConnection, now: datetime) -> None:
    """Make the tables `latest` (a row for each rater of an image) and `firsts` (a row for each image).

    `now` is the time of votes without one.
    """
    (rows,) = connection.execute("SELECT count(*) FROM coded").fetchone() or (0,)
    parts = 1 + rows // ROWS_A_PART
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS)
    connection.execute(f"CREATE OR REPLACE TABLE latest ({columns}); CREATE OR REPLACE TABLE odd ({columns})")
    connection.execute(
        "CREATE OR REPLACE TABLE firsts "
        "(image BIGINT, prompt BIGINT, first BIGINT, seed BIGINT, model VARCHAR, source VARCHAR)"
    )
    for part in range(parts):
        _add_part(connection, f"image % {parts} = {part}", microseconds(now))
    _add_odd(connection, now)


def _add_part(connection: duckdb.DuckDBPyConnection, where: str, now: int) -> None:
    place = f"(coalesce(moment, {NO_TIME}) - {FIRST_MOMENT})::HUGEINT * {PLACES} + ({PLACES} - 1 - n)"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE grouped AS
        SELECT image, prompt, rater, rows, liked, n, moment, weight, grade, up, down,
            CASE WHEN rows = 1 THEN false
                ELSE latest > {now} OR ids > 0 OR coalesce(up >> {BITS} = down >> {BITS}, false) END AS is_odd
        FROM (
            SELECT image, prompt, rater, count(*) AS rows, any_value(liked) AS liked, any_value(n) AS n,
                any_value(moment) AS moment, max(place) FILTER (liked) AS up, max(place) FILTER (NOT liked) AS down,
                arg_max_null(weight, place) AS weight, arg_max_null(grade, place) AS grade,
                coalesce(max(moment), 0) AS latest, count(vote_id) AS ids
            FROM (SELECT *, our_liked AS liked, {place} AS place FROM coded WHERE state = {State.VOTE} AND {where})
            GROUP BY image, prompt, rater
        )"""
    )
    top = "greatest(up, down)"
    connection.execute(
        f"""INSERT INTO latest SELECT image, prompt, rater,
            CASE WHEN rows = 1 THEN liked ELSE coalesce(up, -1) > coalesce(down, -1) END,
            CASE WHEN rows = 1 THEN n ELSE ({PLACES} - 1 - ({top} & {PLACES - 1}))::BIGINT END,
            CASE WHEN rows = 1 THEN coalesce(moment, {now})
                WHEN ({top} >> {BITS})::BIGINT + {FIRST_MOMENT} = {NO_TIME} THEN {now}
                ELSE ({top} >> {BITS})::BIGINT + {FIRST_MOMENT} END,
            weight, grade
        FROM grouped WHERE NOT is_odd"""
    )
    connection.execute(
        "INSERT INTO odd SELECT image, prompt, rater, NULL, NULL, NULL, NULL, NULL FROM grouped WHERE is_odd"
    )
    connection.execute(
        f"""INSERT INTO firsts SELECT image, prompt, min(n), arg_min_null(seed, n), arg_min_null(model, n),
            arg_min_null(source, n) FROM coded WHERE state IN ({State.VOTE}, {State.TAKEN}) AND {where}
            GROUP BY image, prompt"""
    )


def _add_odd(connection: duckdb.DuckDBPyConnection, now: datetime) -> None:
    query = (
        "SELECT c.image, c.prompt, c.rater, c.n, c.our_liked, c.moment, c.vote_id, c.weight, c.grade FROM coded c "
        f"JOIN odd USING (image, prompt, rater) WHERE c.state = {State.VOTE} ORDER BY c.image, c.prompt, c.rater, c.n"
    )
    insert(connection, "folded", COLUMNS, _folded(query, connection, now))
    connection.execute("INSERT INTO latest SELECT * FROM folded")


def _folded(query: str, connection: duckdb.DuckDBPyConnection, now: datetime) -> Iterator[tuple[Any, ...]]:
    rows = (tuple(row.values()) for batch in batches(connection, query) for row in batch.to_pylist())
    for key, group in groupby(rows, key=lambda row: row[:3]):
        latest, at = fold((LogRow(*row[3:]) for row in group), now)
        yield *key, latest.liked, latest.n, microseconds(at), latest.weight, latest.grade


def fold(rows: Iterable[LogRow], now: datetime) -> tuple[LogRow, datetime]:
    """Return the row that counts of one rater's votes on one image, and its time, as a store would that adds them.

    Args:
        rows: in the order of the log.
        now: the time of the first row without a time; each later row comes a moment after the one before.
    """
    switches: dict[int | None, tuple[bool, int]] = {}
    stored: set[object] = set()
    latest: LatestVote | None = None
    chosen: LogRow | None = None
    for number, row in enumerate(rows):
        kind, changes = switches.get(row.at, (row.liked, 0))
        changes += kind != row.liked
        switches[row.at] = (row.liked, changes)
        again = changes if changes >= FIRST_REPEATED_SWITCH else 0
        vote = row.vote_id or (row.liked, row.at, again)
        if vote in stored:
            continue
        stored.add(vote)
        given = None if row.at is None else EPOCH + timedelta(microseconds=row.at)
        times = times_of(given, latest, now + number * MOMENT)
        if latest is None or latest.is_before(times):
            latest = LatestVote("like" if row.liked else "dislike", times.created_at, "", times.order)
            chosen = row
    assert chosen is not None and latest is not None
    return chosen, latest.created_at
