"""Values of a recipe: read as people write them, and checked where a type is not enough."""

import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

from thumbtune.documents import brief
from thumbtune.errors import UsageError
from thumbtune.passwords import names_a_password
from thumbtune.plugins import is_own
from thumbtune.yaml_text import YamlFault, parse_yaml

MAX_FLOAT32 = 3.4e38  # losses are computed in float32, where larger numbers are infinite
MAX_INTEGER = 2**64 - 1  # the largest that torch takes for a seed
INFINITE = ("inf", "-inf", "nan")  # as people type them; YAML writes .inf
DECIMAL_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+")


MIN_SIDE = 8
MAX_SIDE = 8192  # of an image in pixels: larger than any that these models draw
SHIFTS = 0.01, 100.0  # of noise levels; schedulers have 1 to 16
IMAGE_SIZE = re.compile(r"([0-9]{1,5})(?:\s*[xX*]\s*([0-9]{1,5}))?")


class UnusedOption(ValueError):
    """An option is set that changes nothing beside the others."""


def value_of(text: str, setting: str, word: bool = False) -> Any:
    """Return the value of a setting, read as YAML; as a `word`, numbers and truth values stay what was typed.

    >>> value_of("1e-4", "train.lr=1e-4"), value_of("my_file:Mine", "objective.name=my_file:Mine")
    (0.0001, 'my_file:Mine')

    Raises:
        UsageError: it is no YAML.
    """
    try:
        value = parse_yaml(text, [""] if word else [])
    except YamlFault as fault:
        raise UsageError(f"--set {brief(setting)}: {fault.problem}; {fault.remedy}.", code="recipe-setting") from fault
    if isinstance(value, dict) and text.rstrip().endswith(":"):  # `my_file:` without a name, not a mapping
        return text.strip()
    return float(value) if not word and value in INFINITE else value


def finite(value: Any) -> Any:
    """Check a value of any option: a number must be finite, and within float32; an integer within 64 bits.

    Raises:
        ValueError: it is NaN, infinite, or too large.
    """
    if isinstance(value, float) and not abs(value) <= MAX_FLOAT32:
        raise ValueError(f"should be a number of at most {MAX_FLOAT32:g}")
    if isinstance(value, int) and value > MAX_INTEGER:
        raise ValueError(f"should be at most {MAX_INTEGER}")
    return value


def no_password(value: Any) -> Any:
    """Check that a value of any option holds no password, since runs store their recipe and show it.

    Raises:
        UsageError: it is an address with a password in it.
    """
    if isinstance(value, str) and names_a_password(value):
        raise UsageError(
            "The recipe contains a password in an address, and runs show their recipe; leave the password out, and "
            "set PGPASSWORD or write it into ~/.pgpass.",
            code="recipe-password",
        )
    return value


def number(value: Any) -> Any:
    """Check what is given for a number: yes and no are none, and a decimal comma is named.

    Raises:
        ValueError: it is a truth value, or a number with a comma in it.
    """
    if isinstance(value, bool):
        raise ValueError("should be a number, and not yes or no")
    if isinstance(value, str) and DECIMAL_COMMA.fullmatch(value):
        raise ValueError("should be a number, with a point in place of the comma")
    return value


def home(value: Any) -> Any:
    """Return a path or a name with the user's home folder in place of a first ~."""
    if isinstance(value, Path):
        return Path(os.path.expanduser(value))
    return os.path.expanduser(value) if isinstance(value, str) else value


def spelled(value: Any, names: Iterable[object]) -> Any:
    """Return a word as these names write it: with hyphens, where other programs have underscores.

    >>> spelled("sigma_sqrt", ["none", "sigma-sqrt"]), spelled("my_file:name", ["none", "sigma-sqrt"])
    ('sigma-sqrt', 'my_file:name')
    """
    ours = value.replace("_", "-") if isinstance(value, str) else value
    return ours if ours in names else value


def as_option(value: Any, annotation: Any) -> Any:
    """Return a word as the type of its option writes it, if that lists words; any other value unchanged."""
    return spelled(value, get_args(annotation))


def one_of(*names: str) -> Callable[[str], str]:
    """Return a check that a value is one of these names, or something in a file of the user's."""

    def check(value: str) -> str:
        value = spelled(value, names)
        if value not in names and not is_own(value):
            ours = f"{', '.join(names[:-1])} or {names[-1]}"
            raise ValueError(f"should be {ours}, or something in your own file, my_file:name")
        return home(value)

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


