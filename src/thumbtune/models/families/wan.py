"""Wan 2.1 and 2.2 through diffusers: clips, single frames as images, and UMT5.

text    UMT5's states; padding is zeros and visible, as in training Wan    [b, 512, 4096]

An image is a clip of one frame; clips have 4n + 1 of them. The network is told 1000 sigma, for each token where the
pipeline does (`expand_timesteps`), and gives the velocity, noise - image. A14B of 2.2 has two networks: `transformer`
is asked at times of `boundary_ratio` x 1000 and more, and `transformer_2` below.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thumbtune.errors import ThumbtuneError
from thumbtune.hub import INDEX
from thumbtune.models.experts import Experts
from thumbtune.models.family import TEXT, TRANSFORMER, TRANSFORMER_2, VAE, Family
from thumbtune.models.frame_vae import as_clips, as_given, frame_mean, frame_moments, frame_pixels
from thumbtune.models.half import computing, states_of
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.lora_targets import ATTENTION, of_transformer
from thumbtune.models.process import Latents, Times
from thumbtune.models.protocol import Condition, Size
from thumbtune.models.transformer_checks import check_channels

LENGTH = 512
SIZE = 480  # of the smaller checkpoints' videos, 832 x 480
RATE, RATE_OF_5B = 16, 24  # frames a second of its videos; TI2V-5B is the one with a time for each token


class Wan(LatentDiffusion):
    """Wan as a `Model` of images and clips. Latents: [b, 16, (frames / 4,) height / 8, width / 8]."""

    family = Family(
        name="Wan",
        classes=("WanPipeline",),
        hub="wan2.",
        pipeline="WanPipeline",
        networks={
            TRANSFORMER: "WanTransformer3DModel",
            TRANSFORMER_2: "WanTransformer3DModel",
            VAE: "AutoencoderKLWan",
            TEXT: "UMT5EncoderModel",
        },
        experts={TRANSFORMER: "high_noise", TRANSFORMER_2: "low_noise"},
        optional=(TRANSFORMER_2,),
        float32=(VAE,),
        targets=of_transformer(ATTENTION, "ffn.net.0.proj", "ffn.net.2"),
        own_file=True,
        native=(
            ("attn1.", "self_attn."),
            ("attn2.", "cross_attn."),
            *((f"to_{one}", one) for one in ("q", "k", "v")),
            ("to_out.0", "o"),
            ("ffn.net.0.proj", "ffn.0"),
            ("ffn.net.2", "ffn.2"),
        ),
        reads=("tokenizer", 512),
        guidance=5.0,
        steps=50,
        clips=True,
    )
    patch = 2

    @classmethod
    def check_settings(cls, name: str, configs: Mapping[str, Mapping[str, Any]]) -> None:
        super().check_settings(name, configs)
        index = configs.get(INDEX) or {}
        has_second, boundary = any(index.get(TRANSFORMER_2) or ()), index.get("boundary_ratio")
        if has_second != (boundary is not None):
            lacks = "boundary_ratio" if has_second else TRANSFORMER_2
            has = TRANSFORMER_2 if has_second else "boundary_ratio"
            raise ThumbtuneError(
                f"{INDEX} of {name!r} names {has} without {lacks}, so nothing tells which network denoises when; get "
                "the whole model.",
                code="model-expert-missing",
            )
        if has_second:
            check_channels(name, configs.get(TRANSFORMER_2) or {}, configs.get(VAE) or {})

    @classmethod
    def size_in(cls, pipeline: Any) -> Size:
        super().size_in(pipeline)
        return SIZE

    def joined(self, networks: Mapping[str, nn.Module]) -> nn.Module:
        if len(networks) == 1:
            return super().joined(networks)
        settings = self.pipeline.config, self.pipeline.scheduler.config
        return Experts(networks, settings[0].boundary_ratio * settings[1].num_train_timesteps)

    def facts(self) -> tuple[object, ...]:
        vae = self.pipeline.vae.config
        return ("Wan", LENGTH, list(vae.latents_mean), list(vae.latents_std))

    @property
    def factor(self) -> int:
        """Return the pixels to a side of one position of a latent."""
        return self.pipeline.vae_scale_factor_spatial

    @classmethod
    def positions_in(cls, config: Mapping[str, Any]) -> int | None:
        return config.get("rope_max_seq_len")

    @property
    def frame_step(self) -> int:
        return self.pipeline.vae_scale_factor_temporal

    @property
    def frame_rate(self) -> int:
        return RATE_OF_5B if self.pipeline.config.expand_timesteps else RATE

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        from diffusers.pipelines.wan.pipeline_wan import prompt_clean

        self.bring_encoders()
        tokens = self.pipeline.tokenizer(
            [prompt_clean(prompt) for prompt in prompts],
            padding="max_length",
            max_length=LENGTH,
            truncation=True,
            return_tensors="pt",
        ).to(self.device)
        with computing(self.device, self.half):
            text = self.pipeline.text_encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        return {"text": states_of(text * tokens.attention_mask[..., None], self.half)}

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        clips = as_clips(noisy)
        frames, height, width = clips.shape[-3:]
        if self.pipeline.config.expand_timesteps:
            t = t[:, None].expand(-1, frames * (height // self.patch) * (width // self.patch))
        velocity = self.network(
            hidden_states=clips, timestep=t, encoder_hidden_states=condition["text"], return_dict=False
        )[0]
        return as_given(velocity, noisy)

    def moments(self) -> tuple[Tensor, Tensor]:
        return frame_moments(self.pipeline.vae, self.device)

    def posterior_mean(self, pixels: Tensor) -> Tensor:
        return frame_mean(self.pipeline.vae, pixels)

    def pixels(self, latents: Latents) -> Tensor:
        return frame_pixels(self.pipeline.vae, latents, self.moments())

    def guided(self, guidance: float) -> Mapping[str, Any]:
        return {"guidance_scale": guidance, "num_frames": 1, "max_sequence_length": LENGTH}

    def unpacked(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        return latents.squeeze(2)
