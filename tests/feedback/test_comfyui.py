"""Whole workflows of ComfyUI, in both of its forms, as its interface saves them."""

import copy
import io
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from thumbtune.feedback.metadata.comfyui import read_graph
from thumbtune.feedback.metadata.image_files import parameters_in
from thumbtune.feedback.metadata.parameters import NO_PARAMETERS, Parameters
from thumbtune.feedback.sources.contrib.comfyui_canvas import read_canvas

Json = dict[str, Any]

FOX = Parameters(prompt="a fox in ink", negative="text, watermark", seed=156680208700286, model="v1-5.safetensors")


def box(number: int, kind: str, *, inputs: Json | None = None, values: object = None, **more: object) -> Json:
    """A node on a canvas; `inputs` are types by name, links are laid later."""
    rows = [{"name": name, "type": of, "link": None} for name, of in (inputs or {}).items()]
    node = {"id": number, "type": kind, "pos": [413, 389], "size": [425, 180], "flags": {}, "order": 3, "mode": 0}
    node |= {"inputs": rows, "outputs": [], "properties": {"Node name for S&R": kind}}
    return {**node, **({} if values is None else {"widgets_values": values}), **more}


def canvas(*nodes: Json, links: list[tuple[int, int, int, str]]) -> Json:
    """Links as (from node, its output, to node, its input by name)."""
    nodes = copy.deepcopy(nodes)
    by_id, laid = {node["id"]: node for node in nodes}, []
    for number, (origin, slot, target, name) in enumerate(links, start=1):
        (place,) = (at for at, each in enumerate(by_id[target]["inputs"]) if each["name"] == name)
        entry = by_id[target]["inputs"][place]
        entry["link"] = number
        outputs = by_id[origin]["outputs"]
        while len(outputs) <= slot:
            outputs.append({"name": "", "type": "*", "links": []})
        outputs[slot] |= {"type": entry["type"], "links": [number]}
        laid.append([number, origin, slot, target, place, entry["type"]])
    return {"last_node_id": 99, "last_link_id": 99, "nodes": list(nodes), "links": laid, "groups": [], "version": 0.4}


SAMPLER = {"model": "MODEL", "positive": "CONDITIONING", "negative": "CONDITIONING", "latent_image": "LATENT"}
SETTINGS = [156680208700286, "randomize", 20, 8, "euler", "normal", 1]
DEFAULT_NODES = (
    box(3, "KSampler", inputs=SAMPLER, values=SETTINGS),
    box(4, "CheckpointLoaderSimple", values=["v1-5.safetensors"]),
    box(5, "EmptyLatentImage", values=[512, 512, 1]),
    box(6, "CLIPTextEncode", inputs={"clip": "CLIP"}, values=["a fox in ink"]),
    box(7, "CLIPTextEncode", inputs={"clip": "CLIP"}, values=["text, watermark"]),
    box(8, "VAEDecode", inputs={"samples": "LATENT", "vae": "VAE"}),
    box(9, "SaveImage", inputs={"images": "IMAGE"}, values=["ComfyUI"]),
)
DEFAULT_LINKS = [
    *((4, 0, 3, "model"), (6, 0, 3, "positive"), (7, 0, 3, "negative"), (5, 0, 3, "latent_image")),
    *((4, 1, 6, "clip"), (4, 1, 7, "clip"), (3, 0, 8, "samples"), (4, 2, 8, "vae"), (8, 0, 9, "images")),
]


def changed(*nodes: Json, links: tuple[tuple[int, int, int, str], ...] = ()) -> Json:
    """The default canvas with nodes put in, or in place of others, and with links in place of others."""
    new = {node["id"]: node for node in nodes}
    kept = [node for node in DEFAULT_NODES if node["id"] not in new]
    laid = {(target, name) for *_, target, name in links}
    return canvas(*kept, *nodes, links=[link for link in DEFAULT_LINKS if link[2:] not in laid] + list(links))


def png(**texts: str) -> bytes:
    info, file = PngImagePlugin.PngInfo(), io.BytesIO()
    for key, text in texts.items():
        info.add_text(key, text)
    Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


ENCODER = {"clip": "CLIP", "text": "STRING"}


def test_the_default_canvas() -> None:
    assert read_canvas(canvas(*DEFAULT_NODES, links=DEFAULT_LINKS)) == FOX


