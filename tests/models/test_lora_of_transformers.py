"""The LoRA of a transformer, where it is used: diffusers' own loader, PEFT, and the names that ComfyUI has."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_transformers import BUILDERS
from torch import Tensor

from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora_saving import COMFYUI_FILE, DIFFUSERS_FILE, KOHYA_FILE

ALONE = [name for name in BUILDERS if name != "wan-experts"]  # tests/models/test_experts.py has that of two networks
WITH_LOADER = [name for name in ALONE if name != "pixart"]  # of which diffusers has no loader
PROMPTS = ["a cat", "red dog"]


def answer(model: Any) -> Tensor:
    image = Image.new("RGB", (model.size, model.size))
    shape = model.encode([image]).shape[1:]
    noisy = torch.randn(2, *shape, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        out: Tensor = model.predict(noisy, torch.tensor([40, 900]), model.embed(PROMPTS))
    return out


@pytest.mark.parametrize("name", WITH_LOADER)
def test_diffusers_loads_the_network_that_was_trained(
    name: str,
    tiny_pipeline: Callable[[str], Path],
    make_diffusion: Callable[..., Any],
    perturb: Callable[..., None],
    tmp_path: Path,
) -> None:
    model = make_diffusion(name, rank=4, alpha=1.5)
    before = answer(model)
    perturb(model)
    model.save(tmp_path)
    pipeline = load_pipeline(str(tiny_pipeline(name)))
    pipeline.load_lora_weights(tmp_path, weight_name=DIFFUSERS_FILE)
    other = adapter_of(pipeline)
    other.size = model.size
    tuned = answer(model)
    assert (tuned - before).abs().max() > 0.01
    torch.testing.assert_close(answer(other), tuned, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ALONE)
def test_the_file_is_one_of_peft_with_alpha_in_its_numbers(
    name: str, make_diffusion: Callable[..., Any], perturb: Callable[..., None], tmp_path: Path
) -> None:
    model = make_diffusion(name, rank=4, alpha=1.5)
    plain = {key: weight.clone() for key, weight in model.network.named_parameters() if "base_layer.weight" in key}
    perturb(model)
    model.save(tmp_path)
    tensors = load_file(tmp_path / DIFFUSERS_FILE)
    assert all(key.startswith("transformer.") and key.endswith((".lora_A.weight", ".lora_B.weight")) for key in tensors)
    assert not (tmp_path / KOHYA_FILE).exists()
    with safe_open(tmp_path / DIFFUSERS_FILE, "pt") as file:
        assert file.metadata()["ss_network_alpha"] == "1.5"
    trained = dict(model.trainable())
    for key, weight in plain.items():
        layer = key.removesuffix(".base_layer.weight")
        down, up = (trained[f"{layer}.lora_{end}.default.weight"] for end in "AB")
        ours = weight + 1.5 / 4 * up @ down
        parts = (tensors[f"transformer.{layer}.lora_{end}.weight"] for end in "BA")
        by_hand = weight + torch.linalg.multi_dot(list(parts))
        torch.testing.assert_close(by_hand, ours, rtol=0, atol=1e-6)


def test_ltx_has_a_second_file_with_another_prefix(
    tiny_pipeline: Callable[[str], Path],
    make_diffusion: Callable[..., Any],
    perturb: Callable[..., None],
    tmp_path: Path,
) -> None:
    model = make_diffusion("ltx", rank=4, alpha=1.5)
    perturb(model)
    model.save(tmp_path)
    native, ours = (load_file(tmp_path / name) for name in (COMFYUI_FILE, DIFFUSERS_FILE))
    assert {key.replace("diffusion_model.", "transformer.", 1) for key in native} == ours.keys()
    pipeline = load_pipeline(str(tiny_pipeline("ltx")))
    pipeline.load_lora_weights(tmp_path, weight_name=COMFYUI_FILE)  # diffusers reads these names too
    other = adapter_of(pipeline)
    other.size = model.size
    torch.testing.assert_close(answer(other), answer(model), rtol=0, atol=1e-4)


def test_wan_has_a_second_file_with_the_names_of_its_authors(
    make_diffusion: Callable[..., Any], perturb: Callable[..., None], tmp_path: Path
) -> None:
    model = make_diffusion("wan", rank=4, alpha=1.5)
    perturb(model)
    model.save(tmp_path)
    native, ours = (load_file(tmp_path / name) for name in (COMFYUI_FILE, DIFFUSERS_FILE))
    layers = {key.removeprefix("diffusion_model.").rsplit(".lora_", 1)[0] for key in native}
    attention = {f"blocks.0.{one}_attn.{end}" for one in ("self", "cross") for end in "qkvo"}
    assert layers == attention and len(native) == len(ours) == 2 * len(attention)
    # back through diffusers' own converter of native files
    from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_wan_lora_to_diffusers

    back = _convert_non_diffusers_wan_lora_to_diffusers(dict(native))
    assert back.keys() == ours.keys()
    assert all(torch.equal(value, ours[key]) for key, value in back.items())
