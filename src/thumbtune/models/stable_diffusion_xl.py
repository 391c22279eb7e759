"""SDXL through diffusers: a UNet that also takes pooled text and six numbers of size, and two text encoders.

    text       the states before the last layer of both encoders, side by side       [b, 77, 768 + 1280]
    pooled     the projected text of the second encoder                              [b, 1280]
    time_ids   height and width of the original, top and left of the crop, height and width of the target   [b, 6]

Source: Podell et al., arXiv 2307.01952, sections 2.2 and 2.5; equal to diffusers' StableDiffusionXLPipeline, by test.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from thumbtune.errors import UsageError
from thumbtune.images import rgb
from thumbtune.models import latent_diffusion as shared
from thumbtune.models.buckets import placed
from thumbtune.models.fitting import check_configs
from thumbtune.models.half import computing, store
from thumbtune.models.pipeline_files import size_of
from thumbtune.models.process import Latents, Times
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.prompt_encoding import MASK, embed_prompt, together
from thumbtune.models.protocol import Condition, Sampler, Size, Trained, Tuning

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


class StableDiffusionXL:
    """SDXL as a `Model`. Only the weights that `tuning` chooses are trained; everything else is frozen.

    The VAE is always in float32: in half precision it gives NaN.

    complete: what `generate` makes of each prompt, such as the prefix that a training put before prompts; `embed` takes
        prompts as they are.
    encoding: how prompts are read; its clip_skip is 2 or None, since the UNet was trained on the layer before the last.
    """

    def __init__(
        self,
        pipeline: Any,
        tuning: Tuning | None = None,
        seed: int = 0,
        gradient_checkpointing: bool = False,
        half: torch.dtype | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.complete: Callable[[str], str] = str
        self.encoding = PromptEncoding()
        name, unet, vae = str(pipeline.config.get("_name_or_path")), pipeline.unet.config, pipeline.vae.config
        self._encoders = (pipeline.text_encoder, pipeline.text_encoder_2)
        self._tokenizers = (pipeline.tokenizer, pipeline.tokenizer_2)
        shared.freeze((pipeline.unet, pipeline.vae, *self._encoders))
        pipeline.vae.float()
        self.network: nn.Module = pipeline.unet
        self._trained = tuning.on(pipeline.unet, seed) if tuning else None
        self.half = half
        store((pipeline.unet, *self._encoders), half)
        if gradient_checkpointing:
            pipeline.unet.enable_gradient_checkpointing()
        self.process = shared.process_in(pipeline)
        check_configs(name, unet, vae, [encoder.config.to_dict() for encoder in self._encoders])
        self.size: Size = size_of(name, unet, vae, pipeline.vae_scale_factor)

    @property
    def device(self) -> torch.device:
        """Return the device of the network."""
        return self.pipeline.unet.device

    def to(self, device: torch.device | str) -> "StableDiffusionXL":
        """Move every part to a device, and return the model."""
        self.pipeline.to(device)
        return self

    @property
    def beside(self) -> tuple[nn.Module, ...]:
        """Return the networks that training needs only until all is encoded: the VAE and the text encoders."""
        return self.pipeline.vae, *self._encoders

    @property
    def _zeros(self) -> bool:
        """Return whether no prompt is zeros, and not the embedding of the empty text."""
        return bool(self.pipeline.config.get("force_zeros_for_empty_prompt", True))

    def rest(self) -> None:
        shared.bring(torch.device("cpu"), self.beside)

    def read_prompts(self, encoding: PromptEncoding) -> None:
        if encoding.clip_skip not in (None, OWN_LAYER):
            raise UsageError(
                f"prompts.clip_skip is {encoding.clip_skip} (--clip-skip), but SDXL always takes the layer before the "
                f"last of both text encoders, which is {OWN_LAYER} here as in other programs; leave the option out.",
                code="prompts-clip-skip",
            )
        self.encoding = encoding

    def fingerprint(self) -> str:
        return self.fingerprints()[1]

    def fingerprints(self) -> tuple[str, str]:
        """Return hashes of the sizes, weights and vocabularies that `encode` and `embed` use, and of what computes."""
        vae, lengths = self.pipeline.vae, [(one.model_max_length, one.pad_token_id) for one in self._tokenizers]
        moments = shared.moments_in(vae) or ([vae.config.get("shift_factor") or 0.0], [1.0])
        facts = ("XL", self.size, vae.config.scaling_factor, *moments, *lengths, self._zeros)
        facts = facts if self.half is None else (*facts, self.half)
        return shared.fingerprints(facts, self.encoding.tag, (vae, *self._encoders), self._tokenizers, self.device)

    def _scale(self) -> tuple[Tensor, Tensor]:
        """Return what latents are shifted by and multiplied with, [1, channels, 1, 1]."""
        numbers = shared.scaling_of(self.pipeline.vae, self.device)
        shift, scale = (torch.as_tensor(one, device=self.device).view(1, -1, 1, 1) for one in numbers)
        return shift, scale

    @torch.no_grad()
    def encode(self, images: Sequence[Image.Image], size: Size | None = None) -> Latents:
        shared.bring(self.device, [self.pipeline.vae], away=self._encoders)
        pixels = torch.stack([shared.pixels_of(image, size or self.size) for image in images]).to(self.device)
        shift, scale = self._scale()
        return ((self.pipeline.vae.encode(pixels).latent_dist.mean - shift) * scale).cpu()

    def image_condition(self, images: Sequence[Image.Image], size: Size | None = None) -> Condition:
        target = shared.height_and_width(size or self.size)
        numbers = [time_ids((upright.height, upright.width), target) for upright in map(rgb, images)]
        return {"time_ids": torch.tensor(numbers, dtype=torch.float32)}

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        shared.bring(self.device, self._encoders, away=[self.pipeline.vae])
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
        parts = list(zip(self._tokenizers, map(_layer_of, self._encoders), strict=True))
        return together([embed_prompt(prompt, parts, self.encoding, self.device) for prompt in prompts])

    def _embed_usual(self, prompts: Sequence[str]) -> Condition:
        states, pooled = [], torch.empty(0)
        for tokenizer, encoder in zip(self._tokenizers, self._encoders, strict=True):
            text, pooled = _layer_of(encoder)(shared.ids_of(tokenizer, prompts, self.device))
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

    @property
    def trained(self) -> Trained:
        """Return the trained part of the network.

        Raises:
            ThumbtuneError: the model was loaded for generating images only.
        """
        return shared.trained_part(self._trained)

    def reference(self) -> AbstractContextManager[None]:
        return self.trained.reference()

    def freeze_reference(self) -> None:
        self.trained.freeze_reference()

    def reference_state(self) -> dict[str, Tensor]:
        return self.trained.reference_state()

    def restore_reference(self, state: dict[str, Tensor]) -> None:
        self.trained.restore_reference(state)

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self.trained.trainable()

    @torch.no_grad()
    def generate(self, prompts: Sequence[str], seeds: Sequence[int], sampler: Sampler) -> list[Image.Image]:
        latents = shared.draw(self, prompts, seeds, sampler)
        shift, scale = self._scale()
        # the pipeline would hand half-precision latents to the VAE as they are
        pixels = shared.decoded(self.pipeline.vae, latents.float() / scale + shift, half=None)
        return shared.images_of(self.pipeline, pixels)

    def save(self, folder: Path) -> None:
        self.trained.save(folder)

    def load(self, folder: Path) -> None:
        self.trained.load(folder)
