"""Sharpen the decoder: the encoder, and so every latent, stays as it is while the decoder trains on the vocabulary.

May run at any time after `base_model.autoencoder`, also while or after the generator trains.
"""

import argparse
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from base_model import autoencoder, checkpoint, pictures, sets

# the generator's latents are not exact: the decoder learns to forgive an error of this size
LATENT_NOISE = 0.08


def averaged(path: Path) -> AutoencoderKL:
    """The averaged autoencoder of `base_model.autoencoder`."""
    mean = AveragedModel(AutoencoderKL(**autoencoder.CONFIG))
    checkpoint.resume(path, {"mean": mean}, None)
    return mean.module.eval()


def with_decoder(path: Path, decoder: Path) -> AutoencoderKL:
    """The averaged autoencoder, with the sharpened decoder where there is one."""
    vae = averaged(path)
    if decoder.exists():
        mean = AveragedModel(torch.nn.ModuleList([vae.post_quant_conv, vae.decoder]))
        checkpoint.resume(decoder, {"mean": mean}, None)
        vae.post_quant_conv, vae.decoder = mean.module
    return vae.eval()


def train(data: Path, vae_path: Path, out: Path, steps: int, batch: int, lr: float, seed: int = 2) -> None:
    emoji = sets.load(data)
    known = pictures.to_tensor([p for _, _, p in pictures.vocabulary(emoji)])
    every = pictures.to_tensor(pictures.everything(emoji))
    vae = averaged(vae_path).requires_grad_(False)
    before = autoencoder.psnr(vae, known)
    learner = torch.nn.ModuleList([vae.post_quant_conv, vae.decoder]).requires_grad_(True)
    mean = AveragedModel(learner, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    optimizer = torch.optim.AdamW(learner.parameters(), lr, betas=(0.9, 0.99), weight_decay=1e-4)
    start = checkpoint.resume(out, {"learner": learner, "mean": mean}, optimizer)
    begun = saved = time.time()
    for step in range(start, steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        some = known[torch.randint(len(known), (batch * 3 // 4,), generator=generator)]
        other = every[torch.randint(len(every), (batch - len(some),), generator=generator)]
        images = pictures.augment(torch.cat([some, other]), generator, tint=0.2, shift=1)
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            z = vae.encode(images).latent_dist.mean.float()
        z = z + LATENT_NOISE * torch.randn(z.shape, generator=generator)
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 50) * min(1.0, (steps - step) / (0.7 * steps))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out_images = vae.decode(z).sample
        difference = out_images.float() - images
        loss = difference.abs().mean() + difference.pow(2).mean() + 0.5 * autoencoder.edges(out_images.float(), images)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        mean.update_parameters(learner)
        if step % 100 == 99 or step == steps - 1:
            speed = (step + 1 - start) * batch / (time.time() - begun)
            print(f"step {step + 1} loss {loss.item():.4f} {speed:.0f} img/s", flush=True)
        if time.time() - saved > 90 or step == steps - 1:
            checkpoint.save(out, step + 1, {"learner": learner, "mean": mean}, optimizer)
            saved = time.time()
    print(f"psnr {before:.2f} -> {autoencoder.psnr(with_decoder(vae_path, out), known):.2f} dB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/sets"))
    parser.add_argument("--vae", type=Path, default=Path("build/autoencoder.safetensors"))
    parser.add_argument("--out", type=Path, default=Path("build/decoder.safetensors"))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=8e-4)
    args = parser.parse_args()
    train(args.data, args.vae, args.out, args.steps, args.batch, args.lr)
