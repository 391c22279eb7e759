"""A training whose options are typed by their own names is that of --set."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thumbtune.runs.run import recipe_in


@pytest.mark.slow
def test_options_by_their_own_names_train(
    call: Any, likes: Path, tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    words = ("--likes", likes, "--model", tiny_pipeline("epsilon"), "--steps", 1, "--batch", 4, "--rank", 2)
    code, out, err = call(
        *("train", "--out", tmp_path / "run", *words, "--alpha", 3, "--lr", "1e-4", "--beta", 5000),
        *("--set", "train.cooldown=0", "--set", "train.validate_every=0"),
    )
    assert code == 0 and f"The result is in {tmp_path / 'run' / 'lora'}" in out, err
    recipe = recipe_in(tmp_path / "run")
    assert (recipe.train.steps, recipe.train.batch, recipe.train.lr, recipe.train.cooldown) == (1, 4, 1e-4, 0)
    assert (recipe.lora.rank, recipe.lora.alpha, recipe.objective.beta) == (2, 3.0, 5000.0)
