"""One file holds every sentence that people see: errors by their code, options, commands, and what commands print.

python tests/test_sentences.py      writes tests/sentences.txt again, to be read before it is committed
"""

import ast
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


def lines() -> str:
    return "".join(f"{kind}: {' '.join(text.split())}\n" for kind, text in sorted(set(sentences())))


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
