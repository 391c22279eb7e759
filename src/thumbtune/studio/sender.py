"""Whom a batch of votes or answers is from and for, as the page that made it tells.

All tabs of a browser share one cookie, which the link that was opened last has set. A tab that is older belongs to
another person, and what it sends must not be stored in the name of the one who is signed in now.
"""

from thumbtune.errors import ThumbtuneError
from thumbtune.studio.access import Person
from thumbtune.studio.site import Site


def check_sender(site: Site, person: Person, *, store: str | None, rater: str | None) -> None:
    """Refuse a batch that is for another store, or from another rater than the one who is signed in.

    Args:
        store: the mark of the store, and
        rater: the name of the rater, as the page knows them; None where a program does not say.

    Raises:
        ThumbtuneError: so it is.
    """
    if store not in (None, site.mark):
        raise ThumbtuneError(
            "This is for another store; start the studio on that one, and what waits here is sent.",
            code="studio-other-store",
        )
    if rater not in (None, person.rater):
        raise ThumbtuneError(
            f"This browser is signed in as {person.rater} now; open your own link again, and what waits here is sent.",
            code="studio-other-rater",
        )
