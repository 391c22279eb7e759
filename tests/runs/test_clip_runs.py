"""From a folder of clips and images with likes to a LoRA and drawn clips, and what is refused before that."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from refusals import refused
from safetensors.torch import load_file

from thumbtune.clips import Clip, frames_of, own_frames, write_clip
from thumbtune.errors import UsageError
from thumbtune.report.page import write_page
from thumbtune.runs import image_sizes
from thumbtune.runs.memory_estimate import estimate
from thumbtune.runs.recipe import read_recipe
from thumbtune.runs.sampler_defaults import sampler_for
from thumbtune.runs.setup import prepare
from thumbtune.runs.tuning import tune
from thumbtune.training.progress import quiet

SMALL = ("train.steps=2", "train.batch=4", "train.validate_every=0", "train.lr=0.01", "lora.rank=2", "train.size=16")


@pytest.fixture
def store(call: Any, tmp_path: Path) -> Path:
    """Six liked and six disliked rows of six prompts: clips of 9 and of 5 frames, and images."""
    for kind, red in (("like", 255), ("dislike", 0)):
        (tmp_path / "in" / kind).mkdir(parents=True)
        for row in range(6):
            noise = np.random.default_rng(row).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
            noise[..., 0] = red
            frames = [Image.fromarray(one) for one in noise][: (9, 5, 1)[row % 3]]
            image = Clip(frames, 16) if len(frames) > 1 else frames[0]
            path = write_clip(tmp_path / "in" / kind / f"{row}.webp", image)
            path.with_suffix(".txt").write_text(f"prompt {'abcdef'[row]}")
    assert call("import", tmp_path / "in", "--likes", tmp_path / "likes")[0] == 0
    return tmp_path / "likes"


def settings(store: Path, model: Path, frames: int = 9) -> list[str]:
    return [f"likes={store}", f"model={model}", f"frames={frames}", "evaluate.size=16", *SMALL]


@pytest.mark.slow
def test_a_run_trains_and_draws_clips(store: Path, tiny_pipeline: Any, tmp_path: Path, call: Any) -> None:
    recipe = read_recipe(None, settings(store, tiny_pipeline("wan-clips")))
    steps = [step.as_dict() for step in tune(recipe, tmp_path / "run", quiet)]
    assert len(steps) == 2
    weights = load_file(tmp_path / "run" / "lora" / "pytorch_lora_weights.safetensors")
    assert max(value.abs().max() for name, value in weights.items() if "lora_B" in name) > 0
    assert not any("no motion" in note for note in json.loads((tmp_path / "run" / "likes.json").read_text())["notes"])
    shown = json.loads((tmp_path / "run" / "likes.json").read_text())["examples"]
    files = [tmp_path / "run" / name for names in shown.values() for name in names]
    moving = [file for file in files if file.suffix == ".webp"]
    assert {file.suffix for file in files} == {".webp", ".png"}
    assert all(len(frames_of(own_frames(file))) > 1 for file in moving)
    assert write_page(tmp_path / "run").read_text().count("data:image/webp") == len(moving)  # which plays
    options = ("--steps", 1, "--size", 16, "--seeds", 1, "--out", tmp_path / "drawn")
    code, out, err = call("generate", "a cat", "--run", tmp_path / "run", *options)
    assert code == 0, err
    (drawn,) = (tmp_path / "drawn").glob("*.webp")
    assert out.split()[-1] == str(drawn) and drawn.name == "a-cat-0.webp"
    assert len(frames_of(own_frames(drawn))) == 9
    code, _, err = call("generate", "a dog", "--run", tmp_path / "run", *options, "--frames", 1)
    assert code == 0 and (tmp_path / "drawn" / "a-dog-0.png").is_file(), err
    (tmp_path / "drawn" / "liked").mkdir()
    drawn.rename(tmp_path / "drawn" / "liked" / drawn.name)  # what was drawn is a row again
    code, out, err = call("import", tmp_path / "drawn", "--likes", tmp_path / "again")
    assert code == 0 and "1 like, 0 dislikes, 0 duplicates, 0 without a prompt" in out, err


@pytest.mark.parametrize(("model", "frames", "told"), [("wan-clips", 1, 9), ("wan-clips", 5, None), ("ltx", 1, 13)])
def test_a_note_says_that_only_first_frames_of_clips_are_trained(
    store: Path, tiny_pipeline: Any, make_diffusion: Any, model: str, frames: int, told: int | None
) -> None:
    sized = [f"train.size={32 if model == 'ltx' else 16}", f"evaluate.size={32 if model == 'ltx' else 16}"]
    setup = prepare(read_recipe(None, [*settings(store, tiny_pipeline(model), frames), *sized]))
    rows = len(setup.split.train)
    notes = [note for note in setup.size_notes(make_diffusion(model)) if "first frames" in note]
    assert len(notes) == (told is not None)
    for note in notes:
        clips, held_out = 8, len(setup.split.held_out)  # 0.56 and 0.31 s: of LTX at 24 a second 13 and 7 frames
        assert note.endswith(f"set frames={told} for their motion.") and f"of {rows} rows" in note
        assert clips - held_out <= int(note.split()[0]) <= clips


def test_of_many_rows_it_opens_some_evenly_spaced(
    make_diffusion: Any, monkeypatch: pytest.MonkeyPatch, make_likes: Any
) -> None:
    opened: list[list[str]] = []

    def count(likes: Any, rate: int, most: int) -> list[int]:
        opened.append(likes["image_id"])
        return [17 if place % 2 else 1 for place in range(len(likes))]

    monkeypatch.setattr(image_sizes, "frames_in_each", count)
    blank = Image.new("RGB", (8, 8))
    ids = [f"{place:03d}" for place in range(600)]
    likes = make_likes([blank] * 600, [True] * 600, ids=ids)
    note = image_sizes.stills_note(make_diffusion("wan"), likes)
    assert opened == [ids[::3]] and note is not None and "100 of 200 rows looked at, of 600, are clips" in note
    note = image_sizes.stills_note(make_diffusion("wan"), likes.select(range(256)))
    assert opened[1:] == [ids[:256]] and note is not None and "128 of 256 rows are clips" in note


@pytest.mark.slow
def test_memory_grows_with_them(store: Path, tiny_pipeline: Any, tmp_path: Path) -> None:
    model = tiny_pipeline("wan-clips")
    setups = [prepare(read_recipe(None, [*settings(store, model, n), "train.size=128"])) for n in (1, 9)]
    peaks = [estimate(setup.recipe, accelerator=True) for setup in setups]
    assert peaks[0] is not None and peaks[1] is not None
    assert peaks[0].networks == peaks[1].networks and (peaks[0].at_once, peaks[1].at_once) == (8, 1)
    activations = [peak.step - sum(peak.networks.values()) - peak.optimiser + peak.resting for peak in peaks if peak]
    assert 1.5 < activations[1] / activations[0] < 5  # three latents in place of one
    assert peaks[1].encode > peaks[0].encode


@pytest.mark.parametrize("frames", [2, 81])
def test_families_of_images_refuse_frames_before_anything_is_loaded(
    store: Path, tiny_pipeline: Any, frames: int
) -> None:
    with refused("frames-images-only", UsageError, naming=["Stable Diffusion", frames]):
        prepare(read_recipe(None, settings(store, tiny_pipeline("epsilon"), frames)))
    for wrong in (0, -3, 2.5, 1001):
        with refused("recipe-value", UsageError, naming=["frames", wrong]):
            read_recipe(None, [f"frames={wrong}"])
    with refused("recipe-unknown-option", UsageError, naming="did you mean frames?"):
        read_recipe(None, ["num_frames=81"])


def test_drawing_has_the_frames_of_a_run(store: Path, tiny_pipeline: Any, tmp_path: Path) -> None:
    from thumbtune.runs.recipe import write_recipe

    (tmp_path / "run").mkdir()
    write_recipe(read_recipe(None, settings(store, tiny_pipeline("wan-clips"))), tmp_path / "run" / "recipe.yaml")
    assert sampler_for([None, tmp_path / "run"]).frames == 9
    assert sampler_for([tmp_path / "run"], frames=5).frames == 5
    assert sampler_for([str(tiny_pipeline("wan-clips"))]).frames == 1


def test_clips_that_begin_with_one_frame_are_not_one_image(call: Any, tiny_pipeline: Any, tmp_path: Path) -> None:
    black = Image.new("RGB", (16, 16))
    for kind, red in (("like", 255), ("dislike", 0)):
        (tmp_path / "in" / kind).mkdir(parents=True)
        for row in range(3):
            path = tmp_path / "in" / kind / f"{row}.webp"
            write_clip(path, Clip([black, *[Image.new("RGB", (16, 16), (red, row, 9))] * 4], 16))
            path.with_suffix(".txt").write_text(f"prompt {'abc'[row]}")
    assert call("import", tmp_path / "in", "--likes", tmp_path / "likes")[0] == 0
    for frames in (5, 1):
        setup = prepare(read_recipe(None, settings(tmp_path / "likes", tiny_pipeline("wan-clips"), frames)))
        if frames == 1:  # as images they are one
            with refused("likes-one-image"):
                setup.notes()
        else:
            assert not any("both liked and disliked" in note for note in setup.notes())
