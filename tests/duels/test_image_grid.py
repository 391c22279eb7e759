"""The grid of images: every image its own seed, generated once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from thumbtune.duels.image_grid import ImageGrid, generate_side
from thumbtune.models.protocol import Sampler
from thumbtune.training.progress import quiet


def made(folder: Path, prompts: int = 3) -> ImageGrid:
    names = [f"thing {i}" for i in range(prompts)]
    return ImageGrid(folder=folder, prompts=names, per_prompt=2, first_seed=70, sampler=Sampler(steps=4))


def test_no_two_images_of_a_side_share_a_seed(tmp_path: Path) -> None:
    grid = made(tmp_path)
    assert [list(grid.seeds(prompt)) for prompt in range(3)] == [[70, 71], [72, 73], [74, 75]]
    assert grid.path("a", 2, 75) == tmp_path / "a" / "002-75.png"
    assert grid.places() == [(0, 70), (0, 71), (1, 72), (1, 73), (2, 74), (2, 75)]


def test_an_image_is_that_of_its_prompt_and_seed(make_plane: Callable[..., Any], tmp_path: Path) -> None:
    plane, grid = make_plane(), made(tmp_path)
    generate_side(grid, "a", plane.generate, quiet, batch=2)
    assert len(list(tmp_path.rglob("*.png"))) == 3 * 2 and grid.is_whole("a")
    expected = plane.generate(["", ""], list(grid.seeds(1)), grid.sampler)
    assert [np.asarray(a).tolist() for a in grid.images("a", 1)] == [np.asarray(b).tolist() for b in expected]


def test_an_image_that_is_there_is_not_generated_again(make_plane: Callable[..., Any], tmp_path: Path) -> None:
    plane, grid = make_plane(), made(tmp_path)
    generate_side(grid, "b", plane.generate, quiet, batch=2)
    kept = grid.path("b", 0, 70)
    was = kept.stat().st_mtime_ns
    grid.path("b", 0, 71).unlink()
    assert not grid.is_whole("b")
    generate_side(grid, "b", plane.generate, quiet, batch=2)
    assert grid.path("b", 0, 71).exists()
    assert kept.stat().st_mtime_ns == was


def test_two_processes_share_the_batches(make_plane: Callable[..., Any], tmp_path: Path) -> None:
    plane, grid = make_plane(), made(tmp_path)
    generate_side(grid, "a", plane.generate, quiet, batch=2, share=(0, 2))
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == [
        *("000-70.png", "000-71.png", "002-74.png", "002-75.png")
    ]
    generate_side(grid, "a", plane.generate, quiet, batch=2, share=(1, 2))
    assert grid.is_whole("a")
