"""The page for those who come from TRL, and the notebook, run as they stand."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thumbtune.runs.keyword_options import OF_TRL, PRECISIONS
from thumbtune.runs.recipe import recipe_options

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "trl.md").read_text(encoding="utf-8")
NOTEBOOK = ROOT / "examples" / "first_training.ipynb"
Call = Callable[..., tuple[int, str, str]]


@pytest.mark.slow
def test_the_example_of_the_page_runs(
    call: Call, six_of_each: Path, tiny_pipeline: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a tiny model and few steps: the names that need a network are replaced, and nothing else."""
    assert call("likes", "export", tmp_path / "data", "--likes", six_of_each)[0] == 0
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    for name, here in {
        "stable-diffusion-v1-5/stable-diffusion-v1-5": str(tiny_pipeline("epsilon")),
        "user/my-likes": str(tmp_path / "data"),
        "max_steps=500": "max_steps=2, batch=4, validate_every=0, evaluate={'steps': 2, 'per_prompt': 1}",
    }.items():
        assert name in code
        code = code.replace(name, here)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["verdict"]["decision"] in {"ship", "do not ship", "not enough evidence"}
    assert (tmp_path / "runs" / "sd15-kto" / "lora" / "README.md").is_file()
    assert names["trainer"].recipe.objective.beta == 5000 and names["trainer"].recipe.train.lr == 1e-4


def test_the_page_names_every_option_of_trl_that_is_taken_and_no_other_as_such() -> None:
    (listed,) = re.findall(r"These have TRL's names and mean the same: (.*?)\. Any option", PAGE, flags=re.DOTALL)
    named = set(re.findall(r"`(\w+)`", listed))
    assert OF_TRL.keys() | {*PRECISIONS} <= named
    ours = {name.rpartition(".")[2] for name in recipe_options()}
    assert named <= OF_TRL.keys() | {*PRECISIONS} | ours


def cells() -> list[str]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_has_no_outputs() -> None:
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert cell.get("outputs", []) == [] and cell.get("execution_count") is None


@pytest.mark.slow
def test_the_notebook_runs_and_the_tuned_model_draws_more_line_art(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in cells():
        exec(cell, names)
    assert names["grid"].size == (64 * 6, 128)
    assert len(names["steps"]) == names["STEPS"]
    assert names["mean"]["after"] > names["mean"]["before"]
    assert (tmp_path / "runs" / "notebook" / "lora" / "README.md").is_file()
