"""Values of a recipe: read from words as people write them, and the bounds that hold for every one."""

import math
from typing import Any

import yaml

from thumbtune.errors import UsageError

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


def number_or_auto(value: Any) -> Any:
    """A check that a beta is a positive number, or the word auto.

    Raises:
        ValueError: it is neither.
    """
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if value != "auto" and not 0 < number < math.inf:
        raise ValueError("should be a number greater than 0, or auto")
    return value if value == "auto" else number
