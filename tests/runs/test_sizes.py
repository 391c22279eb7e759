"""Sizes of a run: train.size, train.buckets, train.flip, evaluate.size, --size; their notes; runs of before."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import concatenate_datasets
from PIL import Image
from refusals import refused
from safetensors.torch import load_file

from thumbtune.errors import UsageError
from thumbtune.feedback.likes import likes_of, sizes_of
from thumbtune.feedback.store.store import Store
from thumbtune.images import upright_size
from thumbtune.models.buckets import placed
from thumbtune.models.protocol import Sampler
from thumbtune.runs import build
from thumbtune.runs.image_sizes import check_sizes, line_of_sizes, size_notes, sizes_to_encode
from thumbtune.runs.recipe import parse_recipe, read_recipe
from thumbtune.runs.sampler_defaults import sampler_for
from thumbtune.runs.setup import prepare
from thumbtune.training.cache import Cache

Call = Callable[..., tuple[int, str, str]]
# for 64 px: 4:1, 1:4, 3:2, 2:3, square, far too long, too small
SHAPES = [(256, 64), (64, 256), (192, 128), (128, 192), (160, 160), (800, 80), (28, 28)]
SIZE = "train.size=64"
LORA = "pytorch_lora_weights.safetensors"


def import_images(call: Call, folder: Path, shapes: list[tuple[int, int]], each: int = 20) -> Path:
    """A store of red likes and blue dislikes of ten prompts, of these shapes (width, height) in turn."""
    for kind, colour in (("like", "red"), ("dislike", "blue")):
        for i in range(each):
            path = folder / "thumbs" / kind / f"{colour}-{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            size = shapes[i % len(shapes)]
            Image.new("RGB", size, (10 * i, 0, 0) if colour == "red" else (0, 10 * i, 255)).save(path)
            path.with_suffix(".txt").write_text(f"thing {(i + 1) % 10}")  # of which 3 and 6 are held out
    code, _, err = call("import", folder / "thumbs", "--likes", folder / "likes")
    assert code == 0, err
    return folder / "likes"


@pytest.fixture
def mixed(call: Call, tmp_path: Path) -> Path:
    return import_images(call, tmp_path / "mixed", SHAPES)


@pytest.fixture
def squares(call: Call, tmp_path: Path) -> Path:
    return import_images(call, tmp_path / "squares", [(16, 16), (40, 40), (33, 33)])


def options(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def tensors(run: Path) -> dict[str, Any]:
    return load_file(run / "lora" / LORA)


def equal(a: Path, b: Path) -> bool:
    ours, theirs = tensors(a), tensors(b)
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[key]) for key, value in ours.items())


# --- what is said --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_dry_run_counts_the_sizes_and_names_what_is_too_small_or_too_long(
    call: Call, mixed: Path, tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    words = options(f"likes={mixed}", f"model={tiny_pipeline('epsilon')}", SIZE, "train.validation_share=0")
    code, out, err = call("train", "--out", tmp_path / "run", *words, "--dry-run")
    assert code == 0, err
    (line,) = [line for line in out.splitlines() if line.startswith("images")]
    found = {size: int(count) for count, size in re.findall(r"(\d+) in (\d+x\d+)", line)}
    assert found == {"128x32": 12, "32x128": 6, "76x52": 6, "52x76": 6, "64x64": 6, "32x32": 4}
    (small,) = [line for line in out.splitlines() if "too few pixels" in line]
    (long,) = [line for line in out.splitlines() if "by cropping" in line]
    assert "4 of 40 images have too few pixels" in small and "28x28, trained in 32x32" in small and ".png" in small
    assert "6 of 40 images lose more than 5 %" in long and "800x80, trained in 128x32" in long

    code, out, _ = call("train", "--out", tmp_path / "run", *words, "--set", "train.buckets=false", "--dry-run")
    assert code == 0 and "images      40 in 64x64 (width x height in pixels)\n" in out
    assert "30 of 40 images lose" in out and "4 of 40 images have too few" in out


def test_a_run_keeps_the_notes_and_names_an_image_without_a_file_by_its_id(make_likes: Callable[..., Any]) -> None:
    likes = make_likes([Image.new("RGB", size) for size in ((4, 5), (20, 30))], [True, False], ids=["one", "two"])
    sizes = sizes_of(likes)
    assert sizes == [(5, 4), (30, 20)]
    placements = [placed(sizes[0], (10, 8)), placed(sizes[1], (16, 16))]
    small, long = size_notes(likes, sizes, placements)
    assert small.startswith("1 of 2 images has too few pixels and is enlarged; the first is one, 4x5, trained in 8x10.")
    assert long == (
        "1 of 2 images loses more than 5 % of the area by cropping; the first is two, 20x30, trained in 16x16."
    )
    assert size_notes(likes, sizes, [placed(size, size) for size in sizes]) == []


def test_rare_sizes_are_counted_together() -> None:
    line = line_of_sizes([placed((8, 8 + i), (8, 8 + i)) for i in range(9)] + [placed((8, 8), (8, 8))])
    assert line.startswith("2 in 8x8, 1 in 9x8, ") and line.endswith(", 3 in 3 other sizes (width x height in pixels)")


def test_an_image_with_several_prompts_is_opened_once(
    call: Call, squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(squares, create=False) as store:
        likes = likes_of(store, keep=False)
    twice, opened = concatenate_datasets([likes, likes]), []
    real = upright_size

    def note(file: Any) -> tuple[int, int]:
        opened.append(file)
        return real(file)

    monkeypatch.setattr("thumbtune.feedback.likes.upright_size", note)
    sizes = sizes_of(twice)
    assert sizes == 2 * sizes[: len(likes)] and len(sizes) == 2 * len(likes)
    assert len(opened) == len(likes)


def test_a_missing_image_is_named(call: Call, squares: Path) -> None:
    with Store.open(squares, create=False) as store:
        likes = likes_of(store, keep=False)
    next((squares / "images").rglob("*.png")).unlink()
    with refused("image-not-read", naming=".png"):
        sizes_of(likes)


# --- training ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_square_images_train_as_before(
    call: Call, squares: Path, small: list[str], tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    words = options(f"likes={squares}", f"model={tiny_pipeline('epsilon')}", *small)
    assert call("train", "--out", tmp_path / "a" / "run", *words)[0] == 0
    assert call("train", "--out", tmp_path / "b" / "run", *words, "--set", "train.buckets=false")[0] == 0
    assert equal(tmp_path / "a" / "run", tmp_path / "b" / "run")
    cached = [Cache(tmp_path / one / "cache").digests() for one in "ab"]
    assert cached[0] == cached[1] and cached[0]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "objective"), [("epsilon", "kto"), ("xl-epsilon", "kto"), ("epsilon", "dpo")])
def test_all_shapes_go_from_likes_to_a_verdict(
    call: Call,
    mixed: Path,
    small: list[str],
    tiny_pipeline: Callable[[str], Path],
    tmp_path: Path,
    kind: str,
    objective: str,
) -> None:
    chosen = [f"likes={mixed}", f"model={tiny_pipeline(kind)}", *small, SIZE, "train.lr=1e-2", "train.flip=true"]
    chosen += [f"objective.name={objective}", "evaluate.steps=2", "evaluate.per_prompt=2", "evaluate.size=24x16"]
    run, half = tmp_path / "run", tmp_path / "half"
    code, _, err = call("train", "--out", run, *options(*chosen))
    assert code == 0, err
    notes = json.loads((run / "likes.json").read_text())["notes"]
    assert any("too few pixels" in note for note in notes) and any("by cropping" in note for note in notes)
    assert call("train", "--out", half, *options(*chosen, "train.micro_batch=1"))[0] == 0
    ours, theirs = tensors(run), tensors(half)
    assert all(torch.allclose(value, theirs[key], atol=2e-3) for key, value in ours.items())  # parts change rounding
    square = tmp_path / "square"
    assert call("train", "--out", square, *options(*chosen, "train.buckets=false"))[0] == 0
    assert not equal(run, square)

    code, _, err = call("evaluate", run)
    verdict = json.loads((run / "evaluation" / "verdict.json").read_text())
    assert code == 0 and verdict["agreement"] is not None, err
    manifest = json.loads((run / "evaluation" / "duel.json").read_text())
    assert manifest["sampler"]["size"] == [16, 24]
    with Image.open(next((run / "evaluation" / "b").glob("*.png"))) as image:
        assert image.size == (24, 16)
    before = (run / "evaluation" / "images.csv").read_bytes()
    assert call("evaluate", run)[0] == 0  # the same plan goes on
    assert (run / "evaluation" / "images.csv").read_bytes() == before and not (run / "evaluation-before").exists()


@pytest.mark.slow
def test_a_larger_size_is_trained_and_told_in_the_header(
    call: Call, mixed: Path, small: list[str], tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    chosen = [f"likes={mixed}", f"model={tiny_pipeline('epsilon')}", *small, "train.size=24", "train.steps=1"]
    recipe = read_recipe(None, chosen)
    setup, model = prepare(recipe), build.model_of(recipe)
    placements = setup.placements(model)
    assert max(each.bucket[0] * each.bucket[1] for each in placements) == 24 * 24
    assert {(24, 24), (12, 48), (48, 12)} < {each.bucket for each in placements}
    assert None not in sizes_to_encode(model, placements)
    assert call("train", "--out", tmp_path / "run", *options(*chosen))[0] == 0
    head = (tmp_path / "run" / "lora" / LORA).read_bytes()[:20_000].decode("utf-8", "ignore")
    assert '"modelspec.resolution":"24x24"' in head.replace(" ", "")


# --- runs of before ------------------------------------------------------------------------------------


def forget(run: Path, *names: str) -> None:
    """Take options out of a run's recipe, as if an earlier version had begun the run."""
    text = (run / "recipe.yaml").read_text()
    for name in names:
        text = re.sub(rf"^  {name}: .*\n", "", text, flags=re.MULTILINE)
    (run / "recipe.yaml").write_text(text)
    sums = (run / "SHA256SUMS").read_text().splitlines(keepends=True)[:-1]  # without the list's own hash
    (run / "SHA256SUMS").write_text("".join(line for line in sums if "recipe.yaml" not in line))


