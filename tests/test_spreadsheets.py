"""CSV of ours has no cell that a spreadsheet program runs, and reads back as it was."""

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbtune.duels.gallery_folder import write_lists
from thumbtune.evaluation import tables
from thumbtune.evaluation.duel_folder import IMAGE_COLUMNS, read_images
from thumbtune.experiments.result_page import csv_of as csv_of_experiment
from thumbtune.spreadsheets import csv_of, csv_of_records, harmless, original

FORMULAS = (
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3+cmd",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    " =HYPERLINK(1)",
    "'=1",
    "''@x",
    "\uff1d1+1",
    "-",
    "=",
)
HARMLESS = ("a fox", "", "'quoted'", "a = b", "1-2", "it's", "-0.5", "+3", "-1e-5", "-.5", "é", "(-1)")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_a_text(text: str) -> None:
    assert harmless(text) == f"'{text}"
    assert original(f"'{text}") == text


@pytest.mark.parametrize("text", HARMLESS)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert harmless(text) == original(text) == text


@pytest.mark.parametrize("number", [-0.5, 3, -1e-12, float("-inf"), None, True])
def test_numbers_stay_numbers(number: object) -> None:
    assert harmless(number) is number


@given(st.text() | st.text(alphabet="'=+-@\t\r\n 1a"))
def test_every_text_is_read_as_it_was_written(text: str) -> None:
    cell = harmless(text)
    assert isinstance(cell, str) and original(cell) == text
    assert not re.match(r"[=+\-@\t\r]", cell) or re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", cell, re.IGNORECASE)


def test_a_whole_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = [dict(zip(("=name", "score"), (text, "-0.5"), strict=True)) for text in (*FORMULAS, *HARMLESS)]
    file = tmp_path / "a.csv"
    file.write_text(csv_of(["=name", "score"], [list(row.values()) for row in rows]), encoding="utf-8", newline="")
    with file.open(encoding="utf-8", newline="") as lines:
        read = [{original(name): original(cell) for name, cell in row.items()} for row in csv.DictReader(lines)]
    assert read == rows
    with file.open(encoding="utf-8", newline="") as lines:
        assert not [cell for row in csv.reader(lines) for cell in row if re.match(r"[=@\t\r]", cell)]


def test_the_images_of_a_duel_are_read_as_they_were_written(tmp_path: Path) -> None:
    row = {name: "x" for name in IMAGE_COLUMNS} | {"prompt": "0", "seed": "0", "file": "a/0-0.png"}
    row |= {"words": "=cmd|' /C calc'!A0"}
    write_lists(tmp_path, [list(row.values())], [])
    assert "'=cmd" in (tmp_path / "images.csv").read_text()
    assert read_images(tmp_path) == [row]


@pytest.mark.parametrize("write", [tables.as_csv, csv_of_experiment, csv_of_records])
def test_tables_of_results_hold_no_formula(write) -> None:  # type: ignore[no-untyped-def]
    text = write([{"scorer": "=x.py:f", "change": -0.5}, {"scorer": "b", "more": "@x"}])
    assert list(csv.reader(io.StringIO(text))) == [
        ["scorer", "change", "more"],
        ["'=x.py:f", "-0.5", ""],
        ["b", "", "'@x"],
    ]
