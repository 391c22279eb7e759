"""README.md beside the tuned weights of a run, with its images: written at the end of a training, and by an evaluation.

The last line of a card is the hash of the lines above it. A card that a person has changed is left alone. No file of a
card has a hash in SHA256SUMS, since nothing reads it back.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from thumbtune.errors import ThumbtuneError, note
from thumbtune.evaluation.duel_folder import DuelFolder
from thumbtune.files import sha256, write_png, write_text
from thumbtune.images import rgb
from thumbtune.runs import samples
from thumbtune.runs.model_card import Facts, facts_of, text_of
from thumbtune.runs.run import CARD
from thumbtune.runs.run import CARD_IMAGES as IMAGES

OWN = "<!-- sha256 of the lines above: "
MAX_IMAGES = 4
Pair = tuple[str, Path, Path]  # a prompt, the image of the base, and that of the tuned model


def write_card(folder: Path) -> Path | None:
    """Write the card of a run with its images; return its path.

    What a person has changed stays, and a card that cannot be written is told of: no training and no verdict fails for
    the text that stands beside it. Both return None.
    """
    try:
        return _written(facts_of(folder))
    except ThumbtuneError as error:
        note(f"The model card of {folder} was not written: {error}")
        return None


def _written(facts: Facts) -> Path | None:
    card = facts.result / CARD
    if card.exists() and not is_ours(card):
        note(f"{card} was changed by hand, so it stays as it is; delete it, and the next evaluation writes a new one.")
        return None
    shutil.rmtree(facts.result / IMAGES, ignore_errors=True)
    return write_text(card, sealed(text_of(with_images(facts, facts.result))))


def with_images(facts: Facts, folder: Path) -> Facts:
    """Return the facts with the images of before and after, which are written into `images` of a folder."""
    files = []
    for number, (prompt, before, after) in enumerate(_pairs(facts)):
        name = f"{IMAGES}/{number}.png"
        write_png(folder / name, beside(before, after))
        files.append((" ".join(prompt.split()), name))
    return facts_of(facts.run, files, facts.repo)


def sealed(text: str) -> str:
    """Return a card with the hash of its lines at the end."""
    return f"{text}\n{OWN}{sha256(text.encode())} -->\n"


def is_ours(card: Path) -> bool:
    """Return whether a card has the lines that were written."""
    text, _, _ = card.read_text(encoding="utf-8").rpartition(f"\n{OWN}")
    return card.read_text(encoding="utf-8") == sealed(text)


def beside(before: Path, after: Path) -> Image.Image:
    """Return two images beside each other, of clips their first frames."""
    images = []
    for file in (before, after):
        with Image.open(file) as image:
            images.append(rgb(image))
    width = sum(image.width for image in images)
    whole = Image.new("RGB", (width, max(image.height for image in images)), "white")
    whole.paste(images[0], (0, 0))
    whole.paste(images[1], (images[0].width, 0))
    return whole


def _pairs(facts: Facts) -> Iterator[Pair]:
    """Yield the images of a prompt before and after: of the evaluation, or else the samples of the training."""
    pairs = _of_duel(facts.duel) if facts.duel is not None else _of_samples(facts)
    for number, pair in enumerate(pairs):
        if number == MAX_IMAGES:
            return
        yield pair


def _of_duel(duel: DuelFolder) -> Iterator[Pair]:
    seen = set()
    for (side, prompt, seed), row in sorted(duel.images.items()):
        other = duel.images.get(("b", prompt, seed))
        if side != "a" or prompt in seen or other is None:
            continue
        before, after = (duel.folder / one["file"] for one in (row, other))
        if before.is_file() and after.is_file():
            seen.add(prompt)
            yield row["words"], before, after


def _of_samples(facts: Facts) -> Iterator[Pair]:
    names = facts.run / samples.FOLDER / samples.PROMPTS
    base, last = (samples.folder_of(facts.run, step) for step in (0, facts.recipe.train.steps))
    for number, prompt in enumerate(names.read_text(encoding="utf-8").splitlines() if names.is_file() else ()):
        for suffix in (".png", ".webp"):
            before, after = (folder / f"{number}{suffix}" for folder in (base, last))
            if before.is_file() and after.is_file():
                yield prompt, before, after
