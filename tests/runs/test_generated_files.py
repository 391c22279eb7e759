"""Generated images say what made them and are never written over others, and a size of training is one side."""

import json
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from PIL import Image
from refusals import refused

from thumbtune import __version__
from thumbtune.errors import UsageError
from thumbtune.files import write_png
from thumbtune.models.protocol import Sampler
from thumbtune.runs.generate import free_path, generate_images
from thumbtune.runs.image_list import add_to_list
from thumbtune.runs.recipe import read_recipe

RED, BLUE, GREEN = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green"))


def test_the_next_free_name(tmp_path: Path) -> None:
    wanted = tmp_path / "a-0.png"
    assert free_path(wanted, RED) == wanted
    RED.save(wanted)
    assert free_path(wanted, RED) == wanted  # the same image again
    assert free_path(wanted, BLUE) == tmp_path / "a-0_2.png"
    BLUE.save(tmp_path / "a-0_2.png")
    assert free_path(wanted, BLUE) == tmp_path / "a-0_2.png"
    assert free_path(wanted, GREEN) == free_path(wanted, RED.resize((16, 16))) == tmp_path / "a-0_3.png"
    wanted.write_bytes(b"no image")
    assert free_path(wanted, RED) == tmp_path / "a-0_3.png" and wanted.read_bytes() == b"no image"


def test_a_file_is_not_read_for_its_prompt_where_none_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unread(path: Path) -> None:
        raise AssertionError("read")

    monkeypatch.setattr("thumbtune.runs.generate.parameters_in_file", unread)
    RED.save(tmp_path / "a-0.png")
    assert free_path(tmp_path / "a-0.png", RED) == tmp_path / "a-0.png"
    with pytest.raises(AssertionError, match="read"):
        free_path(tmp_path / "a-0.png", RED, "a cat")


def test_other_options_keep_the_images_of_before(call: Any, tiny_pipeline: Any, tmp_path: Path) -> None:
    out = tmp_path / "images"
    words = ("generate", "a cat", "--model", tiny_pipeline("epsilon"), "--out", out, "--seeds", "2")
    assert call(*words, "--steps", "1")[0] == 0
    before = {path.name: path.read_bytes() for path in out.glob("*.png")}
    assert sorted(before) == ["a-cat-0.png", "a-cat-1.png"]
    code, printed, err = call(*words, "--steps", "3")
    assert code == 0 and err.count("nothing is written over it; the new one is a-cat-0_2.png") == 1
    assert [Path(line).name for line in printed.split()] == ["a-cat-0_2.png", "a-cat-1_2.png"]
    code, printed, err = call(*words, "--steps", "1")  # the same once more
    assert code == 0 and "written over" not in err and len(list(out.glob("*.png"))) == 4
    assert {name: (out / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("size", ["64x32", "512 x 768", "32X64", "512*256"])
def test_two_sides_are_no_size_of_training(size: str) -> None:
    with pytest.raises(UsageError, match="should be one side of a square in pixels"):
        read_recipe(None, [f"train.size={size}"])


@pytest.mark.parametrize(("size", "side"), [("64", 64), ("64x64", 64), ("512 x 512", 512), ("null", None)])
def test_equal_sides_are_one(size: str, side: int | None) -> None:
    assert read_recipe(None, [f"train.size={size}"]).train.size == side


def rows_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]


def test_an_image_says_what_made_it_and_has_one_row(call: Any, tiny_pipeline: Any, tmp_path: Path) -> None:
    out, model = tmp_path / "images", tiny_pipeline("epsilon")
    words = ("generate", "a cat", "a dog", "--model", model, "--out", out, "--seeds", "2", "--negative", "blurry")
    assert call(*words, "--steps", "1", "--guidance", "2")[0] == 0
    with Image.open(out / "a-dog-1.png") as image:
        assert image.info["parameters"] == (
            "a dog\nNegative prompt: blurry\nSteps: 1, Sampler: PNDM, CFG scale: 2, Seed: 1, Size: 16x16, "
            f"Model: {model.name}, Version: thumbtune {__version__}"
        )
    rows = rows_in(out)
    assert [row["file_name"] for row in rows] == ["a-cat-0.png", "a-cat-1.png", "a-dog-0.png", "a-dog-1.png"]
    assert rows[3] == {
        **{"file_name": "a-dog-1.png", "prompt": "a dog", "negative_prompt": "blurry", "seed": 1, "steps": 1},
        **{
            "guidance": 2.0,
            "sampler": "PNDM",
            "width": 16,
            "height": 16,
            "model": model.name,
            "prompt_syntax": "plain",
        },
    }
    rated = [{**row, "vote": vote} for row, vote in zip(rows, ["like", "dislike", "like", ""], strict=True)]
    (out / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rated))
    assert call(*words, "--steps", "1", "--guidance", "2")[0] == 0  # the same once more
    assert rows_in(out) == rated
    assert call(*words, "--steps", "2", "--guidance", "2")[0] == 0
    assert rows_in(out)[:4] == rated and [row["file_name"] for row in rows_in(out)[4:]] == [
        "a-cat-0_2.png",
        "a-cat-1_2.png",
        "a-dog-0_2.png",
        "a-dog-1_2.png",
    ]
    code, printed, err = call("import", out, "--likes", tmp_path / "likes")
    assert code == 0 and "8 rows: 2 likes, 1 dislike, 0 duplicates, 0 without a prompt" in printed, err


def test_the_same_pixels_of_another_prompt_are_another_image(tmp_path: Path) -> None:
    write_png(tmp_path / "a-0.png", RED, texts={"parameters": "a!\nSteps: 1, Version: thumbtune 1"})
    assert free_path(tmp_path / "a-0.png", RED, "a!") == tmp_path / "a-0.png"
    assert free_path(tmp_path / "a-0.png", RED, "a") == tmp_path / "a-0_2.png"
    RED.save(tmp_path / "b-0.png")  # as an earlier version wrote it
    assert free_path(tmp_path / "b-0.png", RED, "b") == tmp_path / "b-0.png"


@pytest.mark.parametrize("line", ["no json", '{"prompt": "a cat"}', "[1]", '{"file_name": ["a"]}'])
def test_a_list_that_cannot_be_read_stops_before_any_image(tmp_path: Path, line: str) -> None:
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png"}\n' + line + "\n")
    with refused("image-list-unreadable", naming=(tmp_path / "metadata.jsonl", "line 2")):
        list(generate_images([("a cat", 0)], Sampler(), tmp_path, lambda items, _: items))
    assert [path.name for path in tmp_path.iterdir()] == ["metadata.jsonl"]


def test_two_processes_add_to_one_list(tmp_path: Path) -> None:
    def add(name: str) -> None:
        for number in range(20):
            add_to_list(tmp_path, [{"file_name": f"{name}-{number}.png", "prompt": "half a \ud800 letter"}])

    threads = [Thread(target=add, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {row["file_name"] for row in rows_in(tmp_path)} == {f"{a}-{n}.png" for a in "ab" for n in range(20)}
    assert [path.name for path in tmp_path.iterdir()] == ["metadata.jsonl"]
