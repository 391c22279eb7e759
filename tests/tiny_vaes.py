"""Real VAEs and schedulers of rectified flow at tiny size."""

from typing import Any


def kl_vae(levels: int = 2, shift: float | None = 0.1159) -> Any:
    """An AutoencoderKL of 4 channels, whose latents are shifted and scaled; each level but one halves the sides."""
    from diffusers import AutoencoderKL

    kinds = {"down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels}
    quantless = {"use_quant_conv": False, "use_post_quant_conv": False}
    moments = {"shift_factor": shift, "scaling_factor": 0.3611}
    widths = (8, 16, 16, 16)[:levels]
    return AutoencoderKL(sample_size=16, block_out_channels=widths, norm_num_groups=4, **kinds, **quantless, **moments)


def frame_vae(kind: str = "AutoencoderKLQwenImage", **options: Any) -> Any:
    """A VAE of frames with 4 channels, half as high and wide as its images."""
    import diffusers

    moments = {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [1.5, 2.0, 0.7, 1.0]}
    plain = {"dim_mult": [1, 2], "temperal_downsample": [False]}
    return getattr(diffusers, kind)(base_dim=12, z_dim=4, num_res_blocks=1, **{**plain, **moments, **options})


def ltx_vae(**options: Any) -> Any:
    """The VAE of LTX-Video with 4 channels, a quarter as high and wide as its images."""
    import torch
    from diffusers import AutoencoderKLLTXVideo

    plain = {"decoder_inject_noise": (False,) * 5, "upsample_residual": (False,) * 4, "upsample_factor": (1,) * 4}
    vae = AutoencoderKLLTXVideo(
        latent_channels=4,
        block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 4,
        layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5,
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        patch_size=1,
        **{**plain, **options},
    )
    vae.latents_mean.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0]))
    vae.latents_std.copy_(torch.tensor([1.5, 2.0, 0.7, 1.0]))
    return vae


def dynamic(**options: Any) -> Any:
    """A scheduler of rectified flow whose shift grows with the image."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, **options)


def static(shift: float) -> Any:
    """A scheduler of rectified flow with one shift."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=shift)
