"""Real pipelines of diffusion transformers at tiny size, with random weights: 16 x 16 pixels, 4 x 8 x 8 latents.

Layers that begin at zero get numbers, and moments of latents differ from 0 and 1, or comparisons would prove nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import tiny_texts as texts
import torch
from tiny_frames import ltx, wan
from tiny_vaes import dynamic, frame_vae, kl_vae, static


def flux(guidance: bool = True) -> Any:
    """FLUX.1-dev; without `guidance`, a network that takes none."""
    from diffusers import FluxPipeline, FluxTransformer2DModel

    tokenizer = texts.clip_tokenizer()
    return FluxPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=16,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=guidance,
        ),
        vae=kl_vae(),
        text_encoder=texts.clip(tokenizer),
        text_encoder_2=texts.t5(),
        tokenizer=tokenizer,
        tokenizer_2=texts.t5_tokenizer(),
        scheduler=dynamic(shift=3.0),
    )


def stable_diffusion_3() -> Any:
    """SD 3.5: one block of two attentions, and the last one, which drops its text."""
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    first, second = texts.clip_tokenizer(), texts.clip_tokenizer(pad="a</w>")
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=40,
            pooled_projection_dim=32,
            pos_embed_max_size=16,
            qk_norm="rms_norm",
            dual_attention_layers=(0,),
        ),
        vae=kl_vae(),
        text_encoder=texts.clip(first, projected=True, projection_dim=16),
        text_encoder_2=texts.clip(second, projected=True, projection_dim=16),
        text_encoder_3=texts.t5(40),
        tokenizer=first,
        tokenizer_2=second,
        tokenizer_3=texts.t5_tokenizer(),
        scheduler=static(3.0),
    )


def _flux2_parts(guidance: bool) -> dict[str, Any]:
    from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel

    vae = AutoencoderKLFlux2(
        sample_size=16,
        down_block_types=["DownEncoderBlock2D"],
        up_block_types=["UpDecoderBlock2D"],
        block_out_channels=(8,),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,
    )
    vae.bn.running_mean.copy_(torch.randn(16) * 0.3)
    vae.bn.running_var.copy_(torch.rand(16) + 0.5)
    transformer = Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        timestep_guidance_channels=256,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance,
    )
    return {"transformer": transformer, "vae": vae, "scheduler": dynamic(shift=3.0)}


def klein(distilled: bool = False) -> Any:
    """FLUX.2 Klein, whose text encoder has the 28 layers that it taps."""
    from diffusers import Flux2KleinPipeline

    text = texts.qwen3("Qwen3ForCausalLM", 28)
    parts = _flux2_parts(guidance=False)
    return Flux2KleinPipeline(**parts, text_encoder=text, tokenizer=texts.qwen_tokenizer(), is_distilled=distilled)


def flux2() -> Any:
    """FLUX.2-dev, with a plain tokenizer for its processor, which needs torchvision."""
    from diffusers import Flux2Pipeline
    from diffusers.pipelines.flux2.system_messages import SYSTEM_MESSAGE
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration

    tokenizer = texts.mistral_tokenizer([SYSTEM_MESSAGE])
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 31, **heads}
    text = {
        "model_type": "mistral",
        "vocab_size": 2100,
        "max_position_embeddings": 2048,
        "sliding_window": None,
        **sizes,
    }
    vision = {"model_type": "pixtral", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"intermediate_size": 16, "image_size": 28, "patch_size": 14}
    encoder = Mistral3ForConditionalGeneration(
        Mistral3Config(text_config=text, vision_config=vision, image_token_index=8)
    )
    return Flux2Pipeline(**_flux2_parts(guidance=True), text_encoder=encoder, tokenizer=tokenizer)


VISION = {"depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}


def qwen_image() -> Any:
    """Qwen-Image."""
    from diffusers import QwenImagePipeline, QwenImageTransformer2DModel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    text |= {"num_key_value_heads": 2, "vocab_size": 2000, "rope_theta": 1e6}
    text |= {"rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"}}
    return QwenImagePipeline(
        transformer=QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=3,
            joint_attention_dim=16,
            axes_dims_rope=(8, 4, 4),
        ),
        vae=frame_vae(),
        text_encoder=Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=VISION)),
        tokenizer=texts.qwen_tokenizer(),
        scheduler=dynamic(max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02),
    )


def krea2(distilled: bool = False) -> Any:
    """Krea 2, which stacks three layers of its text encoder."""
    from diffusers import Krea2Pipeline, Krea2Transformer2DModel
    from transformers import Qwen3VLConfig, Qwen3VLModel

    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    text |= {"num_key_value_heads": 2, "head_dim": 8, "vocab_size": 2000}
    text |= {"rope_parameters": {"mrope_section": [2, 1, 1], "rope_type": "default", "rope_theta": 1e4}}
    vision = {**VISION, "deepstack_visual_indexes": [0]}
    return Krea2Pipeline(
        transformer=Krea2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=32,
            timestep_embed_dim=8,
            text_hidden_dim=16,
            num_text_layers=3,
            text_num_attention_heads=2,
            text_num_key_value_heads=1,
            text_intermediate_size=16,
            num_layerwise_text_blocks=1,
            num_refiner_text_blocks=1,
            axes_dims_rope=(4, 2, 2),
            rope_theta=1000.0,
        ),
        vae=frame_vae(),
        text_encoder=Qwen3VLModel(Qwen3VLConfig(text_config=text, vision_config=vision)),
        tokenizer=texts.qwen_tokenizer(),
        text_encoder_select_layers=(0, 1, 2),
        is_distilled=distilled,
        scheduler=dynamic(max_image_seq_len=6400),
    )


def z_image() -> Any:
    """Z-Image."""
    from diffusers import ZImagePipeline, ZImageTransformer2DModel

    return ZImagePipeline(
        transformer=ZImageTransformer2DModel(
            all_patch_size=(2,),
            all_f_patch_size=(1,),
            in_channels=4,
            dim=32,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            qk_norm=True,
            cap_feat_dim=16,
            rope_theta=256.0,
            t_scale=1000.0,
            axes_dims=[8, 4, 4],
            axes_lens=[1024, 32, 32],
        ),
        vae=kl_vae(),
        text_encoder=texts.qwen3("Qwen3Model", 3),
        tokenizer=texts.qwen_tokenizer(),
        scheduler=static(3.0),
    )


def chroma() -> Any:
    """Chroma."""
    from diffusers import ChromaPipeline, ChromaTransformer2DModel

    return ChromaPipeline(
        transformer=ChromaTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            axes_dims_rope=(4, 4, 8),
            approximator_hidden_dim=32,
            approximator_layers=1,
            approximator_num_channels=16,
        ),
        vae=kl_vae(),
        text_encoder=texts.t5(),
        tokenizer=texts.t5_tokenizer(),
        scheduler=static(1.0),
    )


def sana() -> Any:
    """Sana, with an autoencoder that halves the sides of images."""
    from diffusers import AutoencoderDC, SanaPipeline, SanaTransformer2DModel

    blocks = {f"{side}coder_block_types": ("ResBlock", "EfficientViTBlock") for side in ("en", "de")}
    blocks |= {f"{side}coder_block_out_channels": (8, 8) for side in ("en", "de")}
    blocks |= {f"{side}coder_qkv_multiscales": ((), (5,)) for side in ("en", "de")}
    blocks |= {f"{side}coder_layers_per_block": (1, 1) for side in ("en", "de")}
    return SanaPipeline(
        transformer=SanaTransformer2DModel(
            patch_size=1,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=8,
            num_cross_attention_heads=2,
            cross_attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=8,
            sample_size=8,
        ),
        vae=AutoencoderDC(
            in_channels=3,
            latent_channels=4,
            attention_head_dim=2,
            downsample_block_type="conv",
            upsample_block_type="interpolate",
            decoder_norm_types="rms_norm",
            decoder_act_fns="silu",
            scaling_factor=0.41407,
            **blocks,
        ),
        text_encoder=texts.gemma2(),
        tokenizer=texts.gemma_tokenizer(300),
        scheduler=static(3.0),
    )


def pixart() -> Any:
    """PixArt-Sigma, which predicts noise and a variance."""
    from diffusers import DDIMScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    return PixArtSigmaPipeline(
        transformer=PixArtTransformer2DModel(
            sample_size=8,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=3,
            caption_channels=32,
            in_channels=4,
            out_channels=8,
            cross_attention_dim=24,
            norm_type="ada_norm_single",
            norm_elementwise_affine=False,
            norm_eps=1e-6,
            use_additional_conditions=False,
        ),
        vae=kl_vae(shift=None),
        text_encoder=texts.t5(),
        tokenizer=texts.t5_tokenizer(),
        scheduler=DDIMScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear"),
    )


def lumina2() -> Any:
    """Lumina-Image 2.0, whose pipeline takes a VAE of eight pixels a side for granted."""
    from diffusers import Lumina2Pipeline, Lumina2Transformer2DModel

    return Lumina2Pipeline(
        transformer=Lumina2Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            hidden_size=24,
            num_layers=1,
            num_refiner_layers=1,
            num_attention_heads=3,
            num_kv_heads=1,
            multiple_of=16,
            axes_dim_rope=(4, 2, 2),
            axes_lens=(600, 64, 64),
            cap_feat_dim=8,
        ),
        vae=kl_vae(levels=4),
        text_encoder=texts.gemma2(),
        tokenizer=texts.gemma_tokenizer(256),
        scheduler=static(6.0),
    )


BUILDERS: dict[str, Callable[[], Any]] = {
    "flux": flux,
    "sd3": stable_diffusion_3,
    "klein": klein,
    "flux2": flux2,
    "qwen-image": qwen_image,
    "krea2": krea2,
    "z-image": z_image,
    "chroma": chroma,
    "sana": sana,
    "pixart": pixart,
    "lumina2": lumina2,
    "wan": wan,
    "wan-experts": partial(wan, boundary=0.875),
    "ltx": ltx,
}
# of clips: VAEs that make 2 frames of 5
CLIP_BUILDERS: dict[str, Callable[[], Any]] = {
    "wan-clips": partial(wan, clips=True),
    "wan-5b-clips": partial(wan, expand=True, clips=True),
    "wan-experts-clips": partial(wan, boundary=0.875, clips=True),
    "ltx": ltx,
}


def built(name: str) -> Any:
    """The pipeline of a family, the same at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = (BUILDERS | CLIP_BUILDERS)[name]()
    generator = torch.Generator().manual_seed(1)
    networks = (pipeline.transformer, getattr(pipeline, "transformer_2", None))
    weights = [pair for network in networks if network is not None for pair in network.named_parameters()]
    for key, weight in weights:
        if weight.abs().max() == 0 or not weight.isfinite().all() or key.endswith("pad_token"):
            weight.data = 0.05 * torch.randn(weight.shape, generator=generator)
    return pipeline
