"""What makers of images write into them is read back, and nothing where it can be read in two ways."""

import io
import json
import random
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from thumbtune.feedback.metadata.comfyui import read_graph
from thumbtune.feedback.metadata.image_files import parameters_in, read_automatic1111
from thumbtune.feedback.metadata.parameters import NO_PARAMETERS, Parameters

INFOTEXT = """a fox, (red:1.2) <lora:ink:0.8>
in the snow, Seed: 5

Negative prompt: blurry,
bad anatomy
Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x512, Model hash: 45dee52b, \
Hires prompt: "a, Seed: 6, b", Model: v1-5-pruned, Version: v1.6.0"""
READ = Parameters(
    prompt="a fox, (red:1.2) <lora:ink:0.8>\nin the snow, Seed: 5",
    negative="blurry,\nbad anatomy",
    seed=965400086,
    model="v1-5-pruned",
)
USER_COMMENT, CAMERA, CAMERA_MAKER = 0x9286, 0x0110, 0x010F


def png(*chunks: tuple[str, str], compressed: bool = False, international: bool = False) -> bytes:
    info, file = PngImagePlugin.PngInfo(), io.BytesIO()
    for key, text in chunks:
        if international:
            info.add_itxt(key, text, zip=compressed)
        else:
            info.add_text(key, text, zip=compressed)
    Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def with_exif(kind: str, tags: dict[int, Any], inner: dict[int, Any]) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    for tag, value in {0x0112: 1, **tags}.items():  # upright; Pillow writes no EXIF into a PNG if it has no such tag
        exif[tag] = value
    exif.get_ifd(0x8769).update(inner)
    Image.new("RGB", (4, 4)).save(file, kind, exif=exif)
    return file.getvalue()


# --- Automatic1111 and those after it


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("international", [False, True])
def test_parameters_of_a_png(compressed: bool, international: bool) -> None:
    assert parameters_in(png(("parameters", INFOTEXT), compressed=compressed, international=international)) == READ


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + INFOTEXT.encode("utf-16-be"),
        b"UNICODE\0" + INFOTEXT.encode("utf-16-le"),
        b"UNICODE\0" + INFOTEXT.encode("utf-16"),
        b"UNICODE\0" + INFOTEXT.encode("utf-8"),
        b"ASCII\0\0\0" + INFOTEXT.encode("ascii"),
        b"\0" * 8 + INFOTEXT.encode("ascii"),
        INFOTEXT.encode("ascii"),
    ],
)
def test_parameters_in_exif(kind: str, comment: bytes) -> None:
    assert parameters_in(with_exif(kind, {}, {USER_COMMENT: comment})) == READ


def test_letters_of_all_languages() -> None:
    text = INFOTEXT.replace("a fox", "狐狸 🦊 für")
    for data in (
        with_exif("JPEG", {}, {USER_COMMENT: b"UNICODE\0" + text.encode("utf-16-be")}),
        with_exif("JPEG", {}, {USER_COMMENT: b"UNICODE\0" + text.encode("utf-16-le")}),
        png(("parameters", text)),
    ):
        assert (parameters_in(data).prompt or "").startswith("狐狸 🦊 für, (red")


def test_a_comment_of_gif() -> None:
    file = io.BytesIO()
    Image.new("P", (4, 4)).save(file, "GIF", comment=INFOTEXT.encode())
    assert parameters_in(file.getvalue()) == READ


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("fox\nSteps: 20, Sampler: Euler", Parameters(prompt="fox")),
        ("fox\nNegative prompt: dog", Parameters(prompt="fox", negative="dog")),
        ("Negative prompt: dog\nSteps: 1, Seed: 3", Parameters(negative="dog", seed=3)),
        ("Steps: 1, Seed: 3, Model hash: 45dee52b", Parameters(seed=3, model="45dee52b")),
        ("fox\r\nSteps: 1, Seed: 3", Parameters(prompt="fox", seed=3)),
        ('fox\nSteps: 1, Seed: 3, Model: "a: b, \\"c\\""', Parameters(prompt="fox", seed=3, model='a: b, "c"')),
        ("fox\nSteps: 1, Seed: 3\nTemplate: {fox|hare}\nNegative Template: x", Parameters(prompt="fox", seed=3)),
        (
            "how to dance\nSteps: 5 in all\nSteps: 9, Seed: 3",
            Parameters(prompt="how to dance\nSteps: 5 in all", seed=3),
        ),
        ("fox\nSteps: 1, Seed: 18446744073709551615", Parameters(prompt="fox")),  # no database holds that
        ("fox\nSteps: 1, Seed: " + "9" * 5000, Parameters(prompt="fox")),
        ("just some words", NO_PARAMETERS),
        ("", NO_PARAMETERS),
        ('{"a": 1}', NO_PARAMETERS),
        ("{broken", NO_PARAMETERS),
        ("{" * 100_000, NO_PARAMETERS),
    ],
)
def test_forms_of_parameters(text: str, read: Parameters) -> None:
    assert read_automatic1111(text) == read


