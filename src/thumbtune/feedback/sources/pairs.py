"""Tables of pairs: one picture that was chosen, one that was rejected, and the prompt both were made for.

Columns: chosen and rejected (or preferred, winner, better; rejected, loser, worse; also as image_chosen, chosen_image,
img_chosen, chosen_path, chosen_file_name), prompt (text, caption); and, if there, rater (user, user_id, annotator),
chosen_model and rejected_model (or model), chosen_seed and rejected_seed (or seed), source, created_at. A picture is
the name of a file, its bytes, or both as `datasets` writes them.

A picture is known by its bytes where they are in the table, else by the name of its file. So it is met again in other
pairs of its prompt, where it may win or lose, and what becomes of it is the policy's to say.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

from thumbtune.feedback.cells import first, is_blank, moment_in, prompt_in, text_in, whole_number_in
from thumbtune.feedback.pictures import UnreadablePicture
from thumbtune.feedback.sources.folders import PICTURE_SUFFIXES
from thumbtune.feedback.sources.found import AS_FOUND, Found, Reading
from thumbtune.feedback.sources.judgements import Judgement, Shown, Unpaired, unusable
from thumbtune.feedback.sources.named import Places
from thumbtune.feedback.sources.preferences import Counts
from thumbtune.feedback.sources.records import count_records, first_record, read_records
from thumbtune.feedback.sources.rows import Record
from thumbtune.feedback.sources.splits import files_of_split, parquet_files

CHOSEN_WORDS = ("chosen", "preferred", "winner", "better")
REJECTED_WORDS = ("rejected", "loser", "worse")
PATTERNS = ("{}", "image_{}", "{}_image", "img_{}", "{}_path", "{}_file_name")
CHOSEN = tuple(pattern.format(word) for word, pattern in product(CHOSEN_WORDS, PATTERNS))
REJECTED = tuple(pattern.format(word) for word, pattern in product(REJECTED_WORDS, PATTERNS))
RATER = ("rater", "user", "user_id", "annotator")
CHOSEN_OVER_REJECTED = (0.0, 1.0)
NO_OBJECT = "it is no JSON object; mend the line or remove it"


def recognises(path: Path) -> bool:
    """Whether this is a table of pairs of pictures, by its first row. Pairs of texts are none. It never raises."""
    files = parquet_files(path) or [path]
    row = first_record(files[0]) or {}
    cells = [[row[name] for name in names if name in row] for names in (CHOSEN, REJECTED)]
    return all(cells) and all(is_blank(cell) or may_be_picture(cell) for cell, *_ in cells)


def may_be_picture(cell: object) -> bool:
    """Whether a cell holds bytes or the name of a picture file, rather than somebody's sentences."""
    if isinstance(cell, dict):
        return "bytes" in cell or "path" in cell
    return isinstance(cell, bytes) or (isinstance(cell, str) and Path(cell.strip()).suffix.lower() in PICTURE_SUFFIXES)


class Pairs:
    """A table of pairs, or a folder with the Parquet files of one split of them."""

    def __init__(self, path: Path, reading: Reading = AS_FOUND) -> None:
        self.files = files_of_split(path, reading.split) if path.is_dir() else [path]
        self.reading = reading
        self._unpaired = Unpaired(self._judgements, reading)

    def counts(self) -> Counts:
        """How many comparisons there are, and images of each class; it reads everything once."""
        return self._unpaired.counts()

    def __length_hint__(self) -> int:
        rows = sum(count_records(file) for file in self.files)
        return 2 * (rows if self.reading.limit is None else min(rows, self.reading.limit))

    def __iter__(self) -> Iterator[Found]:
        return iter(self._unpaired)

    def _judgements(self) -> Iterator[Judgement]:
        for file in self.files:
            places = Places.of(file, self.reading.root)
            for where, row in read_records(file, self.reading.columns):
                yield _judgement(row, where, places, file.name)


def _judgement(row: Record | None, where: str, places: Places, table: str) -> Judgement:
    """What one row says."""
    if row is None:
        return Judgement(where=where, problem=NO_OBJECT)
    try:
        return Judgement(
            where=where,
            prompt=prompt_in(row),
            images=(
                _shown(row, "chosen", CHOSEN, CHOSEN_WORDS, places),
                _shown(row, "rejected", REJECTED, REJECTED_WORDS, places),
            ),
            ranks=CHOSEN_OVER_REJECTED,
            rater=text_in({"rater": first(row, RATER)}, "rater"),
            created_at=moment_in(row, "created_at"),
            source=text_in(row, "source") or table,
        )
    except (UnreadablePicture, ValueError, RecursionError) as error:
        return unusable(where, error)


def _shown(row: Record, side: str, columns: tuple[str, ...], words: tuple[str, ...], places: Places) -> Shown:
    """One of the two pictures.

    Raises:
        UnreadablePicture: no column names it.
        ValueError: a cell holds something else than it should.
    """
    picture = places.picture(first(row, columns), side)
    models, seeds = ((*(f"{word}_{what}" for word in words), what) for what in ("model", "seed"))
    return Shown(
        name=picture.name,
        side=side,
        image=picture.image,
        problem=picture.problem,
        model=text_in({"model": first(row, models)}, "model"),
        seed=whole_number_in({"seed": first(row, seeds)}, "seed"),
    )
