"""The nodes of a ComfyUI graph: their inputs, what a switch lets through, and the text that nodes of text make.

Nodes of packs are known by the names of their classes and inputs, in any case. A node that makes its text in a way that
is not known here, such as a language model or a random choice, has no text: a wrong prompt is worse than none.
"""

import re
from collections.abc import Mapping
from typing import TypeGuard

Inputs = Mapping[str, object]
Nodes = Mapping[str, Inputs]

CLASS, OUTPUT = "class_type", "output"
MAX_DEPTH = 60  # nodes of text behind one another
MAX_VISITS = 2_000  # nodes of text in one prompt, each as often as it is used

# The inputs that core nodes and common packs have for the text that they encode or pass on.
TEXT_INPUTS = (
    *("text", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "prompt", "string", "value"),
    *("user_prompt", "prompt_text", "bert", "mt5xl", "llama", "str", "input_string"),
)
ANY_INPUTS = ("any", "anything", "source", "input", "any_input", "*", "")  # of nodes that show or pass on anything
JOINING = re.compile(r"concat|join|combine|append|merge|add ?text", re.IGNORECASE)
PARTS = re.compile(r"(?:text|string|str|part|prompt|input|value|arg|t)_?([a-z]|\d+)?|prepend|append|prefix|suffix")
SEPARATORS = ("delimiter", "separator", "delim", "sep", "joiner", "join_with", "concat_char")
NAMED_SEPARATORS = {"none": "", "space": " ", "comma": ", ", "newline": "\n", "\\n": "\n", "\\t": "\t"}
# Of nodes whose separator is not among their inputs, by class; other ones have a space.
USUAL_SEPARATORS = {
    "stringconcatenate": "",
    "text concatenate": ", ",
    "cr combine prompt": ", ",
    "cr text concatenate": "",
}
SELECTORS = ("switch", "select", "input", "boolean", "index", "condition", "cond", "selected", "value", "which")
WHEN_TRUE = ("on_true", "if_true", "tt_value", "true_value", "when_true")
WHEN_FALSE = ("on_false", "if_false", "ff_value", "false_value", "when_false")
SWITCHING = re.compile(r"switch|select|if ?else|conditionalbranch|ternary|choose", re.IGNORECASE)
# Nodes that make a text which does not stand in the graph.
MAKING = re.compile(
    r"generat|llm|gpt|ollama|chat|gemini|claude|translat|enhanc|expan|styler|styles|tagger|caption|interrogat|florence"
    r"|qwen.*vl|vlm|random|wildcard|dynamic|replac|regex|slice|split|upper|lower|format|template|json|remove|trunc|llava"
    r"|moondream|joycaption|refine|rewrite|math|length|count|load|file|csv|line|list|schedule|trigger|civitai",
    re.IGNORECASE,
)
PLAIN = re.compile(r"multi-?line|promptline|primitive|literal|text ?box|stringml", re.IGNORECASE)


def nodes_of(graph: Mapping[str, object]) -> dict[str, Inputs]:
    """Return the inputs of all nodes by the node's name, with the class of each; names of inputs are in lower case."""
    return {name: inputs for name, node in graph.items() if (inputs := _inputs_of(node)) is not None}


def _inputs_of(node: object) -> Inputs | None:
    if not isinstance(node, dict) or not isinstance(node.get("inputs"), dict):
        return None
    inputs = node["inputs"]
    lower = {str(name).lower(): value for name, value in inputs.items()}
    return {**lower, **inputs, CLASS: str(node.get(CLASS))}


def is_link(value: object) -> TypeGuard[list[object]]:
    """Return whether a value comes from another node: [node, output]."""
    return isinstance(value, list) and [isinstance(part, (str, int)) for part in value] == [True, True]


def chosen(nodes: Nodes, node: Inputs) -> list[object] | None:
    """Return the input that a switch lets through, in a list; an empty one if it is unknown, None for other nodes."""
    kind = str(node[CLASS])
    if kind.lower().startswith("any switch"):  # rgthree: the first input that is connected
        first = next((value for name, value in sorted(node.items()) if name.startswith("any_")), None)
        return [] if first is None else [first]
    true, false = (next((name for name in names if name in node), None) for names in (WHEN_TRUE, WHEN_FALSE))
    branches = true is not None and false is not None
    if not (branches or SWITCHING.search(kind)) or "conditioning" in node:
        return None
    selector = next((value for name in SELECTORS if (value := _literal(nodes, node.get(name))) is not None), None)
    if selector is None:
        return []
    if branches:
        return [node[str(true if selector else false)]]
    ending = rf"_?0*{selector}" if not isinstance(selector, bool) else "(?:_a|_?1)" if selector else "(?:_b|_?2)"
    names = [name for name in node if re.fullmatch(rf"[a-z]+{ending}", name)]
    return [node[names[0]]] if len(names) == 1 else []


