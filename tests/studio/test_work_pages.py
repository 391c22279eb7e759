"""Generate and Train in a real browser: how they look is for people, whether they work is tested here."""

import json
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Page, needs_chromium
from made_runs import a_run, compare, evaluate
from running import Studio
from studio_store import fill, png

from thumbtune.feedback.store.browsing import Query, list_images
from thumbtune.feedback.store.store import Store
from thumbtune.studio.jobs.wording import in_studio

pytestmark = needs_chromium
SMALL = {  # a training of a moment
    "option-train.batch": "4",
    "option-train.sample_every": "0",
    "option-train.validate_every": "0",
    "option-train.checkpoint_every": "5",
}
STATE = "document.getElementById('run-state').textContent"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder to work in, with a store of eight liked and eight disliked images."""
    with Store.open(tmp_path / "likes") as store, store.transaction():
        for number in range(16):
            image = store.add_image(png(number, 64), f"a {('red', 'blue', 'green', 'black')[number % 4]} heart")
            store.vote(image, "like" if number % 8 < 4 else "dislike", rater="me")
    return tmp_path


@pytest.fixture
def studio(root: Path) -> Iterator[Studio]:
    with Studio(root / "likes", None, "--root", str(root)) as started:
        yield started


def page_of(browser: Browser, studio: Studio, name: str, width: int = 1100) -> Page:
    page = browser.page(width, 900)
    base = studio.link.split("/welcome", maxsplit=1)[0]
    page.open(studio.link, f"{base}/#")
    page.open(f"{base}/{name}")
    return page


def fill_in(page: Page, values: dict[str, str]) -> None:
    """Type values into fields, as far as their handlers tell."""
    for name, value in values.items():
        field = f"document.getElementById({json.dumps(name)})"
        page.value(f"{field}.value = {json.dumps(value)}")
        for event in ("input", "change"):
            page.value(f"{field}.dispatchEvent(new Event('{event}', {{bubbles: true}}))")


def test_a_run_shows_its_numbers_and_why_it_stopped(browser: Browser, studio: Studio, root: Path) -> None:
    a_run(root)
    page = page_of(browser, studio, "train#run=first")
    page.wait_for("document.querySelectorAll('#plots svg[role=img]').length === 5")
    labels = page.value("[...document.querySelectorAll('#plots svg[role=img]')].map(svg => svg.ariaLabel)")
    assert labels[:3] == [
        "Implicit reward: liked 0.0444, disliked -0.02",
        "Held-out agreement: agreement 0.7",
        "Loss: loss 0.4",
    ]
    assert page.value("document.getElementById('run-sentence').textContent").startswith("Training stopped at step 40")
    assert (
        page.value("document.querySelector('#plots [role=img] .line.liked').getAttribute('d').split('L').length") == 40
    )


@pytest.mark.slow
def test_settings_are_searched_marked_and_copied(browser: Browser, studio: Studio) -> None:
    page = page_of(browser, studio, "train")
    page.wait_for("document.querySelectorAll('.option').length > 50")
    fill_in(page, {"search": "held out", "name": "second"})
    shown = page.value("[...document.querySelectorAll('.option:not([hidden]) code')].map(code => code.textContent)")
    assert "train.validation_share" in shown and "train.lr" not in shown
    page.value("document.getElementById('preset-quick').click()")
    assert page.value("document.getElementById('first-train.steps').value") == "25"
    fill_in(page, {"first-train.steps": "60"})
    assert page.value("document.getElementById('option-train.steps').value") == "60"
    assert page.value("document.querySelectorAll('.differs:not([hidden])').length") == 6
    page.value(
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async text => { window.copied = text; }}})"
    )
    page.value("document.getElementById('copy-command').click()")
    command = page.wait_for("window.copied")
    assert command.startswith("thumbtune train --out runs/second --likes likes --set train.steps=60")
    page.value("document.getElementById('copy-yaml').click()")
    assert "steps: 60" in page.wait_for("window.copied.includes('likes: likes') && window.copied")
    fill_in(page, {"first-train.lr": "fast"})
    page.value("document.getElementById('start').click()")
    sentence = page.wait_for("document.getElementById('form-problem').textContent")
    assert sentence == "The settings: train.lr is 'fast', but should be a number."
    expected = [each for each in page.complaints if "400" not in each]  # the browser tells of every refusal
    assert expected == []


def begin(page: Page, name: str, steps: int) -> None:
    page.wait_for("document.querySelectorAll('.option').length > 50")
    fill_in(page, {"name": name, "first-train.steps": str(steps), **SMALL})
    page.click("#start")
    page.wait_for(f"location.hash === '#run={name}'")


def steps_in(root: Path, name: str) -> list[int]:
    file = root / "runs" / name / "steps.jsonl"
    return [json.loads(line)["step"] for line in file.read_text().splitlines()] if file.exists() else []


def until(true: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_a_training_goes_on_when_the_studio_is_killed_and_is_found_again(
    browser: Browser, studio: Studio, root: Path
) -> None:
    page = page_of(browser, studio, "train")
    begin(page, "mine", 40)
    until(lambda: len(steps_in(root, "mine")) >= 2)
    studio.kill()
    before = len(steps_in(root, "mine"))
    until(lambda: len(steps_in(root, "mine")) > before)  # nobody watches, and it trains
    studio.start()
    again = page_of(browser, studio, "train#run=mine")
    again.wait_for(f"{STATE}.includes('Running') || {STATE}.includes('Done')")
    until(lambda: "Done" in again.value(STATE))
    assert steps_in(root, "mine") == list(range(1, 41))
    again.wait_for("document.getElementById('run-bar').textContent === '40 of 40 steps'")
    assert again.complaints == []


def choose(page: Page, words: str) -> None:
    button = f"[...document.querySelectorAll('#run-actions button')].find(one => one.textContent === '{words}')"
    page.wait_for(f"Boolean({button})")
    page.value(f"{button}.click()")


@pytest.mark.slow
def test_save_stop_and_resume_from_the_page(browser: Browser, studio: Studio, root: Path) -> None:
    page = page_of(browser, studio, "train")
    begin(page, "mine", 60)
    until(lambda: len(steps_in(root, "mine")) >= 3)
    page.wait_for(
        "[...document.querySelectorAll('#run-actions button')]"
        ".some((one) => one.textContent === 'Save a checkpoint' && !one.disabled)"
    )
    choose(page, "Save a checkpoint")
    page.wait_for("document.getElementById('toasts').textContent.includes('asked; it happens after the next step')")
    page.wait_for("document.getElementById('notes').textContent.includes('A checkpoint of step')")
    assert not list((root / "runs" / "mine" / "samples").glob("*"))  # none is due in this training
    choose(page, "Sample now")
    page.wait_for("document.querySelectorAll('#samples img').length > 0")
    choose(page, "Stop")
    until(lambda: "Stopped" in page.value(STATE))
    stopped = len(steps_in(root, "mine"))
    assert 3 <= stopped < 60
    assert f"Stopped after step {stopped} of 60" in page.value("document.getElementById('run-sentence').textContent")
    choose(page, "Resume")
    until(lambda: "Done" in page.value(STATE))
    assert steps_in(root, "mine") == list(range(1, 61))
    assert "continues from step" in page.value("document.getElementById('notes').textContent")
    assert page.complaints == []


def cut_stream(studio: Studio, number: int, after: str | None, events: int) -> Iterator[dict[str, Any]]:
    """Yield some events of a job, then cut the line."""
    base, token = studio.link.split("/welcome?token=")
    headers = {"authorization": f"Bearer {token}", **({"last-event-id": after} if after else {})}
    request = urllib.request.Request(f"{base}/api/v1/jobs/{number}/events", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        event: dict[str, Any] = {}
        for line in answer:
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key and value:
                event[key] = value
            elif event.get("event"):
                yield event
                event, events = {}, events - 1
                if not events:
                    return


@pytest.mark.slow
def test_events_that_are_cut_off_again_and_again_are_whole(browser: Browser, studio: Studio, root: Path) -> None:
    begin(page_of(browser, studio, "train"), "mine", 30)
    after, told, log, ended = None, [], [], False
    while not ended:
        for event in cut_stream(studio, 1, after, events=2):
            after, data = event["id"], json.loads(event["data"])
            told += [row["step"] for row in data] if event["event"] == "steps" else []
            log += data if event["event"] == "log" else []
            ended = event["event"] == "end"
    assert told == list(range(1, 31))
    written = (root / "likes" / "studio" / "jobs" / "1.log").read_text().splitlines()
    assert log == [in_studio(line) for line in written]


@pytest.mark.slow
def test_generated_images_come_to_be_judged(browser: Browser, tmp_path: Path) -> None:
    fill(tmp_path / "likes", 0)
    with Studio(tmp_path / "likes", None, "--root", str(tmp_path)) as studio:
        page = page_of(browser, studio, "generate")
        fill_in(page, {"prompts": "a red heart\n\na blue car", "per-prompt": "2", "steps": "3"})
        page.click("#start")
        until(lambda: "Done" in page.value("document.getElementById('jobs').textContent"))
        page.wait_for("document.querySelectorAll('.thumbs img').length === 4")
        page.wait_for("document.getElementById('left').textContent === '4'")
        assert page.complaints == []
    with sqlite3.connect(tmp_path / "likes" / "likes.sqlite") as database:
        found = database.execute("SELECT prompt, seed, model FROM pictures ORDER BY id").fetchall()
        assert database.execute("SELECT COUNT(*) FROM votes").fetchone() == (0,)
    model = found[0][2]
    assert [row[:2] for row in found] == [("a red heart", 0), ("a red heart", 1), ("a blue car", 0), ("a blue car", 1)]
    assert "tiny-emoji-64" in model


@pytest.mark.slow
def test_pairs_are_compared_by_keys(browser: Browser, studio: Studio, root: Path) -> None:
    a_run(root)
    evaluate(root)
    page = page_of(browser, studio, "compare?run=first")
    page.wait_for("document.querySelectorAll('.tiles img').length === 4")
    assert page.value("document.getElementById('looked').textContent") == "a red heart"
    assert page.value("document.getElementById('scores').textContent") == "Pair 1 of 2, seed 7 · taste 0.25 → 0.5"
    assert "? open" in page.value("document.getElementById('gates').textContent")
    page.press("ArrowRight")
    page.wait_for("document.getElementById('looked').textContent === 'a blue car'")
    images = page.value("['before', 'after'].map(id => new URL(document.querySelector(`#${id} img`).src).pathname)")
    assert images == [f"/api/v1/runs/first/comparison/{side}/1/7" for side in "ab"]
    page.press("ArrowRight")  # round to the first
    assert page.value("document.getElementById('looked').textContent") == "a red heart"
    fill_in(page, {"share": "30"})
    clipped = "document.getElementById('after').style.clipPath"
    assert page.value(clipped) == "inset(0px 0px 0px 30%)"
    page.press("s")
    assert page.value(clipped) == "none"
    assert page.value("document.getElementById('beside').ariaPressed") == "true"
    assert page.complaints == []


@pytest.mark.slow
def test_any_two_columns_of_a_grid_are_compared(browser: Browser, studio: Studio, root: Path) -> None:
    a_run(root)
    compare(root)
    page = page_of(browser, studio, "compare?run=first")
    page.wait_for("!document.getElementById('unevaluated').hidden")
    page.click("#mode-grid")
    page.wait_for("document.querySelectorAll('#grid img').length === 5")
    shown = "['before', 'after'].map(id => new URL(document.querySelector(`#${id} img`).src).pathname.slice(-7))"
    assert page.value(shown) == ["001.png", "003.png"]  # the base and the result, of the row that is whole
    assert "Pair 1 of 1" in page.value("document.getElementById('scores').textContent")
    page.click("#grid tbody tr:nth-child(2) td:nth-child(3) button")  # step 20, of the second prompt
    page.wait_for("document.getElementById('looked').textContent === 'a blue car'")
    assert page.value(shown) == ["004.png", "005.png"]
    page.value("document.getElementById('column-left').value = '1'")
    page.value("document.getElementById('column-left').dispatchEvent(new Event('change'))")
    assert page.value(shown)[0] == "005.png"
    assert page.value("document.querySelectorAll('#grid tr[data-current]').length") == 1
    page.value(
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async text => { window.copied = text; }}})"
    )
    page.click("#grid-copy")  # the last checkpoint of a finished run is its result, and not ticked
    assert page.wait_for("window.copied") == (
        "thumbtune compare runs/first --seeds 1 --first-seed 0 --checkpoint 10 -- 'a red heart' 'a blue car'"
    )
    page.click("#kind-strengths")
    page.click("#grid-copy")
    page.wait_for("window.copied.includes('--strength 0 --strength 0.5 --strength 1 --strength 1.5')")
    assert page.complaints == []


def unrated(root: Path) -> list[tuple[str, str | None, int | None]]:
    """The prompt, model and seed of each image without a vote."""
    with Store.open(root / "likes") as store:
        found = list_images(store, "me", Query(label="unrated"), 100)
    return [(one.image.prompt, one.image.model, one.image.seed) for one in found]


@pytest.mark.slow
def test_a_run_leads_to_the_next_round_and_its_results_are_taken_away(
    browser: Browser, studio: Studio, root: Path
) -> None:
    page = page_of(browser, studio, "train")
    begin(page, "mine", 2)
    until(lambda: "Done" in page.value(STATE))
    page.wait_for("[...document.querySelectorAll('#run-actions button')].some(one => one.textContent === 'Next round')")
    choose(page, "Next round")
    fill_in(page, {"next-per-prompt": "2", "next-limit": "2", "next-prompts": "a new dragon"})
    page.click("#next-start")
    page.wait_for("document.getElementById('sure')?.open")  # the bundled model knows no dragon
    page.click("#sure-yes")
    until(lambda: "Done" in page.value("document.getElementById('rounds').textContent"))
    made = unrated(root)
    assert sorted(prompt for prompt, *_ in made) == ["a new dragon"] * 2 + ["a red heart"] * 2
    assert {model for _, model, _ in made} == {"tiny-emoji-64+mine"} and len({seed for *_, seed in made}) == 4
    assert "of 4 unrated images" in page.value("document.getElementById('rounds').textContent")

    fill_in(page, {"next-reference": "base"})
    page.click("#next-train")
    page.wait_for("document.getElementById('name').value === 'mine-2'")
    page.wait_for("document.getElementById('option-lora.start')?.value === 'runs/mine'")
    assert page.value("document.getElementById('option-lora.reference').value") == "base"
    page.click("#start")
    page.wait_for("location.hash === '#run=mine-2'")
    until((root / "runs" / "mine-2" / "lora").is_dir)
    assert (root / "runs" / "mine-2" / "own" / "start").is_dir()

    page = page_of(browser, studio, "blind")
    page.wait_for("document.getElementById('source').options.length")
    page.wait_for("document.getElementById('run-b').options.length === 2")
    fill_in(page, {"source": "two runs", "duel-prompts": "a red heart\na new dragon", "per-prompt": "1"})
    page.click("#start")
    page.wait_for("Boolean(document.querySelector('#duels article'))")
    until(lambda: page.value("Boolean(document.querySelector('#tests a'))"))
    assert "mine-2 against runs/mine" in page.value("document.getElementById('tests').textContent")
    assert page.complaints == []

    page = page_of(browser, studio, "export?run=mine")
    page.wait_for("document.querySelectorAll('#files li').length === 3")
    page.click("#export-start")
    page.wait_for("Boolean(document.querySelector('#exports a'))")
    page.click("#merge-start")
    page.wait_for("Boolean(document.querySelector('#merges a'))")
    sizes = "[...document.querySelectorAll('#exports .quiet, #merges .quiet')].map(one => one.textContent)"
    page.wait_for(f"{sizes}.filter(text => /(KB|MB)$/.test(text)).length === 2")
    assert (root / "exports" / "mine-merged" / "model_index.json").is_file()
    assert not [file for file in (root / "exports").rglob("*.parquet") if b'"me"' in file.read_bytes()]
    assert page.complaints == []
