"""Trainings in less memory, in processes of their own: half precision, a quantised base, moments in 8 bits."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import refused
from safetensors.torch import load_file

from thumbtune.errors import UsageError
from thumbtune.runs import build
from thumbtune.runs.recipe import parse_recipe, read_recipe

PROGRAM = """
whole, half, *words = sys.argv[1:]
command("train", "--out", whole, *words)
for step in thumbtune.train(f"{whole}/recipe.yaml", half):
    if step.step == 3:
        break
command("train", "--out", half, "--resume")
command("evaluate", whole)
"""


def steps_of(run: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("xl-v_prediction", ["train.precision=bf16", "train.gradient_checkpointing=true", "train.quantize_base=int8"]),
        ("epsilon", ["train.quantize_base=nf4", "train.optimizer=adamw-8bit", "train.precision=bf16"]),
        ("epsilon", ["train.weights=full", "train.optimizer=adamw-8bit", "train.precision=bf16"]),
    ],
)
def test_a_run_goes_on_bit_for_bit_and_comes_to_a_verdict(
    settings: list[str],
    tiny_pipeline: Callable[[str], Path],
    apart: Callable[..., None],
    tmp_path: Path,
    kind: str,
    options: list[str],
) -> None:
    if any("nf4" in option or "8bit" in option for option in options):
        pytest.importorskip("bitsandbytes")
    chosen = [f"model={tiny_pipeline(kind)}", *options]
    words = [*settings, *(word for option in chosen for word in ("--set", option))]
    whole, half = tmp_path / "whole", tmp_path / "half"
    apart(PROGRAM, whole, half, *words)  # since Accelerate keeps one precision for each process
    assert steps_of(half) == steps_of(whole) and len(steps_of(whole)) == 6
    for file in ("lora/pytorch_lora_weights.safetensors", "unet/diffusion_pytorch_model.safetensors"):
        if (whole / file).is_file():
            one, two = load_file(whole / file), load_file(half / file)
            assert all(one[name].equal(two[name]) for name in one)
    assert json.loads((whole / "evaluation" / "verdict.json").read_text())["decision"]


@pytest.mark.parametrize(
    "options", [["train.weights=full"], ["lora.dora=true"], ["train.weights=full", "train.quantize_base=nf4"]]
)
def test_a_quantised_base_without_a_plain_lora_is_refused(options: list[str]) -> None:
    with refused("option-unused", UsageError, naming="train.quantize_base"):
        read_recipe(None, ["train.quantize_base=int8", *options])
    assert read_recipe(None, ["train.quantize_base=no", "train.weights=full"]).train.quantize_base == "no"


def test_a_missing_library_is_told_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    for option in ("train.optimizer=adamw-8bit", "train.quantize_base=nf4"):
        with refused("bitsandbytes-missing", naming=[option, "pip install 'thumbtune[8bit]'"]):
            build.check_library(read_recipe(None, [option]))
    build.check_library(read_recipe(None, ["train.quantize_base=int8"]))


@pytest.mark.parametrize(
    ("name", "ours"),
    [("train.use_8bit_adam", "train.optimizer"), ("train.load_in_4bit", "train.quantize_base")],
)
def test_the_names_of_other_trainers_lead_to_ours(name: str, ours: str) -> None:
    with refused("recipe-unknown-option", UsageError, naming=ours):
        parse_recipe({name: True}, "The recipe")
