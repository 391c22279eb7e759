"""Prompt prefixes: words before a prompt that tell the network whether its image is good or bad, as CSFT trains it."""

from typing import NamedTuple


def prefixed(prompt: str, prefix: str | None) -> str:
    """Return the prompt behind a prefix. The empty prompt stays empty, since it stands for no prompt at all."""
    return f"{prefix}, {prompt}" if prefix and prompt else prompt


class PromptPrefixes(NamedTuple):
    """The prefix of the prompts of good images, and that of bad ones."""

    good: str
    bad: str

    def both(self, prompt: str) -> tuple[str, str]:
        """Return the prompt of a good and of a bad image."""
        return prefixed(prompt, self.good), prefixed(prompt, self.bad)
