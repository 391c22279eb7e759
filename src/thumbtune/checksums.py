"""SHA256SUMS: the hashes of the files in a folder, in the form that `sha256sum -c SHA256SUMS` reads.

Its last line, a comment to that program, is the hash of the lines before it. A person who changed or removed a file on
purpose deletes its line and that last one.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from thumbtune.errors import ThumbtuneError, note
from thumbtune.files import file_sha256, sha256, write_text

SUMS = "SHA256SUMS"
LINE = re.compile("([0-9a-f]{64})  (.+)")
OWN = "# sha256 of the lines above: "


def record(folder: Path, names: Iterable[str], known: Mapping[str, str] | None = None) -> None:
    """Note the hashes of files in a folder, by their path inside it; drop the lines of files that are gone.

    Args:
        known: hashes that need not be computed again.

    Raises:
        ThumbtuneError: the list is damaged, or cannot be written.
    """
    sums = _sums(folder) if (folder / SUMS).is_file() else {}
    sums |= known or {}
    sums |= {name: file_sha256(folder / name) for name in names if (folder / name).is_file()}
    _write(folder, {name: digest for name, digest in sorted(sums.items()) if (folder / name).is_file()})


def _write(folder: Path, kept: Mapping[str, str]) -> None:
    text = "".join(f"{digest}  {name}\n" for name, digest in kept.items())
    write_text(folder / SUMS, f"{text}{OWN}{sha256(text.encode())}\n", durable=True)


@contextmanager
def rewriting(folder: Path, names: Iterable[str], keep: bool = True) -> Iterator[None]:
    """Write files of these paths anew inside the `with` block; their hashes are noted at its end.

    Before it their lines are dropped, so that a kill at any moment leaves no hash of a file that was to be replaced.

    Args:
        keep: whether files that exist at the end are noted.
    """
    names = list(names)
    if (folder / SUMS).is_file():
        _write(folder, {name: digest for name, digest in _sums(folder).items() if name not in names})
    yield
    if keep:
        record(folder, names)


def check(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> None:
    """Compare the files of a folder with their noted hashes; files without a line are not looked at.

    Args:
        wanted: whether a file of this path inside the folder is looked at.

    Raises:
        ThumbtuneError: a file, or the list itself, has other bytes than those that were written.
    """
    for file in changed(folder, wanted):
        raise ThumbtuneError(
            f"{file} has changed since it was written; restore it from a copy, or, if the change is yours, delete the "
            f"line of that file and the last line of {folder / SUMS}.",
            code="file-changed",
        )


def changed(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[Path]:
    """Yield the files of a folder that have other bytes than those that were written; `wanted` as in `check`.

    Raises:
        ThumbtuneError: the list of hashes is damaged.
    """
    if (folder / SUMS).is_file():
        for name, digest in _sums(folder).items():
            file = folder / name
            if wanted(name) and file.is_file() and file_sha256(file) != digest:
                yield file


def note_missing(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> None:
    """Note each file of a folder that has a hash and is gone, once in a process; `wanted` as in `check`.

    Raises:
        ThumbtuneError: the list of hashes is damaged.
    """
    if (folder / SUMS).is_file():
        for name in _sums(folder):
            if wanted(name) and not (folder / name).exists():
                _note_missing(folder / name, folder / SUMS)


@cache
def _note_missing(file: Path, sums: Path) -> None:
    note(f"{file} is missing; restore it, or, if you removed it, delete its line and the last line of {sums}.")


def _sums(folder: Path) -> dict[str, str]:
    """Return the hashes by path. A list that a person shortened, without its own hash at the end, is taken as it is.

    Raises:
        ThumbtuneError: the list is damaged.
    """
    try:
        whole = (folder / SUMS).read_text(encoding="utf-8")
    except ValueError:
        whole = OWN
    text, has_own, own = whole.rpartition(OWN) if OWN in whole else (whole, "", "")
    lines = [LINE.fullmatch(line) for line in text.splitlines()]
    if (has_own and own != f"{sha256(text.encode())}\n") or not all(lines):
        raise ThumbtuneError(
            f"{folder / SUMS} has changed since it was written; delete it if the other files are right.",
            code="file-changed",
        )
    return {line[2]: line[1] for line in lines if line}
