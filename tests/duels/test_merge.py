"""Merged models: the base with the LoRA in its weights gives what both give, from a folder and from one file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from refusals import refused
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from thumbtune.duels.merge import merge
from thumbtune.models import merging
from thumbtune.models.families.stable_diffusion import StableDiffusion
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora import KOHYA_FILE, LoRA
from thumbtune.models.lora_targets import CONVOLUTIONS
from thumbtune.models.merging import checkpoint_of, mend_settings
from thumbtune.models.protocol import Sampler

KINDS: dict[str, dict[str, Any]] = {
    "attention": {},
    "convolutions": {"targets": CONVOLUTIONS, "conv_rank": 2},
    "DoRA": {"targets": CONVOLUTIONS, "dora": True},
}


def drawn(model: Any) -> np.ndarray[Any, Any]:
    model = model if isinstance(model, StableDiffusion) else StableDiffusion(model)
    images = model.generate(["a cat", "red dog"], [7, 8], Sampler(steps=4, guidance=3.0))
    return np.stack([np.array(image) for image in images]).astype(int)


@pytest.fixture(autouse=True)
def _any_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny models, whose vocabularies are not CLIP's, be written as one file."""
    monkeypatch.setattr(merging, "refuse_unreadable", lambda file, tensors: None)


@pytest.fixture
def tuned(tiny_pipeline: Callable[[str], Path], perturb: Any, tmp_path: Path) -> Callable[..., tuple[str, Path, Any]]:
    """(prediction, kind) -> the base, a folder with the LoRA's two files, and the model."""

    def make(prediction: str = "epsilon", kind: str = "attention") -> tuple[str, Path, StableDiffusion]:
        base = str(tiny_pipeline(prediction))
        model = StableDiffusion(load_pipeline(base), LoRA(rank=4, alpha=3.0, **KINDS[kind]))
        perturb(model)
        model.save(tmp_path / "lora")
        return base, tmp_path / "lora", model

    return make


