"""Errors that people read: one sentence that says what, where, and what to do. The command line prints it and exits.

No sentence shows a password, whatever the address around it looks like: all of them go through `without_passwords`.
A note is such a sentence about something that the program mended itself, or that is unusual; it goes on.
"""

import logging
import re
import reprlib
from collections.abc import Sequence

from thumbtune.passwords import without_passwords

MAX_SHOWN = 60  # characters of a value in an error
INNER_STOP = re.compile(r"(?<!\.)\.\)(?=[;,])")  # an ellipsis stays
_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = MAX_SHOWN


class ThumbtuneError(Exception):
    """Something failed for a reason that a person can correct.

    Args:
        message: one sentence for people; its words may change between versions.
        code: the name of the failure, for programs and tests: `area-what`, stable between versions.
    """

    exit_code = 1
    code = "error"
    everywhere = False  # whether all processes of a training raise it together, so that one can speak for them

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(_told(message))
        if code is not None:
            self.code = code


class UsageError(ThumbtuneError):
    """The command or recipe itself is wrong."""

    exit_code = 2


class Interrupted(ThumbtuneError):
    """Somebody pressed Ctrl-C, and the work so far is saved."""

    exit_code = 130
    everywhere = True


class Terminated(Interrupted):
    """Somebody asked the process to end (SIGTERM), as cluster and container managers do, and the work is saved."""

    exit_code = 143


class ThumbtuneWarning(UserWarning):
    """A note on the settings or the likes of a training, where Python trains: `train` and `Trainer` warn with it."""


def note(sentence: str) -> None:
    """Log a sentence for people under the name `thumbtune`; the command line prints it."""
    logging.getLogger("thumbtune").warning(_told(sentence))


def _told(sentence: str) -> str:
    """Return a sentence without passwords, and without the full stop of another one that stands in brackets in it."""
    return INNER_STOP.sub(")", without_passwords(sentence))


def plural(number: int, one: str, many: str | None = None) -> str:
    """Return a number and the noun that it counts: 1 row, 2 rows."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def joined(names: Sequence[str]) -> str:
    """Return names as a list in a sentence: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def reason(error: BaseException, longest: int = 120) -> str:
    """Return the message of a library's error on one line, cut to `longest`; without one, the name of its class."""
    return " ".join(str(error).split())[:longest] or type(error).__name__


def shown(value: object) -> str:
    """Return any value as Python writes it, cut: nested lists, long texts and integers of thousands of digits too."""
    if isinstance(value, str):
        return repr(value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + "...")
    try:
        text = _BRIEF.repr(value)
    except (ValueError, RecursionError):
        return f"({type(value).__name__})"
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
