"""Judge in a real browser: each vote is of the image that was on the screen, and none is lost or doubled."""

import json
import random
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Page, needs_chromium
from opened import signed_in
from running import Studio, delayed
from studio_store import fill

from thumbtune.studio.client import StudioClient

pytestmark = needs_chromium
DELAYS = (0.1, 0.15)  # seconds each way
ON_SCREEN = "document.getElementById('frame').dataset.image"
READY = f"Boolean({ON_SCREEN})"
SENT = "document.getElementById('link').dataset.state === 'on'"
SEATS = 20
Opener = Callable[..., Page]
LABELS = {"ArrowLeft": "dislike", "ArrowRight": "like"}


@dataclass(frozen=True)
class Seat:
    """A rater of their own at the studio that all tests share."""

    studio: Studio
    likes: Path
    rater: str
    link: str

    def votes(self) -> list[tuple[Any, ...]]:
        """(image, kind, undoes, reason) of every row of the rater's votes, in the order of arrival."""
        query = "SELECT picture_id, kind, undoes, reason FROM votes WHERE rater = ? ORDER BY sequence"
        with sqlite3.connect(self.likes / "likes.sqlite") as database:
            return database.execute(query, (self.rater,)).fetchall()

    def link_by(self, port: int) -> str:
        """The link through another port."""
        return self.link.replace(f":{self.studio.port}/", f":{port}/")


@pytest.fixture(scope="module")
def seats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Seat]]:
    likes = tmp_path_factory.mktemp("judge") / "likes"
    fill(likes, 260)
    names = [f"rater {number}" for number in range(SEATS)]
    with Studio(likes, None, *(word for name in names for word in ("--rater", name))) as studio:
        yield (Seat(studio, likes, name, link) for name, link in zip(names, studio.links, strict=True))


@pytest.fixture
def seat(seats: Iterator[Seat]) -> Seat:
    return next(seats)


