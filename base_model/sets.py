"""Download the emoji sets from npm and render them: build/sets/<style>.npy, and the names in <style>.json.

Every icon becomes 64 x 64 x 4 bytes, with transparency, in under a minute on two cores. People and symbols are only
for the style classifier, so they are stored separately in build/sets/others.
"""

import argparse
import io
import json
import subprocess
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from base_model.vocabulary import MEASURE, STYLES

SIZE = 64
THINGS = {0, 3, 4, 5, 6, 7}  # groups of Unicode: smileys, animals-nature, food, travel, activities, objects
OTHERS = {1, 8}  # people, symbols; the sets contain almost no flags
OVERSAMPLE = 2  # rendered larger and reduced, for smoother edges


def fetch(package: str, version: str, into: Path) -> Path:
    """Download one npm package by exact version unless it exists, and return its path."""
    archive = into / f"{package.strip('@').replace('/', '-')}-{version}.tgz"
    if not archive.exists():
        subprocess.run(["npm", "pack", "--silent", f"{package}@{version}"], cwd=into, check=True)
    return archive


def icons(archive: Path) -> dict[str, str]:
    """Return name -> complete SVG text of every icon in an Iconify package."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile("package/icons.json")
        if member is None:
            raise FileNotFoundError(f"{archive} has no package/icons.json")
        data = json.load(member)
    width, height = data.get("width", 16), data.get("height", 16)
    return {
        name: (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="0 0 {icon.get("width", width)} {icon.get("height", height)}">{icon["body"]}</svg>'
        )
        for name, icon in data["icons"].items()
    }


def render(svg: str) -> Image.Image:
    """Return an SVG as a SIZE x SIZE RGBA image, centred on a transparent page."""
    import resvg_py

    side = SIZE * OVERSAMPLE
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side))
    icon = Image.open(io.BytesIO(png)).convert("RGBA")
    page = Image.new("RGBA", (side, side), (255, 255, 255, 0))
    page.paste(icon, ((side - icon.width) // 2, (side - icon.height) // 2))
    return page.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def build(out: Path, archives: Path, captions: set[str], styles: list[str]) -> None:
    """Render sets into `out`, only the icons with a name in `captions`."""
    out.mkdir(parents=True, exist_ok=True)
    known = STYLES | dict([MEASURE])
    for style in styles:
        package, version, _ = known[style]
        if (out / f"{style.replace(' ', '-')}.json").exists():  # written last
            continue
        svgs = icons(fetch(package, version, archives))
        names = sorted(name for name in svgs if name in captions)
        images = np.stack([np.asarray(render(svgs[name])) for name in names])
        stem = style.replace(" ", "-")
        np.save(out / f"{stem}.npy", images)
        (out / f"{stem}.json").write_text(json.dumps(names))
        print(f"{style}: {len(names)} images", flush=True)


def labels(archives: Path, groups: set[int]) -> set[str]:
    """Return the icon names of some Unicode groups."""
    archive = fetch("emojibase-data", "17.0.0", archives)
    with tarfile.open(archive) as tar:
        rows = json.load(tar.extractfile("package/en/data.json"))  # type: ignore[arg-type]
    return {
        "".join(c if c.isalnum() else "-" for c in row["label"].lower()).replace("--", "-").strip("-")
        for row in rows
        if row.get("group") in groups
    }


def load(out: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return style -> icon name -> uint8 icon [64, 64, 4]."""
    return {style: load_one(out, style) for style in STYLES}


def load_one(out: Path, style: str) -> dict[str, np.ndarray]:
    """Return icon name -> uint8 icon [64, 64, 4] of one set."""
    stem = style.replace(" ", "-")
    names = json.loads((out / f"{stem}.json").read_text())
    return dict(zip(names, np.load(out / f"{stem}.npy", mmap_mode="r"), strict=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/sets"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    build(out, out, labels(out, THINGS), [*STYLES, MEASURE[0]])
    build(out / "others", out, labels(out, OTHERS), list(STYLES))
