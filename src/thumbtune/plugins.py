"""Objectives and utilities of the user's own: `my_file:name` in a recipe is that name in my_file.py."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

from thumbtune.errors import UsageError

OF_PROGRAM = "python:"  # the name of an object that a program gave: `python:Mine`
MODULE = "thumbtune_own_"  # what a user's file is called as a module


def is_own(text: str) -> bool:
    """Return whether a recipe names something in a file of the user's, and not one of ours.

    >>> is_own("my_file:Mine"), is_own("my_file:")
    (True, False)
    """
    file, _, name = text.rpartition(":")
    return bool(file and name)


def is_of_program(text: str) -> bool:
    """Return whether a recipe names an object that a program gave, which no file holds."""
    return text.startswith(OF_PROGRAM)


def file_of(text: str) -> Path:
    """Return the file of `my_file:name`, or of `my_file.py:name`."""
    file = text.rpartition(":")[0]
    return Path(file if file.endswith(".py") else f"{file}.py")


def name_of(thing: Any) -> str | None:
    """Return `my_file:name` of something that a user's file defines; None for all else."""
    module = str(getattr(thing, "__module__", ""))
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    return f"{module.removeprefix(MODULE)}:{name}" if module.startswith(MODULE) else None


def load(text: str, option: str) -> Any:
    """Return the object that `my_file:name` names. This runs the file, which is the user's own code.

    option: the option that names it, for the error

    Raises:
        UsageError: there is no such file, it does not run, or it has no such name.
    """
    path, name = file_of(text), text.rpartition(":")[2]
    if is_of_program(text):
        raise UsageError(
            f"{option}: {name} was an object of a Python program, which no file holds; go on in that program, with "
            "Trainer(...).train(resume=True).",
            code="plugin-of-program",
        )
    if not path.is_file():
        raise UsageError(
            f"{option}: there is no file {path} here; give a path from {Path.cwd()}, as in my_file:name.",
            code="plugin-no-file",
        )
    specification = importlib.util.spec_from_file_location(MODULE + path.stem, path)
    assert specification is not None and specification.loader is not None  # a .py file has both
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look their own module up
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{option}: {path} does not run ({type(error).__name__}: {error}); correct it.", code="plugin-fails"
        ) from error
    if not hasattr(module, name):
        raise UsageError(f"{option}: {path} has no {name!r}; name something that it defines.", code="plugin-no-name")
    return getattr(module, name)
