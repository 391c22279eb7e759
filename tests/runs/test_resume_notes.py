"""A training that is resumed says where it goes on, and that there is nothing to do where it is finished."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from thumbtune.runs.recipe import read_recipe
from thumbtune.runs.tuning import tune
from thumbtune.training.progress import quiet


@pytest.mark.slow
def test_where_a_run_goes_on(call: Any, settings: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    steps: Any = tune(read_recipe(None, settings[1::2]), run, quiet)
    assert [next(steps).step for _ in range(3)] == [1, 2, 3]
    steps.close()  # as Ctrl-C does, this saves a checkpoint
    code, _, err = call("train", "--out", run, "--resume")
    assert code == 0
    checkpoint = run / "checkpoints" / "step-000003"
    assert err.count(f"Note: {run} continues from step 3 of 6, with the checkpoint {checkpoint}.\n") == 1
    code, out, err = call("train", "--out", run, "--resume")
    assert code == 0 and f"The result is in {run / 'lora'}" in out
    done = f"Note: {run} has done all of its 6 steps, so there is nothing to do; its result is written again.\n"
    assert err.count(done) == 1 and "continues from" not in err
    shutil.rmtree(run / "checkpoints")
    code, _, err = call("train", "--out", run, "--resume")
    assert code == 0 and err.count("has no checkpoint that can be used, so it begins again at step 1 of 6.") == 1


@pytest.mark.slow
def test_a_run_that_begins_says_nothing_of_it(call: Any, settings: list[str], tmp_path: Path) -> None:
    code, _, err = call("train", "--out", tmp_path / "run", *settings, "--set", "train.steps=1")
    assert code == 0 and "checkpoint" not in err and "nothing to do" not in err


def test_the_first_time_there_is_nothing_to_resume(call: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, _, err = call("train", "--out", run, "--resume")
    assert code == 2 and f"{run} does not exist yet; leave --resume out the first time." in err and not run.exists()
