"""Grids of a run by the API, without processes: what can be compared, the command, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from made_runs import a_run, compare

from thumbtune.studio.jobs.grids import Grid, read_grid
from thumbtune.studio.jobs.work import queue_of
from thumbtune.studio.site import Site

JOBS, RUN = "/api/v1/jobs", "/api/v1/runs/first"
BODY = {"run": "first", "prompts": ["a  red heart", " ", "a blue car"], "seeds": 2, "seed": 5}


@pytest.fixture
def root(site: Site) -> Path:
    assert site.root is not None
    a_run(site.root)
    compare(site.root)
    return site.root


def test_a_grid_is_shown_as_far_as_it_is_made(client: TestClient, root: Path) -> None:
    told = client.get(f"{RUN}/grid").json()
    assert (told["checkpoints"], told["finished"], told["prompts"]) == ([10, 20], True, ["a red heart"])
    assert told["columns"] == ["base", "step 20", "result"]
    assert [len([name for name in row["images"] if name]) for row in told["rows"]] == [3, 2]
    image = client.get(f"{RUN}/grid/{told['rows'][0]['images'][1]}")
    assert (image.status_code, image.headers["content-type"]) == (200, "image/png")
    (root / "runs" / "first" / "compared" / "grid.json").write_text("{")
    assert client.get(f"{RUN}/grid").json()["columns"] == []


def test_a_grid_becomes_a_job_with_its_command(client: TestClient, site: Site, root: Path) -> None:
    steps = BODY | {"checkpoints": [20, 10, 20]}
    command = client.post(f"{JOBS}/compare/check", json=steps).json()["command"]
    assert command == (
        "thumbtune compare runs/first --seeds 2 --first-seed 5 --checkpoint 10 --checkpoint 20 -- "
        "'a red heart' 'a blue car'"
    )
    command = client.post(f"{JOBS}/compare/check", json=BODY | {"checkpoints": []}).json()["command"]
    assert "--first-seed 5 --checkpoint 0 -- " in command  # none, and not all that are kept
    told = client.post(f"{JOBS}/compare", json=BODY | {"strengths": [0, 0.5, 0.5, -1]}).json()
    assert "--checkpoint 0 --strength 0 --strength 0.5 --strength -1 -- 'a red heart'" in told["command"]
    assert (told["kind"], told["name"], told["total"]) == ("compare", "first/compared", 3 * 2 * 2)
    log = queue_of(site).files(told["id"]).log
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("runs/first/compared/0.png\nruns/first/compared/1.png\n")
    assert client.get(f"{JOBS}/{told['id']}").json()["done"] == 2


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"run": "missing"}, (404, "job-no-run")),
        ({"checkpoints": [15]}, (404, "compare-no-checkpoint")),
        ({"checkpoints": [10, 20], "strengths": [1]}, (400, "compare-one-lora")),
        ({"prompts": [" "]}, (400, "job-no-prompt")),
        ({"prompts": [f"a {n}" for n in range(50)], "seeds": 16}, (400, "compare-too-many")),
        ({"strengths": [11]}, (422, "studio-invalid")),
        ({"checkpoints": [0]}, (422, "studio-invalid")),
    ],
)
def test_what_cannot_be_compared_is_refused(
    client: TestClient, root: Path, change: dict[str, Any], expected: tuple[int, str]
) -> None:
    answer = client.post(f"{JOBS}/compare", json=BODY | change)
    assert (answer.status_code, answer.json()["error"]["code"]) == expected


def test_a_run_that_trains_has_checkpoints_and_no_result(client: TestClient, root: Path) -> None:
    (root / "runs" / "first" / "lora" / "weights.safetensors").unlink()
    assert client.get(f"{RUN}/grid").json()["finished"] is False
    assert client.post(f"{JOBS}/compare", json=BODY).json()["error"]["code"] == "compare-nothing"
    strengths = BODY | {"strengths": [1]}
    assert client.post(f"{JOBS}/compare", json=strengths).json()["error"]["code"] == "compare-one-lora"
    assert client.post(f"{JOBS}/compare/check", json=strengths | {"checkpoints": [20]}).status_code == 200


@pytest.mark.parametrize("name", ["../recipe.yaml", "..%2Frecipe.yaml", f"{9:032x}.png", "grid.json"])
def test_no_other_file_is_served(client: TestClient, root: Path, name: str) -> None:
    assert client.get(f"{RUN}/grid/{name}").status_code in {400, 404, 422}


def test_a_damaged_grid_is_an_empty_one(tmp_path: Path) -> None:
    assert read_grid(tmp_path) == Grid([], [])
    for text in ("[]", "{}", '{"columns": [{"name": "a"}], "rows": [{"prompt": "a", "seed": 1}], "files": []}'):
        (tmp_path / "grid.json").write_text(text)
        assert read_grid(tmp_path) == Grid([], [])
