"""Read YAML that people write: as YAML 1.2 reads numbers, bounded in size, depth and time, with the line of each fault.

What differs from PyYAML's safe loader:

numbers     1e-4 and 5e3 are numbers; 012 is 12; 1:30 and 2020-01-01 are words, since no option is a time or a date
names       each name once in its mapping, and always a word, also `on` and `no`
aliases     `*name` may stand for little; nested aliases that stand for thousands of values are refused
tags        only those of words, numbers, lists and mappings; `!!python/...`, `!!set` and `!!binary` are refused
"""

import re
from collections.abc import Collection
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_CHARACTERS = 100_000  # fifteen times a recipe that names every option
MAX_DEPTH = 30
MAX_VALUES = 10_000  # with every alias replaced by what it stands for
MAX_DIGITS = 40
MAX_SHOWN = 60  # characters of a name or a number in an error
TAG = "tag:yaml.org,2002:"
TAGS = {f"{TAG}{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq")}
UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
INTEGER = re.compile(r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F][0-9a-fA-F_]*|0o[0-7]+")
FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
REMEDIES = (  # a part of PyYAML's problem, and what to do
    ("'\\t'", "indent with spaces in place of tabs"),
    ("expected ',' or", "close the bracket, or put quotes round a value with brackets, commas or colons in it"),
    ("mapping values are not allowed", "put quotes round a value that contains a colon, and check the indentation"),
    ("could not find expected ':'", "write each option as `name: value`, with a space after the colon"),
    ("while scanning a quoted scalar", "close the quotation mark"),
    ("unexpected end of stream", "close the quotation mark"),
    ("escape character", "write the value in single quotes"),
    ("expected <block end>", "give options of one section the same indentation"),
    ("that cannot start any token", "put quotes round the value"),
    ("undefined alias", "put quotes round a value that begins with *"),
    ("single document", "keep one document, without lines of ---"),
)
REMEDY = "correct that line, or put quotes round the value"


class YamlFault(ValueError):
    """Some text is not YAML that can be used.

    Args:
        problem: what is wrong and on which line.
        remedy: what to do.
        kind: the name of the fault: syntax, duplicate, tag, size, depth, number, character or name.
    """

    def __init__(self, problem: str, remedy: str, kind: str = "syntax") -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy
        self.kind = kind


def parse_yaml(text: str, words: Collection[str] = ()) -> Any:
    """Return the value of a YAML text.

    Args:
        words: dotted names of options whose values stay as they are written, such as `train.precision`, where `no` is
            a word; "" is the value as a whole.

    Raises:
        YamlFault: it is not YAML, or cannot be used.
    """
    if len(text) > MAX_CHARACTERS:
        raise YamlFault(f"it has {len(text):,} characters, more than {MAX_CHARACTERS:,}", "give a shorter file", "size")
    if wrong := UNPRINTABLE.search(text):
        line = text.count("\n", 0, wrong.start()) + 1
        raise YamlFault(
            f"line {line} contains the character {wrong[0]!a}", "remove it, or save the file as UTF-8", "character"
        )
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node)
        _keep_words(node, "", set(words))
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _fault_of(error) from error
    except yaml.YAMLError as error:
        raise YamlFault(f"it is not YAML ({_brief(str(error))})", REMEDY) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, YamlFault):
            raise
        raise YamlFault(f"a value does not fit its tag ({_brief(str(error))})", "remove the tag", "tag") from error


def _brief(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_SHOWN else f"{line[:MAX_SHOWN]}..."


def _fault_of(error: yaml.MarkedYAMLError) -> YamlFault:
    """Return PyYAML's error with its line, its column and a remedy."""
    problem = error.problem or error.context or "it cannot be read"
    mark = error.problem_mark or error.context_mark
    whole = f"{error.context} {problem}"
    remedy = next((remedy for part, remedy in REMEDIES if part in whole), REMEDY)
    place = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1} "
    begun = error.context_mark
    since = f"; it begins on line {begun.line + 1}" if begun and mark and begun.line != mark.line else ""
    return YamlFault(f"{place}is not YAML ({_brief(problem)}{since})", remedy)


