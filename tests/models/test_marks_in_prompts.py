"""What marks a prompt has and what is done with them; no prompt takes long, however it is built."""

import re
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.prompt_syntax import marks_in, sections_of
from thumbtune.runs.prompt_notes import mark_notes

LENGTH = 50_000
PIECES = (
    "cat",
    "1",
    " ",
    ":",
    "(",
    ")",
    "[",
    "]",
    "\\",
    "<a:",
    "<lora:",
    ">",
    "|",
    "BREAK",
    ".",
    "1.",
    "\n",
    ",",
    "AND",
)
A1111 = PromptEncoding(syntax="a1111")


def sections_slowly(prompt: str) -> list[list[tuple[str, float]]]:  # noqa: C901, PLR0912
    """The weights of a prompt one multiplication after the other, as they were first written here."""
    token = re.compile(r"\\[()\[\]\\]|\\|[(\[]|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[)\]]|[^\\()\[\]:]+|:")
    texts: list[str | None] = []
    weights: list[float] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def weigh(start: int, factor: float) -> None:
        weights[start:] = [weight * factor for weight in weights[start:]]

    for found in token.finditer(re.sub(r"<\w+:[^>]+>", "", prompt)):
        if found[0] in opened:
            opened[found[0]].append(len(texts))
        elif found[1] is not None and opened["("]:
            weigh(opened["("].pop(), float(found[1]))
        elif found[0] == ")" and opened["("]:
            weigh(opened["("].pop(), 1.1)
        elif found[0] == "]" and opened["["]:
            weigh(opened["["].pop(), 1 / 1.1)
        else:
            read: list[str | None] = []
            for number, part in enumerate(re.split(r"\s*\bBREAK\b\s*", found[0])):
                read += ([None] if number else []) + ([part] if part else [])
            read = read if found[0][0] != "\\" else [found[0][1:]] if found[0][1:] else []
            texts += read
            weights += [1.0] * len(read)
    for bracket, factor in (("(", 1.1), ("[", 1 / 1.1)):
        for start in opened[bracket]:
            weigh(start, factor)
    sections: list[list[tuple[str, float]]] = [[]]
    for text, weight in zip(texts, weights, strict=True):
        if text is None:
            sections.append([])
        elif sections[-1] and sections[-1][-1][1] == weight:
            sections[-1][-1] = (sections[-1][-1][0] + text, weight)
        else:
            sections[-1].append((text, weight))
    return sections


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_weights_are_those_of_one_multiplication_after_the_other(prompt: str) -> None:
    assert sections_of(prompt) == sections_slowly(prompt)


UNITS = (*PIECES, "(a", "(a:1", "[a", "[a|", "[a:", "(1", ":1", "a1", "((", "((a", "\\(a", "embedding:", "(a:1,", "a)")
SECONDS = 5  # of what takes less than one on an idle machine; its square would take minutes
HARD = ("1", " ", "(a", "[a|", "<lora:", "\\(a")  # each took the square of its length, or took it in one of the two


def read_in_time(prompt: str) -> None:
    begun = process_time()
    marks_in(prompt)
    sections_of(prompt)
    assert process_time() - begun < SECONDS


@pytest.mark.parametrize("unit", HARD)
def test_no_prompt_takes_long(unit: str) -> None:
    read_in_time("(a:" + unit * (LENGTH // len(unit)))


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_no_prompt_of_any_kind_takes_long(unit: str) -> None:
    for prefix in ("", "(a:", "[a:b:", "(", "a "):
        for end in ("", ")"):
            read_in_time(prefix + unit * (LENGTH // len(unit)) + end)
    read_in_time(unit * (LENGTH // 2 // len(unit)) + ")" * (LENGTH // 4) + "]" * (LENGTH // 4))


@pytest.mark.parametrize(
    ("prompt", "marks"),
    [
        ("a cat AND a dog", {"AND"}),
        ("a cat :1.2 AND a dog :0.8", {"AND"}),
        ("CATS AND DOGS", set()),
        ("a BRAND of SAND and a cat", set()),
        ("(red:1,3) apple", {"unread weights"}),
        ("(red:1.3.1) apple", {"unread weights"}),
        ("(red: 130%) apple", {"unread weights"}),
        ("(red:1.3 apple", {"unread weights"}),
        ("an (old) cat, (red:1.3 apple", {"unread weights"}),
        ("(red:1.3) apple", {"weights"}),
        ("(open at 10:30,5) apple", set()),
        ("(open at 10:30 apple", set()),
        ("(a list: one, two) apple", set()),
        ("[cat:dog:0.5]", {"edits"}),
        ("[cat:dog:12]", {"edits"}),
        ("[cat::.5]", {"edits"}),
        ("[cat:0.5]", {"edits"}),
        ("[ca|t:dog]", {"edits"}),
        ("[cat:12] [a:b]", set()),
        ("[sic] at 10:30", set()),
    ],
)
def test_marks_of_a_prompt(prompt: str, marks: set[str]) -> None:
    assert marks_in(prompt) == marks


@pytest.mark.parametrize(
    ("prompt", "read", "says"),
    [
        ("[cat:dog:0.5]", [("cat:dog:0.5", 1 / 1.1)], "read as text, and each bracket weighs 0.91"),
        ("(red:1,3)", [("red:1,3", 1.1)], "their colon and number are read as text, and the bracket weighs 1.1"),
        ("(red:1.3 hat", [("red:1.3 hat", 1.1)], "a (cat:1.3 that is not closed"),
        ("cat :1.2 AND dog", [("cat :1.2 AND dog", 1.0)], "here it is a word, and a number behind a prompt is text"),
    ],
)
def test_a_note_says_what_is_done_with_what_is_not_carried_out(
    prompt: str, read: list[tuple[str, float]], says: str
) -> None:
    assert sections_of(prompt) == [read]
    [note] = mark_notes([prompt, "a cat"], A1111)
    assert note.startswith("Of 2 prompts, 1 contains ") and says in note and repr(prompt) in note


def test_as_plain_text_no_bracket_weighs_anything() -> None:
    [edits] = mark_notes(["[cat:dog:0.5]"], PromptEncoding())
    assert "0.91" not in edits and "read as text;" in edits
    assert mark_notes(["(red:1,3)"], PromptEncoding()) == []
    [several] = mark_notes(["a cat AND a dog"], PromptEncoding())
    assert "here it is a word" in several
