"""Commands and weights of generators leave a prompt; every other prompt stays as it is, letter by letter."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbtune.feedback.prompts import NOTES, Mark, Syntax, notes_on, plain_prompt

A1111, COMFYUI, INVOKEAI, NOVELAI, MIDJOURNEY = "automatic1111", "comfyui", "invokeai", "novelai", "midjourney"


@pytest.mark.parametrize(
    ("written", "words", "marks"),
    [
        ("a fox <lora:ink:0.8> in snow", "a fox in snow", {"lora"}),
        ("<lora:ink:0.8>, a fox, <lyco:b:0.5:0.2>, snow,<hypernet:c:1>", "a fox, snow", {"lora"}),
        ("a fox,\n<lora:ink:1>\nsnow", "a fox,\nsnow", {"lora"}),
        ("a fox <lora:name with spaces v1.2:0.8>.", "a fox.", {"lora"}),
        ("<LoRA:x:1> a fox", "a fox", {"lora"}),
        ("<lora:x:1>", "", {"lora"}),
        ("a fox BREAK snow", "a fox snow", {"command"}),
        ("a fox, BREAK\nsnow", "a fox,\nsnow", {"command"}),
        ("a fox AND a hare :0.7", "a fox and a hare", {"command", "weight"}),
        ("a fox AND (a hare:1.2) AND snow", "a fox and a hare and snow", {"command", "weight"}),
        ("a (red:1.3) fox", "a red fox", {"weight"}),
        ("a ((red)) fox, [old], (ink)", "a red fox, old, ink", {"weight"}),
        ("(((a:1.2) fox:1.3) in snow)", "a fox in snow", {"weight"}),
        ("(a, b, (c:1.1), d:0.9), e", "a, b, c, d, e", {"weight"}),
        ("(red : 1.3) fox, (blue:.5), (old:1)", "red fox, blue, old", {"weight"}),
        ("(hare:0) a fox, (dog:-1)", "a fox", {"weight"}),
        ("a fox \\(animal\\), \\[x\\]", "a fox (animal), [x]", {"weight"}),
        ("(fox \\(animal\\):1.2) in snow", "fox (animal) in snow", {"weight"}),
        ("[fox:hare:0.5] in snow", "hare in snow", {"edit"}),
        ("[fox:hare:0.8] in snow", "fox in snow", {"edit"}),
        ("[fox:hare:15], [ink:0.2], [gold::0.1]", "fox, ink", {"edit"}),
        ("[(red:1.2) fox:hare:0.9]", "red fox", {"edit", "weight"}),
        ("a [fox|hare] in snow", "a fox hare in snow", {"edit"}),
        ("a {red|blue} fox, __color__", "a {red|blue} fox, __color__", {"choice"}),
        ("embedding:mine, a fox, (embedding:dir/b-2:1.2)", "a fox", {"lora"}),
        ("a fox at 12:30", "a fox at 12:30", set()),
        ("(at 12:30) a fox", "at 12:30 a fox", {"weight"}),
        ("a fox (in snow", "a fox (in snow", set()),
        (":) a smile ] ok", ":) a smile ] ok", set()),
        ("  a  fox,, ink  ", "  a  fox,, ink  ", set()),
    ],
)
def test_automatic1111(written: str, words: str, marks: set[Mark]) -> None:
    assert plain_prompt(written, A1111) == (words, marks)


@pytest.mark.parametrize(
    ("syntax", "written", "words"),
    [
        (COMFYUI, "a (red:1.2) fox, [old], embedding:mine", "a red fox, [old]"),
        (COMFYUI, "a fox \\(animal\\) BREAK, AND <lora:ink:1>", "a fox (animal) BREAK, AND"),
        (INVOKEAI, "a (red fox)1.3, ink++, (old)-, snow", "a red fox, ink, old, snow"),
        (INVOKEAI, "a ((red)1.2 fox)0.8 \\(animal\\)", "a red fox (animal)"),
        (A1111, "a fox <segment:face> a happy face <lora:x:1>", "a fox"),
        (A1111, "a fox <region:0,0,1,1> in snow <break> ink", "a fox in snow ink"),
        (NOVELAI, "{{red}} fox, [old], 1.3::ink ::, snow", "red fox, old, ink, snow"),
        (NOVELAI, "a fox, -1::hare::, 0.5::snow::", "a fox, snow"),
        (MIDJOURNEY, "a fox --ar 3:2 --v 6.1", "a fox"),
        (MIDJOURNEY, "https://s.mj.run/x a fox::2 snow::1 --no hares, dogs --s 50", "a fox snow"),
        (MIDJOURNEY, "a fox:: hares::-0.5 --niji 6 Job ID: 01234567-89ab-cdef", "a fox"),
        (MIDJOURNEY, "a (red) fox [x] \u2014ar 16:9", "a (red) fox [x]"),
    ],
)
def test_other_tools(syntax: Syntax, written: str, words: str) -> None:
    assert plain_prompt(written, syntax)[0] == words


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("a (red:1.3) apple <lora:ink:0.8>, [old] BREAK light", "a red apple, old light"),
        ("hatsune miku \\(vocaloid\\), solo", "hatsune miku (vocaloid), solo"),
        ("a fox,\nBREAK\nsnow", "a fox,\nsnow"),
        ("a fox BREAK snow", "a fox snow"),
        ("a fox BREAK\nsnow, BREAK", "a fox\nsnow"),
        ("((masterpiece)), a fox, (snow)", "masterpiece, a fox, snow"),
        ("a [fox:hare:0.2]", "a hare"),
        ("a fox --ar 16:9 --style raw", "a fox"),
        ("**a fox, ink --v 5.2** - @somebody (fast)", "a fox, ink"),
        ("a fox \u2013\u2013ar 16:9", "a fox \u2013\u2013ar 16:9"),  # two dashes of a kind that nobody types
    ],
)
def test_marks_show_the_syntax_of_a_prompt_of_unknown_origin(written: str, words: str) -> None:
    assert plain_prompt(written)[0] == words


@pytest.mark.parametrize(
    "written",
    [
        "a fox (Vulpes vulpes) in snow",
        "<p>a fox</p> in <video> and <object>",
        "a [red] fox, 35mm (f/1.8)",
        "a sign that says BREAK",
        "a neon BREAK sign in an office",
        "the word BREAK, painted on a wall",
        "BREAK",
        "LUNCH BREAK OVER A CITY",
        'a cup with the words "TAKE A BREAK, NOW"',
        "TAKE A BREAK, NOW",
        "salt AND pepper",
        "a photo (ratio 16:9), verse (Psalm 1:3), at (8:30)",
        "I <3 foxes; a <b>bold</b> a < b > c",
        "an em dash \u2014 here, and -- there",
        "use --ar 16:9 to set the ratio",
        "C++ and f(x), x--, a::b, std::vector",
        "a smile :) and :( or (:",
        "{a fox} in {snow}",
        "C:\\pictures\\fox",
        "",
    ],
)
def test_prompts_without_marks_stay(written: str) -> None:
    assert plain_prompt(written) == (written, frozenset())


words = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="<([\\{\0"), max_size=40)


@given(text=words.filter(lambda text: "--" not in text and "BREAK" not in text and "mbedding:" not in text.lower()))
def test_no_other_letters_change(text: str) -> None:
    if "Job ID" not in text and not any(dash in text for dash in "\u2013\u2014"):
        assert plain_prompt(text)[0] == text


@given(text=st.text("ab ,:|.1()[]{}<>\\-+\n", max_size=30), syntax=st.sampled_from([None, *(A1111, COMFYUI, NOVELAI)]))
def test_nothing_is_invented(text: str, syntax: Syntax | None) -> None:
    """Letters come from the prompt, in their order, and no mark is left that would be taken out a second time."""
    plain, marks = plain_prompt(text, syntax)
    letters = iter(text)
    assert all(letter in letters for letter in plain if letter in "ab")
    assert plain == text or marks
    assert "\0" not in plain


@given(words=st.lists(st.sampled_from(["a fox", "snow", "ink", "red light"]), min_size=1, max_size=5), data=st.data())
def test_the_words_come_back(words: list[str], data: st.DataObject) -> None:
    """Words that are weighted, and tags between them, in any number."""
    forms = [
        "{}",
        "({}:1.2)",
        "(({}))",
        "({})",
        "<lora:x:0.8>, {}",
        "{} <lora:x y:1>",
        "{}, BREAK",
        "({}, <lyco:z:1>:0.9)",
    ]
    written = ", ".join(data.draw(st.sampled_from(forms)).format(word) for word in words)
    assert plain_prompt(written, A1111)[0] == ", ".join(words)


@pytest.mark.parametrize("syntax", [None, A1111, COMFYUI, INVOKEAI, NOVELAI, MIDJOURNEY])
def test_long_prompts_take_no_long_time(syntax: Syntax | None) -> None:
    start = time.process_time()
    for part in ("(", "(a)", "[a:b:", "{", "{|", "__a", "::", "--no ", "<lora:", " ", ", ", "(a ", "\\", "https://a "):
        plain_prompt("<lora:x:1>" + part * 20_000, syntax)
    assert time.process_time() - start < 10


def test_a_sentence_for_each_kind_of_mark() -> None:
    marks: dict[Mark, int] = {"lora": 12, "choice": 1}
    assert list(notes_on(marks)) == [(12, NOTES["lora"]), (1, NOTES["choice"])]
