"""Sana through diffusers: a transformer with linear attention, an autoencoder of 32 pixels a side, and Gemma 2.

text    Gemma's states of a long instruction and the prompt, its first token and its last 299    [tokens, 2304]

The instruction's own tokens fall away. No prompt is encoded without it, as the pipeline does. The network is told
1000 sigma times a number of its own, and gives the velocity, noise - image.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from thumbtune.models.family import TEXT, TRANSFORMER, VAE, Family
from thumbtune.models.half import computing, states_of
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.lora_targets import of_transformer
from thumbtune.models.process import Latents, Times
from thumbtune.models.prompt_encoding import MASK, own_tokens, together
from thumbtune.models.protocol import Condition, Size


class Sana(LatentDiffusion):
    """Sana as a `Model`. Latents: [b, 32, height / 32, width / 32]."""

    family = Family(
        name="Sana",
        classes=("SanaPipeline",),
        hub="sana_",
        pipeline="SanaPipeline",
        networks={TRANSFORMER: "SanaTransformer2DModel", VAE: "AutoencoderDC", TEXT: "Gemma2Model"},
        float32=(VAE,),
        targets=of_transformer(("to_q", "to_k", "to_v")),
        comfyui=False,
        reads=("tokenizer", 300),
        guidance=4.5,
        steps=20,
    )

    multiple = 32  # of which the pipeline asks for sides

    @classmethod
    def size_in(cls, pipeline: Any) -> Size:
        super().size_in(pipeline)
        return pipeline.transformer.config.sample_size * pipeline.vae_scale_factor

    def facts(self) -> tuple[object, ...]:
        return ("Sana", self.pipeline.vae.config.scaling_factor, self._instruction)

    @property
    def _instruction(self) -> Any:
        """Return what the pipeline puts before prompts, if nothing else is asked for."""
        return inspect.signature(self.pipeline.__call__).parameters["complex_human_instruction"].default

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        self.bring_encoders()
        with computing(self.device, self.half):
            return together([self._row(prompt) for prompt in prompts])

    def _row(self, prompt: str) -> dict[str, Tensor]:
        text, mask, bare, bare_mask = self.pipeline.encode_prompt(
            prompt, device=self.device, negative_prompt="", complex_human_instruction=self._instruction
        )
        text, mask = (text, mask) if prompt else (bare, bare_mask)
        return {"text": states_of(own_tokens(text[0], mask[0]), self.half)}

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        config: Any = self.network.config
        return self.network(
            noisy,
            encoder_hidden_states=condition["text"],
            encoder_attention_mask=condition.get(MASK),
            timestep=t * config.timestep_scale,
            return_dict=False,
        )[0]

    def posterior_mean(self, pixels: Tensor) -> Tensor:
        return self.pipeline.vae.encode(pixels).latent  # this autoencoder has no noise of its own

    def guided(self, guidance: float) -> Mapping[str, Any]:
        return {"guidance_scale": guidance, "use_resolution_binning": False}
