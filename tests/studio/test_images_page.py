"""Images in a real browser: a bounded page, a selection that keys judge, and an import with its dry run."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, Page, needs_chromium
from opened import signed_in
from running import Studio
from studio_store import fill, png

pytestmark = needs_chromium
TILES = "document.querySelectorAll('.tile').length"
SENT = "document.getElementById('link').dataset.state === 'on'"
IMAGES = 700


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    fill(folder / "likes", IMAGES)
    for number, name in enumerate(["set/like/a", "set/dislike/b", "plain/c", "plain/d"]):
        (folder / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "root" / f"{name}.png").write_bytes(png(5000 + number))
        (folder / "root" / f"{name}.txt").write_text(f"new thing {number}")
    return folder


@pytest.fixture(scope="module")
def studio(folder: Path) -> Iterator[Studio]:
    with Studio(folder / "likes", None, "--root", str(folder / "root")) as running:
        yield running


@pytest.fixture
def page(browser: Browser, studio: Studio) -> Iterator[Page]:
    opened = signed_in(browser, studio.link, "/images")
    opened.wait_for(f"{TILES} > 0")
    yield opened
    opened.close()


def kinds(folder: Path) -> Counter[str]:
    with sqlite3.connect(folder / "likes" / "likes.sqlite") as database:
        return Counter(kind for (kind,) in database.execute("SELECT kind FROM votes"))


@pytest.mark.slow
def test_the_page_stays_small_however_far_it_is_scrolled(page: Page) -> None:
    most = 0
    while page.value("document.getElementById('grid').lastChild.dataset.place") != str(IMAGES - 1):
        page.value("scrollBy(0, 1500)")
        page.wait_for("new Promise((done) => setTimeout(() => done(true), 60))")
        most = max(most, page.value("document.querySelectorAll('*').length"))
    assert 0 < most < 400
    page.value("scrollTo(0, 0)")
    page.wait_for("Boolean(document.querySelector('[data-place=\"0\"]'))")


def test_a_selection_is_judged_by_keys(page: Page, folder: Path) -> None:
    before = kinds(folder)
    page.value("document.getElementById('grid').focus()")
    for key in ("ArrowRight", " ", "ArrowRight", " ", "d"):
        page.press(key)
    assert page.value("document.getElementById('selected').textContent") == "2 selected"
    page.press("Escape")
    page.press("l")
    page.press("u")
    page.wait_for(f"{SENT} && document.getElementById('dislikes').textContent === '1'")
    assert page.value("document.querySelector('[data-place=\"1\"]').dataset.kind") == "dislike"
    assert kinds(folder) - before == {"dislike": 2, "like": 1, "undo": 1}


def test_filters(page: Page) -> None:
    total = "document.getElementById('total').textContent"
    page.wait_for(f"{total} === '700 images'")
    page.value("document.getElementById('text').value = 'thing 69'")
    page.value("document.getElementById('text').dispatchEvent(new Event('input'))")
    page.wait_for(f"{total} === '11 images' && {TILES} === 11")
    page.value("document.getElementById('label').value = 'disagreement'")
    page.value("document.getElementById('label').dispatchEvent(new Event('change'))")
    page.wait_for(f"{total} === '0 images' && !document.getElementById('none').hidden")


def test_everything_that_is_loaded_can_be_selected(page: Page) -> None:
    page.value("document.getElementById('grid').focus()")
    page.value(
        "document.getElementById('grid').dispatchEvent(new KeyboardEvent('keydown', {key: 'a', ctrlKey: true, "
        "bubbles: true}))"
    )
    assert page.value("document.getElementById('selected').textContent") in ("200 selected", "400 selected")


def test_the_drawer_tells_all_about_an_image(page: Page) -> None:
    page.click("[data-place='0']")
    page.wait_for("Boolean(document.querySelector('#drawer-facts dd'))")
    assert page.value("document.getElementById('drawer-prompt').textContent") == f"thing {IMAGES - 1}"
    page.press("Escape")
    assert page.value("document.getElementById('drawer').hidden")


@pytest.mark.slow
def test_an_import_shows_first_what_it_would_do(browser: Browser, studio: Studio, folder: Path) -> None:
    page = signed_in(browser, studio.link, "/images#import")
    page.wait_for("document.querySelectorAll('.folder').length === 2")
    page.value("[...document.querySelectorAll('.folder')].find((one) => one.textContent.includes('plain')).click()")
    page.wait_for("document.getElementById('import-here').textContent === 'plain'")
    page.value("document.getElementById('import-labels').value = 'unrated'")
    page.click("#import-check")
    page.wait_for("!document.getElementById('import-report').hidden")
    numbers = page.value("[...document.querySelectorAll('#import-numbers td')].map((one) => one.textContent)")
    assert numbers == ["2", "2", "0", "0"]
    command = page.value("document.getElementById('import-command').textContent")
    assert command.startswith("thumbtune import plain --likes ") and command.endswith("--unrated")
    with sqlite3.connect(folder / "likes" / "likes.sqlite") as database:
        assert database.execute("SELECT count(*) FROM pictures").fetchone() == (IMAGES,)
        page.click("#import-go")
        page.wait_for("!document.getElementById('import').open")
        assert database.execute("SELECT count(*) FROM pictures").fetchone() == (IMAGES + 2,)
    page.wait_for("document.getElementById('total').textContent === '702 images'")
