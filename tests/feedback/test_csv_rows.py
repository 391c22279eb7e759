"""Rows of .csv and .tsv files, as spreadsheet programs, pandas and the csv module write them."""

import csv
import gzip
import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from thumbtune.feedback.reading import texts
from thumbtune.feedback.reading.record import Record
from thumbtune.feedback.reading.rows import read_rows

HARD = 'a "big", red; fox\nin\ttwo lines'


def rows_of(path: Path, data: str | bytes, **options: str) -> list[tuple[str, Record | None]]:
    path.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
    return list(read_rows(path, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz"])
def test_delimiters(tmp_path: Path, name: str, delimiter: str) -> None:
    """In a file of either name; "Text-CSV" of a spreadsheet program may have any of them."""
    text = io.StringIO(newline="")
    out = csv.writer(text, delimiter=delimiter)
    out.writerows([["Prompt", "weight", ""], [HARD, "0,5", "x"], [], ["hare", "", ""]])
    data = text.getvalue().encode()
    data = gzip.compress(data) if name.endswith("gz") else data
    assert rows_of(tmp_path / name, data) == [
        (f"{name}, line 3", {"prompt": HARD, "weight": "0,5"}),
        (f"{name}, line 5", {"prompt": "hare", "weight": ""}),
    ]


@pytest.mark.parametrize("sep", [",", ";", "\t"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_tables_of_pandas(tmp_path: Path, sep: str, suffix: str) -> None:
    frame = pd.DataFrame({"prompt": [HARD, "für"], "label": [True, False], "weight": [1.5, None], "seed": [7, 2**40]})
    file = tmp_path / f"a.csv{suffix}"
    frame.to_csv(file, sep=sep, index=False)
    assert [row for _, row in read_rows(file)] == [
        {"prompt": HARD, "label": "True", "weight": "1.5", "seed": "7"},
        {"prompt": "für", "label": "False", "weight": "", "seed": str(2**40)},
    ]
    frame.to_csv(file, sep=sep)
    assert [row for _, row in read_rows(file)][1] == {
        "prompt": "für",
        "label": "False",
        "weight": "",
        "seed": str(2**40),
    }, "the index has no name"


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_a_line_that_says_which_delimiter(tmp_path: Path, mark: str) -> None:
    """As some spreadsheet programs write it; it is not counted as the header."""
    text = f"\r\nSEP={mark}\r\na,1{mark}b;2\r\nx,y{mark}z;w\r\n"
    if mark in ",;":
        text = f"sep={mark}\r\na{mark}b\r\nx{mark}z\r\n"
        assert rows_of(tmp_path / "a.csv", text) == [("a.csv, line 3", {"a": "x", "b": "z"})]
    else:
        assert rows_of(tmp_path / "a.csv", text) == [("a.csv, line 4", {"a,1": "x,y", "b;2": "z;w"})]


def test_a_header_of_one_column(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "a.csv", "prompt\na, fox\n")[0][1] is None, "two cells below one name"
    assert rows_of(tmp_path / "a.csv", 'prompt\n"a, fox"\nb; c\n') == [
        ("a.csv, line 2", {"prompt": "a, fox"}),
        ("a.csv, line 3", {"prompt": "b; c"}),
    ]


def test_delimiters_in_quoted_names(tmp_path: Path) -> None:
    text = '"a;b;c;d",label\n1,2\n'
    assert rows_of(tmp_path / "a.csv", text) == [("a.csv, line 2", {"a;b;c;d": "1", "label": "2"})]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines(tmp_path: Path, end: str) -> None:
    text = end.join(["", "a,b", "1,2", "  ", ",", '3,"x' + end + 'y"', "5,6"])
    assert rows_of(tmp_path / "a.csv", text) == [
        ("a.csv, line 3", {"a": "1", "b": "2"}),
        ("a.csv, line 7", {"a": "3", "b": f"x{end}y"}),
        ("a.csv, line 8", {"a": "5", "b": "6"}),
    ]


def test_cells_that_are_missing_or_too_many(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "a.csv", "a,b\n1\n1,2,3\n1,2,, \n") == [
        ("a.csv, line 2", {"a": "1", "b": None}),
        ("a.csv, line 3", None),
        ("a.csv, line 4", {"a": "1", "b": "2"}),
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "a,b", "a,b\n", "sep=;", " \n"])
def test_tables_without_rows(tmp_path: Path, text: str) -> None:
    assert rows_of(tmp_path / "a.csv", text) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [('a,b\n1,"x\n2,y\n', 2), ('a,b\n1,2\n\n3,"x', 4), ('"a,b\n1,2\n', 1), ('a\n"x\ny"\n"z\n', 4)],
)
def test_quotes_that_are_never_closed(tmp_path: Path, text: str, line: int) -> None:
    """Python's csv would take all that is left for one cell."""
    with refused("csv-invalid", naming=["a.csv", f"quote in line {line} "]):
        rows_of(tmp_path / "a.csv", text)


def test_huge_fields(tmp_path: Path) -> None:
    """An image as base64: Python's csv stops at 131,072 characters unless told otherwise."""
    huge = "x" * 1_000_000
    assert rows_of(tmp_path / "a.csv", f'a,b\n{huge},1\n"{huge}\n",2\n') == [
        ("a.csv, line 2", {"a": huge, "b": "1"}),
        ("a.csv, line 4", {"a": f"{huge}\n", "b": "2"}),
    ]


def test_rows_that_are_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MAX_ROW", 1000)
    for row in ("x" * 1001, '"' + "x\n" * 600 + '"'):
        with refused("csv-invalid", naming=["row in line 3 ", "0 MB"]):
            rows_of(tmp_path / "a.csv", f"a\n1\n{row}\n2\n")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), min_size=2, max_size=2),
        max_size=4,
    ),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_a_table_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str, quoting: int
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting).writerows([["a", "b"], *rows])
    found = rows_of(tmp_path_factory.mktemp("csv") / "a.csv", text.getvalue())
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    assert [row for _, row in found] == [{"a": a, "b": b} for a, b in filled]
