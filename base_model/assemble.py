"""Write the trained parts into the package: a diffusers folder in half precision, judge, style classifier, concepts."""

import argparse
import json
from pathlib import Path

import torch

from base_model import generator, judge, style, words
from base_model.vocabulary import RATED, UNRATED, as_bundled
from thumbtune.models.merging import mend_settings

BUNDLED = Path("src/thumbtune/bundled")


def write_vocabulary(out: Path) -> None:
    """Write the words that the model knows."""
    (out / "vocabulary.json").write_text(json.dumps(as_bundled(), indent=1) + "\n")


def assemble(build: Path, out: Path) -> None:
    pipeline = generator.pipeline(build)
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(out / "tiny-emoji-64", safe_serialization=True)
    for settings in (out / "tiny-emoji-64").rglob("config.json"):
        mend_settings(settings)
    judge.write(build / "judge", out / "judge", words.tokenizer(build / "tokenizer"))
    for name, kind in style.NETWORKS.items():
        style.write(kind, build / f"style-{name}", out / "style" / name)
    (out / "concepts.json").write_text(json.dumps({"rated": RATED, "unrated": UNRATED}, indent=1) + "\n")
    write_vocabulary(out)
    total = sum(f.stat().st_size for f in out.rglob("*.safetensors"))
    print(f"weights: {total / 1e6:.1f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--out", type=Path, default=BUNDLED)
    args = parser.parse_args()
    assemble(args.build, args.out)
