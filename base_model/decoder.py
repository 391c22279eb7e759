"""Sharpen the decoder on the vocabulary; the encoder, and so every latent, does not change.

May run at any time after `base_model.autoencoder`, also while or after the generator trains.
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from base_model import autoencoder, sets, training, training_images
from base_model.training import Plan
from base_model.vocabulary import LOOKS

# the generator's latents are inexact, so the decoder trains on errors of this size
LATENT_NOISE = 0.08


def averaged(path: Path) -> AutoencoderKL:
    """Return the averaged autoencoder of `base_model.autoencoder`."""
    return training.load_averaged(AutoencoderKL(**autoencoder.CONFIG), path)  # type: ignore[return-value]


def with_decoder(path: Path, decoder: Path) -> AutoencoderKL:
    """Return the averaged autoencoder, with the sharpened decoder if it exists."""
    vae = averaged(path)
    if decoder.exists():
        parts = training.load_averaged(nn.ModuleList([vae.post_quant_conv, vae.decoder]), decoder)
        vae.post_quant_conv, vae.decoder = parts
    return vae.eval()


def train(data: Path, vae_path: Path, plan: Plan, seed: int = 2) -> bool:
    """Train from the newest checkpoint, and return whether all steps are done."""
    emoji = sets.load(data)
    icons = [icon for *_, icon in training_images.vocabulary(emoji)]
    plain = training_images.to_tensor([training_images.laid(icon) for icon in icons])
    looks = list(LOOKS)
    known = training_images.to_tensor([training_images.laid(icon, look) for icon in icons for look in looks])
    chances = torch.tensor(list(LOOKS.values())).repeat(len(icons))
    every = training_images.to_tensor(training_images.everything(emoji))
    vae = averaged(vae_path).requires_grad_(False)
    learner = nn.ModuleList([vae.post_quant_conv, vae.decoder]).requires_grad_(True)

    def loss_at(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        some = known[torch.multinomial(chances, plan.batch * 3 // 4, generator=generator)]
        other = every[torch.randint(len(every), (plan.batch - len(some),), generator=generator)]
        images = training_images.augment(torch.cat([some, other]), generator, tint=0.2, shift=1)
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            z = vae.encode(images).latent_dist.mean.float()
        z = z + LATENT_NOISE * torch.randn(z.shape, generator=generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = vae.decode(z).sample
        difference = out.float() - images
        return difference.abs().mean() + difference.pow(2).mean() + 0.5 * autoencoder.edges(out.float(), images)

    done = training.train(learner, plan, loss_at, lambda mean: "")
    vae = with_decoder(vae_path, plan.out)
    print(f"psnr {autoencoder.psnr(vae, plain):.2f} dB; other pages {autoencoder.psnr(vae, known[5::37]):.2f} dB")
    return done


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/sets"))
    parser.add_argument("--vae", type=Path, default=Path("build/autoencoder"))
    parser.add_argument("--out", type=Path, default=Path("build/decoder"))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=8e-4)
    args = parser.parse_args()

    def rate(step: int) -> float:
        return args.lr * min(1.0, (step + 1) / 50) * min(1.0, (args.steps - step) / (0.7 * args.steps))

    train(args.data, args.vae, Plan(out=args.out, steps=args.steps, batch=args.batch, rate=rate, decay=0.99))
