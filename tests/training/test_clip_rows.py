"""Clips and images as rows of one training: encoding, cache, batches of one shape, noise and errors."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image, ImageOps
from torch import Tensor

from thumbtune.clips import Clip, frames_of, write_clip
from thumbtune.evaluation.agreement import implicit_reward, mean_error
from thumbtune.evaluation.base_error import base_levels
from thumbtune.feedback.clips import Clips, clip_of, frames_in_each
from thumbtune.training.batch import Batch, Ragged
from thumbtune.training.batches import Batches
from thumbtune.training.cache import Cache
from thumbtune.training.denoising import error
from thumbtune.training.encoded import Encoded
from thumbtune.training.progress import quiet
from thumbtune.training.sampling import seeded_generator

Make = Callable[..., Any]
FRAMES = [1, 9, 5, 9, 1, 5, 9, 1]  # latents of 1, 3 and 2
LIKED = [True, True, False, True, False, False, False, True]
PROMPTS = ["a", "b", "a", "a", "b", "b", "b", "a"]


def frames(row: int, count: int) -> list[Image.Image]:
    noise = np.random.default_rng(row).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in noise]


@pytest.fixture
def likes(make_likes: Make, tmp_path: Path) -> Any:
    """Files of images and of clips, in the order of FRAMES."""
    files = []
    for row, count in enumerate(FRAMES):
        path = tmp_path / f"{row}.webp"
        if count == 1:
            frames(row, 1)[0].save(path, lossless=True)
        else:
            write_clip(path, Clip(frames(row, count), 16))
        files.append({"bytes": None, "path": str(path)})
    return make_likes(files, LIKED, PROMPTS, ids=[f"row-{row}" for row in range(len(FRAMES))])


def encoded_of(likes: Any, model: Any, folder: Path, counts: list[int] = FRAMES, **options: Any) -> Encoded:
    return Encoded(likes, model, Cache(folder), **options).taking(Clips(counts, model.frame_rate)).fill()


def rows_of(values: Tensor | Ragged) -> list[Tensor]:
    return list(values.rows if isinstance(values, Ragged) else values)


def test_rows_have_the_frames_of_their_files(likes: Any) -> None:
    assert frames_in_each(likes, 16, 99) == FRAMES and frames_in_each(likes, 16, 7) == [min(n, 7) for n in FRAMES]
    clips = Clips(FRAMES, 16)
    for row, count in enumerate(FRAMES):
        found = frames_of(clip_of(likes, row, clips))
        assert len(found) == count
        for ours, theirs in zip(found, frames(row, count), strict=True):
            assert np.array_equal(np.array(ours.convert("RGB")), np.array(theirs))
    assert len(frames_of(clip_of(likes, 1, Clips()))) == 1 and Clips().are_images and not clips.are_images


@pytest.mark.parametrize("flips", [False, True])
def test_a_clip_is_encoded_whole_and_images_as_ever(
    likes: Any, make_diffusion: Make, tmp_path: Path, flips: bool
) -> None:
    model = make_diffusion("wan-clips")
    encoded = encoded_of(likes, model, tmp_path / "cache", flips=flips)
    for row, count in enumerate(FRAMES):
        for flipped in (False, True)[: 1 + flips]:
            latents, _ = encoded.images([row], [flipped])
            shown = [ImageOps.mirror(one) if flipped else one for one in frames(row, count)]
            expected = model.encode([Clip(shown, 16) if count > 1 else shown[0]])
            assert torch.equal(latents, expected)
            assert latents.shape[2:-2] == ((count + 3) // 4,)[: count > 1]


def test_cached_latents_belong_to_a_number_of_frames_and_a_rate(
    likes: Any, make_diffusion: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_diffusion("wan-clips")
    images = Encoded(likes, model, Cache(tmp_path / "cache")).fill()
    made: list[int] = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda rows, **o: made.append(len(frames_of(rows[0]))) or encode(rows, **o))
    encoded_of(likes, model, tmp_path / "cache")
    assert made == [count for count in FRAMES if count > 1]  # single images are those of a run without clips
    encoded_of(likes, model, tmp_path / "cache")
    encoded_of(likes, model, tmp_path / "cache", [1] * len(FRAMES))
    assert len(made) == 5
    encoded_of(likes, model, tmp_path / "cache", [min(count, 5) for count in FRAMES])
    assert made[5:] == [5, 5, 5]
    Encoded(likes, model, Cache(tmp_path / "cache")).taking(Clips(FRAMES, 8)).fill()
    assert len(made) == 13  # at another rate, the frames are others
    assert torch.equal(images.latents([0, 4, 7]), encoded_of(likes, model, tmp_path / "cache").latents([0, 4, 7]))


@pytest.mark.parametrize("paired", [False, True])
def test_parts_have_rows_of_as_many_frames(likes: Any, make_diffusion: Make, tmp_path: Path, paired: bool) -> None:
    model = make_diffusion("wan-clips")
    encoded = encoded_of(likes, model, tmp_path / "cache")
    options: dict[str, Any] = {"process": model.process, "size": 8, "liked_share": 0.5, "seed": 3, "paired": paired}
    batches = Batches(encoded=encoded, **options)
    plain = Batches(encoded=Encoded(likes, model, Cache(tmp_path / "cache")).fill(), **options)
    for step in range(4):
        assert sorted(batches.rows(step)) == sorted(plain.rows(step))
        for most in (2, 3, 8):
            parts = batches.parts(step, 0, 8, most)
            assert (parts[0][0], parts[-1][1]) == (0, 8) and all(a[1] == b[0] for a, b in pairwise(parts))
            for first, stop in parts:
                counts = [FRAMES[row] for row in batches.rows(step)[first:stop]]
                assert len({*counts[::2]}) == 1 and len({*counts[1::2]}) <= 1
                assert paired or len({*counts}) == 1


def test_noise_and_time_of_a_row_depend_on_seed_step_and_image_alone(
    likes: Any, make_diffusion: Make, tmp_path: Path
) -> None:
    model = make_diffusion("ltx")  # its shift grows with the tokens of all frames
    encoded = encoded_of(likes, model, tmp_path / "cache", [1, 9, 1, 9, 1, 1, 9, 1])
    batches = Batches(encoded=encoded, process=model.process, size=16, liked_share=0.5, seed=3)
    batch, seen = batches.batch(2), {}
    for place, row in enumerate(batches.rows(2)):
        generator = seeded_generator(3, 2, f"row-{row}", seen.get(row, 0))
        seen[row] = seen.get(row, 0) + 1
        u = torch.rand((), generator=generator)
        torch.rand((), generator=generator)
        latent, noise = rows_of(batch.latents)[place], rows_of(batch.noise)[place]
        assert latent.dim() == (4 if FRAMES[row] == 9 else 3)
        assert torch.equal(noise, torch.randn(latent.shape, generator=generator))
        count = torch.tensor([latent[0].numel()])
        assert batch.t[place] == model.process.times(u[None], count)[0]


@pytest.mark.parametrize("name", ["wan-clips", "wan-5b-clips", "wan-experts-clips"])
def test_the_error_of_a_row_is_the_mean_over_all_its_positions(
    name: str, likes: Any, make_diffusion: Make, tmp_path: Path, perturb: Callable[..., None]
) -> None:
    model = make_diffusion(name)
    perturb(model)
    batches = Batches(encoded=encoded_of(likes, model, tmp_path / "cache"), process=model.process, size=8, seed=1)
    batch = batches.batch(0)
    assert isinstance(batch.latents, Ragged)
    with torch.no_grad():
        errors = error(model, batch, Accelerator())
        for place, (clean, noise) in enumerate(zip(batch.latents.rows, rows_of(batch.noise), strict=True)):
            t = batch.t[place : place + 1]
            noisy = model.process.noised(clean[None], noise[None], t)
            output = model.predict(noisy, t, {key: value[place : place + 1] for key, value in batch.condition.items()})
            expected = (output - (noise - clean)[None]).pow(2).mean()
            torch.testing.assert_close(errors[place], expected, rtol=1e-4, atol=1e-6)
    alone: Batch = batches.batch(0, 0, 1)
    torch.testing.assert_close(rows_of(alone.noise)[0], rows_of(batch.noise)[0], rtol=0, atol=0)


@pytest.mark.slow
def test_rows_of_other_numbers_of_frames_are_measured_apart(
    likes: Any, make_diffusion: Make, tmp_path: Path, perturb: Callable[..., None]
) -> None:
    model = make_diffusion("wan-clips")
    perturb(model)
    encoded = encoded_of(likes, model, tmp_path / "cache")
    alone, together = ([level.error for level in base_levels(model, encoded, Accelerator(), size)] for size in (1, 8))
    torch.testing.assert_close(torch.tensor(together), torch.tensor(alone), rtol=1e-4, atol=1e-6)
    for measure in (mean_error, partial(implicit_reward, progress=quiet)):
        one_by_one, at_once = (measure(model, encoded, Accelerator(), at_once=size) for size in (1, 8))
        torch.testing.assert_close(at_once, one_by_one, rtol=1e-4, atol=1e-6)
