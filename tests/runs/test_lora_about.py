"""The headers of a run's LoRA: what ComfyUI, A1111 and Civitai show, equal for equal runs, and nobody's secrets."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save

from thumbtune.models.lora_header import base_facts
from thumbtune.runs import build
from thumbtune.runs.lora_about import method_of, name_of
from thumbtune.runs.recipe import read_recipe

FILES = ("pytorch_lora_weights.safetensors", "kohya.safetensors")
OWN = "def Secret(log_ratios, labels, weights, reference_point):\n    return log_ratios\n"


def headers(model: str, folder: Path, *settings: str) -> list[dict[str, str]]:
    made = build.model_of(read_recipe(None, [f"model={model}", "lora.rank=4", "lora.alpha=2", *settings]))
    made.save(folder)
    found = []
    for name in FILES:
        with safe_open(folder / name, "pt") as opened:
            found.append(opened.metadata())
    return found


def test_both_headers_tell_the_base_the_training_and_the_method(
    tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    base = tmp_path / "home of ann" / "my-base"
    shutil.copytree(tiny_pipeline("v_prediction"), base)
    settings = ["train.steps=7", "train.lr=2e-4", "seed=5", "objective.beta=2000", "objective.reference_point=zero"]
    weights = (base / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    wanted = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": "my-base tuned with Diffusion-KTO (beta 2000.0)",
        "modelspec.prediction_type": "v",
        "modelspec.resolution": "16x16",
        "ss_network_module": "networks.lora",
        "ss_network_dim": "4",
        "ss_network_alpha": "2.0",
        "ss_base_model_version": "sd_v1_v",
        "ss_v2": "False",
        "ss_sd_model_name": "my-base",
        "ss_sd_model_hash": hashlib.sha256(weights[0x100000:0x110000]).hexdigest()[:8],
        "ss_new_sd_model_hash": hashlib.sha256(weights).hexdigest(),
        "ss_steps": "7",
        "ss_max_train_steps": "7",
        "ss_learning_rate": "0.0002",
        "ss_seed": "5",
    }
    for name, header in zip(FILES, headers(str(base), tmp_path / "lora", *settings), strict=True):
        assert wanted.items() <= header.items()
        content = save(load_file(tmp_path / "lora" / name))
        digest = hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()
        assert (header["sshs_model_hash"], header["modelspec.hash_sha256"]) == (digest, f"0x{digest}")
        assert not [value for value in header.values() if "ann" in value or str(tmp_path) in value]


@pytest.mark.slow
def test_a_run_tells_no_prompt_no_path_and_no_time_and_equal_runs_are_equal_bytes(
    call: Any, six_of_each: Path, tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    small = [
        "train.steps=2",
        "train.batch=4",
        "train.micro_batch=4",
        "lora.rank=2",
        "lora.alpha=3",
        "train.guards=false",
    ]
    settings = [f"--set={one}" for one in (f"likes={six_of_each}", f"model={tiny_pipeline('epsilon')}", *small)]
    settings += ["--set=lora.targets=with-convolutions", "--set=lora.dora=true"]
    for name in ("one", "two"):
        assert call("train", *settings, "--out", tmp_path / name)[0] == 0
    for name in FILES:
        one, two = ((tmp_path / run / "lora" / name).read_bytes() for run in ("one", "two"))
        assert one == two
        with safe_open(tmp_path / "one" / "lora" / name, "pt") as opened:
            text = "\n".join(f"{key} {value}" for key, value in opened.metadata().items())
        for secret in (str(tmp_path), "thing", "thumbs", "2026", str(Path.home())):
            assert secret not in text.replace("thumbtune", "")


@pytest.mark.parametrize(
    ("width", "prediction", "architecture", "version"),
    [
        (768, "epsilon", "stable-diffusion-v1", "sd_v1"),
        (768, "v_prediction", "stable-diffusion-v1", "sd_v1_v"),
        (1024, "epsilon", "stable-diffusion-v2-512", "sd_v2"),
        (1024, "v_prediction", "stable-diffusion-v2-768-v", "sd_v2_v"),
        (2048, "epsilon", "stable-diffusion-xl-v1-base", "sdxl_base_v1-0"),
        ([16, 16], None, "stable-diffusion-v1", "sd_v1"),
    ],
)
def test_the_family_has_the_names_of_both_standards(
    width: Any, prediction: str | None, architecture: str, version: str
) -> None:
    facts = base_facts({"cross_attention_dim": width}, prediction, (512, 768), "/lora")
    assert facts["modelspec.architecture"] == f"{architecture}/lora"
    assert facts["ss_base_model_version"] == version and facts["ss_v2"] == str(width == 1024)
    assert facts["modelspec.resolution"] == "768x512"
    assert facts.get("modelspec.prediction_type") == {"epsilon": "epsilon", "v_prediction": "v"}.get(prediction or "")


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("/home/ann/models/sd15", "sd15"),
        ("models/secret/sd15", "sd15"),
        ("./sd15", "sd15"),
        ("~/sd15", "sd15"),
        ("sd15", "sd15"),
        ("stabilityai/sd-turbo", "stabilityai/sd-turbo"),
        ("/home/ann/sd15/", "sd15"),
        ("../ann/sd15.safetensors", "sd15.safetensors"),
    ],
)
def test_of_a_path_only_the_last_part_is_told(base: str, name: str) -> None:
    assert name_of(base) == name


def test_a_relative_folder_that_looks_like_a_hub_id_is_a_path(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "ann" / "sd15").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert name_of("ann/sd15") == "sd15"


def test_an_objective_of_one_s_own_has_no_name(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    recipe = read_recipe(None, [f"objective.name={tmp_path / 'mine.py'}:Secret"])
    assert method_of(recipe) == "an objective of one's own"


@pytest.mark.parametrize(
    ("objective", "method"),
    [("kto", "Diffusion-KTO (beta auto)"), ("dpo", "Diffusion-DPO (beta auto)"), ("sft", "SFT"), ("csft", "CSFT")],
)
def test_the_method_is_told(objective: str, method: str) -> None:
    assert method_of(read_recipe(None, [f"objective.name={objective}"])) == method


def test_the_method_tells_relative_log_ratios() -> None:
    relative = read_recipe(None, ["objective.log_ratio=relative", "objective.beta=10"])
    assert method_of(relative) == "Diffusion-KTO (beta 10.0, relative log-ratios)"
    assert method_of(read_recipe(None, ["objective.beta=10"])) == "Diffusion-KTO (beta 10.0)"
