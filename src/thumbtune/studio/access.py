"""Who may use the studio: links with tokens, the cookie that follows, and two roles.

    token  = HMAC(key, "token", role, rater)     in the link that is printed or sent to a rater
    cookie = role.rater.HMAC(key, "cookie", role, rater)

Both follow from one secret key of the store, so that a restarted studio knows its people, and votes that waited in a
browser can be sent. Whoever deletes the key file ends all links and sessions.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.store.votes import check_text
from thumbtune.files import write_whole

Role = Literal["owner", "rater"]
KEY_FILE = "studio.key"
KEY_BYTES = 32
MAX_RATER_CHARACTERS = 60
ATTEMPTS, ATTEMPT_SECONDS = 10, 60.0  # wrong tokens of one address before it has to wait


@dataclass(frozen=True)
class Person:
    """A signed-in rater. An owner may do everything; a rater judges."""

    rater: str
    role: Role

    @property
    def is_owner(self) -> bool:
        """Whether this person may see more than Judge."""
        return self.role == "owner"


class Access:
    """The people of a studio, and how they are recognised."""

    def __init__(self, key: bytes, people: Sequence[Person]) -> None:
        self._key = key
        self.people = tuple(people)

    def token_of(self, person: Person) -> str:
        """Return the token of a person's link, which is the same after each start."""
        return _text(self._digest("token", person)[:24])

    def cookie_of(self, person: Person) -> str:
        """Return the value of a person's cookie."""
        return f"{person.role}.{_text(person.rater.encode())}.{_text(self._digest('cookie', person))}"

    def by_token(self, token: str) -> Person | None:
        """Return the person with this token, or None."""
        found = None
        for person in self.people:  # all of them, so that the time does not tell which one
            if hmac.compare_digest(self.token_of(person).encode(), token.encode("utf-8", "replace")):
                found = person
        return found

    def by_cookie(self, value: str) -> Person | None:
        """Return the person with this cookie, or None for anybody who is not a person of this studio."""
        found = None
        for person in self.people:
            if hmac.compare_digest(self.cookie_of(person).encode(), value.encode("utf-8", "replace")):
                found = person
        return found

    def mark_of(self, name: str) -> str:
        """Return a short mark that follows from the key and a name, and shows neither."""
        return _text(hmac.digest(self._key, f"mark\n{name}".encode(), "sha256")[:12])

    def _digest(self, kind: str, person: Person) -> bytes:
        return hmac.digest(self._key, "\n".join((kind, person.role, person.rater)).encode(), "sha256")


class Attempts:
    """Wrong tokens by address; too many of them make the address wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: defaultdict[str, deque[float]] = defaultdict(deque)

    def must_wait(self, address: str) -> bool:
        """Return whether this address had too many wrong tokens of late."""
        failed = self._failed[address]
        while failed and failed[0] < self._clock() - ATTEMPT_SECONDS:
            failed.popleft()
        if not failed:
            del self._failed[address]
        return len(failed) >= ATTEMPTS

    def add(self, address: str) -> None:
        """Note a wrong token."""
        self._failed[address].append(self._clock())


def people_of(raters: Sequence[str]) -> list[Person]:
    """Return the owner, who is the first rater, and the other raters.

    Raises:
        UsageError: a name is empty, too long or given twice.
    """
    people: list[Person] = []
    for place, name in enumerate(rater.strip() for rater in raters):
        if not name or len(name) > MAX_RATER_CHARACTERS or not name.isprintable():
            raise UsageError(
                f"--rater {name[:MAX_RATER_CHARACTERS]!r} cannot be a rater's name; give 1 to "
                f"{MAX_RATER_CHARACTERS} printable characters.",
                code="studio-bad-rater",
            )
        check_text(name, "rater")
        if name in {person.rater for person in people}:
            raise UsageError(f"--rater {name} is given twice; give each rater once.", code="studio-rater-twice")
        people.append(Person(name, "rater" if place else "owner"))
    return people


def key_in(folder: Path) -> bytes:
    """Return the secret key in a folder, made first if there is none.

    Raises:
        ThumbtuneError: it cannot be read or written, or is no key.
    """
    file = folder / KEY_FILE
    try:
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(file, _write_key)
        key = file.read_bytes()
    except OSError as error:
        raise ThumbtuneError(
            f"{file} could not be read ({error.strerror}); check the rights of its folder.",
            code="studio-key-unreadable",
        ) from error
    if len(key) != KEY_BYTES:
        raise ThumbtuneError(
            f"{file} is not a key of the studio; delete it, and the links to the studio change.", code="studio-bad-key"
        )
    return key


def _write_key(partial: Path) -> None:
    partial.touch(mode=0o600)
    partial.chmod(0o600)
    partial.write_bytes(secrets.token_bytes(KEY_BYTES))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def digest_of(text: str) -> str:
    """Return a short hash of a text, for names of folders."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
