"""Expand names with braces, as shells and WebDataset write them: `shards-{000..012}.tar`, `{train,more}.tar`."""

import re
from collections.abc import Iterator
from itertools import product
from math import prod

from thumbtune.errors import UsageError
from thumbtune.feedback.quoting import shown

MAX_NAMES = 100_000  # far above any data set, and far below the memory

_BRACES = re.compile(r"\{(\d{1,18}\.\.\d{1,18}|[^{}]*,[^{}]*)\}", re.ASCII)


def has_braces(name: str) -> bool:
    """Return whether a name stands for several."""
    return _BRACES.search(name) is not None


def expanded(name: str) -> list[str]:
    """Return all names that one stands for, in counting order; the name itself if it has no braces.

    Raises:
        UsageError: there are more than `MAX_NAMES`.
    """
    parts = _BRACES.split(name)  # every second one was in braces
    if prod(_count(inside) for inside in parts[1::2]) > MAX_NAMES:
        raise UsageError(
            f"{shown(name)} names more than {MAX_NAMES:,} files; name fewer at once.", code="names-too-many"
        )
    choices = [list(_choices(part)) if number % 2 else [part] for number, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


def _count(inside: str) -> int:
    ends = inside.split("..")
    return inside.count(",") + 1 if len(ends) != 2 or "," in inside else abs(int(ends[1]) - int(ends[0])) + 1  # noqa: PLR2004


def _choices(inside: str) -> Iterator[str]:
    if "," in inside:
        yield from inside.split(",")
        return
    first, last = inside.split("..")
    width = max(len(end) if end.startswith("0") else 0 for end in (first, last))
    step = 1 if int(first) <= int(last) else -1
    yield from (f"{number:0{width}}" for number in range(int(first), int(last) + step, step))
