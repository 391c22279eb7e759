"""What an experiment found, as a figure (PNG and SVG), a table (CSV and Markdown) and a page (Markdown).

A claim of the paper is stated beside the criterion that decides it, and code decides: no sentence on whether a claim
holds is written before the numbers are there.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbtune.files import write_text, write_whole

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
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """Something that the paper says, and whether it is so here."""

    says: str
    criterion: str
    verdict: str  # HOLDS, FAILS or OPEN
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """Everything that is written. The page shows the table as `shown_rows` where it is too wide to be read.

    more: further tables of the page, by their heading
    """

    title: str
    about: str
    figure: "Figure"
    caption: str
    rows: Sequence[Row]
    claims: Sequence[Claim] = ()
    shown_rows: Sequence[Row] = ()
    more: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    notes: Sequence[str] = ()


def verdict_of(*conditions: bool | None) -> str:
    """All must be true; None is a condition that the numbers do not decide.

    >>> verdict_of(True, None), verdict_of(False, None), verdict_of(True)
    ('cannot be told', 'does not hold', 'holds')
    """
    if any(condition is False for condition in conditions):
        return FAILS
    return OPEN if any(condition is None for condition in conditions) else HOLDS


def text_of(value: Any) -> str:
    """A cell of a table for people: four digits are more than any of these experiments knows."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def csv_of(rows: Sequence[Row]) -> str:
    """All columns, in the order in which they first appear, at full precision."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    written = io.StringIO()
    table = csv.DictWriter(written, names, lineterminator="\n")
    table.writeheader()
    table.writerows({name: "" if value is None else value for name, value in row.items()} for row in rows)
    return written.getvalue()


def markdown_of(rows: Sequence[Row]) -> str:
    """The same as a table for people."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names), *([text_of(row.get(name)) for name in names] for row in rows)]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def page_of(result: Result) -> str:
    """The page: image, claims, table, notes."""
    parts = [f"# {result.title}\n", result.about + "\n", f"![{result.title}](figure.png)\n", f"*{result.caption}*\n"]
    if result.claims:
        parts.append("## What the paper says, and what is so here\n")
        for number, claim in enumerate(result.claims, start=1):
            parts.append(
                f"{number}. **{claim.says}** → **{claim.verdict}**.\n"
                f"   Criterion: {claim.criterion}\n"
                f"   Measured: {claim.evidence}\n"
            )
    parts += ["## Table\n", markdown_of(result.shown_rows or result.rows)]
    parts.append("All columns are in `table.csv`; versions, hardware and time are in `provenance.json`.\n")
    for heading, rows in result.more.items():
        parts += [f"## {heading}\n", markdown_of(rows)]
    if result.notes:
        parts += ["## Notes\n", "".join(f"- {note}\n" for note in result.notes)]
    return "\n".join(parts)


def write(result: Result, folder: Path) -> Path:
    """Write all five files, each whole or not at all; returns the page."""
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
    write_text(folder / "table.md", markdown_of(result.shown_rows or result.rows))
    return write_text(folder / PAGE, page_of(result))
