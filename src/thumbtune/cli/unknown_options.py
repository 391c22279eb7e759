"""An option that a command does not have: name ours, where another trainer calls it so."""

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from thumbtune.cli.recipe_options import OPTIONS
from thumbtune.documents import brief
from thumbtune.errors import UsageError

PROMPTS, PROMPTS_OPTION = "evaluate.prompts", "--prompts"  # of evaluate and verdict
LORAS = {"--lora", "--loras", "--lora-path", "--lora-weights", "--adapter"}


class CommandOfImages(TyperCommand):
    """`generate`, which takes a run or a whole model."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as typer does.

        Raises:
            UsageError: an option names a LoRA.
        """
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            name = getattr(error, "option_name", None)
            if type(error).__name__ != "NoSuchOption" or name not in LORAS:
                raise
            raise UsageError(
                f"{self.name} has no option {name}; name a run with --run RUN, or write a LoRA alone into its base "
                "model with `thumbtune merge LORA OUT --base MODEL`, and name that with --model OUT.",
                code="option-unknown",
            ) from error


class CommandOfRecipe(TyperCommand):
    """A command with --set, whose unknown options are looked up among those of a recipe."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as typer does.

        Raises:
            UsageError: an option is not this command's, and is one of a recipe.
        """
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            name = getattr(error, "option_name", None)
            own = {option for parameter in self.params for option in (*parameter.opts, *parameter.secondary_opts)}
            sections = ("evaluate.", "gates.") if self.name in {"evaluate", "verdict"} else ("",)
            if type(error).__name__ != "NoSuchOption" or not name:
                raise
            if (hint := _hint(name, given, own, sections)) is None:
                raise
            raise UsageError(f"{self.name} has no option {brief(name)}; {hint}.", code="option-unknown") from error


def _hint(name: str, words: Sequence[str], own: set[str], sections: tuple[str, ...]) -> str | None:
    """Return what to write in place of an unknown option; None if it is none of ours in `sections` by any name."""
    from thumbtune.runs.other_names import our_name
    from thumbtune.runs.recipe import recipe_options

    if not name.startswith("--"):
        return None
    ours = our_name(name, [option for option in recipe_options() if option.startswith(sections)])
    if ours is None or (ours not in own if ours.startswith("-") else not ours.startswith(sections)):
        return None
    value = _value(name, words)
    if ours.startswith("-"):
        return f"write {ours} {value}" if ours == "--out" else f"write {ours}"
    if ours == PROMPTS and PROMPTS_OPTION in own:
        return f"write {PROMPTS_OPTION} {value}, a file of prompts or the name of a set"
    if (named := next((f"--{each}" for each, option in OPTIONS.items() if option == ours), None)) in own:
        return f"write {named} {value}"
    return f"write --set {ours}={value} (`thumbtune recipe` lists all options)"


def _value(name: str, words: Sequence[str]) -> str:
    """Return the value that was given with an option, or VALUE."""
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word.startswith(f"{name}="):
            return brief(word.partition("=")[2])
        if word == name and after and not after.startswith("--"):
            return brief(after)
    return "VALUE"
