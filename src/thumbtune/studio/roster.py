"""The raters whom the owner adds on the page, and the salts that end links; kept in raters.json beside the key.

    added   names, in their order; raters of the command line are not among them
    salts   the mark of a name -> a random text, which is part of the digest of that person's link and cookie

A new salt ends a person's links and cookies, and an added rater always has one: a name that is added again does not get
its old link back. The file is read again whenever it has changed, so that two studios on one store agree.
"""

import json
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from typing_extensions import TypedDict

from thumbtune import documents, locks
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.files import write_text

RATERS_FILE = "raters.json"
FORM = 1
MAX_ADDED = 200
MAX_BYTES = 1_000_000
SALT_BYTES = 16

_thread = threading.Lock()  # of this process; the lock on the disk is for other studios


class _Content(TypedDict):
    form: int
    added: list[str]
    salts: dict[str, str]


@dataclass(frozen=True)
class Roster:
    """The names that were added, and the salts by the marks of names."""

    added: tuple[str, ...] = ()
    salts: Mapping[str, str] = field(default_factory=dict)

    def with_salt(self, mark: str) -> "Roster":
        """Return it with a new salt for one person."""
        return replace(self, salts={**self.salts, mark: secrets.token_hex(SALT_BYTES)})

    def with_rater(self, name: str, mark: str) -> "Roster":
        """Return it with one more rater, who gets a link that nobody had before.

        Raises:
            UsageError: there are too many.
        """
        if len(self.added) >= MAX_ADDED:
            raise UsageError(
                f"The page takes {MAX_ADDED} raters; remove one, or name raters with --rater.",
                code="studio-many-raters",
            )
        return replace(self.with_salt(mark), added=(*self.added, name))

    def without(self, name: str, mark: str) -> "Roster":
        """Return it without a rater; a salt stays, so that no link from before works if the name comes back."""
        return replace(self.with_salt(mark), added=tuple(each for each in self.added if each != name))


class RosterFile:
    """The roster of a studio's folder; without a folder it is empty and cannot change."""

    def __init__(self, folder: Path | None = None) -> None:
        self.file = None if folder is None else folder / RATERS_FILE
        self._read: tuple[tuple[int, ...] | None, Roster] = (None, Roster())

    def read(self) -> Roster:
        """Return the roster as it stands now.

        Raises:
            ThumbtuneError: the file cannot be read.
        """
        if self.file is None:
            return Roster()
        try:
            status = os.stat(self.file)
            mark = (status.st_ino, status.st_size, status.st_mtime_ns)
        except FileNotFoundError:
            return Roster()
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from error
        known, roster = self._read
        if known != mark:
            roster = self._content()
            self._read = (mark, roster)
        return roster

    def change(self, change: Callable[[Roster], Roster]) -> Roster:
        """Write and return the roster that `change` makes of the one that stands; nobody else changes it meanwhile.

        Raises:
            ThumbtuneError: the file cannot be read or written; it is as it was.
        """
        assert self.file is not None, "a studio without a folder"
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ThumbtuneError(
                f"{self.file} could not be written ({error.strerror or error}); check the rights of its folder.",
                code="studio-raters-unwritable",
            ) from error
        try:
            with _thread:
                locks.take(descriptor, wait=True)
                changed = change(self.read())
                content = _Content(form=FORM, added=list(changed.added), salts=dict(changed.salts))
                write_text(self.file, json.dumps(content, indent=1), durable=True)
        finally:
            os.close(descriptor)
        return changed

    def _content(self) -> Roster:
        assert self.file is not None
        try:
            content = documents.read_json(self.file, _Content, max_bytes=MAX_BYTES)
        except documents.DocumentFault as fault:
            if fault.kind == "missing":  # it was removed just now
                return Roster()
            raise self._damaged(str(fault)) from fault
        if content["form"] != FORM:
            raise self._damaged(f"it is of form {content['form']}, not {FORM}")
        return Roster(tuple(content["added"]), content["salts"])

    def _damaged(self, why: str) -> ThumbtuneError:
        return ThumbtuneError(
            f"{self.file} cannot be read ({why}), so nobody knows whose links were ended; put back its content, or "
            "delete it and studio.key, which ends all links.",
            code="studio-raters-unreadable",
        )
