"""Folders of models as people have them: halves, pickles, other families, other tasks and other sizes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from refusals import refused
from safetensors.torch import load_file, save_file

from thumbtune.duels.sides import side
from thumbtune.errors import ThumbtuneError
from thumbtune.models.families.stable_diffusion import StableDiffusion
from thumbtune.models.loading import load_pipeline
from thumbtune.models.pipeline_files import check_pipeline
from thumbtune.models.protocol import Sampler
from thumbtune.models.without_weights import networks_without_weights

WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}


@pytest.fixture
def folder(tiny_pipeline: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_pipeline("epsilon"), tmp_path / "model"))


def edit(file: Path, **options: Any) -> None:
    content = json.loads(file.read_text()) | options
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def not_read(folder: Path, code: str, *naming: object) -> None:
    """A model is refused by the same sentence when it is loaded, and before, as a side of a duel."""
    with refused(code, naming=naming):
        load_pipeline(str(folder))
    with refused(code, naming=naming):
        one = side(str(folder))
        assert one.check is not None
        one.check()


# --- weights ---------------------------------------------------------------------------------------


def to_variant(folder: Path, variant: str, parts: Any = WEIGHTS, keep: bool = False) -> None:
    for part in parts:
        file = folder / part / f"{WEIGHTS[part]}.safetensors"
        tensors = load_file(file)
        if not keep:
            file.unlink()
        save_file(
            {k: v.half() for k, v in tensors.items()}, file.with_suffix(f".{variant}.safetensors"), {"format": "pt"}
        )


@pytest.mark.parametrize("parts", [list(WEIGHTS), ["unet"], ["vae", "text_encoder"]])
@pytest.mark.parametrize("variant", ["fp16", "bf16", "non_ema"])
def test_weights_in_one_variant_are_read_in_float32(folder: Path, parts: list[str], variant: str) -> None:
    plain = load_pipeline(str(folder)).unet.state_dict()
    to_variant(folder, variant, parts)
    assert check_pipeline(str(folder)) == variant
    pipeline = load_pipeline(str(folder))
    for key, value in pipeline.unet.state_dict().items():
        assert value.dtype == torch.float32
        assert value.equal(plain[key].half().float() if "unet" in parts else plain[key])
    assert pipeline.vae.dtype == pipeline.text_encoder.dtype == torch.float32


def test_plain_weights_come_before_a_variant(folder: Path) -> None:
    plain = load_pipeline(str(folder)).unet.state_dict()
    to_variant(folder, "fp16", keep=True)
    assert check_pipeline(str(folder)) is None
    assert all(value.equal(plain[key]) for key, value in load_pipeline(str(folder)).unet.state_dict().items())


def test_one_of_two_variants_is_preferred_or_asked_for(folder: Path) -> None:
    to_variant(folder, "fp16", keep=True)
    to_variant(folder, "ema")
    assert check_pipeline(str(folder)) == "fp16"
    for part, stem in WEIGHTS.items():
        (folder / part / f"{stem}.fp16.safetensors").rename(folder / part / f"{stem}.non_ema.safetensors")
    not_read(folder, "model-several-variants", "ema and non_ema")


@pytest.mark.parametrize("part", WEIGHTS)
def test_pickles_are_named_with_the_way_to_convert_them(folder: Path, part: str) -> None:
    (folder / part / f"{WEIGHTS[part]}.safetensors").unlink()
    (folder / part / "pytorch_model.bin").write_bytes(b"")
    not_read(folder, "model-bin-only", folder / part, "pytorch_model.bin", "use_safetensors=False")


def test_the_way_to_convert_pickles_works(folder: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    plain = load_pipeline(str(folder)).unet.state_dict()
    for part, stem in WEIGHTS.items():
        file = folder / part / f"{stem}.safetensors"
        torch.save(load_file(file), folder / part / f"{'pytorch_model' if part == 'text_encoder' else stem}.bin")
        file.unlink()
    StableDiffusionPipeline.from_pretrained(folder, use_safetensors=False).save_pretrained(tmp_path / "new")
    assert all(value.equal(plain[key]) for key, value in load_pipeline(str(tmp_path / "new")).unet.state_dict().items())


@pytest.mark.parametrize("name", ["model.onnx", "model.msgpack", "model.gguf"])
def test_weights_of_another_framework_are_named(folder: Path, name: str) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "unet" / name).write_bytes(b"")
    not_read(folder, "model-bin-only", name)


@pytest.mark.parametrize(
    ("name", "keys", "code", "what"),
    [
        ("a.safetensors", ["model.diffusion_model.x", "cond_stage_model.x"], "single-part-missing", "a text encoder"),
        ("a.safetensors", ["conditioner.embedders.0.x", "model.diffusion_model.x"], "single-part-missing", "a VAE"),
        ("a.safetensors", ["lora_unet_x.lora_down.weight"], "weights-lora-as-model", "LoRA"),
        ("a.safetensors", ["unet.x.lora_A.weight"], "weights-lora-as-model", "LoRA"),
        ("a.safetensors", ["emb_params"], "weights-no-model", "textual inversion"),
        ("a.safetensors", ["anything"], "weights-no-model", "no file of weights that is known"),
        ("a.ckpt", None, "weights-other-format", "s.save_file("),
        ("a.gguf", None, "weights-other-format", "GGUF"),
        ("a.onnx", None, "weights-other-format", "ONNX"),
        ("a.pt", None, "weights-pickle", "pickle"),
        ("a.txt", None, "weights-no-model", "a.txt"),
    ],
)
def test_a_single_file_is_named_as_what_it_is(
    tmp_path: Path, name: str, keys: list[str] | None, code: str, what: str
) -> None:
    if keys is None:
        (tmp_path / name).write_bytes(b"")
    else:
        save_file({key: torch.ones(2) for key in keys}, tmp_path / name)
    with refused(code, naming=[tmp_path / name, what]):
        load_pipeline(str(tmp_path / name))
    if code != "weights-lora-as-model":
        with pytest.raises(ThumbtuneError) as caught:
            side(str(tmp_path / name))
        assert "\n" not in str(caught.value) and "is a LoRA" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("recipe.yaml", "model-is-run"),
        ("pytorch_lora_weights.safetensors", "weights-lora-as-model"),
        ("adapter_model.safetensors", "weights-lora-as-model"),
        ("config.json", "model-part-alone"),
        ("my.gguf", "weights-other-format"),
        ("my.ckpt", "weights-other-format"),
    ],
)
def test_a_folder_without_a_pipeline_is_named_as_what_it_is(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / name).write_text('{"_class_name": "UNet2DConditionModel"}')
    with refused(code, naming=tmp_path):
        load_pipeline(str(tmp_path))


# --- families and tasks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index",
    [
        {"_class_name": "StableDiffusionXLPipeline"},
        {"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"], "unet": ...},
        {"_class_name": "StableDiffusion3Pipeline"},
        {"_class_name": "PixArtAlphaPipeline"},
        {"_class_name": "NewPipeline", "text_encoder_2": ["transformers", "T5EncoderModel"]},
        {"_class_name": "NewPipeline", "transformer": ["diffusers", "NewTransformer"]},
        {"_class_name": "AltDiffusionPipeline", "text_encoder": ["alt", "RobertaSeriesModelWithTransformation"]},
        {"_class_name": "TinyPipeline", "vae": ["diffusers", "AutoencoderTiny"]},
    ],
)
def test_a_folder_of_another_family_is_named(folder: Path, index: dict[str, Any]) -> None:
    edit(folder / "model_index.json", **index)
    not_read(folder, "model-other-family", repr(str(folder)), index["_class_name"])


@pytest.mark.parametrize(("channels", "task"), [(9, "inpainting"), (8, "edits"), (7, "upscaler"), (5, "depth")])
def test_a_unet_of_other_channels_is_refused(folder: Path, channels: int, task: str) -> None:
    edit(folder / "unet" / "config.json", in_channels=channels)
    not_read(folder, "model-channels", f"takes {channels} channels", "has 4", task)


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_channels_are_compared_with_the_vae_s(folder: Path, part: str) -> None:
    edit(folder / part / "config.json", **({"out_channels": 8} if part == "unet" else {"latent_channels": 16}))
    not_read(folder, "model-channels", repr(str(folder)))


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"addition_embed_type": "text_time"}, "model-other-family"),
        ({"class_embed_type": "timestep"}, "model-other-condition"),
        ({"num_class_embeds": 1000}, "model-other-condition"),
        ({"encoder_hid_dim_type": "image_proj"}, "model-other-condition"),
        ({"cross_attention_dim": 768}, "model-text-width"),
        ({"cross_attention_dim": [16, 32]}, "model-text-width"),
    ],
)
def test_a_unet_that_needs_something_else_is_refused(folder: Path, options: dict[str, Any], code: str) -> None:
    edit(folder / "unet" / "config.json", **options)
    not_read(folder, code, repr(str(folder)))


def test_train_says_it_before_anything_is_encoded(call: Any, folder: Path, six_of_each: Path, tmp_path: Path) -> None:
    edit(folder / "unet" / "config.json", in_channels=9)
    options = ["--set", f"likes={six_of_each}", "--set", f"model={folder}", "--out", tmp_path / "run"]
    for words in (["--dry-run"], []):
        code, _, err = call("train", *options, *words)
        assert code == 1 and "takes 9 channels" in err and "Traceback" not in err and len(err.strip().split("\n")) == 1
        assert not (tmp_path / "run").exists()


def test_the_networks_without_weights_have_the_shapes_of_the_loaded_ones(folder: Path) -> None:
    networks, pipeline = networks_without_weights(str(folder)), load_pipeline(str(folder))
    assert networks is not None
    for part, network in networks.items():
        loaded = getattr(pipeline, part)
        shapes = {name: (weight.shape, weight.device.type) for name, weight in network.named_parameters()}
        assert shapes == {name: (weight.shape, "meta") for name, weight in loaded.named_parameters()}
    assert networks_without_weights("some/model") is None


# --- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unet", "vae", "size"),
    [
        ([8, 8], 16, 16),
        ([8, 12], 16, (16, 24)),
        ([12, 8], 16, (24, 16)),
        (None, 16, 16),
        (None, [16, 16], 16),
        (None, [16, 32], (16, 32)),
        (..., 32, 32),
        (8, ..., 16),
    ],
)
def test_the_size_is_a_number_a_pair_or_the_vae_s(folder: Path, unet: Any, vae: Any, size: Any) -> None:
    edit(folder / "unet" / "config.json", sample_size=unet)
    edit(folder / "vae" / "config.json", sample_size=vae)
    model = StableDiffusion(load_pipeline(str(folder)))
    assert model.size == size
    height, width = (size, size) if isinstance(size, int) else size
    assert model.generate(["a"], [1], Sampler(steps=1))[0].size == (width, height)
    assert model.encode([Image.new("RGB", (40, 40), "red")]).shape == (1, 4, height // 2, width // 2)


def test_an_oblong_model_crops_at_the_centre(folder: Path) -> None:
    edit(folder / "unet" / "config.json", sample_size=[8, 12])
    model = StableDiffusion(load_pipeline(str(folder)))
    image = Image.effect_noise((48, 16), 80)
    assert model.encode([image]).equal(model.encode([image.crop((12, 0, 36, 16))]))


@pytest.mark.parametrize(
    ("unet", "vae", "code"),
    [
        (None, None, "model-bad-size"),
        (8, None, "model-bad-size"),
        (None, ..., "model-no-size"),
        (..., ..., "model-no-size"),
        ("8", 16, "model-bad-size"),
        (0, 16, "model-bad-size"),
        (-8, 16, "model-bad-size"),
        (8.5, 16, "model-bad-size"),
        ([8], 16, "model-bad-size"),
        ([8, 8, 8], 16, "model-bad-size"),
        ([8, None], 16, "model-bad-size"),
        (None, "big", "model-bad-size"),
        ({"height": 8}, 16, "model-bad-size"),
    ],
)
def test_a_size_that_is_none_is_one_sentence(folder: Path, unet: Any, vae: Any, code: str) -> None:
    edit(folder / "unet" / "config.json", sample_size=unet)
    edit(folder / "vae" / "config.json", sample_size=vae)
    with refused(code, naming=repr(str(folder))):
        StableDiffusion(load_pipeline(str(folder)))


def test_images_that_are_not_finite_are_refused(folder: Path) -> None:
    model = StableDiffusion(load_pipeline(str(folder)))
    with torch.no_grad():
        model.pipeline.unet.conv_in.bias[0] = float("nan")
    with refused("model-not-finite"):
        model.generate(["a"], [1], Sampler(steps=1))
