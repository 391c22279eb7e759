"""Train the bundled autoencoder: diffusers' AutoencoderKL, 64 px -> 8 x 8 x 16.

L1 + MSE/2 + edges + a small KL. Half of each batch is images of the vocabulary, half any emoji.
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from base_model import sets, training, training_images
from base_model.training import Plan

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
    """Return the L1 between horizontal and vertical differences of two images, which keeps outlines sharp."""
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
    """Return the PSNR in decibels over images in 0..1, decoded from the latent mean."""
    errors = []
    for x in images.split(32):
        out = vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1)
        errors.append(((out - x) / 2).pow(2).mean(dim=(1, 2, 3)))
    return float(-10 * torch.cat(errors).mean().log10())


def train(data: Path, plan: Plan, seed: int = 0) -> bool:
    """Train from the newest checkpoint on; returns whether all steps are done."""
    emoji = sets.load(data)
    known = training_images.to_tensor([training_images.laid(icon) for *_, icon in training_images.vocabulary(emoji)])
    every = training_images.to_tensor(training_images.everything(emoji))
    torch.manual_seed(seed)
    vae = AutoencoderKL(**CONFIG)

    def loss_at(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        half = plan.batch // 2
        picks = [
            known[torch.randint(len(known), (half,), generator=generator)],
            every[torch.randint(len(every), (plan.batch - half,), generator=generator)],
        ]
        return loss_of(vae, training_images.augment(torch.cat(picks), generator, tint=0.3), generator)

    return training.train(vae, plan, loss_at, lambda mean: f"psnr {psnr(mean, known[::3]):.2f} dB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/sets"))
    parser.add_argument("--out", type=Path, default=Path("build/autoencoder"))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args()

    def rate(step: int) -> float:
        return args.lr * min(1.0, (step + 1) / 100) * min(1.0, (args.steps - step) / (0.3 * args.steps))

    train(args.data, Plan(out=args.out, steps=args.steps, batch=args.batch, rate=rate, decay=0.998))
