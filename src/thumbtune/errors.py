"""Errors that people read: one sentence that says what, where, and what to do. The command line prints it and exits.

No sentence shows a password, whatever the address around it looks like: all of them go through `without_passwords`.
A note is such a sentence about something that the program mended itself; it goes on.
"""

import logging
import re
import reprlib
from collections.abc import Sequence

# scheme://user:password@host, up to the last @ before another address; a password may hold spaces, @, / and quotes.
# All repetitions are bounded, so that a long text takes no long time.
_IN_ADDRESS = re.compile(r"([a-z][\w+.-]{1,30}://[^\s:/@]{0,100}):((?!://).){1,500}@", re.IGNORECASE | re.DOTALL)
# the same with a mistake in the scheme, or without one: postgresql:/ann:password@host, ann:password@host
_SCHEME = r"(?:[a-z][\w+.-]{1,30}:/{0,3})?"
_IN_MISTAKE = re.compile(rf"({_SCHEME}[^\s:/@'\"]{{1,100}}):[^\s@/\\]\S{{0,500}}@(?=[\w.\[/-])", re.IGNORECASE)
_QUOTED = re.compile(r"%3a((?!%40)\S){1,500}%40", re.IGNORECASE)
_AS_OPTION = re.compile(
    r"(\w{0,30}(?:passw|passphrase|pwd|secret|token|api[_-]?key)\w{0,30}=)[^\s&;'\"]+", re.IGNORECASE
)
_HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")
MAX_SHOWN = 60  # characters of a value in an error
_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = MAX_SHOWN


def without_passwords(text: str) -> str:
    """Return a text without the passwords and tokens in it, right or misspelt.

    >>> without_passwords("likes is postgresql://ann:hunter2@[::1, and not an address")
    'likes is postgresql://ann@[::1, and not an address'
    """
    text = _HUB_TOKEN.sub("hf_...", text)
    if "@" in text or "%40" in text:
        text = _QUOTED.sub("%40", _IN_MISTAKE.sub(r"\1@", _IN_ADDRESS.sub(r"\1@", text)))
    return _AS_OPTION.sub(r"\1...", text) if "=" in text else text


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
        super().__init__(without_passwords(message))
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


def note(sentence: str) -> None:
    """Log a sentence for people under the name `thumbtune`; the command line prints it."""
    logging.getLogger("thumbtune").warning(sentence)


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