def test_links_as_objects() -> None:
    newer = canvas(*DEFAULT_NODES, links=DEFAULT_LINKS)
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    newer["links"] = [dict(zip(names, link, strict=True)) for link in newer["links"]]
    assert read_canvas({**newer, "version": 1}) == FOX


def test_a_text_that_is_linked() -> None:
    """Typed into a node of its own, with what was typed before still in the encoder."""
    encoder = box(6, "CLIPTextEncode", inputs=ENCODER, values=["what stood here before"])
    for text in (
        box(20, "PrimitiveNode", values=["a fox in ink"]),
        box(20, "PrimitiveStringMultiline", values=["a fox in ink"]),
        box(20, "Text Multiline", inputs={}, values={"text": "a fox in ink"}),
        box(
            20,
            "String Literal",
            values=["a fox in ink"],
            inputs={"string": "STRING"},
        ),
    ):
        for entry in text["inputs"]:
            entry["widget"] = {"name": entry["name"]}
        assert read_canvas(changed(encoder, text, links=((20, 0, 6, "text"),))) == FOX


def test_a_seed_that_is_linked() -> None:
    sampler = box(3, "KSampler", inputs={**SAMPLER, "seed": "INT"}, values=[1, *SETTINGS[1:]])
    for seed in (
        box(20, "PrimitiveNode", values=[156680208700286, "fixed"]),
        box(20, "PrimitiveInt", values=[156680208700286, "increment"]),
    ):
        assert read_canvas(changed(sampler, seed, links=((20, 0, 3, "seed"),))) == FOX


def test_what_is_rerouted_or_bypassed() -> None:
    reroutes = [box(number, "Reroute", inputs={"": "*"}) for number in (20, 21)]
    rerouted = changed(*reroutes, links=((6, 0, 20, ""), (20, 0, 21, ""), (21, 0, 3, "positive")))
    inputs = {"control_net": "CONTROL_NET", "positive": "CONDITIONING", "negative": "CONDITIONING"}
    net = box(22, "ControlNetApplyAdvanced", inputs=inputs, values=[1, 0, 1], mode=4)
    links = ((6, 0, 22, "positive"), (7, 0, 22, "negative"), (22, 0, 3, "positive"))
    loras = box(23, "LoraLoader", inputs={"model": "MODEL", "clip": "CLIP"}, values=["ink", 1, 1], mode=4)
    with_lora = changed(loras, links=((4, 0, 23, "model"), (4, 1, 23, "clip"), (23, 0, 3, "model"), (23, 1, 6, "clip")))
    for drawn in (rerouted, changed(net, links=links), with_lora):
        assert read_canvas(drawn) == FOX


def test_what_is_muted_is_not_there() -> None:
    second = box(20, "KSampler", inputs=SAMPLER, values=[1, "fixed", 20, 8, "euler", "normal", 0.5], mode=2)
    links = ((4, 0, 20, "model"), (7, 0, 20, "positive"), (6, 0, 20, "negative"), (3, 0, 20, "latent_image"))
    assert read_canvas(changed(second, links=links)) == FOX
    assert read_canvas(changed({**second, "mode": 0}, links=links)).prompt is None
    muted = box(6, "CLIPTextEncode", inputs={"clip": "CLIP"}, values=["a fox in ink"], mode=2)
    assert read_canvas(changed(muted)).prompt is None


def test_names_beside_the_values() -> None:
    """Newer interfaces name all that can be typed in; a node nobody has heard of can be read then."""
    inputs = {"clip": "CLIP", "style": "COMBO", "text": "STRING"}
    named = box(6, "SomebodysEncode", inputs=inputs, values=["ink", "a fox in ink"])
    for entry in named["inputs"][1:]:
        entry["widget"] = {"name": entry["name"]}
    assert read_canvas(changed(named)) == FOX
    old = box(6, "SomebodysEncode", inputs={"clip": "CLIP"}, values=["ink", "a fox in ink"])
    assert read_canvas(changed(old)).prompt is None


