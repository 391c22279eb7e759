"""The command that lists what the bundled model knows."""

import textwrap

from thumbtune.cli.terminal import say

WIDTH = 100  # of a line


def concepts() -> None:
    """List the things, styles and pages that the bundled model, tiny-emoji-64, knows."""
    from thumbtune.runs.bundled_words import MODEL, vocabulary

    known = vocabulary()
    things = [name + (f" ({', '.join(others)})" if others else "") for name, others in known.concepts.items()]
    say(f"{MODEL} knows {len(things)} things; brackets hold other words for them.")
    for title, names in (
        ("things", things),
        ("groups", known.groups),
        ("styles", known.styles),
        ("pages", [f"on {page}" for page in known.pages]),
    ):
        text = textwrap.fill(", ".join(names), WIDTH, initial_indent=f"  {title:<8}", subsequent_indent=" " * 10)
        say(text)
    say('For example: thumbtune generate "a small penguin, line art, on blue"')
