"""From the image of each known tool come its prompt, negative prompt, seed and model; and nothing that is wrong."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tool_images import (
    NEGATIVE,
    PROMPT,
    SEED,
    TOOLS,
    Tool,
    graph,
    infotext,
    node,
    png,
    raw_png,
    utf16,
    with_exif,
)

from thumbtune.feedback.metadata.image_files import READERS, parameters_in
from thumbtune.feedback.metadata.parameters import NO_PARAMETERS, Parameters


@pytest.mark.parametrize("tool", TOOLS, ids=[name for name, *_ in TOOLS])
def test_every_tool(tool: Tool) -> None:
    _, made, read = tool
    assert parameters_in(made()) == read


# --- letters of all languages


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("words", "encoding", "read"),
    [
        ("café at night, 東京", "utf-8", "café at night, 東京"),
        ("ночной город", "utf-8", "ночной город"),
        ("a fox 🦊", "utf-8", "a fox 🦊"),
        ("café at night", "latin-1", "café at night"),
        ("“naïve” œuvre, 5 €", "cp1252", "“naïve” œuvre, 5 €"),
        ("a fox", "ascii", "a fox"),
        ("ночной город", "cp1251", None),  # of another encoding: no prompt rather than a wrong one
        ("東京の夜景、灯台", "shift_jis", None),
        ("夜晚的城市", "gbk", None),
    ],
)
def test_bytes_in_a_png(words: str, encoding: str, read: str | None, compressed: bool) -> None:
    data = raw_png(("parameters", infotext(words)), encoding=encoding, compressed=compressed)
    assert parameters_in(data).prompt == read


def test_a_text_cut_off_amid_a_letter() -> None:
    text = infotext(end=", Style: 東").encode()[:-1].decode("latin-1")
    assert parameters_in(raw_png(("parameters", text))).prompt == PROMPT


def test_utf8_in_a_standard_chunk_stays() -> None:
    """iTXt is UTF-8 by the standard, and what stands there is not decoded a second time."""
    assert parameters_in(png(parameters=infotext("the letters Ã©"))).prompt == "the letters Ã©"


@pytest.mark.parametrize("order", ["be", "le"])
def test_a_comment_in_utf16_without_latin_letters(order: str) -> None:
    text = "灯台\nNegative prompt: 猫\n"
    assert parameters_in(with_exif("JPEG", comment=utf16(text, order))).prompt == "灯台"


def test_bytes_in_exif() -> None:
    for tag in (0x010F, 0x010E):
        data = with_exif("JPEG", {tag: f"Prompt: {json.dumps(graph(), ensure_ascii=False)}".encode()})
        assert parameters_in(data).prompt == PROMPT


# --- which text counts


@pytest.mark.parametrize("word", ["unknown", "Unknown", "None", "N/A", "undefined", "null", " "])
def test_a_graph_counts_more_than_an_unknown_prompt(word: str) -> None:
    text = infotext(word, word).replace(str(SEED), "0")
    both = parameters_in(png(parameters=text, prompt=json.dumps(graph())))
    assert both == Parameters(prompt=PROMPT, negative=NEGATIVE, seed=SEED, model="sd15")
    assert parameters_in(png(parameters=text)).prompt is None
    assert parameters_in(png(parameters=json.dumps({"prompt": word, "seed": 0}))).prompt is None


def test_a_graph_without_a_prompt_leaves_the_text_beside_it() -> None:
    nothing = json.dumps({"1": node("LoadImage", image="x.png")})
    assert parameters_in(png(prompt=nothing, Comment=infotext())).prompt == PROMPT
    assert parameters_in(png(prompt="{}", parameters=infotext())).prompt == PROMPT


def test_names_in_any_case() -> None:
    for name in ("Parameters", "PARAMETERS"):
        assert parameters_in(png(**{name: infotext()})).prompt == PROMPT
    for name in ("Prompt", "PROMPT"):
        assert parameters_in(png(**{name: json.dumps(graph())})).prompt == PROMPT


@pytest.mark.parametrize(
    "text",
    [
        infotext().replace("\n", " "),
        infotext().replace("\nNeg", " Neg"),
        infotext().replace("\n", "\r\n"),
        "\ufeff" + infotext() + "\0\0",
        f"{PROMPT}\nNegative prompt: {NEGATIVE}\nSize: 64x64, Seed: {SEED}, Model: sd15, Steps: 20, Sampler: Euler",
        infotext(NEGATIVE, PROMPT).replace(NEGATIVE, "@").replace(PROMPT, NEGATIVE).replace("@", PROMPT),
    ],
)
def test_the_negative_prompt_is_never_in_the_prompt(text: str) -> None:
    read = parameters_in(with_exif("JPEG", comment=utf16(text)))
    assert (read.prompt, read.negative, read.seed) == (PROMPT, NEGATIVE, SEED)


@pytest.mark.parametrize(
    "data",
    [
        with_exif("JPEG", {0x010E: "Signature: 1a2b3c", 0x010F: "Prompt engineering: a talk"}),
        with_exif("JPEG", comment=utf16(json.dumps({"caption": "at the sea", "rating": 5}))),
        png("<x><!DOCTYPE bomb></x>"),
        png("<x:xmpmeta"),
        png(Description="a walk in the park", Software="GIMP", Comment="Created with GIMP"),
        png(Description="job 5 -- ready", Title="prompt"),
        png(parameters="[1, 2]", prompt="[]", workflow="[]", Comment="[]", generation_data="null"),
        png(prompt='{"1": 2'),
        png(prompt=json.dumps({"prompt": {"prompt": {"prompt": []}}})),
    ],
)
def test_other_texts_are_no_prompts(data: bytes) -> None:
    assert parameters_in(data) == NO_PARAMETERS


def test_a_prompt_that_looks_like_json() -> None:
    for text in ("{red|blue} fox", "[red] fox", "{a fox}", "(a fox:1.2)"):
        assert parameters_in(png(prompt=text)).prompt == text


# --- whatever comes


keys = st.sampled_from(
    "prompt Comment c uc v4_prompt caption char_captions class_type inputs nodes seed extraMetadata sui_image_params "
    "positive_prompt model workflow Description".split()
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["{}", '{"prompt": 1}']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)


@given(value=st.dictionaries(keys, values, max_size=5), name=st.sampled_from([*READERS, "software"]))
def test_any_json_under_any_name_is_read_or_none(value: dict[str, object], name: str) -> None:
    read = parameters_in(png(**{name: json.dumps(value), "Software": "NovelAI"}))
    assert isinstance(read, Parameters)
    assert read.prompt is None or read.prompt.strip() == read.prompt != ""


@given(data=st.binary(max_size=60), kind=st.sampled_from([b"UNICODE\0", b"ASCII\0\0\0", b"JIS\0\0\0\0\0", b""]))
def test_any_bytes_in_a_comment_are_read_or_none(data: bytes, kind: bytes) -> None:
    assert isinstance(parameters_in(with_exif("JPEG", comment=kind + data)), Parameters)


@given(text=st.text("<>/=\"' ax:li\n&;", max_size=40))
def test_any_xmp_is_read_or_none(text: str) -> None:
    assert isinstance(parameters_in(png(f'<x xmlns:dc="http://d" >{text}</x>')), Parameters)


def test_deep_and_long_xmp_takes_no_long_time() -> None:
    start = time.process_time()
    for part, end in (("<description>", "</description>"), ("<li>", "</li>"), ("<a ", "")):
        parameters_in(with_exif("JPEG", xmp=(part * 2000 + end * 2000).encode()))
    parameters_in(png("<description>" * 30_000 + "x" + "</description>" * 30_000))
    assert time.process_time() - start < 5
