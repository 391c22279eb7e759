"""Values of a recipe: read from words as people write them, and what they may be where a type does not say it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from thumbtune.errors import UsageError
from thumbtune.plugins import is_own

LARGEST = 3.4e38  # of float32, in which losses are computed: what lies beyond is infinite there


def value_of(text: str, setting: str) -> Any:
    """What stands behind the equals sign of a setting, read as YAML.

    >>> value_of("1e-4", "train.lr=1e-4"), value_of("my_file:Mine", "objective.name=my_file:Mine")
    (0.0001, 'my_file:Mine')

    Raises:
        UsageError: it cannot be read.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {setting}: the value cannot be read; put quotes round it.") from error
    if isinstance(value, dict) and text.rstrip().endswith(":"):  # a file of the user's without a name: no mapping
        return text.strip()
    # YAML 1.1 reads 1e-4 as a word; people mean a number
    return float(value) if isinstance(value, str) and _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def held(value: Any) -> Any:
    """A check of every option: that a number is one, and no larger than training can hold.

    Raises:
        ValueError: it is infinite, no number, or too large.
    """
    if isinstance(value, float) and not abs(value) <= LARGEST:
        raise ValueError(f"should be a number of at most {LARGEST:g}")
    return value


def known(*names: str) -> Callable[[str], str]:
    """A check that a value is one of our names, or something in a file of the user's."""

    def check(value: str) -> str:
        if value not in names and not is_own(value):
            ours = f"{', '.join(names[:-1])} or {names[-1]}"
            raise ValueError(f"should be {ours}, or something in your own file, my_file:name")
        return value

    return check


def beta(value: Any) -> Any:
    """A check that a beta is a positive number, or the word auto."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if value != "auto" and not 0 < number < math.inf:
        raise ValueError("should be a number greater than 0, or auto")
    return value if value == "auto" else number


def likes(value: Any) -> Any:
    """A check that a recipe, which is kept with its run and shown around, holds no password."""
    if isinstance(value, Path):
        return str(value)
    parts = urlsplit(value) if isinstance(value, str) and "://" in value else None
    if parts is not None and (parts.password or "password" in parse_qs(parts.query)):
        raise UsageError(
            "likes holds a password, and a recipe is kept with its run and shown; leave it out, and set PGPASSWORD or "
            "write it into ~/.pgpass."
        )
    return value


def label_policy(value: str) -> str:
    """A check that a policy is one of ours."""
    from thumbtune.feedback.policies import check_policy

    try:
        return check_policy(value)
    except UsageError as error:
        raise ValueError(str(error).rstrip(".")) from error


def listed(value: Any) -> Any:
    """One name, or several with commas between, as a list."""
    if value is None:
        return []
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value
