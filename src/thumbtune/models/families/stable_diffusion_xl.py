"""SDXL through diffusers: a UNet that also takes pooled text and six numbers of size, and two text encoders.

    text       the states before the last layer of both encoders, side by side       [b, 77, 768 + 1280]
    pooled     the projected text of the second encoder                              [b, 1280]
    time_ids   height and width of the original, top and left of the crop, height and width of the target   [b, 6]

Source: Podell et al., arXiv 2307.01952, sections 2.2 and 2.5; equal to diffusers' StableDiffusionXLPipeline, by test.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from thumbtune.errors import UsageError
from thumbtune.images import rgb
from thumbtune.models.buckets import placed
from thumbtune.models.family import CLIP, CLIP_2, TEXT, TEXT_2, UNET, VAE, Family
from thumbtune.models.fitting import checked_size
from thumbtune.models.half import computing
from thumbtune.models.latent_diffusion import LatentDiffusion, ids_of, moments_in
from thumbtune.models.process import Latents, Times
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.prompt_encoding import MASK, embed_prompt, together
from thumbtune.models.protocol import Condition, Size
from thumbtune.models.vae_settings import SCALING_OF_XL
from thumbtune.sides import height_and_width

OWN_LAYER = 2  # of the text encoders, counted from the end


def _layer_of(encoder: Any) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return the function from tokens to the states before the last layer, and to the first output of an encoder."""

    def layer(tokens: Tensor) -> tuple[Tensor, Tensor]:
        out = encoder(tokens, output_hidden_states=True)
        return out.hidden_states[-OWN_LAYER], out[0]

    return layer


def time_ids(original: tuple[int, int], target: tuple[int, int]) -> tuple[int, ...]:
    """Return the six numbers of an image that is resized to cover `target` and cropped at its centre.

    Both sizes are (height, width) in pixels. The crop's corner is one of the resized image, as in training SDXL.

    >>> time_ids((1000, 2000), (500, 500))
    (1000, 2000, 0, 250, 500, 500)
    """
    return (*original, *placed(original, target).corner, *target)


class StableDiffusionXL(LatentDiffusion):
    """SDXL as a `Model`. Its VAE is always in float32: in half precision it gives NaN.

    encoding: how prompts are read; its clip_skip is 2 or None, since the UNet was trained on the layer before the last.
    """

    family = Family(
        name="Stable Diffusion XL",
        classes=("StableDiffusionXL*",),
        pipeline="StableDiffusionXLPipeline",
        networks={UNET: "UNet2DConditionModel", VAE: "AutoencoderKL", TEXT: CLIP, TEXT_2: CLIP_2},
        tokenizers=("tokenizer", "tokenizer_2"),
        embeds="text_time",
        options={"add_watermarker": False},
        float32=(VAE,),
        scaling=SCALING_OF_XL,
        moments=True,
        guidance=5.0,
        steps=50,
    )

    @classmethod
    def size_in(cls, pipeline: Any) -> Size:
        return checked_size(pipeline, [getattr(pipeline, part) for part in cls.family.texts])

    @property
    def _zeros(self) -> bool:
        """Return whether no prompt is zeros, and not the embedding of the empty text."""
        return bool(self.pipeline.config.get("force_zeros_for_empty_prompt", True))

    def read_prompts(self, encoding: PromptEncoding) -> None:
        if encoding.clip_skip not in (None, OWN_LAYER):
            raise UsageError(
                f"prompts.clip_skip is {encoding.clip_skip} (--clip-skip), but SDXL always takes the layer before the "
                f"last of both text encoders, which is {OWN_LAYER} here as in other programs; leave the option out.",
                code="prompts-clip-skip",
            )
        self.encoding = encoding

    def facts(self) -> tuple[object, ...]:
        lengths = [(one.model_max_length, one.pad_token_id) for one in self.tokenizers]
        vae = self.pipeline.vae
        moments = moments_in(vae) or ([vae.config.get("shift_factor") or 0.0], [1.0])
        return ("XL", self.size, vae.config.scaling_factor, *moments, *lengths, self._zeros)

    def image_condition(self, images: Sequence[Image.Image], size: Size | None = None) -> Condition:
        target = height_and_width(size or self.size)
        numbers = [time_ids((upright.height, upright.width), target) for upright in map(rgb, images)]
        return {"time_ids": torch.tensor(numbers, dtype=torch.float32)}

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        self.bring_encoders()
        with computing(self.device, self.half):
            condition = self._embed(prompts)
        if self._zeros:
            empty = torch.tensor([prompt == "" for prompt in prompts], dtype=torch.bool)
            for value in (condition["text"], condition["pooled"]):
                value[empty] = 0.0
        return condition

    def _embed(self, prompts: Sequence[str]) -> Condition:
        if self.encoding.is_usual:
            return self._embed_usual(prompts)
        parts = list(zip(self.tokenizers, map(_layer_of, self.encoders), strict=True))
        return together([embed_prompt(prompt, parts, self.encoding, self.device) for prompt in prompts])

    def _embed_usual(self, prompts: Sequence[str]) -> Condition:
        states, pooled = [], torch.empty(0)
        for tokenizer, encoder in zip(self.tokenizers, self.encoders, strict=True):
            text, pooled = _layer_of(encoder)(ids_of(tokenizer, prompts, self.device))
            states.append(text)
        # `pooled` is of the second encoder, since it is the last
        return {"text": torch.cat(states, dim=-1).float().cpu(), "pooled": pooled.float().cpu()}

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        added = {"text_embeds": condition["pooled"], "time_ids": condition["time_ids"]}
        return self.network(
            noisy,
            t,
            encoder_hidden_states=condition["text"],
            added_cond_kwargs=added,
            encoder_attention_mask=condition.get(MASK),
            return_dict=False,
        )[0]
