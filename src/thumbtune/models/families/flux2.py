"""FLUX.2 through diffusers: Klein, with Qwen3 as its text encoder, and dev, with Mistral 3.

text    three middle layers of the text encoder, side by side; padding is visible    [b, 512, 7680 or 15360]

Latents are those of 2 x 2 positions of the VAE's, 128 channels, normalised by the moments of a batch norm in the VAE.
The network is told sigma in 0..1, and gives the velocity, noise - image. dev also takes its guidance as a number; with
1 in training, the guidance that was distilled into it stays.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from thumbtune.models.drawing import decoded
from thumbtune.models.family import TEXT, TRANSFORMER, VAE, Family
from thumbtune.models.half import computing, states_of
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.lora_targets import ATTENTION, of_transformer
from thumbtune.models.process import Latents, Times
from thumbtune.models.protocol import Condition, Sampler, Size
from thumbtune.models.transformer_checks import refuse_negative

GUIDANCE_IN_TRAINING = 1.0
SIDE = 2
# in single blocks the projections of attention are one layer with those of the feed-forward part
FUSED = (*ATTENTION, "to_qkv_mlp_proj", "single_transformer_blocks.*.attn.to_out")


class Flux2Klein(LatentDiffusion):
    """FLUX.2 Klein, its base checkpoint, as a `Model`. Latents: [b, 128, height / 16, width / 16]."""

    family = Family(
        name="FLUX.2 Klein",
        classes=("Flux2KleinPipeline",),
        hub="flux.2-klein",
        pipeline="Flux2KleinPipeline",
        networks={TRANSFORMER: "Flux2Transformer2DModel", VAE: "AutoencoderKLFlux2", TEXT: "Qwen3ForCausalLM"},
        float32=(VAE,),
        targets=of_transformer(FUSED, "ff.linear_in", "ff.linear_out", "ff_context.linear_in", "ff_context.linear_out"),
        reads=("tokenizer", 512),
        guidance=4.0,
        steps=50,
    )
    patch, positions_per_token = SIDE, 1
    channels_together = SIDE**2

    def facts(self) -> tuple[object, ...]:
        mean, scale = (value.flatten().tolist() for value in self.moments())
        return (self.family.name, mean, scale, self.pipeline.tokenizer.chat_template)

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        self.bring_encoders()
        with computing(self.device, self.half):
            text, _ = self.pipeline.encode_prompt(prompt=list(prompts), device=self.device)
        return {"text": states_of(text, self.half)}

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        height, width = noisy.shape[-2:]
        config: Any = self.network.config
        text, count = condition["text"], len(noisy)
        velocity = self.network(
            hidden_states=noisy.flatten(2).transpose(1, 2),
            timestep=t / 1000,
            guidance=noisy.new_full((len(noisy),), GUIDANCE_IN_TRAINING) if config.guidance_embeds else None,
            encoder_hidden_states=text,
            txt_ids=_grid(1, 1, 1, text.shape[1]).to(text.device).expand(count, -1, -1),
            img_ids=_grid(1, height, width, 1).to(noisy.device).expand(count, -1, -1),
            return_dict=False,
        )[0]
        return velocity.transpose(1, 2).unflatten(2, (height, width))

    def latent_shape(self, size: Size, frames: int = 1) -> tuple[int, ...]:
        channels, height, width = super().latent_shape(size, frames)
        return channels * SIDE**2, height // SIDE, width // SIDE

    def moments(self) -> tuple[Tensor, Tensor]:
        norm, config = self.pipeline.vae.bn, self.pipeline.vae.config
        deviation = (norm.running_var + config.batch_norm_eps).sqrt()
        moments = (norm.running_mean, 1 / deviation)
        mean, factor = (one.view(1, -1, 1, 1).to(self.device) for one in moments)  # the VAE may be on the CPU
        return mean, factor

    def posterior_mean(self, pixels: Tensor) -> Tensor:
        return _patched(self.pipeline.vae.encode(pixels).latent_dist.mean)

    def pixels(self, latents: Latents) -> Tensor:
        shift, scale = self.moments()
        return decoded(self.pipeline.vae, _unpatched(latents.float() / scale + shift), half=None)

    def unpacked(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        shift, scale = self.moments()
        return (_patched(latents.float()) - shift) * scale  # this pipeline gives latents of the VAE


class Flux2(Flux2Klein):
    """FLUX.2-dev as a `Model`. Latents as those of Klein."""

    family = Family(
        name="FLUX.2",
        classes=("Flux2Pipeline",),
        hub="flux.2-dev",
        pipeline="Flux2Pipeline",
        networks={
            TRANSFORMER: "Flux2Transformer2DModel",
            VAE: "AutoencoderKLFlux2",
            TEXT: "Mistral3ForConditionalGeneration",
        },
        float32=(VAE,),
        targets=of_transformer(FUSED, "ff.linear_in", "ff.linear_out", "ff_context.linear_in", "ff_context.linear_out"),
        reads=("tokenizer", 512),
        guidance=4.0,
        steps=50,
    )

    def texts(self, prompts: Sequence[str], sampler: Sampler) -> Mapping[str, Any]:
        refuse_negative(self.family.name, sampler)
        return {"prompt": list(prompts)}

    def unpacked(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        factor = self.factor * SIDE
        return latents.transpose(1, 2).unflatten(2, (size[0] // factor, size[1] // factor))


def _grid(*sizes: int) -> Tensor:
    """Return the places of tokens in a grid, [tokens, 4]."""
    return torch.cartesian_prod(*map(torch.arange, sizes))


def _patched(latents: Tensor) -> Tensor:
    """Return latents with 2 x 2 positions as channels of one, [b, 4 * channels, height / 2, width / 2]."""
    b, c, h, w = latents.shape
    cells = latents.reshape(b, c, h // SIDE, SIDE, w // SIDE, SIDE).permute(0, 1, 3, 5, 2, 4)
    return cells.reshape(b, c * SIDE**2, h // SIDE, w // SIDE)


def _unpatched(latents: Tensor) -> Tensor:
    """Return the latents of `_patched` ones: the inverse."""
    b, c, h, w = latents.shape
    cells = latents.reshape(b, c // SIDE**2, SIDE, SIDE, h, w).permute(0, 1, 4, 2, 5, 3)
    return cells.reshape(b, c // SIDE**2, h * SIDE, w * SIDE)
