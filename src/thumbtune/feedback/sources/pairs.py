"""Read tables of pairs: a chosen image, a rejected image, and their prompt.

Columns: chosen and rejected (or any words of `CHOSEN_WORDS` and `REJECTED_WORDS`, also as image_chosen, chosen_image,
img_chosen, chosen_path, chosen_file_name), prompt (text, caption); and, if there, rater (user, user_id, annotator),
chosen_model and rejected_model (or model), chosen_seed and rejected_seed (or seed), source, created_at. An image is
the name of a file, its bytes, or any other cell that `image_cells` reads.

An image is identified by its bytes if the table holds them, else by the name of its file. It may be in several pairs of
its prompt, win some and lose others; the policy decides its label.
"""

from dataclasses import replace
from itertools import product
from pathlib import Path

from thumbtune.feedback.reading.cells import first, is_blank, prompt_in, text_in
from thumbtune.feedback.reading.columns import COLUMNS, Columns
from thumbtune.feedback.reading.content import may_be_image
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.feedback.reading.record import squeezed
from thumbtune.feedback.reading.rows import Record, first_row
from thumbtune.feedback.reading.splits import parquet_files
from thumbtune.feedback.sources.comparison_table import ComparisonTable
from thumbtune.feedback.sources.judgements import (
    ComparedImage,
    Judgement,
    compared_image,
)

CHOSEN_WORDS = (
    "chosen",
    "preferred",
    "winner",
    "better",
    "win",
    "good",
    "best",
    "positive",
    "accepted",
    "selected",
    "w",
)
REJECTED_WORDS = (
    *("rejected", "loser", "worse", "lose", "bad", "worst", "negative", "dispreferred", "unselected", "l", "losing"),
    *("nonpreferred", "loss"),
)
PATTERNS = ("{}", "image_{}", "{}_image", "img_{}", "{}_img", "{}_path", "{}_file_name", "{}_file", "{}_url", "path_{}")
PAIR_COLUMNS = {
    "chosen": tuple(pattern.format(word) for word, pattern in product(CHOSEN_WORDS, PATTERNS)),
    "rejected": tuple(pattern.format(word) for word, pattern in product(REJECTED_WORDS, PATTERNS)),
    "chosen_model": tuple(f"{word}_model" for word in CHOSEN_WORDS),
    "rejected_model": tuple(f"{word}_model" for word in REJECTED_WORDS),
    "chosen_seed": tuple(f"{word}_seed" for word in CHOSEN_WORDS),
    "rejected_seed": tuple(f"{word}_seed" for word in REJECTED_WORDS),
    **{key: COLUMNS[key] for key in ("prompt", "rater", "model", "seed", "source", "created_at")},
}
CHOSEN_OVER_REJECTED = (0.0, 1.0)


def recognises(path: Path) -> bool:
    """Return whether this is a table of pairs of images, not of texts, by its first row. It never raises."""
    row = first_row((parquet_files(path) or [path])[0]) or {}
    columns = Columns({}, PAIR_COLUMNS)
    if any(columns.lacks(row, side) for side in ("chosen", "rejected")):
        return False
    known = {squeezed(name) for side in ("chosen", "rejected") for name in columns.names[side]}
    return all(is_blank(cell) or may_be_image(cell) for name, cell in row.items() if squeezed(name) in known)


class Pairs(ComparisonTable):
    """A table of pairs, or a folder with the Parquet files of one split of them.

    Raises:
        UsageError: an option in `reading` is invalid, or names a column that the table lacks.
        ThumbtuneError: a file cannot be read, or no split is named.
    """

    column_names = PAIR_COLUMNS

    def _judgement_in(self, row: Record, where: str, file: Path, place: ImageRoot) -> Judgement:
        """Return the judgement in a row."""
        ours = self.columns.ours_in(row)
        details, cells = self._details.read(ours, "created_at")
        return Judgement(
            where=where,
            prompt=prompt_in(ours),
            images=(self._image(ours, "chosen", place), self._image(ours, "rejected", place)),
            ranks=CHOSEN_OVER_REJECTED,
            rater=text_in(ours, "rater"),
            source=text_in(ours, "source") or file.name,
            cells_left_out=cells,
            **details,  # type: ignore[arg-type]
        )

    def _image(self, ours: Record, side: str, place: ImageRoot) -> ComparedImage:
        """Return one of the two images.

        Raises:
            UnreadableImage: no column names it.
            ValueError: a cell holds another type of value.
        """
        details, cells = self._details.read({"seed": first(ours, (f"{side}_seed", "seed"))}, "seed")
        return replace(
            compared_image(ours[side], side, place, self.reading.allow_download),
            model=text_in({"model": first(ours, (f"{side}_model", "model"))}, "model"),
            cells_left_out=cells,
            **details,  # type: ignore[arg-type]
        )
