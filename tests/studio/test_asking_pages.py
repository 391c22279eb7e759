"""Generate, Train and Compare in a real browser: what is asked before a job starts, and what comes next."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Page, needs_chromium
from made_runs import a_run, compare, evaluate
from opened import signed_in
from running import Studio
from studio_store import fill

pytestmark = needs_chromium
ASKED = "document.getElementById('sure')?.textContent"
LABELS = "[...document.querySelectorAll('#run-actions .main')].map((one) => one.textContent)"
# jobs are made and never started: their rows alone are looked at
NO_JOBS = """window.posted = []; const real = window.fetch;
window.fetch = (address, options = {}) => {
  if (options.method !== 'POST' || /check$/.test(address)) return real(address, options);
  window.posted.push([address, JSON.parse(options.body)]);
  return Promise.resolve(new Response(JSON.stringify({error: {code: 'x', message: 'Not `here`.'}}), {status: 400}));
};"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and five runs: evaluated, finished, stopped, begun and older than all of these."""
    root = tmp_path_factory.mktemp("asking")
    fill(root / "likes", 4)
    a_run(root)
    evaluate(root)
    compare(root)
    for name in ("plain", "halted", "fresh"):
        a_run(root / name)
        (root / name / "runs" / "first").rename(root / "runs" / name)
        (root / "runs" / name / "stopped.json").unlink()
    for name in ("halted", "fresh"):
        (root / "runs" / name / "lora" / "weights.safetensors").unlink()
    steps = root / "runs" / "halted" / "steps.jsonl"
    steps.write_text("".join(steps.read_text().splitlines(keepends=True)[:15]))
    (root / "runs" / "fresh" / "steps.jsonl").unlink()
    return root


@pytest.fixture(scope="module")
def studio(root: Path) -> Iterator[Studio]:
    with Studio(root / "likes", None, "--root", str(root)) as started:
        yield started


@pytest.fixture
def opened(browser: Browser, studio: Studio) -> Iterator[Any]:
    """Open a page of the owner's, which posts no job."""
    pages = []

    def make(path: str, width: int = 1100) -> Page:
        page = signed_in(browser, studio.link, path, width)
        page.value(NO_JOBS)
        pages.append(page)
        return page

    yield make
    for page in pages:
        page.close()


def fill_in(page: Page, **values: str) -> None:
    for name, value in values.items():
        field = f"document.getElementById({json.dumps(name.replace('__', '.').replace('_', '-'))})"
        page.value(f"{field}.value = {json.dumps(value)}")
        for event in ("input", "change"):
            page.value(f"{field}.dispatchEvent(new Event('{event}', {{bubbles: true}}))")


def test_a_training_of_days_is_asked_about_and_can_be_left(opened: Any) -> None:
    page = opened("/train")
    page.wait_for("document.querySelectorAll('.option').length > 50")
    fill_in(page, first_train__steps="1e9")
    page.click("#start")
    asked = page.wait_for(ASKED)
    assert "1,000,000,000 steps take about 3,472 d 5 h" in asked and "of the run" in asked
    page.press("Escape")
    page.wait_for("!document.getElementById('sure') && !document.getElementById('start').disabled")
    assert page.value("window.posted") == [] and page.value("location.hash") == ""
    assert page.value("document.getElementById('first-train.steps').value") == "1e9"
    page.click("#start")
    page.wait_for(ASKED)
    page.click("#sure-yes")
    ((address, body),) = page.wait_for("window.posted.length && window.posted")
    assert (address, body["settings"]["train.steps"]) == ("/api/v1/jobs/train", "1e9")
    page.wait_for("document.querySelector('#form-problem code')?.textContent === 'here'")  # and no backticks
    fill_in(page, first_train__steps="40")
    page.click("#start")
    page.wait_for("window.posted.length === 2")  # without a question
    fill_in(page, first_train__steps="0")
    page.click("#start")
    page.wait_for("document.getElementById('form-problem').textContent.includes('greater than or equal to 1')")
    assert page.value("window.posted.length") == 2


