"""Train the bundled UNet and its text encoder on the vocabulary: weighted epsilon loss, SD 1.5's noise schedule."""

import argparse
import math
import random
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import CLIPTextConfig, CLIPTextModel

from base_model import checkpoint, pictures, sets, words
from base_model.decoder import averaged, with_decoder
from base_model.vocabulary import caption

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


TAMING = 600  # the last steps, over which the rate falls to zero


class Painter(nn.Module):
    """The two networks that learn together."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.text = CLIPTextModel(CLIPTextConfig(vocab_size=tokens, **TEXT))
        self.unet = UNet2DConditionModel(**UNET)

    def forward(self, noisy: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        return self.unet(noisy, t, self.text(ids).last_hidden_state).sample


@torch.no_grad()
def latents(vae: AutoencoderKL, images: Tensor) -> tuple[Tensor, float]:
    """Latent means of pictures and their mirror images [2, n, 16, 8, 8], and the factor to unit variance."""
    both = torch.stack(
        [torch.cat([vae.encode(x).latent_dist.mean for x in side.split(32)]) for side in (images, images.flip(-1))]
    )
    return both, 1.0 / float(both.std())


def learning_rate(step: int, steps: int, peak: float) -> float:
    """A short warm-up, then half a cosine down to a hundredth."""
    return peak * min(1.0, (step + 1) / 200) * (0.505 + 0.495 * math.cos(math.pi * step / steps))


def importance(bar: Tensor) -> Tensor:
    """Weight of the epsilon error at a cumulative alpha: less where noise is faint, more where it hides the object.

    Min-SNR-5 (arXiv 2303.09556) times the weight of the v loss, at most 7: plain epsilon loss spends most of its
    gradient on fine detail, and at this budget leaves shapes unlearnt.
    """
    snr = bar / (1 - bar)
    return (5 / snr).clamp(max=1) * (1 + (1 / snr).clamp(max=6))


def chances(styles: list[str], tame: bool) -> Tensor:
    """How often each picture is shown. Tamed, line art comes less often than the other styles: guidance favours it."""
    return torch.tensor([0.4 if tame and style == "line art" else 1.0 for style in styles])


def train(
    data: Path, vae_path: Path, out: Path, steps: int, batch: int, lr: float, tame: bool = False, seed: int = 0
) -> None:
    known = pictures.vocabulary(sets.load(data))
    clean, factor = latents(averaged(vae_path), pictures.to_tensor([p for _, _, p in known]))
    clean = clean * factor
    tokenizer = words.tokenizer(Path("build/tokenizer"))
    torch.manual_seed(seed)
    painter = Painter(len(tokenizer))
    mean = AveragedModel(painter, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    optimizer = torch.optim.AdamW(painter.parameters(), lr, betas=(0.9, 0.99), weight_decay=1e-3)
    bar = DDIMScheduler(**SCHEDULER).alphas_cumprod
    start = checkpoint.resume(out, {"painter": painter, "mean": mean}, optimizer)
    shown = chances([style for _, style, _ in known], tame)
    begun = saved = time.time()
    running = 0.0
    for step in range(start, steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rng = random.Random(seed * 1_000_003 + step)
        rows = torch.multinomial(shown, batch, replacement=True, generator=generator)
        texts = ["" if rng.random() < 0.1 else caption(*known[i][:2], rng) for i in rows.tolist()]
        ids = tokenizer(
            texts, padding="max_length", max_length=words.LENGTH, truncation=True, return_tensors="pt"
        ).input_ids
        x = clean[torch.randint(2, (batch,), generator=generator), rows]
        t = torch.randint(1000, (batch,), generator=generator)
        noise = torch.randn(x.shape, generator=generator)
        a = bar[t].reshape(-1, 1, 1, 1)
        for group in optimizer.param_groups:
            group["lr"] = lr * (steps - step) / TAMING if tame else learning_rate(step, steps, lr)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            guess = painter(a.sqrt() * x + (1 - a).sqrt() * noise, t, ids)
        error = (guess.float() - noise).pow(2).mean(dim=(1, 2, 3))
        loss = (importance(bar[t]) * error).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(painter.parameters(), 1.0)
        optimizer.step()
        mean.update_parameters(painter)
        running = 0.99 * running + 0.01 * error.mean().item()
        if step % 100 == 99 or step == steps - 1:
            speed = (step + 1 - start) * batch / (time.time() - begun)
            print(
                f"step {step + 1} loss {running / (1 - 0.99 ** (step + 1 - start)):.4f} {speed:.0f} img/s", flush=True
            )
        if time.time() - saved > 240 or step == steps - 1:
            checkpoint.save(out, step + 1, {"painter": painter, "mean": mean}, optimizer)
            saved = time.time()


def pipeline(data: Path, vae_path: Path, path: Path) -> StableDiffusionPipeline:
    """The averaged model of a checkpoint as a StableDiffusionPipeline."""
    tokenizer = words.tokenizer(Path("build/tokenizer"))
    vae = with_decoder(vae_path, vae_path.with_name("decoder.safetensors"))
    _, factor = latents(vae, pictures.to_tensor([p for _, _, p in pictures.vocabulary(sets.load(data))]))
    vae.register_to_config(scaling_factor=factor)
    mean = AveragedModel(Painter(len(tokenizer)))
    checkpoint.resume(path, {"mean": mean}, None)
    painter: Painter = mean.module.eval()  # type: ignore[assignment]
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=painter.text,
        tokenizer=tokenizer,
        unet=painter.unet,
        scheduler=DDIMScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/sets"))
    parser.add_argument("--vae", type=Path, default=Path("build/autoencoder.safetensors"))
    parser.add_argument("--out", type=Path, default=Path("build/generator.safetensors"))
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=8e-4)
    parser.add_argument("--tame", action="store_true", help="the last steps: line art less often, the rate to zero")
    args = parser.parse_args()
    train(args.data, args.vae, args.out, args.steps, args.batch, args.lr, args.tame)
