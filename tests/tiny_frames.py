"""Real pipelines of transformers for clips at tiny size, with random weights: an image is one frame."""

from typing import Any

import tiny_texts as texts
from tiny_vaes import dynamic, frame_vae, ltx_vae

QUARTERS: dict[str, Any] = {"dim_mult": [1, 2, 2], "temperal_downsample": [True, True], "scale_factor_spatial": 4}


def _wan_transformer() -> Any:
    from diffusers import WanTransformer3DModel

    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=1,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )


def wan(expand: bool = False, boundary: float | None = None, clips: bool = False) -> Any:
    """Wan 2.1; with `expand`, a time for each token, as TI2V-5B of 2.2; with `boundary`, two networks, as A14B.

    clips: whether its VAE makes n + 1 of 4n + 1 frames, and a quarter of the sides; else it takes single ones
    """
    from diffusers import UniPCMultistepScheduler, WanPipeline
    from transformers import UMT5Config, UMT5EncoderModel

    options = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    return WanPipeline(
        transformer=_wan_transformer(),
        transformer_2=None if boundary is None else _wan_transformer(),
        boundary_ratio=boundary,
        vae=frame_vae("AutoencoderKLWan", **(QUARTERS if clips else {"scale_factor_spatial": 2})),
        text_encoder=UMT5EncoderModel(
            UMT5Config(vocab_size=80, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
        ),
        tokenizer=texts.t5_tokenizer(),
        expand_timesteps=expand,
        scheduler=UniPCMultistepScheduler(**options),
    )


def ltx(**vae: Any) -> Any:
    """LTX-Video 0.9.0, with other settings of its VAE if they are given."""
    from diffusers import LTXPipeline, LTXVideoTransformer3DModel

    return LTXPipeline(
        transformer=LTXVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=4,
            attention_head_dim=8,
            cross_attention_dim=32,
            num_layers=2,
            caption_channels=32,
        ),
        vae=ltx_vae(**vae),
        text_encoder=texts.t5(),
        tokenizer=texts.t5_tokenizer(),
        scheduler=dynamic(base_shift=0.95, max_shift=2.05, base_image_seq_len=1024),
    )
