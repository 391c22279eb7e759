"""Serve the studio on a port of this machine until it is stopped."""

import socket
import threading
import webbrowser
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp

from thumbtune.errors import ThumbtuneError
from thumbtune.studio.access import Person
from thumbtune.studio.site import Site, is_loopback

GRACE_SECONDS = 3  # for open requests at the end
BACKLOG = 256
ANY = ("0.0.0.0", "::")


def open_port(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 is any free one.

    Raises:
        ThumbtuneError: the host is unknown here, or the port is taken.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # so that a restart finds its port again
        try:
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ThumbtuneError(
            f"The studio could not listen at {host}, port {port} ({reason}); end the other program there, or choose "
            "another with --port.",
            code="studio-port",
        ) from error
    return listener


def link_for(site: Site, person: Person, host: str, port: int) -> str:
    """Return the address that signs a person in."""
    name = socket.gethostname() if host in ANY else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/welcome?token={site.access.token_of(person)}"


def serve(app: ASGIApp, listener: socket.socket, opens: str | None = None) -> None:
    """Answer requests until Ctrl-C or SIGTERM.

    Args:
        opens: an address to show in the browser of this machine.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # links contain tokens
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ws="none",
        loop="asyncio",
        http="h11",
        lifespan="on",
    )
    if opens is not None:
        threading.Thread(target=_show, args=(opens,), daemon=True).start()
    uvicorn.Server(config).run(sockets=[listener])


def _show(address: str) -> None:
    with suppress(Exception):  # no browser: the address is printed
        webbrowser.open(address)


def needs_raters(host: str, raters: object) -> bool:
    """Return whether a host that others reach was given without raters."""
    return not (is_loopback(host) or raters)
