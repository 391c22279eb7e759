"""The sentences of commands as the studio says them: its buttons stand in place of what one types in a terminal.

A command keeps its words in its log; they are put into the studio's when a page is to show them.
"""

import re

# in this order; an option that no button sets (--resume --set ...) stays, as it is the only way
WORDINGS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r": the same command with --resume continues from", ": Resume continues from"),
        (r"continue with --resume and a lower (train\.\w+)", r"begin a new run with a lower \1"),
        (r"continue it with `thumbtune train --out \S+ --resume`", "choose Resume on its page in Train"),
        (r" \(resume=True in Python\)", ""),
        (r"--resume\b(?! --set| out )", "Resume"),
        (r"as SIGUSR1 asked", "as Save a checkpoint asked"),
        (r"SIGUSR1 asked for a checkpoint of step (\d+|\{step\})", r"Save a checkpoint was chosen at step \1"),
        (r"(?:^| )Next: thumbtune .*$", ""),
    )
)


def in_studio(text: str) -> str:
    """Return a sentence or a line of a command with the studio's buttons in it.

    >>> in_studio("A checkpoint was saved: the same command with --resume continues from it.")
    'A checkpoint was saved: Resume continues from it.'
    """
    for pattern, words in WORDINGS:
        text = pattern.sub(words, text)
    return text
