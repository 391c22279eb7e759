"""The progress bars of `datasets`, which are gone too soon to read: off while likes are read and written."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep `datasets` from drawing progress bars inside the `with` block."""
    import datasets

    were_drawn = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if were_drawn:
            datasets.enable_progress_bars()
