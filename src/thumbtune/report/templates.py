"""Load the templates of all pages, and write numbers for them."""

import math
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

MINUTE, HOUR = 60, 3600
MOST_DECIMALS = 6  # smaller numbers are written as 1.23e-7
MINUS = "\N{MINUS SIGN}"


def template(name: str) -> Template:
    """Return the template of a page; it escapes every value except our own SVG."""
    environment = Environment(
        loader=PackageLoader("thumbtune", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "number": _number,
        "beside": beside,
        "change": change,
        "signed_percent": _signed_percent,
        "duration": _duration,
        "python": repr,
    }
    return environment.get_template(name)


def _percent(share: float) -> str:
    """0.8333 -> 83%."""
    return f"{round(100 * share)}%".replace("-", MINUS)


def _number(value: float) -> str:
    """Return a number with three significant digits."""
    if value == 0:
        return "0"
    decimals = _decimals(value)
    text = f"{value:.{decimals}f}" if decimals <= MOST_DECIMALS else f"{value:.2e}"
    return text.replace("-", MINUS)


def beside(value: float, *others: float) -> str:
    """Return a number with the decimals of the largest beside it, which has three digits: 0.000 beside 0.953."""
    decimals = _decimals(value, *others)
    return f"{value:z.{decimals}f}".replace("-", MINUS) if decimals <= MOST_DECIMALS else _number(value)


def change(row: Mapping[str, Any], name: str) -> str:
    """Return a number of a change with its sign, in at most one decimal more than the means that have changed."""
    numbers, value = row["change"], row["change"][name]
    most = _decimals(row["before"]["mean"], row["after"]["mean"]) + 1
    decimals = min(_decimals(*(numbers[each] for each in ("mean", "low", "high"))), most)
    if decimals > MOST_DECIMALS:
        return ("+" if value > 0 else "") + _number(value)
    return f"{value:+z.{decimals}f}".replace("-", MINUS)


def _decimals(*values: float) -> int:
    """Return the decimals with which the largest of some numbers has three digits."""
    largest = max(map(abs, values))
    return max(0, 2 - math.floor(math.log10(largest))) if largest > 0 and math.isfinite(largest) else 0


def _signed_percent(share: float) -> str:
    """Return a share in percent with its sign, plus or minus."""
    return ("+" if round(100 * share) > 0 else "") + _percent(share)


def _duration(seconds: float) -> str:
    """Return a duration in the unit that a person would use."""
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.1f} h"
