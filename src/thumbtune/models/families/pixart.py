"""PixArt-Sigma through diffusers: a transformer that predicts noise, T5 with a mask, and the VAE of SDXL.

text    T5's states of a prompt in small letters, its own tokens    [tokens, 4096]

The network gives the noise and, in the second half of its channels, a variance that is not used. diffusers has no
loader for its LoRAs; PEFT and ComfyUI read them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from thumbtune.models.family import T5, TEXT, TRANSFORMER, VAE, Family
from thumbtune.models.half import computing, states_of
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.lora_targets import ATTENTION, of_transformer
from thumbtune.models.process import Latents, Times
from thumbtune.models.prompt_encoding import MASK, own_tokens, together
from thumbtune.models.protocol import Condition, Sampler, Size

AS_WRITTEN = {"clean_caption": False}  # the same with and without the libraries that cleaning needs


class PixArtSigma(LatentDiffusion):
    """PixArt-Sigma as a `Model`. Latents: [b, 4, height / 8, width / 8]."""

    family = Family(
        name="PixArt-Sigma",
        classes=("PixArtSigmaPipeline",),
        hub="pixart-sigma",
        pipeline="PixArtSigmaPipeline",
        networks={TRANSFORMER: "PixArtTransformer2DModel", VAE: "AutoencoderKL", TEXT: T5},
        float32=(VAE,),
        targets=of_transformer(ATTENTION, "ff.net.0.proj", "ff.net.2"),
        reads=("tokenizer", 300),
        guidance=4.5,
        steps=20,
    )
    patch = 2

    @classmethod
    def size_in(cls, pipeline: Any) -> Size:
        super().size_in(pipeline)
        return pipeline.transformer.config.sample_size * pipeline.vae_scale_factor

    def facts(self) -> tuple[object, ...]:
        return ("PixArt-Sigma", self.pipeline.vae.config.scaling_factor)

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        self.bring_encoders()
        with computing(self.device, self.half):
            return together([self._row(prompt) for prompt in prompts])

    def _row(self, prompt: str) -> dict[str, Tensor]:
        text, mask, *_ = self.pipeline.encode_prompt(
            prompt, do_classifier_free_guidance=False, device=self.device, **AS_WRITTEN
        )
        return {"text": states_of(own_tokens(text[0], mask[0]), self.half)}

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        out = self.network(
            noisy,
            encoder_hidden_states=condition["text"],
            encoder_attention_mask=condition.get(MASK),
            timestep=t,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )[0]
        return out.chunk(2, dim=1)[0]

    def texts(self, prompts: Sequence[str], sampler: Sampler) -> Mapping[str, Any]:
        return {"prompt": list(prompts), "negative_prompt": sampler.negative, **AS_WRITTEN}

    def guided(self, guidance: float) -> Mapping[str, Any]:
        return {"guidance_scale": guidance, "use_resolution_binning": False}
