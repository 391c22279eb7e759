"""Addresses of images that work once: a random ticket for one image, one rater, and one look at it."""

import secrets
import threading
from dataclasses import dataclass
from typing import Literal

Place = Literal["left", "right"]

TICKET_BYTES = 24
MOST = 400  # open tickets of a rater; older ones end
PLACES: tuple[Place, Place] = ("left", "right")


@dataclass(frozen=True)
class Ticket:
    """What a ticket is for."""

    rater: str
    test: str
    trial: str
    place: Place


class Tickets:
    """The tickets that were issued and not yet used. A restart of the studio ends all; a page asks for new ones."""

    def __init__(self) -> None:
        self._open: dict[str, dict[str, Ticket]] = {}  # by rater, oldest first
        self._lock = threading.Lock()

    def issue(self, ticket: Ticket) -> str:
        """Return a new random name of a ticket."""
        name = secrets.token_urlsafe(TICKET_BYTES)
        with self._lock:
            mine = self._open.setdefault(ticket.rater, {})
            mine[name] = ticket
            while len(mine) > MOST:
                del mine[next(iter(mine))]
        return name

    def redeem(self, name: str, rater: str) -> Ticket | None:
        """Return the ticket with a name and forget it; None if the rater has none of that name."""
        with self._lock:
            return self._open.get(rater, {}).pop(name, None)
