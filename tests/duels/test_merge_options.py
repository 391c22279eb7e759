"""What is said of a base goes into the merged model; what one file cannot tell is noted or refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from models.single_files import SD1, SD2, SDXL, networks, tensors_of, write
from refusals import refused
from safetensors import safe_open
from safetensors.torch import load_file

from thumbtune.duels.merge import merge
from thumbtune.models import merging
from thumbtune.models.loading import load_pipeline
from thumbtune.models.merging import untold_by_file
from thumbtune.models.model_options import ModelOptions


@pytest.fixture(autouse=True)
def _any_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny models, whose vocabularies are not CLIP's, be written as one file."""
    monkeypatch.setattr(merging, "refuse_unreadable", lambda file, tensors: None)


@pytest.fixture
def vae(tiny_pipeline: Callable[[str], Path], tmp_path: Path) -> Path:
    """The folder of a VAE of the same kind with other weights."""
    torch.manual_seed(5)
    config = dict(AutoencoderKL.from_pretrained(tiny_pipeline("epsilon"), subfolder="vae").config)
    AutoencoderKL.from_config(config).save_pretrained(tmp_path / "mine")  # type: ignore[union-attr]
    return tmp_path / "mine"


def test_a_merged_folder_keeps_the_vae_and_what_is_predicted(
    call: Any, tiny_pipeline: Callable[[str], Path], vae: Path, tmp_path: Path
) -> None:
    words = ("--vae", vae, "--prediction", "v", "--zero-terminal-snr")
    code, _, err = call("merge", tiny_pipeline("epsilon"), tmp_path / "out", *words)
    assert code == 0 and "cannot tell" not in err and "predicts" not in err, err
    merged = load_pipeline(str(tmp_path / "out"))
    config = merged.scheduler.config
    assert (config.prediction_type, config.rescale_betas_zero_snr, config.timestep_spacing) == (
        "v_prediction",
        True,
        "trailing",
    )
    wanted = load_file(vae / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(weight, wanted[key]) for key, weight in merged.vae.state_dict().items())
    for file in (tmp_path / "out").rglob("*.json"):
        assert str(vae) not in file.read_text(), file


def test_a_merged_file_keeps_the_vae_and_names_what_it_cannot_tell(
    call: Any, tiny_pipeline: Callable[[str], Path], vae: Path, tmp_path: Path
) -> None:
    file = tmp_path / "out.safetensors"
    words = ("--vae", vae, "--prediction", "v", "--zero-terminal-snr")
    code, _, err = call("merge", tiny_pipeline("epsilon"), file, *words)
    assert code == 0 and "predicts v" in err and "out.yaml" in err and "out.safetensors" in err, err
    tensors = load_file(file)
    mine = load_file(vae / "diffusion_pytorch_model.safetensors")["decoder.conv_in.weight"]
    assert torch.equal(tensors["first_stage_model.decoder.conv_in.weight"], mine) and "ztsnr" in tensors
    with safe_open(file, "pt") as opened:
        assert opened.metadata()["modelspec.prediction_type"] == "v"
    code, _, err = call("merge", tiny_pipeline("epsilon"), tmp_path / "plain.safetensors")
    assert code == 0 and "cannot tell" not in err and "predicts" not in err, err


@pytest.mark.slow
@pytest.mark.parametrize(("family", "told"), [(SD1, True), (SD2, True), (SDXL, False)])
def test_what_each_family_s_file_cannot_tell_of_v(tmp_path: Path, family: str, told: bool) -> None:
    base = str(write(tmp_path / "a.safetensors", tensors_of(family, networks(family)), resolution="64x64"))
    pipeline = load_pipeline(base, options=ModelOptions(prediction="v"))
    note = untold_by_file(pipeline, tmp_path / "b.safetensors")
    assert (note is not None and "predicts v" in note and "b.yaml" in note) == told == (note is not None)
    assert untold_by_file(load_pipeline(base, options=ModelOptions(prediction="epsilon")), tmp_path / "b") is None


MOMENTS = {"latents_mean": [0.0] * 4, "latents_std": [2.0] * 4}


@pytest.mark.parametrize(
    ("kind", "entries", "says"),
    [
        ("epsilon", {"scaling_factor": 0.5}, "by 0.5 and not by 0.18215"),
        ("v_prediction", {"scaling_factor": 0.13025}, "by 0.13025 and not by 0.18215"),
        ("xl-epsilon", {"scaling_factor": 0.5}, "by 0.5 and not by 0.13025"),
        ("xl-epsilon", MOMENTS, "by a mean and a deviation of each channel"),
    ],
)
def test_a_scaling_that_one_file_cannot_tell_is_refused_and_a_folder_keeps_it(
    tiny_pipeline: Callable[..., Path], tmp_path: Path, kind: str, entries: dict[str, Any], says: str
) -> None:
    pipeline = load_pipeline(str(tiny_pipeline(kind)))
    pipeline.vae.register_to_config(**entries)
    pipeline.save_pretrained(tmp_path / "base")
    for name in ("out.safetensors", "OUT.SAFETENSORS"):
        with refused("merge-scaling", naming=[says, tmp_path / name, "folder"]):
            merge(str(tmp_path / "base"), tmp_path / name)
        assert [path.name for path in tmp_path.iterdir()] == ["base"]
    merge(str(tmp_path / "base"), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "vae" / "config.json").read_text())
    assert {name: config[name] for name in entries} == entries


@pytest.mark.slow
def test_the_scaling_of_a_vae_of_one_s_own_is_refused_before_a_file_is_written(
    call: Any, tiny_pipeline: Callable[..., Path], tmp_path: Path
) -> None:
    base = tiny_pipeline("xl-epsilon")
    vae = AutoencoderKL.from_pretrained(base, subfolder="vae")
    vae.register_to_config(**MOMENTS)
    vae.save_pretrained(tmp_path / "mine")
    code, out, err = call("merge", base, tmp_path / "out.safetensors", "--vae", tmp_path / "mine", "--fp16")
    assert code == 1 and "wrong colours" in err and "The model is in" not in out, err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("named", [False, True])
def test_a_base_without_a_vae_is_merged_with_one(
    tiny_pipeline: Callable[[str], Path], vae: Path, tmp_path: Path, named: bool
) -> None:
    import shutil

    shutil.copytree(tiny_pipeline("epsilon"), tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "vae")
    cut = str(tmp_path / "cut")
    merge(f"{cut}/", tmp_path / "out", cut if named else None, options=ModelOptions(vae=str(vae)))
    assert json.loads((tmp_path / "out" / "model_index.json").read_text())["vae"] == ["diffusers", "AutoencoderKL"]
    wanted = load_file(vae / "diffusion_pytorch_model.safetensors")
    merged = load_file(tmp_path / "out" / "vae" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(merged[key], weight) for key, weight in wanted.items())
