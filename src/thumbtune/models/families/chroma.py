"""Chroma through diffusers: FLUX.1's tokens, T5 with a mask, no pooled text and no guidance as a number.

text    T5's states of a prompt's own tokens and of one token of padding, as in training Chroma    [tokens + 1, 4096]

The pipeline hands its mask to attention as numbers, which attention adds, so its padding is not hidden; here it is, in
training and in drawing. The network is told sigma in 0..1, and gives the velocity, noise - image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thumbtune.models.family import T5, TEXT, TRANSFORMER, VAE, Family
from thumbtune.models.half import computing, states_of
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.lora_targets import JOINT, JOINT_AND_FEED_FORWARD
from thumbtune.models.packed import SIDE, packed, places, unpacked
from thumbtune.models.process import Latents, Times
from thumbtune.models.prompt_encoding import MASK, own_tokens, together
from thumbtune.models.protocol import Condition, Sampler, Tuning


class Chroma(LatentDiffusion):
    """Chroma as a `Model`. Latents: [b, 16, height / 8, width / 8]."""

    family = Family(
        name="Chroma",
        classes=("ChromaPipeline",),
        hub="chroma1",
        pipeline="ChromaPipeline",
        networks={TRANSFORMER: "ChromaTransformer2DModel", VAE: "AutoencoderKL", TEXT: T5},
        float32=(VAE,),
        targets={"attention": JOINT, "attention-and-feed-forward": JOINT_AND_FEED_FORWARD},
        reads=("tokenizer", 512),
        guidance=5.0,
        steps=35,
    )
    patch, positions_per_token = SIDE, SIDE**2
    channels_together = SIDE**2

    def __init__(
        self,
        pipeline: Any,
        tuning: Tuning | None = None,
        seed: int = 0,
        gradient_checkpointing: bool = False,
        half: torch.dtype | None = None,
    ) -> None:
        super().__init__(pipeline, tuning, seed, gradient_checkpointing, half)
        if gradient_checkpointing:
            _hand_on_mask(pipeline.transformer)

    def facts(self) -> tuple[object, ...]:
        vae = self.pipeline.vae.config
        return ("Chroma", vae.scaling_factor, vae.shift_factor, self.pipeline.tokenizer.model_max_length)

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        self.bring_encoders()
        with computing(self.device, self.half):
            return together([self._row(prompt) for prompt in prompts])

    def _row(self, prompt: str) -> dict[str, Tensor]:
        text, _, mask, *_ = self.pipeline.encode_prompt(prompt, device=self.device, do_classifier_free_guidance=False)
        return {"text": states_of(own_tokens(text[0], mask[0]), self.half)}

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        height, width = noisy.shape[-2:]
        text, mask, tokens = condition["text"], condition.get(MASK), packed(noisy)
        if mask is not None:
            mask = torch.cat([mask.bool(), mask.new_ones(tokens.shape[:2]).bool()], dim=1)
        velocity = self.network(
            hidden_states=tokens,
            timestep=t / 1000,
            encoder_hidden_states=text,
            txt_ids=torch.zeros(text.shape[1], 3, device=text.device),
            img_ids=places(height, width, noisy.device),
            attention_mask=mask,
            return_dict=False,
        )[0]
        return unpacked(velocity, height, width)

    def texts(self, prompts: Sequence[str], sampler: Sampler) -> Mapping[str, Any]:
        told = {}
        for begin, own in (("", prompts), ("negative_", [sampler.negative] * len(prompts))):
            condition = self.embed(own)
            text, mask = condition["text"].to(self.device), condition.get(MASK)
            mask = torch.ones(text.shape[:2]) if mask is None else mask
            told |= {f"{begin}prompt_embeds": text, f"{begin}prompt_attention_mask": mask.bool().to(self.device)}
        return told

    def unpacked(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        return unpacked(latents, size[0] // self.factor, size[1] // self.factor)


def _hand_on_mask(network: nn.Module) -> None:
    """Give single blocks the mask that diffusers 0.42 leaves out of their checkpoints.

    A checkpoint computes a block again in the backward pass, when others may have been computed in between: it keeps
    the mask of its own forward pass.
    """
    now: dict[str, Any] = {}
    checkpoint: Any = network._gradient_checkpointing_func

    def keep(_network: nn.Module, _args: Any, options: dict[str, Any]) -> None:
        now["mask"] = options.get("attention_mask")

    def with_mask(block: nn.Module, *args: Any) -> Any:
        if block not in singles:
            return checkpoint(block, *args)
        mask = now["mask"]
        return checkpoint(lambda *inputs: block(*inputs, attention_mask=mask), *args)

    singles = set(network.single_transformer_blocks)  # type: ignore[arg-type]
    network.register_forward_pre_hook(keep, with_kwargs=True)
    network.enable_gradient_checkpointing(with_mask)  # type: ignore[operator]
