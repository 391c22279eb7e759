"""Prompts of a form, a line each: each counts once, and words that the bundled model does not know are told."""

from collections.abc import Sequence

from thumbtune.errors import ThumbtuneError, plural
from thumbtune.feedback.store.votes import check_text
from thumbtune.runs.bundled_words import MODEL, unknown_note


def lines_of(prompts: Sequence[str]) -> list[str]:
    """Return the prompts of a form, each on one line and once; blank ones are left out.

    Raises:
        UsageError: no database takes one of them.
    """
    lines = list(dict.fromkeys(_written(prompts)))
    for line in lines:
        check_text(line, "prompt")
    return lines


def prompts_of(prompts: Sequence[str]) -> list[str]:
    """Return the prompts of a form that needs one.

    Raises:
        UsageError: as `lines_of`.
        ThumbtuneError: there is none.
    """
    if not (lines := lines_of(prompts)):
        raise ThumbtuneError("There is no prompt; write what an image should show, a line each.", code="job-no-prompt")
    return lines


def notes_on(prompts: Sequence[str]) -> list[str]:
    """Return a sentence on the lines of a form that stood there before; [] if each prompt does once."""
    written = _written(prompts)
    doubled = len(written) - len(set(written))
    return [f"{plural(doubled, 'doubled prompt')} left out: each prompt counts once."] if doubled else []


def questions_on(prompts: Sequence[str], model: str | None) -> list[str]:
    """Return a sentence on words that a model does not know; [] if it knows all, and for all but the bundled model.

    model: the base, as its recipe names it; None: the bundled one
    """
    asked = unknown_note(lines_of(prompts)) if model in (None, MODEL) else None
    return [asked] if asked else []


def _written(prompts: Sequence[str]) -> list[str]:
    return [" ".join(prompt.split()) for prompt in prompts if prompt.strip()]