def _literal(nodes: Nodes, value: object) -> bool | int | None:
    """Return a number or a truth value, from another node if need be."""
    for _ in range(MAX_DEPTH):
        if isinstance(value, int):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) < MAX_DEPTH:
            return int(value)
        if not is_link(value):
            return None
        before = nodes.get(str(value[0]), {})
        value = next((before[name] for name in ("value", "boolean", "bool", "int", "number") if name in before), None)
    return None


def is_joining(node: Inputs) -> bool:
    """Return whether a node joins texts."""
    joins = JOINING.search(str(node[CLASS])) is not None or str(node[CLASS]).startswith("StringFunction")
    return joins and "clip" not in node and not any(name.startswith("conditioning") for name in node)


class TextReader:
    """Reads the text that an input carries, through nodes that hold, pass on, choose or join texts."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.visits = 0
        self.concatenations = 0

    def read(self, value: object, depth: int = 0) -> str | None:
        """Return the text of a value, or None if it cannot be known."""
        self.visits += 1
        if isinstance(value, str):
            return value
        if not is_link(value) or depth > MAX_DEPTH or self.visits > MAX_VISITS:
            return None
        node = self.nodes.get(str(value[0]))
        return None if node is None else self._made(node, value[1], depth + 1)

    def _made(self, node: Inputs, output: object, depth: int) -> str | None:
        """Return the text that a node makes."""
        kind = str(node[CLASS])
        if "populated_text" in node:  # the Impact pack's wildcards, filled in
            return self.read(node["populated_text"], depth)
        choice = chosen(self.nodes, node)
        if choice is not None:
            return self.read(choice[0], depth) if choice else None
        if is_joining(node):
            return self._joined(node, depth)
        if "find" in node and "replace" in node and "regex" not in kind.lower():
            return self._replaced(node, depth)
        names = [name for name in (*TEXT_INPUTS, "positive", *ANY_INPUTS) if name in node]
        if kind == "Text String" and isinstance(output, int) and output:  # WAS: four texts, four outputs
            names = [f"text_{'abcd'[output % 4]}"]
        if not names or (MAKING.search(kind) and not PLAIN.search(kind)):
            return None
        return self.read(node.get(names[0]), depth)

    def _replaced(self, node: Inputs, depth: int) -> str | None:
        """Return a text in which a word is replaced by another."""
        text, find, new = (self.read(node.get(name), depth) for name in ("text", "find", "replace"))
        if text is None or find is None or new is None:
            return None
        return text.replace(find, new) if find else text

    def _joined(self, node: Inputs, depth: int) -> str | None:
        """Return the parts of a node that joins texts, joined; empty parts do not count."""
        kind = str(node[CLASS])
        if kind.startswith("StringFunction"):  # pythongosssss
            if node.get("action") != "append":
                return None
            separator: str | None = ", " if node.get("tidy_tags") == "yes" else ""
        else:
            given = next((node[name] for name in SEPARATORS if name in node), None)
            separator = USUAL_SEPARATORS.get(kind.lower(), " ") if given is None else self.read(given, depth)
        parts = [self.read(node[name], depth) for name in _parts_of(node)]
        if separator is None or not parts or None in parts:
            return None
        separator = NAMED_SEPARATORS.get(separator.lower(), separator)
        strips = str(node.get("clean_whitespace", node.get("tidy_tags"))).lower() in ("true", "yes")
        around = (" ,\n" if "tidy_tags" in node else None) if strips else ""
        texts = [(part or "").strip(around) for part in parts]
        return separator.join(text for text in texts if text.strip())


def _parts_of(node: Inputs) -> list[str]:
    """Return the names of the inputs that a node joins, in their order; an input that is not connected is None."""
    names = [name for name in node if name == name.lower() and PARTS.fullmatch(name)]
    return sorted((name for name in names if node[name] is not None), key=_place)


def _place(name: str) -> tuple[int, int, str]:
    first = {"prepend": 0, "prefix": 0, "append": 2, "suffix": 2}.get(name, 1)
    number = re.search(r"\d+$", name)
    return first, int(number[0]) if number and len(number[0]) < MAX_DEPTH else 0, name
