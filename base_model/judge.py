"""Train the bundled judge: a small CLIP on real emoji, five eighths of them from the vocabulary.

It is measured on emoji of Twemoji's style, on which neither the judge nor the generator is trained.
"""

import argparse
import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import CLIPConfig, CLIPModel

from base_model import sets, training, training_images, words
from base_model.training import Plan
from base_model.vocabulary import CONCEPTS, LOOKS, MEASURE, Look, slug

VISION = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 48,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": words.LENGTH,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
PLAIN = 0.7  # share of images on a white page in the usual size
KEPT_OUT = 0.2  # share of the names outside the vocabulary that are used only for measuring


@dataclass(frozen=True)
class Row:
    """A real image: its name, its style (None for the set for measuring) and its icon."""

    name: str
    style: str | None
    icon: training_images.Icon


@dataclass(frozen=True)
class Data:
    """`known` is the vocabulary, `rest` other emoji; the last two are used only for measuring."""

    known: list[Row]
    rest: list[Row]
    other_style: list[Row]  # the vocabulary in Twemoji's style
    other_things: list[Row]  # names outside all trainings, in the styles of the vocabulary


def kept_out(name: str) -> bool:
    """Return whether a name outside the vocabulary is used only for measuring."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32 < KEPT_OUT


def rows(folder: Path) -> Data:
    """Return every real image, split by use."""
    emoji = sets.load(folder)
    mine = {slug(c) for c in CONCEPTS}
    outside = [
        Row(name.replace("-", " "), style, icon)
        for style, named in emoji.items()
        for name, icon in named.items()
        if name not in mine
    ]
    unseen = sets.load_one(folder, MEASURE[0])
    return Data(
        known=[Row(*row) for row in training_images.vocabulary(emoji)],
        rest=[row for row in outside if not kept_out(row.name)],
        other_style=[Row(c, None, unseen[slug(c)]) for c in CONCEPTS if slug(c) in unseen],
        other_things=[row for row in outside if kept_out(row.name)],
    )


def recoloured(images: Tensor, generator: torch.Generator) -> Tensor:
    """Make a third of the images grey and rotate the hues of a quarter, so that shape decides and not colour."""
    b = len(images)
    u = torch.rand(b, 1, 1, 1, generator=generator)
    grey = images.mean(1, keepdim=True).expand_as(images)
    turned = torch.stack([image[torch.randperm(3, generator=generator)] for image in images])
    out = torch.where(u < 0.3, grey, torch.where(u < 0.55, turned, images))
    noise = 0.15 * torch.rand(b, 1, 1, 1, generator=generator) * torch.randn(images.shape, generator=generator)
    return out + noise


def text_features(model: CLIPModel, tokenizer: object, texts: list[str]) -> Tensor:
    """Return unit vectors of texts [n, d]."""
    ids = tokenizer(texts, padding="max_length", max_length=12, truncation=True, return_tensors="pt").input_ids  # type: ignore[operator]
    return torch.nn.functional.normalize(model.get_text_features(input_ids=ids).pooler_output.float(), dim=-1)


def image_features(model: CLIPModel, images: Tensor) -> Tensor:
    """Return unit vectors of images [n, d]."""
    images = torch.nn.functional.interpolate(images, size=VISION["image_size"], mode="bilinear", antialias=True)
    return torch.nn.functional.normalize(model.get_image_features(pixel_values=images).pooler_output.float(), dim=-1)


@torch.no_grad()
def measure(model: CLIPModel, tokenizer: object, data: Data) -> dict[str, float]:
    """Return top-1 and top-5 accuracy among the vocabulary's names, on another style."""
    model.eval()

    def features(some: list[Row]) -> Tensor:
        parts = training_images.to_tensor([training_images.laid(row.icon) for row in some]).split(64)
        return torch.cat([image_features(model, part) for part in parts])

    order = (features(data.other_style) @ text_features(model, tokenizer, list(CONCEPTS)).T).argsort(1, descending=True)
    ranks = [row.index(CONCEPTS.index(r.name)) for r, row in zip(data.other_style, order.tolist(), strict=True)]
    model.train()
    return {
        "top1": round(sum(r == 0 for r in ranks) / len(ranks), 3),
        "top5": round(sum(r < 5 for r in ranks) / len(ranks), 3),
    }


def new(tokens: int) -> CLIPModel:
    """Return the untrained judge."""
    return CLIPModel(CLIPConfig(text_config=TEXT | {"vocab_size": tokens}, vision_config=VISION, projection_dim=96))


def look_of(rng: random.Random) -> Look:
    """Return a random look, mostly white and of usual size."""
    return Look() if rng.random() < PLAIN else rng.choice(list(LOOKS))


def contrast(logits: Tensor, names: list[str]) -> Tensor:
    """Return CLIP's loss; if a name occurs several times in a batch, all its occurrences are correct."""
    right = torch.tensor([[float(a == b) for b in names] for a in names])
    right = right / right.sum(1, keepdim=True)
    return (cross_entropy(logits, right) + cross_entropy(logits.T, right)) / 2


def train(data: Data, plan: Plan, tokenizer: object, seed: int = 1) -> bool:
    """Train from the newest checkpoint, and return whether all steps are done."""
    torch.manual_seed(seed)
    model = new(len(tokenizer))  # type: ignore[arg-type]

    def loss_at(step: int) -> Tensor:
        rng = random.Random(seed * 7_000_003 + step)
        generator = torch.Generator().manual_seed(seed * 7_000_003 + step)
        picks = [rng.choice(data.known) for _ in range(plan.batch * 5 // 8)]
        picks += [rng.choice(data.rest) for _ in range(plan.batch - len(picks))]
        plain = training_images.to_tensor([training_images.laid(row.icon, look_of(rng)) for row in picks])
        shifted = training_images.augment(plain, generator, tint=0.4, shift=5)
        scale = model.logit_scale.exp().clamp(max=50)
        things = image_features(model, recoloured(shifted, generator))
        names = [row.name for row in picks]
        return contrast(scale * things @ text_features(model, tokenizer, names).T, names)

    return training.train(model, plan, loss_at, lambda module: str(measure(module, tokenizer, data)))  # type: ignore[arg-type]


def write(out: Path, folder: Path, tokenizer: object) -> None:
    """Write the judge in half precision to a folder of the package, with the names that it distinguishes."""
    model = new(len(tokenizer))  # type: ignore[arg-type]
    training.load_learner(model, out)
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    # transformers recreates the buffer of position ids; only weights are stored
    weights = {name: p.detach().half().contiguous() for name, p in model.named_parameters()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "concepts.json").write_text(json.dumps(list(CONCEPTS), indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/sets"))
    parser.add_argument("--out", type=Path, default=Path("build/judge"))
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args()

    def rate(step: int) -> float:
        return args.lr * min(1.0, (step + 1) / 200) * min(1.0, (args.steps - step) / (0.5 * args.steps))

    tokenizer = words.tokenizer(Path("build/tokenizer"))
    plan = Plan(
        out=args.out,
        steps=args.steps,
        batch=args.batch,
        rate=rate,
        weight_decay=0.05,
        betas=(0.9, 0.98),
        log_every=200,
        save_seconds=120,
    )
    train(rows(args.data), plan, tokenizer)
