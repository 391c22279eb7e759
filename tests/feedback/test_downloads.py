"""Downloading images from a real server on this machine, and every address that none may be downloaded from."""

import http.client
import io
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import Request

import pytest

from thumbtune.feedback import images
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.reading import downloads
from thumbtune.feedback.reading.downloads import download, is_public, public_opener

IMAGE = b"\x89PNG and more"


class Answers(BaseHTTPRequestHandler):
    """Some pages, and a list of what was asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["User-Agent"]))  # type: ignore[attr-defined]
        path = self.path.partition("?")[0]
        if path == "/silent":
            self.server.done.wait(30)  # type: ignore[attr-defined]
        elif path.startswith("/to/"):
            self.answer(302, b"", Location=path.removeprefix("/to/"))
        elif path.startswith("/hops/"):
            left = int(path.removeprefix("/hops/"))
            self.answer(301, b"", Location=f"/hops/{left - 1}" if left > 1 else "/a.png")
        elif path == "/short":
            self.answer(200, IMAGE, **{"Content-Length": "1000"})
        elif path == "/endless":
            self.send_response(200)
            self.end_headers()
            self.endless()
        elif path == "/rubbish":
            self.wfile.write(b"rubbish\r\n\r\n")
        else:
            self.answer(404 if path == "/none" else 200, IMAGE)
        self.close_connection = True

    def answer(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def endless(self) -> None:
        try:
            while not self.server.done.is_set():  # type: ignore[attr-defined]
                self.wfile.write(bytes(1 << 16))
        except OSError:  # whoever asked has heard enough
            pass

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test says what happened."""


