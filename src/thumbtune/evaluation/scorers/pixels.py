"""Images as scorers want them. Two transforms, and not one more: scores depend on every rounding in here.

    clip_pixels   shortest side to 224 (bicubic, PIL, 8 bits) -> centre crop -> normalise       OpenAI CLIP, most others
    hps_pixels    longest side to 224 (bicubic, floats, antialiased) -> black borders -> normalise  HPS v2

A crop loses the sides of a wide image, borders do not: where they are not square, the two show a model different
things. Everything is done here and not by a library's processor, which picks a backend by what is installed.
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
# of the images that CLIP was trained on, channel by channel, of 0..1 (Radford et al. 2021)
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def clip_pixels(images: Sequence[Image.Image], size: int = SIZE) -> Float[Tensor, "b 3 size size"]:
    """Images as CLIP and BLIP see them: the shortest side resized, the middle cut out, normalised."""
    return _normalised(torch.stack([_floats(_middle(rgb(image), size)) for image in images]))


def hps_pixels(images: Sequence[Image.Image], size: int = SIZE) -> Float[Tensor, "b 3 size size"]:
    """Images as HPS v2 sees them: the whole of it, with black borders where it is not square, normalised."""
    return _normalised(torch.stack([_whole(_floats(rgb(image)), size) for image in images]))


def _middle(image: Image.Image, size: int) -> Image.Image:
    """The centre of an image whose shortest side has been made `size` long."""
    width, height = image.size
    short = min(width, height)
    # the long side is cut, not rounded, and the margin of the crop is: as CLIP's own transform does both
    new = (int(size * width / short), int(size * height / short))
    left, top = round((new[0] - size) / 2), round((new[1] - size) / 2)
    return image.resize(new, Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))


def _whole(pixels: Float[Tensor, "3 h w"], size: int) -> Float[Tensor, "3 size size"]:
    """An image whose longest side has been made `size` long, in the middle of a black square."""
    scale = size / max(pixels.shape[1:])
    height, width = (max(1, round(side * scale)) for side in pixels.shape[1:])
    if scale != 1:
        pixels = interpolate(pixels[None], (height, width), mode="bicubic", antialias=True)[0]
    right, below = size - width, size - height
    return pad(pixels, (right // 2, right - right // 2, below // 2, below - below // 2))


def _floats(image: Image.Image) -> Float[Tensor, "3 h w"]:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def _normalised(pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, STD))
    return (pixels - mean) / std
