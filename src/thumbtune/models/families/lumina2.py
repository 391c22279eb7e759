"""Lumina-Image 2.0 through diffusers: a transformer over Gemma 2's states and 2 x 2 latents.

text    the states before the last layer, of a system prompt and the prompt    [tokens, 2304]

No prompt is encoded without the system prompt, as the pipeline does. The network is told 1 - sigma, and gives
image - noise, the negative of the velocity.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from thumbtune.models.family import TEXT, TRANSFORMER, VAE, Family
from thumbtune.models.half import computing, states_of
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.lora_targets import ATTENTION, of_transformer
from thumbtune.models.process import Latents, Times
from thumbtune.models.prompt_encoding import MASK, own_tokens, together
from thumbtune.models.protocol import Condition
from thumbtune.models.transformer_checks import positions_of_axes


class Lumina2(LatentDiffusion):
    """Lumina-Image 2.0 as a `Model`. Latents: [b, 16, height / 8, width / 8]."""

    family = Family(
        name="Lumina-Image 2.0",
        classes=("Lumina2Pipeline", "Lumina2Text2ImgPipeline"),
        hub="lumina-image-2",
        pipeline="Lumina2Pipeline",
        networks={TRANSFORMER: "Lumina2Transformer2DModel", VAE: "AutoencoderKL", TEXT: "Gemma2Model"},
        float32=(VAE,),
        targets=of_transformer(ATTENTION, *(f"feed_forward.linear_{i}" for i in (1, 2, 3))),
        comfyui=False,
        reads=("tokenizer", 256),
        guidance=4.0,
        steps=30,
    )
    patch, positions_per_token = 2, 4

    @classmethod
    def positions_in(cls, config: Mapping[str, Any]) -> int | None:
        return positions_of_axes(config)

    def facts(self) -> tuple[object, ...]:
        vae = self.pipeline.vae.config
        return ("Lumina 2", vae.scaling_factor, vae.shift_factor, self.pipeline.system_prompt)

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        self.bring_encoders()
        with computing(self.device, self.half):
            return together([self._row(prompt) for prompt in prompts])

    def _row(self, prompt: str) -> dict[str, Tensor]:
        text, mask, bare, bare_mask = self.pipeline.encode_prompt(prompt, device=self.device, negative_prompt="")
        text, mask = (text, mask) if prompt else (bare, bare_mask)
        return {"text": states_of(own_tokens(text[0], mask[0]), self.half)}

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        text, mask = condition["text"], condition.get(MASK)
        mask = torch.ones(text.shape[:2], device=text.device) if mask is None else mask
        return -self.network(
            hidden_states=noisy,
            timestep=1 - t / 1000,
            encoder_hidden_states=text,
            encoder_attention_mask=mask.long(),
            return_dict=False,
        )[0]
