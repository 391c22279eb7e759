"""The README's image: every judged prompt at its first seed, before above after, from the run of a demo.

    python -m benchmarks.picture demo/line-art-0/run docs/before-after.png

Several runs stand below each other.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from thumbtune.duels.evaluate import FOLDER
from thumbtune.evaluation.duel_folder import read_duel
from thumbtune.images import rgb

TILE, COLUMNS, MARGIN, GAP = 80, 12, 64, 14
SIDES = {"a": "before", "b": "after"}


def firsts(run: Path) -> list[dict[str, Path]]:
    """Return, for each prompt of a run's evaluation, the image of its first seed on each side."""
    duel = read_duel(run / FOLDER)
    found: dict[int, dict[str, Path]] = {}
    for side, prompt, seed in sorted(duel.images):
        found.setdefault(prompt, {}).setdefault(side, duel.folder / duel.images[side, prompt, seed]["file"])
    return [found[prompt] for prompt in sorted(found)]


def bands(runs: list[Path]) -> Iterator[list[dict[str, Path]]]:
    """Yield the prompts of each run in rows of twelve; nothing is chosen."""
    for run in runs:
        prompts = firsts(run)
        yield from (prompts[start : start + COLUMNS] for start in range(0, len(prompts), COLUMNS))


def image(runs: list[Path]) -> Image.Image:
    """Return the image of some runs."""
    rows = [*bands(runs)]
    page = Image.new("RGB", (MARGIN + COLUMNS * TILE + GAP, len(rows) * (2 * TILE + GAP) + GAP), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for band, prompts in enumerate(rows):
        top = GAP + band * (2 * TILE + GAP)
        for line, (side, name) in enumerate(SIDES.items()):
            draw.text((10, top + line * TILE + TILE // 2 - 8), name, fill="#444", font=font)
            for place, files in enumerate(prompts):
                with Image.open(files[side]) as opened:
                    tile = rgb(opened).resize((TILE - 4, TILE - 4), Image.Resampling.LANCZOS)
                page.paste(tile, (MARGIN + place * TILE + 2, top + line * TILE + 2))
    return page


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="+")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    image(args.run).save(args.out, optimize=True)