def flux() -> Json:
    return canvas(
        box(
            13,
            "SamplerCustomAdvanced",
            inputs={
                "noise": "NOISE",
                "guider": "GUIDER",
                "sampler": "SAMPLER",
                "sigmas": "SIGMAS",
                "latent_image": "LATENT",
            },
        ),
        box(25, "RandomNoise", values=[219670278747233, "randomize"]),
        box(22, "BasicGuider", inputs={"model": "MODEL", "conditioning": "CONDITIONING"}),
        box(26, "FluxGuidance", inputs={"conditioning": "CONDITIONING"}, values=[3.5]),
        box(16, "KSamplerSelect", values=["euler"]),
        box(12, "UNETLoader", values=["flux1-dev.safetensors", "default"]),
        box(6, "CLIPTextEncode", inputs=ENCODER, values=[""]),
        box(30, "PrimitiveStringMultiline", values=["cute fox,\nink"]),
        links=[
            *((25, 0, 13, "noise"), (22, 0, 13, "guider"), (16, 0, 13, "sampler"), (12, 0, 22, "model")),
            *((26, 0, 22, "conditioning"), (6, 0, 26, "conditioning"), (30, 0, 6, "text")),
        ],
    )


def test_flux() -> None:
    assert read_canvas(flux()) == Parameters(
        prompt="cute fox,\nink", seed=219670278747233, model="flux1-dev.safetensors"
    )


def test_sdxl_with_a_refiner() -> None:
    advanced = ["enable", 721897303308196, "randomize", 25, 8, "euler", "normal", 0, 20, "enable"]
    refining = ["disable", 0, "fixed", 25, 8, "euler", "normal", 20, 10000, "disable"]
    sizes = [4096, 4096, 0, 0, 4096, 4096]
    drawn = canvas(
        box(4, "CheckpointLoaderSimple", values=["sd_xl_base_1.0.safetensors"]),
        box(6, "CLIPTextEncodeSDXL", inputs={"clip": "CLIP"}, values=[*sizes, "a fox in ink", "a fox in ink"]),
        box(7, "CLIPTextEncodeSDXL", inputs={"clip": "CLIP"}, values=[*sizes, "text", "text"]),
        box(10, "KSamplerAdvanced", inputs=SAMPLER, values=advanced),
        box(11, "KSamplerAdvanced", inputs=SAMPLER, values=refining),
        links=[
            *((4, 0, 10, "model"), (6, 0, 10, "positive"), (7, 0, 10, "negative")),
            *((4, 0, 11, "model"), (6, 0, 11, "positive"), (7, 0, 11, "negative"), (10, 0, 11, "latent_image")),
        ],
    )
    assert read_canvas(drawn) == Parameters(
        prompt="a fox in ink", negative="text", seed=721897303308196, model="sd_xl_base_1.0.safetensors"
    )


# --- the other form, which ran


def ran(**changes: Json) -> Json:
    nodes: Json = {
        "3": {
            "inputs": {
                **{"seed": 156680208700286, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "normal"},
                **{
                    "denoise": 1,
                    "model": ["4", 0],
                    "positive": ["6", 0],
                    "negative": ["7", 0],
                    "latent_image": ["5", 0],
                },
            },
            "class_type": "KSampler",
            "_meta": {"title": "KSampler"},
        },
        "4": {"inputs": {"ckpt_name": "v1-5.safetensors"}, "class_type": "CheckpointLoaderSimple"},
        "5": {"inputs": {"width": 512, "height": 512, "batch_size": 1}, "class_type": "EmptyLatentImage"},
        "6": {"inputs": {"text": "a fox in ink", "clip": ["4", 1]}, "class_type": "CLIPTextEncode"},
        "7": {"inputs": {"text": "text, watermark", "clip": ["4", 1]}, "class_type": "CLIPTextEncode"},
        "8": {"inputs": {"samples": ["3", 0], "vae": ["4", 2]}, "class_type": "VAEDecode"},
        "9": {"inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}, "class_type": "SaveImage"},
    }
    return {**nodes, **{key.lstrip("_"): value for key, value in changes.items()}}


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("PrimitiveStringMultiline", {"value": "a fox in ink"}),
        ("String Literal", {"string": "a fox in ink"}),
        ("ttN text", {"text": "a fox in ink"}),
        ("CR Prompt Text", {"prompt": "a fox in ink"}),
        ("ShowText|pysssss", {"text": ["21", 0], "text_0": "what it showed the last time"}),
        ("Reroute", {"text": ["21", 0]}),
    ],
)
def test_a_prompt_that_another_node_says(kind: str, inputs: Json) -> None:
    encoder = {"inputs": {"text": ["20", 0], "clip": ["4", 1]}, "class_type": "CLIPTextEncode"}
    source = {"inputs": {"value": "a fox in ink"}, "class_type": "PrimitiveString"}
    assert read_graph(ran(_6=encoder, _20={"inputs": inputs, "class_type": kind}, _21=source)) == FOX