def test_generate_asks_about_words_and_keeps_what_was_typed(opened: Any) -> None:
    page = opened("/generate")
    page.wait_for("!document.getElementById('runs').hidden")
    page.value("document.querySelector('details').open = true")
    fill_in(
        page, prompts="a red apple\na red  apple\na zebrafish", per_prompt="3", seed="7", size="100", model="run:plain"
    )
    assert page.value("document.getElementById('total').textContent").startswith(
        "2 prompts (1 doubled left out), 6 images"
    )
    page.click("#start")
    page.wait_for("document.getElementById('form-problem').textContent.includes('take 96x96 or 104x104')")
    assert page.value("window.posted") == []
    page.open(page.value("location.href") + "?again")  # a reload
    page.wait_for("!document.getElementById('runs').hidden")
    page.wait_for("document.getElementById('model').value === 'run:plain'")
    kept = "['prompts', 'per-prompt', 'seed', 'size'].map((id) => document.getElementById(id).value)"
    assert page.value(kept) == ["a red apple\na red  apple\na zebrafish", "3", "7", "100"]
    assert page.value("document.querySelector('details').open")
    page.value(NO_JOBS)
    fill_in(page, size="64")
    page.click("#start")
    asked = page.wait_for(ASKED)
    assert "zebrafish" in asked and "`" not in asked
    assert page.value("document.querySelector('#sure code').textContent") == "thumbtune concepts"
    assert page.value("document.getElementById('toasts').textContent") == (
        "1 doubled prompt left out: each prompt counts once."
    )
    page.click("#sure button[value='no']")
    page.wait_for("!document.getElementById('start').disabled")
    assert page.value("window.posted") == []
    page.click("#start")
    page.wait_for(ASKED)
    page.click("#sure-yes")
    assert page.wait_for("window.posted.length && window.posted")[0][1]["size"] == "64"


@pytest.mark.parametrize(
    ("name", "main"), [("first", ["Compare with the base"]), ("plain", ["Evaluate"]), ("halted", ["Resume"])]
)
def test_a_run_has_one_next_thing_to_do(opened: Any, name: str, main: list[str]) -> None:
    page = opened(f"/train#run={name}")
    page.wait_for("document.querySelectorAll('#plots svg[role=img]').length === 5")
    assert page.value(LABELS) == main
    assert page.value("document.title") == f"Train · {name} · Thumbtune"
    units = page.value("[...document.querySelectorAll('.plot .unit')].map((one) => one.textContent)")
    assert units[1::2] == ["step"] * 5 and units[0].startswith("log-ratio") and len(set(units)) == 6


def test_a_run_that_prepares_shows_a_sentence_and_no_empty_frames(opened: Any) -> None:
    page = opened("/train#run=fresh")
    page.wait_for("document.getElementById('plots').textContent")
    assert page.value("document.getElementById('plots').textContent") == "It took no step."
    assert page.value("document.querySelectorAll('#plots figure').length") == 0


def test_a_plot_without_numbers_is_as_large_as_one_with(opened: Any, root: Path) -> None:
    steps = root / "runs" / "halted" / "steps.jsonl"
    before = steps.read_text()
    try:
        rows = [json.loads(line) for line in before.splitlines()]
        for row in rows:
            row.pop("agreement", None)
        steps.write_text("".join(json.dumps(row) + "\n" for row in rows))
        page = opened("/train#run=halted")
        page.wait_for("document.querySelectorAll('#plots svg[role=img]').length === 5")
    finally:
        steps.write_text(before)
    labels = page.value("[...document.querySelectorAll('#plots svg[role=img]')].map((svg) => svg.ariaLabel)")
    assert labels[1] == "Held-out agreement: No validation yet"
    heights = page.value("[...document.querySelectorAll('#plots svg[role=img]')].map((svg) => svg.clientHeight)")
    assert len(set(heights)) == 1


def test_compare_lists_finished_runs_first_and_says_how_far_others_are(opened: Any) -> None:
    page = opened("/compare")
    listed = page.wait_for("document.getElementById('which').options.length && [...which.options].map((o) => o.text)")
    assert sorted(listed[:2]) == ["first", "plain"]
    assert sorted(listed[2:]) == ["fresh (not finished: step 0 of 40)", "halted (not finished: step 15 of 40)"]
    page.wait_for("document.title === 'Compare · first · Thumbtune'")  # the one that was evaluated
