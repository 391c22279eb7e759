"""Describe how the columns of a table were read, in one or two lines."""

from collections.abc import Mapping

from thumbtune.feedback.quoting import listed, named
from thumbtune.feedback.reading.columns import Columns

SHOWN_NAMES = {"created_at": "time"}  # our names for columns as people see them, where they differ


def columns_read(columns: Columns, labels: Mapping[str, str] | None = None) -> list[str]:
    """Return which columns were read as what, and which were left out; nothing if no row was read.

    `labels` holds how the numbers of each column of labels were read, in words.
    """
    if not columns.seen:
        return []
    parts = []
    for key, names in columns.used.items():
        ours = SHOWN_NAMES.get(key, key)
        for name in names:
            how = (labels or {}).get(name, "") if key == "label" else ""
            parts.append(" ".join(filter(None, (named(name), "" if name == key else f"as {ours}", how))))
    unread = columns.unread()
    rest = f"; not read: {listed(unread)}" if unread else ""
    return [f"read: {', '.join(parts) or 'no column'}{rest}."]
