"""A merged SDXL: its folder and its single file are read back as the model with the LoRA on it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from models.single_files import SDXL, networks, tensors_of, write
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from thumbtune.duels.merge import merge
from thumbtune.models import single_file
from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora_files import find_lora
from thumbtune.models.lora_loading import put_on_pipeline
from thumbtune.models.merging import checkpoint_of

PLACES = ("attn1.to_q", "ff.net.2", "resnets.0.conv1", "add_embedding.linear_1", "q_proj", "fc1")
SIZE = {"resolution": "64x64"}


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return {key: value.contiguous() for key, value in tensors_of(SDXL, networks(SDXL)).items()}


@pytest.fixture
def base(tensors: dict[str, Tensor], tmp_path: Path) -> Path:
    return write(tmp_path / "base.safetensors", tensors, **SIZE)


@pytest.fixture
def lora(base: Path, tmp_path: Path) -> Path:
    """A LoRA on the UNet and on both text encoders, with an alpha that is not its rank."""
    pipeline, random, made = load_pipeline(str(base)), torch.Generator().manual_seed(0), {}
    for part in ("unet", "text_encoder", "text_encoder_2"):
        for name, module in getattr(pipeline, part).named_modules():
            if name.endswith(PLACES):
                shape = module.weight.shape
                up = torch.randn(shape[0], 2, *(1 for _ in shape[2:]), generator=random) * 0.1
                made[f"{part}.{name}.lora_A.weight"] = torch.randn(2, *shape[1:], generator=random) * 0.1
                made |= {f"{part}.{name}.lora_B.weight": up, f"{part}.{name}.alpha": torch.tensor(3.0)}
    save_file(made, tmp_path / "lora.safetensors")
    return tmp_path / "lora.safetensors"


@torch.no_grad()
def told(pipeline: Any) -> list[Tensor]:
    """A prediction, the embedding of prompts, and an image of latents."""
    model: Any = adapter_of(pipeline)
    condition = model.embed(["a cat", "red dog"])
    sizes = {"time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)}
    random = torch.Generator().manual_seed(3)
    noisy = torch.randn(2, 4, 32, 32, generator=random)
    predicted = model.predict(noisy, torch.tensor([10, 700]), condition | sizes)
    vae = pipeline.vae
    latents = vae.encode(torch.randn(1, 3, 64, 64, generator=random)).latent_dist.mean
    return [predicted, condition["text"], condition["pooled"], latents, vae.decode(latents).sample]


def close(one: list[Tensor], other: list[Tensor]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_names_and_values_of_a_checkpoint_are_those_that_it_was_read_from(
    base: Path, tensors: dict[str, Tensor]
) -> None:
    written = checkpoint_of(load_pipeline(str(base)))
    assert written.keys() == tensors.keys()
    for key, value in tensors.items():
        assert written[key].shape == value.shape and torch.equal(written[key], value), key


@pytest.mark.slow
def test_a_merged_folder_and_file_are_read_back_as_the_tuned_model(base: Path, lora: Path, tmp_path: Path) -> None:
    tuned, files = load_pipeline(str(base)), find_lora(lora)
    assert files is not None
    before = told(tuned)
    put_on_pipeline(tuned, files, "base")
    ours = told(tuned)
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(ours[:3], before[:3], strict=True))
    merge(str(lora), tmp_path / "merged.safetensors", str(base))
    merge(str(lora), tmp_path / "merged", str(base))
    close(told(single_file.load(tmp_path / "merged.safetensors")), ours)
    close(told(load_pipeline(str(tmp_path / "merged"))), ours)
    with safe_open(tmp_path / "merged.safetensors", "pt") as opened:
        header = opened.metadata()
    assert header["modelspec.architecture"] == "stable-diffusion-xl-v1-base"
    assert header["modelspec.resolution"] == "64x64" and header["modelspec.prediction_type"] == "epsilon"


@pytest.mark.slow
def test_float16_of_sdxl(base: Path, lora: Path, tmp_path: Path) -> None:
    merge(str(lora), tmp_path / "half.safetensors", str(base), fp16=True)
    merge(str(lora), tmp_path / "whole.safetensors", str(base))
    half, whole = load_file(tmp_path / "half.safetensors"), load_file(tmp_path / "whole.safetensors")
    assert half.keys() == whole.keys()
    assert all(torch.equal(value, whole[key].half()) for key, value in half.items())


@pytest.mark.slow
@pytest.mark.parametrize(("marks", "snr"), [(("v_pred",), False), (("v_pred", "ztsnr"), True)])
def test_the_file_tells_of_v_and_of_a_schedule_up_to_noise(
    tensors: dict[str, Tensor], tmp_path: Path, marks: tuple[str, ...], snr: bool
) -> None:
    base = write(tmp_path / "v.safetensors", tensors | {mark: torch.zeros(0) for mark in marks}, **SIZE)
    merge(str(base), tmp_path / "merged.safetensors")
    assert set(marks) == load_file(tmp_path / "merged.safetensors").keys() - tensors.keys()
    config = single_file.load(tmp_path / "merged.safetensors").scheduler.config
    assert config["prediction_type"] == "v_prediction" and bool(config.get("rescale_betas_zero_snr")) == snr
