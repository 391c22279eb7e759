"""Train the bundled UNet and its text encoder on the vocabulary: SD 1.5's noise schedule, epsilon or v prediction."""

import argparse
import json
import math
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from base_model import sets, training, training_images, words
from base_model.decoder import averaged, with_decoder
from base_model.training import Plan
from base_model.vocabulary import CONCEPTS, LOOKS, SHOWN, Look, caption, held_out
from thumbtune.models.schedulers import process_of

TEXT = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "projection_dim": 192,
    "max_position_embeddings": words.LENGTH,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
UNET = {
    "sample_size": 8,
    "in_channels": 16,
    "out_channels": 16,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (128, 160),
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "cross_attention_dim": TEXT["hidden_size"],
}
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "trailing",
    "prediction_type": "epsilon",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The prediction type, the concepts and the device of a training."""

    prediction: str
    concepts: list[str]
    device: str
    start: str | None = None  # another checkpoint in the build folder, whose averaged weights initialise the networks


class Painter(nn.Module):
    """The text encoder and the UNet, trained together."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.text = CLIPTextModel(CLIPTextConfig(vocab_size=tokens, **TEXT))
        self.unet = UNet2DConditionModel(**UNET)

    def forward(self, noisy: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        return self.unet(noisy, t, self.text(ids).last_hidden_state).sample


@torch.no_grad()
def encoded(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Return the latent means of images and their mirror images [2, n, 16, 8, 8]."""
    device = next(vae.parameters()).device
    sides = (images, images.flip(-1))
    return torch.stack([torch.cat([vae.encode(x.to(device)).latent_dist.mean for x in s.split(32)]) for s in sides])


@torch.no_grad()
def factor_of(vae: AutoencoderKL, data: Path) -> float:
    """Return the factor that scales the latents of the vocabulary's plain images to unit variance."""
    plain = [training_images.laid(icon) for *_, icon in training_images.vocabulary(sets.load(data))]
    return 1.0 / float(encoded(vae, training_images.to_tensor(plain)).std())


@dataclass(frozen=True)
class Lesson:
    """Training data of the generator: latents of images, and the facts about each image."""

    latents: Tensor  # [2, n, 16, 8, 8], scaled
    facts: list[tuple[str, str, Look]]  # concept, style, look
    chances: Tensor  # sampling weight of each image


def lesson(data: Path, vae: AutoencoderKL, concepts: list[str]) -> Lesson:
    """Return every concept in every style and look, except the held-out combinations."""
    rows = [row for row in training_images.vocabulary(sets.load(data), concepts) if not held_out(*row[:2])]
    images = training_images.to_tensor([training_images.laid(icon, look) for *_, icon in rows for look in LOOKS])
    facts = [(concept, style, look) for concept, style, _ in rows for look in LOOKS]
    chances = torch.tensor([LOOKS[look] * SHOWN[style] for _, style, look in facts])
    return Lesson(encoded(vae, images) * factor_of(vae, data), facts, chances)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the rate: a short warm-up, then half a cosine down to a hundredth of the peak."""
    return peak * min(1.0, (step + 1) / 200) * (0.505 + 0.495 * math.cos(math.pi * step / steps))


def importance(bar: Tensor, prediction: str) -> Tensor:
    """Return the weight of the error at a cumulative alpha: less at low noise, more at high noise.

    For epsilon it is min-SNR-5 (arXiv 2303.09556) times the weight of the v loss, at most 7: the plain epsilon loss
    spends most of its gradient on fine detail, so this budget would not suffice for shapes. For v the emphasis is the
    same: the v error is the epsilon error times (snr + 1) / snr.
    """
    snr = bar / (1 - bar)
    weight = (5 / snr).clamp(max=1) * (1 + (1 / snr).clamp(max=6))
    return weight if prediction == "epsilon" else weight * snr / (snr + 1)


def train(build: Path, plan: Plan, config: Settings, seed: int = 0) -> bool:
    """Train from the newest checkpoint, and return whether all steps are done."""
    device = torch.device(config.device)
    known = lesson(build / "sets", averaged(build / "autoencoder").to(device), config.concepts)
    tokenizer = words.tokenizer(build / "tokenizer")
    plan.out.with_suffix(".json").write_text(json.dumps({"prediction": config.prediction}))
    process = process_of(SCHEDULER | {"prediction_type": config.prediction})
    bar = DDIMScheduler(**SCHEDULER).alphas_cumprod
    torch.manual_seed(seed)
    painter = Painter(len(tokenizer))
    if config.start and not plan.out.exists():
        painter = training.load_averaged(painter, build / config.start).train()
    painter = painter.to(device)

    def loss_at(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rng = random.Random(seed * 1_000_003 + step)
        rows = torch.multinomial(known.chances, plan.batch, generator=generator)
        side = torch.randint(2, (plan.batch,), generator=generator)
        texts = ["" if rng.random() < 0.1 else caption(*known.facts[i], rng) for i in rows.tolist()]
        ids = tokenizer(
            texts, padding="max_length", max_length=words.LENGTH, truncation=True, return_tensors="pt"
        ).input_ids
        t = torch.randint(1000, (plan.batch,), generator=generator)
        clean = known.latents[side.to(device), rows.to(device)]
        noise = torch.randn(clean.shape, generator=generator).to(device)
        weight = importance(bar[t], config.prediction).to(device)
        t = t.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            guess = painter(process.noised(clean, noise, t), t, ids.to(device))
        error = (guess.float() - process.target(clean, noise, t)).pow(2).mean(dim=(1, 2, 3))
        return (weight * error).mean()

    return training.train(painter, plan, loss_at, lambda mean: "")


def pipeline(build: Path, name: str = "generator") -> StableDiffusionPipeline:
    """Return the averaged model of a checkpoint as a StableDiffusionPipeline."""
    prediction = json.loads((build / f"{name}.json").read_text())["prediction"]
    tokenizer = words.tokenizer(build / "tokenizer")
    vae = with_decoder(build / "autoencoder", build / "decoder")
    vae.register_to_config(scaling_factor=factor_of(vae, build / "sets"))
    painter: Painter = training.load_averaged(Painter(len(tokenizer)), build / name)  # type: ignore[assignment]
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=painter.text,
        tokenizer=tokenizer,
        unet=painter.unet,
        scheduler=DDIMScheduler(**SCHEDULER | {"prediction_type": prediction}),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=Path("build"), help="folder of the earlier parts")
    parser.add_argument("--name", default="generator", help="of the checkpoint in that folder")
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=8e-4)
    parser.add_argument("--prediction", choices=["epsilon", "v_prediction"], default="epsilon")
    parser.add_argument("--start", help="begin from this other checkpoint's weights, of either prediction")
    parser.add_argument("--all", action="store_true", help="learn every emoji of the sets, not 48 (for a GPU)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float, help="stop, saved, after so long; the same command goes on")
    args = parser.parse_args()
    chosen = Settings(
        prediction=args.prediction,
        concepts=training_images.common(sets.load(args.build / "sets")) if args.all else CONCEPTS,
        device=args.device,
        start=args.start,
    )
    plan = Plan(
        out=args.build / args.name,
        steps=args.steps,
        batch=args.batch,
        rate=lambda step: learning_rate(step, args.steps, args.lr),
        decay=0.998,
        weight_decay=1e-3,
        save_seconds=240,
        minutes=args.minutes,
    )
    train(args.build, plan, chosen)
