"""A pipeline object as a base: its card has a snippet that runs, and the bundled model is known by its weights."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import thumbtune
from thumbtune import Config, Trainer
from thumbtune.duels import verdict
from thumbtune.evaluation.prompts import PromptSet
from thumbtune.models.missing import BUNDLED
from thumbtune.models.protocol import Sampler
from thumbtune.runs import model_card
from thumbtune.runs.bundled_base import has_weights_of, is_bundled_model
from thumbtune.runs.recipe import read_recipe

SMALL: dict[str, Any] = {
    "steps": 2,
    "batch": 2,
    "micro_batch": 2,
    "validation_share": 0.3,
    "warmup": 0,
    "cooldown": 0,
    "evaluate": {"steps": 2, "per_prompt": 2},
}


def loaded(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline.from_pretrained(folder, dtype=dtype)


@pytest.fixture
def run(tiny_pipeline: Callable[[str], Path], likes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "private-place" / "run"
    pipeline = loaded(tiny_pipeline("epsilon"))
    capfd.readouterr()  # the bars of loading that one
    Trainer(pipeline, Config(folder, **SMALL), str(likes)).train()
    assert "/s]" not in capfd.readouterr().err  # a silent Trainer shows no bars of other libraries
    return folder


def snippet_in(card: Path) -> str:
    return re.findall(r"```python\n(.*?)```", card.read_text(), flags=re.DOTALL)[0]


@pytest.mark.slow
def test_the_snippet_of_a_pipeline_object_runs_beside_its_card(run: Path, tmp_path: Path) -> None:
    expected = thumbtune.load(run, "cpu").generate(["a red apple"], [0], Sampler(steps=2))[0]
    facts = model_card.facts_of(run)
    assert model_card.base_in_snippet(facts) == (f'"../base/{facts.base}"', "")
    moved = Path(shutil.move(run, tmp_path / "moved"))
    assert model_card.base_in_snippet(model_card.facts_of(moved)) == (f'"../base/{facts.base}"', "")
    snippet = snippet_in(moved / "lora" / "README.md")
    assert '"../base/' in snippet and "private-place" not in snippet
    done = subprocess.run(
        [sys.executable, "-c", snippet], cwd=moved / "lora", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with Image.open(moved / "lora" / "image.png") as drawn:
        difference = max(abs(a - b) for a, b in zip(drawn.tobytes(), expected.tobytes(), strict=True))
    assert drawn.size == (16, 16) and difference <= 1


def test_a_base_that_is_not_beside_the_card_is_named_with_a_comment(tmp_path: Path) -> None:
    def base_of(model: object, repo: str | None = None) -> tuple[str, str]:
        recipe = read_recipe(None, [f"model={model}"])
        return model_card.base_in_snippet(
            model_card.Facts(run=tmp_path, recipe=recipe, result=tmp_path / "lora", repo=repo, images=(), duel=None)
        )

    def named(name: str) -> tuple[str, str]:
        return "base", f'base = "{name}"  # the base model: put its folder here'

    (tmp_path / "base" / "mine").mkdir(parents=True)
    (tmp_path / "base" / "mine" / "sha256.txt").write_text("0")
    assert base_of(tmp_path / "base" / "mine") == ('"../base/mine"', "")
    assert base_of(tmp_path / "base" / "mine", repo="somebody/lora") == named("mine")  # it is not uploaded
    assert base_of(tmp_path / "elsewhere" / "my-model") == named("my-model")
    assert base_of("somebody/base") == ('"somebody/base"', "")
    assert base_of("tiny-emoji-64")[1] == 'base = files("thumbtune") / "bundled" / "tiny-emoji-64"'


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_bundled_model_is_known_by_its_weights_in_any_type(dtype: torch.dtype, tmp_path: Path) -> None:
    pipeline = loaded(BUNDLED / "tiny-emoji-64", dtype)
    pipeline.save_pretrained(tmp_path / "same")
    assert is_bundled_model(str(tmp_path / "same")) and is_bundled_model("tiny-emoji-64")
    with torch.no_grad():
        next(pipeline.unet.parameters()).view(-1)[0] += 1
    pipeline.save_pretrained(tmp_path / "other")
    assert not is_bundled_model(str(tmp_path / "other"))
    assert not has_weights_of(BUNDLED / "tiny-emoji-64", tmp_path / "missing")


def test_the_bundled_judge_serves_a_pipeline_object_of_the_bundled_model(tmp_path: Path) -> None:
    prompts = PromptSet("some", ("a key", "a star"))
    loaded(BUNDLED / "tiny-emoji-64").save_pretrained(tmp_path / "base" / "tiny-emoji-64")
    same, named = (read_recipe(None, [f"model={name}"]) for name in (tmp_path / "base/tiny-emoji-64", "tiny-emoji-64"))
    assert verdict.faithfulness_of(same, prompts) == verdict.faithfulness_of(named, prompts) is not None
    other = read_recipe(None, [f"model={tmp_path / 'elsewhere'}"])
    assert verdict.faithfulness_of(other, prompts) is None
    assert "no number of prompts decides it" in verdict.why_no_faithfulness(other, prompts)
    assert model_card.license_of(str(tmp_path / "base/tiny-emoji-64")) == {"license": "apache-2.0"}
