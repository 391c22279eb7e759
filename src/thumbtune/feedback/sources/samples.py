"""Samples of WebDataset as rows of a table. Their files are columns, named by the suffixes of the files."""

from collections.abc import Mapping

from thumbtune.feedback.reading.columns import COLUMNS
from thumbtune.feedback.reading.record import Record, record_of
from thumbtune.feedback.reading.walk import IMAGE_SUFFIXES

SAMPLE_COLUMNS = COLUMNS | {
    "image": (*COLUMNS["image"], *sorted(suffix[1:] for suffix in IMAGE_SUFFIXES)),
    "prompt": ("prompt", "txt", "text", "caption"),
    "label": (*COLUMNS["label"], "cls"),
}


def flattened(sample: Record) -> Record:
    """Return a sample as a row: the fields of its JSON, and its files by their suffixes."""
    fields = sample.get("json")
    return {**(record_of(fields.items()) if isinstance(fields, Mapping) else {}), **sample}
