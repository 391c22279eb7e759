"""The studio: a web page on this machine, on which people judge images."""

import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thumbtune.cli.likes import Images, Likes
from thumbtune.cli.terminal import quieten, say
from thumbtune.errors import UsageError, note

if TYPE_CHECKING:
    from thumbtune.studio.site import Site


def studio(
    likes: Likes = "likes",
    *,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser of this machine.")] = False,
    host: Annotated[str, typer.Option(help="The address to listen at. Default: this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen at; 0 for any free one.")] = 8421,
    root: Annotated[
        Path | None,
        typer.Option(
            help="The folder below which images may be imported from the page. Default: the current one, or none if "
            "--host is not this machine."
        ),
    ] = None,
    rater: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Your name as a rater. Repeated: the first is yours, and each other one gets a link to judge. "
            "Default: me.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name of this machine, as behind a proxy. Can be repeated."),
    ] = None,
    images: Images = None,
) -> None:
    """Judge images on a web page of this machine, by keys or swipes."""
    quieten()
    from thumbtune.studio.serving import needs_raters, open_port
    from thumbtune.studio.site import hosts_for, is_loopback, open_site

    if needs_raters(host, rater):
        raise UsageError(
            f"--host {host} lets others reach the studio; name yourself and them with --rater, each.",
            code="studio-no-raters",
        )
    root = root or (Path() if is_loopback(host) else None)
    hosts = hosts_for(host, allow_host or ())
    with closing(open_port(host, port)) as listener:
        site = open_site(likes, images=images, root=root, raters=rater or (), hosts=hosts)
        with site.store:
            _serve(site, host, listener, show)


def _serve(site: "Site", host: str, listener: socket.socket, show: bool) -> None:
    """Print the links, and answer requests until the studio is stopped."""
    from thumbtune.studio.app import make_app
    from thumbtune.studio.serving import link_for, serve
    from thumbtune.studio.site import is_loopback

    port = listener.getsockname()[1]
    link = link_for(site, site.owner, host, port)
    say(f"The studio of {site.store.name}: {link}")
    for person in site.access.people[1:]:
        say(f"  {person.rater} judges at {link_for(site, person, host, port)}")
    say("A link acts in the name of its rater. Press Ctrl-C to end the studio.")
    if not is_loopback(host):
        note("votes and links cross the network unencrypted; use ssh -L or a proxy with TLS (docs/studio.md).")
    serve(make_app(site), listener, link if show else None)
