"""Generated images are never written over others, and a size of training is one side."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from thumbtune.errors import UsageError
from thumbtune.runs.generate import free_path
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


def test_other_options_keep_the_images_of_before(call: Any, tiny_pipeline: Any, tmp_path: Path) -> None:
    out = tmp_path / "images"
    words = ("generate", "a cat", "--model", tiny_pipeline("epsilon"), "--out", out, "--seeds", "2")
    assert call(*words, "--steps", "1")[0] == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert sorted(before) == ["a-cat-0.png", "a-cat-1.png"]
    code, printed, err = call(*words, "--steps", "3")
    assert code == 0 and err.count("nothing is written over it; the new one is a-cat-0_2.png") == 1
    assert [Path(line).name for line in printed.split()] == ["a-cat-0_2.png", "a-cat-1_2.png"]
    code, printed, err = call(*words, "--steps", "1")  # the same once more
    assert code == 0 and "written over" not in err and len(list(out.iterdir())) == 4
    assert {name: (out / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("size", ["64x32", "512 x 768", "32X64", "512*256"])
def test_two_sides_are_no_size_of_training(size: str) -> None:
    with pytest.raises(UsageError, match="should be one side of a square in pixels"):
        read_recipe(None, [f"train.size={size}"])


@pytest.mark.parametrize(("size", "side"), [("64", 64), ("64x64", 64), ("512 x 512", 512), ("null", None)])
def test_equal_sides_are_one(size: str, side: int | None) -> None:
    assert read_recipe(None, [f"train.size={size}"]).train.size == side