@pytest.mark.slow
def test_a_run_of_before_goes_on_as_it_began(
    call: Call, mixed: Path, small: list[str], tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    words = options(f"likes={mixed}", f"model={tiny_pipeline('epsilon')}", *small, "train.buckets=false")
    whole, old = tmp_path / "whole", tmp_path / "old"
    assert call("train", "--out", whole, *words)[0] == 0
    shutil.copytree(whole, old)
    for folder in ("lora", "checkpoints/step-000004", "checkpoints/step-000006"):
        shutil.rmtree(old / folder)
    forget(old, "buckets", "flip", "size")
    code, _, err = call("train", "--out", old, "--resume")
    assert code == 0, err
    assert equal(whole, old) and "  buckets: false\n" in (old / "recipe.yaml").read_text()


def test_only_the_recipe_of_a_run_is_read_as_of_before(tmp_path: Path) -> None:
    for name in ("recipe.yaml", "mine.yaml"):
        (tmp_path / name).write_text("train: {steps: 3}\n")
        assert read_recipe(tmp_path / name).train.buckets
    (tmp_path / "likes.parquet").write_bytes(b"")
    assert not read_recipe(tmp_path / "recipe.yaml").train.buckets
    assert read_recipe(tmp_path / "mine.yaml").train.buckets
    (tmp_path / "recipe.yaml").write_text("train: {steps: 3, buckets: true}\n")
    assert read_recipe(tmp_path / "recipe.yaml").train.buckets


# --- sizes that are asked for --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept", "pixels"),
    [
        ("768", 768, 768),
        ("768x512", "768x512", (512, 768)),
        (" 768 X 512 ", "768x512", (512, 768)),
        ("512*512", 512, 512),
        ("64x64", 64, 64),
    ],
)
def test_a_size_is_width_times_height(given: str, kept: Any, pixels: Any, tmp_path: Path) -> None:
    recipe = read_recipe(None, [f"evaluate.size={given}"])
    assert recipe.evaluate.size == kept and build.sampler_of(recipe).size == pixels
    assert sampler_for([None], size=given) == Sampler(size=pixels)
    assert parse_recipe(recipe.model_dump(mode="json"), "here") == recipe
    (tmp_path / "mine.yaml").write_text(f"evaluate:\n  size: {given}\n")
    assert read_recipe(tmp_path / "mine.yaml") == recipe


