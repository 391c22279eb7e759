"""Models that lack a VAE: refused with the way out, and loaded with a VAE that is given, in every form and family."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from models.single_files import SD1, SD2, SDXL, networks, tensors_of, write
from PIL import Image
from refusals import refused
from safetensors.torch import save_file

from thumbtune.duels.merge import merge
from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.model_options import ModelOptions
from thumbtune.models.pipeline_files import check_pipeline
from thumbtune.models.without_weights import networks_without_weights, pipeline_without_weights
from thumbtune.runs.memory_estimate import estimate
from thumbtune.runs.recipe import read_recipe

Pipeline = Callable[..., Path]
OF_VAE = "first_stage_model."
PREDICTS = {SD1: "epsilon", SD2: "v", SDXL: "epsilon"}


def edit(file: Path, **entries: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def cut(folder: Path, how: str) -> Path:
    """Take the VAE out of a folder."""
    if how == "weights":
        (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
        return folder
    shutil.rmtree(folder / "vae")
    index = folder / "model_index.json"
    if how == "null":
        edit(index, vae=[None, None])
    elif how == "no entry":
        index.write_text(json.dumps({key: one for key, one in json.loads(index.read_text()).items() if key != "vae"}))
    return folder


def another(vae: AutoencoderKL) -> AutoencoderKL:
    """A VAE of the same kind with other weights."""
    torch.manual_seed(5)
    return AutoencoderKL.from_config(dict(vae.config)).eval()  # type: ignore[union-attr, return-value]


def encoded(vae: Any, scale: float) -> torch.Tensor:
    with torch.no_grad():
        return vae.encode(torch.ones(1, 3, 16, 16)).latent_dist.mean * scale


@pytest.mark.parametrize("kind", ["epsilon", "xl-epsilon"])
@pytest.mark.parametrize("how", ["folder", "weights", "null", "no entry"])
def test_a_folder_without_a_vae_loads_with_one(tiny_pipeline: Pipeline, tmp_path: Path, kind: str, how: str) -> None:
    shutil.copytree(whole := tiny_pipeline(kind), tmp_path / "cut")
    base = str(cut(tmp_path / "cut", how))
    for load in (load_pipeline, check_pipeline, networks_without_weights):
        with refused("model-unloadable", naming=[base, "vae=NAME"]):
            load(base)
    vae = another(AutoencoderKL.from_pretrained(whole, subfolder="vae"))
    vae.save_pretrained(tmp_path / "mine")
    options = ModelOptions(vae=str(tmp_path / "mine"))
    model = adapter_of(load_pipeline(base, options=options))
    assert model.size == 16
    scale = 0.13025 if kind == "xl-epsilon" else 0.18215
    found = model.encode([Image.new("RGB", (16, 16), "white")])
    assert torch.equal(found, encoded(vae, scale))
    without = pipeline_without_weights(base, options)
    assert without is not None and without.vae.config["block_out_channels"] == [8, 16]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["vae", "decoder"])
@pytest.mark.parametrize("family", [SD1, SD2, SDXL])
def test_a_file_without_a_vae_loads_with_one(tmp_path: Path, family: str, what: str) -> None:
    made = networks(family)
    gone = OF_VAE if what == "vae" else f"{OF_VAE}decoder."
    tensors = {key: weight for key, weight in tensors_of(family, made).items() if not key.startswith(gone)}
    told = {"resolution": "64x64", "prediction_type": PREDICTS[family]}
    base = str(write(tmp_path / "cut.safetensors", tensors, **told))
    for load in (load_pipeline, check_pipeline):
        with refused("single-part-missing", naming=[base, "without a VAE", "vae=NAME"]):
            load(base)
    vae = another(made["vae"])
    vae.save_pretrained(tmp_path / "mine")
    save_file(vae.state_dict(), tmp_path / "mine.safetensors")
    for name in ("mine", "mine.safetensors"):
        options = ModelOptions(vae=str(tmp_path / name))
        assert check_pipeline(base, options) is None
        model = adapter_of(load_pipeline(base, options=options))
        assert model.size == 64
        scale = 0.13025 if family == SDXL else 0.18215
        assert torch.equal(model.encode([Image.new("RGB", (16, 16), "white")], 16), encoded(vae, scale)), name
        for part in ("unet", "text_encoder"):
            found = getattr(model.pipeline, part).state_dict()
            assert all(torch.equal(found[key], weight) for key, weight in made[part].state_dict().items())


@pytest.mark.parametrize("what", ["class", "damaged", "pickle"])
def test_a_vae_that_cannot_be_used_is_replaced(tiny_pipeline: Pipeline, tmp_path: Path, what: str) -> None:
    shutil.copytree(whole := tiny_pipeline("epsilon"), tmp_path / "base")
    base, own = str(tmp_path / "base"), tmp_path / "base" / "vae"
    if what == "class":
        edit(tmp_path / "base" / "model_index.json", vae=["diffusers", "AutoencoderTiny"])
        edit(own / "config.json", _class_name="AutoencoderTiny", scaling_factor=1.0)
    elif what == "damaged":
        edit(own / "config.json", block_out_channels="none", norm_num_groups=0)
    else:
        (own / "diffusion_pytorch_model.safetensors").rename(own / "diffusion_pytorch_model.bin")
    pipeline = load_pipeline(base, options=ModelOptions(vae=str(whole / "vae")))
    wanted = AutoencoderKL.from_pretrained(whole, subfolder="vae").state_dict()
    assert all(torch.equal(weight, wanted[key]) for key, weight in pipeline.vae.state_dict().items())


def test_a_vae_of_another_family_is_refused_where_the_model_has_none(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    shutil.copytree(tiny_pipeline("epsilon"), tmp_path / "cut")
    base = str(cut(tmp_path / "cut", "null"))
    of_xl = str(tiny_pipeline("xl-epsilon") / "vae")
    for load in (load_pipeline, check_pipeline):
        with refused("vae-misfit", naming=[of_xl, "0.13025", "0.18215"]):
            load(base, options=ModelOptions(vae=of_xl))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "given", "fits"),
    [
        ("xl-epsilon", SD1, False),
        ("xl-epsilon", SD2, False),
        ("epsilon", SDXL, False),
        (SDXL, SD1, False),
        (SD1, SDXL, False),
        (SD2, SD1, True),
        ("epsilon", SD1, True),
        ("xl-epsilon", SDXL, True),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_the_vae_of_a_whole_checkpoint_is_that_of_its_family(
    tiny_pipeline: Pipeline, tmp_path: Path, base: str, given: str, fits: bool, whole: bool
) -> None:
    """What is read before any weights is as strict as loading."""
    made = networks(given)
    told = {"resolution": "64x64", "prediction_type": "epsilon"}
    vae = str(write(tmp_path / "vae.safetensors", tensors_of(given, made), **told))
    if base in PREDICTS:
        tensors = tensors_of(base, networks(base))
        kept = {key: weight for key, weight in tensors.items() if whole or not key.startswith(OF_VAE)}
        name = str(write(tmp_path / "base.safetensors", kept, **told))
    else:
        shutil.copytree(tiny_pipeline(base), tmp_path / "base")
        name = str(tmp_path / "base" if whole else cut(tmp_path / "base", "null"))
    options = ModelOptions(vae=vae)
    for load in (check_pipeline, pipeline_without_weights, load_pipeline):
        if fits:
            load(name, options=options)
        else:
            with refused("vae-misfit", naming=[vae, "scaled by 0.1", "one of another family"]):
                load(name, options=options)


@pytest.mark.slow
def test_memory_counts_the_vae_that_is_given(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    shutil.copytree(whole := tiny_pipeline("epsilon"), tmp_path / "cut")
    base = cut(tmp_path / "cut", "null")
    wanted = estimate(read_recipe(None, [f"model={whole}"]), micro_batch=2)
    assert wanted is not None
    assert estimate(read_recipe(None, [f"model={base}", f"vae={whole / 'vae'}"]), micro_batch=2) == wanted


@pytest.mark.slow
def test_a_run_without_a_vae_of_its_model_goes_from_likes_to_a_merged_model(
    call: Any, six_of_each: Path, tiny_pipeline: Pipeline, tmp_path: Path
) -> None:
    shutil.copytree(whole := tiny_pipeline("epsilon"), tmp_path / "cut")
    base, vae = cut(tmp_path / "cut", "folder"), whole / "vae"
    small = ["train.steps=2", "train.batch=4", "lora.rank=2", "train.guards=false", f"vae={vae}"]
    settings = [f"--set={one}" for one in (f"likes={six_of_each}", f"model={base}", *small)]
    code, _, err = call("train", "--dry-run", *settings)
    assert code == 0, err
    code, _, err = call("train", *settings, "--out", tmp_path / "run")
    assert code == 0, err
    code, _, err = call(
        "generate", "a cat", "--model", base, "--vae", vae, "--steps", "2", "--out", tmp_path / "images"
    )
    assert code == 0, err
    assert len(list((tmp_path / "images").glob("*.png"))) == 4
    (tmp_path / "prompts.txt").write_text("a dog\n")
    duel = ("duel", base, tmp_path / "run", "--prompts", tmp_path / "prompts.txt", "--per-prompt", "1", "--steps", "2")
    code, _, err = call(*duel, "--scorers", "red", "--vae", vae, "--out", tmp_path / "duel")
    assert code == 0, err
    merge(str(tmp_path / "run"), tmp_path / "merged")
    merged = load_pipeline(str(tmp_path / "merged"))
    for key, weight in load_pipeline(str(whole)).vae.state_dict().items():
        assert torch.equal(merged.vae.state_dict()[key], weight)
