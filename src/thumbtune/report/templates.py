"""Load the templates of all pages, and write numbers for them."""

import math

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
        "signed": _signed,
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
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}" if decimals <= MOST_DECIMALS else f"{value:.2e}"
    return text.replace("-", MINUS)


def _signed(value: float) -> str:
    """Return a number with its sign, plus or minus."""
    return ("+" if value > 0 else "") + _number(value)


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
