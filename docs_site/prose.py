"""Texts of the code as Markdown: docstrings and lines of help, in which `*`, `_` and `<` are what they are."""

import inspect
import re

SIGNS = re.compile(r"([\\*_<>\[\]|#~])")
CODE = re.compile(r"(`[^`]+`)")
PAGE = re.compile(r"docs/([\w/-]+\.md)")
NAMED = re.compile(r"([\w`*, ]{1,60}?):\s+(\S.*)")  # `shift:   one for all images`
COLUMNS = re.compile(r"(\S+(?: \S+)*) {2,}(\S.*)")  # `tuning   LoRA and Full`


def escaped(text: str) -> str:
    r"""Return a sentence as Markdown, on one line; names of pages become links from the folder `reference`.

    >>> escaped("tags such as <lora:ink:1> (docs/prompts.md), and `a_b`")
    'tags such as \\<lora:ink:1\\> ([docs/prompts.md](../prompts.md)), and `a_b`'
    """
    parts = CODE.split(" ".join(text.split()))
    parts[::2] = [PAGE.sub(r"[docs/\1](../\1)", SIGNS.sub(r"\\\1", part)) for part in parts[::2]]
    return "".join(parts)


def from_docstring(text: str | None) -> str:
    """Return a docstring as Markdown: paragraphs, definitions of arguments and of errors, examples and formulas."""
    summary, *blocks = re.split(r"\n\s*\n", inspect.cleandoc(text or ""))
    return "\n\n".join(filter(None, [escaped(summary), *map(_block, blocks)]))


def _block(block: str) -> str:
    head, *rest = lines = block.splitlines()
    if re.fullmatch(r"(Raises|Returns|Yields)( \(.*\))?:", head):
        inside = inspect.cleandoc("\n".join(["", *rest]))
        return f"**{escaped(head.removesuffix(':'))}**\n\n{_named(inside.splitlines()) or escaped(inside)}"
    if head.startswith(">>>"):
        return f"```pycon\n{block}\n```"
    if named := _named(lines) or _named(lines, COLUMNS):
        return named
    if all(line.startswith("    ") for line in lines) or any(re.search(r"\S {2,}\S", line) for line in lines):
        return f"```text\n{inspect.cleandoc(block)}\n```"
    return escaped(block)


def _named(lines: list[str], form: re.Pattern[str] = NAMED) -> str:
    """Return lines of a name and a text as definitions; an empty text if they are something else."""
    found: list[list[str]] = []
    for line in lines:
        match = form.fullmatch(line)
        if match and not line.startswith(" "):
            found.append([match[1], match[2]])
        elif found and line.startswith("  "):
            found[-1][1] += f" {line.strip()}"
        else:
            return ""
    names = [", ".join(f"`{each.strip(' `')}`" for each in name.split(",")) for name, _ in found]
    return "\n\n".join(f"{name}\n:   {escaped(text)}" for name, (_, text) in zip(names, found, strict=True))
