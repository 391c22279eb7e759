"""Settings in a browser: raters by clicks, keys by keys, and a theme that other pages come in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, Page, needs_chromium
from opened import signed_in
from running import Studio
from studio_store import fill

pytestmark = needs_chromium
SENT = "document.getElementById('link').dataset.state === 'on'"
PROBLEM = "document.getElementById('keys-problem').textContent"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("settings")
    (folder / "root").mkdir()
    fill(folder / "likes", 12)
    with Studio(folder / "likes", None, "--root", str(folder / "root"), "--rater", "ann") as running:
        yield running


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser that keeps nothing of another test."""
    with Browser(tmp_path / "profile") as opened:
        yield opened


def settings(browser: Browser, studio: Studio) -> Page:
    page = signed_in(browser, studio.link, "/settings")
    page.wait_for("document.querySelectorAll('#raters li').length > 0")
    return page


def at(page: Page, path: str) -> None:
    page.open(page.value("location.origin") + path)


def give(page: Page, action: str, key: str) -> None:
    page.click(f"#key-{action}")
    page.press(key)


@pytest.mark.slow
def test_a_key_that_was_changed_judges_and_the_one_of_before_does_not(studio: Studio, browser: Browser) -> None:
    page = settings(browser, studio)
    give(page, "like", "k")
    assert page.value(PROBLEM) == "" and page.value("document.activeElement.id") == "key-like"
    at(page, "/judge")
    first = page.wait_for("document.getElementById('frame').dataset.image")
    assert page.value("document.querySelector('#like kbd').textContent") == "K"
    assert page.value("document.getElementById('like').getAttribute('aria-keyshortcuts')") == "k"
    page.press("ArrowRight")
    assert page.value("document.getElementById('frame').dataset.image") == first
    page.press("k", held=3)  # a held key is one vote, on the new key too
    page.wait_for(f"document.getElementById('likes').textContent === '1' && {SENT}")
    at(page, "/settings")
    page.click("#keys-reset")
    assert page.value("document.querySelectorAll('.changed').length") == 0
    at(page, "/judge")
    page.wait_for("document.getElementById('frame').dataset.image")
    page.press("ArrowRight")
    page.wait_for("document.getElementById('likes').textContent === '2'")


@pytest.mark.slow
def test_keys_of_the_wall_are_changed_too(studio: Studio, browser: Browser) -> None:
    page = settings(browser, studio)
    give(page, "wall-dislike", "x")
    give(page, "wall", "m")
    at(page, "/judge")
    page.wait_for("document.getElementById('frame').dataset.image")
    page.press("m")
    page.wait_for("document.querySelectorAll('.tile').length > 3")
    page.press("x")
    page.wait_for("document.querySelector('.tile').dataset.kind === 'dislike'")
    page.press("d")
    assert page.value("document.querySelectorAll('.tile[data-kind=\"dislike\"]').length") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "key", "words"),
    [
        ("like", "ArrowLeft", "← is the key for “Dislike” already"),
        ("like", "w", "“One image or the wall”"),  # which counts on both
        ("wall", "l", "L is the key for “Like” already"),
        ("like", "Enter", "Enter keeps its meaning"),
        ("like", "Tab", "Tab keeps its meaning"),
        ("wall-rest", "ArrowUp", "The arrows move on the wall"),
    ],
)
def test_a_key_that_is_taken_is_refused_in_a_sentence(
    studio: Studio, browser: Browser, action: str, key: str, words: str
) -> None:
    page = settings(browser, studio)
    give(page, action, key)
    assert words in page.value(PROBLEM)
    page.press("Escape")
    assert page.value("document.querySelectorAll('.changed').length") == 0
    give(page, "wall-next", "f")  # F is full screen elsewhere, and free on the wall
    assert page.value("document.querySelectorAll('.changed').length") == 1


@pytest.mark.slow
def test_a_theme_is_kept_and_a_page_comes_in_it(studio: Studio, browser: Browser) -> None:
    page = settings(browser, studio)
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.value(colour)
    page.click("#theme-dark")
    dark = page.value(colour)
    assert dark != light
    at(page, "/judge")
    assert page.value(colour) == dark and page.value("document.documentElement.dataset.theme") == "dark"
    at(page, "/settings")
    page.click("#theme-light")
    page.paint(dark=True)  # the system's choice does not count any more
    assert page.value(colour) == light
    page.click("#theme-system")
    assert page.value(colour) == dark
    at(page, "/judge")
    assert page.value(colour) == dark and not page.value("document.cookie.includes('theme=l')")


