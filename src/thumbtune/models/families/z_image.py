"""Z-Image through diffusers: a transformer over lists of latents and of captions, each as long as it is.

text    the states before the last layer of Qwen3, behind its chat template    [tokens of the prompt, 2560]

The network is told 1 - sigma, and gives image - noise, the negative of the velocity.
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

LENGTH = 512  # tokens that the pipeline reads


class ZImage(LatentDiffusion):
    """Z-Image as a `Model`. Latents: [b, 16, height / 8, width / 8]."""

    family = Family(
        name="Z-Image",
        classes=("ZImagePipeline",),
        hub="z-image",
        pipeline="ZImagePipeline",
        networks={TRANSFORMER: "ZImageTransformer2DModel", VAE: "AutoencoderKL", TEXT: "Qwen3Model"},
        float32=(VAE,),
        targets=of_transformer(ATTENTION, "feed_forward.w1", "feed_forward.w2", "feed_forward.w3"),
        reads=("tokenizer", 512),
        guidance=6.0,
        steps=50,
    )
    patch, positions_per_token = 2, 4

    @classmethod
    def positions_in(cls, config: Mapping[str, Any]) -> int | None:
        return positions_of_axes(config)

    def facts(self) -> tuple[object, ...]:
        vae = self.pipeline.vae.config
        return ("Z-Image", vae.scaling_factor, vae.shift_factor, self.pipeline.tokenizer.chat_template)

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        self.bring_encoders()
        with computing(self.device, self.half):
            return together([self._row(prompt) for prompt in prompts])

    def _row(self, prompt: str) -> dict[str, Tensor]:
        said = self.pipeline.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True, enable_thinking=True
        )
        tokens = self.pipeline.tokenizer(
            said, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
        ).to(self.device)
        states = self.pipeline.text_encoder(
            input_ids=tokens.input_ids, attention_mask=tokens.attention_mask.bool(), output_hidden_states=True
        ).hidden_states[-2]
        return {"text": states_of(own_tokens(states[0], tokens.attention_mask[0]), self.half)}

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        texts, mask = list(condition["text"]), condition.get(MASK)
        if mask is not None:
            texts = [text[own.bool()] for text, own in zip(texts, mask, strict=True)]
        out = self.network(list(noisy.unsqueeze(2)), 1 - t / 1000, texts, return_dict=False)[0]
        return -torch.stack([one.squeeze(1) for one in out])

    def guided(self, guidance: float) -> Mapping[str, Any]:
        return {"guidance_scale": guidance - 1}  # c + g (c - u), where others have u + g (c - u)
