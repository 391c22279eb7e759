"""Put generated images into a store of likes as they are made, without a vote: people judge them there."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from thumbtune.feedback.metadata.image_files import parameters_in_file
from thumbtune.feedback.store.store import Store


def source_of(folder: str) -> str:
    """Return the source of images that `thumbtune generate` puts into a store, by the name of their folder."""
    return f"generate {folder}"


def stored(images: Iterable[tuple[str, Path]], store: Store) -> Iterator[Path]:
    """Add each (prompt, file) to the store, with the seed and the model that its file names, and yield the file.

    An image that the store has under its prompt is not added again.

    Raises:
        ThumbtuneError: the disk is full, or the database fails; earlier images are stored.
    """
    for prompt, path in images:
        made, source = parameters_in_file(path), source_of(path.resolve().parent.name)
        store.add_image(path.read_bytes(), prompt, seed=made.seed, model=made.model, source=source)
        yield path
