"""SD 1.x and 2.x through diffusers: a UNet, an AutoencoderKL, a CLIP text encoder, a tokenizer and a scheduler."""

from collections.abc import Sequence
from typing import Any

import torch

from thumbtune.models.devices import bring
from thumbtune.models.family import CLIP, TEXT, UNET, VAE, Family
from thumbtune.models.fitting import checked_size
from thumbtune.models.half import computing
from thumbtune.models.latent_diffusion import LatentDiffusion, ids_of, moments_in
from thumbtune.models.process import Latents, Times
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.prompt_encoding import MASK, check_clip_skip, embed_prompt, layer_of, together
from thumbtune.models.protocol import Condition, Size


class StableDiffusion(LatentDiffusion):
    """SD 1.x and 2.x as a `Model`.

    Shapes: latents [b, channels, height / f, width / f]; condition {"text": [b, tokens, width]}, with a mask beside
    texts of unequal lengths.
    """

    family = Family(
        name="Stable Diffusion",
        classes=("*",),
        pipeline="StableDiffusionPipeline",
        networks={UNET: "UNet2DConditionModel", VAE: "AutoencoderKL", TEXT: CLIP},
        options={"safety_checker": None, "requires_safety_checker": False},
    )

    @classmethod
    def size_in(cls, pipeline: Any) -> Size:
        return checked_size(pipeline, [getattr(pipeline, part) for part in cls.family.texts])

    def facts(self) -> tuple[object, ...]:
        vae, tokenizer = self.pipeline.vae.config, self.pipeline.tokenizer
        facts = (self.size, vae.scaling_factor, getattr(vae, "shift_factor", None), tokenizer.model_max_length)
        return (*facts, *moments_in(self.pipeline.vae))

    def read_prompts(self, encoding: PromptEncoding) -> None:
        check_clip_skip(self.pipeline.text_encoder.config, encoding.clip_skip)
        self.encoding = encoding

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        tokenizer, encoder, encoding = self.pipeline.tokenizer, self.pipeline.text_encoder, self.encoding
        bring(self.device, [encoder], away=[self.pipeline.vae])
        with computing(self.device, self.half):
            if encoding.is_usual:
                return {"text": encoder(ids_of(tokenizer, prompts, self.device)).last_hidden_state.float().cpu()}
            parts = [(tokenizer, lambda tokens: (layer_of(encoder, tokens, encoding.clip_skip), None))]
            return together([embed_prompt(prompt, parts, encoding, self.device) for prompt in prompts])

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        mask = condition.get(MASK)
        return self.network(
            noisy, t, encoder_hidden_states=condition["text"], encoder_attention_mask=mask, return_dict=False
        )[0]
