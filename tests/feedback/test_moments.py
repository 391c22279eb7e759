"""Moments in any usual form, the columns that hold them, and seeds: they never cost the vote, and are never wrong."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.reading.cells import seed_in
from thumbtune.feedback.reading.moments import AmbiguousDay, day_first_in, moment_of
from thumbtune.feedback.sources.table import Table
from thumbtune.feedback.store.store import Store

Paint = Callable[..., bytes]
Call = Callable[..., tuple[int, str, str]]
MOMENT = datetime(2024, 1, 5, 13, 22, 11, tzinfo=UTC)
SECONDS = int(MOMENT.timestamp())

FORMS: list[object] = [
    "2024-01-05T13:22:11Z", "2024-01-05 13:22:11 UTC", "2024-01-05 13:22:11", "2024-01-05 15:22:11+0200",
    "2024-01-05 15:22:11 +02:00", "2024-01-05T15:22:11+02:00[Europe/Berlin]", "2024/01/05 13:22:11",
    "2024:01:05 13:22:11", "2024-01-05-13-22-11", "2024-01-05_13-22-11", "20240105132211", 20240105132211,
    20240105132211.0, "20240105-132211", "20240105_132211", "20240105T132211Z", "20240105132211000",
    SECONDS, str(SECONDS), float(SECONDS), f"{SECONDS}.0", Decimal(SECONDS), SECONDS * 10**3, str(SECONDS * 10**3),
    "1.704460931E+09", "1.704460931E+12", "1.704460931000e12", "1.704460931E+18",
    SECONDS * 10**6, str(SECONDS * 10**9), float(SECONDS * 10**3),
    "Fri, 05 Jan 2024 13:22:11 GMT", "Fri, 5 Jan 2024 14:22:11 +0100", "Fri Jan  5 13:22:11 2024",
    "Fri Jan 05 13:22:11 +0000 2024", "Fri Jan 05 2024 14:22:11 GMT+0100 (Central European Standard Time)",
    "Fri Jan  5 08:22:11 EST 2024", "Fri Jan 5 14:22:11 CET 2024", "Fri Jan  5 01:22:11 PM UTC 2024",
    "Fri Jan  5 22:22:11 JST 2024", "Fri 05 Jan 2024 08:22:11 AM EST", "2024-01-05 13:22:11 +0000 UTC",
    "2024-01-05 08:22:11.000000 -0500 EST", "2024-01-05 07:22:11 -0600 CST", "2024-01-05 18:52:11 +0530 IST",
    "2024-01-05 16:22:11 MSK",
    "05/Jan/2024:13:22:11 +0000", "Jan 5, 2024 1:22:11 PM", "January 5, 2024 at 1:22:11 pm", "5 January 2024 13:22:11",
    "05.01.2024 13:22:11", "5.1.2024, 13:22:11",
    {"$date": "2024-01-05T13:22:11Z"}, {"$date": SECONDS * 1000}, {"$date": {"$numberLong": str(SECONDS * 1000)}},
    '{"$date": "2024-01-05T13:22:11Z"}', {"_seconds": SECONDS, "_nanoseconds": 0}, {"seconds": SECONDS, "nanos": 0},
    {"__type": "Date", "iso": "2024-01-05T13:22:11.000Z"},
]  # fmt: skip


@pytest.mark.parametrize("cell", FORMS, ids=str)
def test_usual_forms(cell: object) -> None:
    assert moment_of(cell) == MOMENT


@pytest.mark.parametrize(
    ("cell", "moment"),
    [
        ("2024-01-05", datetime(2024, 1, 5, tzinfo=UTC)),
        (20240105, datetime(2024, 1, 5, tzinfo=UTC)),
        ("202401051322", datetime(2024, 1, 5, 13, 22, tzinfo=UTC)),
        ("05.03.2026", datetime(2026, 3, 5, tzinfo=UTC)),
        ("13/5/2024", datetime(2024, 5, 13, tzinfo=UTC)),
        ("5/13/2024 1:22 PM", datetime(2024, 5, 13, 13, 22, tzinfo=UTC)),
        ("5/5/2024", datetime(2024, 5, 5, tzinfo=UTC)),
        ("2024-01-05T13:22:11.123456789Z", MOMENT.replace(microsecond=123456)),
        (SECONDS + 0.5, MOMENT.replace(microsecond=500000)),
        ({"_seconds": SECONDS, "_nanoseconds": 5000}, MOMENT.replace(microsecond=5)),
    ],
)
def test_other_precisions(cell: object, moment: datetime) -> None:
    assert moment_of(cell) == moment


NOT_MOMENTS = [
    "1.70446E+12", "1.7E+12", "1.70446093E+12", "1.70446E+15", "1.70446E+18", "2.02401E+13", "1.704460931E+10", "1E+99",
    "Fri Jan  5 13:22:11 CST 2024", "2024-01-05 13:22:11 IST", "2024-01-05 13:22:11 +0100 EST", "EST 2024-01-05",
    "Fri Jan  5 13:22:11 EST CET 2024",
    "soon", "13:22", "2024", "2024-01", "Jan 2024", "12/31/99", "1.6.25", 45296.55, "45296", "1.70446E+09", 0, 3.5, -1,
    True, "99999999999999", 99999999999999, "20241305132211", "2024-13-05", "2024-01-05 25:00", {}, {"$date": "soon"},
    {"a": 1}, ["2024-01-05"], b"2024-01-05", "x" * 500, "{", "2024-01-05 XYZ",
]  # fmt: skip


@pytest.mark.parametrize("cell", NOT_MOMENTS, ids=lambda cell: str(cell)[:30])
def test_what_is_no_moment_is_refused(cell: object) -> None:
    with pytest.raises(ValueError):
        moment_of(cell)


@given(st.one_of(st.integers(), st.floats(), st.text("0123456789-/.: TZ", max_size=20)))
def test_no_number_becomes_a_far_year(cell: object) -> None:
    try:
        moment = moment_of(cell)
    except (ValueError, ArithmeticError):
        return
    assert isinstance(cell, str) or 2000 <= moment.year < 2100


def test_the_day_is_decided_by_the_column() -> None:
    with pytest.raises(AmbiguousDay):
        moment_of("1/5/2024 13:22")
    assert moment_of("1/5/2024", True).month == 5 and moment_of("1/5/2024", False).day == 5
    assert day_first_in(["1/5/2024", None, "13/5/2024 10:00"]) is True
    assert day_first_in(["1/5/2024", "Fri, 5-13-2024"]) is False
    assert day_first_in(["1/5/2024", "2/2/2024", "soon"]) is day_first_in(["13/5/2024", "5/13/2024"]) is None


# --- in tables


@pytest.fixture
def table(tmp_path: Path, paint: Paint) -> Callable[..., Path]:
    """Write rows as a table beside their image."""
    (tmp_path / "0.png").write_bytes(paint())

    def write(*rows: dict[str, object]) -> Path:
        whole = ({"file_name": "0.png", "prompt": f"a {number}", "label": 1} | row for number, row in enumerate(rows))
        (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, whole)))
        return tmp_path / "t.jsonl"

    return write


@pytest.mark.parametrize(
    "name",
    "created_at createdAt Created-At ts timestamp time date datetime voted_at votedAt rated_at job_timestamp _time "
    "created_utc creation_time".split(),
)
def test_columns_of_times(table: Callable[..., Path], name: str) -> None:
    rows = list(Table(table({name: "2024-01-05 13:22:11 UTC"}, {name: SECONDS}, {name: 20240105132211})))
    assert [row.created_at for row in rows] == [MOMENT] * 3


def test_a_date_is_decided_by_the_others_of_its_column(table: Callable[..., Path]) -> None:
    rows = list(Table(table({"date": "1/5/2024"}, {"date": "25/12/2023 10:00"})))
    assert [row.created_at for row in rows] == [
        datetime(2024, 5, 1, tzinfo=UTC),
        datetime(2023, 12, 25, 10, tzinfo=UTC),
    ]
    (row,) = Table(table({"date": "1/5/2024"}))
    assert (row.created_at, row.left_out) == (None, (("created_at", "'1/5/2024'"),))


SEEDS: list[tuple[object, int | None]] = [
    (422847914351919, 422847914351919), ("422847914351919", 422847914351919), (422847914351919.0, 422847914351919),
    ("123.0", 123), (7.0, 7), (0, 0), (2**63 - 1, 2**63 - 1), (str(2**63 - 1), 2**63 - 1), (" 42 ", 42),
    (-7, -7), ("-7", -7), (-(2**63), -(2**63)),
]  # fmt: skip
NO_SEEDS: list[object] = [
    "4.22848E+14", 4.22848e14, 2**63, str(2**64 - 1), 2**64 - 1, "random", -1, "-1", "0x1F", "12;13", [1, 2], "4,228",
    1.5, True, {"a": 1}, 1e300, "1e5", 2.0**60, "9" * 5000,
]  # fmt: skip


def test_seeds() -> None:
    assert [seed_in({"seed": cell}) for cell, _ in SEEDS] == [seed for _, seed in SEEDS]
    assert seed_in({"seed": None}) is seed_in({}) is seed_in({"seed": " "}) is None
    for cell in NO_SEEDS:
        with pytest.raises(ValueError, match=r"^seed "):
            seed_in({"seed": cell})


def test_a_seed_or_a_time_never_costs_the_vote(table: Callable[..., Path], file_store: Store) -> None:
    rows = [{"seed": cell} for cell in NO_SEEDS] + [{"created_at": cell} for cell in ("soon", "1/5/2024", {})]
    report = import_likes(table(*rows, {"seed": 7, "created_at": SECONDS}), file_store)
    assert (report.likes, report.rows, report.skipped) == (len(rows) + 1, len(rows) + 1, [])
    assert {name: cells.number for name, cells in report.left_out.items()} == {"seed": len(NO_SEEDS), "created_at": 3}


def test_what_was_left_out_is_printed(table: Callable[..., Path], call: Call, tmp_path: Path) -> None:
    file = table({"seed": "random"}, {"seed": -1}, {"ts": "1/5/2024"}, {"label": 0})
    code, out, _ = call("import", file, "--likes", tmp_path / "likes")
    assert code == 0
    assert "2 seeds were left out, and the votes were kept: 'random', -1 (a seed is" in out
    assert "1 time was left out, and the votes were kept: '1/5/2024' (" in out
    assert "read: file_name as image, prompt, label (1 is a like, 0 a dislike), seed, ts as time." in out
