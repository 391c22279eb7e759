"""Print what `thumbtune likes erase` deleted beside the votes."""

from contextlib import suppress
from typing import TYPE_CHECKING

from thumbtune.cli.terminal import say
from thumbtune.errors import UsageError, plural
from thumbtune.feedback.quoting import named

if TYPE_CHECKING:
    from thumbtune.feedback.store.store import Store
    from thumbtune.studio.erasure import ErasedInStudio


def has_voted(store: "Store", rater: str) -> bool:
    """Return whether a rater has votes, or had some before they were erased."""
    with suppress(UsageError):
        store.check_rater(rater)
        return True
    return False


def print_erased_in_studio(erased: "ErasedInStudio", rater: str) -> None:
    """Print what the studio had of a rater, if it had something."""
    if erased.answers:
        answers, tests = plural(erased.answers, "answer"), plural(erased.tests, "blind test")
        say(f"{answers} of {named(rater)} to {tests} {'was' if erased.answers == 1 else 'were'} deleted.")
    if erased.results:
        files = ", ".join(map(str, erased.results))
        say(f"Results of ended blind tests still count these answers: {files}; delete them, and their copies.")
    if erased.was_rater:
        say(f"{named(rater)} is no rater of the studio any more; their link and their browsers are signed out.")
