"""The result of an experiment as a figure (PNG and SVG), a table (CSV and Markdown) and a page (Markdown).

The page states each claim of the paper beside a criterion, and code decides from the numbers whether it holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbtune.files import write_text, write_whole
from thumbtune.spreadsheets import csv_of_records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "page.md"
HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"
DPI = 110
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.axisbelow": True,
    "svg.hashsalt": "thumbtune",  # equal numbers give equal files
    "legend.frameon": False,
}
Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, the criterion that tests it, the verdict, and the numbers."""

    statement: str
    criterion: str
    verdict: str  # HOLDS, FAILS or OPEN
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """All that an experiment writes.

    rows:        of table.csv, in full
    page_rows:   what the page shows in place of `rows`, where these are too wide to read
    more_tables: further tables of the page, by their heading
    """

    title: str
    about: str
    figure: "Figure"
    caption: str
    rows: Sequence[Columns]
    claims: Sequence[Claim] = ()
    page_rows: Sequence[Columns] = ()
    more_tables: Mapping[str, Sequence[Columns]] = field(default_factory=dict)
    notes: Sequence[str] = ()


def verdict_of(*conditions: bool | None) -> str:
    """Return the verdict on a claim that needs all conditions; None is a condition that the numbers leave open.

    >>> verdict_of(True, None), verdict_of(False, None), verdict_of(True)
    ('cannot be told', 'does not hold', 'holds')
    """
    if any(condition is False for condition in conditions):
        return FAILS
    return OPEN if any(condition is None for condition in conditions) else HOLDS


def text_of(value: Any) -> str:
    """Return a cell of a page's table, with four digits: no experiment here measures more."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def csv_of(rows: Sequence[Columns]) -> str:
    """Return all columns as CSV, in the order of their first appearance, at full precision."""
    return csv_of_records(rows)


def markdown_of(rows: Sequence[Columns]) -> str:
    """Return the same rows as a table in Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names), *([text_of(row.get(name)) for name in names] for row in rows)]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def page_of(result: Result) -> str:
    """Return the page: figure, claims, tables, notes."""
    parts = [f"# {result.title}\n", result.about + "\n", f"![{result.title}](figure.png)\n", f"*{result.caption}*\n"]
    if result.claims:
        parts.append("## Claims and verdicts\n")
        for number, claim in enumerate(result.claims, start=1):
            parts.append(
                f"{number}. **{claim.statement}** → **{claim.verdict}**.\n"
                f"   Criterion: {claim.criterion}\n"
                f"   Measured: {claim.evidence}\n"
            )
    parts += ["## Table\n", markdown_of(result.page_rows or result.rows)]
    parts.append("`table.csv` has all columns; `provenance.json` has the versions, the hardware and the time.\n")
    for heading, rows in result.more_tables.items():
        parts += [f"## {heading}\n", markdown_of(rows)]
    if result.notes:
        parts += ["## Notes\n", "".join(f"- {note}\n" for note in result.notes)]
    return "\n".join(parts)


def write_result(result: Result, folder: Path) -> Path:
    """Write all five files, each whole or not at all; return the path of the page."""
    from matplotlib import rc_context

    def image(kind: str, **options: Any) -> None:
        write_whole(
            folder / f"figure.{kind}",
            lambda partial: result.figure.savefig(partial, format=kind, facecolor="white", **options),
        )

    with rc_context(STYLE):
        image("png", dpi=DPI)
        image("svg", dpi=DPI, metadata={"Date": None})
    write_text(folder / "table.csv", csv_of(result.rows))
    write_text(folder / "table.md", markdown_of(result.page_rows or result.rows))
    return write_text(folder / PAGE, page_of(result))
