"""What people do to commands: twice, from the wrong place, with a misspelt name, with very little."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pyarrow import parquet

from thumbtune import config

Call = Callable[..., tuple[int, str, str]]


def test_importing_the_folder_that_one_stands_in_twice_adds_nothing(
    call: Call, thumbs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(thumbs)
    assert "10 likes, 10 dislikes" in call("import", ".")[1]
    code, out, err = call("import", ".")
    assert code == 0, err
    assert "20 rows: 0 likes, 0 dislikes, 20 duplicates" in out


def test_a_store_is_no_source_and_no_pictures_become_a_store(call: Call, likes: Path, thumbs: Path) -> None:
    code, _, err = call("import", likes, "--likes", likes.parent / "other")
    assert code == 1 and "is a store of likes already" in err
    (thumbs / "like").rename(thumbs / "likes")
    code, _, err = call("import", thumbs, "--likes", thumbs / "likes")
    assert code == 1 and "keep the store elsewhere" in err
    assert not (thumbs / "likes" / "likes.sqlite").exists()


@pytest.fixture
def run(call: Call, settings: list[str], tmp_path: Path) -> Path:
    """A finished run, evaluated."""
    folder = tmp_path / "run"
    assert call("train", "--out", folder, *settings)[0] == 0
    assert call("evaluate", folder)[0] == 0
    return folder


def test_a_misspelt_taste_costs_no_evaluation(call: Call, run: Path, settings: list[str], tmp_path: Path) -> None:
    before = (run / "evaluation" / "evaluation.json").read_bytes()
    code, _, err = call("evaluate", run, "--set", "evaluate.taste=blue")
    assert code == 2 and "There is no taste 'blue'; known are line-art, red." in err
    assert (run / "evaluation" / "evaluation.json").read_bytes() == before
    code, _, err = call("train", "--out", tmp_path / "other", *settings, "--set", "evaluate.taste=blue")
    assert code == 2 and "blue" in err and not (tmp_path / "other").exists()


def test_a_run_whose_likes_are_elsewhere_says_so_or_finds_them(call: Call, run: Path, likes: Path) -> None:
    moved = likes.rename(likes.parent / "moved")
    before = (run / "report.html").read_bytes()
    code, _, err = call("evaluate", run, "--set", "evaluate.taste=null")
    assert code == 1 and "is no store of likes" in err and "--set likes=FOLDER" in err
    assert (run / "report.html").read_bytes() == before
    code, out, err = call("evaluate", run, "--set", "evaluate.taste=null", "--set", f"likes={moved}")
    assert code == 0, err
    assert "No score compares the pictures" in out  # no taste was named, and the judge knows no "thing 1"
    page = (run / "report.html").read_text()
    assert "No score compares the pictures" in page and "Win · tie · loss" not in page


def test_too_few_held_out_thumbs_are_no_failure_and_no_success(call: Call, run: Path) -> None:
    code, out, err = call("evaluate", run, "--set", "evaluate.taste=null")
    assert code == 0, err
    held_out = json.loads((run / "evaluation" / "evaluation.json").read_text())["agreement"]["prompts"]
    assert 1 < held_out < 10
    assert "There is too little to tell whether tuning helped" in out
    assert f"? Thumbs of {held_out} prompts" in out and "10 prompts are needed to tell" in out
    page = (run / "report.html").read_text()
    assert 'class="open"' in page and "too few prompts for an interval" in page


def test_a_dry_run_says_when_too_little_would_be_held_out(call: Call, settings: list[str], tmp_path: Path) -> None:
    code, out, err = call("train", "--out", tmp_path / "run", "--dry-run", *settings)
    assert code == 0, err
    assert "of 10 that it takes to tell" in out


def test_resuming_needs_a_run_and_no_recipe(call: Call, settings: list[str], tmp_path: Path) -> None:
    code, _, err = call("train", "--out", tmp_path / "never", "--resume", *settings)
    assert code == 2 and "never is no run" in err and not (tmp_path / "never").exists()
    assert call("train", "--out", tmp_path / "run", *settings)[0] == 0
    shutil.rmtree(tmp_path / "run" / "lora")
    code, _, err = call("train", "--out", tmp_path / "run", "--resume")
    assert code == 0, err
    assert (tmp_path / "run" / "lora").exists()


def test_a_printed_recipe_is_one_that_train_reads(call: Call, tmp_path: Path) -> None:
    code, out, err = call("recipe", "--set", "train.steps=7")
    assert code == 0, err
    assert all(f"{name.rpartition('.')[2]}: " in out for name in config.options())
    (tmp_path / "mine.yaml").write_text(out)
    assert config.read(tmp_path / "mine.yaml") == config.read(None, ["train.steps=7"])
    assert "did you mean train.steps?" in call("recipe", "--set", "stps=5")[2]


def test_the_page_shows_the_pictures_that_were_rated(run: Path) -> None:
    examples = json.loads((run / "likes.json").read_text())["examples"]
    rows = parquet.read_table(run / "likes.parquet").to_pylist()
    trained = [sum(row["label"] == liked and not row["held_out"] for row in rows) for liked in (True, False)]
    assert [len(examples[kind]) for kind in ("liked", "disliked")] == trained
    assert all((run / name).is_file() for names in examples.values() for name in names)
    page = (run / "report.html").read_text()
    assert page.count("An example that was liked") == trained[0] and "No example pictures" not in page
