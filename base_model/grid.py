"""Make the card's grid of images: 64 random prompts, one seed each, without selection.

python -m base_model.grid docs/samples.jpg
"""

import argparse
import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from base_model.measure import BUNDLED, generate_images
from base_model.vocabulary import CONCEPTS, PAGES, STYLES
from thumbtune.experiments.demo import prompt_of
from thumbtune.models.families.stable_diffusion import StableDiffusion
from thumbtune.models.loading import load_pipeline

TILE, COLUMNS, LABEL = 96, 8, 26


def prompts(count: int = 64, seed: int = 0) -> list[str]:
    """Return prompts with random concepts; half of them name a style, one in five a page."""
    rng = random.Random(seed)
    texts = []
    for _ in range(count):
        text = prompt_of(rng.choice(CONCEPTS))
        if rng.random() < 0.5:
            text += f", {rng.choice(list(STYLES))}"
        if rng.random() < 0.2:
            text += f", on {rng.choice(list(PAGES))}"
        texts.append(text)
    return texts


def grid(texts: list[str], images: list[Image.Image]) -> Image.Image:
    """Return one image with rows of images, each above its prompt."""
    rows = -(-len(texts) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * (TILE + 8), rows * (TILE + LABEL + 8)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(9)
    for place, (text, image) in enumerate(zip(texts, images, strict=True)):
        x, y = place % COLUMNS * (TILE + 8) + 4, place // COLUMNS * (TILE + LABEL + 8) + 4
        page.paste(image.resize((TILE, TILE), Image.Resampling.LANCZOS), (x, y))
        name, _, rest = text.removeprefix("an ").removeprefix("a ").partition(", ")
        draw.multiline_text((x, y + TILE + 2), f"{name}\n{rest}", fill="#444", font=font, spacing=1)
    return page


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    texts = prompts()
    model = StableDiffusion(load_pipeline(str(BUNDLED / "tiny-emoji-64")))
    grid(texts, generate_images(model, texts)).save(args.out, optimize=True, quality=88)
