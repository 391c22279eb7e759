"""Texts of the code as Markdown: docstrings and lines of help, in which `*`, `_` and `<` are what they are."""

import inspect
import re

SIGNS = re.compile(r"([\\*_<>\[\]|#~])")
CODE = re.compile(r"(`[^`]+`)")
PAGE = re.compile(r"docs/([\w/-]+\.md)")
NAMED = re.compile(r"([\w`*, ]{1,60}?):\s+(\S.*)")  # `shift:   one for all images`


def escaped(text: str) -> str:
    r"""Return a sentence as Markdown, on one line; names of pages become links from the folder `reference`.

    >>> escaped("tags such as <lora:ink:1> (docs/prompts.md), and `a_b`")
    'tags such as \\<lora:ink:1\\> ([docs/prompts.md](../prompts.md)), and `a_b`'
    """
    parts = CODE.split(" ".join(text.split()))
    parts[::2] = [PAGE.sub(r"[docs/\1](../\1)", SIGNS.sub(r"\\\1", part)) for part in parts[::2]]
    return "".join(parts)


def from_docstring(text: str | None) -> str:
    """Return a docstring as Markdown: paragraphs, lists of arguments and of errors, examples, and tables as they stand."""
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(text or ""))
    return "\n\n".join(filter(None, map(_block, blocks)))


def _block(block: str) -> str:
    lines = block.splitlines()
    if not lines:
        return ""
    head = lines[0].rstrip(":")
    if head in {"Raises", "Returns", "Yields"} and lines[0].endswith(":"):
        rest = inspect.cleandoc("\n".join(["", *lines[1:]]))
        named = _named(rest.splitlines())
        return f"**{head}**\n\n{named}" if named else f"**{head}** {escaped(rest)}"
    if head.startswith("Raises ("):
        return f"**{escaped(head)}**\n\n" + (_named(inspect.cleandoc("\n".join(["", *lines[1:]])).splitlines()) or "")
    if lines[0].startswith(">>>"):
        return f"```pycon\n{block}\n```"
    if named := _named(lines):
        return named
    if all(line.startswith("    ") for line in lines) or any(re.search(r"\S {2,}\S", line) for line in lines):
        return f"```text\n{inspect.cleandoc(block)}\n```"
    return escaped(block)


def _named(lines: list[str]) -> str:
    """Return a list of `name: text` as definitions; an empty text if it is none."""
    found: list[list[str]] = []
    for line in lines:
        match = NAMED.fullmatch(line)
        if match and not line.startswith(" "):
            found.append([match[1], match[2]])
        elif found and line.startswith("  "):
            found[-1][1] += f" {line.strip()}"
        else:
            return ""
    names = [", ".join(f"`{each.strip(' `')}`" for each in name.split(",")) for name, _ in found]
    return "\n\n".join(f"{name}\n:   {escaped(text)}" for name, (_, text) in zip(names, found, strict=True))