@pytest.mark.parametrize("given", ["0", "-5", "12y", "512x", "x512", "5x5x5", "9999", "1e3", "5.5", "no", "[8, 16]"])
def test_a_size_that_is_none_is_refused(given: str) -> None:
    with refused("recipe-value", UsageError, naming="evaluate.size"):
        read_recipe(None, [f"evaluate.size={given}"])
    with refused("size-unreadable", UsageError, naming=["--size", "768x512"]):
        sampler_for([None], size=given)


@pytest.mark.parametrize("given", ["512x768", "7", "8193", "yes", "big"])
def test_train_size_is_one_number(given: str) -> None:
    with refused("recipe-value", UsageError, naming="train.size"):
        read_recipe(None, [f"train.size={given}"])


@pytest.mark.parametrize(
    ("size", "nearest"),
    [("500", "496x496 or 504x504"), ("770x512", "768x512 or 776x512"), ("512x513", "512x512 or 512x520")],
)
def test_a_size_that_the_vae_cannot_have_is_refused_with_the_nearest(size: str, nearest: str) -> None:
    bundled = "tiny-emoji-64"
    with refused("size-not-multiple", UsageError, naming=["--size", "multiples of 8", nearest]):
        sampler_for([None, bundled], size=size)
    recipe = read_recipe(None, [f"evaluate.size={size}"])
    with refused("size-not-multiple", UsageError, naming=["evaluate.size", nearest]):
        check_sizes(recipe, build.model_path(bundled))
    with refused("size-not-multiple", UsageError, naming=["evaluate.size", nearest]):
        check_sizes(recipe, "no/such-model", (8, 8))
    check_sizes(recipe, "no/such-model")  # which is asked again once it is here
    if "x" not in size:
        with refused("size-not-multiple", UsageError, naming=["train.size", nearest]):
            prepare(read_recipe(None, [f"train.size={size}"]))


