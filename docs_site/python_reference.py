"""The reference of the Python packages: the names for users, with their signatures and docstrings."""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from docs_site.prose import from_docstring

WIDTH = 88  # characters of a signature on one line
FACES = {  # modules with an __all__ for users
    "python": ("thumbtune", "Python: train, evaluate, load"),
    "python-objective": ("thumbtune.objective", "Python: objectives"),
    "python-models": ("thumbtune.models", "Python: models and LoRAs"),
}
EVALUATION = (  # every public function and class that is defined in them
    "thumbtune.duels.evaluate",
    "thumbtune.duels.duel",
    "thumbtune.duels.verdict",
    "thumbtune.evaluation.win_rates",
    "thumbtune.evaluation.gates",
    "thumbtune.evaluation.agreement",
    "thumbtune.evaluation.statistics",
    "thumbtune.evaluation.diversity",
    "thumbtune.evaluation.prompts",
)
MADE = "This page is made from signatures and docstrings."


def pages() -> dict[str, str]:
    """Return the Markdown of each page by its name."""
    made = {name: _face(import_module(module), title) for name, (module, title) in FACES.items()}
    return made | {"python-evaluation": _evaluation()}


def _face(module: ModuleType, title: str) -> str:
    parts = [f"# {title}\n\n{MADE}\n\n{from_docstring(module.__doc__)}\n"]
    names = [name for name in module.__all__ if not name.startswith("__")]
    parts += [_member(f"{module.__name__}.{name}", getattr(module, name), "##") for name in names]
    return "\n".join(parts)


def _evaluation() -> str:
    parts = [f"# Python: evaluation\n\n{MADE} `thumbtune.evaluate` is the usual way in; these are its parts.\n"]
    for name in EVALUATION:
        module = import_module(name)
        parts.append(f"## {name}\n\n{from_docstring(module.__doc__)}\n")
        parts += [_member(f"{name}.{each}", value, "###") for each, value in _own(module)]
    return "\n".join(parts)


def _own(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the public functions and classes that a module defines, in their order."""
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
            if inspect.isfunction(value) or inspect.isclass(value):
                yield name, value


def _member(path: str, value: Any, level: str) -> str:
    """Return one name: its heading, its signature, its docstring, and the methods of a class."""
    name = path.rpartition(".")[2]
    parts = [f"{level} {name} {{ #{path} }}\n"]
    if isinstance(value, dict):
        return "\n".join([*parts, "A mapping of the names " + ", ".join(f"`{key}`" for key in value) + ".\n"])
    if not (inspect.isfunction(value) or inspect.isclass(value)):
        return "\n".join([*parts, f"```python\n{name} = {plain(str(value))}\n```\n"])
    if inspect.isclass(value) and issubclass(value, BaseModel):
        return "\n".join([*parts, f"{from_docstring(value.__doc__)} Its options: [every option](recipe.md).\n"])
    is_raised = inspect.isclass(value) and issubclass(value, BaseException)
    if not (is_raised or getattr(value, "_is_protocol", False)):  # nobody makes one by its name
        parts.append(f"```python\n{signature(name, value)}\n```\n")
    parts += [from_docstring(inspect.getdoc(value)), ""]
    if inspect.isclass(value):
        parts += [_method(each, method) for each, method in vars(value).items() if not each.startswith("_")]
    return "\n".join(part for part in parts if part is not None)


def _method(name: str, method: Any) -> str | None:
    """Return a method with its docstring; None for anything else, and for a method without a docstring."""
    function = method.fget if isinstance(method, property) else getattr(method, "__func__", method)
    if not inspect.isfunction(function) or not function.__doc__:
        return None
    shown = name if isinstance(method, property) else signature(name, function)
    return f"```python\n{shown}\n```\n\n{from_docstring(function.__doc__)}\n"


def plain(text: str) -> str:
    """Return an annotation or a default without the modules of its names.

    >>> plain("collections.abc.Callable[[jaxtyping.Float[Tensor, 'b']], pathlib.Path | None]")
    "Callable[[Float[Tensor, 'b']], Path | None]"
    >>> plain("<function quiet at 0x7f3769ed40>")
    'quiet'
    """
    text = re.sub(r"<(?:function|class) '?([\w.]+)'?(?: at 0x\w+)?>", r"\1", text)
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z_])", "", text)


def signature(name: str, value: Any) -> str:
    """Return `name(arguments) -> result` as Python writes it, an argument a line if it is long."""
    known = inspect.signature(value)
    arguments, keywords_only = [], False
    for parameter in known.parameters.values():
        if parameter.name in {"self", "cls"}:
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not keywords_only:
            keywords_only = True
            arguments.append("*")
        arguments.append(_argument(parameter))
    result = "" if known.return_annotation in (known.empty, None) else f" -> {_annotation(known.return_annotation)}"
    line = f"{name}({', '.join(arguments)}){result}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {each}," for each in arguments), f"){result}"])


def _argument(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = f"{stars}{parameter.name}"
    if parameter.annotation is not parameter.empty:
        text += f": {_annotation(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        equals = "=" if parameter.annotation is parameter.empty else " = "
        text += equals + _default(parameter.default)
    return text


def _default(value: Any) -> str:
    if isinstance(value, frozenset):  # in an order that is the same in every build
        return f"frozenset({{{', '.join(sorted(map(repr, value)))}}})" if value else "frozenset()"
    return plain(getattr(value, "__name__", None) or repr(value))


def _annotation(annotation: Any) -> str:
    if isinstance(annotation, type) and not getattr(annotation, "__args__", None):
        return plain(annotation.__name__)
    return plain(str(annotation))
