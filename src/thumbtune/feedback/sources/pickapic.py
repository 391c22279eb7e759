"""Read Pick-a-Pic, the data of the paper: a million comparisons of two images, in Parquet, with the images inside.

Its columns (versions 1 and 2): caption; image_0_uid, jpg_0, label_0, model_0, image_0_url; the same for image 1; and
has_label, are_different, best_image_uid, user_id, ranking_id, created_at, num_example_per_prompt. A label is 1 for the
better image, 0 for the other, 0.5 for both where neither is. Rows that nobody judged (has_label is false) or whose
images are the same (are_different is false) are counted and left out.

An image is identified by its uid and its caption. A rater is the data set's number of a user.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from thumbtune.feedback.reading.cells import label_in, number_in, prompt_in, text_in
from thumbtune.feedback.reading.details import Details
from thumbtune.feedback.reading.record import Record, lowered_name
from thumbtune.feedback.reading.rows import count_rows, header_of, read_rows
from thumbtune.feedback.reading.splits import files_of_split, parquet_files
from thumbtune.feedback.source import DEFAULT_READING, Reading, SourceRow
from thumbtune.feedback.sources.judgements import ComparedImage, JudgedImages, Judgement, unusable_judgement
from thumbtune.feedback.sources.preferences import ComparisonCounts

SOURCE = "Pick-a-Pic"
NEEDED = {"caption", "image_0_uid", "image_1_uid", "label_0", "label_1"}
SKETCHED = sorted(NEEDED | {"has_label", "are_different", "user_id", "created_at"})  # of a judgement without images
RANKS = {(1.0, 0.0): (0.0, 1.0), (0.0, 1.0): (1.0, 0.0), (0.5, 0.5): (0.0, 0.0)}
DETAILS = Details()
NO_LABELS = "its label_0 and label_1 name neither a better image nor a tie; correct or remove the row"
NO_UID = "it has no image_{side}_uid to identify the image; correct or remove the row"
NO_IMAGE = "jpg_{side} contains no image; use a copy of Pick-a-Pic with the images inside"


def recognises(path: Path) -> bool:
    """Return whether this is a Parquet file, or a folder of them, with Pick-a-Pic's columns. It never raises."""
    files = parquet_files(path)
    try:
        return bool(files) and {lowered_name(name) for name in header_of(files[0]) or ()} >= NEEDED
    except Exception:  # a file may break the parser in any way; then it is not Pick-a-Pic
        return False


class PickAPic:
    """One Parquet file of Pick-a-Pic, or a folder with those of one split."""

    def __init__(self, path: Path, reading: Reading = DEFAULT_READING) -> None:
        self.files = files_of_split(path, reading.split)
        self.reading = reading
        self._judged = JudgedImages(self._judgements, reading, sketch=self._sketched)

    def counts(self) -> ComparisonCounts:
        """Count the comparisons, and the images of each class, without reading images."""
        return self._judged.counts()

    def __length_hint__(self) -> int:
        rows = sum(count_rows(file) for file in self.files)  # its images recur so often that there are about as many
        return rows if self.reading.limit is None else min(rows, self.reading.limit)

    def __iter__(self) -> Iterator[SourceRow]:
        return iter(self._judged)

    def with_unrated(self) -> Iterator[SourceRow]:
        """Yield the rows and the images that the policy leaves out."""
        return self._judged.with_unrated()

    def _sketched(self) -> Iterator[Judgement]:
        """Yield each row without its images, whose columns of hundreds of gigabytes are not read."""
        return self._judgements(SKETCHED)

    def _judgements(self, columns: Sequence[str] | None = None) -> Iterator[Judgement]:
        rows = (row for file in self.files for row in read_rows(file, columns=columns))
        return (_judgement(row or {}, where) for where, row in rows)


def _judgement(row: Record, where: str) -> Judgement:
    """Return the judgement in a row, with the images if it has them."""
    if label_in({"label": row.get("has_label")}) is False:
        return Judgement(where=where, left_out="unlabelled")
    if label_in({"label": row.get("are_different")}) is False:
        return Judgement(where=where, left_out="alike")
    try:
        details, cells = DETAILS.read(row, "created_at")
        return Judgement(
            where=where,
            prompt=prompt_in({"caption": row.get("caption")}),
            images=(_image(row, 0), _image(row, 1)),
            ranks=_ranks(row),
            rater=_rater(row),
            source=SOURCE,
            cells_left_out=cells,
            **details,  # type: ignore[arg-type]
        )
    except (ValueError, RecursionError) as error:
        return unusable_judgement(where, error, SOURCE)


def _ranks(row: Record) -> tuple[float, float]:
    """Return the labels as ranks; a lower rank is better. One label is enough, as the other follows from it.

    Raises:
        ValueError: both are missing, or they contradict each other.
    """
    a, b = number_in(row, "label_0"), number_in(row, "label_1")
    a, b = (1 - b if a is None and b is not None else a), (1 - a if b is None and a is not None else b)
    if a is None or b is None or (a, b) not in RANKS:
        raise ValueError(NO_LABELS)
    return RANKS[a, b]


def _image(row: Record, side: int) -> ComparedImage:
    """Return one of the two images.

    Raises:
        ValueError: it has no uid.
    """
    uid, cell = text_in(row, f"image_{side}_uid"), row.get(f"jpg_{side}")
    if uid is None:
        raise ValueError(NO_UID.format(side=side))
    if isinstance(cell, dict):  # as `datasets` writes a column of images
        cell = cell.get("bytes")
    return ComparedImage(
        name=uid,
        side=f"image {side}",
        image=(lambda: cell) if isinstance(cell, bytes) and cell else None,
        problem=None if isinstance(cell, bytes) and cell else NO_IMAGE.format(side=side),
        model=text_in(row, f"model_{side}"),
    )


def _rater(row: Record) -> str | None:
    user = text_in(row, "user_id")
    return None if user is None else f"{SOURCE} user {user}"
