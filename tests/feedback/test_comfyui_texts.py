"""ComfyUI's nodes that hold, join, choose and make texts: the text that reaches the sampler, or none."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tool_images import NEGATIVE, SEED, Json, graph, node

from thumbtune.feedback.metadata.comfyui import read_graph

FOX = "a fox, in ink"


def text_node(text: str) -> Json:
    return node("PrimitiveStringMultiline", value=text)


A, B = {"_21": text_node("a fox")}, {"_22": text_node("in ink")}
LINKS: Json = {**A, **B}


def prompt_of(**nodes: Any) -> str | None:
    """The prompt of a graph whose encoder reads node 20."""
    return read_graph(graph(["20", 0], **nodes)).prompt


@pytest.mark.parametrize(
    "joined",
    [
        node("StringConcatenate", string_a="a fox", string_b="in ink", delimiter=", "),
        node("StringConcatenate", string_a=["21", 0], string_b=["22", 0], delimiter=", "),
        node("StringConcatenate", string_a="a fox, ", string_b="in ink"),
        node("Text Concatenate", delimiter=", ", clean_whitespace="true", text_a=" a fox ", text_b=["22", 0]),
        node("Text Concatenate", delimiter=", ", clean_whitespace="true", text_a="a fox", text_c="in ink", text_b=""),
        node("Text Concatenate", text_d="in ink", text_b="a fox"),
        node("StringFunction|pysssss", action="append", tidy_tags="yes", text_a="a fox,", text_b="in ink", text_c=""),
        node("StringFunction|pysssss", action="append", tidy_tags="no", text_a="a fox", text_b=", in", text_c=" ink"),
        node("CR Text Concatenate", text1="a fox", text2="in ink", separator=", "),
        node("CR Combine Prompt", part1="a fox", part2="in ink", part3="", part4="", separator=", "),
        node("JoinStrings", string1=["21", 0], string2=["22", 0], delimiter=", "),
        node("JoinStringMulti", inputcount=2, string_1="a fox", string_2="in ink", delimiter=", ", return_list=False),
        node("easy promptConcat", prompt1="a fox", prompt2="in ink", separator=", "),
        node("Text Concatenate (JPS)", text1="a fox", text2="in ink", delimiter="comma"),
        node("String Concatenate", Prepend="a fox", Append="in ink", Delimiter=", "),
        node("ConcatText_Zho", text_1=["21", 0], text_2=["22", 0], separator=["23", 0]),
        node("Text Find and Replace", text="a fox, in oil", find="oil", replace="ink"),
        node("Text String", text=FOX, text_b="other", text_c="", text_d=""),
        node("ShowText|pysssss", text=FOX, text_0="of an earlier run"),
        node("PreviewAny", source=FOX),
        node("CR Text", text=FOX),
        node("ttN text", text=FOX),
        node("DF_Text_Box", Text=FOX),
        node("String Literal", STRING=FOX),
        node("easy positive", positive=FOX),
        node("PromptStashSaver", prompt_text=FOX),
        node("Simple String", str=FOX),
        node("Power Prompt - Simple (rgthree)", prompt=FOX),
        node("Text Multiline", text=FOX),
        node("ComfySwitchNode", switch=True, on_true=["23", 1], on_false="of"),
        node("ComfySwitchNode", switch=["24", 0], on_true="of", on_false=["25", 0]),
        node("ImpactSwitch", select=2, sel_mode=False, input1="of", input2=["25", 0]),
        node("CR Text Input Switch", Input=1, text1=["25", 0], text2="of"),
        node("Text Input Switch", boolean="false", text_a="of", text_b=["25", 0]),
        node("Switch any [Crystools]", boolean=True, on_true=["25", 0], on_false="of"),
        node("Any Switch (rgthree)", any_02=["25", 0]),
        node("ImpactConditionalBranch", cond=False, tt_value="of", ff_value=["25", 0]),
        node("WildcardProcessor", wildcard_text="a {fox|hare}", populated_text=FOX, mode="populate"),
    ],
    ids=lambda made: made["class_type"],
)
def test_nodes_of_text(joined: Json) -> None:
    more = {"_23": text_node(", "), "_24": node("PrimitiveBoolean", value=False), "_25": text_node(FOX)}
    if joined["class_type"] == "ComfySwitchNode" and joined["inputs"]["switch"] is True:
        more["_23"] = text_node(FOX)
    assert prompt_of(_20=joined, **LINKS, **more) == FOX


def test_nodes_behind_nodes() -> None:
    inner = node("Text Concatenate", delimiter=" ", text_a="a", text_b=["26", 0])
    outer = node("StringConcatenate", string_a=["21", 0], string_b=["22", 0], delimiter=", ")
    nodes = {"_21": inner, "_22": node("Reroute", value=["27", 0]), "_26": text_node("fox"), "_27": text_node("in ink")}
    assert prompt_of(_20=outer, **nodes) == FOX


@pytest.mark.parametrize(
    "made",
    [
        node("TextGenerate", prompt="Write a prompt about a fox", clip=["4", 1]),
        node("OllamaGenerateV2", prompt="a fox", system="You write prompts"),
        node("Text Random Prompt", search_seed="fox"),
        node("DPRandomGenerator", text="a {fox|hare}", seed=5),
        node("StringFunction|pysssss", action="replace", text_a="a fox", text_b="/f.x/", text_c="hare"),
        node("SDXLPromptStyler", text_positive="a fox", text_negative="", style="film"),
        node("Text Load Line From File", file_path="prompts.txt", text="a fox"),
        node("RegexReplace", string="a fox", regex_pattern="f", replace="b"),
        node("WD14Tagger|pysssss", image=["1", 0]),
        node("StringConcatenate", string_a="a fox", string_b=["99", 0], delimiter=", "),
        node("StringConcatenate", string_a="a fox", string_b=["20", 0], delimiter=", "),
        node("StringConcatenate", string_a="a fox", string_b=7, delimiter=", "),
        node("ImpactSwitch", select=["98", 0], input1="a fox", input2="a hare"),
        node("CR Text Input Switch", Input=3, text1="a fox", text2="a hare"),
        node("ComfySwitchNode", switch="maybe", on_true="a fox", on_false="a hare"),
    ],
    ids=lambda made: made["class_type"],
)
def test_a_text_that_does_not_stand_in_the_graph_is_none(made: Json) -> None:
    assert prompt_of(_20=made) is None


# --- conditionings


def encoded(text: str) -> Json:
    return node("CLIPTextEncode", text=text, clip=["4", 1])


def sampler(**inputs: object) -> Json:
    return node("KSampler", **{**graph()["3"]["inputs"], **inputs})


@pytest.mark.parametrize(
    "nodes",
    [
        {"_6": node("CLIPTextEncodeSDXL", text_g=FOX, text_l=FOX, width=64)},
        {"_6": node("CLIPTextEncodeSDXLRefiner", text=FOX, ascore=6)},
        {"_6": node("CLIPTextEncodeFlux", clip_l="fox, ink", t5xxl=FOX, guidance=3.5)},
        {"_6": node("CLIPTextEncodeFlux", clip_l=FOX, t5xxl="", guidance=3.5)},
        {"_6": node("CLIPTextEncodeSD3", clip_l=FOX, clip_g=FOX, t5xxl="", empty_padding="none")},
        {"_6": node("CLIPTextEncodeHunyuanDiT", bert=FOX, mt5xl=FOX)},
        {"_6": node("CLIPTextEncodeLumina2", system_prompt="superior", user_prompt=FOX)},
        {"_6": node("TextEncodeQwenImageEdit", prompt=FOX, clip=["4", 1], image=["1", 0])},
        {"_6": node("smZ CLIPTextEncode", text=FOX, text_g="", text_l="", parser="A1111")},
        {"_6": node("BNK_CLIPTextEncodeAdvanced", text=FOX, token_normalization="none")},
        {"_6": node("Power Prompt (rgthree)", prompt=FOX, opt_clip=["4", 1])},
        {"_6": node("ConditioningCombine", conditioning_1=["30", 0], conditioning_2=["31", 0])},
        {"_6": node("ConditioningCombine", conditioning_1=["30", 0], conditioning_2=["32", 0])},
        {"_6": node("ConditioningSetTimestepRange", conditioning=["30", 0], start=0, end=1)},
        {"_6": node("ControlNetApplyAdvanced", positive=["30", 0], negative=["7", 0])},
        {"_6": node("CR Conditioning Input Switch", Input=1, conditioning1=["30", 0], conditioning2=["7", 0])},
        {"_6": node("Conditioning Input Switch", boolean=False, conditioning_a=["7", 0], conditioning_b=["30", 0])},
        {"_6": node("Reroute", **{"": ["30", 0]})},
        {
            "_3": sampler(positive=["33", 0], negative=["33", 1]),
            "_33": node("Eff. Loader", positive=FOX, negative=NEGATIVE, ckpt_name="sd15"),
        },
        {
            "_3": node("easy fullkSampler", pipe=["34", 0], seed=SEED),
            "_34": node("easy fullLoader", positive=FOX, negative=NEGATIVE, ckpt_name="sd15"),
        },
        {
            "_3": node("ttN pipeKSampler", pipe=["35", 0], seed=SEED),
            "_35": node("pipeLora", pipe=["34", 0]),
            "_34": node("pipeLoader", positive=FOX, negative=NEGATIVE, ckpt_name="sd15"),
        },
        {
            "_3": node("SamplerCustomAdvanced", noise=["36", 0], guider=["37", 0], latent_image=["5", 0]),
            "_36": node("RandomNoise", noise_seed=SEED),
            "_37": node("CFGGuider", model=["4", 0], positive=["30", 0], negative=["7", 0], cfg=7),
        },
        {
            "_3": node(
                "SamplerCustom",
                add_noise=True,
                noise_seed=SEED,
                model=["4", 0],
                positive=["30", 0],
                negative=["7", 0],
                latent_image=["5", 0],
            )
        },
        {
            "_3": node(
                "KSamplerAdvanced",
                add_noise="enable",
                noise_seed=SEED,
                model=["4", 0],
                positive=["30", 0],
                negative=["7", 0],
                latent_image=["5", 0],
            )
        },
        {
            "_3": sampler(model=["38", 0]),
            "_38": node("LoraLoader", model=["39", 0], clip=["4", 1]),
            "_39": node("ComfySwitchNode", switch=True, on_true=["4", 0], on_false=["98", 0]),
        },
    ],
)
def test_ways_to_the_sampler(nodes: Json) -> None:
    more = {
        "_6": encoded(FOX),
        "_30": encoded(FOX),
        "_31": node("ConditioningZeroOut", conditioning=["7", 0]),
        "_32": encoded(FOX),
    }
    read = read_graph(graph(**{**more, **nodes}))
    assert (read.prompt, read.negative, read.seed, read.model) == (FOX, NEGATIVE, SEED, "sd15")


def test_a_sampler_with_other_names() -> None:
    inputs = {"model": ["4", 0], "conditioning": ["6", 0], "neg_conditioning": ["7", 0], "latent_image": ["5", 0]}
    read = read_graph(graph(FOX, _3=node("XlabsSampler", noise_seed=SEED, **inputs)))
    assert (read.prompt, read.negative, read.seed, read.model) == (FOX, NEGATIVE, SEED, "sd15")


def test_a_guider_without_a_negative_prompt() -> None:
    parts = {
        "_36": node("RandomNoise", noise_seed=SEED),
        "_37": node("BasicGuider", model=["4", 0], conditioning=["6", 0]),
    }
    advanced = node("SamplerCustomAdvanced", noise=["36", 0], guider=["37", 0], latent_image=["5", 0])
    read = read_graph(graph(FOX, _3=advanced, **parts))
    assert (read.prompt, read.negative, read.seed, read.model) == (FOX, None, SEED, "sd15")


# --- circles and size


def test_a_graph_that_doubles_its_text_ends_soon() -> None:
    """Each node joins the one before it with itself: 2^60 parts."""
    nodes = {
        f"_{n}": node("StringConcatenate", string_a=[str(n + 1), 0], string_b=[str(n + 1), 0]) for n in range(20, 80)
    }
    start = time.process_time()
    assert prompt_of(**nodes, _80=text_node("fox")) is None
    assert time.process_time() - start < 5


def test_conditionings_that_are_concatenated() -> None:
    of = {"_30": encoded("a fox"), "_31": encoded("in ink"), "_32": node("SomePack", what="x")}
    for ends, prompt in ((("30", "31"), "a fox in ink"), (("30", "32"), None), (("6", "30"), None)):
        inputs = dict(zip(("conditioning_to", "conditioning_from"), [[end, 0] for end in ends], strict=True))
        assert read_graph(graph(_6=node("ConditioningConcat", **inputs), **of)).prompt == prompt


def test_a_prompt_for_each_frame_is_none() -> None:
    scheduled = node("BatchPromptSchedule", text='"0": "a fox", "12": "a hare"', clip=["4", 1])
    assert read_graph(graph(_6=scheduled)).prompt is None


def test_circles_of_texts_and_switches() -> None:
    for kind in ("StringConcatenate", "ComfySwitchNode", "ImpactSwitch"):
        inputs = {"string_a": ["20", 0], "on_true": ["20", 0], "on_false": ["20", 0], "input1": ["20", 0]}
        assert prompt_of(_20=node(kind, switch=True, select=1, **inputs)) is None
    assert prompt_of(_20=node("ComfySwitchNode", switch=["20", 0], on_true="a", on_false="b", value=["20", 0])) is None


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 40) | st.text(max_size=3) | st.just(["20", 0]) | st.just(["21", 0]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
names = st.sampled_from(
    ["text", "text_a", "string_b", "select", "switch", "on_true", "on_false", "input1", "any_01", ""]
)
kinds = st.sampled_from(
    ["StringConcatenate", "ImpactSwitch", "Any Switch (rgthree)", "Reroute", "StringFunction|pysssss"]
)


@given(made=st.lists(st.tuples(kinds, st.dictionaries(names, values, max_size=5)), min_size=1, max_size=4))
def test_any_nodes_of_text_are_read_or_none(made: list[tuple[str, Json]]) -> None:
    nodes = {f"_{number}": node(kind, **inputs) for number, (kind, inputs) in enumerate(made, start=20)}
    prompt = prompt_of(**nodes)
    assert prompt is None or isinstance(prompt, str)
