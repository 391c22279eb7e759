"""Options of a recipe that commands have by a name of their own too: --lr beside --set train.lr=...

Their help is that of the recipe, and their values are read as --set reads them.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from thumbtune.documents import brief
from thumbtune.errors import UsageError
from thumbtune.runs.recipe import recipe_options
from thumbtune.runs.renamed import RENAMED

OPTIONS = {  # in the order of help
    "model": "model",
    "likes": "likes",
    "steps": "train.steps",
    "batch": "train.batch",
    "lr": "train.lr",
    "rank": "lora.rank",
    "alpha": "lora.alpha",
    "start": "lora.start",
    "reference": "lora.reference",
    "objective": "objective.name",
    "beta": "objective.beta",
    "size": "train.size",
    "precision": "train.precision",
    "seed": "seed",
}
PANEL = "Options of the recipe"


def named_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes these options too, and hands them on among its `settings`, as --set does.

    Raises (when it is called):
        UsageError: an option is given by its own name and by --set.
    """

    def run(**given: Any) -> None:
        named = {option: given.pop(name) for name, option in OPTIONS.items()}
        command(**{**given, "settings": with_named(named, given["settings"])})

    signature = inspect.signature(command, eval_str=True)
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(name))
        for name in OPTIONS
    ]
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *more])  # type: ignore[attr-defined]
    run.__annotations__ = {name: each.annotation for name, each in run.__signature__.parameters.items()}  # type: ignore[attr-defined]
    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
    return run


def _annotation(name: str) -> Any:
    option = OPTIONS[name]
    help_ = f"{recipe_options()[option].description} In a recipe: {option}."
    return Annotated[str | None, typer.Option(f"--{name}", metavar="VALUE", help=help_, rich_help_panel=PANEL)]


def with_named(named: Mapping[str, str | None], settings: Sequence[str] | None) -> list[str] | None:
    """Return `option=value` settings with those that were given by a name of their own; None if there are none.

    Raises:
        UsageError: an option is given in both ways.
    """
    given = {option: value for option, value in named.items() if value is not None}
    for setting in settings or ():
        name = setting.partition("=")[0]
        option = RENAMED.get(name, name)
        if option in given:
            own = next(each for each, its in OPTIONS.items() if its == option)
            raise UsageError(
                f"{option} is given twice, as --{own} {brief(given[option] or '')} and as --set {brief(setting)}; "
                "leave one of them out.",
                code="option-given-twice",
            )
    return [*(f"{option}={value}" for option, value in given.items()), *(settings or ())] or None
