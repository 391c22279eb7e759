"""Blind tests of two runs by the API, without processes: the prompts, the command of their images, what is refused."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from fastapi.testclient import TestClient
from made_runs import a_run
from pyarrow import parquet
from studio_store import Clients

from thumbtune.studio.site import Site

JOBS = "/api/v1/jobs"
BODY = {"a": "first", "b": "second", "prompts": ["a  red heart", " ", "a red heart"], "per_prompt": 3}


@pytest.fixture
def root(site: Site) -> Path:
    """Two finished runs, which held out some prompts."""
    assert site.root is not None
    a_run(site.root)
    runs = site.root / "runs"
    shutil.copytree(runs / "first", runs / "second")
    for name, rows in (("first", {"x": True, "y": True, "z": False}), ("second", {"x": False, "y": True, "w": True})):
        columns = {"prompt": list(rows), "held_out": list(rows.values())}
        parquet.write_table(pyarrow.table(columns), runs / name / "likes.parquet")
    return site.root


def test_prompts_are_those_that_neither_run_was_trained_on(client: TestClient, root: Path) -> None:
    assert client.get("/api/v1/blind/prompts", params={"a": "first", "b": "second"}).json() == {"prompts": ["y", "w"]}
    answer = client.get("/api/v1/blind/prompts", params={"a": "first", "b": "missing"})
    assert answer.status_code == 404
    (root / "runs" / "first" / "likes.parquet").write_bytes(b"damaged")
    assert client.get("/api/v1/blind/prompts", params={"a": "first", "b": "second"}).json() == {"prompts": []}


def test_two_runs_become_a_job_with_its_command(client: TestClient, root: Path) -> None:
    command = (
        "thumbtune duel runs/first runs/second --out duels/second-against-first "
        "--prompts duels/second-against-first.txt --scorers none --per-prompt 3"
    )
    assert client.post(f"{JOBS}/duel/check", json=BODY).json()["command"] == command
    assert not (root / "duels").exists()  # a check writes nothing
    told = client.post(f"{JOBS}/duel", json=BODY)
    assert (told.status_code, told.json()["command"], told.json()["name"]) == (201, command, "second-against-first")
    assert (root / "duels" / "second-against-first.txt").read_text() == "a red heart\n"
    assert "--out duels/second-against-first-2 " in client.post(f"{JOBS}/duel/check", json=BODY).json()["command"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"b": "first"}, (400, "blind-one-run")),
        ({"b": "third"}, (404, "job-no-run")),
        ({"b": "young"}, (409, "job-unfinished-run")),
        ({"prompts": ["  "]}, (400, "job-no-prompt")),
        ({"per_prompt": 0}, (422, "studio-invalid")),
    ],
)
def test_what_cannot_be_tested_is_refused(
    client: TestClient, root: Path, change: dict[str, Any], expected: tuple[int, str]
) -> None:
    shutil.copytree(root / "runs" / "first", root / "runs" / "young", ignore=shutil.ignore_patterns("lora"))
    answer = client.post(f"{JOBS}/duel", json=BODY | change)
    assert (answer.status_code, answer.json()["error"]["code"]) == expected
    assert not (root / "duels").exists()


def test_raters_make_no_images(client_of: Clients, root: Path) -> None:
    assert client_of("ben").post(f"{JOBS}/duel", json=BODY).status_code == 403
    assert client_of("ben").get("/api/v1/blind/prompts", params={"a": "first", "b": "second"}).status_code == 403
