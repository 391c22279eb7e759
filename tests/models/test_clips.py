"""Clips as rows of Wan and LTX-Video: what encodes, denoises and decodes them, beside their pipelines and VAEs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from refusals import refused
from test_gradient_checkpointing import assert_equal_gradients
from test_pipeline_calls import PROMPTS, SEEDS, Captured, drawn_by_the_pipeline, is_close
from tiny_transformers import CLIP_BUILDERS
from torch import Tensor

from thumbtune.clips import Clip
from thumbtune.errors import UsageError
from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora import LoRA
from thumbtune.models.process import DynamicShift, FlowProcess
from thumbtune.models.protocol import Sampler
from thumbtune.training.batch import positions

Make = Callable[..., Any]
NAMES = list(CLIP_BUILDERS)
FRAMES = 5
MADE = 2  # of latents
RATE = {"ltx": 25, "wan-5b-clips": 24}  # else 16


def clip(seed: int = 0, frames: int = FRAMES) -> Clip:
    noise = np.random.default_rng(seed).integers(0, 256, (frames, 16, 16, 3), dtype=np.uint8)
    return Clip([Image.fromarray(one) for one in noise], 16)


def noise_of(shape: tuple[int, ...]) -> Tensor:
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in SEEDS])


def pixels_in(row: Clip) -> Tensor:
    return torch.from_numpy(np.stack([np.array(frame) for frame in row.frames])).permute(3, 0, 1, 2)[None] / 127.5 - 1


def moments_of(model: Any) -> tuple[Tensor, Tensor]:
    vae = model.pipeline.vae
    numbers = (vae.latents_mean, vae.latents_std) if model.family.name == "LTX-Video" else None
    mean, deviation = numbers or map(torch.tensor, (vae.config.latents_mean, vae.config.latents_std))
    return mean.view(1, -1, 1, 1, 1), deviation.view(1, -1, 1, 1, 1)


@pytest.mark.parametrize("name", NAMES)
def test_latents_of_a_clip_are_those_of_the_vae_and_a_row_is_its_own(name: str, make_diffusion: Make) -> None:
    model = make_diffusion(name)
    rows = [clip(0), clip(1)]
    latents = model.encode(rows, 16)
    assert latents.shape == (2, 4, MADE, *model.latent_shape(16)[1:])
    assert latents.shape[1:] == model.latent_shape(16, FRAMES)
    mean, deviation = moments_of(model)
    with torch.no_grad():
        theirs = [(model.pipeline.vae.encode(pixels_in(row)).latent_dist.mean - mean) / deviation for row in rows]
    torch.testing.assert_close(latents, torch.cat(theirs), rtol=0, atol=1e-5)
    torch.testing.assert_close(model.encode(rows[1:], 16), latents[1:], rtol=0, atol=1e-5)
    with torch.no_grad():
        pixels = model.pipeline.vae.decode(latents * deviation + mean, return_dict=False)[0]
        torch.testing.assert_close(model.pixels(latents), pixels, rtol=0, atol=1e-5)
    assert pixels.shape == (2, 3, FRAMES, 16, 16)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_one_frame_and_a_clip_is_cut_to_what_the_vae_takes(name: str, make_diffusion: Make) -> None:
    model = make_diffusion(name)
    step = model.frame_step
    long = clip(0, FRAMES + step).frames
    image = model.encode([long[0]], 16)
    assert image.shape == (1, *model.latent_shape(16))
    mean, deviation = moments_of(model)
    with torch.no_grad():
        one = (model.pipeline.vae.encode(pixels_in(Clip(long[:1], 16))).latent_dist.mean - mean) / deviation
    torch.testing.assert_close(image, one[:, :, 0], rtol=0, atol=1e-6)
    for taken in (1, 1 + step, 1 + 2 * step):
        whole = model.encode([Clip(long[:taken], 16)], 16)
        for frames in range(taken, min(taken + step, len(long) + 1)):
            assert torch.equal(model.encode([Clip(long[:frames], 16)], 16), whole)
    assert model.frame_rate == RATE.get(name, 16)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_predict_asks_what_the_pipeline_asks_of_clips(name: str, guidance: float, make_diffusion: Make) -> None:
    model = make_diffusion(name)
    with Captured(model) as theirs:
        model.generate(PROMPTS, SEEDS, Sampler(steps=2, guidance=guidance, frames=FRAMES))
    rows = [row for call in theirs.calls for row in call][: len(SEEDS) * (1 if guidance == 1 else 2)]
    noise = noise_of(model.latent_shape(model.size, FRAMES))
    t = model.pipeline.scheduler.timesteps[:1].expand(len(SEEDS))
    for prompts in (PROMPTS, [""] * len(SEEDS))[: 1 if guidance == 1 else 2]:
        condition = model.embed(prompts)
        with Captured(model) as calls, torch.no_grad():
            together = model.predict(noise, t, condition)
            alone = model.predict(noise[1:], t[1:], {key: value[1:] for key, value in condition.items()})
        assert together.shape == noise.shape
        assert all(any(is_close(one, other) for other in rows) for one in calls.calls[0])
        torch.testing.assert_close(alone, together[1:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_clips_are_those_of_the_pipeline(name: str, make_diffusion: Make) -> None:
    model = make_diffusion(name)
    sampler = Sampler(steps=2, guidance=3.0, frames=FRAMES + 1)  # one more than it can have
    clips = model.generate(PROMPTS, SEEDS, sampler)
    theirs = drawn_by_the_pipeline(model, sampler, num_frames=FRAMES)
    for row, their in zip(clips, theirs, strict=True):
        assert isinstance(row, Clip) and row.rate == model.frame_rate
        frames = np.stack([np.array(frame).astype(int) for frame in row.frames])
        assert frames.shape == (FRAMES, model.size, model.size, 3)
        assert np.abs(frames - 255 * their).max() <= 1
        assert (frames[0] != frames[-1]).any()
        assert np.array_equal(np.array(row), frames[0])  # as an image it is its first frame
    (again,) = model.generate(PROMPTS[1:], SEEDS[1:], sampler)
    for one, other in zip(again.frames, clips[1].frames, strict=True):
        assert np.abs(np.array(one).astype(int) - np.array(other)).max() <= 1


@pytest.mark.parametrize("name", ["wan-5b-clips", "wan-experts-clips", "ltx"])
def test_checkpointing_changes_no_gradient_of_clips(
    name: str, tiny_pipeline: Callable[[str], Path], perturb: Callable[..., None]
) -> None:
    results = []
    for checkpointing in (False, True):
        pipeline = load_pipeline(str(tiny_pipeline(name)))
        model = adapter_of(pipeline, LoRA(rank=2), gradient_checkpointing=checkpointing)
        perturb(model)
        noisy = torch.randn(2, *model.latent_shape(16, FRAMES), generator=torch.Generator().manual_seed(5))
        out = model.predict(noisy, torch.tensor([40, 900]), model.embed(PROMPTS))
        out.pow(2).sum().backward()
        results.append((out.detach(), [weight.grad for _, weight in model.trainable()]))
    assert_equal_gradients(*results)


def test_a_saved_lora_of_clips_loads_again_and_the_reference_stays(
    make_diffusion: Make, perturb: Callable[..., None], tmp_path: Path
) -> None:
    model, fresh = make_diffusion("wan-experts-clips"), make_diffusion("wan-experts-clips")
    noisy, t = noise_of(model.latent_shape(16, FRAMES)), torch.tensor([990, 40])  # each expert is asked
    condition = model.embed(PROMPTS)
    with torch.no_grad():
        before = model.predict(noisy, t, condition)
        perturb(model)
        tuned = model.predict(noisy, t, condition)
        with model.reference():
            assert torch.equal(model.predict(noisy, t, condition), before)
        model.save(tmp_path)
        fresh.load(tmp_path)
        torch.testing.assert_close(fresh.predict(noisy, t, condition), tuned, rtol=0, atol=1e-6)
    assert all((tuned[row] - before[row]).abs().max() > 1e-3 for row in range(2))


def test_a_shift_that_grows_with_tokens_counts_those_of_all_frames(make_diffusion: Make) -> None:
    model = make_diffusion("ltx")
    model.generate(PROMPTS[:1], SEEDS[:1], Sampler(steps=2, guidance=1.0, frames=FRAMES))
    process = model.process
    assert isinstance(process, FlowProcess) and isinstance(process.shift, DynamicShift)
    counts = positions([model.latent_shape(model.size, FRAMES), model.latent_shape(model.size)])
    of_clip, of_image = process.shift.of(counts)
    assert of_clip > of_image
    # diffusers' sigmas 1 and 1/2 of a schedule of two steps, shifted
    sigma = model.pipeline.scheduler.sigmas[1]
    torch.testing.assert_close(of_clip * 0.5 / (1 + (of_clip - 1) * 0.5), sigma, rtol=1e-4, atol=1e-4)


def test_a_family_of_images_takes_the_first_frame_and_draws_no_clips(make_diffusion: Make) -> None:
    model = make_diffusion("epsilon")
    row = clip()
    assert torch.equal(model.encode([row]), model.encode([row.frames[0]]))
    with refused("frames-images-only", UsageError):
        model.generate(PROMPTS, SEEDS, Sampler(steps=1, frames=FRAMES))
