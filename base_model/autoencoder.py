"""Train the bundled autoencoder: diffusers' AutoencoderKL, 64 px -> 8 x 8 x 16.

L1 + MSE/2 + edges + a small KL. Half of each batch are pictures of the vocabulary, half any emoji.
"""

import argparse
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from base_model import checkpoint, pictures, sets

CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (16, 32, 64, 128),
    "layers_per_block": 1,
    "latent_channels": 16,
    "norm_num_groups": 8,
    "sample_size": 64,
    "mid_block_add_attention": False,
}
KL_WEIGHT = 3e-4


def edges(a: Tensor, b: Tensor) -> Tensor:
    """L1 between the horizontal and vertical differences of two pictures: keeps outlines crisp."""
    d = a - b
    return d.diff(dim=-1).abs().mean() + d.diff(dim=-2).abs().mean()


def loss_of(vae: AutoencoderKL, images: Tensor, generator: torch.Generator) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        posterior = vae.encode(images).latent_dist
        z = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=generator)
        out = vae.decode(z).sample
    out = out.float()
    kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
    return (out - images).abs().mean() + 0.5 * (out - images).pow(2).mean() + 0.5 * edges(out, images) + KL_WEIGHT * kl


@torch.no_grad()
def psnr(vae: torch.nn.Module, images: Tensor) -> float:
    """Decibels over pictures in 0..1, from the latent mean."""
    errors = []
    for x in images.split(32):
        out = vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1)
        errors.append(((out - x) / 2).pow(2).mean(dim=(1, 2, 3)))
    return float(-10 * torch.cat(errors).mean().log10())


def train(data: Path, out: Path, steps: int, batch: int, lr: float, seed: int = 0) -> None:
    emoji = sets.load(data)
    known = pictures.to_tensor([p for _, _, p in pictures.vocabulary(emoji)])
    every = pictures.to_tensor(pictures.everything(emoji))
    torch.manual_seed(seed)
    vae = AutoencoderKL(**CONFIG)
    mean = torch.optim.swa_utils.AveragedModel(vae, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998))
    optimizer = torch.optim.AdamW(vae.parameters(), lr, betas=(0.9, 0.99), weight_decay=1e-4)
    start = checkpoint.resume(out, {"vae": vae, "mean": mean}, optimizer)
    begun = saved = time.time()
    for step in range(start, steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        half = batch // 2
        picks = [
            known[torch.randint(len(known), (half,), generator=generator)],
            every[torch.randint(len(every), (batch - half,), generator=generator)],
        ]
        images = pictures.augment(torch.cat(picks), generator, tint=0.3)
        warm = min(1.0, (step + 1) / 100)
        for group in optimizer.param_groups:
            group["lr"] = lr * warm * min(1.0, (steps - step) / (0.3 * steps))
        loss = loss_of(vae, images, generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        mean.update_parameters(vae)
        if step % 100 == 99 or step == steps - 1:
            speed = (step + 1 - start) * batch / (time.time() - begun)
            print(
                f"step {step + 1} loss {loss.item():.4f} psnr {psnr(mean.module, known[::3]):.2f} dB {speed:.0f} img/s",
                flush=True,
            )
        if time.time() - saved > 180 or step == steps - 1:
            checkpoint.save(out, step + 1, {"vae": vae, "mean": mean}, optimizer)
            saved = time.time()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/sets"))
    parser.add_argument("--out", type=Path, default=Path("build/autoencoder.safetensors"))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args()
    train(args.data, args.out, args.steps, args.batch, args.lr)
