"""Krea 2 through diffusers: a transformer over tokens of Qwen3-VL, twelve layers of each, and of 2 x 2 latents.

text    the states of several layers behind a fixed instruction    [tokens of the prompt, layers, 2560]

A prompt of 512 tokens takes 63 MB in float32, so rows are cut to their own tokens; in a batch a mask hides what fills
the shorter ones up. The network is told sigma in 0..1, and gives the velocity, noise - image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from thumbtune.models.family import TEXT, TRANSFORMER, VAE, Family
from thumbtune.models.frame_vae import frame_mean, frame_moments, frame_pixels
from thumbtune.models.half import computing, states_of
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.lora_targets import ATTENTION, of_transformer
from thumbtune.models.packed import SIDE, packed, places, unpacked
from thumbtune.models.process import Latents, Times
from thumbtune.models.prompt_encoding import MASK, own_tokens, together
from thumbtune.models.protocol import Condition


class Krea2(LatentDiffusion):
    """Krea 2 as a `Model`, its undistilled checkpoint. Latents: [b, 16, height / 8, width / 8]."""

    family = Family(
        name="Krea 2",
        classes=("Krea2Pipeline",),
        hub="krea-2",
        pipeline="Krea2Pipeline",
        networks={TRANSFORMER: "Krea2Transformer2DModel", VAE: "AutoencoderKLQwenImage", TEXT: "Qwen3VLModel"},
        float32=(VAE,),
        targets=of_transformer((*ATTENTION, "to_gate"), "ff.up", "ff.down"),
        reads=("tokenizer", 512),
        guidance=5.5,
        steps=28,
    )
    patch, positions_per_token = SIDE, SIDE**2
    channels_together = SIDE**2

    def facts(self) -> tuple[object, ...]:
        vae = self.pipeline.vae.config
        layers = tuple(self.pipeline.text_encoder_select_layers)
        return ("Krea 2", layers, list(vae.latents_mean), list(vae.latents_std))

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        self.bring_encoders()
        with computing(self.device, self.half):
            return together([self._row(prompt) for prompt in prompts])

    def _row(self, prompt: str) -> dict[str, Tensor]:
        text, mask = self.pipeline.encode_prompt(
            prompt, device=self.device
        )  # the padding stands before the last tokens
        return {"text": states_of(own_tokens(text[0], mask[0]), self.half)}

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        height, width = noisy.shape[-2:]
        text, mask = condition["text"], condition.get(MASK)
        mask = torch.ones(text.shape[:2], device=text.device) if mask is None else mask
        nowhere = torch.zeros(text.shape[1], 3, device=noisy.device)
        velocity = self.network(
            hidden_states=packed(noisy),
            encoder_hidden_states=text,
            timestep=t / 1000,
            position_ids=torch.cat([nowhere, places(height, width, noisy.device)]),
            encoder_attention_mask=mask.bool(),
            return_dict=False,
        )[0]
        return unpacked(velocity, height, width)

    def moments(self) -> tuple[Tensor, Tensor]:
        return frame_moments(self.pipeline.vae, self.device)

    def posterior_mean(self, pixels: Tensor) -> Tensor:
        return frame_mean(self.pipeline.vae, pixels)

    def pixels(self, latents: Latents) -> Tensor:
        return frame_pixels(self.pipeline.vae, latents, self.moments())

    def guided(self, guidance: float) -> Mapping[str, Any]:
        return {"guidance_scale": guidance - 1}  # c + g (c - u), where others have u + g (c - u)

    def unpacked(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        return unpacked(latents, size[0] // self.factor, size[1] // self.factor)
