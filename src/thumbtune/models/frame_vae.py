"""VAEs that read frames, as those of Wan and Qwen-Image: an image is one frame, and each channel has its moments."""

from typing import Any

import torch
from torch import Tensor

from thumbtune.models.drawing import decoded


def frame_mean(vae: Any, pixels: Tensor) -> Tensor:
    """Return the latents of images, [b, 3, height, width], as [b, channels, height / f, width / f]."""
    return vae.encode(pixels.unsqueeze(2)).latent_dist.mean[:, :, 0]


def frame_moments(vae: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return what latents are shifted by and then multiplied with, [1, channels, 1, 1]."""
    mean, deviation = (
        torch.tensor(list(each), device=device).view(1, -1, 1, 1)
        for each in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, 1 / deviation


def frame_pixels(vae: Any, latents: Tensor, moments: tuple[Tensor, Tensor], half: torch.dtype | None = None) -> Tensor:
    """Return the pixels of images' latents, [b, 3, height, width]; `half` is the type of the VAE's weights."""
    shift, scale = moments
    return decoded(vae, (latents.float() / scale + shift).unsqueeze(2), half)[:, :, 0]
