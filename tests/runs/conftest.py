"""Thumbs in a folder, a store made of them, and small settings."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Call = Callable[..., tuple[int, str, str]]
SMALL = [
    "train.steps=6",
    "train.batch=4",
    "train.micro_batch=2",
    "train.checkpoint_every=2",
    "train.validation_share=0.3",
]
SMALL += ["train.lr=1e-4", "train.cooldown=0"]  # so few steps would be cool-down and nothing else


@pytest.fixture
def small() -> list[str]:
    """Options of a training of seconds."""
    return SMALL


@pytest.fixture
def thumbs(tmp_path: Path) -> Path:
    """like/ and dislike/ folders: ten red and ten blue images of ten prompts, prompts beside them."""
    for kind, colour in (("like", "red"), ("dislike", "blue")):
        for i in range(10):
            path = tmp_path / "thumbs" / kind / f"{colour}-{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (20 * i, 0, 0) if colour == "red" else (0, 20 * i, 255)).save(path)
            path.with_suffix(".txt").write_text(f"thing {i}")
    return tmp_path / "thumbs"


@pytest.fixture
def likes(call: Call, thumbs: Path, tmp_path: Path) -> Path:
    code, out, err = call("import", thumbs, "--likes", tmp_path / "likes")
    assert code == 0, err
    assert "20 rows: 10 likes, 10 dislikes" in out
    return tmp_path / "likes"


@pytest.fixture
def settings(likes: Path, tiny_pipeline: Callable[[str], Path]) -> list[str]:
    """--set options of a small run on a tiny pipeline."""
    options = [
        f"likes={likes}",
        f"model={tiny_pipeline('epsilon')}",
        *SMALL,
        "evaluate.steps=2",
        "evaluate.per_prompt=2",
    ]
    return [
        word for option in [*options, "evaluate.per_prompt=2", "evaluate.scorers=red"] for word in ("--set", option)
    ]