def from_file(file: Path, base: str, **options: Any) -> Any:
    """A pipeline that diffusers makes of one file; of the base's folder only the settings are used."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_single_file(str(file), config=base, local_files_only=True, **options)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.slow
@pytest.mark.parametrize(("prediction", "kind"), [("epsilon", kind) for kind in KINDS] + [("v_prediction", "DoRA")])
def test_a_merged_folder_and_file_draw_our_images(tuned: Any, tmp_path: Path, prediction: str, kind: str) -> None:
    base, lora, model = tuned(prediction, kind)
    ours = drawn(model)
    assert np.abs(ours - drawn(load_pipeline(base))).max() > 20
    merge(str(lora), tmp_path / "merged", base)
    merge(str(lora / KOHYA_FILE), tmp_path / "merged.safetensors", base)
    assert np.abs(drawn(load_pipeline(str(tmp_path / "merged"))) - ours).max() <= 1
    assert np.abs(drawn(from_file(tmp_path / "merged.safetensors", base)) - ours).max() <= 1


def test_the_weights_are_the_sum(tuned: Any, tmp_path: Path) -> None:
    base, lora, _ = tuned()
    merge(str(lora), tmp_path / "merged", base)
    before, after = (load_pipeline(str(name)) for name in (base, tmp_path / "merged"))
    named = load_file(lora / KOHYA_FILE)
    changed = 0
    for name, weight in after.unet.named_parameters():
        flat = f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}"
        wanted = before.unet.get_parameter(name)
        if f"{flat}.alpha" in named:
            up, down = named[f"{flat}.lora_up.weight"], named[f"{flat}.lora_down.weight"]
            wanted = wanted + 0.75 * up @ down
            changed += 1
        torch.testing.assert_close(weight, wanted, rtol=0, atol=1e-6)
    assert changed == len(named) // 3
    for part in ("vae", "text_encoder"):
        for name, weight in getattr(after, part).named_parameters():
            assert torch.equal(weight, getattr(before, part).get_parameter(name))


@pytest.mark.slow
def test_a_run_is_merged_from_the_command_line(
    call: Any, six_of_each: Path, tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    small = ["train.steps=2", "train.batch=4", "train.lr=0.05", "lora.rank=2", "train.guards=false"]
    settings = [f"--set={one}" for one in (f"likes={six_of_each}", f"model={tiny_pipeline('epsilon')}", *small)]
    assert call("train", *settings, "--out", tmp_path / "run")[0] == 0
    code, out, err = call("merge", tmp_path / "run", tmp_path / "m.safetensors")
    assert code == 0 and "m.safetensors" in out, err
    assert call("merge", tmp_path / "run", tmp_path / "m")[0] == 0
    from thumbtune.runs.python_api import load

    ours = drawn(load(tmp_path / "run", "cpu"))
    assert np.abs(drawn(from_file(tmp_path / "m.safetensors", str(tiny_pipeline("epsilon")))) - ours).max() <= 1
    assert np.abs(drawn(load(tmp_path / "m", "cpu")) - ours).max() <= 1
    code, _, err = call("merge", tmp_path / "run", tmp_path / "m")
    assert code == 2 and "exists" in err


@pytest.mark.slow
def test_float16_takes_half_the_space(tuned: Any, tmp_path: Path) -> None:
    base, lora, model = tuned()
    ours = drawn(model)
    merge(str(lora), tmp_path / "half.safetensors", base, fp16=True)
    merge(str(lora), tmp_path / "half", base, fp16=True)
    merge(str(lora), tmp_path / "whole.safetensors", base)
    whole, half = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "half"))
    assert {value.dtype for value in half.values()} == {torch.float16}
    for name, value in whole.items():
        assert torch.equal(half[name], value.half()), name
    for pipeline in (from_file(tmp_path / "half.safetensors", base), load_pipeline(str(tmp_path / "half"))):
        assert np.abs(drawn(pipeline.to(torch.float32)) - ours).max() <= 8
    stored = [load_file(file) for file in (tmp_path / "half").rglob("*.safetensors")]
    assert {value.dtype for part in stored for value in part.values() if value.is_floating_point()} == {torch.float16}
    plain = DiffusionPipeline.from_pretrained(tmp_path / "half")  # without a type: all parts in one
    assert {plain.unet.dtype, plain.vae.dtype, plain.text_encoder.dtype} == {torch.float32}
    assert np.abs(drawn(plain) - ours).max() <= 8


def test_settings_load_in_float32_and_keep_all_else(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    settings = {"text_config": {"dtype": "bfloat16", "layers": 2}, "torch_dtype": "float16", "kind": "float16"}
    file.write_text(json.dumps({**settings, "_name_or_path": str(tmp_path)}))
    mend_settings(file)
    assert json.loads(file.read_text()) == {
        "text_config": {"dtype": "float32", "layers": 2},
        "torch_dtype": "float32",
        "kind": "float16",
    }
    file.write_text("[1,2]")
    mend_settings(file)
    assert file.read_text() == "[1,2]"  # nothing to mend: not a byte is another


def test_values_beyond_float16_are_refused(tiny_pipeline: Callable[[str], Path], tmp_path: Path) -> None:
    pipeline = load_pipeline(str(tiny_pipeline("epsilon")))
    pipeline.unet.conv_in.weight.data[0] = 1e5
    pipeline.save_pretrained(tmp_path / "large")
    with refused("merge-not-finite", naming="conv_in.weight"):
        merge(str(tmp_path / "large"), tmp_path / "out", fp16=True)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["merged", "merged.safetensors"])
@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_what_exists_is_not_written_over(tuned: Any, tmp_path: Path, name: str, kind: str) -> None:
    base, lora, _ = tuned()
    out = tmp_path / name
    if kind == "file":
        out.write_text("mine")
    elif kind == "folder":
        out.mkdir()
    else:
        out.symlink_to(tmp_path / "nowhere")
    with refused("merge-exists", naming=out):
        merge(str(lora), out, base)
    assert kind != "file" or out.read_text() == "mine"


@pytest.mark.parametrize("ending", [".bin", ".ckpt", ".pt", ".PTH", ".gguf"])
def test_an_ending_of_another_kind_of_file_is_refused(tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"out{ending}"
    with refused("merge-ending", naming=[out, tmp_path / "out.safetensors", "for a folder"]):
        merge("a-model-that-is-not-looked-at", out)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_images_is_no_model(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "0.png")
    with refused("merge-no-model", naming=tmp_path / "images"):
        merge(str(tmp_path / "images"), tmp_path / "out")


def test_a_lora_without_its_base_is_refused(tuned: Any, tmp_path: Path) -> None:
    _, lora, _ = tuned()
    with refused("side-no-base", naming=lora):
        merge(str(lora), tmp_path / "out")


def test_a_full_disk_leaves_nothing(tuned: Any, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    base, lora, _ = tuned()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name, code in (("merged", "merge-unwritable"), ("merged.safetensors", "file-unwritable")):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
            with refused(code, naming=tmp_path / name):
                merge(str(lora), tmp_path / name, base)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["lora"]


def test_the_result_tells_its_family_and_no_path(tuned: Any, tmp_path: Path) -> None:
    base, lora, _ = tuned("v_prediction")
    merge(str(lora), tmp_path / "my model.safetensors", base)
    merge(str(lora), tmp_path / "merged", base)
    with safe_open(tmp_path / "my model.safetensors", "pt") as opened:
        header = opened.metadata()
    assert header["modelspec.title"] == "my model" and header["modelspec.prediction_type"] == "v"
    assert header["modelspec.architecture"] == "stable-diffusion-v1"
    assert not [value for value in header.values() if "/" in value and "github.com" not in value]
    for file in (tmp_path / "merged").rglob("*.json"):
        assert base not in file.read_text() and str(tmp_path) not in file.read_text(), file


@pytest.mark.slow
def test_equal_merges_are_equal_bytes(tuned: Any, tmp_path: Path) -> None:
    base, lora, _ = tuned()
    for name in ("one", "two"):
        merge(str(lora), tmp_path / name / "m.safetensors", base)
        merge(str(lora), tmp_path / name / "folder", base)
    for file in (tmp_path / "one").rglob("*.*"):
        assert file.read_bytes() == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes(), file


def test_another_family_is_refused_as_one_file_alone(tiny_pipeline: Callable[[str], Path]) -> None:
    pipeline = load_pipeline(str(tiny_pipeline("epsilon")))
    pipeline.unet.add_embedding = torch.nn.Linear(2, 2)
    with refused("merge-other-family", naming="add_embedding"):
        checkpoint_of(pipeline)


def test_the_text_encoder_of_a_lora_is_merged_too(tiny_pipeline: Callable[[str], Path], tmp_path: Path) -> None:
    base = str(tiny_pipeline("epsilon"))
    layer = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    up, down = torch.randn(32, 2), torch.randn(2, 16)
    tensors = {f"{layer}.lora_up.weight": up, f"{layer}.lora_down.weight": down, f"{layer}.alpha": torch.tensor(1.0)}
    save_file(tensors, tmp_path / "te.safetensors")
    merge(str(tmp_path / "te.safetensors"), tmp_path / "m.safetensors", base)
    name = "encoder.layers.0.mlp.fc1.weight"
    before = load_pipeline(base).text_encoder.get_parameter(name)
    after = load_file(tmp_path / "m.safetensors")[f"cond_stage_model.transformer.text_model.{name}"]
    torch.testing.assert_close(after, before + 0.5 * up @ down)
    merge(str(tmp_path / "te.safetensors"), tmp_path / "m", base)
    assert torch.equal(load_pipeline(str(tmp_path / "m")).text_encoder.get_parameter(name), after)
    assert json.loads((Path(base) / "model_index.json").read_text())["_class_name"] == "StableDiffusionPipeline"
