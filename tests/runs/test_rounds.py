"""Rounds: a stopped run takes new labels and goes on, as one training; what it must not do is refused."""

import json
import re
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from refusals import refused
from safetensors.torch import load_file

import thumbtune
from thumbtune import checksums
from thumbtune.errors import UsageError
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.store.store import Store
from thumbtune.models.protocol import Sampler
from thumbtune.runs import rounds, run
from thumbtune.runs.recipe import Recipe, parse_recipe
from thumbtune.training import records
from thumbtune.training.trainer import WentWrong

Rate = Callable[[str, int, int], Path]
SAMPLER = Sampler(steps=2, guidance=1.0)


@pytest.fixture
def rate(tmp_path: Path) -> Rate:
    """(store, from, to) -> the store, with a like and a dislike of each number in from..to."""

    def give(name: str, first: int, stop: int) -> Path:
        folder = tmp_path / f"{name}-{first}"
        for number in range(first, stop):
            for kind, red in (("like", 255), ("dislike", 0)):
                pixels = np.random.default_rng([number, red]).integers(0, 200, (16, 16, 3), dtype=np.uint8)
                pixels[..., 0] = red
                path = folder / kind / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
                path.with_suffix(".txt").write_text(f"thing {number}")
        with Store.open(tmp_path / name) as store:
            import_likes(folder, store)
        return tmp_path / name

    return give


@pytest.fixture
def recipe(tiny_pipeline: Callable[[str], Path]) -> Callable[..., Recipe]:
    def make(likes: Path, **train: Any) -> Recipe:
        given = {"steps": 4, "batch": 4, "micro_batch": 4, "warmup": 1, "cooldown": 0, "lr": 1e-2}
        given |= {"validation_share": 0, "validate_every": 0, "guards": False, "checkpoint_every": 100}
        data = {"model": str(tiny_pipeline("epsilon")), "likes": str(likes), "train": given | train}
        data["lora"] = {"rank": 2}
        return parse_recipe(data, "The recipe")

    return make


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in records.read_step_rows(folder)]


def steps_of(made: Recipe, folder: Path, count: int, resume: bool = False) -> None:
    assert len(list(islice(thumbtune.train(made, folder, resume=resume), count))) == count


def finish(made: Recipe, folder: Path) -> None:
    for _ in thumbtune.train(made, folder, resume=True):
        pass


