"""Every screen, narrow and wide: nothing from elsewhere, no complaint of the console, and axe finds nothing."""

import re
import shutil
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from browser import Browser, Page, needs_chromium
from made_blind import blind_tests
from made_runs import a_run, compare, evaluate
from opened import SCREENS, signed_in
from running import Studio
from studio_store import fill

from thumbtune.studio.pages import PAGES

pytestmark = needs_chromium
AXE = resources.files("axe_core_python").joinpath("axe.min.js")
# what axe finds, as: the rule, and the first element that breaks it
FINDINGS = """axe.run(document, {resultTypes: ['violations']}).then(({violations}) =>
    violations.map((one) => `${one.id}: ${one.nodes[0].html.slice(0, 120)} ${one.nodes[0].failureSummary}`))"""
STATES = {
    "home": (
        "/",
        "document.getElementById('fine').open = true",
        "document.getElementById('state-judge').textContent.includes('left') && "
        "document.getElementById('doctor-when').textContent.includes('Measured')",
    ),
    "judge": ("/judge", "true", "document.getElementById('frame').dataset.image"),
    "wall": (
        "/judge",
        "document.getElementById('mode-wall').click()",
        "document.querySelectorAll('.tile').length === 12",
    ),
    "sure": (
        "/judge",
        "document.getElementById('mode-wall').click(); document.getElementById('wall-rest').click()",
        "document.getElementById('wall-sure').open",
    ),
    "images": ("/images", "true", "document.querySelectorAll('.tile').length"),
    "selection": (
        "/images",
        "document.querySelectorAll('.tile').forEach((one) => one.dispatchEvent(new MouseEvent('click', "
        "{ctrlKey: true, bubbles: true})))",
        "!document.getElementById('acts').hidden",
    ),
    "drawer": (
        "/images",
        "document.querySelector('.tile').click()",
        "document.querySelector('#drawer-facts dd') && document.querySelector('#drawer-image img').complete",
    ),
    "generate": (
        "/generate",
        "document.querySelector('details').open = true",
        "!document.getElementById('runs').hidden",
    ),
    "train": (
        "/train",
        "document.querySelector('#form details').open = true",
        "document.querySelectorAll('.option').length > 50 && document.querySelector('#runs article')",
    ),
    "question": (
        "/train",
        "document.getElementById('option-train.steps').value = '1e9'; "
        "document.getElementById('option-train.steps').dispatchEvent(new Event('change')); "
        "document.getElementById('start').click()",
        "document.getElementById('sure') && document.getElementById('sure').open",
    ),
    "run": ("/train#run=first", "true", "document.querySelectorAll('#samples img').length === 3"),
    "round": (
        "/train#run=first",
        "[...document.querySelectorAll('#run-actions button')].find((one) => one.textContent === 'Next round').click()",
        "document.getElementById('rounds').textContent",
    ),
    "compare": ("/compare", "true", "document.querySelectorAll('.tiles img').length === 4"),
    "grid": ("/compare#grid", "true", "document.querySelectorAll('#grid img').length === 5"),
    "strengths": (
        "/compare#grid",
        "document.getElementById('kind-strengths').click(); document.getElementById('beside').click()",
        "document.querySelectorAll('#grid img').length === 5 && !document.getElementById('strength-fields').hidden",
    ),
    "blind": ("/blind", "true", "document.querySelectorAll('#tests article').length === 2 && source.options.length"),
    "two": (
        "/blind",
        "document.getElementById('source').value = 'two runs'; "
        "document.getElementById('source').dispatchEvent(new Event('change')); "
        "document.getElementById('stop').value = 'sequential'; "
        "document.getElementById('stop').dispatchEvent(new Event('change'))",
        "!document.getElementById('two-runs').hidden && !document.getElementById('stop-about').hidden",
    ),
    "pair": (
        "/blind",
        "document.querySelector('#tests a[href^=\"#test\"]').click()",
        "document.getElementById('choices').dataset.trial",
    ),
    "ending": ("/blind", "document.querySelector('#tests button').click()", "document.getElementById('sure').open"),
    "result": (
        "/blind",
        "document.querySelector('#tests a[href^=\"#result\"]').click()",
        "!document.getElementById('result').hidden",
    ),
    "export": ("/export", "true", "document.querySelector('#files li') && document.getElementById('card').textContent"),
    "settings": (
        "/settings",
        "document.querySelector('#raters button').click()",
        "document.querySelector('#raters input') && document.querySelector('#policies tr') && "
        "document.querySelector('#about dd')",
    ),
    "upload": (
        "/images",
        "document.getElementById('upload-open').click()",
        "document.getElementById('upload').open",
    ),
    "import": ("/images#import", "true", "document.querySelector('.folder')"),
    "more": (
        "/settings",
        "document.getElementById('rail-more').click()",
        "document.querySelector('[aria-expanded=true]')",
    ),
}

