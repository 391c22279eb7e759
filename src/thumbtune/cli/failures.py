"""What no code below has put into words: one line for people, and a file with the traceback to report.

    exit code 1    memory or the disk ran out, or the system refused a file
    exit code 70   anything else: a fault of Thumbtune's, or of a library that it uses

With THUMBTUNE_DEBUG=1 the error is raised as it is. Passwords of addresses are left out of the line and of the file,
and so are the values of a database's rows, such as the names of raters: people make the file public.
"""

import errno
import os
import platform
import re
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from thumbtune.errors import reason
from thumbtune.memory import ran_out
from thumbtune.passwords import without_passwords

FAULT = 70  # EX_SOFTWARE of sysexits.h
MAX_CHARACTERS = 200_000  # of a traceback
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
DEBUG = "THUMBTUNE_DEBUG"
_OF_A_ROW = re.compile(r"^([\s|]*(?:DETAIL|CONTEXT):).*", re.MULTILINE)  # PostgreSQL writes values there
_IN_A_LINE = re.compile(r" (?:DETAIL|CONTEXT):.*")


def prepare_streams() -> None:
    """Let the output show any name: a letter that the terminal does not have becomes its number."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError, OSError):  # a stream of somebody else's, or one that is closed
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def flush_quietly() -> None:
    """Write out what is left; forget it if its reader has gone, as `head` goes."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass


def tell(error: Exception) -> int:
    """Print one line on an error that nobody expected, and return the exit code.

    Raises:
        Exception: the error itself, if THUMBTUNE_DEBUG is set.
    """
    if isinstance(error, BrokenPipeError):
        return 1
    if os.environ.get(DEBUG, "0") not in {"", "0"}:
        raise error
    sentence = _of_the_machine(error)
    code = FAULT if sentence is None else 1
    line = without_passwords(_unexpected(error) if sentence is None else sentence)
    with suppress(OSError, ValueError):
        print(f"thumbtune: {line}", file=sys.stderr)
    return code


def _of_the_machine(error: Exception) -> str | None:
    """Return a sentence on memory, the disk or a file that the system refuses; None for all else."""
    if ran_out(error):
        return (
            f"Memory ran out ({reason(error)}); close other programs, or give train.micro_batch a lower value, which "
            "does not change the result, and --resume a training."
        )
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if error.errno in NO_SPACE:
        where = f" for {error.filename}" if error.filename else ""
        return f"The disk has no space left{where}; make room, then run the same command again."
    if error.filename is None:
        return None
    return f"{error.filename} cannot be used ({error.strerror}); check this path and the rights to it, then try again."


def _unexpected(error: Exception) -> str:
    what = f"{type(error).__name__}: {_IN_A_LINE.sub('', reason(error))}"
    file = _write(error)
    if file is None:
        return (
            f"Unexpected error ({what}); run the same command with {DEBUG}=1, and report the traceback that it shows."
        )
    return f"Unexpected error ({what}); report it with the file {file}, which holds the traceback."


def _write(error: Exception) -> Path | None:
    """Write the traceback into the first folder that takes it, and return its file; None if no folder does."""
    now = datetime.now()
    name = f"thumbtune-error-{now:%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    text = "".join(_lines(error, now))
    for folder in _folders(sys.argv[1:]):
        with suppress(OSError, ValueError):
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
            return folder / name
    return None


def _lines(error: Exception, now: datetime) -> Iterator[str]:
    from thumbtune import __version__

    yield f"thumbtune {__version__}, Python {platform.python_version()}, {platform.platform()}, {now:%Y-%m-%d %H:%M}\n"
    yield without_passwords(shlex.join(["thumbtune", *sys.argv[1:]]))[:MAX_CHARACTERS] + "\n\n"
    trace = "".join(traceback.format_exception(error))
    if len(trace) > MAX_CHARACTERS:
        trace = f"{trace[: MAX_CHARACTERS // 2]}\n...\n{trace[-MAX_CHARACTERS // 2 :]}"
    yield _OF_A_ROW.sub(r"\1 ...", without_passwords(trace))


def _folders(words: Sequence[str]) -> Iterator[Path]:
    """Yield the run that the command names, else the folder where it was given, else one for temporary files."""
    named = [word.partition("=")[2] if word.startswith("-") else word for word in words]
    for word in [*named, *(["runs/first"] if words[:1] == ["train"] else [])]:
        with suppress(OSError, ValueError):
            if word and (Path(word) / "recipe.yaml").is_file():
                yield Path(word)
                break
    with suppress(OSError):  # the current folder may be gone
        yield Path.cwd()
    with suppress(OSError):
        yield Path(tempfile.gettempdir())