def test_fooocus_and_swarm_write_json_there() -> None:
    fooocus = {"prompt": "fox", "negative_prompt": "", "seed": "123", "base_model": "juggernaut", "full_prompt": ["x"]}
    swarm = {"prompt": "fox", "model": "flux1-dev", "seed": 123, "negativeprompt": "dog", "steps": 25}
    assert parameters_in(png(("parameters", json.dumps(fooocus)))) == Parameters(
        prompt="fox", seed=123, model="juggernaut"
    )
    expected = Parameters(prompt="fox", negative="dog", seed=123, model="flux1-dev")
    assert parameters_in(png(("parameters", json.dumps({"sui_image_params": swarm})))) == expected
    in_exif = with_exif("JPEG", {USER_COMMENT: json.dumps(fooocus)}, {})
    assert parameters_in(in_exif) == Parameters(prompt="fox", seed=123, model="juggernaut")


# --- InvokeAI


def test_invokeai() -> None:
    values = {"positive_prompt": " fox ", "negative_prompt": "dog", "seed": 7, "model": {"key": "k", "name": "dream"}}
    expected = Parameters(prompt="fox", negative="dog", seed=7, model="dream")
    assert parameters_in(png(("invokeai_metadata", json.dumps(values)))) == expected
    values["model"] = {"model_name": "dream", "base_model": "sd-1"}
    assert parameters_in(png(("invokeai_metadata", json.dumps(values)))) == expected


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        ("fox", "fox"),
        ([{"prompt": "fox", "weight": 1.0}], "fox"),
        ([{"prompt": "fox", "weight": 1.0}, {"prompt": "hare", "weight": 0.5}], None),
    ],
)
def test_invokeai_of_old(prompt: object, read: str | None) -> None:
    values = {"model_weights": "sd-1.4", "app_id": "invoke-ai/InvokeAI", "image": {"prompt": prompt, "seed": "42"}}
    expected = Parameters(prompt=read, seed=42, model="sd-1.4")
    assert parameters_in(png(("sd-metadata", json.dumps(values)))) == expected


def test_the_command_that_was_dreamt() -> None:
    for command in ('"a "red" fox" -s 50 -S 42 -W 512 -H 512 -C 7.5 -A k_lms', 'a "red" fox -s50 -b1 -W512 -S42'):
        assert parameters_in(png(("Dream", command))) == Parameters(prompt='a "red" fox', seed=42)


# --- ComfyUI


