"""A store of small images, a studio on it, and clients who are signed in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser
from starlette.testclient import TestClient
from studio_store import HOST, Clients, fill

from thumbtune.studio.access import Person
from thumbtune.studio.app import make_app
from thumbtune.studio.site import Site, open_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A studio of an owner, ann, and a rater, ben, on twelve images."""
    fill(tmp_path / "likes", 12)
    (tmp_path / "root").mkdir()
    opened = open_site(str(tmp_path / "likes"), root=tmp_path / "root", raters=["ann", "ben"])
    with opened.store:
        yield opened


@pytest.fixture
def client_of(site: Site) -> Iterator[Clients]:
    """Return a client with a rater's token; without a name, one without a token."""
    app, opened = make_app(site), []

    def make(rater: str | None = "ann", **headers: str) -> TestClient:
        people = {person.rater: person for person in site.access.people}
        token = {} if rater is None else {"authorization": f"Bearer {site.access.token_of(people[rater])}"}
        opened.append(TestClient(app, base_url=HOST, headers=token | headers, follow_redirects=False))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def client(client_of: Clients) -> TestClient:
    """The owner's client."""
    return client_of()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for the tests of a file."""
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def ann(site: Site) -> Person:
    """The owner."""
    return site.access.people[0]
