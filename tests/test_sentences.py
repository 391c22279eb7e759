"""One file holds every sentence that people see: errors by their code, options, what commands print, gates, guards,
notes, pages. A text counts as a sentence if it has at least three words of its own, wherever in the package it stands.

python tests/test_sentences.py      writes tests/sentences.txt again, to be read before it is committed
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "thumbtune"
KEPT = Path(__file__).with_name("sentences.txt")
ERRORS = {
    "ThumbtuneError",
    "UsageError",
    "Interrupted",
    "TrainingBroke",
    "MemoryRanOut",
    "WentWrong",
    "UnreadableImage",
}
PRINTED = {"say", "note"}
MIN_WORDS = 3  # of a text that counts as a sentence
IN_BRACES = re.compile(r"\{(?:[^{}]|\{[^{}]*\})*\}")
WORD = re.compile(r"(?<![\w/.-])[A-Za-z][a-z']*(?:-[a-z]+)*(?![\w/(=])")
FOR_MACHINES = re.compile(r"^\(?(SELECT|INSERT|CREATE|DROP|PRAGMA|UPDATE|DELETE|ALTER|<svg|<[a-z]+ )|^\.[a-z]+ \.")
TAG = re.compile(r"\{[%#].*?[%#]\}|<(style|script)\b.*?</\1>|<[^>]*>", re.DOTALL)
CODED_CLASSES = {"UnreadableImage", "TrainingBroke", "MemoryRanOut", "WentWrong"}  # the class has the code


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def words(node: ast.expr | None) -> str:
    """A sentence with the expressions in it in braces."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(words(part) for part in parts)
        case ast.FormattedValue(value=value):
            return f"{{{ast.unparse(value)}}}"
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return words(left) + words(right)
        case ast.IfExp(body=body, orelse=other):
            return f"{words(body)} | {words(other)}"
    return "" if node is None else f"{{{ast.unparse(node)}}}"


def code_of(call: ast.Call) -> str | None:
    return next((words(one.value) for one in call.keywords if one.arg == "code"), None)


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield file, node


def sentences() -> Iterator[tuple[str, str]]:
    """(what it is, the sentence), in no order."""
    for _, call in calls():
        name = name_of(call)
        if name in ERRORS and call.args:
            yield f"error {code_of(call) or '-'}", words(call.args[0])
        elif name in PRINTED and call.args and isinstance(call.args[0], ast.Constant | ast.JoinedStr):
            yield "printed", words(call.args[0])
        for keyword in call.keywords:
            if keyword.arg in {"description", "help"} and not isinstance(keyword.value, ast.Name):
                yield "option", words(keyword.value)


def docstrings(tree: ast.Module) -> set[int]:
    """The docstrings, by their id: they are for readers of the code."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    homes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    first = [node.body[0] for node in homes if node.body]
    return {id(node.value) for node in first if isinstance(node, ast.Expr)}


def texts(node: ast.AST, left_out: set[int]) -> Iterator[str]:
    """Every text in the code, whole: the parts of a formatted or added text are not listed again."""
    for child in ast.iter_child_nodes(node):
        if id(child) in left_out:
            continue
        if isinstance(child, ast.JoinedStr):
            yield words(child)
            inside = [part.value for part in child.values if isinstance(part, ast.FormattedValue)]
            yield from (text for part in inside for text in texts(ast.Expr(part), left_out))
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value
        else:
            yield from texts(child, left_out)


def is_sentence(text: str) -> bool:
    return len(WORD.findall(IN_BRACES.sub(" ", text))) >= MIN_WORDS and not FOR_MACHINES.search(text.strip())


def other_texts() -> Iterator[tuple[str, str]]:
    """Sentences that are passed on before anything shows them, and those of the pages."""
    for file in sorted(PACKAGE.rglob("*.py")):
        if "migrations" not in file.parts:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            yield from (("text", text) for text in texts(tree, docstrings(tree)) if is_sentence(text))
    for file in sorted(PACKAGE.rglob("*.j2")):
        for text in TAG.sub("\n", file.read_text(encoding="utf-8")).split("\n"):
            if is_sentence(text):
                yield "page", text


def lines() -> str:
    coded = {(kind, " ".join(text.split())) for kind, text in sentences()}
    known = {text for _, text in coded}
    others = {(kind, " ".join(text.split())) for kind, text in other_texts()}
    return "".join(f"{kind}: {text}\n" for kind, text in sorted(coded | {one for one in others if one[1] not in known}))


def test_every_sentence_is_as_it_was_read() -> None:
    assert KEPT.read_text(encoding="utf-8") == lines(), "read the changes, then: python tests/test_sentences.py"


def test_every_error_has_a_code() -> None:
    bare = [
        f"{file.relative_to(PACKAGE)}:{call.lineno}"
        for file, call in calls()
        if name_of(call) in ERRORS - CODED_CLASSES and call.args and code_of(call) is None
    ]
    assert not bare


def test_codes_are_names() -> None:
    codes = {code for _, call in calls() if name_of(call) in ERRORS and (code := code_of(call)) is not None}
    assert all(
        code == "-".join(part for part in code.split("-") if part.isalnum() and part.islower()) for code in codes
    )


if __name__ == "__main__":
    KEPT.write_text(lines(), encoding="utf-8")
