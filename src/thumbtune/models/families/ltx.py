"""LTX-Video 0.9 through diffusers: clips, single frames as images, a VAE of 32 pixels a side, and T5.

text    T5's states of a prompt's own tokens, which were read beside the padding    [tokens of the prompt, 4096]

An image is a clip of one frame, clips have 8n + 1 of them, and each position of a latent is a token. The network is
told 1000 sigma, and gives the velocity, noise - image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from thumbtune.errors import ThumbtuneError
from thumbtune.models.family import T5, TEXT, TRANSFORMER, VAE, Family
from thumbtune.models.frame_vae import as_clips, as_given, frame_mean, frame_pixels
from thumbtune.models.half import computing, states_of
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.lora_targets import ATTENTION, of_transformer
from thumbtune.models.process import Latents, Times
from thumbtune.models.prompt_encoding import MASK, own_tokens, together
from thumbtune.models.protocol import Condition, Size

SIZE = 512  # the height of the pipeline's videos, 704 x 512
RATE = 25  # frames a second of the pipeline; the only frame of an image is at time 0 at any rate
# settings of a VAE that adds random numbers when it decodes
RANDOM = ("timestep_conditioning", "decoder_inject_noise")


class LTX(LatentDiffusion):
    """LTX-Video as a `Model` of images and clips. Latents: [b, 128, (frames / 8,) height / 32, width / 32]."""

    family = Family(
        name="LTX-Video",
        classes=("LTXPipeline",),
        hub="ltx-video",
        pipeline="LTXPipeline",
        networks={TRANSFORMER: "LTXVideoTransformer3DModel", VAE: "AutoencoderKLLTXVideo", TEXT: T5},
        targets=of_transformer(ATTENTION, "ff.net.0.proj", "ff.net.2"),
        own_file=True,
        reads=("tokenizer", 128),
        guidance=3.0,
        steps=50,
        clips=True,
    )
    multiple = 32  # of which the pipeline asks for sides

    @classmethod
    def check_settings(cls, name: str, configs: Mapping[str, Mapping[str, Any]]) -> None:
        super().check_settings(name, configs)
        vae = configs.get(VAE) or {}
        for option in RANDOM:
            value = vae.get(option)
            if any(value) if isinstance(value, list | tuple) else value:
                raise ThumbtuneError(
                    f"The VAE of {name!r} decodes with random numbers ({option} of vae/config.json), as from LTX-Video "
                    "0.9.1 on, so a seed would not give one image; name LTX-Video 0.9.0.",
                    code="model-random-vae",
                )

    @classmethod
    def size_in(cls, pipeline: Any) -> Size:
        super().size_in(pipeline)
        return SIZE

    @classmethod
    def factor_in(cls, vae: Mapping[str, Any]) -> int | None:
        if isinstance(told := vae.get("spatial_compression_ratio"), int):
            return told
        patch, halved = vae.get("patch_size"), vae.get("spatio_temporal_scaling")
        return patch * 2 ** sum(halved) if isinstance(patch, int) and isinstance(halved, list | tuple) else None

    @property
    def factor(self) -> int:
        """Return the pixels to a side of one position of a latent."""
        return self.pipeline.vae_spatial_compression_ratio

    @property
    def frame_step(self) -> int:
        return self.pipeline.vae_temporal_compression_ratio

    @property
    def frame_rate(self) -> int:
        return RATE

    def facts(self) -> tuple[object, ...]:
        return ("LTX-Video", self.pipeline.vae.config.scaling_factor)  # the moments are among the VAE's weights

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        self.bring_encoders()
        with computing(self.device, self.half):
            text, mask, *_ = self.pipeline.encode_prompt(
                list(prompts), do_classifier_free_guidance=False, device=self.device
            )
        return together([{"text": states_of(own_tokens(*row), self.half)} for row in zip(text, mask, strict=True)])

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        clips = as_clips(noisy)
        frames, height, width = clips.shape[-3:]
        velocity = self.network(
            hidden_states=clips.flatten(2).transpose(1, 2),
            encoder_hidden_states=condition["text"],
            timestep=t,
            encoder_attention_mask=condition.get(MASK),
            num_frames=frames,
            height=height,
            width=width,
            rope_interpolation_scale=(self.frame_step / RATE, self.factor, self.factor),
            return_dict=False,
        )[0]
        return as_given(velocity.transpose(1, 2).unflatten(2, (frames, height, width)), noisy)

    def moments(self) -> tuple[Tensor, Tensor]:
        vae = self.pipeline.vae
        mean, deviation = (each.to(self.device).view(1, -1, 1, 1) for each in (vae.latents_mean, vae.latents_std))
        return mean, vae.config.scaling_factor / deviation

    def posterior_mean(self, pixels: Tensor) -> Tensor:
        return frame_mean(self.pipeline.vae, pixels)

    def pixels(self, latents: Latents) -> Tensor:
        return frame_pixels(self.pipeline.vae, latents, self.moments(), self._half_of_vae)

    def guided(self, guidance: float) -> Mapping[str, Any]:
        return {"guidance_scale": guidance, "num_frames": 1, "frame_rate": RATE}

    def unpacked(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        return latents.transpose(1, 2).unflatten(2, (-1, size[0] // self.factor, size[1] // self.factor)).squeeze(2)
