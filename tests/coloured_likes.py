"""A store of eight red images that are liked and eight blue ones that are not, in the shapes that a test wants."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.store.store import Store


def likes_in(folder: Path, shapes: Sequence[tuple[int, int]]) -> Path:
    """Write the images (width, height in turn) and the store, and return the store's folder."""
    for kind, colour in (("like", (200, 0, 0)), ("dislike", (0, 0, 200))):
        for i in range(8):
            path = folder / "thumbs" / kind / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", shapes[i % len(shapes)], tuple(min(255, c + 5 * i) for c in colour)).save(path)
            path.with_suffix(".txt").write_text(f"thing {i}")
    with Store.open(folder / "likes", create=True) as store:
        import_likes(folder / "thumbs", store)
    return folder / "likes"