def test_texts_that_are_joined() -> None:
    """Core's node of it; `test_comfyui_texts` has those of packs, and what cannot be joined."""
    encoder = {"inputs": {"text": ["20", 0], "clip": ["4", 1]}, "class_type": "CLIPTextEncode"}
    joined = {
        "inputs": {"string_a": "a fox", "string_b": "in ink", "delimiter": " "},
        "class_type": "StringConcatenate",
    }
    assert read_graph(ran(_6=encoder, _20=joined)) == FOX


# --- in images


def test_the_canvas_is_read_where_the_graph_is_not_there() -> None:
    drawn = json.dumps(canvas(*DEFAULT_NODES, links=DEFAULT_LINKS))
    assert parameters_in(png(workflow=drawn)) == FOX
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x010F] = f"workflow:{drawn}"
    Image.new("RGB", (4, 4)).save(file, "WEBP", exif=exif)
    assert parameters_in(file.getvalue()) == FOX


def test_the_graph_that_ran_counts() -> None:
    hare = ran(_6={"inputs": {"text": "a hare", "clip": ["4", 1]}, "class_type": "CLIPTextEncode"})
    two = ran(_60={**ran()["3"], "inputs": {**ran()["3"]["inputs"], "positive": ["7", 0]}})
    drawn = json.dumps(canvas(*DEFAULT_NODES, links=DEFAULT_LINKS))
    assert parameters_in(png(workflow=drawn, prompt=json.dumps(hare))).prompt == "a hare"
    assert parameters_in(png(workflow=drawn, prompt=json.dumps(two))).prompt is None


# --- whatever comes


@pytest.mark.parametrize(
    "drawn", [{}, {"nodes": 7, "links": {}}, {"nodes": [7, {"id": 3}], "links": [7, [], [1, 2, "x"]]}]
)
def test_canvases_of_nothing(drawn: Json) -> None:
    assert read_canvas(drawn) == NO_PARAMETERS


def test_circles_and_long_ways_of_reroutes() -> None:
    round_and_round = [box(number, "Reroute", inputs={"": "*"}) for number in (20, 21)]
    links = ((20, 0, 21, ""), (21, 0, 20, ""), (21, 0, 3, "positive"))
    assert read_canvas(changed(*round_and_round, links=links)).prompt is None
    many = [box(number, "Reroute", inputs={"": "*"}) for number in range(100, 2100)]
    chain = [(number, 0, number + 1, "") for number in range(100, 2099)]
    assert read_canvas(changed(*many, links=(*chain, (2099, 0, 3, "positive")))).prompt is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 12) | st.floats() | st.sampled_from(["3", "KSampler", "Reroute"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "name"]), inner),
    max_leaves=6,
)


@given(values=st.lists(json_values, max_size=8), seed=st.integers(0, 1000))
def test_any_canvas_is_read_or_says_nothing(values: list[object], seed: int) -> None:
    drawn, chance = flux() if seed % 2 else canvas(*DEFAULT_NODES, links=DEFAULT_LINKS), random.Random(seed)
    for value in values:
        node = chance.choice(drawn["nodes"])
        places = [node, drawn, *node["inputs"]]
        place = chance.choice([each for each in places if isinstance(each, dict)])
        keys = [key for key in place if key not in ("nodes", "inputs")]
        place[chance.choice(keys)] = value
        if isinstance(drawn["links"], list):
            drawn["links"].append(value)
    assert isinstance(read_canvas(drawn), Parameters)
    assert isinstance(read_canvas({"nodes": values, "links": values}), Parameters)


def test_depth_is_no_trouble() -> None:
    deep: object = 7
    for _ in range(900):
        deep = [deep]
    broken = canvas(*DEFAULT_NODES, links=DEFAULT_LINKS)
    broken["nodes"].append({"id": deep, "type": deep, "inputs": [{"name": deep, "link": deep}], "widgets_values": deep})
    assert parameters_in(png(workflow=json.dumps(broken))) == FOX
