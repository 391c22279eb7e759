"""Feedback that a program holds, as a store of likes: a `datasets.Dataset`, or rows as mappings.

Columns are those of an import: image, prompt, label (true: liked), and rater, weight, created_at ... if there are any.
`completion`, which TRL calls what was made from a prompt, is another name of image.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from thumbtune.errors import ThumbtuneError, UsageError, note, plural, shown
from thumbtune.feedback.bars import without_bars
from thumbtune.feedback.import_report import ImportReport
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.source import Reading
from thumbtune.feedback.store.store import Store

IMAGE, COMPLETION = "image", "completion"
NEEDED = (IMAGE, "prompt", "label")
RATER = "unnamed"  # of rows without a rater: nobody knows whether they are of one person
LIKES = "likes"  # the folder in a run
IN_PYTHON = tuple(
    (re.compile(words), python)
    for words, python in (
        (r"data-\d+-of-\d+\.arrow, row", "row"),
        (
            r"give its meaning, as in --map-label '(.*?)=\w+'(, or name another column, as in --map label=\w+)?",
            r"make it true or false, as in row['label'] == '\1'",
        ),
        (
            r"give the lowest rating that is a like, as in --like-at ([\d.]*\d)",
            r"make it true or false, as in row['label'] >= \1",
        ),
        (
            r"put the image into the folder, or give the folder that contains the image, as in --root \w+",
            "give a file below the working folder, or the image itself",
        ),
        (r", as with `thumbtune import FOLDER --label \w+`", " to the feedback"),
        (r"import some with `thumbtune import [^`]*`", "add rows with a label to the feedback"),
        (r"import it with `thumbtune import [^`]*`", "import it with thumbtune.feedback.importers.import_likes"),
        (r"with --resume --set train\.guards=false", "with resume=True and guards=False"),
        (r"with --resume\b", "with resume=True"),
        (r", with --set\b", ", as an option"),
        (r"--set (?=[a-z_.]+[=:])", ""),
        (r"it names no image; fill in file_name", "it has no image; give a file, a Pillow image or its bytes"),
    )
)


def dataset_of(feedback: Any) -> Any:
    """Return a data set with the columns image, prompt and label.

    Raises:
        UsageError: it is no data set and has no rows, or a column is missing.
    """
    from datasets import Dataset, DatasetDict

    if isinstance(feedback, DatasetDict):
        raise UsageError(
            f"The feedback has the splits {', '.join(map(str, feedback))}; give one of them, as in dataset['train'].",
            code="feedback-has-splits",
        )
    if not isinstance(feedback, Dataset):
        rows = [dict(row) for row in feedback] if isinstance(feedback, Iterable) else []
        if not rows:
            raise UsageError(
                "The feedback has no rows; give a store of likes, a datasets.Dataset, or rows with image, prompt and "
                "label.",
                code="feedback-empty",
            )
        _check_labels(rows)
        feedback = Dataset.from_list(rows)
    names = feedback.column_names
    if IMAGE not in names and COMPLETION in names:
        feedback, names = feedback.rename_column(COMPLETION, IMAGE), [IMAGE if n == COMPLETION else n for n in names]
    if missing := [name for name in NEEDED if name not in names]:
        raise UsageError(
            f"The feedback has no column {missing[0]}, but {', '.join(names)}; rename its columns to image (or "
            "completion), prompt and label.",
            code="feedback-no-column",
        )
    return feedback


def _check_labels(rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse labels of several types, which no column of a data set can hold.

    Raises:
        UsageError: two rows have labels of two types; it names the rows, from 1 on, and the types.
    """
    first: tuple[int, type] | None = None
    for number, row in enumerate(rows, start=1):
        label = row.get("label")
        if label is None:
            continue
        first = first or (number, type(label))
        if type(label) is not first[1]:
            raise UsageError(
                f"The label of row {number} of the feedback, {shown(label)}, is of the type {type(label).__name__}, "
                f"and that of row {first[0]} of the type {first[1].__name__}; make all of them True or False.",
                code="feedback-mixed-labels",
            )


def store_of(feedback: Any, run: Path) -> str:
    """Return the name of a store: that of one as it is, and for rows the folder that `write_store` writes."""
    return str(feedback) if isinstance(feedback, str | os.PathLike) else str(run / LIKES)


def write_store(feedback: Any, store: Path) -> ImportReport:
    """Import the rows into a store, with a note on those that cannot be used; the same rows again add nothing.

    Raises:
        UsageError, ThumbtuneError: as `dataset_of`; or no row can be used.
    """
    dataset = dataset_of(feedback)
    with TemporaryDirectory(prefix="thumbtune-feedback-") as place:
        with without_bars():
            dataset.save_to_disk(place)
        with Store.open(store) as opened:
            try:
                report = import_likes(Path(place), opened, reading=Reading(root=Path.cwd()), rater=RATER)
            except ThumbtuneError as error:
                raise type(error)(in_python(str(error), place), code=error.code) from error
    _tell(report)
    return report


def _tell(report: ImportReport) -> None:
    """Note how many rows were left out, and why the first one was."""
    if report.skipped:
        count = len(report.skipped) + report.unlisted
        rows = plural(count, "row of the feedback was", "rows of the feedback were")
        note(f"{rows} left out; the first: {in_python(report.skipped[0][1]).rstrip('.')}.")


def in_python(sentence: str, place: str | None = None) -> str:
    """Return a sentence of an import without the options of the command line and the folder that rows pass through.

    >>> in_python("its label 5 is a rating; give the lowest rating that is a like, as in --like-at 4.")
    "its label 5 is a rating; make it true or false, as in row['label'] >= 4."
    """
    if place is not None:
        sentence = sentence.replace(place, "The feedback")
    for words, python in IN_PYTHON:
        sentence = words.sub(python, sentence)
    return sentence
