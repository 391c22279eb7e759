"""Standings as tables: Markdown to read, LaTeX for a paper, CSV with every column for everything else."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from thumbtune.evaluation.standings import careful
from thumbtune.spreadsheets import csv_of_records

HEADER = ("scorer", "win rate", "95% interval", "win / tie / loss", "p (Holm)", "mean before", "mean after", "change")
PAPER = "interval as in the paper"
LATEX = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\^{}",
}


def cells(row: Mapping[str, Any], paper: bool = False) -> list[str]:
    """A row of the readable tables, with the interval as the paper computes it if that is asked for."""
    if not row["prompts"]:
        return [row["scorer"], *["-"] * (len(HEADER) - 1 + paper)]
    low, high = careful(row)
    change = row["change"]
    return [
        row["scorer"],
        f"{row['rate']:.1%}",
        f"{low:.1%} to {high:.1%}",
        f"{row['wins']} / {row['ties']} / {row['losses']}",
        f"{row['holm']:.2g}",
        f"{row['before']['mean']:.4g}",
        f"{row['after']['mean']:.4g}",
        f"{change['mean']:+.3g} ({change['low']:+.3g} to {change['high']:+.3g})",
        *([f"{row['paper']['low']:.1%} to {row['paper']['high']:.1%}"] if paper else []),
    ]


def markdown(rows: Iterable[Mapping[str, Any]], paper: bool = False) -> str:
    """A table as GitHub shows it."""
    header = [*HEADER, *([PAPER] if paper else [])]
    lines = [header, ["---"] * len(header), *(cells(row, paper) for row in rows)]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def latex(rows: Iterable[Mapping[str, Any]]) -> str:
    """A tabular for the booktabs package."""
    head = " & ".join(map(_escaped, HEADER))
    body = "".join(" & ".join(map(_escaped, cells(row))) + r" \\" + "\n" for row in rows)
    columns = "l" + "r" * (len(HEADER) - 1)
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{head} \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"


def _escaped(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in text)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Every number of every row, nested ones as `bootstrap.low`."""
    flat = [dict(_flat(row)) for row in rows]
    return csv_of_records(flat)


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, "" if value is None else value
