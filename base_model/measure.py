"""Measure the bundled model and judge for the model card: prints one JSON object. A few minutes on two cores."""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from base_model import pictures, sets
from base_model.judge import rows
from base_model.vocabulary import CONCEPTS, STYLES
from thumbtune.demo import prompt_of
from thumbtune.evaluation.judge import Judge
from thumbtune.evaluation.tastes import TASTES
from thumbtune.models.protocol import Sampler
from thumbtune.models.stable_diffusion import StableDiffusion, load_pipeline

BUNDLED = Path("src/thumbtune/bundled")


def top(judge: Judge, images: list[Image.Image], names: list[str]) -> dict[str, float]:
    """Shares of pictures whose name the judge puts first, and in the first five, of 48."""
    found = judge.names(images, top=5)
    pairs = list(zip(names, found, strict=True))
    return {
        "pictures": len(pairs),
        "top1": round(sum(n == f[0] for n, f in pairs) / len(pairs), 3),
        "top5": round(sum(n in f for n, f in pairs) / len(pairs), 3),
        "faithfulness": round(float(judge.score(images, names).mean()), 3),
    }


def drawn(model: StableDiffusion, seeds: int, guidance: float, ending: str = "") -> tuple[list[Image.Image], list[str]]:
    """Pictures of every concept, and their names."""
    names = [name for name in CONCEPTS for _ in range(seeds)]
    prompts = [prompt_of(name) + ending for name in names]
    images: list[Image.Image] = []
    for start in range(0, len(names), 32):
        part = slice(start, start + 32)
        chosen = [500 + i for i in range(start, min(start + 32, len(names)))]
        images += model.generate(prompts[part], chosen, Sampler(guidance=guidance))
    return images, names


def measure(data: Path, seeds: int) -> dict[str, object]:
    judge = Judge(BUNDLED / "judge")
    known = pictures.vocabulary(sets.load(data))
    test = [(name, Image.fromarray(np.array(picture))) for name, picture in rows(data)[2]]
    model = StableDiffusion(load_pipeline(str(BUNDLED / "tiny-emoji-64")))
    ink = {s: [TASTES["line-art"].score(Image.fromarray(np.array(p))) for _, t, p in known if t == s] for s in STYLES}
    plain, names = drawn(model, seeds, 3.0)
    free, free_names = drawn(model, seeds, 1.0)
    asked, asked_names = drawn(model, seeds, 3.0, ", line art")
    return {
        "judge, Twemoji, which it never saw": top(judge, [image for _, image in test], [name for name, _ in test]),
        "drawn, guidance 3": top(judge, plain, names),
        "drawn, guidance 1": top(judge, free, free_names),
        "drawn, asked for line art": top(judge, asked, asked_names),
        "black ink, real pictures": {style: round(float(np.mean(values)), 3) for style, values in ink.items()},
        "black ink, drawn": {
            "guidance 3": round(float(np.mean([TASTES["line-art"].score(i) for i in plain])), 3),
            "guidance 1": round(float(np.mean([TASTES["line-art"].score(i) for i in free])), 3),
            "asked for line art": round(float(np.mean([TASTES["line-art"].score(i) for i in asked])), 3),
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/sets"))
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    print(json.dumps(measure(args.data, args.seeds), indent=1))
