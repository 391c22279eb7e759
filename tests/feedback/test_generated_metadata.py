"""What `thumbtune generate` writes about an image is read back by the import, letter by letter."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from thumbtune.clips import Clip, write_clip
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.metadata.automatic1111 import read_automatic1111
from thumbtune.feedback.metadata.generated import Generated, comment_exif, parameters_text, row_of
from thumbtune.feedback.metadata.image_files import parameters_in, parameters_in_file
from thumbtune.feedback.metadata.parameters import Parameters
from thumbtune.feedback.store.store import Store
from thumbtune.files import write_png

HOSTILE = [
    "a fox\nSteps: 20, Sampler: Euler, Seed: 5, Model: other",
    "a fox\nNegative prompt: a hare\nSteps: 3",
    "Steps: 20",
    "Negative prompt: blurry",
    "{'prompt': 'a'}",
    '{"prompt": "a hare", "seed": 7}',
    'a "quoted", \\"escaped\\" fox: red',
    "a (red:1.3) ((apple)) [a:b:0.5] <lora:ink:0.8> BREAK {a|b} --ar 16:9 embedding:x",
    "unknown",
    "None",
    "line\r\nline\rline",
    "Ã© ist kein é",
    "一" * 300,
    "東京の灯台 🦊 \u2028 \x85 end",
    ", ".join(["Exact prompt: a hare"] * 3),
    "x " * 5000,
    "a fox Steps: 20, Seed: 9",
    "a fox Negative prompt: y",
]


def made(prompt: str, negative: str = "", **options: object) -> Generated:
    given = {"seed": 42, "steps": 25, "guidance": 3.5, "sampler": "DDIM", "width": 64, "height": 96, "model": "m, 1: x"}
    return Generated(prompt=prompt, negative=negative, **given | options)  # type: ignore[arg-type]


def wanted(one: Generated) -> Parameters:
    return Parameters(prompt=one.prompt.strip(), negative=one.negative.strip() or None, seed=one.seed, model=one.model)


def png(text: str) -> bytes:
    from PIL.PngImagePlugin import PngInfo

    chunks, written = PngInfo(), io.BytesIO()
    (chunks.add_text if text.isascii() else chunks.add_itxt)("parameters", text)
    Image.new("RGB", (4, 4)).save(written, "PNG", pnginfo=chunks)
    return written.getvalue()


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=80) | st.sampled_from(HOSTILE)


@given(TEXT.filter(str.strip), TEXT)
@example("x" * 10_000, "")
def test_our_text_reads_back_the_same(prompt: str, negative: str) -> None:
    one = made(prompt, negative)
    text = parameters_text(one, "1.2")
    assert read_automatic1111(text) == parameters_in(png(text)) == wanted(one)
    assert text.startswith(prompt) and "Steps: 25, Sampler: DDIM, CFG scale: 3.5, Seed: 42, Size: 64x96" in text


@pytest.mark.parametrize("prompt", HOSTILE)
@pytest.mark.parametrize("syntax", ["plain", "a1111"])
def test_hostile_prompts_read_back_the_same(tmp_path: Path, prompt: str, syntax: str) -> None:
    one = made(prompt, "two\nlines", syntax=syntax)
    text = parameters_text(one, "1")
    file = write_png(tmp_path / "a.png", Image.new("RGB", (8, 8)), texts={"parameters": text})
    assert parameters_in_file(file) == wanted(one) and parameters_in_file(file).syntax == syntax
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    clip = write_clip(tmp_path / "a.webp", Clip(frames, 8.0), exif=comment_exif(text))
    assert parameters_in_file(clip) == wanted(one) and parameters_in_file(clip).syntax == syntax


def test_a_usual_prompt_stands_once() -> None:
    assert parameters_text(made("a fox, red", "blurry, bad"), "1") == (
        "a fox, red\nNegative prompt: blurry, bad\nSteps: 25, Sampler: DDIM, CFG scale: 3.5, Seed: 42, Size: 64x96, "
        'Model: "m, 1: x", Version: thumbtune 1'
    )


def folder_of(path: Path, prompts: list[str], sort: bool, row: bool = True, inside: bool = True) -> Path:
    """Images of prompts as `generate` leaves them, the first half liked: sorted into folders, or with a column."""
    rows = []
    for number, prompt in enumerate(prompts):
        one, liked = made(prompt, seed=number), number < len(prompts) // 2
        texts = {"parameters": parameters_text(one, "1")} if inside else {}
        below = ("liked" if liked else "disliked") if sort else "."
        write_png(path / below / f"{number}.png", Image.new("RGB", (8, 8), (number, 0, 0)), texts=texts)
        rows.append(row_of(one, f"{number}.png") | ({} if sort else {"vote": "like" if liked else "dislike"}))
    if row:
        (path / "metadata.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("sort", "row", "inside"), [(True, True, True), (True, False, True), (True, True, False), (False, True, False)]
)
def test_all_prompts_are_imported_letter_by_letter(
    tmp_path: Path, file_store: Store, sort: bool, row: bool, inside: bool
) -> None:
    prompts = [prompt for prompt in HOSTILE if prompt.strip() == prompt]
    folder = folder_of(tmp_path / "images", prompts, sort, row, inside)
    report = import_likes(folder, file_store)
    half = len(prompts) // 2
    counted = (report.rows, report.likes, report.dislikes, report.without_prompt, report.unreadable, report.skipped)
    assert counted == (len(prompts), half, len(prompts) - half, 0, 0, [])
    kept = {image.prompt: (image.seed, image.model) for image in map(file_store.image, range(1, len(prompts) + 1))}
    controls = {ord("\x85"): " "}  # the store takes no control characters
    wanted = {prompt.translate(controls): (number, "m, 1: x") for number, prompt in enumerate(prompts)}
    assert kept == wanted and not report.marks


def test_prompts_in_the_syntax_of_a1111_lose_their_marks(tmp_path: Path, file_store: Store) -> None:
    one = made("a (red:1.3) apple <lora:ink:1>\nSteps: 4, Seed: 3", syntax="a1111")
    image = Image.new("RGB", (8, 8))
    write_png(tmp_path / "images" / "liked" / "a.png", image, texts={"parameters": parameters_text(one, "1")})
    assert import_likes(tmp_path / "images", file_store).likes == 1
    assert file_store.image(1).prompt == "a red apple\nSteps: 4, Seed: 3"


def test_a_moved_image_takes_a_row_only_if_it_is_the_one(tmp_path: Path, file_store: Store) -> None:
    folder = folder_of(tmp_path / "images", ["one", "two", "three", "four"], sort=True, inside=False)
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    rows.append({"file_name": "older/0.png", "prompt": "another image of this name"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    Image.new("RGB", (8, 8), "blue").save(folder / "1.png")  # the listed image is there, so liked/1.png is another
    report = import_likes(folder, file_store)
    assert (report.without_prompt, report.dislikes) == (2, 2)
    assert [file_store.image(number).prompt for number in (1, 2)] == ["three", "four"]
