"""VAEs that read frames, as those of Wan and Qwen-Image: an image is one frame, and each channel has its moments.

images   pixels [b, 3, height, width]            latents [b, channels, height / s, width / s]
clips    pixels [b, 3, frames, height, width]    latents [b, channels, 1 + (frames - 1) / t, height / s, width / s]
"""

from typing import Any

import torch
from torch import Tensor

from thumbtune.models.drawing import decoded

AXES = 5  # of clips
FRAMES = 2  # the axis of frames


def as_clips(values: Tensor) -> Tensor:
    """Return images, [b, c, height, width], as clips of one frame, [b, c, 1, height, width]; clips unchanged."""
    return values if values.dim() == AXES else values.unsqueeze(FRAMES)


def as_given(values: Tensor, given: Tensor) -> Tensor:
    """Return clips in the form of those that were given: images again, if these were images."""
    return values if given.dim() == AXES else values[:, :, 0]


def frame_mean(vae: Any, pixels: Tensor) -> Tensor:
    """Return the latents of the pixels of images or clips."""
    return as_given(vae.encode(as_clips(pixels)).latent_dist.mean, pixels)


def frame_moments(vae: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return what latents are shifted by and then multiplied with, [1, channels, 1, 1]."""
    mean, deviation = (
        torch.tensor(list(each), device=device).view(1, -1, 1, 1)
        for each in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, 1 / deviation


def fitting(moment: Any, latents: Tensor) -> Any:
    """Return a number, or one for each channel [1, channels, 1, 1], with the axes of latents.

    >>> fitting(torch.zeros(1, 16, 1, 1), torch.zeros(2, 16, 5, 8, 8)).shape
    torch.Size([1, 16, 1, 1, 1])
    """
    return moment.unsqueeze(FRAMES) if isinstance(moment, Tensor) and latents.dim() == AXES else moment


def frame_pixels(vae: Any, latents: Tensor, moments: tuple[Tensor, Tensor], half: torch.dtype | None = None) -> Tensor:
    """Return the pixels of the latents of images or clips; `half` is the type of the VAE's weights."""
    shift, scale = (fitting(moment, latents) for moment in moments)
    return as_given(decoded(vae, as_clips(latents.float() / scale + shift), half), latents)
