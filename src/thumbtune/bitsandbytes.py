"""The optional library for 8-bit optimisers and for nf4."""

import logging
from importlib import import_module
from typing import Any

from thumbtune.errors import ThumbtuneError


def load(option: str) -> Any:
    """Return the module bitsandbytes, which an option of a recipe needs.

    Raises:
        ThumbtuneError: it is not installed, or does not work here.
    """
    # on a CPU it tells on every import that an optional speed-up is missing
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    try:
        return import_module("bitsandbytes")
    except (ImportError, OSError, RuntimeError) as error:
        raise ThumbtuneError(
            f"{option} needs bitsandbytes, which does not load here ({error}); install it with "
            "`pip install 'thumbtune[8bit]'`, or leave the option out.",
            code="bitsandbytes-missing",
        ) from error
