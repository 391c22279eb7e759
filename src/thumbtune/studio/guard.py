"""The guard before every request: whose host, whose page, which form, how large, and who asks. It adds the headers.

- Host must be ours, so that no other site's name leads here (DNS rebinding).
- A page of another origin, also of another port of this machine, may ask nothing: browsers say so in `Sec-Fetch-Site`
  and `Origin`. A request that changes something must carry one of them, or a token in `Authorization`.
- It must be JSON, which other sites' forms cannot send, and small. An upload is bytes of a type that they cannot send
  either, and may be larger.
"""

import json
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thumbtune.errors import ThumbtuneError
from thumbtune.studio.access import Person
from thumbtune.studio.folder_names import told_to
from thumbtune.studio.site import Site, is_known_host

MAX_BODY_BYTES = 1_000_000
UPLOADS = "/api/v1/uploads"
UPLOAD_TYPE = "application/octet-stream"  # a form sends text/plain, a form's own type or multipart alone
MAX_UPLOAD_BYTES = 64_000_000  # of one image: 4096 x 4096 in 24 bits are 50 MB without compression
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
OPEN_PATHS = ("/static/", "/welcome", "/api/v1/session")  # for people without a cookie
POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Refusal(Exception):
    """A request that is not answered: its status, a code and a sentence."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.code = status, code


class Guard:
    """An ASGI application around the studio's."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self.app, self.site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no websockets
        try:
            person = self._check(scope)
        except Refusal as refusal:
            await refuse(refusal, scope, with_headers(send))
            return
        scope.setdefault("state", {})["person"] = person
        await self.app(scope, _Limited(receive, scope["path"]), with_headers(send))

    def _check(self, scope: Scope) -> Person | None:
        """Return who asks.

        Raises:
            Refusal: the request may not be answered.
        """
        headers, path = Headers(scope=scope), scope["path"]
        check_host(headers, self.site.hosts)
        check_origin(headers, path)
        try:
            by_token, by_cookie = self._by_token(scope, headers), self._by_cookie(headers)
        except ThumbtuneError as error:  # nobody knows who is a person of this studio
            raise Refusal(503, error.code, told_to(None, self.site, str(error))) from error
        if scope["method"] not in SAFE_METHODS:
            if by_token is None and not {"origin", "sec-fetch-site"} & set(headers):
                raise Refusal(403, "studio-no-origin", "Requests without a browser need a token in Authorization.")
            check_body(headers, path)
        person = by_token or by_cookie
        if person is None and not path.startswith(OPEN_PATHS):
            raise Refusal(401, "studio-unknown", "You are not signed in; open the link that thumbtune studio printed.")
        return person

    def _by_token(self, scope: Scope, headers: Headers) -> Person | None:
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        return signed_in(self.site, scope, token.strip())

    def _by_cookie(self, headers: Headers) -> Person | None:
        return person_by_cookie(self.site, headers)


def is_still_in(site: Site, headers: Headers, person: Person) -> bool:
    """Return whether the cookie or token of a request that is answered for a while still is that person's."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and site.access.by_token(token.strip()) == person:
        return True
    return person_by_cookie(site, headers) == person


def person_by_cookie(site: Site, headers: Headers) -> Person | None:
    """Return the person whose cookie a request has, or None."""
    # as browsers mean it: programs at other ports of this machine set cookies that no standard allows
    cookie = cookie_parser(headers.get("cookie", "")).get(site.cookie)
    return None if cookie is None else site.access.by_cookie(cookie)


def wants_page(headers: Headers, path: str) -> bool:
    """Return whether a browser asks for a page, and not a program for an answer of the API."""
    return "text/html" in headers.get("accept", "") and not path.startswith(("/api/", "/openapi", "/static/"))


def signed_in(site: Site, scope: Scope, token: str) -> Person:
    """Return the person with a token; wrong ones are counted by their address, which people may share.

    Raises:
        Refusal: the token is wrong; the sentence says so, or that the address had too many wrong ones.
    """
    person = site.access.by_token(token)
    if person is not None:
        return person
    address = (scope.get("client") or ("?", 0))[0]
    if site.attempts.must_wait(address):
        raise Refusal(429, "studio-too-many-tokens", "Too many wrong tokens came from this address; wait a minute.")
    site.attempts.add(address)
    raise Refusal(
        401,
        "studio-wrong-token",
        "This link does not work, or was ended; ask the owner for a new one, or copy the whole link again.",
    )


def check_host(headers: Headers, hosts: Iterable[str]) -> None:
    """Refuse a request for another host.

    Raises:
        Refusal: the host is not ours.
    """
    if not is_known_host(headers.get("host", ""), list(hosts)):
        raise Refusal(421, "studio-other-host", "This is not a name of the studio; add it with --allow-host.")


def check_origin(headers: Headers, path: str) -> None:
    """Refuse a request from a page that is not ours; a person may follow a link to a page.

    Raises:
        Refusal: the page is another origin's.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    is_link = headers.get("sec-fetch-mode") == "navigate" and not path.startswith("/api/")
    if origin is not None and _place_of(origin) != headers.get("host", ""):
        raise Refusal(403, "studio-other-origin", "Pages of other sites may not use the studio.")
    if site is not None and site not in ("same-origin", "none") and not is_link:
        raise Refusal(403, "studio-other-origin", "Pages of other sites may not use the studio.")


def _place_of(origin: str) -> str | None:
    """Return the host and port of an origin; None for a text that is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:  # such as "http://["
        return None


def check_body(headers: Headers, path: str) -> None:
    """Refuse bodies that are not JSON, or no bytes where an image is uploaded, or too large.

    Raises:
        Refusal: so it is.
    """
    wanted = UPLOAD_TYPE if path == UPLOADS else "application/json"
    if headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
        raise Refusal(415, "studio-not-json", f"The studio takes {wanted} alone here.")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _most(path):
        raise _too_large(path)


def _most(path: str) -> int:
    return MAX_UPLOAD_BYTES if path == UPLOADS else MAX_BODY_BYTES


def _too_large(path: str) -> Refusal:
    what = "An image" if path == UPLOADS else "A request"
    return Refusal(413, "studio-too-large", f"{what} may have {_most(path):,} bytes here; send less at once.")


class _Limited:
    """A body that ends when it becomes too large; a client need not tell the length before."""

    def __init__(self, receive: Receive, path: str) -> None:
        self._receive, self._path, self._left = receive, path, _most(path)

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _too_large(self._path)
        return message


def with_headers(send: Send) -> Send:
    """Return a `send` that adds the headers of the guard, but for those that a response sets itself."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending


async def refuse(refusal: Refusal, scope: Scope, send: Send) -> None:
    """Answer with a refusal: people are led to the door, programs get JSON."""
    wants_page = scope["method"] in SAFE_METHODS and not scope["path"].startswith(("/api/", "/openapi"))
    if refusal.status == 401 and wants_page:  # noqa: PLR2004 - not signed in
        headers = [(b"location", b"/welcome")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    body = json.dumps(problem(refusal.code, str(refusal))).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def problem(code: str, sentence: str) -> dict[str, dict[str, str]]:
    """Return the JSON of every error."""
    return {"error": {"code": code, "message": sentence}}
