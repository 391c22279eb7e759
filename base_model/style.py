"""Train the bundled judge of style: a small ResNet on real emoji, measured on things that no training sees.

A network of its own, and not a second question to the judge of things: colour is part of a style, and must not be part
of a thing.
"""

import argparse
import math
import random
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, interpolate
from transformers import ResNetConfig, ResNetForImageClassification

from base_model import judge, pictures, training
from base_model.training import Plan
from base_model.vocabulary import STYLES

CONFIG = {
    "embedding_size": 32,
    "hidden_sizes": [32, 64, 128],
    "depths": [1, 1, 1],
    "layer_type": "basic",
    "id2label": dict(enumerate(STYLES)),
    "label2id": {style: place for place, style in enumerate(STYLES)},
}


def new() -> ResNetForImageClassification:
    """The network before its training."""
    return ResNetForImageClassification(ResNetConfig(**CONFIG))


def turned(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn every picture by up to 15 degrees and zoom by a quarter in or out: a style is the same from near and far."""
    b = len(images)
    angle = math.radians(15) * (2 * torch.rand(b, generator=generator) - 1)
    zoom = 0.8 + 0.45 * torch.rand(b, generator=generator)
    rows = [torch.stack([zoom * angle.cos(), -zoom * angle.sin(), torch.zeros(b)], 1)]
    rows += [torch.stack([zoom * angle.sin(), zoom * angle.cos(), torch.zeros(b)], 1)]
    grid = affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


def softened(images: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the pictures as if drawn by a small model: less sharp, and a little noisy."""
    b, side = len(images), images.shape[-1]
    lower = int(torch.randint(side // 2, side, (), generator=generator))
    soft = interpolate(interpolate(images, size=lower, mode="area"), size=side, mode="bilinear")
    soft = soft + 0.05 * torch.randn(images.shape, generator=generator)
    return torch.where(torch.rand(b, 1, 1, 1, generator=generator) < 0.5, soft, images)


@torch.no_grad()
def measure(network: torch.nn.Module, rows: list[judge.Row]) -> float:
    """Share of real pictures whose style it names."""
    network.eval()
    parts = pictures.to_tensor([pictures.laid(row.icon) for row in rows]).split(64)
    guess = torch.cat([network(pixel_values=part).logits.argmax(1) for part in parts]).tolist()
    network.train()
    return sum(list(STYLES)[g] == row.style for g, row in zip(guess, rows, strict=True)) / len(rows)


def train(data: judge.Data, plan: Plan, seed: int = 3) -> bool:
    """Train from the newest checkpoint on; returns whether all steps are done."""
    torch.manual_seed(seed)
    network = new()
    styles, known = list(STYLES), data.known + data.rest

    def loss_at(step: int) -> Tensor:
        rng = random.Random(seed * 7_000_003 + step)
        generator = torch.Generator().manual_seed(seed * 7_000_003 + step)
        picks = [rng.choice(known) for _ in range(plan.batch)]
        plain = pictures.to_tensor([pictures.laid(row.icon, judge.look_of(rng)) for row in picks])
        images = softened(turned(pictures.augment(plain, generator, tint=0.2, shift=5), generator), generator)
        asked = torch.tensor([styles.index(row.style) for row in picks])  # type: ignore[arg-type]
        return cross_entropy(network(pixel_values=images).logits, asked, label_smoothing=0.05)

    return training.train(network, plan, loss_at, lambda module: f"style {measure(module, data.other_things):.3f}")


def write(out: Path, folder: Path) -> None:
    """The network in half precision, in the folder of the package."""
    network = training.load_learner(new(), out)
    folder.mkdir(parents=True, exist_ok=True)
    network.config.save_pretrained(folder)  # type: ignore[operator, union-attr]
    state = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors", {"format": "pt"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/sets"))
    parser.add_argument("--out", type=Path, default=Path("build/style"))
    parser.add_argument("--steps", type=int, default=8600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    args = parser.parse_args()
    plan = Plan(
        out=args.out,
        steps=args.steps,
        batch=args.batch,
        rate=lambda step: args.lr * min(1.0, (step + 1) / 100) * (1 - step / args.steps),
        weight_decay=0.05,
        log_every=200,
        save_seconds=60,
    )
    train(judge.rows(args.data), plan)
