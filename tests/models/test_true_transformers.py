"""The transformers of published models, without values: their sizes, and the layers of their LoRAs."""

import json
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from thumbtune.models.families import ADAPTERS, FAMILIES, family_of
from thumbtune.models.lora import LoRA, put_on
from thumbtune.models.lora_targets import targeted, written_out
from thumbtune.runs.text_length import cut_prompts

FEED_FORWARD = "attention-and-feed-forward"
SD3: dict[str, Any] = {"sample_size": 128, "patch_size": 2, "in_channels": 16, "out_channels": 16}
SD3 |= {"joint_attention_dim": 4096, "pooled_projection_dim": 2048, "pos_embed_max_size": 192}
SD35_MEDIUM = {"qk_norm": "rms_norm", "dual_attention_layers": tuple(range(13)), "pos_embed_max_size": 384}
KLEIN: dict[str, Any] = {"guidance_embeds": False}
PIXART = {"sample_size": 128, "out_channels": 8}
# family, options of its class, set, weights in billions, layers of the LoRA, millions of its weights at rank 16.
# The options are those of diffusers' conversion scripts, else the defaults of the class.
PUBLISHED: dict[str, tuple[str, dict[str, Any], str, float, int, float]] = {
    "SD 3 medium": (
        "Stable Diffusion 3",
        {**SD3, "num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536},
        "attention",
        2.03,
        191,
        9.4,
    ),
    "SD 3.5 medium": (
        "Stable Diffusion 3",
        {**SD3, "num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536, **SD35_MEDIUM},
        "attention",
        2.24,
        191,
        9.4,
    ),
    "SD 3.5 large": (
        "Stable Diffusion 3",
        {**SD3, "num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432, "qk_norm": "rms_norm"},
        "attention",
        8.06,
        303,
        23.6,
    ),
    "FLUX.1-dev": ("FLUX.1", {"guidance_embeds": True}, FEED_FORWARD, 11.90, 342, 44.8),
    "Chroma": ("Chroma", {}, "attention", 8.90, 266, 26.1),
    "FLUX.2-dev": ("FLUX.2", {}, "attention", 32.22, 128, 77.1),
    "Klein 4B": (
        "FLUX.2 Klein",
        {**KLEIN, "num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "joint_attention_dim": 7680},
        "attention",
        3.88,
        60,
        16.7,
    ),
    "Klein 9B": (
        "FLUX.2 Klein",
        {**KLEIN, "num_layers": 8, "num_single_layers": 24, "num_attention_heads": 32, "joint_attention_dim": 12288},
        "attention",
        9.08,
        80,
        27.8,
    ),
    "Qwen-Image": ("Qwen-Image", {}, "attention", 20.43, 240, 23.6),
    "Z-Image": ("Z-Image", {}, "attention", 6.16, 136, 16.7),
    "Krea 2": ("Krea 2", {}, FEED_FORWARD, 12.82, 224, 46.4),
    "Wan 1.3B": ("Wan", {"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960}, "attention", 1.42, 240, 11.8),
    "Wan 14B": ("Wan", {}, "attention", 14.29, 320, 52.4),
    "LTX-Video 0.9": ("LTX-Video", {}, "attention", 1.92, 224, 14.7),
    "Sana 1.6B": ("Sana", {}, "attention", 1.60, 120, 8.6),
    "PixArt-Sigma": (
        "PixArt-Sigma",
        {
            "sample_size": 128,
            "out_channels": 8,
            "num_layers": 28,
            "cross_attention_dim": 1152,
            "caption_channels": 4096,
        },
        "attention",
        0.61,
        224,
        8.3,
    ),
    "Lumina-Image 2.0": ("Lumina-Image 2.0", {}, "attention", 2.61, 120, 7.4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_transformer_has_the_known_size_and_layers(name: str) -> None:
    family_name, options, targets, billions, layers, millions = PUBLISHED[name]
    family = next(family for family in FAMILIES if family.name == family_name)
    with torch.device("meta"):
        network = getattr(diffusers, family.networks["transformer"])(**options)
        assert sum(weight.numel() for weight in network.parameters()) / 1e9 == pytest.approx(billions, abs=0.006)
        put_on(network, LoRA(rank=16, targets=family.targets[targets]))
    trained = {key: weight for key, weight in network.named_parameters() if weight.requires_grad}
    assert len(trained) == 2 * layers
    assert sum(weight.numel() for weight in trained.values()) / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family.denoiser == "transformer"], ids=str)
def test_every_set_names_layers_that_are_there(family: Any) -> None:
    options = next(options for name, options, *_ in PUBLISHED.values() if name == family.name)
    with torch.device("meta"):
        network = getattr(diffusers, family.networks["transformer"])(**options)
    for targets in family.targets.values():
        for target in targets:
            assert targeted(network, written_out(network, [target])), target


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.family.name)
def test_the_defaults_of_drawing_are_those_of_the_pipeline(adapter: Any) -> None:
    family = adapter.family
    defaults = signature(getattr(diffusers, family.pipeline).__call__).parameters
    assert family.steps == defaults["num_inference_steps"].default
    told = adapter.guided(None, family.guidance)
    for name in ("true_cfg_scale", "guidance_scale"):
        if name in told:
            assert told[name] == defaults[name].default


@pytest.mark.parametrize("name", ["flux", "sd3", "qwen-image", "sana", "wan", "klein", "ltx"])
def test_prompts_are_cut_where_the_family_ends(name: str, tiny_pipeline: Callable[[str], Path]) -> None:
    folder = tiny_pipeline(name)
    family = family_of(json.loads((folder / "model_index.json").read_text())["_class_name"])
    assert family.reads is not None
    long = "x " * family.reads[1]
    found = cut_prompts(str(folder), ["a cat", "a word " * min(20, family.reads[1] // 8), f"{long} one", f"{long} two"])
    assert found.length == family.reads[1] and found.cut == (f"{long} one", f"{long} two")
    assert found.same_as == {f"{long} two": f"{long} one"}
