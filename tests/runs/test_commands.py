"""What people do to commands: twice, from the wrong place, with a misspelt name, with very little."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from thumbtune.runs import examples
from thumbtune.runs.recipe import read_recipe, recipe_options

Call = Callable[..., tuple[int, str, str]]


def test_importing_the_folder_that_one_stands_in_twice_adds_nothing(
    call: Call, thumbs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(thumbs)
    assert "10 likes, 10 dislikes" in call("import", ".")[1]
    code, out, err = call("import", ".")
    assert code == 0, err
    assert "20 rows: 0 likes, 0 dislikes, 20 duplicates" in out


def test_a_store_is_no_source_and_no_images_become_a_store(call: Call, likes: Path, thumbs: Path) -> None:
    code, _, err = call("import", likes, "--likes", likes.parent / "other")
    assert code == 1 and "is already a store of likes" in err
    (thumbs / "like").rename(thumbs / "likes")
    (thumbs / "metadata.csv").write_text("file_name,prompt,label\nlikes/red-0.png,a thing,1\n")
    for source, store in ((thumbs, thumbs / "likes"), (thumbs / "metadata.csv", thumbs)):
        code, _, err = call("import", source, "--likes", store)
        assert code == 1 and "choose a store outside it" in err
        assert not (store / "likes.sqlite").exists()


def test_what_likes_are_imported_from_is_no_store_and_the_import_is_named(
    call: Call, thumbs: Path, tmp_path: Path
) -> None:
    table = tmp_path / "likes.csv"
    table.write_text("file_name,prompt,label\nthumbs/like/red-0.png,a thing,1\n")
    named = thumbs.rename(tmp_path / "likes")
    for source, store in ((named, "store"), (table, "likes")):
        code, _, err = call("train", "--dry-run", "--set", f"likes={source}", "--out", tmp_path / "run")
        assert code == 1 and f"`thumbtune import {source} --likes {store}`, and set likes={store}." in err
    code, _, err = call("train", "--dry-run", "--set", f"likes={tmp_path / 'nowhere'}", "--out", tmp_path / "run")
    assert code == 1 and "has no likes" in err


@pytest.fixture
def run(evaluated_at: Callable[[Path], Path], tmp_path: Path) -> Path:
    """A finished run, evaluated."""
    return evaluated_at(tmp_path / "run")


@pytest.fixture
def run_of_likes(call: Call, settings: list[str], tmp_path: Path) -> Path:
    """A finished run, evaluated, whose likes a test may move or damage."""
    folder = tmp_path / "run"
    assert call("train", "--out", folder, *settings)[0] == 0
    assert call("evaluate", folder)[0] == 0
    return folder


@pytest.mark.slow
def test_a_misspelt_scorer_costs_no_evaluation(call: Call, run: Path, settings: list[str], tmp_path: Path) -> None:
    before = (run / "evaluation" / "verdict.json").read_bytes()
    code, _, err = call("evaluate", run, "--set", "evaluate.scorers=blue")
    assert code == 2 and "'blue'" in err and "line-art, red" in err
    assert (run / "evaluation" / "verdict.json").read_bytes() == before
    code, _, err = call("train", "--out", tmp_path / "other", *settings, "--set", "evaluate.scorers=blue")
    assert code == 2 and "blue" in err and not (tmp_path / "other").exists()


@pytest.mark.slow
def test_a_run_whose_likes_are_elsewhere_says_so_or_finds_them(call: Call, run_of_likes: Path, likes: Path) -> None:
    moved = likes.rename(likes.parent / "moved")
    before = (run_of_likes / "report.html").read_bytes()
    code, _, err = call("evaluate", run_of_likes, "--set", "evaluate.scorers=")
    assert code == 1 and str(likes) in err and "--set likes=FOLDER" in err
    assert (run_of_likes / "report.html").read_bytes() == before
    code, _, err = call("evaluate", run_of_likes, "--set", "evaluate.scorers=", "--set", f"likes={moved}")
    assert code == 0, err
    assert "gain on held-out feedback" in (run_of_likes / "report.html").read_text()
    page = (run_of_likes / "report.html").read_text()  # no scorer was named, and the judge knows no "thing 1"
    assert "No scorer compares these images" in page and "Win · tie · loss" not in page


@pytest.mark.slow
def test_only_thumbs_that_the_run_held_out_are_asked(call: Call, run: Path, thumbs: Path, tmp_path: Path) -> None:
    for path in thumbs.rglob("*.txt"):
        path.write_text(f"another {path.stem}")
    other = tmp_path / "other"
    assert call("import", thumbs, "--likes", other)[0] == 0
    assert call("evaluate", run, "--set", f"likes={other}")[0] == 0
    result = json.loads((run / "evaluation" / "verdict.json").read_text())
    assert result["agreement"] is None and str(other) in result["no_agreement"]


@pytest.mark.slow
def test_a_damaged_store_says_what_it_is(call: Call, run_of_likes: Path, likes: Path) -> None:
    (likes / "likes.sqlite").write_bytes(b"not a database, but long enough to be looked at" * 10)
    code, _, err = call("evaluate", run_of_likes, "--set", "evaluate.scorers=")
    assert code == 1 and "not an SQLite file" in err


@pytest.mark.slow
def test_too_few_held_out_thumbs_are_no_failure_and_no_success(call: Call, run: Path) -> None:
    code, out, err = call("evaluate", run, "--set", "evaluate.scorers=")
    assert code == 0, err
    held_out = json.loads((run / "evaluation" / "verdict.json").read_text())["agreement"]["prompts"]
    assert 1 < held_out < 10
    assert "Not enough evidence: gain on held-out feedback" in out
    assert f"? Feedback on {held_out} prompts" in out and "10 prompts" in out
    page = (run / "report.html").read_text()
    assert 'class="open"' in page and "too few prompts for an interval" in page


@pytest.mark.slow
def test_held_out_thumbs_give_no_verdict_on_an_objective_that_knows_no_dislikes(
    call: Call, settings: list[str], tmp_path: Path
) -> None:
    assert call("train", *settings, "--set", "objective.name=sft", "--out", tmp_path / "run")[0] == 0
    code, out, err = call("evaluate", tmp_path / "run", "--set", "evaluate.scorers=")
    assert code == 0, err
    assert "? The objective of this run does not compare likes with dislikes" in out and "Not enough evidence" in out


@pytest.mark.slow
def test_a_dry_run_says_when_too_little_would_be_held_out(call: Call, settings: list[str], tmp_path: Path) -> None:
    code, out, err = call("train", "--out", tmp_path / "run", "--dry-run", *settings)
    assert code == 0, err
    assert "and a verdict needs 10: label images of about" in out


@pytest.mark.slow
def test_a_dry_run_tells_the_utility_and_what_a_training_reports(
    call: Call, settings: list[str], tmp_path: Path
) -> None:
    words = ["train", "--out", tmp_path / "run", "--dry-run", *settings]
    code, out, err = call(*words)
    assert code == 0, err
    assert "objective   kto, utility kahneman-tversky, beta " in out
    assert "reports  " not in out and "a sample between" not in out
    options = ("train.sample_every=3", "objective.utility=loss-averse")
    code, out, err = call(*words, *(word for option in options for word in ("--set", option)))
    assert code == 0, err
    assert "objective   kto, utility loss-averse, beta " in out
    assert "reports     samples every 3 steps\n" in out and "; a sample between two steps " in out


def test_a_dry_run_sees_what_would_stop_the_run_later(
    call: Call, shared_settings: list[str], trained_at: Callable[[Path], Path], tmp_path: Path
) -> None:
    words = ["train", "--dry-run", *shared_settings]
    (tmp_path / "trained.txt").write_text("".join(f"thing {i}\n" for i in range(10)))
    for option, why in (
        (f"evaluate.prompts={tmp_path / 'nowhere.txt'}", "there is no file"),
        (f"evaluate.prompts={tmp_path / 'trained.txt'}", "prompts of the training"),
        ("evaluate.scorers=blue", "'blue'"),
    ):
        code, _, err = call(*words, "--out", tmp_path / "run", "--set", option)
        assert code == 2 and why in err
        assert call("train", *shared_settings, "--out", tmp_path / "run", "--set", option)[0] == 2
        assert not (tmp_path / "run").exists()
    trained_at(tmp_path / "run")
    code, _, err = call(*words, "--out", tmp_path / "run")
    assert code == 2 and "already contains a run" in err


@pytest.mark.slow
def test_settings_that_are_rarely_meant_are_noted_before_and_while_they_train(
    call: Call, settings: list[str], tmp_path: Path
) -> None:
    odd = [*settings, "--set", "train.warmup=8", "--set", "train.weights=full"]
    for words in (["--dry-run"], []):
        code, out, err = call("train", *odd, "--out", tmp_path / "run", *words)
        assert code == 0, err
        assert "train.warmup of 8 and a train.cooldown of 0 exceed the 6 steps" in out
        assert "train.warmup=0 and train.cooldown=1 fit." in out
        assert "A train.lr of 0.0001 " in out and "1e-07" in out


@pytest.mark.slow
def test_the_default_rate_on_another_model_is_noted(call: Call, settings: list[str], tmp_path: Path) -> None:
    note = "A train.lr of 0.0005 suits the bundled model; a LoRA of a large model is usually trained with 0.0001."
    words = ["train", *settings, "--out", tmp_path / "run", "--dry-run"]
    assert note not in call(*words)[1]
    code, out, err = call(*words, "--set", "train.lr=5e-4")
    assert code == 0, err
    assert note in out


def test_a_run_is_not_put_into_a_file(call: Call, settings: list[str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for out in (tmp_path / "notes.txt", tmp_path / "notes.txt" / "run"):
        code, _, err = call("train", *settings, "--out", out)
        assert code == 2 and f"{tmp_path / 'notes.txt'} is a file" in err
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_a_run_is_drawn_with_its_own_model_and_in_steps_that_there_are(call: Call, run: Path, tmp_path: Path) -> None:
    code, _, err = call("generate", "thing 1", "--run", run, "--model", "tiny-emoji-64", "--out", tmp_path / "drawn")
    assert code == 2 and "leave out --model or --run" in err
    assert call("generate", "thing 1", "--steps", 1001, "--out", tmp_path / "drawn")[0] == 2
    assert call("train", "--set", "evaluate.steps=1001", "--out", tmp_path / "other")[0] == 2
    assert not (tmp_path / "drawn").exists() and not (tmp_path / "other").exists()


@pytest.mark.slow
def test_others_may_read_a_result_as_far_as_the_mask_lets_them(run: Path) -> None:
    plain = run / "mode"
    plain.touch()
    for file in ("pytorch_lora_weights.safetensors", "kohya.safetensors"):
        assert (run / "lora" / file).stat().st_mode == plain.stat().st_mode


@pytest.mark.slow
def test_images_of_one_prompt_are_said_to_need_other_prompts(
    call: Call, settings: list[str], thumbs: Path, tmp_path: Path
) -> None:
    for path in thumbs.rglob("*.txt"):
        path.unlink()
    assert call("import", thumbs, "--likes", tmp_path / "one", "--prompt", "a thing")[0] == 0
    words = ["train", "--dry-run", "--out", tmp_path / "run", *settings, "--set", f"likes={tmp_path / 'one'}"]
    code, out, err = call(*words)
    assert code == 0, err
    assert "no prompt is held out: evaluate needs evaluate.prompts" in out
    code, _, err = call(*words, "--set", "objective.reference_point=mismatched")
    assert code == 1 and "Every image to train on has the prompt 'a thing'" in err


def test_resuming_needs_a_run_and_no_recipe(
    call: Call, shared_settings: list[str], trained_at: Callable[[Path], Path], tmp_path: Path
) -> None:
    code, _, err = call("train", "--out", tmp_path / "never", "--resume", *shared_settings)
    assert code == 2 and str(tmp_path / "never") in err and not (tmp_path / "never").exists()
    trained_at(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "lora")
    code, _, err = call("train", "--out", tmp_path / "run", "--resume")
    assert code == 0, err
    assert (tmp_path / "run" / "lora").exists()


def test_a_printed_recipe_is_one_that_train_reads(call: Call, tmp_path: Path) -> None:
    code, out, err = call("recipe", "--set", "train.steps=7")
    assert code == 0, err
    assert all(f"{name.rpartition('.')[2]}: " in out for name in recipe_options())
    (tmp_path / "mine.yaml").write_text(out)
    assert read_recipe(tmp_path / "mine.yaml") == read_recipe(None, ["train.steps=7"])
    assert "did you mean train.steps?" in call("recipe", "--set", "stps=5")[2]


@pytest.mark.slow
def test_the_page_shows_the_images_that_were_rated(run: Path) -> None:
    examples = json.loads((run / "likes.json").read_text())["examples"]
    rows = parquet.read_table(run / "likes.parquet").to_pylist()
    trained = [sum(row["label"] == liked and not row["held_out"] for row in rows) for liked in (True, False)]
    assert [len(examples[kind]) for kind in ("liked", "disliked")] == trained
    assert all((run / name).is_file() for names in examples.values() for name in names)
    page = (run / "report.html").read_text()
    assert page.count("An example that was liked") == trained[0] and "No example images" not in page


def test_examples_are_spread_over_the_likes_and_keep_their_greys(
    tmp_path: Path, make_likes: Callable[..., Any]
) -> None:
    grey = Image.fromarray(np.full((16, 16), 20_000, np.uint16))
    likes = make_likes([grey] * 20, [True] * 18 + [False] * 2, ids=[f"{i:02d}" for i in range(20)])
    kept = examples.save_examples(likes, tmp_path)
    assert [Path(name).stem for name in kept["liked"]] == [f"{18 * i // 12:02d}" for i in range(12)]
    assert [Path(name).stem for name in kept["disliked"]] == ["18", "19"]
    with Image.open(tmp_path / kept["liked"][0]) as image:
        assert image.getpixel((3, 3)) == (78, 78, 78)  # 20000 / 257
