"""Rounds and exports by the API, without processes: their commands, what is refused, and what is downloaded."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from made_runs import a_run
from studio_store import Clients

from thumbtune.feedback.store import jobs as rows
from thumbtune.models.lora_saving import DIFFUSERS_FILE, KOHYA_FILE, SECOND_FILE
from thumbtune.studio import exports
from thumbtune.studio.jobs.work import queue_of
from thumbtune.studio.site import Site

JOBS, RUN = "/api/v1/jobs", "/api/v1/runs/first"


@pytest.fixture
def root(site: Site) -> Path:
    assert site.root is not None
    a_run(site.root)
    return site.root


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_round_becomes_a_job_with_its_command(client: TestClient, site: Site, root: Path) -> None:
    body = {"run": "first", "per_prompt": 2, "limit": 5, "prompts": ["a  new fox", " "]}
    command = client.post(f"{JOBS}/round/check", json=body).json()["command"]
    assert command == (
        f"thumbtune round runs/first --out images/first-round --likes {site.store.where} --per-prompt 2 --limit 5 "
        "--prompts images/first-round/fresh.txt"
    )
    assert not (root / "images").exists()  # a check writes nothing
    told = client.post(f"{JOBS}/round", json=body)
    assert told.status_code == 201 and told.json()["command"] == command
    assert (told.json()["kind"], told.json()["name"], told.json()["total"]) == ("round", "first-round", None)
    assert (root / "images" / "first-round" / "fresh.txt").read_text() == "a new fox\n"
    (root / "images" / "first-round" / "round.json").write_text('{"images": [["a", 1], ["a", 2], ["b", 3]]}')
    queue_of(site).files(told.json()["id"]).log.parent.mkdir(parents=True, exist_ok=True)
    queue_of(site).files(told.json()["id"]).log.write_text("images/first-round/a-1.png\n     Generating: 2 of 3\n")
    assert [client.get(f"{JOBS}/{told.json()['id']}").json()[key] for key in ("done", "total")] == [1, 3]
    assert "images/first-round-2" in client.post(f"{JOBS}/round/check", json=body).json()["command"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"run": "missing"}, 404),
        ({"run": "../first"}, 400),
        ({"run": "first", "per_prompt": 0}, 422),
        ({"run": "first", "prompts": ["a\0b"]}, 400),
    ],
)
def test_rounds_that_are_refused(client: TestClient, root: Path, body: Any, status: int) -> None:
    assert client.post(f"{JOBS}/round", json=body).status_code == status
    assert client.get(JOBS).json() == [] and not (root / "images").exists()


def test_a_run_without_a_result_has_no_round_and_no_export(client: TestClient, root: Path) -> None:
    (root / "runs" / "first" / "lora" / "weights.safetensors").unlink()
    for what in ("round", "merge"):
        assert code_of(client.post(f"{JOBS}/{what}", json={"run": "first"})) == (409, "job-unfinished-run")
    assert client.get(f"{RUN}/result").json() == {"files": [], "card": ""}


def test_the_training_after_a_run_begins_from_its_lora(client: TestClient, root: Path) -> None:
    told = client.get(f"{RUN}/next", params={"reference": "base"}).json()
    assert told == {
        "name": "first-2",
        "settings": {"train.steps": "40", "lora.start": "runs/first", "lora.reference": "base"},
    }
    (root / "runs" / "first" / "lora").rename(root / "runs" / "first" / "unused")
    body = {"name": told["name"], "settings": told["settings"]}
    command = client.post(f"{JOBS}/train/check", json=body).json()["command"]
    assert command.endswith("--set train.steps=40 --set lora.start=runs/first --set lora.reference=base")
    assert code_of(client.get("/api/v1/runs/none/next")) == (404, "job-no-run")


def test_the_files_of_a_run_are_listed_and_sent_by_name(client: TestClient, root: Path) -> None:
    folder = root / "runs" / "first" / "lora"
    (folder / "weights.safetensors").unlink()
    (folder / DIFFUSERS_FILE).write_bytes(b"one")
    (folder / KOHYA_FILE).write_bytes(b"other")
    (folder / "README.md").write_text("# A <b>card</b>\n<!-- sha256 of the lines above: 00 -->\n")
    (folder / "secret.txt").write_text("no")
    (folder / "link.safetensors").symlink_to(root / "runs" / "first" / "recipe.yaml")
    told = client.get(f"{RUN}/result").json()
    assert [(one["name"], one["about"], one["bytes"]) for one in told["files"]] == [
        (KOHYA_FILE, "LoRA for ComfyUI and A1111", 5),
        (DIFFUSERS_FILE, "LoRA for diffusers", 3),
        ("README.md", "Model card", 55),
    ]
    assert told["card"] == "# A <b>card</b>\n"
    answer = client.get(f"{RUN}/result/{KOHYA_FILE}")
    assert answer.content == b"other" and f'filename="first-{KOHYA_FILE}"' in answer.headers["content-disposition"]
    for name in ("secret.txt", "link.safetensors", "..%2Frecipe.yaml", "%2Fetc%2Fpasswd", "recipe.yaml"):
        assert client.get(f"{RUN}/result/{name}").status_code == 404, name
    assert SECOND_FILE in exports.ABOUT


def test_merges_and_exports_become_jobs(client: TestClient, site: Site, root: Path) -> None:
    one = client.post(f"{JOBS}/merge", json={"run": "first", "form": "file"}).json()
    assert one["command"] == "thumbtune merge runs/first exports/first-merged.safetensors --fp16"
    other = client.post(f"{JOBS}/export", json={"form": "webdataset", "policy": "majority"}).json()
    likes = site.store.where
    assert other["command"] == (
        f"thumbtune likes export exports/likes-webdataset --likes {likes} --as webdataset --policy majority"
    )
    named = client.post(f"{JOBS}/export/check", json={"names": True}).json()["command"]
    assert named.endswith("--as parquet --names")
    assert client.post(f"{JOBS}/export", json={"form": "folder", "policy": "best"}).status_code == 400
    again = client.post(f"{JOBS}/export/check", json={"form": "webdataset"}).json()["command"]
    assert "exports/likes-webdataset-2" in again


def test_what_a_job_wrote_is_sent_whole(client: TestClient, site: Site, root: Path) -> None:
    job = client.post(f"{JOBS}/export", json={"form": "folder"}).json()["id"]
    assert code_of(client.get(f"{JOBS}/{job}/download")) == (404, "export-nothing-written")
    (root / "exports" / "likes-folder" / "like").mkdir(parents=True)
    files = {"likes-folder/like/a.png": bytes(range(256)) * 9000, "likes-folder/b.csv": b"x"}
    for name, data in files.items():
        (root / "exports" / name).write_bytes(data)
    assert rows.claim(site.store, job, "here") and rows.end(site.store, job, "done", 0, "Wrote it.")
    assert client.get(f"{JOBS}/{job}/written").json() == {
        "name": "likes-folder", "files": 2, "bytes": sum(map(len, files.values())),
    }  # fmt: skip
    answer = client.get(f"{JOBS}/{job}/download")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == files
    assert 'filename="likes-folder.zip"' in answer.headers["content-disposition"]


def test_raters_take_nothing_away(client_of: Clients, root: Path) -> None:
    for path in (f"{RUN}/result", f"{RUN}/next", f"{RUN}/result/weights.safetensors", f"{JOBS}/1/download"):
        assert client_of("ben").get(path).status_code == 403, path
    assert client_of("ben").post(f"{JOBS}/export", json={}).status_code == 403
