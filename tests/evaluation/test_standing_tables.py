"""Standings as tables: cells by hand, marks that mean something elsewhere, and a CSV that gives every number back."""

import csv
import io
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thumbtune.evaluation.standings import ScorePair, standings
from thumbtune.evaluation.tables import HEADER, LATEX, as_csv, cells, latex, markdown

ROW: dict[str, Any] = {
    "scorer": "red",
    "estimand": "median",
    "prompts": 8,
    "distinct": 8,
    "rate": 0.6875,
    "wins": 5,
    "ties": 1,
    "losses": 2,
    "bootstrap": {"low": 0.375, "high": 0.9375},
    "wilson": {"low": 0.3512, "high": 0.9},
    "holm": 0.04567,
    "before": {"mean": 21.4567, "low": 21.0, "high": 22.0},
    "after": {"mean": 0.00012345, "low": 0.0, "high": 1.0},
    "change": {"mean": 0.12345, "low": -0.5, "high": 1.25},
    "style": None,
}
CELLS = ["red", "68.8%", "35.1% to 93.8%", "5 / 1 / 2", "0.046", "21.46", "0.0001234", "+0.123 (-0.5 to +1.25)"]
FAILED = {"scorer": "lost", "estimand": "median", "prompts": 0, "style": None, "holm": None}
NAMES = ["red", "my|file.py:a_b", "50% & #1 {x}", "a~b^c$d", "c:\\tmp"]


def test_cells_by_hand() -> None:
    assert cells(ROW) == CELLS and len(CELLS) == len(HEADER)
    assert cells(ROW | {"holm": 1.0, "rate": 1.0})[1:5:3] == ["100.0%", "1"]
    assert cells(ROW | {"holm": 1.5e-7})[4] == "1.5e-07"
    pairs = ROW | {"estimand": "pairwise", "distinct": 20}
    assert cells(pairs)[2] == "37.5% to 93.8%", "of enough prompts' pairs the bootstrap alone"
    assert cells(pairs | {"distinct": 19})[2] == "35.1% to 93.8%"


def test_a_scorer_that_failed_has_dashes() -> None:
    assert cells(FAILED) == ["lost", *["-"] * 7]


def cells_of_markdown(line: str) -> list[str]:
    """As GitHub reads a line: a bar after a backslash is part of its cell."""
    parts = re.split(r"(?<!\\)\|", line)
    assert parts[0] == parts[-1] == ""
    return [part.strip().replace("\\|", "|") for part in parts[1:-1]]


def test_markdown_has_a_line_for_each_row_and_bars_do_not_break_it() -> None:
    rows = [ROW | {"scorer": name} for name in NAMES[:2]] + [FAILED]
    text = markdown(rows)
    lines = text.split("\n")
    assert lines.pop() == "" and len(lines) == 5
    assert lines[0].startswith("| scorer | win rate | 95% interval | win / tie / loss | p (Holm) | mean before | mean")
    assert lines[1] == "|" + " --- |" * 8
    assert lines[2] == "| " + " | ".join(CELLS) + " |"
    assert [cells_of_markdown(line) for line in (lines[0], *lines[2:])] == [list(HEADER), *map(cells, rows)]
    assert "my\\|file.py:a_b" in lines[3]
    assert markdown([]).count("\n") == 2


def test_latex_is_a_tabular_of_as_many_columns() -> None:
    lines = latex(iter([ROW, FAILED])).split("\n")
    assert lines[:2] == [r"\begin{tabular}{lrrrrrrr}", r"\toprule"] and lines[3] == r"\midrule"
    assert lines[2] == (
        r"scorer & win rate & 95\% interval & win / tie / loss & p (Holm) & mean before & mean after & change \\"
    )
    assert lines[4] == (
        r"red & 68.8\% & 35.1\% to 93.8\% & 5 / 1 / 2 & 0.046 & 21.46 & 0.0001234 & +0.123 (-0.5 to +1.25) \\"
    )
    assert lines[5] == r"lost & - & - & - & - & - & - & - \\"
    assert lines[6:] == [r"\bottomrule", r"\end{tabular}", ""]


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("my_file.py:score", r"my\_file.py:score"),
        ("50% & #1", r"50\% \& \#1"),
        ("{$x}", r"\{\$x\}"),
        ("a~b^c", r"a\textasciitilde{}b\^{}c"),
        (r"c:\tmp", r"c:\textbackslash{}tmp"),
    ],
)
def test_marks_that_mean_something_to_latex_are_escaped(name: str, escaped: str) -> None:
    assert latex([ROW | {"scorer": name}]).split("\n")[4].startswith(escaped + " & ")


@given(st.text("ab\\&%$#_{}~^ ", max_size=12))
@settings(deadline=None)
def test_escaping_for_latex_loses_nothing(name: str) -> None:
    line = latex([FAILED | {"scorer": name}]).split("\n")[4]
    there = line.removesuffix(r" & - & - & - & - & - & - & - \\")
    back = {escaped: letter for letter, escaped in LATEX.items()}
    pattern = "|".join(re.escape(escaped) for escaped in sorted(back, key=len, reverse=True))
    assert re.sub(pattern, lambda found: back[found[0]], there) == name
    assert not re.search(r"[&%$#_~]", re.sub(pattern, "", there))


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_csv_gives_every_number_back_to_the_last_bit() -> None:
    before, after = [[0.1, 0.7], [0.2, 0.3], [1 / 3, 0.5]], [[0.3, 0.1], [0.9, 0.8], [0.5, 2 / 3]]
    told = {'my "own", scorer': ScorePair(before, after), "lost": ScorePair([[float("nan")] * 2] * 3, after)}
    rows = standings(told, ["a", "b", "c"], ["x", "y", "y"])
    back = read(as_csv(rows))
    assert len(back) == len(rows) == 12
    for row, line in zip(rows, back, strict=True):
        assert (line["scorer"], line["style"]) == (row["scorer"], row["style"] or "")
        for name, value in line.items():
            expected: Any = row
            for part in name.split("."):
                expected = expected.get(part, {}) if isinstance(expected, dict) else None
            if isinstance(expected, float | int):
                assert float(value) == expected, name
            else:
                assert value == (expected or ""), name
    assert {"rate", "bootstrap.low", "wilson.high", "paper.low", "change.mean", "holm", "more_prompts"} <= set(back[0])


def test_a_csv_has_a_header_once_and_empty_cells_where_there_is_nothing() -> None:
    text = as_csv([FAILED, {"scorer": "a\nb", "more": {"deep": {"low": 0.5}}}])
    assert text.split("\n")[0] == "scorer,estimand,prompts,style,holm,more.deep.low"
    assert read(text) == [
        {"scorer": "lost", "estimand": "median", "prompts": "0", "style": "", "holm": "", "more.deep.low": ""},
        {"scorer": "a\nb", "estimand": "", "prompts": "", "style": "", "holm": "", "more.deep.low": "0.5"},
    ]
