"""Single cells: text, numbers, moments, UUIDs, and how a cell is shown in a sentence."""

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbtune.feedback.quoting import listed, named, shown
from thumbtune.feedback.reading.cells import (
    first,
    grade_in,
    is_blank,
    label_in,
    moment_in,
    number_in,
    prompt_in,
    seed_in,
    text_in,
    uuid_in,
)

NAN = float("nan")
KNOWN = uuid.UUID("5f0c3a0e-6d0b-5c53-9d6b-6c7f3a1f8f52")
NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


def test_blank_cells() -> None:
    assert all(is_blank(cell) for cell in (None, "", " \t\n\u3000", NAN, Decimal("NaN"), Decimal("sNaN")))
    assert not any(is_blank(cell) for cell in (0, False, 0.0, "0", "nan", [], {}, b"", Decimal(0)))
    assert first({"a": " ", "b": NAN, "c": 0, "d": 1}, ("a", "b", "x", "c", "d")) == 0
    assert first({}, ("a",)) is None


def test_prompts() -> None:
    assert prompt_in({"prompt": " ", "text": "\n a fox \n", "caption": "x"}) == "a fox"
    assert prompt_in({"caption": "f\xfcr".encode()}) == "f\xfcr"
    assert prompt_in({"prompt": b"a\xff fox"}) == "a fox"
    assert [prompt_in({"prompt": cell}) for cell in (7, ["a"], {"a": 1}, None, b" ")] == [None] * 5


def test_labels_of_one_row() -> None:
    assert label_in({"label": "", "liked": "no"}) is False
    assert [label_in({"like": 0}), label_in({"like": 4}, like_at=3), label_in({"like": 0.5})] == [False, True, None]


def test_text() -> None:
    cells = {
        " ann ": "ann",
        7: "7",
        8.0: "8",
        7.5: "7.5",
        b"ann\xff": "ann\ufffd",
        NAN: None,
        "": None,
        KNOWN: str(KNOWN),
    }
    assert {cell: text_in({"rater": cell}, "rater") for cell in cells} == cells
    assert text_in({}, "rater") is None
    for cell in (["ann"], {"name": "ann"}, ("ann",)):
        with pytest.raises(ValueError, match=r"is no text; name the part that is, as in --map rater=column\.part"):
            text_in({"rater": cell}, "rater")
    with pytest.raises(ValueError, match="rater is too long; shorten it or leave it empty"):
        text_in({"rater": 10**5000}, "rater")


def test_numbers() -> None:
    cells = {"2": 2.0, "0,5": 0.5, 3: 3.0, 0: 0.0, None: None, " ": None, Decimal("1.5"): 1.5}
    assert {cell: number_in({"weight": cell}, "weight") for cell in cells} == cells
    for cell in (-1, "-0.1", "much", float("inf"), [1], {}, b"1"):
        with pytest.raises(
            ValueError, match=r"^weight .* is not a number of at least 0; correct it or leave it empty$"
        ):
            number_in({"weight": cell}, "weight")


def test_grades() -> None:
    assert [grade_in({"grade": cell}, "grade") for cell in (0, "1", 0.75, "0,5", None)] == [0.0, 1.0, 0.75, 0.5, None]
    for cell in (1.0001, -0.1, "high", 5, [0.5]):
        with pytest.raises(ValueError, match=r"^grade .* does not lie between 0 and 1; rescale it or leave it empty$"):
            grade_in({"grade": cell}, "grade")


def test_uuids() -> None:
    for cell in (KNOWN, str(KNOWN), str(KNOWN).upper(), f" {{{KNOWN}}} ", KNOWN.hex, KNOWN.urn):
        assert uuid_in({"vote_id": cell}, "vote_id") == str(KNOWN)
    assert uuid_in({"vote_id": ""}, "vote_id") is None
    for cell in (7, "x", str(KNOWN)[:-1], [KNOWN]):
        with pytest.raises(ValueError, match=r"^vote_id .* is not a UUID; correct it or leave it empty$"):
            uuid_in({"vote_id": cell}, "vote_id")


SECONDS = int(NOON.timestamp())


@pytest.mark.parametrize(
    "cell",
    [
        NOON,
        NOON.replace(tzinfo=None),
        NOON.astimezone(timezone(timedelta(hours=9))),
        "2025-06-01T12:00:00Z",
        " 2025-06-01 12:00 ",
        "2025-06-01T14:00:00+02:00",
        "20250601T120000",
        SECONDS,
        float(SECONDS),
        str(SECONDS),
        f"{SECONDS}.0",
        Decimal(SECONDS),
        SECONDS * 10**3,
        SECONDS * 10**6,
        SECONDS * 10**9,
        str(SECONDS * 10**3),
    ],
)
def test_moments(cell: object) -> None:
    assert moment_in({"created_at": cell}, "created_at") == NOON


def test_days_and_no_moments() -> None:
    assert moment_in({"created_at": date(2025, 6, 1)}, "created_at") == datetime(2025, 6, 1, tzinfo=UTC)
    assert moment_in({"created_at": None}, "created_at") is None
    assert moment_in({"created_at": "1.6.2025"}, "created_at") == datetime(2025, 6, 1, tzinfo=UTC), "the day is first"
    for cell in ("soon", "1.6.25", 10**30, float("inf"), [NOON], "0001-01-01T00:00:00+14:00", 10**400, b"2025"):
        with pytest.raises(ValueError, match=r"^created_at .* is no moment; write it like 2025-06-30T12:00:00Z$"):
            moment_in({"created_at": cell}, "created_at")


ANYTHING = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.decimals(), st.datetimes(),
        st.dates(), st.uuids(), st.timedeltas(), st.integers(4000, 6000).map(lambda n: 10**n),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)  # fmt: skip
READERS: list[Callable[[dict[str, object], str], object]] = [
    text_in, number_in, grade_in, seed_in, uuid_in, moment_in,
]  # fmt: skip


@pytest.mark.parametrize("cell", [float("nan"), None, "", " "])
def test_a_weight_that_is_nan_is_an_empty_cell_as_pandas_means_it(cell: object) -> None:
    assert number_in({"weight": cell}, "weight") is None
    with pytest.raises(ValueError, match="weight 'nan' is not a number of at least 0"):
        number_in({"weight": "nan"}, "weight")


@given(ANYTHING)
def test_any_cell_is_read_or_refused_in_a_short_sentence(cell: object) -> None:
    for reader in READERS:
        try:
            reader({"x": cell}, "x")
        except ValueError as error:
            assert str(error).startswith("x ") and len(str(error)) < 300
            assert str(error).isprintable()


# --- in a sentence


def test_how_cells_are_shown() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    shows = [
        (7, "7"),
        ("fox\n", r"'fox\n'"),
        ("x" * 61, repr("x" * 60 + "...")),
        (b"abc", "of 3 bytes"),
        (memoryview(b"abcd"), "of 4 bytes"),
        ("\ud800\x1b[31m", r"'\ud800\x1b[31m'"),
        (10**5000, "(int)"),
    ]
    assert [shown(cell) for cell, _ in shows] == [words for _, words in shows]
    assert shown(deep).isprintable() and len(shown(list(range(1000)))) <= 63
    assert named("a'b") in ("a'b", 'a"b') and named("n\n" * 50).isprintable()
    assert (listed([]), listed(["a"]), listed(list("abc"))) == ("none", "a", "a, b, c")
    assert listed([str(number) for number in range(25)]).endswith("18, 19 and 5 more")


@given(ANYTHING)
def test_any_cell_is_shown_in_one_short_line(cell: object) -> None:
    words = shown(cell)
    assert words.isprintable() and len(words) <= 150
