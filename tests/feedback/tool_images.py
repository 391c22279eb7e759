"""Stand-ins for the images of generators: the bytes that each would write for one prompt, with our own content.

A row of TOOLS is (tool, bytes, what is to be read). Every tool gets its own layout, as its public sources describe it.
"""

import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

from PIL import Image, PngImagePlugin

from thumbtune.feedback.metadata.parameters import Parameters

Json = dict[str, Any]

PROMPT, NEGATIVE, SEED, MODEL = "a lighthouse in fog, café 東京", "lowres, blurry", 4711, "sd15"
READ = Parameters(prompt=PROMPT, negative=NEGATIVE, seed=SEED, model=MODEL)
WITHOUT_MODEL = Parameters(prompt=PROMPT, negative=NEGATIVE, seed=SEED)
USER_COMMENT, CAMERA, MAKER, DESCRIPTION = 0x9286, 0x0110, 0x010F, 0x010E

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:exif="http://ns.adobe.com/exif/1.0/">{}</rdf:Description></rdf:RDF></x:xmpmeta>'
)


def raw_png(*chunks: tuple[str, str], encoding: str = "latin-1", compressed: bool = False) -> bytes:
    """A PNG whose tEXt (or zTXt) chunks hold bytes of any encoding, as a program writes that knows no standard."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    data, text = file.getvalue(), b""
    for name, value in chunks:
        body = value.encode(encoding)
        kind = b"zTXt" if compressed else b"tEXt"
        body = name.encode() + b"\0" + (b"\0" + zlib.compress(body) if compressed else body)
        text += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    at = data.index(b"IDAT") - 4
    return data[:at] + text + data[at:]


def png(xmp: str | None = None, **texts: str) -> bytes:
    info, file = PngImagePlugin.PngInfo(), io.BytesIO()
    for name, text in texts.items():
        info.add_itxt(name, text) if not text.isascii() else info.add_text(name, text)
    if xmp is not None:
        info.add_itxt("XML:com.adobe.xmp", xmp)
    Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def with_exif(kind: str, tags: dict[int, Any] | None = None, comment: bytes | None = None, **options: Any) -> bytes:
    """An image with EXIF; `tags` by number, and UserComment in its own folder."""
    exif, file = Image.Exif(), io.BytesIO()
    for tag, value in {0x0128: 2, **(tags or {})}.items():  # a unit; Pillow leaves EXIF out that has no tag
        exif[int(tag)] = value
    if comment is not None:
        exif.get_ifd(0x8769)[USER_COMMENT] = comment
    Image.new("RGB", (16, 16)).save(file, kind, exif=exif, **options)
    return file.getvalue()


def utf16(text: str, order: str = "be") -> bytes:
    return b"UNICODE\0" + text.encode(f"utf-16-{order}")


def infotext(prompt: str = PROMPT, negative: str = NEGATIVE, end: str = "", model: str = MODEL) -> str:
    settings = f"Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: {SEED}, Size: 64x64, Model hash: abc, Model: {model}"
    return f"{prompt}\nNegative prompt: {negative}\n{settings}{end}"


def node(kind: str, **inputs: object) -> Json:
    return {"class_type": kind, "inputs": inputs}


def graph(text: object = PROMPT, **more: Json) -> Json:
    links = {"positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0], "model": ["4", 0]}
    return {
        "3": node("KSampler", seed=SEED, steps=20, cfg=7, **links),
        "4": node("CheckpointLoaderSimple", ckpt_name=MODEL),
        "6": node("CLIPTextEncode", text=text, clip=["4", 1]),
        "7": node("CLIPTextEncode", text=NEGATIVE, clip=["4", 1]),
        **{name.lstrip("_"): value for name, value in more.items()},
    }


def novelai() -> dict[str, str]:
    comment = {"steps": 28, "seed": SEED, "sampler": "k_euler", "noise_schedule": "native", "uc": NEGATIVE}
    return {
        "Title": "AI generated image",
        "Description": PROMPT,
        "Software": "NovelAI",
        "Source": MODEL,
        "Comment": json.dumps({"prompt": PROMPT, **comment}),
    }


def novelai_4() -> Json:
    def captions(base: str, *characters: str) -> Json:
        return {"caption": {"base_caption": base, "char_captions": [{"char_caption": each} for each in characters]}}

    one, two = PROMPT.split(", ")
    prompts = {"v4_prompt": captions(one, two), "v4_negative_prompt": captions(NEGATIVE)}
    return {"prompt": one, "uc": NEGATIVE, "seed": SEED, **prompts}


def draw_things() -> str:
    values = {"c": PROMPT, "uc": NEGATIVE, "model": MODEL, "seed": SEED, "steps": 20, "scale": 7, "size": "64x64"}
    text = json.dumps(values, ensure_ascii=False).replace("&", "&amp;").replace("<", "&lt;")
    settings = f"Steps: 20, Sampler: DDIM, Guidance Scale: 7.0, Seed: {SEED}, Size: 64x64, Model: {MODEL}"
    return XMP.format(
        "<xmp:CreatorTool>Draw Things</xmp:CreatorTool>"
        f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{PROMPT}\n-{NEGATIVE}\n{settings}</rdf:li></rdf:Alt>'
        "</dc:description>"
        f'<exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></exif:UserComment>'
    )


def draw_things_text() -> str:
    settings = f"Steps: 20, Sampler: DDIM, Guidance Scale: 7.0, Seed: {SEED}, Size: 64x64, Model: {MODEL}"
    return XMP.format(
        f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{PROMPT}\n-{NEGATIVE}\n{settings}</rdf:li></rdf:Alt>'
        "</dc:description>"
    )


def jpeg_with_caption(caption: str) -> bytes:
    """A JPEG with a caption in IPTC's part."""
    text = caption.encode()
    record = b"\x1c\x02\x78" + struct.pack(">H", len(text)) + text
    block = b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0" + struct.pack(">I", len(record)) + record
    body = b"Photoshop 3.0\0" + block + b"\0" * (len(block) % 2)
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG")
    data = file.getvalue()
    return data[:2] + b"\xff\xed" + struct.pack(">H", len(body) + 2) + body + data[2:]