def shift(value: Any) -> Any:
    """Check that a shift of noise levels is a number in SHIFTS, or the word auto; return it."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if value != "auto" and not SHIFTS[0] <= number <= SHIFTS[1]:
        raise ValueError(f"should be a number from {SHIFTS[0]:g} to {SHIFTS[1]:g}, or auto")
    return value if value == "auto" else number


def window(value: Any) -> Any:
    """Check that a window of noise levels is two numbers from 0 to 1, of which the second is larger; return them.

    Raises:
        ValueError: it is anything else.
    """
    try:
        low, high = (math.nan if isinstance(one, bool) else float(one) for one in value)
    except (TypeError, ValueError):
        low = high = math.nan
    if not 0 <= low < high <= 1:
        raise ValueError("should be two numbers from 0 to 1, of which the second is larger, such as [0.5, 1]")
    return [low, high]


def count_or_auto(value: Any) -> Any:
    """Check that a number of images is a whole number above 0, or the word auto; return it."""
    whole = _whole(value, 1)
    if whole is None and value != "auto":
        raise ValueError("should be a whole number greater than 0, or auto")
    return value if whole is None else whole


def blocks(value: Any) -> Any:
    """Check that a number of blocks is a whole number of at least 0, or the word all; return it."""
    whole = _whole(value, 0)
    if whole is None and value != "all":
        raise ValueError("should be a whole number of at least 0, or all")
    return value if whole is None else whole


def _whole(value: Any, least: int) -> int | None:
    """Return a whole number of at least `least`, which may be text or end in .0; None for any other value."""
    whole = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    if isinstance(whole, float) and whole.is_integer():
        whole = int(whole)
    return None if isinstance(whole, bool) or not isinstance(whole, int) or whole < least else whole


def side(value: Any) -> Any:
    """Return one side of a square in pixels; of WIDTHxHEIGHT with equal sides, that side.

    >>> side("512x512"), side(640)
    (512, 640)

    Raises:
        ValueError: the two sides differ.
    """
    found = IMAGE_SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found[2] is None:
        return value
    if int(found[1]) != int(found[2]):
        raise ValueError(
            "should be one side of a square in pixels, as 512; images of other shapes are trained in their own shape, "
            "with its area"
        )
    return int(found[1])


def image_size(value: Any) -> Any:
    """Return the size of an image: the side of a square, or WIDTHxHEIGHT; None stays None.

    >>> image_size("768 x 512"), image_size("512x512"), image_size(640)
    ('768x512', 512, 640)

    Raises:
        ValueError: it is neither, or a side is too small or too large.
    """
    if value is None:
        return None
    found = IMAGE_SIZE.fullmatch(str(value).strip()) if isinstance(value, int | str) else None
    sides = [int(side) for side in found.groups() if side is not None] if found else [0]
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in sides):
        raise ValueError(
            f"should be a number of pixels, as 768, or width x height, as 768x512, from {MIN_SIDE} to {MAX_SIDE}"
        )
    return sides[0] if len({*sides}) == 1 else f"{sides[0]}x{sides[1]}"


def height_and_width_of(size: Any) -> int | tuple[int, int] | None:
    """Return a size as models take it: the side of a square, (height, width), or None.

    >>> height_and_width_of("768x512")
    (512, 768)
    """
    if not isinstance(size, str):
        return size
    width, height = size.split("x")
    return int(height), int(width)


def text_of(value: Any) -> Any:
    """Return a path as text, and anything else as it is, with the home folder in place of a first ~."""
    return home(str(value) if isinstance(value, Path) else value)


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
        return [home(name.strip()) for name in names if name.strip()]
    return value


TRACKERS = ("tensorboard", "wandb", "trackio", "mlflow")


def trackers(names: list[str]) -> list[str]:
    """Check that there are trackers of these names; return them, each once, and no name for `none`.

    Raises:
        ValueError: there is no such tracker.
    """
    names = [name.lower() for name in names]
    named = [name for name in dict.fromkeys(names) if name != "none"]
    if not all(name in TRACKERS for name in named):
        raise ValueError(f"should be {', '.join(TRACKERS[:-1])} or {TRACKERS[-1]}, or several with commas between")
    return named
