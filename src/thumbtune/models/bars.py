"""The progress bars of transformers, which are gone too soon to read: off while weights are loaded and saved."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers from drawing bars inside the `with` block; those of downloads stay as they are."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging

    were_drawn, shows_downloads = logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    if not were_drawn:
        yield
        return
    logging.disable_progress_bar()  # those of downloads too
    if shows_downloads:
        enable_progress_bars()
    try:
        yield
    finally:
        logging.enable_progress_bar()
        if not shows_downloads:
            disable_progress_bars()
