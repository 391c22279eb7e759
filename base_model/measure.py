"""Measure the bundled model, judge and style classifier for the model card, and print one JSON object (minutes)."""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from base_model import training_images
from base_model.judge import Row, rows
from base_model.vocabulary import CONCEPTS, GROUPS, PAGES, STYLES, SYNONYMS, held_out
from thumbtune.evaluation.scorers.faithfulness import FaithfulnessJudge
from thumbtune.evaluation.scorers.style_classifier import StyleClassifier
from thumbtune.evaluation.scorers.tastes import TASTES
from thumbtune.evaluation.statistics import wilson
from thumbtune.experiments.demo import prompt_of
from thumbtune.models.families.stable_diffusion import StableDiffusion
from thumbtune.models.loading import load_pipeline
from thumbtune.models.protocol import Sampler

BUNDLED = Path("src/thumbtune/bundled")
FIRST_SEED = 9_000  # no image of these seeds was viewed or used for a decision


def image_of(row: Row) -> Image.Image:
    """Return a real image on white."""
    return Image.fromarray(training_images.laid(row.icon))


@dataclass(frozen=True)
class Judges:
    """The judge of concepts and the style classifier of the package."""

    things: FaithfulnessJudge
    styles: StyleClassifier


def judged(
    judges: Judges, images: list[Image.Image], names: Sequence[str], styles: Sequence[str] | None = None
) -> dict[str, float]:
    """Return the shares of images with the correct name first and in the first five of 48, and the correct style."""
    found = judges.things.names(images, top=5)
    pairs = list(zip(names, found, strict=True))
    result = {
        "images": len(pairs),
        "top1": round(sum(n == f[0] for n, f in pairs) / len(pairs), 3),
        "top5": round(sum(n in f for n, f in pairs) / len(pairs), 3),
        "faithfulness": round(float(judges.things.score(images, list(names)).mean()), 3),
    }
    if styles is not None:
        right = sum(a == b for a, b in zip(judges.styles.names(images), styles, strict=True))
        result["style"] = round(right / len(pairs), 3)
    return result


def named(judge: StyleClassifier, images: list[Image.Image], styles: Sequence[str]) -> dict[str, float]:
    """Return the share of correct styles, with Wilson's 95% interval, and the share of each network alone."""
    right = sum(a == b for a, b in zip(judge.names(images), styles, strict=True))
    interval = wilson(right, len(styles))
    found = {"share": right / len(styles), "low": interval.low, "high": interval.high}
    both = judge.networks
    for network in both:
        judge.networks = [network]
        alone = sum(a == b for a, b in zip(judge.names(images), styles, strict=True))
        found[f"by the network of {network.config.image_size} px alone"] = alone / len(styles)
    judge.networks = both
    return {name: round(value, 3) for name, value in found.items()}


def generate_images(model: StableDiffusion, prompts: Sequence[str], guidance: float = 3.0) -> list[Image.Image]:
    """Return an image for every prompt, each with its own seed."""
    images: list[Image.Image] = []
    for start in range(0, len(prompts), 32):
        part = list(prompts[start : start + 32])
        images += model.generate(
            part, range(FIRST_SEED + start, FIRST_SEED + start + len(part)), Sampler(guidance=guidance)
        )
    return images


