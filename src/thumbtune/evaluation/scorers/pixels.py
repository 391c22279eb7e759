"""The two preprocessings of images for scorers; scores depend on every rounding here.

    clip_pixels   shortest side to 224 (bicubic, PIL, 8 bits) -> centre crop -> normalise       OpenAI CLIP, most others
    hps_pixels    longest side to 224 (bicubic, floats, antialiased) -> black borders -> normalise  HPS v2

The crop removes the sides of a wide image and the borders do not, so the two differ for images that are not square.
A library's processor is not used: it chooses its backend by what is installed.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, pad

from thumbtune.images import rgb

SIZE = 224
# of each channel in 0..1, over CLIP's training images (Radford et al. 2021)
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def clip_pixels(images: Sequence[Image.Image], size: int = SIZE) -> Float[Tensor, "b 3 size size"]:
    """Return images as CLIP and BLIP read them: shortest side resized, centre cropped, normalised."""
    return _normalised(torch.stack([_floats(_centre_crop(rgb(image), size)) for image in images]))


def hps_pixels(images: Sequence[Image.Image], size: int = SIZE) -> Float[Tensor, "b 3 size size"]:
    """Return images as HPS v2 reads them: whole, with black borders if not square, normalised."""
    return _normalised(torch.stack([_letterbox(_floats(rgb(image)), size) for image in images]))


def _centre_crop(image: Image.Image, size: int) -> Image.Image:
    """Return the centre of the image after its shortest side is resized to `size`."""
    width, height = image.size
    short = min(width, height)
    # as in CLIP's own transform, the long side is truncated and the crop's margin is rounded
    new = (int(size * width / short), int(size * height / short))
    left, top = round((new[0] - size) / 2), round((new[1] - size) / 2)
    return image.resize(new, Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))


def _letterbox(pixels: Float[Tensor, "3 h w"], size: int) -> Float[Tensor, "3 size size"]:
    """Return the image in the middle of a black square after its longest side is resized to `size`."""
    scale = size / max(pixels.shape[1:])
    height, width = (max(1, round(side * scale)) for side in pixels.shape[1:])
    if scale != 1:
        pixels = interpolate(pixels[None], (height, width), mode="bicubic", antialias=True)[0]
    right, below = size - width, size - height
    return pad(pixels, (right // 2, right - right // 2, below // 2, below - below // 2))


def _floats(image: Image.Image) -> Float[Tensor, "3 h w"]:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def _normalised(pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std
