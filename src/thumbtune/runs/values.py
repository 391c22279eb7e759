"""Values of a recipe: read as people write them, and checked where a type is not enough."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from thumbtune.errors import UsageError, without_passwords
from thumbtune.plugins import is_own

MAX_FLOAT32 = 3.4e38  # losses are computed in float32, where larger numbers are infinite


class UnusedOption(ValueError):
    """An option is set that changes nothing beside the others."""


def value_of(text: str, setting: str) -> Any:
    """Return the value of a setting, read as YAML.

    >>> value_of("1e-4", "train.lr=1e-4"), value_of("my_file:Mine", "objective.name=my_file:Mine")
    (0.0001, 'my_file:Mine')

    Raises:
        UsageError: it is no YAML.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(
            f"--set {setting}: the value is not YAML; put quotes round it.", code="recipe-setting"
        ) from error
    if isinstance(value, dict) and text.rstrip().endswith(":"):  # `my_file:` without a name, not a mapping
        return text.strip()
    # YAML 1.1 reads 1e-4 as a word; people mean a number
    return float(value) if isinstance(value, str) and _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def finite(value: Any) -> Any:
    """Check a value of any option: a number must be finite, and within float32.

    Raises:
        ValueError: it is NaN, infinite, or too large.
    """
    if isinstance(value, float) and not abs(value) <= MAX_FLOAT32:
        raise ValueError(f"should be a number of at most {MAX_FLOAT32:g}")
    return value


def one_of(*names: str) -> Callable[[str], str]:
    """Return a check that a value is one of these names, or something in a file of the user's."""

    def check(value: str) -> str:
        if value not in names and not is_own(value):
            ours = f"{', '.join(names[:-1])} or {names[-1]}"
            raise ValueError(f"should be {ours}, or something in your own file, my_file:name")
        return value

    return check


def beta(value: Any) -> Any:
    """Check that a beta is a positive number, or the word auto; return it."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if value != "auto" and not 0 < number < math.inf:
        raise ValueError("should be a number greater than 0, or auto")
    return value if value == "auto" else number


def likes(value: Any) -> Any:
    """Check that an address of likes has no password, since runs store their recipe and show it; return it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str) and _has_password(value):
        raise UsageError(
            "likes contains a password, and runs show their recipe; leave it out, and set PGPASSWORD or write it "
            "into ~/.pgpass.",
            code="recipe-password",
        )
    return value


def _has_password(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:  # a mistake in the address, such as [::1 without its second bracket
        return without_passwords(address) != address
    if "@" not in parts.netloc and "@" in address:
        return without_passwords(address) != address
    return bool(parts.password) or any("passw" in name.lower() for name in parse_qs(parts.query))


def label_policy(value: str) -> str:
    """Check that a label policy exists; return it."""
    from thumbtune.feedback.policies import check_policy

    try:
        return check_policy(value)
    except UsageError as error:
        raise ValueError(str(error).rstrip(".")) from error


def listed(value: Any) -> Any:
    """Return one name, or several with commas between, as a list."""
    names = value.split(",") if isinstance(value, str) else [] if value is None else value
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return [name.strip() for name in names if name.strip()]
    return value
