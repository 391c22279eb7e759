"""Networks that are stored in 16 bits are loaded so, and then give the numbers of those that are loaded in float32."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from thumbtune.models.families import adapter_of
from thumbtune.models.half import CAST
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora import LoRA


@pytest.fixture
def stored(tiny_pipeline: Callable[[str], Path], tmp_path: Path) -> Callable[[str, torch.dtype], str]:
    """Return a function that stores a tiny model in a type."""

    def made(kind: str, dtype: torch.dtype) -> str:
        pipeline = load_pipeline(str(tiny_pipeline(kind)))
        pipeline.to(dtype=dtype).save_pretrained(tmp_path / "model")
        return str(tmp_path / "model")

    return made


def values_of(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in network.state_dict().items() if "lora_" not in name}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["epsilon", "xl-epsilon", "sd3", "z-image"])
def test_no_number_differs_from_loading_in_float32(stored: Any, kind: str, dtype: torch.dtype) -> None:
    name = stored(kind, dtype)
    loaded = load_pipeline(name, None)
    assert {part.dtype for part in loaded.components.values() if isinstance(part, nn.Module)} >= {dtype}
    one, other = (adapter_of(p, LoRA(rank=2), half=torch.bfloat16) for p in (loaded, load_pipeline(name)))
    for part in (one.family.denoiser, "vae", *one.family.texts):
        found, expected = (values_of(getattr(model.pipeline, part)) for model in (one, other))
        assert found.keys() == expected.keys()
        for key, value in found.items():
            assert value.dtype == expected[key].dtype and torch.equal(value, expected[key]), f"{part} {key}"
    for (name_of, found), (_, expected) in zip(one.trainable(), other.trainable(), strict=True):
        assert found.dtype == torch.float32 and torch.equal(found, expected), name_of
    assert one.fingerprint() == other.fingerprint()


@pytest.mark.parametrize("kind", ["epsilon", "flux"])
def test_layers_that_autocast_casts_are_in_its_type_and_all_others_in_float32(stored: Any, kind: str) -> None:
    model = adapter_of(load_pipeline(stored(kind, torch.float16), None), LoRA(rank=2), half=torch.bfloat16)
    for layer in model.network.modules():
        for weight in layer.parameters(recurse=False):
            is_cast = isinstance(layer, CAST) and not weight.requires_grad
            assert weight.dtype == (torch.bfloat16 if is_cast else torch.float32)


def test_a_network_of_several_types_is_loaded_in_float32(stored: Any) -> None:
    from safetensors.torch import load_file, save_file

    name = stored("epsilon", torch.float16)
    file = Path(name) / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["conv_in.bias"] = tensors["conv_in.bias"].float()
    save_file(tensors, file, {"format": "pt"})
    pipeline = load_pipeline(name, None)
    assert (pipeline.unet.dtype, pipeline.text_encoder.dtype) == (torch.float32, torch.float16)
