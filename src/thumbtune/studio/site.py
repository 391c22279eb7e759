"""What one running studio knows: its store, its people, its folders and the hosts that it answers to."""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from thumbtune.errors import UsageError
from thumbtune.feedback.store.database import is_address
from thumbtune.feedback.store.store import Store
from thumbtune.studio.access import Access, Attempts, Person, digest_of, key_in, people_of
from thumbtune.studio.blind.tickets import Tickets
from thumbtune.studio.roster import RosterFile

DEFAULT_PORT = 8421
DEFAULT_RATER = "me"  # as `thumbtune import`
CACHE_FOLDER = Path("~/.cache/thumbtune/studio")  # of stores on a server
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class Site:
    """Everything that requests need.

    store:  the open store of likes
    likes:  as the commands name it, in `--likes`
    root:   images are imported from below this folder; None: not at all
    folder: for the key, thumbnails and logs of jobs; beside the database, or in the cache of stores on a server
    access: the people
    hosts:  names besides loopback and addresses that requests may be for
    """

    store: Store
    likes: str
    root: Path | None
    folder: Path
    access: Access
    hosts: tuple[str, ...] = ()
    attempts: Attempts = field(default_factory=Attempts)
    tickets: Tickets = field(default_factory=Tickets)

    @property
    def mark(self) -> str:
        """A name of the store for browsers, so that votes that wait there reach no other store."""
        return self.access.mark_of(self.store.name)

    @property
    def cookie(self) -> str:
        """The name of the cookie; browsers send a cookie to every port of a machine, where other studios may be."""
        return f"thumbtune-{self.mark}"

    @property
    def owner(self) -> Person:
        """The person who started the studio."""
        return self.access.named[0]


def open_site(
    likes: str,
    *,
    images: str | None = None,
    root: Path | None = None,
    raters: Sequence[str] = (),
    hosts: Sequence[str] = (),
) -> Site:
    """Return a studio on a store, made first if there is none. Close its store after use.

    Raises:
        UsageError: a rater's name cannot be used, or the root is no folder.
        ThumbtuneError: the store or the key cannot be opened.
    """
    people = people_of(raters or [DEFAULT_RATER])
    if root is not None and not root.is_dir():
        raise UsageError(f"--root {root} is not a folder; name the folder of your images.", code="studio-bad-root")
    store = Store.open(likes, images=images)
    try:
        folder = folder_of(likes, store.name)
        roster = RosterFile(folder)
        roster.read()  # a list of raters that cannot be read ends the start
        access = Access(key_in(folder), people, roster)
    except BaseException:
        store.close()
        raise
    return Site(
        store=store,
        likes=likes,
        root=None if root is None else root.resolve(),
        folder=folder,
        access=access,
        hosts=tuple(host.lower() for host in hosts),
    )


def folder_of(likes: str, name: str) -> Path:
    """Return the studio's folder for a store, as `--likes` and its own name tell it; it need not be there."""
    return CACHE_FOLDER.expanduser() / digest_of(name) if is_address(likes) else Path(likes) / "studio"


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server at this host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def hosts_for(host: str, allowed: Sequence[str]) -> list[str]:
    """Return the names that requests may be for: those of this machine unless it listens to itself alone."""
    own = [] if is_loopback(host) else [host, socket.gethostname(), socket.getfqdn(), f"{socket.gethostname()}.local"]
    return list(dict.fromkeys(name.lower() for name in [*own, *allowed]))


def is_known_host(header: str, hosts: Sequence[str]) -> bool:
    """Return whether a request's Host is ours.

    An address is: a page of another site can point its own name at this machine (DNS rebinding), and no address.
    """
    name = header.rpartition(":")[0] if header.rpartition(":")[2].isdecimal() and not header.endswith("]") else header
    name = name.strip("[]").lower()
    if name in LOOPBACK_NAMES or name in hosts:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
