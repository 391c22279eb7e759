"""Prompt prefixes: words before a prompt that tell the network whether its image is good or bad, as CSFT trains it."""

from typing import NamedTuple


def prefixed(prompt: str, prefix: str | None) -> str:
    """Return the prompt with a prefix before it. The empty prompt stays empty, since it stands for no prompt."""
    return f"{prefix}, {prompt}" if prefix and prompt else prompt


class PromptPrefixes(NamedTuple):
    """The prefixes of the prompts of good and of bad images."""

    good: str
    bad: str

    def both(self, prompt: str) -> tuple[str, str]:
        """Return the prompt with the prefix of good images, and with that of bad ones."""
        return prefixed(prompt, self.good), prefixed(prompt, self.bad)
