"""What Ctrl-C and SIGTERM leave of a command, in its own words: whether the same command goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from thumbtune.errors import Interrupted

OWN_WORDS = "grid-stopped"  # the code of a stop that tells the same of a command, and more


@contextmanager
def stopping(sentence: str | Callable[[], str]) -> Iterator[None]:
    """Tell a stop inside the `with` block by this sentence, or by the one that is made at the stop.

    A part of the block may tell of its own command, as a training does of --resume, which the command here lacks.

    Raises:
        Interrupted: somebody pressed Ctrl-C, or asked the process to end.
    """
    try:
        yield
    except Interrupted as stop:
        if stop.code == OWN_WORDS:
            raise
        raise type(stop)(sentence if isinstance(sentence, str) else sentence(), code="command-stopped") from stop
    except KeyboardInterrupt as stop:
        raise Interrupted(sentence if isinstance(sentence, str) else sentence(), code="command-stopped") from stop