@pytest.mark.parametrize(
    ("name", "unit", "nearest"), [("ltx", 32, "32x32"), ("sana", 32, "32x32"), ("wan", 8, "40x40")]
)
def test_the_size_is_checked_against_what_the_pipeline_draws(
    name: str, unit: int, nearest: str, tiny_pipeline: Callable[[str], Path]
) -> None:
    size = 44 if unit == 8 else 48  # a multiple of 8 is not enough for two of them
    with refused("size-not-multiple", UsageError, naming=["--size", f"multiples of {unit}", nearest]):
        sampler_for([str(tiny_pipeline(name))], size=str(size))
    assert sampler_for([str(tiny_pipeline(name))], size="64").size == 64


def test_images_are_generated_in_the_size_that_was_asked_for(
    call: Call, tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    model = tiny_pipeline("epsilon")
    asked = ["generate", "thing", "--model", model, "--seeds", 1, "--steps", 1, "--out", tmp_path / "images"]
    code, _, err = call(*asked, "--size", "24x16")
    assert code == 0, err
    with Image.open(tmp_path / "images" / "thing-0.png") as image:
        assert image.size == (24, 16)
    code, _, err = call(*asked, "--size", "25x16")
    assert code != 0 and "24x16 or 32x16" in err and "Traceback" not in err
    code, _, err = call("generate", "thing", "--size", "60", "--out", tmp_path / "images")
    assert code != 0 and "56x56 or 64x64" in err  # of the bundled model, which is the default


@pytest.mark.slow
def test_a_duel_in_another_size_is_kept_and_printed_again(
    call: Call, tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("a\nb\n")
    model, out = tiny_pipeline("epsilon"), tmp_path / "duel"
    asked = ["duel", model, model, "--prompts", tmp_path / "prompts.txt", "--scorers", "red", "--per-prompt", 1]
    asked += ["--steps", 1, "--out", out]
    code, _, err = call(*asked, "--size", "25")
    assert code != 0 and "24x24 or 32x32" in err and not out.exists()
    assert call(*asked, "--size", "24x16")[0] == 0
    assert call(*asked, "--size", "24x16")[0] == 0
    with Image.open(next((out / "a").glob("*.png"))) as image:
        assert image.size == (24, 16)
    assert "--size 24x16" in (out / "report.html").read_text()
    code, _, err = call(*asked)
    assert code != 0 and "Traceback" not in err  # the same folder for another size
