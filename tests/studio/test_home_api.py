"""Home: the doctor in a process of its own, kept until it is asked again; and a demo that a newcomer can judge."""

import json
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from studio_store import Clients

from thumbtune.feedback.store import jobs as rows
from thumbtune.studio import checkup
from thumbtune.studio.api.home import PROMPTS
from thumbtune.studio.checkup import CHECKUP_FILE
from thumbtune.studio.jobs.queue import Queue
from thumbtune.studio.jobs.work import queue_of
from thumbtune.studio.site import Site

ROOT = Path(__file__).parents[2]
TOLD = "ok   Python 3.11 (needs 3.11 or newer)\nBAD  0.1 GiB free in /x; free at least 1 GiB\n"


@pytest.fixture
def doctors(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let the doctor's process say TOLD, and note its words and folder."""
    calls: list[Any] = []

    def run(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        calls.append((words[-1], options["cwd"]))
        return subprocess.CompletedProcess(words, 1, f"{TOLD}{len(calls)}", "thumbtune: 1 of these checks failed.")

    monkeypatch.setattr(checkup.subprocess, "run", run)
    return calls


def test_the_doctor_is_asked_once_and_again_at_a_click(client_of: Clients, site: Site, doctors: list[Any]) -> None:
    owner = client_of()
    assert owner.get("/api/v1/doctor").json() is None and doctors == []
    found = owner.post("/api/v1/doctor", json={}).json()
    assert [(each["good"], each["text"][:6]) for each in found["findings"]] == [(True, "Python"), (False, "0.1 Gi")]
    assert owner.get("/api/v1/doctor").json() == found and doctors == [("doctor", site.root)]
    again = owner.post("/api/v1/doctor", json={}).json()
    assert again["measured_at"] > found["measured_at"] and len(doctors) == 2
    assert client_of("ben").get("/api/v1/doctor").status_code == 403


def test_what_another_version_or_machine_found_is_measured_again(
    client_of: Clients, site: Site, doctors: list[Any]
) -> None:
    owner = client_of()
    owner.post("/api/v1/doctor", json={})
    kept = json.loads((site.folder / CHECKUP_FILE).read_text())
    for changed in ({"version": "0.0.1"}, {"machine": "another"}, {"findings": None, "more": 1}):
        (site.folder / CHECKUP_FILE).write_text(json.dumps(kept | changed))
        assert owner.get("/api/v1/doctor").json() is None, changed
    kept = json.loads((site.folder / CHECKUP_FILE).read_text())
    for shape in ({**kept, "findings": [1]}, {**kept, "findings": None}, {"version": 1}, []):
        (site.folder / CHECKUP_FILE).write_text(json.dumps(shape))
        assert owner.get("/api/v1/doctor").json() is None, shape
    (site.folder / CHECKUP_FILE).write_text("{")
    assert owner.get("/api/v1/doctor").json() is None


def test_two_who_ask_at_once_get_one_measurement(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go, calls, found = threading.Event(), threading.Event(), [], []

    def run(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        calls.append(words)
        begun.set()
        assert go.wait(10)
        return subprocess.CompletedProcess(words, 0, TOLD, "")

    monkeypatch.setattr(checkup.subprocess, "run", run)
    threads = [threading.Thread(target=lambda: found.append(checkup.measured(site))) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go.set()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert len(calls) == 1 or found[0] != found[1]  # the second one may have come after the first had its answer


def test_a_doctor_that_does_not_come_is_a_sentence(client_of: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(words: list[str], **options: Any) -> None:
        raise subprocess.TimeoutExpired(words, 1)

    monkeypatch.setattr(checkup.subprocess, "run", late)
    answer = client_of().post("/api/v1/doctor", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "studio-doctor")
    monkeypatch.setattr(checkup.subprocess, "run", lambda words, **_: subprocess.CompletedProcess(words, 1, "?", ""))
    assert client_of().post("/api/v1/doctor", json={}).json()["error"]["code"] == "studio-doctor"


@pytest.mark.slow
def test_the_findings_are_those_of_the_command(client_of: Clients, site: Site) -> None:
    found = client_of().post("/api/v1/doctor", json={}).json()["findings"]
    words = [sys.executable, "-m", "thumbtune.cli.app", "doctor"]
    said = subprocess.run(words, cwd=site.root, capture_output=True, text=True, check=False).stdout.splitlines()
    assert [each["text"].split(" GiB")[0][:-1] for each in found] == [line[5:].split(" GiB")[0][:-1] for line in said]
    assert len(found) >= 10


def test_the_demo_is_the_walk_of_the_page_on_the_first_lora(client_of: Clients, site: Site) -> None:
    page = (ROOT / "docs" / "first-lora.md").read_text(encoding="utf-8")
    command = page[page.index("$ thumbtune generate") :].partition("\nimages/")[0].replace("\\\n", " ")
    assert shlex.split(command)[3:] == list(PROMPTS)
    told = client_of().post("/api/v1/jobs/demo/check", json={}).json()["command"]
    assert shlex.split(told)[:5] == ["thumbtune", "generate", "--out", "images/demo", "--likes"]
    assert shlex.split(told)[6:] == ["--seeds", "4", "--first-seed", "0", "--", *PROMPTS]


def test_a_second_demo_has_other_seeds_and_a_folder_of_its_own(client_of: Clients, site: Site) -> None:
    owner = client_of()
    first = owner.post("/api/v1/jobs/demo", json={}).json()
    assert (first["name"], first["total"], first["state"]) == ("demo", 80, "waiting")
    assert site.root is not None
    (site.root / "images" / "demo-2").mkdir(parents=True)  # of somebody's
    second = owner.post("/api/v1/jobs/demo", json={}).json()
    assert second["name"] == "demo-3" and "--first-seed 8 " in second["command"]
    assert client_of("ben").post("/api/v1/jobs/demo", json={}).status_code == 403


@pytest.mark.slow
def test_the_images_of_the_demo_can_be_judged(client_of: Clients, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two prompts of the twenty, the job that the button starts fills the store."""
    monkeypatch.setattr("thumbtune.studio.api.home.PROMPTS", PROMPTS[:2])
    number = client_of().post("/api/v1/jobs/demo", json={}).json()["id"]
    queue: Queue = queue_of(site)
    before = site.store.counts().images
    while queue.step() or rows.get_job(site.store, number).state == "waiting":
        threading.Event().wait(0.3)
    job = rows.get_job(site.store, number)
    assert job.state == "done", job.sentence
    assert site.store.counts().images == before + 8
    shown = client_of("ben").get("/api/v1/queue", params={"limit": 50, "order": "newest"}).json()["images"][:8]
    assert {image["prompt"] for image in shown} == set(PROMPTS[:2])
