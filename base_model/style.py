"""Train the bundled style classifier: two ResNets on emoji, measured on real emoji of things outside all trainings.

The classifier is separate from the judge of concepts, because colour is part of a style but not of a concept. The small
network is best on the vocabulary. The large one reads enlarged images and trains on more of them: people and symbols,
reconstructions by the autoencoder (its smoothing must not count as a style), and images combined from two. Their
probabilities are averaged.
"""

import argparse
import math
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, interpolate
from transformers import ResNetConfig, ResNetForImageClassification

from base_model import judge, sets, training, training_images
from base_model.decoder import with_decoder
from base_model.training import Plan
from base_model.vocabulary import STYLES
from thumbtune.evaluation.scorers.style_classifier import enlarge

SEED = 3


@dataclass(frozen=True, kw_only=True)
class Network:
    """One of the two networks and its training data.

    side:    pixels of its input images
    depth:   layers of each of its three stages
    others:  whether it trains on people and symbols too
    redrawn: share of images reconstructed by the autoencoder
    patched: share of images with a patch of another image
    """

    side: int
    depth: int
    steps: int
    others: bool = False
    redrawn: float = 0.0
    patched: float = 0.0

    def new(self) -> ResNetForImageClassification:
        """Return the untrained network."""
        config = ResNetConfig(
            embedding_size=32,
            hidden_sizes=[32, 64, 128],
            depths=[self.depth] * 3,
            layer_type="basic",
            id2label=dict(enumerate(STYLES)),
            label2id={style: place for place, style in enumerate(STYLES)},
            image_size=self.side,  # ours, stored in ResNet's config
        )
        return ResNetForImageClassification(config)


NETWORKS = {
    "small": Network(side=64, depth=1, steps=8600),
    "large": Network(side=128, depth=2, steps=6500, others=True, redrawn=0.3, patched=0.5),
}


