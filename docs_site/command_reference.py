"""The reference of the command line: every command with its arguments and options, from the typer application."""

from typing import Any

import typer

from docs_site.prose import escaped
from thumbtune.cli.app import app
from thumbtune.cli.order import PANELS

BOUNDS = {"at least": "min", "at most": "max"}
KINDS = {"INTEGER": "int", "FLOAT": "float", "PATH": "Path"}  # by the annotation
HEAD = """# Every command

This page is made from the commands themselves: `thumbtune COMMAND --help` prints the same. Exit codes are in
[When something goes wrong](../trouble.md).
"""


def page() -> str:
    """Return the page in Markdown: a heading for each panel of the help, one for each command, in the order of use."""
    root: Any = typer.main.get_command(app)
    parts = [HEAD]
    for panel, names in PANELS.items():
        parts.append(f"## {panel}\n")
        for name in names:
            parts += _command(root.commands[name], f"thumbtune {name}")
    return "\n".join(parts)


def _command(command: Any, name: str) -> list[str]:
    """Return the parts of a command, or of a group and of each command in it."""
    anchor = name.removeprefix("thumbtune ").replace(" ", "-")
    parts = [f"### {name} {{ #{anchor} }}\n\n{escaped(command.help or '')}\n"]
    if commands := getattr(command, "commands", {}):
        for each, inner in commands.items():
            parts += _command(inner, f"{name} {each}")
        if not getattr(command, "invoke_without_command", False):
            return parts
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [each for each in shown if not _is_option(each)]
    usage = " ".join([name, *map(_usage, arguments), "[OPTIONS]"])
    own = [f"```text\n{usage}\n```\n", *map(_parameter, [*arguments, *filter(_is_option, shown)])]
    return [parts[0], *own, *parts[1:]]


def _is_option(parameter: Any) -> bool:
    return parameter.opts[0].startswith("-")


def _usage(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name += "..." if argument.nargs != 1 else ""
    return name if argument.required else f"[{name}]"


def _parameter(parameter: Any) -> str:
    """Return an argument or an option as a definition: how it is written, its help, its bounds and its default."""
    facts = []
    if _is_option(parameter):
        written = ", ".join([*parameter.opts, *parameter.secondary_opts])
        written += "" if parameter.is_flag else f" {parameter.metavar or _kind(parameter)}"
        facts += ["required"] if parameter.required else []
    else:
        written = _usage(parameter)
    for word, bound in BOUNDS.items():
        value = getattr(parameter, bound, None)
        facts += [f"{word} {value:,}"] if value is not None else []
    default = getattr(parameter, "default", None)
    if default not in (None, False, "", ()) and not callable(default):
        facts.append(f"default `{default}`")
    told = f" ({', '.join(facts)})" if facts else ""
    return f"`{written}`\n:   {escaped(parameter.help or '')}{told}\n"


def _kind(option: Any) -> str:
    """Return what stands for the value: INTEGER, FLOAT, PATH or TEXT."""
    annotation = str(option.type_descriptor.annotation)
    return next((word for word, part in KINDS.items() if part in annotation), "TEXT")