def civitai_on_site() -> bytes:
    end = ', Civitai resources: [{"type":"checkpoint","modelVersionId":1}], Civitai metadata: {}'
    return with_exif("JPEG", comment=utf16(infotext(end=end)))


INFOTEXT_WITH_MARKS = infotext("a (red:1.3) apple <lora:shiny:0.8> on a table BREAK window light")
UNKNOWN = "unknown\nNegative prompt: unknown\nSteps: 20, Sampler: euler, CFG Scale: 8.0, Seed: 0, Model: other"
FOOOCUS = {
    "prompt": PROMPT,
    "negative_prompt": NEGATIVE,
    "seed": str(SEED),
    "base_model": MODEL,
    "version": "Fooocus v2.5",
}
SWARM = {"sui_image_params": {"prompt": PROMPT, "negativeprompt": NEGATIVE, "seed": SEED, "model": MODEL, "steps": 20}}
CIVITAI = {"prompt": PROMPT, "negativePrompt": NEGATIVE, "seed": SEED, "baseModel": MODEL, "steps": 20}
EASY = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "seed": SEED, "use_stable_diffusion_model": MODEL}
MATRIX = {"PositivePrompt": PROMPT, "NegativePrompt": NEGATIVE, "Seed": SEED, "ModelName": MODEL}
INVOKE = {"positive_prompt": PROMPT, "negative_prompt": NEGATIVE, "seed": SEED, "model": {"name": MODEL}}
SPACE = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "seed": SEED, "Model": MODEL, "resolution": "64 x 64"}
MOCHI = (
    f"Include in Image: {PROMPT}; Exclude from Image: {NEGATIVE}; Model: {MODEL}; Steps: 20; Guidance Scale: 7.0; "
    f"Seed: {SEED}; Size: 64x64; Scheduler: DPM-Solver++; Generator: Mochi Diffusion 5.0"
)
IMAGINED = f"{PROMPT} --ar 16:9 --v 6.0 Job ID: 01234567-89ab-cdef-0123-456789abcdef"
UPSCALED = {"1": node("LoadImage", image="x.png"), "extra": {}, "extraMetadata": json.dumps(CIVITAI)}

