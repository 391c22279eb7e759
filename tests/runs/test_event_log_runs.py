"""A training that reads an event log is that of a store with the same votes, bit for bit."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from refusals import refused
from safetensors.torch import load_file

import thumbtune
from thumbtune.errors import UsageError
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.source import Reading
from thumbtune.feedback.store.store import Store
from thumbtune.runs import build, feedback_source
from thumbtune.runs.recipe import Recipe, parse_recipe

pytest.importorskip("duckdb")


def write_log(folder: Path, numbers: range, part: str) -> None:
    """Write a file of votes on images of these numbers, and the images."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in numbers:
        for side in (0, 1):
            file = f"images/{number}-{side}.png"
            pixels = np.random.default_rng([number, side]).integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / file)
            rows.append({"path": file, "caption": f"thing {number}", "rating": 5 - 4 * side, "rater": "ann"})
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{part}.parquet")


def recipe_on(likes: Path, model: Path, **options: Any) -> Recipe:
    train = {"steps": 4, "batch": 4, "micro_batch": 4, "warmup": 1, "cooldown": 0, "lr": 1e-2, "guards": False}
    train |= {"validation_share": 0.3, "checkpoint_every": 100}
    data = {"model": str(model), "likes": str(likes), "train": train, "lora": {"rank": 2}, **options}
    return parse_recipe(data, "The recipe")


def finish(recipe: Recipe, folder: Path) -> dict[str, Any]:
    list(thumbtune.train(recipe, folder, resume=True))
    return load_file(folder / "lora" / "pytorch_lora_weights.safetensors")


def test_a_training_on_a_log_is_one_on_a_store(tiny_pipeline: Callable[[str], Path], tmp_path: Path) -> None:
    write_log(tmp_path / "log", range(6), "a")
    model = tiny_pipeline("epsilon")
    recipe = recipe_on(tmp_path / "log" / "*.parquet", model, events={"like_at": 4})
    with Store.open(tmp_path / "likes") as store:
        import_likes(tmp_path / "log", store, kind="parquet", reading=Reading(like_at=4))
    expected = finish(recipe_on(tmp_path / "likes", model), tmp_path / "of-store" / "run")
    run = tmp_path / "of-log" / "run"
    assert len(list(islice(thumbtune.train(recipe, run), 2))) == 2
    write_log(tmp_path / "log", range(6, 9), "b")  # a log grows while a training is stopped
    weights = finish(recipe, run)
    assert weights.keys() == expected.keys()
    assert all((weights[name] == expected[name]).all() for name in weights)
    assert len(build.split_of(recipe).train) > len(build.split_of(recipe_on(tmp_path / "likes", model)).train)
    (tmp_path / "log" / "images" / "0-0.png").unlink()
    (tmp_path / "log" / "images" / "1-1.png").unlink()
    feedback_source._opened.clear()  # as in a new process
    with refused("run-image-gone"):
        finish(recipe, run)


def test_statistics_of_a_log(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    write_log(tmp_path / "log", range(4), "a")
    code, out, err = call("likes", "stats", "--likes", tmp_path / "log" / "*.parquet", "--like-at", 4)
    assert code == 0, err
    assert "8 rows: 4 likes, 4 dislikes, 0 without a prompt" in out and "event log" in out
    assert "4 likes, 4 dislikes, 50.0% liked" in out
    code, out, err = call("likes", "stats", "--likes", tmp_path / "log" / "a.parquet")
    assert code == 1 and "--like-at 4" in err


@pytest.mark.slow
def test_a_dry_run_says_what_is_left_out(
    call: Callable[..., tuple[int, str, str]], tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    write_log(tmp_path / "log", range(6), "a")
    (tmp_path / "log" / "images" / "3-0.png").write_bytes(b"")
    options = [f"likes={tmp_path / 'log'}", f"model={tiny_pipeline('epsilon')}", "events.like_at=4", "train.steps=4"]
    words = [word for option in options for word in ("--set", option)]
    code, _, err = call("train", "--dry-run", "--out", tmp_path / "run", *words)
    assert code == 0, err
    assert "1 row of 12" in err and "a.parquet, row 7" in err and "empty" in err


def test_comparisons_are_no_votes(tmp_path: Path, tiny_pipeline: Callable[[str], Path]) -> None:
    row = {"prompt": "a fox", "chosen": "a.png", "rejected": "b.png"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "pairs.parquet")
    with refused("event-log-of-another-kind", naming="thumbtune import"):
        build.split_of(recipe_on(tmp_path / "*.parquet", tiny_pipeline("epsilon")))


def test_options_of_events_need_a_log(tmp_path: Path, tiny_pipeline: Callable[[str], Path]) -> None:
    with refused("events-without-log", kind=UsageError):
        build.split_of(recipe_on(tmp_path / "likes", tiny_pipeline("epsilon"), events={"like_at": 4}))
    with refused("recipe-value", kind=UsageError, naming="events.map"):
        recipe_on(tmp_path / "likes", tiny_pipeline("epsilon"), events={"map": "colour=red"})


@pytest.mark.slow
def test_errors_name_options_that_exist(
    call: Callable[..., tuple[int, str, str]], tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    """A training has settings, and `likes stats` has the options of an import."""
    write_log(tmp_path / "log", range(2), "a")
    file = tmp_path / "log" / "a.parquet"
    table = pq.read_table(file)
    with refused("event-log-no-usable-row", naming="--set events.like_at=4"):
        build.split_of(recipe_on(file, tiny_pipeline("epsilon")))
    pq.write_table(table.drop_columns(["caption"]), file)
    with refused("event-log-no-usable-row", naming="--set events.prompt='a cat'"):
        build.split_of(recipe_on(file, tiny_pipeline("epsilon"), events={"like_at": 4}))
    options = ("likes", "stats", "--likes", file, "--like-at", 4)
    code, _, err = call(*options)
    assert code == 1 and "as in --prompt 'a cat'" in err
    code, out, err = call(*options, "--prompt", "a cat", "--rater", "zoe")
    assert code == 0 and "4 rows: 2 likes, 2 dislikes" in out and "The event log has 1 prompt." in out + err
    code, _, err = call("likes", "stats", "--likes", tmp_path / "likes", "--rater", "zoe")
    assert code == 2 and "--rater" in err
    pq.write_table(table, tmp_path / "log" / "train.parquet")
    pq.write_table(table, tmp_path / "log" / "test.parquet")
    file.unlink()
    with refused("split-needed", naming="--set events.split=", kind=UsageError):
        build.split_of(recipe_on(tmp_path / "log", tiny_pipeline("epsilon")))
    code, out, _ = call("likes", "stats", "--likes", tmp_path / "log", "--like-at", 4, "--split", "test")
    assert code == 0 and "4 rows" in out