class Server:
    """A server in a thread."""

    def __init__(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.server.asked, self.server.done = [], threading.Event()  # type: ignore[attr-defined]
        self.port = self.server.server_port
        self.address = f"http://127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[tuple[str, str]]:
        return self.server.asked  # type: ignore[attr-defined]

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


@pytest.fixture
def server() -> Iterator[Server]:
    """It stops with the test."""
    one = Server()
    thread = threading.Thread(target=one.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield one
    one.server.done.set()  # type: ignore[attr-defined]
    one.server.shutdown()
    thread.join()
    one.server.server_close()


def this_machine(address: downloads.Address) -> bool:
    """The one address that the tests' server has."""
    return str(address) == "127.0.0.1"


def get(url: str) -> bytes:
    return download(url, public_opener(this_machine))


def refused(url: str, opener: downloads.Opener | None = None) -> str:
    with pytest.raises(UnreadableImage) as caught:
        download(url, opener or public_opener(this_machine))
    return str(caught.value)


# --- what is downloaded


def test_an_image(server: Server) -> None:
    assert get(f"{server.address}/a.png") == IMAGE
    assert server.asked == [("/a.png", "thumbtune")]


def test_names_with_spaces_and_letters_of_all_kinds(server: Server) -> None:
    assert get(f"{server.address}/f\xfcr eine/a b.png?x=1&y=%20#part") == IMAGE
    assert server.paths() == ["/f%C3%BCr%20eine/a%20b.png?x=1&y=%20"]


def test_a_name_of_a_host(server: Server) -> None:
    assert get(f"http://localhost:{server.port}/a.png") == IMAGE


def test_no_proxy_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert get(f"{server.address}/a.png") == IMAGE


@pytest.mark.parametrize("hops", [1, 2, 5])
def test_a_few_redirects_are_followed(server: Server, hops: int) -> None:
    assert get(f"{server.address}/hops/{hops}") == IMAGE
    assert len(server.asked) == hops + 1


# --- what is not


def test_an_image_that_is_not_there(server: Server) -> None:
    url = f"{server.address}/none"
    assert refused(url) == f"it could not be downloaded (HTTP status 404); check '{url}'"


def test_redirects_without_end(server: Server) -> None:
    assert "HTTP status 301" in refused(f"{server.address}/hops/12")
    assert len(server.asked) <= 7


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a.png", "data:,x", "gopher://x"])
def test_redirects_to_other_schemes(server: Server, target: str) -> None:
    assert "could not be downloaded" in refused(f"{server.address}/to/{target}")
    assert len(server.asked) == 1


def test_redirects_into_a_private_network(server: Server) -> None:
    assert "it is in a private network" in refused(f"{server.address}/to/http://127.0.0.2:{server.port}/a.png")
    assert server.paths() == [f"/to/http://127.0.0.2:{server.port}/a.png"]


def test_redirects_to_less_security() -> None:
    with closing(io.BytesIO()) as answer, pytest.raises(OSError, match="it leads on to 'http://example"):
        downloads._Redirects().redirect_request(
            Request("https://example.org"), answer, 302, "", {}, "http://example.org/a.png"
        )
    with closing(io.BytesIO()) as answer:
        further = downloads._Redirects().redirect_request(
            Request("http://example.org"), answer, 302, "", http.client.HTTPMessage(), "https://example.org/a.png"
        )
    assert further is not None and further.full_url == "https://example.org/a.png"


def test_too_much(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 1_000_000)
    assert refused(f"{server.address}/endless") == "it is larger than 1 MB; make it smaller"
    monkeypatch.setattr(images, "MAX_BYTES", len(IMAGE))
    assert get(f"{server.address}/a.png") == IMAGE


def test_too_slow(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "SECONDS_IN_ALL", -1.0)
    assert "it takes more than -1 seconds" in refused(f"{server.address}/a.png")
    monkeypatch.setattr(downloads, "SECONDS_OF_SILENCE", 0.05)
    assert "could not be downloaded (timed out)" in refused(f"{server.address}/silent")


def test_less_than_was_said(server: Server) -> None:
    assert "it ended after 13 of 1000 bytes" in refused(f"{server.address}/short")


def test_what_is_no_answer(server: Server) -> None:
    assert "could not be downloaded" in refused(f"{server.address}/rubbish")
    assert "could not be downloaded" in refused(f"https://127.0.0.1:{server.port}/a.png"), "it speaks no TLS"


def test_nobody_there() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    assert "Connection refused" in refused(f"http://127.0.0.1:{port}/a.png")


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///a.png",
        "http://[::1",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:port/",
        "http://\ud800/",
        "http://a..b/",
        "http://" + "a" * 300 + ".org/",
        "http://127.0.0.1/\r\nHost: x\r\n",
        "http://\0/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/a.png",
        "data:,x",
        "a.png",
        "",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    assert refused(url).startswith("it could not be downloaded (")


# --- private networks

PUBLIC = ("93.184.216.34", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8")
PRIVATE = (
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("255.255.255.255", "224.0.0.1", "239.255.255.250", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
    *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
    *("64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::"),
    *("::127.0.0.1", "::10.0.0.1", "::8.8.8.8", "64:ff9b:1::1", "64:ff9b:1::a00:1", "64:ff9b:0:1::8.8.8.8", "fec0::1"),
    *("2001:0:7f00:1::", "2001:0:808:808::", "2002:a9fe:a9fe::1", "2606:4700::5efe:10.0.0.1", "192.88.99.1"),
    *("2606:4700::200:5efe:127.0.0.1", "64:ff9b::169.254.169.254", "::ffff:169.254.169.254", "100::1", "3fff::1"),
    *("fe80::1%eth0", "::ffff:0:127.0.0.1", "4000::1", "5f00::1", "2001:10::1"),
)


@pytest.mark.parametrize("address", PUBLIC + PRIVATE)
def test_which_addresses_everybody_can_reach(address: str) -> None:
    assert is_public(ipaddress.ip_address(address)) == (address in PUBLIC)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0.0.0.0"])
def test_this_machine_is_private_however_it_is_written(server: Server, host: str) -> None:
    with pytest.raises(UnreadableImage, match="it is in a private network"):
        download(f"http://{host}:{server.port}/a.png")
    assert server.asked == []


def resolved(*addresses: str) -> Callable[..., list[Any]]:
    """What a name server might say."""
    return lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses]


def test_a_name_with_one_private_address_is_private(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolved("93.184.216.34", "10.0.0.1"))
    with pytest.raises(UnreadableImage, match="it is in a private network"):
        download(f"http://example.org:{server.port}/a.png")


def test_a_name_of_several_addresses_is_tried_at_each(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is connected to is the address that was looked at, whatever the name stands for a moment later."""
    monkeypatch.setattr(socket, "getaddrinfo", resolved("127.0.0.9", "127.0.0.1"))
    opener = public_opener(lambda address: address.is_loopback)
    asked: list[str] = []
    monkeypatch.setattr(socket, "create_connection", connecting(asked, socket.create_connection))
    assert download(f"http://example.org:{server.port}/a.png", opener) == IMAGE
    assert asked == ["127.0.0.9", "127.0.0.1"]


def connecting(asked: list[str], really: Callable[..., socket.socket]) -> Callable[..., socket.socket]:
    """Connect as ever, but note to what; nobody answers at 127.0.0.9."""

    def connect(where: tuple[str, int], timeout: float) -> socket.socket:
        asked.append(where[0])
        if where[0] == "127.0.0.9":
            raise ConnectionRefusedError
        monkey = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        monkey.settimeout(timeout)
        monkey.connect(where)
        return monkey

    return connect
