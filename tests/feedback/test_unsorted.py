"""Images that nobody has sorted yet: a list that `generate` wrote, and folders that wait for images."""

import json
from collections.abc import Callable
from pathlib import Path

from thumbtune.feedback.metadata.generated import Generated, row_of
from thumbtune.feedback.sources.folders import LikeFolders
from thumbtune.feedback.sources.table import Table


def test_a_list_of_generated_images_leads_to_sorting_and_judging(tmp_path: Path, paint: Callable[..., bytes]) -> None:
    (tmp_path / "a.png").write_bytes(paint(0))
    made = Generated(prompt="a fox", seed=0, width=16, height=16, negative="", steps=2, guidance=1.0, sampler="DDIM",
                     model="m", syntax="plain", clip_skip=None)  # fmt: skip
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row_of(made, "a.png")))
    (row,) = Table(tmp_path / "metadata.jsonl")
    assert row.liked is None and row.problem is not None
    assert "sort the images into folders like and dislike" in row.problem and "--unrated" in row.problem
    (tmp_path / "other.jsonl").write_text(json.dumps({"file_name": "a.png", "prompt": "a fox"}))
    (row,) = Table(tmp_path / "other.jsonl")
    assert row.problem is not None and "--map label=opinion" in row.problem


def test_empty_folders_are_named(tmp_path: Path, paint: Callable[..., bytes]) -> None:
    for name in ("liked", "disliked"):
        (tmp_path / name).mkdir()
    source = LikeFolders(tmp_path)
    assert list(source) == [] and source.described()[0] == "disliked, liked hold no image; put some there."
    (tmp_path / "liked" / "deep").mkdir()
    (tmp_path / "liked" / "deep" / "a.png").write_bytes(paint(0))
    source = LikeFolders(tmp_path)
    assert len(list(source)) == 1 and source.described()[0] == "disliked holds no image; put some there."
