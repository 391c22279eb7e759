"""The page of blind tests in a real browser: keys, answers that wait, and a result at the end alone."""

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Page, needs_chromium
from made_runs import a_duel
from opened import signed_in
from running import Studio
from studio_store import fill, png

from thumbtune.evaluation.human.key import read_key
from thumbtune.evaluation.human.plan import order_for
from thumbtune.feedback.store import jobs
from thumbtune.feedback.store.store import Store
from thumbtune.studio.blind.folder import find_test

pytestmark = needs_chromium
PROMPTS = 10
TRIALS = PROMPTS + 2  # two are shown twice
SHOWN = "document.getElementById('choices').dataset.trial"
SEEN = 0.3  # seconds: a quicker answer is the second click of a double click


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    fill(tmp_path / "likes", 2)
    a_duel(tmp_path / "duel", PROMPTS, lambda side, prompt: png(prompt + 100 * (side == "b"), 64))
    with Studio(tmp_path / "likes", None, "--root", str(tmp_path), "--rater", "ann", "--rater", "ben") as started:
        yield started


def folder_of_test(likes: Path) -> Path:
    (folder,) = (likes / "studio" / "blind").glob("[0-9a-f]*")
    return folder


def answers(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The answers on the disk, by rater."""
    told = [json.loads(file.read_text()) for file in sorted((folder / "answers").glob("*.json"))]
    return {each["rater"]: each["answers"] for each in told}


def made(page: Page) -> None:
    """Make a test by the form, and begin it."""
    page.wait_for("document.getElementById('source').options.length")
    page.click("#start")
    page.wait_for("document.querySelectorAll('#tests article').length")


def begin(page: Page) -> str:
    """Begin the first test of the list; return the first pair."""
    page.wait_for("document.querySelectorAll('#tests a').length")
    page.click("#tests a")
    return page.wait_for(SHOWN)


def chosen(page: Page, key: str, *, held: int = 0) -> str:
    """Press a key on the pair that is shown, and return that pair."""
    trial = page.wait_for(SHOWN)
    time.sleep(SEEN)
    page.press(key, held=held)
    page.wait_for(f"{SHOWN} !== {json.dumps(trial)}")
    return trial


def sent(page: Page) -> None:
    page.wait_for("document.getElementById('link').dataset.state === 'on'")


def test_a_test_from_the_form_to_the_result(studio: Studio, browser: Browser, tmp_path: Path) -> None:
    ann = signed_in(browser, studio.links[0], "/blind")
    made(ann)
    begin(ann)
    folder = folder_of_test(tmp_path / "likes")
    study = read_key(folder / "key.json")
    order = [trial.id for trial in order_for(study, "ann")]
    left_of = {trial.id: trial.left for trial in study.trials}
    given = []
    for place in range(TRIALS):
        trial = ann.wait_for(SHOWN)
        assert trial == order[place]
        assert ann.value("document.getElementById('count').textContent") == f"{place + 1} of {TRIALS}"
        key = "0" if place == 0 else "1" if left_of[trial] == "b" else "2"
        given.append({"0": "tie", "1": "left", "2": "right"}[key])
        chosen(ann, key, held=3 if place == 1 else 0)  # a held key is one answer
    ann.wait_for("!document.getElementById('done').hidden")
    sent(ann)
    assert [(one["id"], one["choice"]) for one in answers(folder)["ann"]] == list(zip(order, given, strict=True))
    assert not list(folder.glob("result*")) and not (tmp_path / "duel" / "blind").exists()
    ann.click("#done-back")
    ann.wait_for("Boolean(document.querySelector('#tests button:enabled'))")
    ann.click("#tests button")
    ann.click("#sure-yes")
    ann.wait_for("!document.getElementById('result').hidden")
    assert ann.value("document.getElementById('preferred').textContent") == "tuned is preferred to base"
    assert "B (tuned) is preferred in 9" in ann.value("document.getElementById('finding').textContent")
    assert len(list((tmp_path / "duel" / "blind").glob(f"{study.id}.*"))) == 3
    assert ann.complaints == []
    base = studio.link.split("/welcome", maxsplit=1)[0]
    assert not [address for address in ann.requests if not address.startswith((base, "blob:"))]
    ann.close()


@pytest.mark.slow
def test_two_tabs_make_one_test_of_a_finished_duel(browser: Browser, tmp_path: Path) -> None:
    fill(tmp_path / "likes", 2)
    a_duel(tmp_path / "duels" / "first", PROMPTS, lambda side, prompt: png(prompt + 100 * (side == "b"), 64))
    with Store.open(tmp_path / "likes") as store:
        duel = {"a": "one", "b": "two", "prompts": ["a thing"], "per_prompt": 1, "scorers": "none"}
        job = jobs.add_job(store, "duel", "duels/first", duel)
        jobs.claim(store, job.id, "here")
        jobs.end(store, job.id, "done", 0, None)
    with Studio(tmp_path / "likes", None, "--root", str(tmp_path)) as studio:
        tabs = [signed_in(browser, studio.link, "/blind") for _ in range(2)]
        settings = json.dumps({job.id: {"pairs": PROMPTS, "question": "Which?", "stop": "all"}})
        key = "`thumbtune:${document.body.dataset.store}:blind-pending`"
        for tab in tabs:
            tab.wait_for("document.getElementById('source').options.length")
        tabs[0].value(f"localStorage.setItem({key}, {json.dumps(settings)})")
        for tab in tabs:
            look = "document.dispatchEvent(new Event('visibilitychange'))"
            tab.value(f"void (Object.defineProperty(document, 'hidden', {{get: () => false}}), {look})")
        for tab in tabs:
            tab.wait_for("document.querySelectorAll('#tests article').length")
            tab.wait_for(f"localStorage.getItem({key}) === '{{}}' && !document.getElementById('start').disabled")
        assert len(list((tmp_path / "likes" / "studio" / "blind").glob("[0-9a-f]*"))) == 1
        for tab in tabs:
            tab.close()


def test_answers_that_wait_for_an_ended_test_are_refused_in_words(
    studio: Studio, browser: Browser, tmp_path: Path
) -> None:
    ann = signed_in(browser, studio.links[0], "/blind")
    made(ann)
    test = folder_of_test(tmp_path / "likes").name
    ben = signed_in(browser, studio.links[1], "/settings")
    find_test(tmp_path / "likes" / "studio", test).end()
    entries = [{"id": str(uuid.uuid4()), "trial": "0" * 20, "choice": "tie", "seconds": 1} for _ in range(2)]
    for place, entry in enumerate(entries):
        key = f"`thumbtune:${{document.body.dataset.store}}:ben:blind-{test}:000000000000000{place}:a`"
        ben.value(f"localStorage.setItem({key}, {json.dumps(json.dumps(entry))})")
    ben.open(studio.links[1].split("/welcome")[0] + "/blind")
    told = ben.wait_for("document.getElementById('toasts').textContent")
    assert told == "2 votes were not stored: This blind test has ended; no more answers count."
    sent(ben)
    for page in (ann, ben):
        page.close()


@pytest.mark.slow
def test_answers_survive_reloads_and_a_restart_and_can_be_undone(
    studio: Studio, browser: Browser, tmp_path: Path
) -> None:
    ann = signed_in(browser, studio.links[0], "/blind")
    made(ann)
    begin(ann)
    folder = folder_of_test(tmp_path / "likes")
    first = chosen(ann, "1")
    sent(ann)
    studio.kill()
    while_down = [chosen(ann, key) for key in ("2", "0")]
    assert list(answers(folder)) == ["ann"] and len(answers(folder)["ann"]) == 1
    studio.start()
    ann.wait_for("document.getElementById('link').dataset.state === 'on'")
    expected = [(first, "left"), (while_down[0], "right"), (while_down[1], "tie")]
    assert [(one["id"], one["choice"]) for one in answers(folder)["ann"]] == expected
    ann.open(ann.value("location.href"))
    ann.wait_for(SHOWN)
    assert ann.value("document.getElementById('count').textContent") == f"4 of {TRIALS}"
    ann.press("u")
    ann.wait_for(f"{SHOWN} === {json.dumps(while_down[1])}")
    sent(ann)
    assert [one["id"] for one in answers(folder)["ann"]] == [first, while_down[0]]
    chosen(ann, "1")
    sent(ann)
    assert answers(folder)["ann"][-1]["choice"] == "left" and len(answers(folder)["ann"]) == 3
    ann.close()


@pytest.mark.slow
def test_a_rater_sees_pairs_and_neither_names_nor_results(studio: Studio, browser: Browser, tmp_path: Path) -> None:
    ann = signed_in(browser, studio.links[0], "/blind")
    made(ann)
    ann.close()
    study = read_key(folder_of_test(tmp_path / "likes") / "key.json")
    ben = signed_in(browser, studio.links[1], "/blind", 390)
    assert begin(ben) == order_for(study, "ben")[0].id != order_for(study, "ann")[0].id
    text = ben.value("document.documentElement.outerHTML")
    assert "tuned" not in text and "New blind test" not in text and "/api/v1/blind/images" not in text
    assert ben.value("[...document.querySelectorAll('.rail a[href]')].map(one => one.pathname)") == [
        "/",
        "/judge",
        "/blind",
        "/settings",
    ]
    ben.value("document.getElementById('choose-right').click()")  # too quick: nobody can have looked
    assert ben.value(SHOWN) == order_for(study, "ben")[0].id
    time.sleep(SEEN)
    ben.click("#choose-right")
    ben.wait_for(f"{SHOWN} && {SHOWN} !== {json.dumps(order_for(study, 'ben')[0].id)}")
    sent(ben)
    assert [one["choice"] for one in answers(folder_of_test(tmp_path / "likes"))["ben"]] == ["right"]
    assert ben.complaints == []
    ben.close()
