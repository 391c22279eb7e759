"""Real pipelines of diffusion transformers at tiny size, with random weights: 16 x 16 pixels, 4 x 8 x 8 latents.

Layers that begin at zero get numbers, and moments of latents differ from 0 and 1, or comparisons would prove nothing.
"""

import inspect
import json
import re
import string
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

LETTERS = f"▁{string.ascii_letters}{string.digits}.,:;-'\"()!?"
STARTS, ENDS = "<|startoftext|>", "<|endoftext|>"
QWEN_SPECIALS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<think>", "</think>"),
)
QWEN_TEMPLATE = (
    "{%- for m in messages %}{{'<|im_start|>' + m.role + '\\n' + (m.content if m.content is string else "
    "m.content[0].text) + '<|im_end|>\\n'}}{%- endfor %}{%- if add_generation_prompt %}{{'<|im_start|>assistant\\n'}}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{'<think>\\n\\n</think>\\n\\n'}}{%- endif %}"
    "{%- endif %}"
)
MISTRAL_SPECIALS = [
    *("<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    *("[IMG]", "[IMG_BREAK]", "[IMG_END]"),
]
MISTRAL_TEMPLATE = (
    "{{'<s>'}}{%- for m in messages %}{%- if m.role == 'system' %}{{'[SYSTEM_PROMPT]' + m.content[0].text + "
    "'[/SYSTEM_PROMPT]'}}{%- else %}{{'[INST]' + m.content[0].text + '[/INST]'}}{%- endif %}{%- endfor %}"
)


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


def kl_vae(levels: int = 2, shift: float | None = 0.1159) -> Any:
    """An AutoencoderKL of 4 channels, whose latents are shifted and scaled; each level but one halves the sides."""
    from diffusers import AutoencoderKL

    kinds = {"down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels}
    quantless = {"use_quant_conv": False, "use_post_quant_conv": False}
    moments = {"shift_factor": shift, "scaling_factor": 0.3611}
    widths = (8, 16, 16, 16)[:levels]
    return AutoencoderKL(sample_size=16, block_out_channels=widths, norm_num_groups=4, **kinds, **quantless, **moments)


def flux(guidance: bool = True) -> Any:
    """FLUX.1-dev; without `guidance`, a network that takes none."""
    from diffusers import FluxPipeline, FluxTransformer2DModel

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
        scheduler=dynamic(shift=3.0),
    )


def stable_diffusion_3() -> Any:
    """SD 3.5: one block of two attentions, and the last one, which drops its text."""
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

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
        scheduler=static(3.0),
    )


def byte_pairs(specials: Sequence[str], texts: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary and the merges of a byte-level BPE in which the words of some texts are tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=list(specials), initial_alphabet=alphabet, min_frequency=1, show_progress=False
    )
    tokenizer.train_from_iterator([text for text in texts for _ in range(3)], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


@cache
def _qwen_words() -> tuple[dict[str, int], list[tuple[str, str]]]:
    from diffusers import QwenImagePipeline  # its instruction is 34 tokens of whole words

    source = inspect.getsource(QwenImagePipeline.__init__)
    instruction = re.search(r"system\\n(.*?)<\|im_end\|>", source)
    assert instruction is not None
    return byte_pairs(QWEN_SPECIALS, [instruction[1], "system", "user", "assistant", "think"])


def qwen_tokenizer() -> Any:
    """Qwen's tokenizer with a chat template."""
    from transformers import Qwen2Tokenizer

    vocabulary, merges = _qwen_words()
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        model_max_length=1024,
        additional_special_tokens=list(QWEN_SPECIALS[1:8]),
    )
    tokenizer.chat_template = QWEN_TEMPLATE
    return tokenizer


