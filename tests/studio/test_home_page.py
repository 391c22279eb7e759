"""Home after a run was trained and evaluated, and what a telephone shows of Images and Judge."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, needs_chromium
from made_runs import a_run, evaluate
from opened import signed_in
from running import Studio
from studio_store import png

from thumbtune.feedback.store.store import Store

pytestmark = needs_chromium
OUTSIDE = """[...document.querySelectorAll('#reasons button')].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.left < 0 || box.right > innerWidth;
}).length"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store in which Me likes two images and Ben dislikes both and likes another one."""
    with Store.open(tmp_path / "likes") as store, store.transaction():
        images = [store.add_image(png(number, 64), f"thing {number}") for number in range(4)]
        for number, (rater, kind) in enumerate((("me", "like"), ("me", "like"), ("ben", "like"))):
            store.vote(images[number], kind, rater=rater)  # type: ignore[arg-type]
        store.vote(images[0], "dislike", rater="ben")
    return tmp_path


@pytest.fixture
def studio(root: Path) -> Iterator[Studio]:
    with Studio(root / "likes", None, "--root", str(root), "--rater", "me", "--rater", "ben") as started:
        yield started


@pytest.mark.slow
def test_home_counts_what_training_sees_and_then_names_the_run(browser: Browser, studio: Studio, root: Path) -> None:
    page = signed_in(browser, studio.links[0])
    text = "document.getElementById('state-{}').textContent"
    # the image on which both vote has a tie, and gives no label
    page.wait_for(
        f"{text.format('train')} === '48 likes and 50 dislikes to go (majority of all raters: 2 likes, 0 dislikes)'"
    )
    a_run(root)
    page = signed_in(browser, studio.links[0])
    page.wait_for(f"{text.format('compare')} === 'first is not evaluated yet'")
    evaluate(root)
    page = signed_in(browser, studio.links[0])
    page.wait_for(f"{text.format('compare')} === 'first: Not enough evidence.'")
    page.wait_for(f"{text.format('train')} === 'first is trained'")
    assert page.value("document.getElementById('command-compare').textContent") == "thumbtune evaluate runs/first"
    assert page.value("document.getElementById('to-compare').getAttribute('href')") == "/compare?run=first"
    assert page.complaints == []


@pytest.mark.slow
def test_on_a_telephone_no_counter_covers_a_button_and_no_reason_is_cut(browser: Browser, studio: Studio) -> None:
    page = signed_in(browser, studio.links[0], "/images", 390)
    page.wait_for("document.getElementById('likes').textContent === '2'")
    right = page.value("document.getElementById('import-open').getBoundingClientRect().right")
    assert right <= page.value("document.getElementById('counts').getBoundingClientRect().left")
    assert page.value("document.getElementById('link').getBoundingClientRect().right") <= 390
    page = signed_in(browser, studio.links[0], "/judge", 390)
    page.wait_for("document.querySelectorAll('#reasons button').length > 2")
    assert page.value(OUTSIDE) == 0


@pytest.mark.slow
def test_a_report_is_served_by_the_name_of_its_run(browser: Browser, studio: Studio, root: Path) -> None:
    a_run(root)
    (root / "runs" / "first" / "report.html").write_text("<p>report")
    page = signed_in(browser, studio.links[0], "/train#run=first")
    link = "[...document.querySelectorAll('#run-actions a')].find((one) => one.textContent === 'Report')"
    page.wait_for(f"Boolean({link})")
    told = f"fetch({link}.href).then((one) => one.text().then((text) => one.headers.get('content-disposition') + text))"
    assert page.value(told) == 'attachment; filename="first-report.html"<p>report'
    assert page.value("fetch('/api/v1/runs/second/report').then((one) => one.status)") == 404


def test_a_page_that_asks_late_gets_the_counts_that_are_there(browser: Browser, studio: Studio) -> None:
    """The counts may come before the modules of a page; it must not wait 20 s for the next ones."""
    page = signed_in(browser, studio.links[0], "/")
    page.wait_for("document.getElementById('likes').textContent === '2'")
    late = "import('/static/shell.js').then(({ onCounts }) => { let seen = 0; onCounts(() => seen++); return seen; })"
    assert page.value(late) == 1
    assert page.value("document.getElementById('state-images').textContent") == "4 images"
    assert page.value("document.querySelectorAll('.next').length") == 1


@pytest.mark.parametrize("width", [390, 1100])
def test_a_long_prompt_is_shown_from_its_beginning_and_can_be_scrolled(
    browser: Browser, studio: Studio, width: int
) -> None:
    page = signed_in(browser, studio.links[0], "/judge", width)
    page.wait_for("Boolean(document.getElementById('prompt').textContent)")
    above = """((text) => {
        const prompt = document.getElementById('prompt');
        prompt.textContent = text;
        const letters = document.createRange();
        letters.selectNodeContents(prompt);
        const [first] = letters.getClientRects();
        const scrolls = prompt.scrollHeight > prompt.clientHeight;
        return [scrolls, Math.round(Math.max(0, prompt.getBoundingClientRect().top - first.top))];
    })"""
    assert page.value(f"{above}('a red apple')") == [False, 0]
    assert page.value(f"{above}('an old fisherman mending a net '.repeat(60))") == [True, 0]


def test_a_double_click_exports_once(browser: Browser, studio: Studio, root: Path) -> None:
    a_run(root)
    page = signed_in(browser, studio.links[0], "/export")
    page.wait_for("!document.getElementById('export-start').disabled")
    page.double_click("#export-start")
    jobs = "fetch('/api/v1/jobs?kind=export').then((one) => one.json()).then((all) => all.length)"
    page.wait_for(jobs)
    time.sleep(0.5)  # a second one would be there soon
    assert page.value(jobs) == 1