Tool = tuple[str, Callable[[], bytes], Parameters]
TOOLS: tuple[Tool, ...] = (
    ("Automatic1111 PNG", lambda: png(parameters=infotext()), READ),
    ("Automatic1111 JPEG", lambda: with_exif("JPEG", comment=utf16(infotext())), READ),
    ("Automatic1111 WebP", lambda: with_exif("WEBP", comment=utf16(infotext())), READ),
    ("Automatic1111 AVIF", lambda: with_exif("AVIF", comment=utf16(infotext())), READ),
    ("Automatic1111 GIF", lambda: gif(infotext()), READ),
    ("Forge, with more fields", lambda: png(parameters=infotext(end=", Version: f2.0.1, Module 1: vae")), READ),
    ("reForge, with a template below", lambda: png(parameters=infotext(end="\nTemplate: {a|b}")), READ),
    ("SD.Next JPEG", lambda: with_exif("JPEG", comment=utf16(infotext(end=", App: SD.Next"), "le")), READ),
    ("stable-diffusion.cpp, UTF-8 in tEXt", lambda: raw_png(("parameters", infotext()), encoding="utf-8"), READ),
    ("StabilityMatrix", lambda: matrix(infotext()), READ),
    (
        "StabilityMatrix, its JSON alone",
        lambda: raw_png(("parameters-json", json.dumps(MATRIX)), ("smproj", "{}")),
        READ,
    ),
    ("Civitai on site, Automatic1111's form", civitai_on_site, READ),
    (
        "Civitai's generator, its graph",
        lambda: with_exif("JPEG", comment=utf16(json.dumps(graph() | {"extra": {}}), "le")),
        READ,
    ),
    ("Civitai's enlarged image", lambda: with_exif("JPEG", comment=utf16(json.dumps(UPSCALED))), READ),
    (
        "Civitai's enlarged PNG",
        lambda: png(prompt=json.dumps({"1": UPSCALED["1"]}), extraMetadata=json.dumps(CIVITAI)),
        READ,
    ),
    ("ComfyUI PNG", lambda: png(prompt=json.dumps(graph()), workflow="{}"), READ),
    ("ComfyUI PNG, UTF-8 in tEXt", lambda: raw_png(("prompt", unescaped(graph())), encoding="utf-8"), READ),
    ("ComfyUI PNG, zTXt", lambda: raw_png(("prompt", unescaped(graph())), encoding="utf-8", compressed=True), READ),
    ("ComfyUI WebP", lambda: with_exif("WEBP", {CAMERA: f"prompt:{json.dumps(graph())}", MAKER: "workflow:{}"}), READ),
    ("save-image-extended JPEG", lambda: with_exif("JPEG", extended()), READ),
    ("save-image-extended WebP", lambda: with_exif("WEBP", extended()), READ),
    ("SaveImagePlus JPEG", lambda: with_exif("JPEG", {USER_COMMENT: plus()}), READ),
    ("SaveImagePlus WebP", lambda: with_exif("WEBP", {USER_COMMENT: plus()}), READ),
    (
        "SaveImagePlus, both as text",
        lambda: png(Comment=json.dumps({"prompt": json.dumps(graph()), "workflow": "{}"})),
        READ,
    ),
    ("comfy-image-saver PNG", lambda: png(parameters=UNKNOWN, prompt=json.dumps(graph())), READ),
    (
        "comfy-image-saver JPEG",
        lambda: with_exif("JPEG", {MAKER: f"prompt:{json.dumps(graph())}"}, utf16(UNKNOWN)),
        READ,
    ),
    ("SaveImageWithMetaData", lambda: png(parameters=infotext(end=", Version: ComfyUI"), prompt="{}"), READ),
    (
        "Comfyroll and Derfuu",
        lambda: png(prompt=json.dumps(graph(["9", 0], _9=node("DF_Text_Box", Text=PROMPT)))),
        READ,
    ),
    ("Tensor.Art", lambda: png(generation_data=json.dumps(tensor_art()) + "\0", prompt=json.dumps(upscaling())), READ),
    ("SwarmUI PNG", lambda: png(parameters=json.dumps(SWARM)), READ),
    ("SwarmUI JPEG", lambda: with_exif("JPEG", comment=utf16(json.dumps(SWARM))), READ),
    ("Fooocus, its scheme", lambda: png(parameters=json.dumps(FOOOCUS), fooocus_scheme="fooocus"), READ),
    (
        "Fooocus, Automatic1111's scheme",
        lambda: png(parameters=infotext(end=", Version: Fooocus v2.5"), fooocus_scheme="a1111"),
        READ,
    ),
    ("Fooocus WebP", lambda: with_exif("WEBP", {USER_COMMENT: json.dumps(FOOOCUS), 0x927C: "fooocus"}), READ),
    (
        "Fooocus-MRE",
        lambda: png(
            Comment=json.dumps({"Prompt": PROMPT, "Negative Prompt": NEGATIVE, "Seed": SEED, "Base Model": MODEL})
        ),
        READ,
    ),
    (
        "RuinedFooocus",
        lambda: png(
            parameters=json.dumps(
                {
                    "Prompt": PROMPT,
                    "Negative": NEGATIVE,
                    "seed": SEED,
                    "base_model_name": MODEL,
                    "software": "RuinedFooocus",
                }
            )
        ),
        READ,
    ),
    ("InvokeAI", lambda: png(invokeai_metadata=json.dumps(INVOKE)), READ),
    (
        "InvokeAI 2",
        lambda: png(
            **{
                "sd-metadata": json.dumps(
                    {"model_weights": MODEL, "image": {"prompt": [{"prompt": PROMPT, "weight": 1}], "seed": SEED}}
                )
            }
        ),
        Parameters(prompt=PROMPT, seed=SEED, model=MODEL),
    ),
    ("InvokeAI 1", lambda: png(Dream=f'"{PROMPT}" -s 50 -S {SEED} -W 512'), Parameters(prompt=PROMPT, seed=SEED)),
    ("NovelAI PNG", lambda: png(**novelai()), READ),
    (
        "NovelAI, the first year",
        lambda: png(**novelai() | {"Comment": json.dumps({"seed": SEED, "uc": NEGATIVE, "steps": 28})}),
        READ,
    ),
    ("NovelAI 4", lambda: png(**novelai() | {"Comment": json.dumps(novelai_4())}), READ),
    ("NovelAI WebP", lambda: with_exif("WEBP", comment=utf16(json.dumps(novelai()))), READ),
    (
        "NovelAI JPEG, converted",
        lambda: with_exif("JPEG", comment=b"ASCII\0\0\0" + novelai()["Comment"].encode()),
        WITHOUT_MODEL,
    ),
    ("Draw Things PNG", lambda: png(draw_things()), READ),
    ("Draw Things JPEG", lambda: with_exif("JPEG", xmp=draw_things().encode()), READ),
    ("Draw Things, its description alone", lambda: png(draw_things_text()), READ),
    ("Midjourney PNG", lambda: png(Description=IMAGINED, Author="somebody"), Parameters(prompt=IMAGINED)),
    ("Midjourney without a job", lambda: png(Description=f"{PROMPT} --v 6"), Parameters(prompt=f"{PROMPT} --v 6")),
    ("Midjourney JPEG", lambda: with_exif("JPEG", {DESCRIPTION: IMAGINED.encode()}), Parameters(prompt=IMAGINED)),
    ("Midjourney, IPTC", lambda: jpeg_with_caption(IMAGINED), Parameters(prompt=IMAGINED)),
    ("Mochi Diffusion PNG", lambda: png(Description=MOCHI), READ),
    ("Mochi Diffusion JPEG", lambda: jpeg_with_caption(MOCHI), READ),
    ("Mochi Diffusion, XMP", lambda: png(XMP.format(f"<dc:description>{MOCHI}</dc:description>")), READ),
    (
        "Easy Diffusion PNG, a text for each field",
        lambda: png(**{name: str(value) for name, value in EASY.items()}),
        READ,
    ),
    (
        "Easy Diffusion PNG, in capitals",
        lambda: png(
            **{"Prompt": PROMPT, "Negative Prompt": NEGATIVE, "Seed": str(SEED), "Stable Diffusion model": MODEL}
        ),
        READ,
    ),
    ("Easy Diffusion JPEG", lambda: with_exif("JPEG", comment=utf16(json.dumps(EASY))), READ),
    ("Hugging Face Space", lambda: png(parameters=json.dumps(SPACE)), READ),
    (
        "diffusers with JSON",
        lambda: png(
            metadata="{}",
            prompt=json.dumps({"prompt": PROMPT, "negative_prompt": NEGATIVE, "seed": SEED, "model_id": MODEL}),
        ),
        READ,
    ),
    (
        "Stable Horde, ArtBot",
        lambda: with_exif(
            "WEBP",
            comment=utf16(json.dumps({"prompt": PROMPT, "negative": NEGATIVE, "seed": str(SEED), "model": MODEL})),
        ),
        READ,
    ),
    (
        "Leonardo, StableStudio and others: fields",
        lambda: png(prompt=PROMPT, negative_prompt=NEGATIVE, seed=str(SEED), model=MODEL),
        READ,
    ),
    ("A UserComment in UTF-8", lambda: with_exif("JPEG", comment=b"ASCII\0\0\0" + infotext().encode()), READ),
    (
        "A UserComment in Japanese",
        lambda: with_exif("JPEG", comment=b"JIS\0\0\0\0\0" + japanese().encode("iso2022_jp")),
        Parameters(prompt="東京の灯台", negative=NEGATIVE, seed=SEED, model=MODEL),
    ),
    ("XPComment", lambda: with_exif("JPEG", {0x9C9C: infotext().encode("utf-16-le")}), READ),
    ("A JPEG's comment", lambda: jpeg_with_comment(infotext()), READ),
)


