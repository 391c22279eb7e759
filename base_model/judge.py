"""Train the bundled judge: a small CLIP on real emoji, five in eight of them the vocabulary.

It is measured on pictures that neither it nor the generator ever sees: things in the style of Twemoji.
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

from base_model import pictures, sets, training, words
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
PLAIN = 0.7  # share of pictures on a white page in the usual size
KEPT_OUT = 0.2  # share of the names outside the vocabulary that only measure


@dataclass(frozen=True)
class Row:
    """A real picture: its name, its style (None for the set that measures) and its icon."""

    name: str
    style: str | None
    icon: pictures.Icon


@dataclass(frozen=True)
class Data:
    """`known` is the vocabulary, `rest` other emoji; the last two are for measuring alone."""

    known: list[Row]
    rest: list[Row]
    other_style: list[Row]  # the vocabulary as Twemoji draws it
    other_things: list[Row]  # names that no training sees, in the styles of the vocabulary


def kept_out(name: str) -> bool:
    """Whether a name outside the vocabulary is for measuring alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32 < KEPT_OUT


def rows(folder: Path) -> Data:
    """Every real picture, on the side of the split where it belongs."""
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
        known=[Row(*row) for row in pictures.vocabulary(emoji)],
        rest=[row for row in outside if not kept_out(row.name)],
        other_style=[Row(c, None, unseen[slug(c)]) for c in CONCEPTS if slug(c) in unseen],
        other_things=[row for row in outside if kept_out(row.name)],
    )


def recoloured(images: Tensor, generator: torch.Generator) -> Tensor:
    """Grey a third of the pictures and turn the colours of a quarter: shape must decide, not colour."""
    b = len(images)
    u = torch.rand(b, 1, 1, 1, generator=generator)
    grey = images.mean(1, keepdim=True).expand_as(images)
    turned = torch.stack([image[torch.randperm(3, generator=generator)] for image in images])
    out = torch.where(u < 0.3, grey, torch.where(u < 0.55, turned, images))
    noise = 0.15 * torch.rand(b, 1, 1, 1, generator=generator) * torch.randn(images.shape, generator=generator)
    return out + noise


def text_features(model: CLIPModel, tokenizer: object, texts: list[str]) -> Tensor:
    """Unit vectors of texts [n, d]."""
    ids = tokenizer(texts, padding="max_length", max_length=12, truncation=True, return_tensors="pt").input_ids  # type: ignore[operator]
    return torch.nn.functional.normalize(model.get_text_features(input_ids=ids).pooler_output.float(), dim=-1)


def image_features(model: CLIPModel, images: Tensor) -> Tensor:
    """Unit vectors of pictures [n, d]."""
    images = torch.nn.functional.interpolate(images, size=VISION["image_size"], mode="bilinear", antialias=True)
    return torch.nn.functional.normalize(model.get_image_features(pixel_values=images).pooler_output.float(), dim=-1)


@torch.no_grad()
def measure(model: CLIPModel, tokenizer: object, data: Data) -> dict[str, float]:
    """Top-1 and top-5 among the vocabulary's names on another style."""
    model.eval()

    def features(some: list[Row]) -> Tensor:
        parts = pictures.to_tensor([pictures.laid(row.icon) for row in some]).split(64)
        return torch.cat([image_features(model, part) for part in parts])

    order = (features(data.other_style) @ text_features(model, tokenizer, list(CONCEPTS)).T).argsort(1, descending=True)
    ranks = [row.index(CONCEPTS.index(r.name)) for r, row in zip(data.other_style, order.tolist(), strict=True)]
    model.train()
    return {
        "top1": round(sum(r == 0 for r in ranks) / len(ranks), 3),
        "top5": round(sum(r < 5 for r in ranks) / len(ranks), 3),
    }


def new(tokens: int) -> CLIPModel:
    """The judge before its training."""
    return CLIPModel(CLIPConfig(text_config=TEXT | {"vocab_size": tokens}, vision_config=VISION, projection_dim=96))


def look_of(rng: random.Random) -> Look:
    """White and usual most of the time."""
    return Look() if rng.random() < PLAIN else rng.choice(list(LOOKS))


def contrast(logits: Tensor, names: list[str]) -> Tensor:
    """CLIP's loss; the same name may stand in a batch more than once: all its places are right answers."""
    right = torch.tensor([[float(a == b) for b in names] for a in names])
    right = right / right.sum(1, keepdim=True)
    return (cross_entropy(logits, right) + cross_entropy(logits.T, right)) / 2


def train(data: Data, plan: Plan, tokenizer: object, seed: int = 1) -> bool:
    """Train from the newest checkpoint on; returns whether all steps are done."""
    torch.manual_seed(seed)
    model = new(len(tokenizer))  # type: ignore[arg-type]

    def loss_at(step: int) -> Tensor:
        rng = random.Random(seed * 7_000_003 + step)
        generator = torch.Generator().manual_seed(seed * 7_000_003 + step)
        picks = [rng.choice(data.known) for _ in range(plan.batch * 5 // 8)]
        picks += [rng.choice(data.rest) for _ in range(plan.batch - len(picks))]
        plain = pictures.to_tensor([pictures.laid(row.icon, look_of(rng)) for row in picks])
        shifted = pictures.augment(plain, generator, tint=0.4, shift=5)
        scale = model.logit_scale.exp().clamp(max=50)
        things = image_features(model, recoloured(shifted, generator))
        names = [row.name for row in picks]
        return contrast(scale * things @ text_features(model, tokenizer, names).T, names)

    return training.train(model, plan, loss_at, lambda module: str(measure(module, tokenizer, data)))  # type: ignore[arg-type]


def write(out: Path, folder: Path, tokenizer: object) -> None:
    """The judge in half precision, in the folder of the package, with the names that it tells apart."""
    model = new(len(tokenizer))  # type: ignore[arg-type]
    training.load_learner(model, out)
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    # position ids are a buffer that transformers makes anew; only weights are stored
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
