"""The original layout: diffusers' own reader gets back each tensor, at tiny and at true size."""

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.loaders import single_file_utils as theirs
from test_lora_kinds import unet_of
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from thumbtune.models import original_layout as layout
from thumbtune.models.lora_targets import CONVOLUTIONS, targeted


def numbered(network: nn.Module) -> dict[str, Tensor]:
    """Each tensor in its shape, all of one own number, in a byte a value and no memory for it."""
    state = network.state_dict()
    return {name: torch.tensor(float(i)).expand(value.shape) for i, (name, value) in enumerate(state.items())}


def same(back: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    assert back.keys() == tensors.keys()
    for name, value in tensors.items():
        assert back[name].shape == value.shape and back[name].flatten()[0] == value.flatten()[0], name


@pytest.mark.parametrize(("family", "count"), [("SD 1.5", 686), ("SD 2.1", 686), ("SDXL", 1680)])
def test_a_unet_at_true_size_comes_back_tensor_by_tensor(family: str, count: int) -> None:
    unet = unet_of(family)
    tensors = numbered(unet)
    written = layout.unet(tensors)
    assert len(written) == len(tensors) == count
    assert written["model.diffusion_model.input_blocks.4.0.skip_connection.weight"].shape == (640, 320, 1, 1)
    same(theirs.convert_ldm_unet_checkpoint(dict(written), unet.config), tensors)


def test_a_vae_at_true_size_comes_back_tensor_by_tensor() -> None:
    config: dict[str, Any] = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}
    config |= {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    with torch.device("meta"):
        vae = AutoencoderKL(**config)
    tensors = numbered(vae)
    written = layout.vae(tensors)
    assert len(written) == 248
    assert written["first_stage_model.decoder.mid.attn_1.q.weight"].shape == (512, 512, 1, 1)
    same(theirs.convert_ldm_vae_checkpoint(dict(written), vae.config), tensors)


def text_encoder(second: bool) -> Any:
    first: dict[str, Any] = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    }
    sizes: dict[str, Any] = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
    }
    with torch.device("meta"):
        return CLIPTextModel(CLIPTextConfig(**(sizes if second else first)))


def test_the_text_encoder_of_sd_1_comes_back_tensor_by_tensor() -> None:
    tensors = numbered(text_encoder(second=False))
    written = layout.clip(tensors)
    assert "cond_stage_model.transformer.text_model.encoder.layers.11.mlp.fc2.bias" in written and len(written) == 196
    back = theirs.convert_ldm_clip_checkpoint(dict(written))
    same({name.removeprefix("text_model."): value for name, value in back.items()}, tensors)


def test_the_text_encoder_of_sd_2_comes_back_tensor_by_tensor() -> None:
    model = text_encoder(second=True)
    tensors = numbered(model)
    written = layout.open_clip(tensors)
    assert written["cond_stage_model.model.transformer.resblocks.22.attn.in_proj_weight"].shape == (3072, 1024)
    assert written["cond_stage_model.model.positional_embedding"].shape == (77, 1024)
    back = theirs.convert_open_clip_checkpoint(model, dict(written))
    same({name.removeprefix("text_model."): value for name, value in back.items()}, tensors)


@pytest.mark.parametrize(("family", "count"), [("SD 1.5", 278), ("SD 2.1", 278), ("SDXL", 788)])
def test_every_layer_with_a_lora_has_a_place_in_the_original_unet(family: str, count: int) -> None:
    """ComfyUI and A1111 find kohya's names through this table; a layer without a name there would be left out."""
    unet = unet_of(family)
    names = dict.fromkeys(unet.state_dict())
    places = {layout.unet_name(f"{layer}.weight", names) for layer in targeted(unet, CONVOLUTIONS)}
    assert len(places) == count
    own = layout.unet_modules(name for name, _ in unet.named_modules())
    assert {own(layer) + ".weight" for layer in targeted(unet, CONVOLUTIONS)} == places
    assert all(place.startswith(("input_blocks.", "middle_block.", "output_blocks.")) for place in places)


def test_a_layer_of_another_family_has_no_name() -> None:
    with pytest.raises(KeyError, match="class_embedding"):
        layout.unet({"class_embedding.linear_1.weight": torch.zeros(1)})
