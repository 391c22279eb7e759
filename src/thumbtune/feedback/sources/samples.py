"""A sample of WebDataset as a row of a table. Its files are columns, which are named as the files end."""

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
    """A sample as a row: the fields of its JSON, and its files by their endings."""
    said = sample.get("json")
    return {**(record_of(said.items()) if isinstance(said, Mapping) else {}), **sample}
