"""SD 3 and SD 3.5 through diffusers: a transformer, two CLIP text encoders and a T5.

text      both CLIPs' states side by side, padded with zeros to T5's width, then T5's     [b, 77 + 256, 4096]
pooled    both CLIPs' projected texts side by side                                        [b, 2048]

No mask: padding is visible, as in training SD 3. The network gives the velocity, noise - image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from thumbtune.models.family import CLIP_2, T5, TEXT, TEXT_2, TEXT_3, TRANSFORMER, VAE, Family
from thumbtune.models.half import computing, states_of
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.lora_targets import JOINT, JOINT_AND_FEED_FORWARD
from thumbtune.models.process import Latents, Times
from thumbtune.models.protocol import Condition, Sampler

T5_LENGTH = 256  # tokens that diffusers gives to T5


class StableDiffusion3(LatentDiffusion):
    """SD 3 and 3.5 as a `Model`, with or without T5."""

    family = Family(
        name="Stable Diffusion 3",
        classes=("StableDiffusion3Pipeline",),
        hub="stable-diffusion-3",
        pipeline="StableDiffusion3Pipeline",
        networks={
            TRANSFORMER: "SD3Transformer2DModel",
            VAE: "AutoencoderKL",
            TEXT: CLIP_2,
            TEXT_2: CLIP_2,
            TEXT_3: T5,
        },
        tokenizers=("tokenizer", "tokenizer_2", "tokenizer_3"),
        optional=(TEXT_3, "tokenizer_3"),
        float32=(VAE,),
        targets={"attention": JOINT, "attention-and-feed-forward": JOINT_AND_FEED_FORWARD},
        reads=("tokenizer_3", T5_LENGTH),
        guidance=7.0,
        steps=28,
    )
    patch, positions_per_token = 2, 4

    @classmethod
    def positions_in(cls, config: Mapping[str, Any]) -> int | None:
        return config.get("pos_embed_max_size")

    def facts(self) -> tuple[object, ...]:
        vae = self.pipeline.vae.config
        lengths = [one.model_max_length for one in self.tokenizers]
        return ("SD 3", vae.scaling_factor, vae.shift_factor, *lengths)

    @property
    def length(self) -> int:
        """Return how many tokens of T5 the network reads; without T5 they are zeros."""
        tokenizer = self.pipeline.tokenizer_3
        return T5_LENGTH if tokenizer is None else min(T5_LENGTH, tokenizer.model_max_length)

    def texts(self, prompts: Sequence[str], sampler: Sampler) -> Mapping[str, Any]:
        return {**super().texts(prompts, sampler), "max_sequence_length": self.length}

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        self.bring_encoders()
        with computing(self.device, self.half):
            text, _, pooled, _ = self.pipeline.encode_prompt(
                list(prompts),
                None,
                None,
                device=self.device,
                do_classifier_free_guidance=False,
                max_sequence_length=self.length,
            )
        return {"text": states_of(text, self.half), "pooled": states_of(pooled, self.half)}

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        return self.network(
            hidden_states=noisy,
            timestep=t,
            encoder_hidden_states=condition["text"],
            pooled_projections=condition["pooled"],
            return_dict=False,
        )[0]