@pytest.fixture
def judging(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open Judge by a link, and wait for its first image."""
    opened = []

    def make(link: str, width: int = 1100) -> Page:
        page = signed_in(browser, link, "/judge", width)
        page.wait_for(READY)
        opened.append(page)
        return page

    yield make
    for page in opened:
        page.close()


def rate(page: Page, keys: int, seconds: float) -> list[tuple[int, str]]:
    """Press like or dislike at a pace; return the image on the screen at each press, and the label."""
    rng, seen = random.Random(0), []
    begin = time.monotonic()
    for number in range(keys):
        time.sleep(max(0, begin + number * seconds - time.monotonic()))
        key = rng.choice(list(LABELS))
        seen.append((int(page.value(ON_SCREEN) or 0), LABELS[key]))
        page.press(key)
    return seen


def assert_stored(seat: Seat, seen: list[tuple[int, str]]) -> None:
    assert [(image, kind) for image, kind, *_ in seat.votes()] == seen
    assert len({image for image, _ in seen}) == len(seen) and 0 not in dict(seen)


@pytest.mark.parametrize("delay", DELAYS[:1])
def test_no_vote_falls_on_an_unseen_image(seat: Seat, judging: Opener, delay: float) -> None:
    with delayed(seat.studio.port, delay) as port:
        page = judging(seat.link_by(port))
        seen = rate(page, 30, 0.35)
        page.wait_for(SENT)
    assert_stored(seat, seen)


@pytest.mark.slow
@pytest.mark.parametrize("delay", DELAYS[1:])
def test_no_vote_of_two_hundred_falls_on_an_unseen_image(seat: Seat, judging: Opener, delay: float) -> None:
    with delayed(seat.studio.port, delay) as port:
        page = judging(seat.link_by(port))
        seen = rate(page, 200, 0.35)
        page.wait_for(SENT)
    stored = [(image, kind) for image, kind, *_ in seat.votes()]
    assert Counter(stored) == Counter(seen) and len(seen) == 200 and 0 not in dict(seen)


def test_the_order_is_the_one_chosen_last_when_answers_to_others_come_late(seat: Seat, judging: Opener) -> None:
    with delayed(seat.studio.port, DELAYS[1]) as port:
        page = judging(seat.link_by(port))
        for order in ("disagreement", "random", "newest"):  # faster than any answer
            page.value(
                f"void (document.getElementById('order').value = '{order}', "
                "document.getElementById('order').dispatchEvent(new Event('change')))"
            )
        for image in (260, 259, 258):
            page.wait_for(f"{ON_SCREEN} === '{image}'")
            page.press("ArrowRight")
        page.wait_for(SENT)
    assert [(image, kind) for image, kind, *_ in seat.votes()] == [(260, "like"), (259, "like"), (258, "like")]


def test_thirty_keys_in_a_second_are_thirty_votes(seat: Seat, judging: Opener) -> None:
    with delayed(seat.studio.port, DELAYS[0]) as port:
        page = judging(seat.link_by(port))
        page.wait_for(
            "performance.getEntriesByType('resource').filter((one) => one.name.includes('/file')).length > 31"
        )
        time.sleep(0.5)
        seen = rate(page, 30, 0.03)
        page.wait_for(SENT)
    assert_stored(seat, seen)


def test_a_held_key_is_one_vote_on_buttons_too(seat: Seat, judging: Opener) -> None:
    page = judging(seat.link)
    page.press("ArrowRight", held=20)
    page.wait_for(READY)
    page.value("document.getElementById('dislike').focus()")
    page.press("Enter", held=20)
    page.wait_for(SENT)
    assert [kind for _, kind, *_ in seat.votes()] == ["like", "dislike"]


def test_votes_outlive_a_killed_studio_and_a_reload(seat: Seat, judging: Opener) -> None:
    page = judging(seat.link)
    seen = rate(page, 5, 0.1)
    seat.studio.kill()
    seen += rate(page, 10, 0.1)
    page.wait_for("document.getElementById('link-text').textContent.includes('kept here')")
    seat.studio.start()
    page.wait_for(SENT)
    seen += rate(page, 3, 0.1)
    seat.studio.kill()
    seen += rate(page, 4, 0.1)
    seat.studio.start()
    page.open(seat.link.split("/welcome")[0] + "/judge")
    page.wait_for(f"{SENT} && {READY}")
    assert int(page.value(ON_SCREEN)) not in dict(seen)
    assert_stored(seat, seen)


def test_offline_no_image_is_left_out_and_one_line_tells(seat: Seat, judging: Opener) -> None:
    page = judging(seat.link)
    page.resize(390, 844)
    seat.studio.kill()
    seen = rate(page, 6, 0.1)  # 32 are decoded ahead, and each vote asks for one more
    page.wait_for("document.getElementById('link-text').textContent.includes('kept here')")
    time.sleep(0.5)
    assert page.value("document.getElementById('toasts').textContent") == ""
    below = "document.getElementById('{}').getBoundingClientRect().{}"
    line, tools = below.format("link-text", "top"), below.format("mode-wall", "bottom")
    assert page.value(f"{line} >= {tools} && {below.format('prompt', 'top')} >= {below.format('link-text', 'bottom')}")
    assert page.value("document.getElementById('link-text').scrollWidth") <= 390
    seat.studio.start()
    page.wait_for(SENT)
    seen += rate(page, 34, 0.1)  # those that could not be asked for are among them
    page.wait_for(SENT)
    assert_stored(seat, seen)


def test_undo_works_across_a_reload(seat: Seat, judging: Opener) -> None:
    page = judging(seat.link)
    (first, _), (second, _) = rate(page, 2, 0.2)
    page.wait_for(SENT)
    page.open(seat.link.split("/welcome")[0] + "/judge")
    page.wait_for(READY)
    page.press("u")
    page.wait_for(f"{ON_SCREEN} == '{second}'")
    page.press("Backspace")
    page.wait_for(f"{ON_SCREEN} == '{first}'")
    page.press("ArrowRight")
    page.wait_for(f"{SENT} && {ON_SCREEN} == '{second}'")
    assert page.value("document.getElementById('likes').textContent") == "1"
    rows = seat.votes()
    assert [(image, kind) for image, kind, *_ in rows[2:]] == [(second, "undo"), (first, "undo"), (first, "like")]


def test_a_repeat_that_is_taken_back_or_looked_back_at_stays_a_repeat(seat: Seat, judging: Opener) -> None:
    client = StudioClient(seat.link)
    seen = [image["id"] for image in client.queue(limit=60) if not image.get("vote")][:45]
    client.votes([{"id": str(uuid.uuid4()), "image": image, "kind": "like"} for image in seen])
    page = judging(seat.link)
    image = 0
    told = "document.getElementById('likes').textContent + ' ' + document.getElementById('dislikes').textContent"
    for _ in range(150):  # one in twenty is a repeat
        image = int(page.wait_for(f"!{READY} ? null : {ON_SCREEN}"))
        if image in seen:
            break
        page.press(" ")
        page.wait_for(f"{READY} && {ON_SCREEN} !== '{image}'")
    page.wait_for(f"{SENT} && ({told}) === '45 0'")
    for key in ("ArrowLeft", "u", "ArrowLeft", "ArrowUp", "ArrowRight"):
        page.wait_for(READY)
        page.press(key)
        if key in ("u", "ArrowUp"):
            page.wait_for(f"{ON_SCREEN} === '{image}'")
        assert page.value(told) == "45 0", key
    page.wait_for(SENT)
    kinds = [kind for shown, kind, *_ in seat.votes() if shown == image]
    assert kinds == ["like", "dislike", "undo", "dislike", "like"]
    assert (client.counts()["likes"], client.counts()["dislikes"]) == (45, 0)


def test_looking_back_votes_only_by_a_vote(seat: Seat, judging: Opener) -> None:
    page = judging(seat.link)
    (first, kind), (second, _) = rate(page, 2, 0.2)
    third = int(page.value(ON_SCREEN))
    for key, image in (("ArrowUp", second), ("ArrowUp", first), ("ArrowDown", second), ("ArrowUp", first)):
        page.press(key)
        page.wait_for(f"{ON_SCREEN} == '{image}'")
    other = {"like": "ArrowLeft", "dislike": "ArrowRight"}[kind]
    page.press(other)
    page.wait_for(f"{ON_SCREEN} == '{second}'")
    page.press("ArrowDown")
    page.wait_for(f"{ON_SCREEN} == '{third}' && {SENT}")
    assert [(image, kind) for image, kind, *_ in seat.votes()][2:] == [(first, LABELS[other])]


def test_a_clock_that_is_set_back_sends_no_undo_before_its_vote(seat: Seat, judging: Opener) -> None:
    order = """(async () => {
        const { Outbox } = await import("/static/outbox.js");
        const make = () => new Outbox("probe", () => { throw new TypeError("no link"); });
        make().add("vote");
        const now = Date.now;
        Date.now = () => now() - 3600000;
        const afterReload = make();
        afterReload.add("undo");
        const waiting = afterReload.waiting();
        localStorage.clear();
        return waiting;
    })()"""
    assert judging(seat.link).value(order) == ["vote", "undo"]


def test_reasons_skips_and_views(seat: Seat, judging: Opener) -> None:
    page = judging(seat.link)
    first = int(page.value(ON_SCREEN))
    for key in ("2", "4", "z", "p", "b", "ArrowLeft"):
        page.press(key)
    page.wait_for(f"{READY} && {ON_SCREEN} != '{first}'")
    second = int(page.value(ON_SCREEN))
    page.press(" ")
    page.wait_for(SENT)
    assert page.value("document.body.className").split() == ["judge", "zoomed", "wordless", "blurred"]
    assert seat.votes() == [(first, "dislike", None, "anatomy, quality"), (second, "skip", None, None)]


def test_a_swipe_votes_on_a_telephone(seat: Seat, judging: Opener) -> None:
    page = judging(seat.link, 390)
    seen = []
    for by, kind in ((160, "like"), (30, None), (-160, "dislike")):
        seen += [(int(page.value(ON_SCREEN)), kind)] if kind else []
        page.swipe("#stage", by)
        page.wait_for(READY)
    page.wait_for(SENT)
    assert_stored(seat, seen)


@pytest.mark.slow
def test_the_wall(seat: Seat, judging: Opener) -> None:
    tiles = "[...document.querySelectorAll('.tile')]"
    page = judging(seat.link)
    page.press("w")
    page.wait_for(f"{tiles}.length === 12")
    for key in ("l", "d", "ArrowRight", "s", "u", "l"):
        page.press(key)
    assert page.value(f"{tiles}.map((one) => one.dataset.kind)") == ["like", "dislike", "", "like", *[""] * 8]
    page.press("r")
    page.wait_for("document.querySelector('dialog').open")
    page.click("dialog .main")
    page.wait_for(f"{tiles}.every((one) => one.dataset.kind) && {SENT}")
    page.press("n")
    page.wait_for(f"{tiles}.length === 12 && {tiles}.every((one) => !one.dataset.kind)")
    kinds = Counter(kind for _, kind, *_ in seat.votes())
    assert kinds == {"like": 2, "dislike": 10, "skip": 1, "undo": 1}


def test_a_vote_that_another_tab_sent_before_this_one_saw_it_wait_is_counted(seat: Seat, judging: Opener) -> None:
    page = judging(seat.link)
    page.wait_for(f"{SENT} && document.getElementById('likes').textContent === '0'")
    page.value("Object.defineProperty(document, 'hidden', {get: () => true})")  # so that it does not ask by itself
    image = int(page.value(ON_SCREEN))
    StudioClient(seat.link).vote(image, "like")
    entry = "`thumbtune:${document.body.dataset.store}:${document.body.dataset.rater}:vote:1`"
    page.value(f"dispatchEvent(new StorageEvent('storage', {{key: {entry}, oldValue: '{{}}', newValue: null}})) && 1")
    page.wait_for("document.getElementById('likes').textContent === '1'")


def test_a_second_tab_shows_no_image_that_the_first_one_judged(seat: Seat, judging: Opener, browser: Browser) -> None:
    one = judging(seat.link)
    other = browser.page(1100, 800)
    other.open(one.value("location.href"))
    other.wait_for(READY)
    seen = []
    for turn, page in enumerate((one, other, one, one, other, other)):
        key = "ArrowRight" if turn % 2 else "ArrowLeft"
        shown = page.value(ON_SCREEN)
        for each in (one, other):  # both tabs look at the same image, and go on together
            each.wait_for(f"{ON_SCREEN} === {json.dumps(shown)}")
        seen.append((int(shown), LABELS[key]))
        page.press(key)
        for each in (one, other):
            each.wait_for(f"{READY} && {ON_SCREEN} !== {json.dumps(shown)}")
    for page in (one, other):
        page.wait_for(SENT)
        page.wait_for("document.getElementById('likes').textContent === '3'")
        assert page.value("document.getElementById('dislikes').textContent") == "3"
    assert_stored(seat, seen)
    one.press("u")  # the last vote, which the other tab gave
    one.wait_for(f"{ON_SCREEN} === '{seen[-1][0]}'")
    for page in (one, other):
        page.wait_for(SENT)
        page.wait_for("document.getElementById('likes').textContent === '2'")
    one.press("ArrowLeft")
    one.wait_for(SENT)
    other.press("ArrowUp")  # looks back at what the first tab judged last
    other.wait_for(f"{ON_SCREEN} === '{seen[-1][0]}'")
    assert other.value("document.getElementById('earlier').textContent").startswith("Disliked before")
    assert other.complaints == []
    other.close()


@pytest.mark.slow
def test_a_tab_keeps_its_votes_when_another_link_is_opened(
    seats: Iterator[Seat], judging: Opener, browser: Browser
) -> None:
    seat, other = next(seats), next(seats)
    page = judging(seat.link)
    judging(other.link)
    image = int(page.value(ON_SCREEN))
    browser.call("Page.bringToFront", page.session)
    page.press("ArrowRight")
    told = f"document.getElementById('toasts').textContent.includes('signed in as {other.rater} now')"
    page.wait_for(told)
    assert page.value("document.getElementById('link-text').textContent") == "Sending 1 vote"
    assert seat.votes() == other.votes() == []
    again = judging(seat.link)  # its own page sends what waits
    again.wait_for(SENT)
    assert (seat.votes(), other.votes()) == ([(image, "like", None, None)], [])


def test_a_wall_takes_over_the_verdicts_of_another_tab(seat: Seat, judging: Opener, browser: Browser) -> None:
    wall = judging(seat.link)
    wall.click("#mode-wall")
    wall.wait_for("document.querySelectorAll('.tile').length === 12")
    one = browser.page(1100, 800)
    one.open(wall.value("location.href"))
    one.wait_for(READY)
    for _ in range(3):
        one.press("ArrowRight")
    wall.wait_for("document.querySelectorAll('.tile[data-kind=like]').length === 3")
    assert wall.value("document.getElementById('wall-open').textContent") == "9 not judged"
    one.press("u")
    wall.wait_for("document.getElementById('wall-open').textContent === '10 not judged'")
    browser.call("Page.bringToFront", wall.session)  # a hidden tab closes no dialog
    wall.click("#wall-rest")
    wall.wait_for("document.getElementById('wall-sure').open")
    assert "10 images" in wall.value("document.getElementById('wall-count').textContent")
    wall.click("#wall-sure button[value='yes']")
    wall.wait_for("document.getElementById('wall-open').textContent === 'All judged'")
    for page in (wall, one):
        page.wait_for(SENT)
    votes = [kind for _, kind, undoes, _ in seat.votes() if undoes is None and kind in LABELS.values()]
    assert Counter(votes) == {"like": 3, "dislike": 10}  # a like was taken back: no image has two votes that count
    one.close()


def test_the_title_tells_the_page_what_is_left_and_a_lost_link(browser: Browser, tmp_path: Path) -> None:
    fill(tmp_path / "likes", 3)
    with Studio(tmp_path / "likes") as studio:
        page = signed_in(browser, studio.link, "/judge")
        page.wait_for("document.title === 'Judge · 3 left · Thumbtune'")
        page.wait_for(READY)
        page.press("ArrowRight")
        page.wait_for("document.title === 'Judge · 2 left · Thumbtune'")
        page.wait_for(SENT)
        studio.kill()
        page.press("ArrowRight")
        page.wait_for("document.title === 'Offline · Judge · 1 left · Thumbtune'")
        studio.start()
        page.wait_for("document.title === 'Judge · 1 left · Thumbtune'")
        page.close()