def node(kind: str, **inputs: object) -> dict[str, object]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def graph(**changes: object) -> dict[str, Any]:
    """ComfyUI's default workflow."""
    nodes: dict[str, Any] = {
        "3": node(
            "KSampler",
            seed=156680208700286,
            steps=20,
            cfg=8,
            model=["4", 0],
            positive=["6", 0],
            negative=["7", 0],
            latent_image=["5", 0],
        ),
        "4": node("CheckpointLoaderSimple", ckpt_name="v1-5.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=512, batch_size=1),
        "6": node("CLIPTextEncode", text="a fox", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
    }
    return {**nodes, **{key.lstrip("_"): value for key, value in changes.items()}}


def sampler(**changes: object) -> dict[str, Any]:
    return {"class_type": "KSampler", "inputs": {**graph()["3"]["inputs"], **changes}}


DEFAULT = Parameters(prompt="a fox", negative="blurry", seed=156680208700286, model="v1-5.safetensors")


def test_the_default_workflow_in_png_and_webp() -> None:
    text = json.dumps(graph())
    assert parameters_in(png(("prompt", text), ("workflow", "{}"))) == DEFAULT
    assert parameters_in(with_exif("WEBP", {CAMERA: f"prompt:{text}", CAMERA_MAKER: "workflow:{}"}, {})) == DEFAULT


def test_ways_from_the_sampler_to_the_text() -> None:
    through_controlnet = graph(
        _3=sampler(positive=["20", 0], negative=["20", 1]),
        _20=node("ControlNetApplyAdvanced", positive=["21", 0], negative=["7", 0], control_net=["22", 0]),
        _21=node("FluxGuidance", conditioning=["6", 0], guidance=3.5),
    )
    text_elsewhere = graph(
        _6=node("CLIPTextEncode", text=["30", 0], clip=["4", 1]),
        _30=node("PrimitiveStringMultiline", value="a fox"),
    )
    of_sdxl = graph(_6=node("CLIPTextEncodeSDXL", text_g="a fox", text_l="", width=1024))
    of_flux = graph(_6=node("CLIPTextEncodeFlux", clip_l="a fox", t5xxl=" a fox ", guidance=3.5))
    combined_with_nothing = graph(
        _3=sampler(positive=["40", 0]),
        _40=node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["41", 0]),
        _41=node("ConditioningZeroOut", conditioning=["7", 0]),
    )
    efficient = graph(
        _3=node("KSampler (Efficient)", seed=156680208700286, model=["50", 0], positive=["50", 1], negative=["50", 2]),
        _50=node("Efficient Loader", ckpt_name="v1-5.safetensors", positive="a fox", negative="blurry"),
    )
    wildcards = graph(_6=node("ImpactWildcardEncode", wildcard_text="a {fox|hare}", populated_text="a fox"))
    for nodes in (
        through_controlnet,
        text_elsewhere,
        of_sdxl,
        of_flux,
        combined_with_nothing,
        efficient,
        wildcards,
    ):
        assert read_graph(nodes) == DEFAULT


def test_a_sampler_in_parts() -> None:
    nodes = graph(
        _3=node(
            "SamplerCustomAdvanced",
            noise=["11", 0],
            guider=["12", 0],
            sampler=["13", 0],
            sigmas=["14", 0],
            latent_image=["5", 0],
        ),
        _11=node("RandomNoise", noise_seed=["15", 0]),
        _12=node("BasicGuider", model=["16", 0], conditioning=["6", 0]),
        _13=node("KSamplerSelect", sampler_name="euler"),
        _15=node("PrimitiveInt", value=99),
        _16=node("LoraLoaderModelOnly", model=["17", 0], lora_name="ink"),
        _17=node("UNETLoader", unet_name="flux1-dev.safetensors"),
    )
    assert read_graph(nodes) == Parameters(prompt="a fox", seed=99, model="flux1-dev.safetensors")


def test_a_second_pass_with_the_same_prompt_and_another_seed() -> None:
    again = sampler(seed=2, latent_image=["3", 0], denoise=0.5)
    assert read_graph(graph(_60=again)) == Parameters(prompt="a fox", negative="blurry", model="v1-5.safetensors")
    refiner = {"class_type": "KSamplerAdvanced", "inputs": {**again["inputs"], "add_noise": "disable", "noise_seed": 0}}
    assert read_graph(graph(_60=refiner)) == DEFAULT


@pytest.mark.parametrize(
    "changes",
    [
        {"_60": sampler(positive=["7", 0])},  # two samplers, two prompts
        {"_3": sampler(positive=["99", 0])},  # a node that is not there
        {"_6": node("CLIPTextEncode", text=["6", 0])},  # a circle
        {"_6": node("ControlNetApply", conditioning=["61", 0]), "_61": node("FluxGuidance", conditioning=["6", 0])},
        {"_6": node("CLIPTextEncodeSDXL", text_g="a fox", text_l="a hare")},
        {
            "_6": node("ConditioningCombine", conditioning_1=["7", 0], conditioning_2=["62", 0]),
            "_62": node("X", text="b"),
        },
        {"_6": node("SomePack", what="a fox")},
        {"_6": node("CLIPTextEncode", text=7)},
        {"_6": node("CLIPTextEncode", text="  ")},
        {"_6": "no node"},
        {"_6": {"class_type": "CLIPTextEncode", "inputs": ["text"]}},
    ],
)
def test_no_prompt_rather_than_a_wrong_one(changes: dict[str, object]) -> None:
    assert read_graph(graph(**changes)).prompt is None


def test_graphs_of_no_image() -> None:
    only_loading = {"1": node("LoadImage", image="a.png"), "2": node("SaveImage", images=["1", 0])}
    many = {str(number): sampler() for number in range(100)}
    for nodes in ({}, only_loading, {**graph(), **many}, {"3": None}, {"nodes": [], "links": []}):
        assert read_graph(nodes) == NO_PARAMETERS


def test_a_circle_of_models_and_of_seeds() -> None:
    nodes = graph(
        _3=sampler(model=["70", 0], seed=["71", 0]), _70=node("L", model=["70", 0]), _71=node("S", seed=["71", 0])
    )
    assert read_graph(nodes) == Parameters(prompt="a fox", negative="blurry")


def test_a_long_chain() -> None:
    chain = {f"c{n}": node("FluxGuidance", conditioning=[f"c{n + 1}", 0]) for n in range(20_000)}
    chain["c20000"] = node("CLIPTextEncode", text="a fox")
    assert read_graph({**graph(_3=sampler(positive=["c0", 0])), **chain}).prompt == "a fox"


# --- whatever comes


def test_which_maker_is_believed() -> None:
    """Nodes that save with Automatic1111's text know the prompt better than the graph does."""
    both = png(("prompt", json.dumps(graph())), ("parameters", INFOTEXT))
    assert parameters_in(both) == READ
    assert parameters_in(png(("prompt", json.dumps(graph())), ("parameters", "?"))) == DEFAULT
    ambiguous = graph(_60=sampler(positive=["7", 0]))
    assert parameters_in(png(("prompt", json.dumps(ambiguous)))) == Parameters(
        negative="blurry", seed=DEFAULT.seed, model=DEFAULT.model
    )


def test_a_plain_text_named_prompt() -> None:
    assert parameters_in(png(("prompt", "a fox"))) == Parameters(prompt="a fox")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", png()[:40], png()])
def test_images_that_say_nothing(data: bytes) -> None:
    assert parameters_in(data) == NO_PARAMETERS


def test_a_photograph_says_nothing() -> None:
    tags = {CAMERA: "X100: a camera", CAMERA_MAKER: "Fujifilm", 0x010E: "holidays: at the sea"}
    assert parameters_in(with_exif("JPEG", tags, {USER_COMMENT: b"ASCII\0\0\0at the sea"})) == NO_PARAMETERS


def test_pixels_are_not_looked_at() -> None:
    data = png(("parameters", INFOTEXT))
    at = data.index(b"IDAT")
    assert parameters_in(data[: at + 4] + b"nonsense") == READ


def test_half_characters_and_zero_bytes_are_left_out() -> None:
    values = {"positive_prompt": "\ud800 fox", "negative_prompt": "do\0g", "seed": True, "model": 7}
    assert parameters_in(png(("invokeai_metadata", json.dumps(values)))) == Parameters(negative="dog")


def test_a_text_bomb_is_not_inflated() -> None:
    bomb = bytearray(png(("parameters", "x")))
    data = b"parameters\0\0" + zlib.compress(b"fox\nSteps: 1, Seed: 3" + b" " * 100_000_000)
    chunk = len(data).to_bytes(4, "big") + b"zTXt" + data + zlib.crc32(b"zTXt" + data).to_bytes(4, "big")
    at = bomb.index(b"tEXt") - 4
    assert parameters_in(bytes(bomb[:at] + chunk + bomb[at:])) == NO_PARAMETERS


@pytest.mark.slow
def test_texts_that_take_long_to_search_do_not() -> None:
    for key, text in (
        ("Dream", "x -s1 " * 700_000),
        ("parameters", "Steps: 1, " + 'a: ", ' * 600_000),
        ("parameters", "Steps: 1, " + "a" * 3_000_000),
    ):
        parameters_in(png((key, text)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["3", "6", "text"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(value=json_values, key=st.sampled_from(["invokeai_metadata", "parameters", "prompt", "sd-metadata", "Dream"]))
def test_any_json_is_read_or_says_nothing(value: object, key: str) -> None:
    for text in (json.dumps(value), json.dumps({"image": value, "model": value, "seed": value, "prompt": value})):
        assert isinstance(parameters_in(png((key, text))), Parameters)


@given(values=st.lists(json_values, max_size=6), seed=st.integers(0, 1000))
def test_any_graph_is_read_or_says_nothing(values: list[object], seed: int) -> None:
    nodes, chance = graph(), random.Random(seed)
    for value in values:
        inputs = nodes[chance.choice(sorted(nodes))]["inputs"]
        inputs[chance.choice(["text", "positive", "model", "seed", "latent_image", "guider"])] = value
    assert isinstance(read_graph(nodes), Parameters)


@given(data=st.binary(max_size=100), at=st.integers(0, 200))
def test_any_bytes_are_read_or_say_nothing(data: bytes, at: int) -> None:
    whole = with_exif("JPEG", {CAMERA: "prompt:{}"}, {USER_COMMENT: b"UNICODE\0" + INFOTEXT.encode("utf-16-be")})
    for mixed in (data, whole[:at] + data + whole[at + len(data) :]):
        assert isinstance(parameters_in(mixed), Parameters)
