"""Use a running studio from a program: look at images and post votes, over its API. Needs nothing but Python.

    from thumbtune.studio.client import StudioClient

    studio = StudioClient("http://127.0.0.1:8421/welcome?token=...")   # the link that `thumbtune studio` printed
    for image in studio.queue(limit=10):
        studio.vote(image["id"], "like" if "panda" in image["prompt"] else "dislike")

A vote is stored once, however often it is sent: after a lost answer, the same vote may be sent again.
"""

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from thumbtune.errors import ThumbtuneError, UsageError, plural

AT_ONCE = 50  # votes of one request
PAUSE_SECONDS = 0.2  # between attempts at a studio that does not answer
TIMEOUT_SECONDS = 30.0
BUSY = 503


class StudioRefused(ThumbtuneError):
    """The studio refused something; the sentence and the code are its own."""


class StudioClient:
    """A rater at a studio.

    Args:
        link: the link that the studio printed for this rater.
        patience: seconds to try again while the studio cannot be reached.

    Raises:
        UsageError: it is no such link.
    """

    def __init__(self, link: str, patience: float = 0.0) -> None:
        parts = urlsplit(link)
        token = parse_qs(parts.query).get("token", [""])[0]
        if parts.scheme not in ("http", "https") or not (parts.netloc and token):
            raise UsageError(
                "This is no link to a studio; copy the whole line that `thumbtune studio` printed.",
                code="studio-bad-link",
            )
        self._base = f"{parts.scheme}://{parts.netloc}/api/v1"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.patience = patience

    def me(self) -> dict[str, Any]:
        """Return the rater, the role, and the mark of the store."""
        return self._ask("me")

    def counts(self) -> dict[str, int]:
        """Return the numbers of images, likes, dislikes, skips, and of images left to judge."""
        return self._ask("counts")

    def queue(self, limit: int = 20, order: str = "random") -> list[dict[str, Any]]:
        """Return the next images for this rater. Where one has a `vote`, give that as the vote's id."""
        return self._ask(f"queue?{urlencode({'limit': limit, 'order': order})}")["images"]

    def vote(self, image: int, kind: str, reason: str | None = None, vote_id: str | None = None) -> str:
        """Store a like, dislike or skip, and return its id.

        Raises:
            StudioRefused: it was refused.
            ThumbtuneError: the studio cannot be reached.
        """
        given = {"id": vote_id or str(uuid.uuid4()), "image": image, "kind": kind, "reason": reason}
        self.votes([given])
        return given["id"]

    def votes(self, votes: Sequence[Mapping[str, Any]]) -> None:
        """Store votes ({id, image, kind}) and undos ({undoes}), some at once.

        Raises:
            StudioRefused: one was refused; those before and after it are stored.
            ThumbtuneError: the studio cannot be reached.
        """
        refused = []
        for start in range(0, len(votes), AT_ONCE):
            answer = self._ask("votes", {"votes": [dict(vote) for vote in votes[start : start + AT_ONCE]]})
            refused += [result for result in answer["results"] if not result["stored"]]
        if refused:
            counted = f"; {plural(len(refused), 'vote was', 'votes were')} refused" if len(refused) > 1 else ""
            raise StudioRefused(f"{refused[0]['message'].rstrip('.')}{counted}.", code=refused[0]["code"])

    def undo(self, vote_id: str) -> None:
        """Take a vote back."""
        self._ask(f"votes/{vote_id}/undo", {})

    def image(self, image: int) -> bytes:
        """Return the bytes of an image, as they were added."""
        return self._send(f"images/{image}/file", None)

    def _ask(self, path: str, body: object = None) -> Any:
        return json.loads(self._send(path, body))

    def _send(self, path: str, body: object) -> bytes:
        end = time.monotonic() + self.patience
        while True:
            try:
                return self._try(path, body)
            except (urllib.error.URLError, HTTPException, OSError) as error:
                is_answer = isinstance(error, urllib.error.HTTPError) and error.code != BUSY
                if is_answer or time.monotonic() > end:
                    raise _explained(error) from error
                time.sleep(PAUSE_SECONDS)

    def _try(self, path: str, body: object) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._base}/{path}", data=data, headers=self._headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            return answer.read()


def _explained(error: Exception) -> ThumbtuneError:
    if isinstance(error, urllib.error.HTTPError):
        try:
            told = json.loads(error.read())["error"]
            return StudioRefused(told["message"], code=told["code"])
        except (ValueError, KeyError, TypeError):
            return ThumbtuneError(
                f"The studio answered {error.code} {error.reason}; check the link.", code="studio-failed"
            )
    reason = getattr(error, "reason", error)
    return ThumbtuneError(
        f"The studio could not be reached ({reason}); check that it runs, and the link.", code="studio-unreachable"
    )
