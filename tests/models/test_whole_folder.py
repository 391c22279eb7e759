"""A folder that lacks a part, or a file of one, is refused by the name of that part."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import refused

from thumbtune.models.loading import load_pipeline
from thumbtune.models.model_options import ModelOptions

Tiny = Callable[[str], Path]
SHARDS = ("diffusion_pytorch_model-00001-of-00002.safetensors", "diffusion_pytorch_model-00002-of-00002.safetensors")


@pytest.fixture
def folder(tiny_pipeline: Tiny, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a tiny pipeline, of FLUX or of the family that a test names."""
    copy = tmp_path / "model"
    shutil.copytree(tiny_pipeline(getattr(request, "param", "flux")), copy)
    return copy


@pytest.mark.parametrize(
    ("folder", "part"),
    [
        ("epsilon", "unet"),
        ("epsilon", "tokenizer"),
        ("flux", "transformer"),
        ("flux", "text_encoder_2"),
        ("flux", "tokenizer_2"),
        ("sd3", "text_encoder_3"),
        ("wan", "vae"),
        ("wan-experts", "transformer_2"),
        ("krea2", "scheduler"),
    ],
    indirect=["folder"],
)
def test_a_part_that_is_not_there(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    code = "model-unloadable" if part == "vae" else "model-part-missing"  # a VAE of one's own would do
    with refused(code, naming="VAE" if part == "vae" else [part, str(folder)]):
        load_pipeline(str(folder))
    (folder / part).mkdir()
    with refused(code):
        load_pipeline(str(folder))


@pytest.mark.parametrize(
    ("file", "part"),
    [("transformer/config.json", "transformer"), ("scheduler/scheduler_config.json", "scheduler")],
)
def test_settings_that_are_not_there(folder: Path, file: str, part: str) -> None:
    (folder / part / "notes.txt").write_text("kept")
    (folder / file).unlink()
    with refused("model-part-missing", naming=[part, Path(file).name]):
        load_pipeline(str(folder))


def test_weights_that_are_not_there(folder: Path) -> None:
    next((folder / "text_encoder_2").glob("*.safetensors")).unlink()
    with refused("model-part-missing", naming="text_encoder_2"):
        load_pipeline(str(folder))


def in_two_files(part: Path) -> None:
    """Keep the weights of a part in two files, with the list that names them."""
    from safetensors.torch import load_file, save_file

    whole = next(part.glob("*.safetensors"))
    weights = sorted(load_file(whole).items())
    whole.unlink()
    half = len(weights) // 2
    for name, some in zip(SHARDS, (weights[:half], weights[half:]), strict=True):
        save_file(dict(some), part / name, {"format": "pt"})
    named = {key: SHARDS[i >= half] for i, (key, _) in enumerate(weights)}
    whole.with_name(f"{whole.name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": named}))


def test_one_file_of_several_that_is_not_there(folder: Path) -> None:
    before = load_pipeline(str(folder)).transformer.state_dict()
    in_two_files(folder / "transformer")
    after = load_pipeline(str(folder)).transformer.state_dict()
    assert all(bool((after[key] == before[key]).all()) for key in before)
    (folder / "transformer" / SHARDS[1]).unlink()
    with refused("model-part-missing", naming=SHARDS[1]):
        load_pipeline(str(folder))


def test_the_list_of_plain_files_beside_a_variant(folder: Path) -> None:
    whole = next((folder / "transformer").glob("*.safetensors"))
    listed = {"metadata": {}, "weight_map": {"x": SHARDS[0]}}
    whole.with_name(f"{whole.name}.index.json").write_text(json.dumps(listed))
    whole.rename(whole.with_suffix(".fp16.safetensors"))
    assert load_pipeline(str(folder)).transformer is not None


@pytest.mark.parametrize("kept", [0, 4, 2000, -1])
def test_a_file_that_is_cut_off(folder: Path, kept: int) -> None:
    weights = next((folder / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:kept])
    with refused("side-misfit", naming=str(weights)):
        load_pipeline(str(folder))


def test_a_pointer_in_place_of_weights(folder: Path) -> None:
    weights = next((folder / "text_encoder").glob("*.safetensors"))
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    with refused("weights-lfs-pointer", naming=str(weights)):
        load_pipeline(str(folder))


def test_a_vae_of_ones_own_takes_the_place_of_one(tiny_pipeline: Tiny, folder: Path) -> None:
    shutil.rmtree(folder / "vae")
    own = ModelOptions(vae=str(tiny_pipeline("flux") / "vae"))
    assert load_pipeline(str(folder), options=own).vae is not None


def test_parts_that_the_index_leaves_out_are_not_asked_for(tiny_pipeline: Tiny) -> None:
    assert load_pipeline(str(tiny_pipeline("wan"))).transformer_2 is None