def _line(node: Node) -> int:
    return node.start_mark.line + 1


def _check_size(root: Node) -> None:
    """Refuse a value that is part of itself, or that stands for too many values once aliases are replaced."""
    sizes: dict[int, int | None] = {}  # None: begun and not ended

    def size(node: Node) -> int:
        known = sizes.get(id(node), 0)
        if known is None:
            raise YamlFault(f"the value on line {_line(node)} contains itself", "write it out without aliases", "size")
        if known:
            return known
        if isinstance(node, ScalarNode) and (wrong := UNPRINTABLE.search(node.value)):
            raise YamlFault(f"line {_line(node)} stands for the character {wrong[0]!a}", "remove it", "character")
        sizes[id(node)] = None
        children = [part for pair in node.value for part in pair] if isinstance(node, MappingNode) else node.value
        total = 1 if isinstance(node, ScalarNode) else 1 + sum(size(child) for child in children)
        if total > MAX_VALUES:
            raise YamlFault(
                f"the value on line {_line(node)} stands for more than {MAX_VALUES:,} values",
                "write it out without aliases",
                "size",
            )
        sizes[id(node)] = total
        return total

    size(root)


def _keep_words(node: Node, name: str, words: set[str]) -> None:
    """Let the values of these options be words, unless they are empty or tagged; of a list, each part."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            _keep_words(value, f"{name}.{key.value}" if name else str(key.value), words)
    elif isinstance(node, SequenceNode):
        for part in node.value:
            if isinstance(part, ScalarNode):
                _keep_words(part, name, words)
    elif name in words and node.tag != f"{TAG}null":
        node.tag = f"{TAG}str"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the differences that this file begins with."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            line = self.peek_event().start_mark.line + 1
            raise YamlFault(
                f"line {line} is nested more than {MAX_DEPTH} deep", "close its brackets, or write fewer", "depth"
            )
        event = self.peek_event()
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!" and tag not in TAGS:
            shown = _brief(tag.replace(TAG, "!!"))
            raise YamlFault(f"line {event.start_mark.line + 1} has the tag {shown}", "remove the tag", "tag")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        assert isinstance(node, MappingNode)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise YamlFault(f"line {_line(key)} has a list or a mapping as a name", "write a word there", "name")
            if key.tag != f"{TAG}merge":
                key.tag = f"{TAG}str"
            if key.value in lines:
                raise YamlFault(
                    f"{_brief(key.value)!r} is set on line {lines[key.value]} and again on line {_line(key)}",
                    "remove one of them, or put both together",
                    "duplicate",
                )
            lines[key.value] = _line(key)
        return node


def _integer(loader: _Loader, node: Any) -> int:
    text = node.value.replace("_", "")
    digits = text.lstrip("+-0")
    if len(digits) > MAX_DIGITS:
        raise YamlFault(f"line {_line(node)} has a number of {len(digits):,} digits", "write a smaller one", "number")
    try:
        return int(text, 16) if text[:2] == "0x" else int(text, 8) if text[:2] == "0o" else int(text)
    except ValueError as error:
        raise YamlFault(
            f"line {_line(node)}: {_brief(node.value)!r} is not a whole number", REMEDY, "number"
        ) from error


def _float(loader: _Loader, node: Any) -> float:
    text = node.value.replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _resolvers() -> dict[Any, list[tuple[str, re.Pattern[str]]]]:
    """Return PyYAML's rules for plain words, without times and with the numbers of YAML 1.2."""
    dropped = {f"{TAG}{kind}" for kind in ("timestamp", "int", "float", "value")}
    kept = {
        first: [(tag, rule) for tag, rule in rules if tag not in dropped]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for tag, rule, firsts in (("float", FLOAT, "-+.0123456789"), ("int", INTEGER, "-+0123456789")):
        for first in firsts:
            kept.setdefault(first, []).append((f"{TAG}{tag}", re.compile(f"(?:{rule.pattern})$")))
    return kept


_Loader.yaml_implicit_resolvers = _resolvers()
_Loader.add_constructor(f"{TAG}int", _integer)
_Loader.add_constructor(f"{TAG}float", _float)
