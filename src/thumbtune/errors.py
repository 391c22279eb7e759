"""Errors that people read: one sentence that says what, where, and what to do. The command line prints it and exits."""

import re
import reprlib
from collections.abc import Sequence

MAX_SHOWN = 60  # characters of a value in an error
PASSWORDS = (  # of an address, right or misspelt; of options of an address or a command; tokens of the hub
    (re.compile(r"(://[^\s'\"/@:]*)(?::|%3[Aa])(?:[^\s'\"]|\s(?=[^\s'\"]{0,99}@)){0,300}@"), r"\1:***@"),
    (re.compile(r"((?:^|[\s'\"=(])(?:[\w.+-]{2,60}:(?!//)|\w:(?![\\/])))[^\s'\"]{1,300}@"), r"\1***@"),
    (re.compile(r"((?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key)=)[^&\s'\"]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"\bhf_[A-Za-z0-9]{16,}"), "hf_***"),
)
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
        super().__init__(masked(message))
        if code is not None:
            self.code = code


class UsageError(ThumbtuneError):
    """The command or recipe itself is wrong."""

    exit_code = 2


class Interrupted(ThumbtuneError):
    """Somebody pressed Ctrl-C, and the work so far is saved."""

    exit_code = 130
    everywhere = True


def plural(number: int, one: str, many: str | None = None) -> str:
    """Return a number and the noun that it counts: 1 row, 2 rows."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def joined(names: Sequence[str]) -> str:
    """Return names as a list in a sentence: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def reason(error: BaseException, longest: int = 120) -> str:
    """Return the message of a library's error on one line, cut to `longest`; without one, the name of its class."""
    return " ".join(str(error).split())[:longest] or type(error).__name__


def masked(text: str) -> str:
    """Return a text with *** in place of the passwords of the addresses in it, however they are written.

    >>> masked("likes is postgresql://ann:hunter2@[::1, and not an address")
    'likes is postgresql://ann:***@[::1, and not an address'
    """
    for pattern, instead in PASSWORDS:
        text = pattern.sub(instead, text)
    return text


def shown(value: object) -> str:
    """Return any value as Python writes it, cut: nested lists, long texts and integers of thousands of digits too."""
    if isinstance(value, str):
        return repr(value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + "...")
    try:
        text = _BRIEF.repr(value)
    except (ValueError, RecursionError):
        return f"({type(value).__name__})"
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
