"""The order of a rater's votes survives a clock that is set back, and times that lie in the future."""

import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert, select, text

from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.likes import likes_of
from thumbtune.feedback.policies import apply_policy
from thumbtune.feedback.stats import stats_of
from thumbtune.feedback.store import schema, tables
from thumbtune.feedback.store.database import url_of
from thumbtune.feedback.store.order import LatestVote, times_of
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import Vote

Paint = Callable[..., bytes]
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FAR = "2999-01-01T00:00:00Z"


class Clock:
    """A clock that tests set; it stands for the module `datetime` where the store reads the time."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self, zone: object) -> datetime:
        self.at += timedelta(microseconds=1)
        return self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(tables, "datetime", clock)
    return clock


@pytest.fixture
def log(tmp_path: Path, paint: Paint) -> Callable[..., Path]:
    """Write rows about one image, each a label and a time or None."""
    (tmp_path / "a.png").write_bytes(paint())

    def write(*rows: tuple[int, str | None]) -> Path:
        with (tmp_path / "log.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "prompt", "label", "created_at"])
            writer.writerows(["a.png", "a fox", label, at or ""] for label, at in rows)
        return tmp_path / "log.csv"

    return write


def liked(store: Store) -> list[bool]:
    return [label.liked for label in store.labels()]


def test_a_clock_that_is_set_back_does_not_turn_the_order_of_votes(store: Store, paint: Paint, clock: Clock) -> None:
    fox = store.add_image(paint(), "a fox")
    store.vote(fox, "like", rater="ann")
    clock.at = NOON - HOUR
    store.vote(fox, "dislike", rater="ann")
    assert liked(store) == [False]
    (label,) = store.labels()
    assert label.created_at < NOON, "people see what the clock showed"
    assert label.order > NOON
    assert [(row.likes, row.dislikes) for row in stats_of(store).raters] == [(0, 1)]
    assert likes_of(store)["label"][:] == [False]
    store.vote(fox, "like", rater="ann")
    assert liked(store) == [True]
    store.vote(fox, "skip", rater="ann")
    assert liked(store) == [] and store.skips() == 1


def test_a_clock_set_back_between_imports(store: Store, log: Callable[..., Path], clock: Clock) -> None:
    import_likes(log((1, None)), store)
    clock.at = NOON - 24 * HOUR
    assert import_likes(log((0, None)), store).changed == 1
    assert liked(store) == [False]
    assert import_likes(log((0, None)), store).duplicates == 1


def test_a_clock_set_back_amid_an_import(
    store: Store, log: Callable[..., Path], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thumbtune.feedback.importers.ROWS_AT_ONCE", 1)

    def slowly(rows):  # type: ignore[no-untyped-def]
        for row in rows:
            yield row
            clock.at -= HOUR

    import_likes(log((1, None), (0, None), (1, None), (0, None)), store, progress=slowly)
    assert liked(store) == [False]


def test_a_clock_set_back_before_a_vote_is_undone(store: Store, paint: Paint, clock: Clock) -> None:
    fox = store.add_image(paint(), "a fox")
    store.vote(fox, "like", rater="ann")
    clock.at = NOON - HOUR
    dislike = store.vote(fox, "dislike", rater="ann")
    clock.at = NOON - 2 * HOUR
    store.undo(dislike, rater="ann")
    assert liked(store) == [True]


def test_a_vote_from_the_future_outranks_nothing_after_it(store: Store, log: Callable[..., Path], paint: Paint) -> None:
    import_likes(log((1, FAR)), store)
    (label,) = store.labels()
    assert label.created_at.year == 2999, "the source's time is shown"
    assert label.order < tables.now()
    store.vote(label.image, "dislike", rater="import")
    assert liked(store) == [False]


def test_an_import_without_times_follows_a_vote_from_the_future(store: Store, log: Callable[..., Path]) -> None:
    import_likes(log((1, FAR)), store)
    assert import_likes(log((0, None)), store).changed == 1
    assert liked(store) == [False]
    assert import_likes(log((1, FAR)), store).duplicates == 1, "its id is that of before"


def test_a_dated_import_follows_a_vote_from_the_future(store: Store, log: Callable[..., Path], clock: Clock) -> None:
    import_likes(log((1, FAR)), store)
    clock.at = NOON + 24 * HOUR
    import_likes(log((0, (NOON + HOUR).isoformat())), store)
    assert liked(store) == [False]


def test_a_vote_that_is_given_a_future_time(store: Store, paint: Paint) -> None:
    fox = store.add_image(paint(), "a fox")
    store.vote(fox, "like", rater="ann", created_at=datetime.max.replace(tzinfo=UTC))
    store.vote(fox, "dislike", rater="ann")
    assert liked(store) == [False]


@pytest.mark.parametrize("rows", [((0, "2998-01-01"), (1, FAR)), ((1, FAR), (0, "2998-01-01"))])
@pytest.mark.parametrize("at_once", [1, 500])
def test_votes_of_a_wrong_clock_keep_their_own_order(
    store: Store, log: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, rows: list[tuple[int, str]], at_once: int
) -> None:
    monkeypatch.setattr("thumbtune.feedback.importers.ROWS_AT_ONCE", at_once)
    import_likes(log(*rows), store)
    assert liked(store) == [True]


def test_a_wrong_clock_and_an_interruption_end_alike(
    file_store: Store, log: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thumbtune.feedback.importers.ROWS_AT_ONCE", 1)
    file = log((1, FAR), (0, "2998-01-01"), (0, "2997-01-01"))
    import_likes(file, file_store, progress=lambda rows: islice(rows, 1), whole=False)
    import_likes(file, file_store)
    with Store.open(tmp_path / "other") as other:
        import_likes(file, other)
        assert liked(file_store) == liked(other) == [True]


def test_old_votes_overrule_nothing_newer(store: Store, log: Callable[..., Path]) -> None:
    import_likes(log((1, "2025-06-02")), store)
    assert import_likes(log((0, "2025-06-01")), store).changed == 0
    assert liked(store) == [True]


def test_correct_makes_a_sources_vote_the_latest_while_the_clock_is_back(
    store: Store, log: Callable[..., Path], clock: Clock
) -> None:
    import_likes(log((1, None)), store)
    import_likes(log((0, None)), store)
    clock.at = NOON - HOUR
    assert import_likes(log((1, None)), store, correct=True).changed == 1
    assert liked(store) == [True]


def test_a_policy_takes_the_details_of_the_latest_vote(store: Store, paint: Paint, clock: Clock) -> None:
    fox = store.add_image(paint(), "a fox")
    store.vote(fox, "like", rater="bob", reason="first")
    store.vote(fox, "like", rater="ann", reason="second")
    store.vote(fox, "dislike", rater="ann")
    clock.at = NOON - HOUR
    store.vote(fox, "like", rater="ann", reason="last")
    (label,) = apply_policy(store.labels(), "majority")
    assert label.reason == "last"


@pytest.mark.slow
def test_the_order_of_an_older_store_is_what_it_was(database: str, tmp_path: Path) -> None:
    for where in (database, tmp_path / "likes.sqlite"):
        engine = create_engine(url_of(where))
        schema.upgrade(engine.execution_options(), "it", "0002")
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO pictures (id, key, sha256, prompt, file, width, height, created_at) "
                    "VALUES (1, 'k', 'aa', 'a fox', 'images/aa/aa.png', 8, 8, '2025-01-01 00:00:00.000000')"
                )
            )
            for kind, at in (("like", "2025-01-02"), ("dislike", "2025-01-01"), ("like", "2999-01-01"),
                             ("dislike", "2998-01-01")):  # fmt: skip
                row = {"id": f"{kind} {at}", "picture_id": 1, "rater": "ann", "kind": kind, "weight": 1.0}
                connection.execute(
                    insert(Vote.__table__).values(created_at=datetime.fromisoformat(f"{at}T00:00:00+00:00"), **row)
                )
        schema.upgrade(engine, "it")
        engine.dispose()
    for where in (database, tmp_path):
        with Store.open(where, images=str(tmp_path) if where == database else None) as store:
            assert liked(store) == [True]
            with store.reading() as session:
                assert session.scalars(select(Vote.kind).order_by(Vote.sequence)).all() == [
                    "like",
                    "dislike",
                    "like",
                    "dislike",
                ]
            store.vote(1, "dislike", rater="ann")
            assert liked(store) == [False]


def test_the_rule_itself() -> None:
    latest = LatestVote("like", NOON, "id", NOON)
    assert times_of(None, None, NOON) == (NOON, None)
    assert times_of(None, latest, NOON + HOUR) == (NOON + HOUR, None)
    assert times_of(None, latest, NOON - HOUR) == (NOON - HOUR, NOON + timedelta(microseconds=1))
    assert times_of(NOON - HOUR, latest, NOON + HOUR) == (NOON - HOUR, None)
    assert times_of(NOON + 9 * HOUR, latest, NOON + HOUR) == (NOON + 9 * HOUR, NOON + HOUR)
    assert times_of(NOON.replace(tzinfo=None), None, NOON) == (NOON, None)
