"""Clips drawn, scored and shown: WebP animations of a grid, the mean of their frames' scores, and their page."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thumbtune.clips import Clip, frames_of, own_frames, write_clip
from thumbtune.duels.gallery import _sampler_facts
from thumbtune.duels.image_grid import ImageGrid, generate_side
from thumbtune.evaluation.scorers.scoring import PromptedImage, _key, _scores, open_image
from thumbtune.files import write_png
from thumbtune.models.protocol import Sampler
from thumbtune.report.images import data_uri
from thumbtune.runs.generate import free_path
from thumbtune.training.progress import quiet


def clip(seed: int, count: int = 9, side: int = 8) -> Clip:
    noise = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return Clip([Image.fromarray(one) for one in noise], 16)


class Red:
    """A scorer: the mean of red."""

    id, revision, preprocessing = "red", "1", "none"

    def __init__(self) -> None:
        self.asked: list[tuple[int, list[str]]] = []

    def score(self, images: Any, prompts: Any) -> Any:
        self.asked.append((len(images), list(prompts)))
        return np.array([np.asarray(image)[..., 0].mean() for image in images])


def row(path: Path, prompt: str = "a") -> PromptedImage:
    return PromptedImage(path, "0" * 64, prompt)


def test_a_side_of_clips_is_written_as_animations_and_goes_on(tmp_path: Path) -> None:
    grid = ImageGrid(folder=tmp_path, prompts=["a", "b"], per_prompt=2, first_seed=3, sampler=Sampler(frames=9, size=8))
    drawn: list[int] = []

    def generate(prompts: Any, seeds: Any, sampler: Sampler) -> list[Image.Image]:
        assert sampler.frames == 9
        drawn.extend(seeds)
        return [clip(seed) for seed in seeds]

    generate_side(grid, "side", generate, quiet, 1)
    assert drawn == [3, 4, 5, 6] and grid.is_whole("side")
    for prompt, seed in grid.places():
        path = grid.path("side", prompt, seed)
        assert path.suffix == ".webp"
        found = frames_of(own_frames(path))
        assert [one.tobytes() for one in found] == [one.tobytes() for one in clip(seed).frames]
    generate_side(grid, "side", generate, quiet, 1)
    assert len(drawn) == 4
    assert (
        ImageGrid(folder=tmp_path, prompts=["a"], per_prompt=1, first_seed=0, sampler=Sampler()).path("side", 0, 0).name
        == "000-0.png"
    )


def test_a_clip_has_the_mean_score_of_four_frames_and_images_their_own(tmp_path: Path) -> None:
    moving, still = clip(0), clip(1).frames[0]
    paths = [write_clip(tmp_path / "0.webp", moving), write_png(tmp_path / "1.png", still)]
    paths.append(write_clip(tmp_path / "2.webp", still))  # a WebP image is no clip
    rows = [row(path, f"p{place}") for place, path in enumerate(paths)]
    opened = [open_image(each) for each in rows]
    scorer = Red()
    scores = _scores(scorer, opened, rows)  # type: ignore[arg-type]
    expected = np.mean([np.asarray(moving.frames[place])[..., 0].mean() for place in (1, 3, 5, 7)])
    assert scores[0] == pytest.approx(expected)
    assert scores[1] == scores[2] == np.asarray(still)[..., 0].mean()
    assert scorer.asked == [(6, ["p0"] * 4 + ["p1", "p2"])]
    keys = [_key(each, scorer)[2] for each in rows]  # type: ignore[arg-type]
    assert keys == ["red|1|none|4 frames", "red|1|none", "red|1|none"]


def test_a_page_plays_clips_and_shows_images_as_ever(tmp_path: Path) -> None:
    uri = data_uri(write_clip(tmp_path / "a.webp", clip(0, side=300)))
    assert uri is not None and uri.startswith("data:image/webp;base64,")
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as shown:
        assert (getattr(shown, "n_frames", 1), shown.size, shown.info["loop"]) == (9, (224, 224), 0)
    still = data_uri(write_png(tmp_path / "b.png", clip(0).frames[0]))
    assert still is not None and still.startswith("data:image/png;base64,")
    (tmp_path / "c.webp").write_bytes(b"RIFF")
    assert data_uri(tmp_path / "c.webp") is None


def test_another_clip_of_the_same_name_is_kept(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a-0.webp", clip(0))
    other = Clip([*clip(0).frames[:8], clip(1).frames[0]], 16)  # the last frame alone differs
    assert free_path(path, clip(0)) == path
    assert free_path(path, other) == tmp_path / "a-0_2.webp"


def test_a_plan_of_images_is_that_of_earlier_duels() -> None:
    assert "frames" not in _sampler_facts(Sampler()) and _sampler_facts(Sampler(frames=9))["frames"] == 9