@pytest.mark.slow
def test_new_labels_count_from_the_next_step_on_and_all_else_goes_on(
    rate: Rate, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    young = tmp_path / "young"
    made = recipe(rate("likes", 0, 6))
    steps_of(made, young, 2)
    rate("likes", 6, 12)
    assert rounds.take_new_labels(made, young) == 12
    checksums.check(young)
    # another run, which had all labels from its beginning, goes on from the same checkpoint: the same steps
    whole = tmp_path / "whole"
    steps_of(made, whole, 2)
    for name in ("checkpoints", "steps.jsonl"):
        taken = whole / name
        shutil.rmtree(taken) if taken.is_dir() else taken.unlink()
        (shutil.copytree if (young / name).is_dir() else shutil.copyfile)(young / name, taken)
    finish(made, young)
    finish(made, whole)
    assert losses(young) == losses(whole) and len(losses(young)) == 4
    ends = [load_file(folder / "lora" / "pytorch_lora_weights.safetensors") for folder in (young, whole)]
    assert all((ends[0][name] == ends[1][name]).all() for name in ends[0])
    story = json.loads((young / "likes.json").read_text())
    assert story["rounds"] == [{"step": 2, "labels": 12}] and (story["likes"], story["dislikes"]) == (12, 12)


@pytest.mark.slow
def test_labels_taken_twice_at_one_step_are_one_round_of_all(
    rate: Rate, recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    made = recipe(rate("likes", 0, 6))
    steps_of(made, folder, 1)
    for first, stop, taken, noted in ((6, 11, 10, 10), (11, 13, 4, 14)):
        rate("likes", first, stop)
        assert rounds.take_new_labels(made, folder) == taken
        assert records.read_story(folder)["rounds"] == [{"step": 1, "labels": noted}]  # type: ignore[index]
    steps_of(made, folder, 1, resume=True)
    rate("likes", 13, 14)

    def killed(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(rounds, "write_whole", killed)  # the round is noted, and its labels are not written
        rounds.take_new_labels(made, folder)
    assert rounds.take_new_labels(made, folder) == 2
    story = json.loads((folder / "likes.json").read_text())
    assert story["rounds"] == [{"step": 1, "labels": 14}, {"step": 2, "labels": 2}]
    assert (story["likes"], story["dislikes"]) == (14, 14)
    finish(made, folder)


@pytest.mark.slow
def test_a_run_that_a_guard_stopped_takes_labels_with_its_guards_off(
    rate: Rate, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    made = recipe(rate("likes", 0, 6), guards=True, lr=1e20)
    with pytest.raises(WentWrong):
        list(thumbtune.train(made, folder))
    assert (folder / "stopped.json").exists() and (folder / "lora" / "pytorch_lora_weights.safetensors").exists()
    rate("likes", 6, 8)
    with refused("run-stopped", naming=folder):
        rounds.take_new_labels(made, folder)
    assert rounds.take_new_labels(recipe(tmp_path / "likes", guards=False, lr=1e20), folder) == 4


@pytest.mark.slow
def test_without_new_labels_a_round_changes_nothing(rate: Rate, recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    made = recipe(rate("likes", 0, 6))
    steps_of(made, tmp_path / "broken", 2)
    before = (tmp_path / "broken" / "likes.json").read_bytes()
    assert rounds.take_new_labels(made, tmp_path / "broken") == 0
    assert (tmp_path / "broken" / "likes.json").read_bytes() == before
    finish(made, tmp_path / "broken")
    steps_of(made, tmp_path / "unbroken", 4)
    assert losses(tmp_path / "broken") == losses(tmp_path / "unbroken")


@pytest.mark.slow
def test_the_model_so_far_is_that_of_the_newest_checkpoint(
    rate: Rate, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    folder, made = tmp_path / "run", recipe(rate("likes", 0, 6))
    steps_of(made, folder, 2)
    prompts, seeds = ["thing 1", "thing 2"], [5, 6]
    young = rounds.model_so_far(folder).generate(prompts, seeds, SAMPLER)
    finish(made, folder)
    old = rounds.model_so_far(folder).generate(prompts, seeds, SAMPLER)
    result = run.trained_model(made, folder).generate(prompts, seeds, SAMPLER)
    assert [one.tobytes() for one in old] == [one.tobytes() for one in result]
    assert [one.tobytes() for one in young] != [one.tobytes() for one in old]


@pytest.mark.slow
def test_the_model_so_far_of_a_run_with_an_ema_has_its_average(
    rate: Rate, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    folder, made = tmp_path / "run", recipe(rate("likes", 0, 6), ema=0.5)
    steps_of(made, folder, 3)
    kept = folder / "checkpoints" / "step-000003"
    average, last = (load_file(kept / f"{name}.safetensors") for name in ("average", "weights"))
    assert average.keys() == last.keys() and any((average[name] != last[name]).any() for name in last)
    weights = dict(rounds.model_so_far(folder).trainable())
    assert weights.keys() == average.keys() and all(weights[name].equal(average[name]) for name in average)
    finish(made, folder)
    drawn = [rounds.model_so_far(folder), run.trained_model(made, folder)]
    images = [model.generate(["thing 1"], [5], SAMPLER)[0].tobytes() for model in drawn]
    assert images[0] == images[1]


@pytest.mark.slow
def test_the_model_so_far_of_a_damaged_checkpoint_is_refused(
    rate: Rate, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    folder, made = tmp_path / "run", recipe(rate("likes", 0, 6))
    steps_of(made, folder, 1)
    weights = folder / "checkpoints" / "step-000001" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with refused("checkpoint-damaged", naming=weights.parent):
        rounds.model_so_far(folder)


@pytest.mark.slow
def test_the_example_of_the_documentation_runs(
    rate: Rate, recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "likes.md").read_text()
    block = next(one for one in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if "take_new_labels" in one)
    young, old = block.split("# save and rate the images")
    monkeypatch.chdir(tmp_path)
    small = recipe(rate("likes", 0, 6)).model_dump(mode="json")
    line, names = 'recipe = {"likes": "likes", "train.steps": 120}', dict[str, Any]()
    assert line in young
    exec(young.replace(line, f"recipe = {small!r}").replace("40)", "2)"), names)
    rate("likes", 6, 8)
    exec("#" + old.replace("40)", "2)"), names)
    story = json.loads((tmp_path / "runs" / "first" / "likes.json").read_text())
    assert story["rounds"] == [{"step": 2, "labels": 4}] and len(losses(tmp_path / "runs" / "first")) == 4


@pytest.mark.slow
def test_labels_that_are_gone_are_refused(rate: Rate, recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    folder, made = tmp_path / "run", recipe(rate("likes", 0, 6))
    steps_of(made, folder, 1)
    other = recipe(rate("others", 3, 12))
    with refused("rounds-labels-gone", naming=[6, folder]):
        rounds.take_new_labels(other, folder)


@pytest.mark.slow
def test_a_run_that_finished_or_has_not_begun_takes_no_labels(
    rate: Rate, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    folder, made = tmp_path / "run", recipe(rate("likes", 0, 6))
    with refused("run-missing", UsageError):
        rounds.take_new_labels(made, folder)
    steps_of(made, folder, 1)
    with refused("run-other-recipe", UsageError, naming="train.lr"):
        rounds.take_new_labels(recipe(tmp_path / "likes", lr=2e-2), folder)
    shutil.rmtree(folder / "checkpoints")
    for call in (lambda: rounds.take_new_labels(made, folder), lambda: rounds.model_so_far(folder)):
        with refused("rounds-no-checkpoint", naming=folder):
            call()
    finish(made, folder)
    with refused("rounds-finished", naming=folder):
        rounds.take_new_labels(made, folder)
