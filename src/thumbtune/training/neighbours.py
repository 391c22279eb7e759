"""Prompts of neighbours: what images get in place of their own prompts for the reference point `mismatched`."""

from collections.abc import Sequence

from thumbtune.errors import ThumbtuneError


def check_prompts_differ(prompts: Sequence[str]) -> None:
    """Refuse a set whose images all have the same prompt, since none can get the prompt of another.

    Raises:
        ThumbtuneError: all prompts are the same.
    """
    if len(set(prompts)) == 1:
        raise ThumbtuneError(
            f"Every image to train on has the prompt {prompts[0]!r}, and the reference point `mismatched` needs two "
            "different ones; choose another objective.reference_point.",
            code="likes-one-prompt",
        )


def neighbours(prompts: Sequence[str], elsewhere: Sequence[str] = ()) -> list[str]:
    """Return for each prompt the next different one, from the list repeated and then from `elsewhere`.

    >>> neighbours(["a", "a", "b"])
    ['b', 'b', 'a']
    >>> neighbours(["a", "a"], ["a", "c"])
    ['c', 'c']

    Raises:
        ThumbtuneError: all prompts are the same.
    """
    check_prompts_differ([*prompts, *elsewhere])
    circle = [*prompts, *prompts, *elsewhere]
    return [next(other for other in circle[i + 1 :] if other != own) for i, own in enumerate(prompts)]
