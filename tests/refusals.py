"""Ask for an error by its code, so that a sentence can be mended without a test that holds its words."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from thumbtune.errors import ThumbtuneError


@contextmanager
def refused(
    code: str, kind: type[ThumbtuneError] = ThumbtuneError, *, naming: object = ()
) -> Iterator[pytest.ExceptionInfo[ThumbtuneError]]:
    """Expect an error with this code, in one sentence that ends in a full stop and names these values.

    naming: a value or several that the sentence must hold as they are: a path, a number, an option
    """
    with pytest.raises(kind) as caught:
        yield caught
    sentence = str(caught.value)
    assert caught.value.code == code, f"{caught.value.code}: {sentence}"
    assert "\n" not in sentence and re.search(r"[.!?]$", sentence), sentence
    for value in naming if isinstance(naming, list | tuple) else [naming]:
        assert str(value) in sentence, f"{value!r} is not in: {sentence}"
