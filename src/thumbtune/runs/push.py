"""Gather what a run gives to others: its tuned weights, with the model card that names its repository."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from thumbtune.files import write_text
from thumbtune.runs import run
from thumbtune.runs.card_files import is_ours, sealed, with_images
from thumbtune.runs.model_card import facts_of, text_of
from thumbtune.uploads import Upload

FILES = (".safetensors", ".json")


@contextmanager
def gathered(folder: Path, repo: str, public: bool = False) -> Iterator[Upload]:
    """Return the upload of a run inside the `with` block: weights, settings of a whole network, card and its images.

    No label, no checkpoint, and no prompt but those of the card is in it. A card that a person changed is taken as it
    is.

    Raises:
        UsageError: the folder is no run.
        ThumbtuneError: the run has no result yet, or a file of it has changed since it was written.
    """
    recipe = run.recipe_in(folder)
    result = run.finished_result(folder, recipe)
    with TemporaryDirectory(prefix="thumbtune-push-") as place:
        staged = Path(place)
        for file in sorted(result.iterdir()):
            if file.suffix in FILES:
                _linked(file, staged / file.name)
        card = result / run.CARD
        if card.is_file() and not is_ours(card):
            shutil.copyfile(card, staged / run.CARD)
            if (result / run.CARD_IMAGES).is_dir():
                shutil.copytree(result / run.CARD_IMAGES, staged / run.CARD_IMAGES)
        else:
            write_text(staged / run.CARD, sealed(text_of(with_images(facts_of(folder, repo=repo), staged))))
        yield Upload(folder=staged, repo=repo, public=public, title=f"Upload {folder.resolve().name} with Thumbtune")


def _linked(file: Path, place: Path) -> None:
    """Put a file into another folder without a copy of its bytes, where the system can."""
    try:
        os.symlink(file.resolve(), place)
    except OSError:
        shutil.copyfile(file, place)