def gemma_tokenizer(length: int) -> Any:
    """Gemma's tokenizer with letters and bytes for words."""
    from transformers import GemmaTokenizer

    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
    words = [*specials, *(f"<0x{i:02X}>" for i in range(256)), *"▁", *string.ascii_lowercase]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = GemmaTokenizer(vocab=vocabulary, merges=[], model_max_length=length, padding_side="right")
    tokenizer.add_bos_token = True
    return tokenizer


def qwen3(kind: str, layers: int) -> Any:
    """Qwen3, 16 wide."""
    import transformers

    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": layers, **heads}
    config = transformers.Qwen3Config(vocab_size=2000, max_position_embeddings=1024, **sizes)
    return getattr(transformers, kind)(config)


def gemma2() -> Any:
    """Gemma 2, 8 wide."""
    from transformers import Gemma2Config, Gemma2Model

    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 4}
    config = Gemma2Config(hidden_size=8, intermediate_size=8, num_hidden_layers=2, vocab_size=300, **heads)
    return Gemma2Model(config)


def frame_vae(kind: str = "AutoencoderKLQwenImage", **options: Any) -> Any:
    """A VAE of frames with 4 channels, half as high and wide as its images."""
    import diffusers

    moments = {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [1.5, 2.0, 0.7, 1.0]}
    return getattr(diffusers, kind)(
        base_dim=12, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False], **moments, **options
    )


def dynamic(**options: Any) -> Any:
    """A scheduler of rectified flow whose shift grows with the image."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, **options)


def static(shift: float) -> Any:
    """A scheduler of rectified flow with one shift."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=shift)


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

    text = qwen3("Qwen3ForCausalLM", 28)
    parts = _flux2_parts(guidance=False)
    return Flux2KleinPipeline(**parts, text_encoder=text, tokenizer=qwen_tokenizer(), is_distilled=distilled)


def flux2() -> Any:
    """FLUX.2-dev, with a plain tokenizer for its processor, which needs torchvision."""
    from diffusers import Flux2Pipeline
    from diffusers.pipelines.flux2.system_messages import SYSTEM_MESSAGE
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration, PreTrainedTokenizerFast

    vocabulary, merges = byte_pairs(MISTRAL_SPECIALS, [SYSTEM_MESSAGE])
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        padding_side="left",
        additional_special_tokens=MISTRAL_SPECIALS[4:],
        model_max_length=2048,
    )
    tokenizer.chat_template = MISTRAL_TEMPLATE
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
        tokenizer=qwen_tokenizer(),
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
        tokenizer=qwen_tokenizer(),
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
        text_encoder=qwen3("Qwen3Model", 3),
        tokenizer=qwen_tokenizer(),
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
        text_encoder=t5(),
        tokenizer=t5_tokenizer(),
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
        text_encoder=gemma2(),
        tokenizer=gemma_tokenizer(300),
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
        text_encoder=t5(),
        tokenizer=t5_tokenizer(),
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
        text_encoder=gemma2(),
        tokenizer=gemma_tokenizer(256),
        scheduler=static(6.0),
    )


def wan(expand: bool = False) -> Any:
    """Wan 2.1; with `expand`, a time for each token, as TI2V-5B of 2.2."""
    from diffusers import UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    options = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    return WanPipeline(
        transformer=WanTransformer3DModel(
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
        ),
        transformer_2=None,
        vae=frame_vae("AutoencoderKLWan", scale_factor_spatial=2),
        text_encoder=UMT5EncoderModel(
            UMT5Config(vocab_size=80, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
        ),
        tokenizer=t5_tokenizer(),
        expand_timesteps=expand,
        scheduler=UniPCMultistepScheduler(**options),
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
}


def built(name: str) -> Any:
    """The pipeline of a family, the same at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = BUILDERS[name]()
    generator = torch.Generator().manual_seed(1)
    for name, weight in pipeline.transformer.named_parameters():
        if weight.abs().max() == 0 or not weight.isfinite().all() or name.endswith("pad_token"):
            weight.data = 0.05 * torch.randn(weight.shape, generator=generator)
    return pipeline
