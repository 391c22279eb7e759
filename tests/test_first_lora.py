"""The walk of docs/first-lora.md is true: its commands run in order, print what is shown, and diffusers agrees."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_readme import blocks, commands, is_shown, run

from thumbtune.evaluation.scorers.tastes import get_taste

PAGE = (Path(__file__).parents[1] / "docs" / "first-lora.md").read_text(encoding="utf-8")
BLACK = 0.6  # the score from which on the page's program likes an image


def sort_into_folders(folder: Path) -> None:
    """Move each image as the page says."""
    for file in sorted(folder.glob("*.png")):
        with Image.open(file) as image:
            liked = get_taste("line-art").score(image) >= BLACK
        file.rename(folder / ("liked" if liked else "disliked") / file.name)


def test_every_command_of_the_walk_shows_what_it_prints() -> None:
    assert [command.split()[1] for command, _ in commands(PAGE) if command.startswith("thumbtune ")] == [
        *("concepts", "generate", "import", "train", "evaluate", "generate")
    ]
    assert not [command for command, printed in commands(PAGE) if not printed]


@pytest.mark.slow
def test_the_walk_runs_and_prints_what_is_shown(tmp_path: Path) -> None:
    for command, printed in commands(PAGE):
        done = run(command, tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert is_shown(printed, done.stdout), f"{command} did not print:\n{printed}\nbut:\n{done.stdout}"
        if command.startswith("mkdir"):
            sort_into_folders(tmp_path / "images")
    for code in blocks("python", PAGE):
        done = run(f"{sys.executable} - <<'CODE'\n{code}\nCODE", tmp_path)
        assert done.returncode == 0, f"{code}\n{done.stderr}"
    ours, theirs = (np.array(Image.open(tmp_path / name)).astype(int) for name in ("after/a-fish-0.png", "fish.png"))
    assert np.abs(ours - theirs).max() <= 1
