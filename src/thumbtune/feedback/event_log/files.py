"""The files of an event log: Parquet files in a folder, behind a pattern, or at an address that fsspec opens."""

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError, reason
from thumbtune.feedback.reading.splits import files_of_split, parquet_files
from thumbtune.feedback.store.location import is_store

SUFFIX = ".parquet"
PATTERN = re.compile(r"[*?\[]")
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
DATABASES = ("postgres", "sqlite", "mysql")


@dataclass(frozen=True, kw_only=True)
class LogFiles:
    """The files of a log, in their order; `system` is the file system of fsspec that opens them, None for local ones.

    ends: (size, time or tag) of each file, by which a change is seen
    """

    names: Sequence[str]
    system: Any = None
    ends: Sequence[str] = ()


def is_event_log(likes: str) -> bool:
    """Return whether the name of likes means an event log: Parquet files, or an address that is no database. No file is
    opened.
    """
    scheme = SCHEME.match(likes)
    if scheme is not None:
        return not scheme[1].lower().startswith(DATABASES)
    if likes.lower().endswith(SUFFIX):
        return True
    try:
        return not PATTERN.search(likes) and not is_store(likes) and bool(parquet_files(Path(likes)))
    except (OSError, ThumbtuneError):
        return False


def files_of(likes: str, split: str | None = None) -> LogFiles:
    """Return the files of a log.

    Raises:
        ThumbtuneError: there are none, or the place cannot be reached.
        UsageError: a folder holds several splits and none is named.
    """
    if SCHEME.match(likes):
        return _remote(likes)
    path = Path(likes).expanduser()
    if PATTERN.search(likes) and not path.is_file():
        files = [Path(file) for file in sorted(glob.glob(str(path), recursive=True)) if Path(file).is_file()]
    else:
        files = files_of_split(path, split)
    if not files:
        raise _no_files(likes)
    once: dict[Path, Path] = {}  # a link lies beside the images that it names, so its own name counts
    for file in files:
        once.setdefault(file.resolve(), file.absolute())
    files = list(once.values())
    ends = [f"{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files]
    return LogFiles(names=[str(file) for file in files], ends=ends)


def _remote(likes: str) -> LogFiles:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(likes)
        if PATTERN.search(path):
            paths = system.glob(path)
        else:
            paths = [path] if path.endswith(SUFFIX) else system.glob(f"{path.rstrip('/')}/**{SUFFIX}")
        names = sorted(system.unstrip_protocol(each) for each in paths if each.endswith(SUFFIX))
        ends = [str(system.ukey(each)) for each in names]
    except Exception as error:  # any error of the network, the server or the file system's package
        raise ThumbtuneError(
            f"{likes} could not be reached ({reason(error)}); check the address and your rights there, or install the "
            "package of fsspec that opens it.",
            code="event-log-unreachable",
        ) from error
    if not names:
        raise _no_files(likes)
    return LogFiles(names=names, system=system, ends=ends)


def _no_files(likes: str) -> ThumbtuneError:
    return ThumbtuneError(
        f"{likes} names no Parquet files; give a folder of them, or a pattern as in 'events/*.parquet'.",
        code="event-log-missing",
    )
