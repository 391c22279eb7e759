"""Train the bundled judge: a small CLIP on real emoji, five in eight of them the vocabulary.

It is measured on Twemoji, a set that neither it nor the generator ever sees.
"""

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import CLIPConfig, CLIPModel

from base_model import checkpoint, pictures, sets, words
from base_model.vocabulary import CONCEPTS, MEASURE, slug

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

Row = tuple[str, np.ndarray]


def rows(data: Path) -> tuple[list[Row], list[Row], list[Row]]:
    """(name, picture) of the vocabulary, of every other emoji, and of the set kept for measuring."""
    emoji = sets.load(data)
    known = [(concept, picture) for concept, _, picture in pictures.vocabulary(emoji)]
    mine = {slug(c) for c in CONCEPTS}
    rest = [(n.replace("-", " "), p) for named in emoji.values() for n, p in named.items() if n not in mine]
    unseen = sets.load_one(data, MEASURE[0])
    return known, rest, [(c, unseen[slug(c)]) for c in CONCEPTS if slug(c) in unseen]


def recoloured(images: Tensor, generator: torch.Generator) -> Tensor:
    """Grey a third of the pictures and turn the colours of another third: shape must decide, not colour."""
    b = len(images)
    u = torch.rand(b, 1, 1, 1, generator=generator)
    grey = images.mean(1, keepdim=True).expand_as(images)
    turned = torch.stack([image[torch.randperm(3, generator=generator)] for image in images])
    out = torch.where(u < 0.3, grey, torch.where(u < 0.55, turned, images))
    noise = 0.15 * torch.rand(b, 1, 1, 1, generator=generator) * torch.randn(images.shape, generator=generator)
    return out + noise


def text_features(model: CLIPModel, tokenizer: object, texts: list[str]) -> Tensor:
    ids = tokenizer(texts, padding="max_length", max_length=12, truncation=True, return_tensors="pt").input_ids  # type: ignore[operator]
    return torch.nn.functional.normalize(model.get_text_features(input_ids=ids).pooler_output.float(), dim=-1)


def image_features(model: CLIPModel, images: Tensor) -> Tensor:
    images = torch.nn.functional.interpolate(images, size=VISION["image_size"], mode="bilinear", antialias=True)
    return torch.nn.functional.normalize(model.get_image_features(pixel_values=images).pooler_output.float(), dim=-1)


@torch.no_grad()
def measure(model: CLIPModel, tokenizer: object, test: list[Row]) -> dict[str, float]:
    """Top-1 and top-5 among the vocabulary, on held-out real pictures."""
    model.eval()
    seen = image_features(model, pictures.to_tensor([p for _, p in test]))
    order = (seen @ text_features(model, tokenizer, list(CONCEPTS)).T).argsort(1, descending=True)
    ranks = [row.index(CONCEPTS.index(c)) for (c, _), row in zip(test, order.tolist(), strict=True)]
    model.train()
    return {"top1": sum(r == 0 for r in ranks) / len(ranks), "top5": sum(r < 5 for r in ranks) / len(ranks)}


def train(data: Path, out: Path, steps: int, batch: int, lr: float, seed: int = 1) -> CLIPModel:
    known, rest, test = rows(data)
    tokenizer = words.tokenizer(Path("build/tokenizer"))
    torch.manual_seed(seed)
    config = CLIPConfig(text_config=TEXT | {"vocab_size": len(tokenizer)}, vision_config=VISION, projection_dim=96)
    model = CLIPModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr, betas=(0.9, 0.98), weight_decay=0.05)
    start = checkpoint.resume(out, {"judge": model}, optimizer)
    begun = saved = time.time()
    for step in range(start, steps):
        rng = random.Random(seed * 7_000_003 + step)
        generator = torch.Generator().manual_seed(seed * 7_000_003 + step)
        picks = [rng.choice(known) for _ in range(batch * 5 // 8)] + [rng.choice(rest) for _ in range(batch * 3 // 8)]
        images = pictures.augment(pictures.to_tensor([p for _, p in picks]), generator, tint=0.4, shift=5)
        images = recoloured(images, generator)
        names = [name for name, _ in picks]
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 200) * min(1.0, (steps - step) / (0.5 * steps))
        seen, told = image_features(model, images), text_features(model, tokenizer, names)
        logits = model.logit_scale.exp().clamp(max=50) * seen @ told.T
        # the same name may stand in a batch more than once: all its places are right answers
        right = torch.tensor([[float(a == b) for b in names] for a in names])
        right = right / right.sum(1, keepdim=True)
        loss = (cross_entropy(logits, right) + cross_entropy(logits.T, right)) / 2
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 200 == 199 or step == steps - 1:
            speed = (step + 1 - start) * batch / (time.time() - begun)
            print(
                f"step {step + 1} loss {loss.item():.3f} {measure(model, tokenizer, test)} {speed:.0f} img/s",
                flush=True,
            )
        if time.time() - saved > 120 or step == steps - 1:
            checkpoint.save(out, step + 1, {"judge": model}, optimizer)
            saved = time.time()
    return model


def write(out: Path, folder: Path) -> None:
    """The judge in half precision, in the folder of the package, with the concepts that it tells apart."""
    tokenizer = words.tokenizer(Path("build/tokenizer"))
    model = CLIPModel(
        CLIPConfig(text_config=TEXT | {"vocab_size": len(tokenizer)}, vision_config=VISION, projection_dim=96)
    )
    checkpoint.resume(out, {"judge": model}, None)
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # position ids are a buffer that transformers makes anew; only weights are stored
    weights = {name: p.detach().half().contiguous() for name, p in model.named_parameters()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "concepts.json").write_text(json.dumps(list(CONCEPTS), indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/sets"))
    parser.add_argument("--out", type=Path, default=Path("build/judge.safetensors"))
    parser.add_argument("--package", type=Path, default=Path("src/thumbtune/bundled/judge"))
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args()
    train(args.data, args.out, args.steps, args.batch, args.lr)
    write(args.out, args.package)
