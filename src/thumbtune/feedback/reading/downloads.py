"""Download an image that a table names by its address, if downloads are allowed.

A table from elsewhere chooses the addresses, so none may reach this machine or its private network: each address of a
host is checked before a connection to it, after every redirect too. Proxies are not used, as they would choose the
machine instead.
"""

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
    UnknownHandler,
)

from thumbtune.feedback import images
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.quoting import shown

SCHEMES = ("http", "https")
SECONDS_OF_SILENCE = 20.0  # without an answer
SECONDS_IN_ALL = 120.0
BLOCK = 1 << 16  # bytes
AGENT = "thumbtune"  # some servers refuse requests without one
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # IPv4 addresses inside IPv6-only networks (RFC 6052)
MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that is given out (IANA); ::127.0.0.1 and fec0:: are not in it
DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")  # RFC 9637, which older Pythons do not know
ISATAP = (0x00005EFE, 0x02005EFE)  # the 32 bits before an IPv4 address (RFC 5214)
RELAYS = ipaddress.IPv4Network("192.88.99.0/24")  # of 6to4, which lead to whoever is nearest (RFC 7526)
UNSAFE = "%/:?#[]@!$&'()*+,;=~"  # characters that an address may hold unquoted

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Allowed = Callable[[Address], bool]


class Opener(Protocol):
    """An object that opens an address, as urllib's openers do."""

    def open(self, fullurl: Any, data: None = None, timeout: float | None = None) -> Any:
        """Return the answer, or raise an OSError or HTTPException."""
        ...


def download(url: str, opener: Opener | None = None) -> bytes:
    """Return the bytes at an http or https address.

    Raises:
        UnreadableImage: the download fails, is too large or too slow, or the address is in a private network.
    """
    try:
        request = Request(quote(url, safe=UNSAFE), headers={"User-Agent": AGENT})
        with (opener or public_opener()).open(request, timeout=SECONDS_OF_SILENCE) as answer:
            return _read(answer)
    except HTTPError as error:
        error.close()
        raise UnreadableImage(f"it could not be downloaded (HTTP status {error.code}); check {shown(url)}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise UnreadableImage(f"it could not be downloaded ({reason}); check {shown(url)}") from error


def is_public(address: Address) -> bool:
    """Return whether an address is on the public internet: not of a private network, this machine, or its link."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and address not in RELAYS
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in NAT64 or address in MAPPED:
        return is_public(last)
    inner = [address.sixtofour, *(address.teredo or ())]
    inner.append(last if (int(address) >> 32) & 0xFFFFFFFF in ISATAP else None)
    is_given_out = address in GLOBAL_UNICAST and address not in DOCUMENTATION and address.is_global
    return is_given_out and all(map(is_public, filter(None, inner)))


def public_opener(allowed: Allowed = is_public) -> OpenerDirector:
    """Return an opener of those http and https addresses that are `allowed`."""
    opener = OpenerDirector()
    for handler in (
        _Plain(allowed),
        _Secure(allowed),
        _Redirects(),
        UnknownHandler(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


class _Plain(HTTPHandler):
    def __init__(self, allowed: Allowed) -> None:
        super().__init__()
        self.allowed = allowed

    def http_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_PlainConnection, allowed=self.allowed), req)  # type: ignore[arg-type]


class _Secure(HTTPSHandler):
    def __init__(self, allowed: Allowed) -> None:
        super().__init__()
        self.allowed = allowed

    def https_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_SecureConnection, allowed=self.allowed), req)  # type: ignore[arg-type]


class _PlainConnection(http.client.HTTPConnection):
    def __init__(self, host: str, *, timeout: float, allowed: Allowed) -> None:
        super().__init__(host, timeout=timeout)
        self.allowed = allowed

    def connect(self) -> None:
        self.sock = _connected(self.host, self.port, self.allowed)


class _SecureConnection(http.client.HTTPSConnection):
    def __init__(self, host: str, *, timeout: float, allowed: Allowed) -> None:
        self.tls = ssl.create_default_context()
        super().__init__(host, timeout=timeout, context=self.tls)
        self.allowed = allowed

    def connect(self) -> None:
        plain = _connected(self.host, self.port, self.allowed)
        self.sock = self.tls.wrap_socket(plain, server_hostname=self.host)


class _Redirects(HTTPRedirectHandler):
    max_redirections = 5

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        """Follow to http and https, and from https to nothing less."""
        scheme = urlsplit(newurl).scheme
        if scheme not in SCHEMES or (req.type == "https" and scheme == "http"):
            fp.close()
            raise OSError(f"it leads on to {shown(newurl)}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _connected(host: str, port: int, allowed: Allowed) -> socket.socket:
    """Connect to one of the addresses of a host, which must all be allowed.

    Raises:
        OSError: one is not allowed, or none answers.
    """
    resolved = [target[0] for *_, target in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    addresses = [str(address) for address in dict.fromkeys(resolved)]
    if not all(allowed(ipaddress.ip_address(address)) for address in addresses):
        raise PermissionError("it is in a private network")
    for address in addresses[:-1]:
        with suppress(OSError):
            return socket.create_connection((address, port), SECONDS_OF_SILENCE)
    return socket.create_connection((addresses[-1], port), SECONDS_OF_SILENCE)


def _read(answer: Any) -> bytes:
    """Return the whole answer, up to the limits of size and time."""
    until, data = time.monotonic() + SECONDS_IN_ALL, bytearray()
    while block := answer.read1(BLOCK):
        data += block
        if len(data) > images.MAX_BYTES:
            raise UnreadableImage(f"it is larger than {images.MAX_BYTES // 1_000_000} MB; make it smaller")
        if time.monotonic() > until:
            raise TimeoutError(f"it takes more than {SECONDS_IN_ALL:.0f} seconds")
    if missing := getattr(answer, "length", None):  # of the announced length; http.client does not check it
        raise ConnectionError(f"it ended after {len(data)} of {len(data) + missing} bytes")
    return bytes(data)
