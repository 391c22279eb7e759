"""The published architecture of each family of transformers: settings without weights, by the name of a model.

The options are those of diffusers' conversion scripts and of the published files of text encoders; an option that is
left out has the default of its class.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Config = dict[str, Any]
CLIP_L: Config = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_L |= {"projection_dim": 768}
CLIP_G: Config = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
CLIP_G |= {"projection_dim": 1280}
T5_XXL: Config = {"vocab_size": 32128, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
T5_XXL |= {"feed_forward_proj": "gated-gelu"}
UMT5_XXL: Config = {**T5_XXL, "vocab_size": 256384}
QWEN3_4B: Config = {"vocab_size": 151936, "head_dim": 128, "num_key_value_heads": 8, "tie_word_embeddings": True}
QWEN3_4B |= {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32}
QWEN3_8B: Config = {**QWEN3_4B, "tie_word_embeddings": False, "hidden_size": 4096, "intermediate_size": 12288}
GEMMA2_2B: Config = {"hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8}
GEMMA2_2B |= {"num_key_value_heads": 4, "head_dim": 256, "vocab_size": 256000}
QWEN25_VL: Config = {
    "text_config": {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
    "vision_config": {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 3584},
}
QWEN3_VL: Config = {
    "text_config": {**QWEN3_4B, "rope_parameters": {"mrope_section": [24, 20, 20], "rope_type": "default"}},
    "vision_config": {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "out_hidden_size": 2560},
}
QWEN3_VL["text_config"]["rope_parameters"]["rope_theta"] = 5e6
MISTRAL_24B: Config = {
    "text_config": {
        "model_type": "mistral",
        "vocab_size": 131072,
        "hidden_size": 5120,
        "intermediate_size": 32768,
        "num_hidden_layers": 40,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
    "vision_config": {"model_type": "pixtral"},
}
KL: Config = {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "norm_num_groups": 32}
KL |= {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
KL4: Config = {**KL, "latent_channels": 4, "use_quant_conv": True, "use_post_quant_conv": True}
KL16: Config = {**KL, "latent_channels": 16}
SD3: Config = {"sample_size": 128, "patch_size": 2, "in_channels": 16, "out_channels": 16, "joint_attention_dim": 4096}
SD3 |= {"pooled_projection_dim": 2048, "num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536}
SD3 |= {"attention_head_dim": 64, "pos_embed_max_size": 192, "qk_norm": None, "dual_attention_layers": []}
SD35: Config = {**SD3, "qk_norm": "rms_norm"}
SD35_LARGE: Config = {**SD35, "num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432}
TEXTS_OF_SD3 = {"text_encoder": CLIP_L, "text_encoder_2": CLIP_G, "text_encoder_3": T5_XXL}
KLEIN: Config = {"guidance_embeds": False}
PIXART: Config = {"sample_size": 128, "out_channels": 8, "num_layers": 28, "cross_attention_dim": 1152}
PIXART |= {"caption_channels": 4096, "norm_type": "ada_norm_single", "norm_elementwise_affine": False}
PIXART |= {"norm_eps": 1e-6, "use_additional_conditions": False}
WAN_SMALL: Config = {"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960}


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model: the name of its family in tests/tiny_transformers.py, and the settings of its networks."""

    tiny: str
    transformer: Config = field(default_factory=dict)
    vae: Config = field(default_factory=dict)
    texts: Mapping[str, Config]
    size: int = 1024  # pixels to a side
    targets: str = "attention"
    index: Config = field(default_factory=dict)  # of model_index.json

    def configs(self) -> dict[str, Config]:
        """Return the settings of each network, by its part."""
        both = ("transformer", "transformer_2") if self.tiny == "wan-experts" else ("transformer",)
        return {**dict.fromkeys(both, self.transformer), "vae": self.vae, **self.texts}


MODELS: dict[str, Published] = {
    "SD 3 medium": Published(tiny="sd3", transformer=SD3, vae=KL16, texts=TEXTS_OF_SD3),
    "SD 3.5 medium": Published(
        tiny="sd3",
        transformer={**SD35, "dual_attention_layers": list(range(13)), "pos_embed_max_size": 384},
        vae=KL16,
        texts=TEXTS_OF_SD3,
    ),
    "SD 3.5 large": Published(tiny="sd3", transformer=SD35_LARGE, vae=KL16, texts=TEXTS_OF_SD3),
    "FLUX.1-dev": Published(
        tiny="flux",
        transformer={"guidance_embeds": True},
        vae=KL16,
        texts={"text_encoder": CLIP_L, "text_encoder_2": T5_XXL},
        targets="attention-and-feed-forward",
    ),
    "Klein 4B": Published(
        tiny="klein",
        transformer={
            **KLEIN,
            "num_layers": 5,
            "num_single_layers": 20,
            "num_attention_heads": 24,
            "joint_attention_dim": 7680,
        },
        texts={"text_encoder": QWEN3_4B},
    ),
    "Klein 9B": Published(
        tiny="klein",
        transformer={
            **KLEIN,
            "num_layers": 8,
            "num_single_layers": 24,
            "num_attention_heads": 32,
            "joint_attention_dim": 12288,
        },
        texts={"text_encoder": QWEN3_8B},
    ),
    "FLUX.2-dev": Published(tiny="flux2", texts={"text_encoder": MISTRAL_24B}),
    "Krea 2": Published(
        tiny="krea2",
        texts={"text_encoder": QWEN3_VL},
        index={"text_encoder_select_layers": [2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 32, 35]},
    ),
    "Z-Image": Published(tiny="z-image", vae=KL16, texts={"text_encoder": QWEN3_4B}),
    "Qwen-Image": Published(tiny="qwen-image", texts={"text_encoder": QWEN25_VL}),
    "Chroma": Published(tiny="chroma", vae=KL16, texts={"text_encoder": T5_XXL}),
    "Sana 1.6B": Published(tiny="sana", texts={"text_encoder": GEMMA2_2B}),
    "PixArt-Sigma": Published(tiny="pixart", transformer=PIXART, vae=KL4, texts={"text_encoder": T5_XXL}),
    "Lumina-Image 2.0": Published(
        tiny="lumina2", transformer={"cap_feat_dim": 2304}, vae=KL16, texts={"text_encoder": GEMMA2_2B}
    ),
    "Wan 1.3B": Published(tiny="wan", transformer=WAN_SMALL, texts={"text_encoder": UMT5_XXL}, size=480),
    "Wan 14B": Published(tiny="wan", texts={"text_encoder": UMT5_XXL}, size=480),
    "Wan 2.2 A14B": Published(tiny="wan-experts", texts={"text_encoder": UMT5_XXL}, size=480),
    "LTX-Video 0.9": Published(tiny="ltx", texts={"text_encoder": T5_XXL}, size=512),
}


def write_published(folder: Path, name: str) -> Path:
    """Write the settings of a published model beside the tokenizers of its tiny sibling; return the folder.

    The weights there are those of the sibling: nothing can load this folder, and what counts it reads no weights.
    """
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    import tiny_transformers  # pyright: ignore[reportMissingImports]

    model = MODELS[name]
    pipeline = tiny_transformers.BUILDERS[model.tiny]()
    pipeline.save_pretrained(folder)
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | model.index))
    for part, options in model.configs().items():
        network = getattr(pipeline, part)
        kept = {"_class_name": type(network).__name__} if part not in model.texts else {}
        config = kept | options
        if not kept:
            told = json.loads((folder / part / "config.json").read_text())
            config = {"architectures": told["architectures"], "model_type": told["model_type"], **options}
        (folder / part / "config.json").write_text(json.dumps(config))
    return folder