def turned(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images rotated by up to 15 degrees and zoomed by up to a quarter; neither changes a style."""
    b = len(images)
    angle = math.radians(15) * (2 * torch.rand(b, generator=generator) - 1)
    zoom = 0.8 + 0.45 * torch.rand(b, generator=generator)
    rows = [torch.stack([zoom * angle.cos(), -zoom * angle.sin(), torch.zeros(b)], 1)]
    rows += [torch.stack([zoom * angle.sin(), zoom * angle.cos(), torch.zeros(b)], 1)]
    grid = affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


def softened(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images of which half are blurred and slightly noisy, like images of a small model."""
    b, side = len(images), images.shape[-1]
    lower = int(torch.randint(side // 2, side, (), generator=generator))
    soft = interpolate(interpolate(images, size=lower, mode="area"), size=side, mode="bilinear")
    soft = soft + 0.05 * torch.randn(images.shape, generator=generator)
    return torch.where(torch.rand(b, 1, 1, 1, generator=generator) < 0.5, soft, images)


def patched(images: Tensor, labels: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return images of which a share contains a patch of a neighbour, and mixed labels: CutMix (Yun et al., 2019).

    Every part of an image shows its style, so the network must recognise it from any part.
    """
    b, side = len(images), images.shape[-1]
    out, mixed = images.clone(), labels.clone()
    for i in range(b):
        if torch.rand((), generator=generator) < share:
            height, width = (torch.rand(2, generator=generator) * 0.5 + 0.25).mul(side).int().tolist()
            y, x = (int(torch.randint(side - n + 1, (), generator=generator)) for n in (height, width))
            part = height * width / side**2
            out[i, :, y : y + height, x : x + width] = images[i - 1, :, y : y + height, x : x + width]
            mixed[i] = (1 - part) * labels[i] + part * labels[i - 1]
    return out, mixed


@torch.no_grad()
def measure(network: torch.nn.Module, side: int, rows: list[judge.Row]) -> float:
    """Return the share of real images with the correct style."""
    network.eval()
    parts = training_images.to_tensor([training_images.laid(row.icon) for row in rows]).split(64)
    guess = torch.cat([network(pixel_values=enlarge(part, side)).logits.argmax(1) for part in parts]).tolist()
    network.train()
    return sum(list(STYLES)[g] == row.style for g, row in zip(guess, rows, strict=True)) / len(rows)


def lessons(data: judge.Data, others: Path | None) -> dict[str, list[judge.Row]]:
    """Return style -> its training images: those of the judge of concepts, and people and symbols if given."""
    more = sets.load(others) if others else {}
    rows = data.known + data.rest
    rows += [judge.Row(name, style, icon) for style, named in more.items() for name, icon in named.items()]
    return {style: [row for row in rows if row.style == style] for style in STYLES}


@torch.no_grad()
def redrawn(vae: AutoencoderKL, rows: list[judge.Row]) -> Tensor:
    """Return the images of rows on white, reconstructed by the autoencoder: [n, 3, 64, 64] in -1..1, half precision."""
    parts = [
        training_images.to_tensor([training_images.laid(row.icon) for row in rows[i : i + 64]])
        for i in range(0, len(rows), 64)
    ]
    out = [vae.decode(vae.encode(part).latent_dist.mean).sample.clamp(-1, 1).half() for part in parts]
    return torch.cat(out)


def train(
    kind: Network, known: dict[str, list[judge.Row]], unseen: list[judge.Row], vae: AutoencoderKL, plan: Plan
) -> bool:
    """Train from the newest checkpoint, measure on `unseen`, and return whether all steps are done."""
    torch.manual_seed(SEED)
    network = kind.new().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    styles = list(STYLES)
    again = {style: redrawn(vae, rows) for style, rows in known.items()} if kind.redrawn else {}

    def image(style: str, rng: random.Random) -> Tensor:
        place = rng.randrange(len(known[style]))
        if rng.random() < kind.redrawn:
            return again[style][place].float()
        return training_images.to_tensor([training_images.laid(known[style][place].icon, judge.look_of(rng))])[0]

    def loss_at(step: int) -> Tensor:
        rng = random.Random(SEED * 7_000_003 + step)
        generator = torch.Generator().manual_seed(SEED * 7_000_003 + step)
        asked = [rng.randrange(len(styles)) for _ in range(plan.batch)]
        plain = torch.stack([image(styles[place], rng) for place in asked])
        images = softened(turned(training_images.augment(plain, generator, tint=0.2, shift=5), generator), generator)
        labels = torch.nn.functional.one_hot(torch.tensor(asked), len(styles)).float()
        images, labels = patched(images, labels, kind.patched, generator)
        seen = enlarge(images, kind.side).contiguous(memory_format=torch.channels_last)
        return cross_entropy(network(pixel_values=seen).logits, labels, label_smoothing=0.05)

    return training.train(network, plan, loss_at, lambda module: f"style {measure(module, kind.side, unseen):.3f}")


def write(kind: Network, out: Path, folder: Path) -> None:
    """Write a network in half precision to a folder of the package."""
    network = training.load_learner(kind.new(), out)
    folder.mkdir(parents=True, exist_ok=True)
    network.config.save_pretrained(folder)  # type: ignore[operator, union-attr]
    state = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors", {"format": "pt"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/sets"))
    parser.add_argument("--vae", type=Path, default=Path("build/autoencoder"))
    parser.add_argument("--decoder", type=Path, default=Path("build/decoder"))
    parser.add_argument("--build", type=Path, default=Path("build"), help="folder of the checkpoints")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    args = parser.parse_args()
    data, vae = judge.rows(args.data), with_decoder(args.vae, args.decoder)
    for name, kind in NETWORKS.items():
        plan = Plan(
            out=args.build / f"style-{name}",
            steps=kind.steps,
            batch=args.batch,
            rate=lambda step, steps=kind.steps: args.lr * min(1.0, (step + 1) / 100) * (1 - step / steps),
            weight_decay=0.05,
            log_every=200,
            save_seconds=60,
        )
        train(kind, lessons(data, args.data / "others" if kind.others else None), data.other_things, vae, plan)
