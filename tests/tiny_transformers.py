"""Real pipelines of diffusion transformers at tiny size, with random weights: 16 x 16 pixels, 4 x 8 x 8 latents.

Layers that begin at zero get numbers, and moments of latents differ from 0 and 1, or comparisons would prove nothing.
"""

import string
from collections.abc import Callable
from typing import Any

import torch

LETTERS = f"▁{string.ascii_letters}{string.digits}.,:;-'\"()!?"
STARTS, ENDS = "<|startoftext|>", "<|endoftext|>"


def clip_tokenizer(pad: str = ENDS) -> Any:
    """CLIP's tokenizer with letters for words: 54 tokens, 8 places."""
    from transformers import CLIPTokenizer

    words = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase), STARTS, ENDS]
    vocabulary = {word: i for i, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=8, pad_token=pad)


def t5_tokenizer() -> Any:
    """T5's tokenizer with letters for words."""
    from transformers import T5Tokenizer

    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((letter, -4.0) for letter in LETTERS)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=512)


def clip(tokenizer: Any, projected: bool = False, **options: Any) -> Any:
    """A text encoder of CLIP with three layers, 16 wide."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = {"vocab_size": len(tokenizer), "max_position_embeddings": 8, **sizes, **ids, **options}
    return kind(CLIPTextConfig(**config))


def t5(width: int = 32) -> Any:
    """T5's encoder with two layers."""
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=80, d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=4))


def kl_vae(**options: Any) -> Any:
    """An AutoencoderKL of 4 channels, half as high and wide as its images, whose latents are shifted and scaled."""
    from diffusers import AutoencoderKL

    kinds = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    quantless = {"use_quant_conv": False, "use_post_quant_conv": False}
    moments = {"shift_factor": 0.1159, "scaling_factor": 0.3611}
    return AutoencoderKL(
        sample_size=16, block_out_channels=(8, 16), norm_num_groups=4, **kinds, **quantless, **moments, **options
    )


def flux(guidance: bool = True) -> Any:
    """FLUX.1-dev; without `guidance`, a network that takes none."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    tokenizer = clip_tokenizer()
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
        text_encoder=clip(tokenizer),
        text_encoder_2=t5(),
        tokenizer=tokenizer,
        tokenizer_2=t5_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    )


def stable_diffusion_3() -> Any:
    """SD 3.5: one block of two attentions, and the last one, which drops its text."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    first, second = clip_tokenizer(), clip_tokenizer(pad="a</w>")
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
        text_encoder=clip(first, projected=True, projection_dim=16),
        text_encoder_2=clip(second, projected=True, projection_dim=16),
        text_encoder_3=t5(40),
        tokenizer=first,
        tokenizer_2=second,
        tokenizer_3=t5_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


BUILDERS: dict[str, Callable[[], Any]] = {"flux": flux, "sd3": stable_diffusion_3}


def built(name: str) -> Any:
    """The pipeline of a family, the same at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = BUILDERS[name]()
    generator = torch.Generator().manual_seed(1)
    for weight in pipeline.transformer.parameters():
        if weight.abs().max() == 0 or not weight.isfinite().all():
            weight.data = 0.05 * torch.randn(weight.shape, generator=generator)
    return pipeline
