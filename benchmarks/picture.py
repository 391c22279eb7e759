"""The README's image: every judged prompt at its first seed, before above after, from the folder of a demo.

python benchmarks/image.py demo/line-art-0/run docs/before-after.png
"""

import argparse
import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

TILE, COLUMNS, MARGIN, GAP = 80, 12, 64, 14


def image(run: Path) -> Image.Image:
    """All prompts in rows of twelve; nothing is chosen."""
    result = json.loads((run / "evaluation" / "evaluation.json").read_text())
    count = len(result["prompts"])
    bands = -(-count // COLUMNS)
    page = Image.new("RGB", (MARGIN + COLUMNS * TILE + GAP, bands * (2 * TILE + GAP) + GAP), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for band in range(bands):
        top = GAP + band * (2 * TILE + GAP)
        for row, side in enumerate(("before", "after")):
            draw.text((10, top + row * TILE + TILE // 2 - 8), side, fill="#444", font=font)
            for place, prompt in enumerate(range(band * COLUMNS, min(count, (band + 1) * COLUMNS))):
                with Image.open(run / "evaluation" / side / f"{prompt:03d}-{result['seeds'][prompt][0]}.png") as tile:
                    enlarged = tile.convert("RGB").resize((TILE - 4, TILE - 4), Image.Resampling.LANCZOS)
                page.paste(enlarged, (MARGIN + place * TILE + 2, top + row * TILE + 2))
    return page


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    image(args.run).save(args.out, optimize=True)
