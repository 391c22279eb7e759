"""Qwen-Image through diffusers: a transformer over tokens of Qwen2.5-VL's states and of 2 x 2 latents.

text    the last states behind a fixed instruction, whose own tokens are dropped    [tokens of the prompt, 3584]

Rows are cut to their own tokens; in a batch a mask hides what fills the shorter ones up. No prompt is one blank, as in
the model's own examples. The network is told sigma in 0..1, and gives the velocity, noise - image.
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
from thumbtune.models.packed import SIDE, packed, unpacked
from thumbtune.models.process import Latents, Times
from thumbtune.models.prompt_encoding import MASK, together
from thumbtune.models.protocol import Condition, Sampler

NO_PROMPT = " "
LENGTH = 512  # tokens that the pipeline reads in drawing


class QwenImage(LatentDiffusion):
    """Qwen-Image as a `Model`. Latents: [b, 16, height / 8, width / 8]."""

    family = Family(
        name="Qwen-Image",
        classes=("QwenImagePipeline",),
        hub="qwen-image",
        pipeline="QwenImagePipeline",
        networks={
            TRANSFORMER: "QwenImageTransformer2DModel",
            VAE: "AutoencoderKLQwenImage",
            TEXT: "Qwen2_5_VLForConditionalGeneration",
        },
        float32=(VAE,),
        targets=of_transformer(ATTENTION, "img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2"),
        reads=("tokenizer", 512),
        guidance=4.0,
        steps=50,
    )
    patch, positions_per_token = SIDE, SIDE**2
    channels_together = SIDE**2

    def facts(self) -> tuple[object, ...]:
        template = (self.pipeline.prompt_template_encode, self.pipeline.prompt_template_encode_start_idx)
        return ("Qwen-Image", template, *_moments_of(self.pipeline.vae))

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        self.bring_encoders()
        with computing(self.device, self.half):
            return together([self._row(prompt or NO_PROMPT) for prompt in prompts])

    def _row(self, prompt: str) -> dict[str, Tensor]:
        pipeline = self.pipeline
        begin = pipeline.prompt_template_encode_start_idx
        tokens = pipeline.tokenizer(
            pipeline.prompt_template_encode.format(prompt),
            max_length=pipeline.tokenizer_max_length + begin,
            truncation=True,
            return_tensors="pt",
        ).to(self.device)
        states = pipeline.text_encoder(**tokens, output_hidden_states=True).hidden_states[-1]
        own = states[0, begin : begin + LENGTH]  # of one prompt, all tokens are its own
        return {"text": states_of(own, self.half)}

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        height, width = noisy.shape[-2:]
        mask = condition.get(MASK)
        velocity = self.network(
            hidden_states=packed(noisy),
            timestep=t / 1000,
            encoder_hidden_states=condition["text"],
            encoder_hidden_states_mask=None if mask is None else mask.bool(),
            img_shapes=[[(1, height // SIDE, width // SIDE)]] * len(noisy),
            return_dict=False,
        )[0]
        return unpacked(velocity, height, width)

    def moments(self) -> tuple[Tensor, Tensor]:
        return frame_moments(self.pipeline.vae, self.device)

    def posterior_mean(self, pixels: Tensor) -> Tensor:
        return frame_mean(self.pipeline.vae, pixels)

    def pixels(self, latents: Latents) -> Tensor:
        return frame_pixels(self.pipeline.vae, latents, self.moments())

    def texts(self, prompts: Sequence[str], sampler: Sampler) -> Mapping[str, Any]:
        return {"prompt": list(prompts), "negative_prompt": [sampler.negative or NO_PROMPT] * len(prompts)}

    def guided(self, guidance: float) -> Mapping[str, Any]:
        return {"true_cfg_scale": guidance}

    def unpacked(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        return unpacked(latents, size[0] // self.factor, size[1] // self.factor)


def _moments_of(vae: Any) -> tuple[list[float], list[float]]:
    return list(vae.config.latents_mean), list(vae.config.latents_std)
