"""SD 1.x and 2.x through diffusers: a UNet, an AutoencoderKL, a CLIP text encoder, a tokenizer and a scheduler."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from thumbtune.models import latent_diffusion as shared
from thumbtune.models.fitting import check_configs
from thumbtune.models.half import computing, store
from thumbtune.models.loading import load_pipeline
from thumbtune.models.pipeline_files import size_of
from thumbtune.models.process import Latents, Times
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.prompt_encoding import MASK, check_clip_skip, embed_prompt, layer_of, together
from thumbtune.models.protocol import Condition, Sampler, Size, Trained, Tuning

__all__ = ["StableDiffusion", "load_pipeline"]


class StableDiffusion:
    """SD 1.x and 2.x as a `Model`. Only the weights that `tuning` chooses are trained; everything else is frozen.

    Shapes: latents [b, channels, height / f, width / f]; condition {"text": [b, tokens, width]}, with a mask beside
    texts of unequal lengths.

    complete: what `generate` makes of each prompt, such as the prefix that a training put before prompts; `embed` takes
        prompts as they are.
    encoding: how prompts are read.
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
        shared.freeze((pipeline.unet, pipeline.vae, pipeline.text_encoder))
        self.network: nn.Module = pipeline.unet
        self._trained = tuning.on(pipeline.unet, seed) if tuning else None
        self.half = half
        # some VAEs exceed the range of fp16, as that of SDXL does
        self._half_of_vae = None if half == torch.float16 else half
        store((pipeline.unet, pipeline.text_encoder), half)
        store((pipeline.vae,), self._half_of_vae)
        if gradient_checkpointing:
            pipeline.unet.enable_gradient_checkpointing()
        self.process = shared.process_in(pipeline)
        check_configs(name, unet, vae, [pipeline.text_encoder.config.to_dict()])
        self.size: Size = size_of(name, unet, vae, pipeline.vae_scale_factor)

    @property
    def device(self) -> torch.device:
        """Return the device of the network."""
        return self.pipeline.unet.device

    def to(self, device: torch.device | str) -> "StableDiffusion":
        """Move every part to a device, and return the model."""
        self.pipeline.to(device)
        return self

    @property
    def beside(self) -> tuple[nn.Module, nn.Module]:
        """Return the networks that training needs only until all is encoded: the VAE and the text encoder."""
        return self.pipeline.vae, self.pipeline.text_encoder

    def rest(self) -> None:
        shared.bring(torch.device("cpu"), self.beside)

    def read_prompts(self, encoding: PromptEncoding) -> None:
        check_clip_skip(self.pipeline.text_encoder.config, encoding.clip_skip)
        self.encoding = encoding

    def fingerprint(self) -> str:
        return self.fingerprints()[1]

    def fingerprints(self) -> tuple[str, str]:
        """Return hashes of the sizes, weights and vocabulary that `encode` and `embed` use, and of what computes."""
        vae, tokenizer = self.pipeline.vae.config, self.pipeline.tokenizer
        facts = (self.size, vae.scaling_factor, getattr(vae, "shift_factor", None), tokenizer.model_max_length)
        facts = (*facts, *shared.moments_in(self.pipeline.vae))
        facts = facts if self.half is None else (*facts, self.half)
        networks = (self.pipeline.vae, self.pipeline.text_encoder)
        return shared.fingerprints(facts, self.encoding.tag, networks, (tokenizer,), self.device)

    @torch.no_grad()
    def encode(self, images: Sequence[Image.Image], size: Size | None = None) -> Latents:
        vae, text, size = self.pipeline.vae, self.pipeline.text_encoder, size or self.size
        shared.bring(self.device, [vae], away=[text])
        pixels = torch.stack([shared.pixels_of(image, size) for image in images]).to(self.device)
        with computing(self.device, self._half_of_vae):
            mean = vae.encode(pixels).latent_dist.mean.float()
        shift, scale = shared.scaling_of(vae, self.device)
        return ((mean - shift) * scale).float().cpu()

    def image_condition(self, images: Sequence[Image.Image], size: Size | None = None) -> Condition:
        return {}

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        tokenizer, encoder, encoding = self.pipeline.tokenizer, self.pipeline.text_encoder, self.encoding
        shared.bring(self.device, [encoder], away=[self.pipeline.vae])
        with computing(self.device, self.half):
            if encoding.is_usual:
                return {"text": encoder(shared.ids_of(tokenizer, prompts, self.device)).last_hidden_state.float().cpu()}
            parts = [(tokenizer, lambda tokens: (layer_of(encoder, tokens, encoding.clip_skip), None))]
            return together([embed_prompt(prompt, parts, encoding, self.device) for prompt in prompts])

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        mask = condition.get(MASK)
        return self.network(
            noisy, t, encoder_hidden_states=condition["text"], encoder_attention_mask=mask, return_dict=False
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
        shift, scale = shared.scaling_of(self.pipeline.vae, latents.device)
        pixels = shared.decoded(self.pipeline.vae, latents / scale + shift, self._half_of_vae)
        return shared.images_of(self.pipeline, pixels)

    def save(self, folder: Path) -> None:
        self.trained.save(folder)

    def load(self, folder: Path) -> None:
        self.trained.load(folder)