@pytest.mark.slow
def test_a_rater_is_added_and_removed_by_clicks(studio: Studio, browser: Browser) -> None:
    page = settings(browser, studio)
    page.value("void (document.getElementById('name').value = 'eve')")
    page.click("#add button")
    link = page.wait_for("document.querySelector('#raters li:nth-child(2) input')?.value")
    assert "added here" in page.value("document.querySelector('#raters li:nth-child(2)').textContent")
    theirs = signed_in(browser, link, "/judge")  # this browser is eve's now
    theirs.wait_for("document.body.dataset.rater === 'eve'")
    theirs.close()
    page.close()
    page = settings(browser, studio)
    page.click("#raters li:nth-child(2) .actions button:last-child")
    page.wait_for("document.getElementById('sure').open")
    page.click("#sure button[value='no']")
    assert page.value("document.querySelectorAll('#raters li').length") == 2
    page.click("#raters li:nth-child(2) .actions button:last-child")
    page.click("#sure-yes")
    page.wait_for("document.querySelectorAll('#raters li').length === 1")
    page.open(link, page.value("location.origin"))
    assert page.value("document.getElementById('problem').textContent.includes('was ended')")


@pytest.mark.slow
def test_train_begins_with_the_policy_that_was_chosen(studio: Studio, browser: Browser) -> None:
    page = settings(browser, studio)
    page.wait_for("document.querySelectorAll('#policies tr').length > 3")
    page.click("#policies input[value='unanimous']")
    page.wait_for("document.getElementById('policy-command').textContent.endsWith('=unanimous')")
    at(page, "/train")
    page.wait_for("Boolean(document.getElementById('first-label_policy'))")
    assert page.value("document.getElementById('first-label_policy').value") == "unanimous"
    assert page.value("document.getElementById('changed').textContent").startswith("3 ")  # and two of the preset


def test_a_name_that_is_too_long_is_refused_and_not_cut(studio: Studio, browser: Browser) -> None:
    page = settings(browser, studio)
    page.value(f"void (document.getElementById('name').value = '{'x' * 75}')")
    page.value("document.getElementById('name').focus()")
    page.press("x")  # the 76th: a field that cuts takes no more
    page.click("#add button")
    told = page.wait_for("document.getElementById('raters-problem').textContent")
    assert told == "A text of 76 characters cannot be a rater's name; give 1 to 60 printable characters."
    assert page.value("document.querySelectorAll('#raters li').length") == 1
    assert len(page.value("document.getElementById('name').value")) == 76  # to be shortened


def test_a_dialog_shows_code_and_no_backticks(studio: Studio, browser: Browser) -> None:
    page = settings(browser, studio)
    page.value("void (document.getElementById('name').value = 'dan')")
    page.click("#add button")
    page.wait_for("document.querySelectorAll('#raters li').length === 2")
    page.click("#raters li:nth-child(2) .actions button:last-child")
    page.wait_for("document.getElementById('sure').open")
    assert "`" not in page.value("document.getElementById('sure').textContent")
    assert page.value("document.querySelector('#sure code').textContent") == "thumbtune likes erase"
    page.press("Escape")
    page.wait_for("!document.getElementById('sure')")
    assert page.value("document.querySelectorAll('#raters li').length") == 2
    page.click("#raters li:nth-child(2) .actions button:last-child")
    page.click("#sure-yes")
    page.wait_for("document.querySelectorAll('#raters li').length === 1")


def test_the_backup_says_what_it_holds(studio: Studio, browser: Browser) -> None:
    page = settings(browser, studio)
    kept = page.wait_for("document.getElementById('backup-about').textContent")
    left_out = page.value("document.getElementById('backup-without').textContent")
    assert "all votes with the names of their raters" in kept and "jobs" in kept
    for part in ("the images", "the list of raters", "links", "label policy", "blind tests", "/likes/studio"):
        assert part in left_out


def test_a_rater_changes_their_own_keys_and_theme_and_an_open_judge_takes_them(
    browser: Browser, tmp_path: Path
) -> None:
    fill(tmp_path / "likes", 12)
    with Studio(tmp_path / "likes", None, "--rater", "ann", "--rater", "ben") as running:
        judging = signed_in(browser, running.links[1], "/judge")
        judging.wait_for("document.getElementById('frame').dataset.image")
        page = browser.page(390, 844)
        page.open(f"http://127.0.0.1:{running.port}/settings")
        page.wait_for("document.querySelectorAll('#keys-one button').length > 10")
        give(page, "like", "k")
        judging.wait_for("document.querySelector('#like kbd').textContent === 'K'")
        page.click("#theme-dark")
        assert page.value("document.documentElement.dataset.theme") == "dark"
        assert page.value("document.documentElement.scrollWidth <= innerWidth")
        assert not [address for address in page.requests if "owner" in address or "raters" in address]
        assert page.complaints == []
        judging.press("k")
        judging.wait_for("document.getElementById('likes').textContent === '1'")
