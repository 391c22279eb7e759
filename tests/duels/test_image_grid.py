"""Duels: every image its own seed, drawn once, by the reference before and by the tuned network after."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from thumbtune.evaluation.duel import Duel, draw
from thumbtune.models.protocol import Sampler
from thumbtune.training.batches import quiet


def made(folder: Path, prompts: int = 3) -> Duel:
    names = [f"thing {i}" for i in range(prompts)]
    return Duel(folder=folder, prompts=names, per_prompt=2, first_seed=70, sampler=Sampler(steps=4))


def test_no_two_images_of_a_side_share_a_seed(tmp_path: Path) -> None:
    duel = made(tmp_path)
    assert [list(duel.seeds(prompt)) for prompt in range(3)] == [[70, 71], [72, 73], [74, 75]]
    assert duel.path("before", 2, 75) == tmp_path / "before" / "002-75.png"


def test_both_sides_start_from_the_same_noise_and_only_one_is_tuned(
    make_plane: Callable[..., Any], perturb: Callable[..., None], tmp_path: Path
) -> None:
    plane, duel = make_plane(), made(tmp_path)
    before = plane.generate(["", ""], list(duel.seeds(1)), duel.sampler)
    perturb(plane)
    draw(duel, plane, quiet)
    assert len(list(tmp_path.rglob("*.png"))) == 3 * 2 * 2
    assert [np.asarray(a).tolist() for a in duel.images("before", 1)] == [np.asarray(b).tolist() for b in before]
    after = plane.generate(["", ""], list(duel.seeds(1)), duel.sampler)
    assert [np.asarray(a).tolist() for a in duel.images("after", 1)] == [np.asarray(b).tolist() for b in after]
    assert [np.asarray(a).tolist() for a in after] != [np.asarray(b).tolist() for b in before]


def test_a_mark_goes_before_the_prompts_of_the_tuned_model_alone(tmp_path: Path) -> None:
    duel = Duel(folder=tmp_path, prompts=["a cat"], per_prompt=1, first_seed=0, sampler=Sampler(), mark="good image")
    assert (duel.asked("before", 0), duel.asked("after", 0)) == ("a cat", "good image, a cat")
    assert made(tmp_path).asked("after", 1) == "thing 1"


def test_what_is_drawn_already_is_not_drawn_again(make_plane: Callable[..., Any], tmp_path: Path) -> None:
    plane, duel = make_plane(), made(tmp_path)
    draw(duel, plane, quiet)
    kept = duel.path("after", 0, 70)
    was = kept.stat().st_mtime_ns
    duel.path("after", 0, 71).unlink()
    draw(duel, plane, quiet)
    assert duel.path("after", 0, 71).exists()
    assert kept.stat().st_mtime_ns == was