READY = {
    "two": "document.getElementById('source').options.length > 1",
    "strengths": "document.querySelectorAll('#grid img').length === 5",
    "round": "Boolean(document.querySelector('#run-actions button'))",
    "question": "document.querySelectorAll('.option').length > 50",
    "/images": "document.querySelectorAll('.tile').length",
    "/judge": "document.getElementById('frame').dataset.image",
    "/blind": "document.querySelectorAll('#tests article').length",
    "/settings": "document.querySelectorAll('#raters li').length",
}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("screens")
    (folder / "root" / "pictures").mkdir(parents=True)
    fill(folder / "likes", 40)
    a_run(folder / "root")
    evaluate(folder / "root")
    compare(folder / "root")
    shutil.copytree(folder / "root" / "runs" / "first", folder / "root" / "runs" / "second")
    blind_tests(folder / "likes", folder / "root")
    with Studio(folder / "likes", None, "--root", str(folder / "root"), "--rater", "me", "--rater", "ben") as running:
        yield running


def brought(page: Page, state: str) -> None:
    _, act, sign = STATES[state]
    page.wait_for("document.readyState === 'complete'")
    if act != "true":
        page.wait_for(READY.get(state) or READY.get(page.value("location.pathname"), "true"))
        for part in act.split("; "):
            page.value(f"void ({part})")
            time.sleep(0.2)
    page.wait_for(f"Boolean({sign})")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("width", "dark"), [(1100, False), (390, True)])
def test_a_screen_is_for_everybody_and_asks_nobody_else(
    studio: Studio, browser: Browser, state: str, width: int, dark: bool
) -> None:
    page = signed_in(browser, studio.link, STATES[state][0], width, dark)
    brought(page, state)
    assert_for_everybody(page, studio)


@pytest.mark.parametrize(("width", "dark"), [(1100, True), (390, False)])
def test_a_raters_settings_are_for_everybody(studio: Studio, browser: Browser, width: int, dark: bool) -> None:
    page = signed_in(browser, studio.links[1], "/settings", width, dark)
    page.wait_for("document.querySelectorAll('#keys-wall button').length > 3")
    assert_for_everybody(page, studio)


def assert_for_everybody(page: Page, studio: Studio) -> None:
    # in a world of its own: the page's policy lets no script in
    frame = page.browser.call("Page.getFrameTree", page.session)["frameTree"]["frame"]["id"]
    world = page.browser.call("Page.createIsolatedWorld", page.session, frameId=frame, worldName="axe")[
        "executionContextId"
    ]

    def run(script: str) -> object:
        told = page.browser.call(
            "Runtime.evaluate", page.session, expression=script, contextId=world, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    run(AXE.read_text(encoding="utf-8") + "; void 0")
    assert run(FINDINGS) == []
    base = studio.link.split("/welcome")[0]
    assert not [address for address in page.requests if not address.startswith((base, "blob:"))]
    assert page.complaints == []
    assert page.value("document.documentElement.scrollWidth <= innerWidth")
    ends = "[...document.querySelectorAll('.rail a')].map((link) => link.getBoundingClientRect().right)"
    assert page.value(f"Math.max(...{ends}) <= innerWidth")  # nothing of the rail is cut off
    page.close()


def test_a_telephone_shows_the_pages_without_room_under_more(studio: Studio, browser: Browser) -> None:
    page = signed_in(browser, studio.link, "/judge", 390)
    shown = "[...document.querySelectorAll('.rail a[href], #rail-more')].filter((one) => one.offsetParent)"
    words = f"{shown}.map((one) => one.textContent.trim())"
    few = ["Home", "Generate", "Images", "Judge", "Train", "More"]
    assert page.value(words) == few
    assert page.value(f"Math.min(...{shown}.map((one) => one.offsetHeight)) >= 44")  # room for a thumb
    for closing in ("document.querySelector('h1').click()", None):
        page.click("#rail-more")
        assert page.value(words) == [*few, "Compare", "Blind", "Export", "Settings"]
        if closing:
            page.value(closing)
        else:
            page.press("Escape")
        assert page.value(words) == few
    assert page.value("document.activeElement.id") == "rail-more"
    page.click("#rail-more")
    page.click("#rail-rest a[href='/export']")
    page.wait_for("location.pathname === '/export' && Boolean(document.querySelector('#rail-more.holds'))")
    page.resize(1100, 760)
    page.wait_for("getComputedStyle(document.getElementById('rail-more')).display === 'none'")
    assert page.value(words) == ["", *few[:-1], "Compare", "Blind", "Export", "Settings"]  # the brand first
    page.close()


def test_every_page_of_the_rail_is_among_these_screens() -> None:
    assert {page.path for page in PAGES} == set(SCREENS.values())
    assert set(SCREENS.values()) == {path.split("#")[0] for path, *_ in STATES.values()}


def test_no_page_has_a_script_or_style_in_it() -> None:
    for file in Path(str(resources.files("thumbtune.studio").joinpath("templates"))).glob("*.j2"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|https?://", text), file.name


def test_no_script_makes_elements_of_texts() -> None:
    files = sorted(Path(str(resources.files("thumbtune.studio").joinpath("static"))).glob("*.js"))
    assert len(files) > 30
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(", text), file.name


def test_colours_alone_tell_nothing(studio: Studio, browser: Browser) -> None:
    page = signed_in(browser, studio.link, "/judge")
    for kind, mark in (("like", "♥"), ("dislike", "✕")):
        assert mark in page.value(f"document.getElementById('{kind}').textContent")
        assert kind in page.value(f"document.getElementById('{kind}').textContent").lower()
