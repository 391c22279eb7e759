"""FLUX.1-dev through diffusers: one transformer over the tokens of T5's states and of 2 x 2 latents.

text      T5's states, without a mask: padding is visible, as in training FLUX.1       [b, 512, 4096]
pooled    CLIP's pooled state                                                          [b, 768]

The network is told the noise level as sigma in 0..1, and gives the velocity, noise - image. FLUX.1-dev also takes its
guidance as a number; with 1 in training, the guidance that was distilled into it stays.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from thumbtune.models.family import CLIP, SCHEDULER, T5, TEXT, TEXT_2, TRANSFORMER, VAE, Family
from thumbtune.models.half import computing, states_of
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.lora_targets import JOINT, JOINT_AND_FEED_FORWARD
from thumbtune.models.packed import SIDE, packed, places, unpacked
from thumbtune.models.process import Latents, Times
from thumbtune.models.protocol import Condition, Sampler
from thumbtune.models.transformer_checks import distilled, refuse_negative

GUIDANCE_IN_TRAINING = 1.0


class Flux(LatentDiffusion):
    """FLUX.1-dev as a `Model`. Latents are not packed: [b, channels, height / 8, width / 8]."""

    family = Family(
        name="FLUX.1",
        classes=("FluxPipeline",),
        hub="flux.1",
        pipeline="FluxPipeline",
        networks={TRANSFORMER: "FluxTransformer2DModel", VAE: "AutoencoderKL", TEXT: CLIP, TEXT_2: T5},
        tokenizers=("tokenizer", "tokenizer_2"),
        float32=(VAE,),
        targets={"attention": JOINT, "attention-and-feed-forward": JOINT_AND_FEED_FORWARD},
        reads=("tokenizer_2", 512),
        guidance=3.5,
        steps=28,
    )
    patch, positions_per_token = SIDE, SIDE**2
    channels_together = SIDE**2

    @classmethod
    def check_settings(cls, name: str, configs: Mapping[str, Mapping[str, Any]]) -> None:
        super().check_settings(name, configs)
        network, scheduler = configs.get(TRANSFORMER) or {}, configs.get(SCHEDULER) or {}
        if network.get("guidance_embeds") is False and scheduler.get("use_dynamic_shifting") is False:
            raise distilled(name, "it takes no guidance, and its noise levels do not shift, as FLUX.1-schnell")

    def facts(self) -> tuple[object, ...]:
        vae = self.pipeline.vae.config
        return ("FLUX.1", vae.scaling_factor, vae.shift_factor, *(one.model_max_length for one in self.tokenizers))

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        self.bring_encoders()
        with computing(self.device, self.half):
            text, pooled, _ = self.pipeline.encode_prompt(list(prompts), device=self.device)
        return {"text": states_of(text, self.half), "pooled": states_of(pooled, self.half)}

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        height, width = noisy.shape[-2:]
        config: Any = self.network.config
        text = condition["text"]
        velocity = self.network(
            hidden_states=packed(noisy),
            timestep=t / 1000,
            guidance=noisy.new_full((len(noisy),), GUIDANCE_IN_TRAINING) if config.guidance_embeds else None,
            encoder_hidden_states=text,
            pooled_projections=condition["pooled"],
            txt_ids=torch.zeros(text.shape[1], 3, device=text.device),
            img_ids=places(height, width, noisy.device),
            return_dict=False,
        )[0]
        return unpacked(velocity, height, width)

    def texts(self, prompts: Sequence[str], sampler: Sampler) -> Mapping[str, Any]:
        refuse_negative(self.family.name, sampler)
        return {"prompt": list(prompts)}

    def unpacked(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        return unpacked(latents, size[0] // self.factor, size[1] // self.factor)