@torch.no_grad()
def decoded(model: StableDiffusion, images: Sequence[Image.Image]) -> list[Image.Image]:
    """Return real images reconstructed by the autoencoder, the best that a generated image can be."""
    vae = model.pipeline.vae
    pixels = training_images.to_tensor([np.asarray(image) for image in images])
    out = torch.cat([vae.decode(vae.encode(part).latent_dist.mean).sample for part in pixels.split(32)])
    bytes_ = ((out.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(image) for image in bytes_]


def nearest(images: Sequence[Image.Image], real: np.ndarray) -> float:
    """Return the median decibels between images and their nearest real images, mirrored or not; high means copied."""
    both = np.concatenate([real, real[:, :, ::-1]]).astype(np.float32) / 255
    errors = [((both - np.asarray(image, dtype=np.float32) / 255) ** 2).mean((1, 2, 3)).min() for image in images]
    return round(float(np.median(-10 * np.log10(np.maximum(errors, 1e-9)))), 1)


def ink(images: Sequence[Image.Image]) -> float:
    """Return the mean score of `line-art`."""
    return round(float(np.mean([TASTES["line-art"].score(image) for image in images])), 3)


def seconds(model: StableDiffusion) -> dict[str, float]:
    """Return the seconds of one guided image, alone and in a batch of 16: medians of three after a warm-up."""
    found = {}
    for together in (1, 16):
        took = []
        for turn in range(4):
            begun = time.perf_counter()
            model.generate(["a red apple"] * together, range(turn * together, (turn + 1) * together), Sampler())
            took.append((time.perf_counter() - begun) / together)
        found["alone" if together == 1 else f"of {together}"] = round(float(np.median(took[1:])), 2)
    return found | {"threads": torch.get_num_threads()}


def measure(data: Path, seeds: int) -> dict[str, object]:
    """Return every number of the model card."""
    judges, real = Judges(FaithfulnessJudge(BUNDLED / "judge"), StyleClassifier(BUNDLED / "style")), rows(data)
    model = StableDiffusion(load_pipeline(str(BUNDLED / "tiny-emoji-64")))
    result: dict[str, object] = {
        "real, the vocabulary, training data of the judge": judged(
            judges, [image_of(r) for r in real.known], [r.name for r in real.known], [r.style or "" for r in real.known]
        ),
        "real, Twemoji, a style outside its training": judged(
            judges, [image_of(r) for r in real.other_style], [r.name for r in real.other_style]
        ),
    }
    unseen = [image_of(r) for r in real.other_things], [r.style or "" for r in real.other_things]
    result["real, style of things outside its training"] = named(judges.styles, *unseen)
    through = decoded(model, [image_of(r) for r in real.known])
    result["real, the vocabulary, reconstructed by the autoencoder, training data of the large style network"] = judged(
        judges, through, [r.name for r in real.known], [r.style or "" for r in real.known]
    )
    plain = [name for name in CONCEPTS for _ in range(seeds)]
    for guidance in (3.0, 2.0, 1.0):
        images = generate_images(model, [prompt_of(name) for name in plain], guidance)
        result[f"generated, no style in the prompt, guidance {guidance:g}"] = judged(judges, images, plain) | {
            "black ink": ink(images)
        }
    asked = [(name, style) for name in CONCEPTS for style in STYLES]
    images = generate_images(model, [f"{prompt_of(name)}, {style}" for name, style in asked])
    icons = np.stack([training_images.laid(row.icon) for row in real.known if not held_out(row.name, row.style or "")])
    result["generated, similarity to the nearest training image, dB"] = nearest(images, icons)
    result["Twemoji, the same"] = nearest([image_of(r) for r in real.other_style], icons)

    def part(keep: list[bool]) -> dict[str, float]:
        places = [i for i, kept in enumerate(keep) if kept]
        names, styles = [asked[i][0] for i in places], [asked[i][1] for i in places]
        return judged(judges, [images[i] for i in places], names, styles)

    result["generated, every style in the prompt"] = part([True] * len(asked))
    result["generated, style of all"] = named(judges.styles, images, [style for _, style in asked])
    shown = [i for i, pair in enumerate(asked) if not held_out(*pair)]
    result["generated, style of the trained combinations"] = named(
        judges.styles, [images[i] for i in shown], [asked[i][1] for i in shown]
    )
    result["generated, held-out combinations"] = part([held_out(*pair) for pair in asked])
    for style in STYLES:
        result[f"generated, {style}"] = part([pair[1] == style for pair in asked])
    for group, members in GROUPS.items():
        result[f"generated, {group}"] = part([pair[0] in members for pair in asked])
    other = [(name, synonym) for name, synonyms in SYNONYMS.items() for synonym in synonyms]
    result["generated, by a synonym"] = judged(
        judges, generate_images(model, [prompt_of(s) for _, s in other]), [n for n, _ in other]
    )
    result |= looks(model, judges)
    result["seconds for one image, 25 steps, guided"] = seconds(model)
    real_ink = {style: ink([image_of(row) for row in real.known if row.style == style]) for style in STYLES}
    return result | {"black ink of real images": real_ink}


def looks(model: StableDiffusion, judges: Judges) -> dict[str, object]:
    """Return whether pages and sizes match the prompt: the nearest page at the corners, and the covered share."""
    asked = [(name, page) for name, page in zip(CONCEPTS, list(PAGES) * 6, strict=True)]
    images = generate_images(model, [f"{prompt_of(name)}, on {page}" for name, page in asked])
    colours = np.array([*PAGES.values(), (255, 255, 255)], dtype=float)
    names = [*PAGES, "white"]

    def page_of(image: Image.Image) -> str:
        corners = np.asarray(image, dtype=float)[[2, 2, -3, -3], [2, -3, 2, -3]]
        return names[int(((np.median(corners, axis=0) - colours) ** 2).sum(1).argmin())]

    right = float(np.mean([page_of(image) == page for image, (_, page) in zip(images, asked, strict=True)]))
    covered = {}
    for word in ("", "small "):
        some = generate_images(model, [prompt_of(f"{word}{name}") for name in CONCEPTS])
        covered[word or "usual "] = round(float(np.mean([(np.asarray(i) < 235).any(2).mean() for i in some])), 3)
    return {
        "generated, a coloured page in the prompt": judged(judges, images, list(CONCEPTS)) | {"page": round(right, 3)},
        "share of the page that is covered": {word.strip(): value for word, value in covered.items()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/sets"))
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    print(json.dumps(measure(args.data, args.seeds), indent=1))
