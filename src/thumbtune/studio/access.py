"""Who may use the studio: links with tokens, the cookie that follows, and two roles.

    token  = HMAC(key, "token", role, rater, salt)     in the link that is printed or sent to a rater
    cookie = role.rater.HMAC(key, "cookie", role, rater, salt)

Both follow from one secret key of the store, so that a restarted studio knows its people, and votes that waited in a
browser can be sent. A person has a salt once their links were ended, or if they were added on the page (roster.py).
Whoever deletes the key file ends all links and sessions.
"""

import base64
import hashlib
import hmac
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.store.votes import check_text
from thumbtune.files import write_whole
from thumbtune.studio.roster import Roster, RosterFile

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
    """The people of a studio, and how they are recognised.

    Args:
        named: the owner, then the raters of the command line.
        roster: the raters that were added on the page, and the salts.
    """

    def __init__(self, key: bytes, named: Sequence[Person], roster: RosterFile | None = None) -> None:
        self._key = key
        self.named = tuple(named)
        self._roster = roster or RosterFile()

    @property
    def people(self) -> tuple[Person, ...]:
        """The owner, the raters of the command line, and those of the page, as they are now."""
        return self._people(self._roster.read())

    def token_of(self, person: Person) -> str:
        """Return the token of a person's link, which is the same after each start."""
        return self._token(person, self._roster.read())

    def cookie_of(self, person: Person) -> str:
        """Return the value of a person's cookie."""
        return self._cookie(person, self._roster.read())

    def by_token(self, token: str) -> Person | None:
        """Return the person with this token, or None."""
        return self._with(token, self._token)

    def by_cookie(self, value: str) -> Person | None:
        """Return the person with this cookie, or None for anybody who is not a person of this studio."""
        return self._with(value, self._cookie)

    def by_id(self, name: str) -> Person:
        """Return the person with an id of `id_of`.

        Raises:
            ThumbtuneError: there is none.
        """
        for person in self.people:
            if self.id_of(person) == name:  # no secret
                return person
        raise ThumbtuneError("There is no such rater any more; load the page again.", code="studio-no-rater")

    def id_of(self, person: Person) -> str:
        """Return the id of a person in addresses."""
        return self._id(person.rater)

    def is_added(self, person: Person) -> bool:
        """Return whether a person was added on the page, and not named on the command line."""
        return person not in self.named

    def add(self, name: str) -> Person:
        """Add a rater, and return them.

        Raises:
            UsageError: the name cannot be used, or is taken.
        """
        length = len(name.strip())
        subject = f"A text of {length} characters" if length > MAX_RATER_CHARACTERS else "This"
        person = Person(checked_rater(name, subject), "rater")

        def change(roster: Roster) -> Roster:
            if person.rater in {each.rater for each in self._people(roster)}:
                raise UsageError(f"{person.rater} is a rater already; choose another name.", code="studio-rater-twice")
            return roster.with_rater(person.rater, self._id(person.rater))

        self._roster.change(change)
        return person

    def remove(self, person: Person) -> None:
        """Remove a rater who was added on the page; their link and cookie end at once, and their votes stay.

        Raises:
            UsageError: the rater is named on the command line.
        """
        if not self.is_added(person):
            raise UsageError(
                f"{person.rater} was named with --rater; start the studio without that name to remove them.",
                code="studio-named-rater",
            )
        self._roster.change(lambda roster: roster.without(person.rater, self._id(person.rater)))

    def renew(self, person: Person) -> None:
        """End the link and the cookies of a person; `token_of` returns a new one."""
        self._roster.change(lambda roster: roster.with_salt(self._id(person.rater)))

    def mark_of(self, name: str) -> str:
        """Return a short mark that follows from the key and a name, and shows neither."""
        return _text(hmac.digest(self._key, f"mark\n{name}".encode(), "sha256")[:12])

    def _people(self, roster: Roster) -> tuple[Person, ...]:
        names = {person.rater for person in self.named}
        return (*self.named, *(Person(name, "rater") for name in roster.added if name not in names))

    def _with(self, value: str, make: Callable[[Person, Roster], str]) -> Person | None:
        roster, given, found = self._roster.read(), value.encode("utf-8", "replace"), None
        for person in self._people(roster):  # all of them, so that the time does not tell which one
            if hmac.compare_digest(make(person, roster).encode(), given):
                found = person
        return found

    def _token(self, person: Person, roster: Roster) -> str:
        return _text(self._digest("token", person, roster)[:24])

    def _cookie(self, person: Person, roster: Roster) -> str:
        return f"{person.role}.{_text(person.rater.encode())}.{_text(self._digest('cookie', person, roster))}"

    def _digest(self, kind: str, person: Person, roster: Roster) -> bytes:
        salt = roster.salts.get(self._id(person.rater))
        parts = (kind, person.role, person.rater, *([] if salt is None else [salt]))
        return hmac.digest(self._key, "\n".join(parts).encode(), "sha256")

    def _id(self, rater: str) -> str:
        return self.mark_of(f"rater {rater}")


class Attempts:
    """Wrong tokens by address; too many of them make the next wrong ones wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[str, deque[float]] = {}
        self._swept = clock()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many addresses are remembered."""
        return len(self._failed)

    def must_wait(self, address: str) -> bool:
        """Return whether this address had too many wrong tokens of late."""
        begin = self._clock() - ATTEMPT_SECONDS
        with self._lock:
            return sum(at >= begin for at in self._failed.get(address, ())) >= ATTEMPTS

    def add(self, address: str) -> None:
        """Note a wrong token, and forget addresses whose last one is old."""
        now = self._clock()
        with self._lock:
            self._failed.setdefault(address, deque(maxlen=ATTEMPTS)).append(now)
            if now - self._swept > ATTEMPT_SECONDS:
                self._failed = {name: ats for name, ats in self._failed.items() if ats[-1] >= now - ATTEMPT_SECONDS}
                self._swept = now


def people_of(raters: Sequence[str]) -> list[Person]:
    """Return the owner, who is the first rater, and the other raters.

    Raises:
        UsageError: a name is empty, too long or given twice.
    """
    people: list[Person] = []
    for place, name in enumerate(raters):
        rater = checked_rater(name, f"--rater {name.strip()[:MAX_RATER_CHARACTERS]!r}")
        if rater in {person.rater for person in people}:
            raise UsageError(f"--rater {rater} is given twice; give each rater once.", code="studio-rater-twice")
        people.append(Person(rater, "rater" if place else "owner"))
    return people


def checked_rater(name: str, subject: str) -> str:
    """Return a rater's name without spaces around it.

    Args:
        subject: begins the sentence, such as "--rater ''".

    Raises:
        UsageError: it is empty, too long or cannot be printed.
    """
    rater = name.strip()
    if not rater or len(rater) > MAX_RATER_CHARACTERS or not rater.isprintable():
        raise UsageError(
            f"{subject} cannot be a rater's name; give 1 to {MAX_RATER_CHARACTERS} printable characters.",
            code="studio-bad-rater",
        )
    check_text(rater, "rater")
    return rater


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