def gif(text: str) -> bytes:
    file = io.BytesIO()
    Image.new("P", (4, 4)).save(file, "GIF", comment=text.encode())
    return file.getvalue()


def jpeg_with_comment(text: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", comment=text.encode())
    return file.getvalue()


def unescaped(values: Json) -> str:
    return json.dumps(values, ensure_ascii=False)


def extended() -> dict[int, Any]:
    return {MAKER: f"Prompt: {json.dumps(graph())}", DESCRIPTION: "Workflow: {}"}


def plus() -> str:
    return json.dumps({"prompt": graph(), "workflow": {}})


def matrix(text: str) -> bytes:
    return raw_png(("parameters", text), ("parameters-json", unescaped(MATRIX)), ("smproj", "{}"), encoding="utf-8")


def tensor_art() -> Json:
    return {"prompt": PROMPT, "negativePrompt": NEGATIVE, "seed": SEED, "baseModel": {"modelFileName": MODEL}}


def upscaling() -> Json:
    return {"1": node("LoadImage", image="x.png")}


def japanese() -> str:
    return infotext("東京の灯台")


def main() -> None:
    """Print how many prompts are read right from the stand-ins, and how many are read wrong without a word."""
    from thumbtune.feedback.metadata.image_files import parameters_in

    found = [(name, parameters_in(made()), wanted) for name, made, wanted in TOOLS]
    right = sum(read.prompt == wanted.prompt for _, read, wanted in found)
    whole = sum(read == wanted for _, read, wanted in found)
    wrong = [name for name, read, wanted in found if read.prompt not in (None, wanted.prompt)]
    print(
        f"{len(found)} stand-ins: {right} prompts right, {whole} with negative prompt, seed and model; wrong: {wrong}"
    )


if __name__ == "__main__":
    main()
