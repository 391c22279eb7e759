"""A VAE of one's own: its scaling is that of encoding and drawing; one of other latents is named by what differs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from models.single_files import SD1, SDXL, networks, tensors_of, write
from models.test_model_options import decoded, original
from PIL import Image
from refusals import refused
from safetensors.torch import save_file

from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.model_options import ModelOptions
from thumbtune.models.pipeline_files import check_pipeline
from thumbtune.models.protocol import Sampler
from thumbtune.models.without_weights import networks_without_weights

# --- how its latents are scaled ----------------------------------------------------------------------


SCALINGS = {
    "moments": {"latents_mean": [0.5, -1.0, 2.0, 0.25], "latents_std": [2.0, 0.5, 4.0, 1.5]},
    "shift": {"shift_factor": 0.75},
    "plain": {},
}


def scaled(mean: torch.Tensor, config: Any) -> torch.Tensor:
    """What the settings of a VAE make of its latents."""
    if config.get("latents_mean") is None:
        return (mean - (config.get("shift_factor") or 0.0)) * config["scaling_factor"]
    shift, deviation = (torch.tensor(config[name]).view(1, 4, 1, 1) for name in ("latents_mean", "latents_std"))
    return (mean - shift) * (config["scaling_factor"] / deviation)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "how"), [("epsilon", "plain"), ("xl-epsilon", "plain"), ("xl-epsilon", "moments")])
def test_the_scaling_of_a_vae_of_one_s_own_is_that_of_encoding_and_drawing(
    tiny_pipeline: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, how: str
) -> None:
    base = str(tiny_pipeline(kind))
    torch.manual_seed(5)
    config = dict(AutoencoderKL.from_pretrained(base, subfolder="vae").config) | SCALINGS[how]
    vae = AutoencoderKL.from_config(config).eval()  # type: ignore[union-attr]
    vae.save_pretrained(tmp_path / "mine")
    model = adapter_of(load_pipeline(base, options=ModelOptions(vae=str(tmp_path / "mine"))))
    image = Image.new("RGB", (16, 16), "white")
    with torch.no_grad():
        mean = vae.encode(torch.ones(1, 3, 16, 16)).latent_dist.mean  # type: ignore[union-attr]
    torch.testing.assert_close(model.encode([image]), scaled(mean, config))
    given: list[torch.Tensor] = []
    module = "thumbtune.models.latent_diffusion"
    monkeypatch.setattr(f"{module}.draw", lambda *_: scaled(mean, config))
    monkeypatch.setattr(
        f"{module}.decoded", lambda vae, latents, half: given.append(latents) or torch.zeros(1, 3, 16, 16)
    )
    model.generate(["a cat"], [0], Sampler(steps=1))
    torch.testing.assert_close(given[0], mean)
    other = adapter_of(load_pipeline(base))
    other.pipeline.vae.load_state_dict(vae.state_dict())
    assert (model.fingerprint() == other.fingerprint()) == (how == "plain")


def with_settings(folder: Path, out: Path, **settings: Any) -> str:
    """Copy a model, and add settings of its VAE."""
    shutil.copytree(folder, out)
    file = out / "vae" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return str(out)


@pytest.mark.parametrize(
    ("kind", "settings", "unread"),
    [
        ("epsilon", SCALINGS["moments"], "has latents_mean and latents_std in"),
        ("v_prediction", SCALINGS["moments"] | SCALINGS["shift"], "has latents_mean and latents_std in"),
        ("epsilon", SCALINGS["shift"], "has shift_factor in"),
        ("xl-epsilon", SCALINGS["shift"], "has shift_factor in"),
        ("epsilon", {"shift_factor": -0.1, "latents_mean": [0.5] * 4}, "has shift_factor in"),
    ],
)
def test_settings_of_a_vae_that_diffusers_does_not_read_are_refused(
    tiny_pipeline: Callable[..., Path], tmp_path: Path, kind: str, settings: dict[str, Any], unread: str
) -> None:
    plain = str(tiny_pipeline(kind))
    other = with_settings(Path(plain), tmp_path / "other", **settings)
    whole = "StableDiffusionXLPipeline" if kind.startswith("xl") else "StableDiffusionPipeline"
    for load in (load_pipeline, check_pipeline, networks_without_weights):
        with refused("vae-unread-settings", naming=[f"The VAE of {other} {unread}", whole]):
            load(other)
        for vae in (other, f"{other}/vae"):
            with refused("vae-unread-settings", naming=[f"vae: {vae} {unread}", whole]):
                load(plain, options=ModelOptions(vae=vae))
        load(other, options=ModelOptions(vae=plain))
    weights = next((tmp_path / "other" / "vae").glob("*.safetensors"))
    with refused("vae-unread-settings", naming=f"The VAE of {other} {unread}"):  # the file has the settings of that
        check_pipeline(other, ModelOptions(vae=str(weights)))
    check_pipeline(plain, ModelOptions(vae=str(weights)))


def test_settings_that_diffusers_does_not_read_are_refused_for_a_single_file(tmp_path: Path) -> None:
    made = networks(SD1)
    base = str(write(tmp_path / "a.safetensors", tensors_of(SD1, made), resolution="64x64"))
    made["vae"].register_to_config(**SCALINGS["moments"])
    made["vae"].save_pretrained(tmp_path / "mine")
    for load in (load_pipeline, check_pipeline):
        with refused("vae-unread-settings", naming=tmp_path / "mine"):
            load(base, options=ModelOptions(vae=str(tmp_path / "mine")))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("epsilon", {"latents_mean": [0.5] * 4, "latents_std": None, "shift_factor": 0.0}),
        ("epsilon", {"latents_std": [2.0] * 4, "scaling_factor": 0.5}),
        ("xl-epsilon", SCALINGS["moments"]),
        ("xl-epsilon", SCALINGS["moments"] | SCALINGS["shift"]),
        ("xl-epsilon", {"latents_mean": [0.5] * 4, "shift_factor": None}),
    ],
)
def test_images_of_a_vae_with_any_scaling_are_those_of_diffusers(
    tiny_pipeline: Callable[..., Path], tmp_path: Path, kind: str, settings: dict[str, Any]
) -> None:
    name = with_settings(tiny_pipeline(kind), tmp_path / "mine", **settings)
    [own] = adapter_of(load_pipeline(name)).generate(["a cat"], [1], Sampler(steps=4, guidance=3.0))
    theirs: Any = DiffusionPipeline.from_pretrained(name)
    theirs.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(1)
    size = {"height": 16, "width": 16, "num_inference_steps": 4, "guidance_scale": 3.0}
    [image] = theirs("a cat", generator=noise, **size).images
    assert np.abs(np.asarray(own).astype(int) - np.asarray(image).astype(int)).max() <= 1


def test_a_file_takes_the_scaling_of_the_vae_that_it_replaces(
    tiny_pipeline: Callable[..., Path], tmp_path: Path
) -> None:
    shutil.copytree(tiny_pipeline("xl-epsilon"), tmp_path / "base")
    file = tmp_path / "base" / "vae" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | SCALINGS["moments"] | {"scaling_factor": 0.5}))
    vae = AutoencoderKL.from_pretrained(tmp_path / "base" / "vae")
    save_file({key: value + 0.01 for key, value in vae.state_dict().items()}, tmp_path / "mine.safetensors")
    options = ModelOptions(vae=str(tmp_path / "mine.safetensors"))
    found = load_pipeline(str(tmp_path / "base"), options=options).vae.config
    assert (found["scaling_factor"], found["latents_mean"]) == (0.5, SCALINGS["moments"]["latents_mean"])


@pytest.mark.slow
def test_a_folder_says_how_latents_of_a_single_file_are_scaled(tmp_path: Path) -> None:
    made = networks(SDXL)
    base = str(write(tmp_path / "a.safetensors", tensors_of(SDXL, made), resolution="64x64"))
    made["vae"].register_to_config(scaling_factor=0.5, **SCALINGS["moments"])
    made["vae"].save_pretrained(tmp_path / "mine")
    model = adapter_of(load_pipeline(base, options=ModelOptions(vae=str(tmp_path / "mine"))))
    with torch.no_grad():
        mean = made["vae"].encode(torch.ones(1, 3, 16, 16)).latent_dist.mean
    wanted = scaled(mean, made["vae"].config)
    torch.testing.assert_close(model.encode([Image.new("RGB", (16, 16), "white")], 16), wanted)


def wide(vae: Any, **options: Any) -> Any:
    return AutoencoderKL.from_config(dict(vae.config) | options)


@pytest.mark.parametrize("layout", ["diffusers", "original"])
@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("16 channels", "its latent_channels are 16 and not 4"),
        ("6 channels of images", "its in_channels are 6 and not 3"),
        ("three levels", "its latents have another size"),
        ("decoder alone", "it has no encoder.conv_in.weight"),
        ("a layer less", "it has no encoder.conv_norm_out.weight"),
        ("a layer more", "is that of another network"),
    ],
)
def test_a_file_of_another_vae_is_refused_with_what_differs(
    base: str, vae: AutoencoderKL, tmp_path: Path, layout: str, what: str, says: str
) -> None:
    levels = {"block_out_channels": [8, 16, 16], "down_block_types": ["DownEncoderBlock2D"] * 3}
    made = {
        "16 channels": lambda: wide(vae, latent_channels=16),
        "6 channels of images": lambda: wide(vae, in_channels=6),
        "three levels": lambda: wide(vae, **levels, up_block_types=["UpDecoderBlock2D"] * 3),
    }.get(what, lambda: vae)()
    state = made.state_dict() if layout == "diffusers" else original(made)
    if what == "decoder alone":
        state = {key: value for key, value in state.items() if key.startswith("decoder.")}
    elif what == "a layer less":
        state = {key: value for key, value in state.items() if "norm_out.weight" not in key}
    elif what == "a layer more":
        if layout == "original":
            pytest.skip("tensors of a VAE's own training are left out")
        state |= {"decoder.mid_block.more": torch.ones(1)}
    save_file(state, tmp_path / "mine.safetensors")
    with refused("vae-misfit", naming=[tmp_path / "mine.safetensors", says]):
        load_pipeline(base, options=ModelOptions(vae=str(tmp_path / "mine.safetensors")))


def test_a_file_of_a_wider_vae_with_the_same_latents_is_read(base: str, vae: AutoencoderKL, tmp_path: Path) -> None:
    made = wide(vae, block_out_channels=[16, 32]).eval()
    for name, state in (("new", made.state_dict()), ("old", original(made))):
        save_file(state, tmp_path / f"{name}.safetensors")
        pipeline = load_pipeline(base, options=ModelOptions(vae=str(tmp_path / f"{name}.safetensors")))
        assert torch.equal(decoded(pipeline.vae), decoded(made))
