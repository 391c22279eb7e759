"""Images of several shapes in one batch: parts of one shape, and the gradient of images that are handled alone."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from thumbtune.evaluation.agreement import implicit_reward, mean_error
from thumbtune.models.buckets import bucket_of, placed
from thumbtune.models.latent_diffusion import pixels_of
from thumbtune.objective.baselines import DPO
from thumbtune.objective.kto import KTO, Judged
from thumbtune.training.batch import Batch, Ragged
from thumbtune.training.batches import Batches
from thumbtune.training.cache import Cache
from thumbtune.training.checkpoint import restore_newest, save
from thumbtune.training.encoded import Encoded
from thumbtune.training.progress import quiet
from thumbtune.training.sampling import seeded_generator
from thumbtune.training.trainer import Training, train

OWN = (16, 16)  # of the tiny pipelines, with two pixels to each of a latent
# height, width: from 4:1 to 1:4, two beyond, and two that are too small
SIZES = [
    (40, 40),
    (16, 64),
    (64, 16),
    (30, 44),
    (44, 30),
    (60, 90),
    (16, 16),
    (20, 140),
    (7, 7),
    (18, 70),
    (33, 33),
    (9, 5),
]
LIKED = [i % 3 != 0 for i in range(len(SIZES))]
PROMPTS = [f"p{'ab'[i % 2]}" for i in range(len(SIZES))]
BUCKETS = [bucket_of(size, OWN, 2) for size in SIZES]

Make = Callable[..., Any]


def picture(row: int) -> Image.Image:
    height, width = SIZES[row]
    pixels = np.random.default_rng(row).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def make_encoded(make_likes: Make, tmp_path: Path) -> Make:
    def make(model: Any, rows: Sequence[int] = range(len(SIZES)), sized: bool = True, **options: Any) -> Encoded:
        chosen = [[kind[row] for row in rows] for kind in (LIKED, PROMPTS, BUCKETS)]
        likes = make_likes([picture(row) for row in rows], chosen[0], chosen[1], ids=[f"image-{row}" for row in rows])
        sizes = [None if bucket == OWN else bucket for bucket in chosen[2]] if sized else None
        return Encoded(likes, model, Cache(tmp_path / "cache"), sizes=sizes, **options).fill()

    return make


def batches_of(encoded: Encoded, **options: Any) -> Batches:
    chosen = {"size": 8, "liked_share": 0.5, "seed": 3, **options}
    return Batches(encoded=encoded, process=encoded.model.process, **chosen)


def shape(latent: Tensor) -> tuple[int, int]:
    return latent.shape[-2] * 2, latent.shape[-1] * 2


def gradients(model: Any) -> Tensor:
    return torch.cat([weight.grad.flatten() for _, weight in model.trainable()])


def first_gradient(training: Training) -> Tensor:
    """AdamW's first moment after one step is a tenth of the gradient."""
    slots = training.optimizer.state_dict()["state"]
    return torch.cat([slots[i]["exp_avg"].flatten() for i in range(len(slots))]) * 10


def error_alone(model: Any, latent: Tensor, condition: dict[str, Tensor], noise: Tensor, t: Tensor) -> Tensor:
    process = model.process
    noisy = process.noised(latent[None], noise[None], t[None])
    output = model.predict(noisy, t[None], {name: value[None] for name, value in condition.items()})
    return (output - process.target(latent[None], noise[None], t[None])).pow(2).mean()


def rows_of(batch: Batch) -> list[tuple[Tensor, dict[str, Tensor], Tensor, Tensor]]:
    """The latent, condition, noise and time of each row."""
    latents, noise = (x.rows if isinstance(x, Ragged) else list(x) for x in (batch.latents, batch.noise))
    return [
        (latents[i], {name: value[i] for name, value in batch.condition.items()}, noise[i], batch.t[i])
        for i in range(len(batch))
    ]


# --- encoding ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["epsilon", "xl-epsilon"])
def test_each_image_is_encoded_in_its_bucket(make_diffusion: Make, make_encoded: Make, kind: str) -> None:
    model = make_diffusion(kind)
    encoded = make_encoded(model)
    for row, bucket in enumerate(BUCKETS):
        latents, about = encoded.images([row])
        pixels = pixels_of(picture(row), bucket)[None]
        with torch.no_grad():
            expected = model.pipeline.vae.encode(pixels).latent_dist.mean * model.pipeline.vae.config.scaling_factor
        assert torch.equal(latents, expected) and shape(latents[0]) == bucket
        if kind == "xl-epsilon":
            corner = placed(SIZES[row], bucket).corner
            assert about["time_ids"].tolist() == [[*SIZES[row], *corner, *bucket]]
    assert {(8, 32), (32, 8), (16, 16)} < set(BUCKETS)


def test_images_in_the_models_own_size_share_the_cache_with_earlier_runs(
    make_diffusion: Make, make_encoded: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_diffusion()
    rows = [row for row, bucket in enumerate(BUCKETS) if bucket == OWN]
    before = make_encoded(model, rows, sized=False)

    def never(*args: Any, **options: Any) -> None:
        raise AssertionError("an image was encoded again")

    monkeypatch.setattr(type(model), "encode", never)
    after = make_encoded(model, rows)
    assert len(rows) == 3 and after.sizes is None and torch.equal(before.latents(range(3)), after.latents(range(3)))


def test_an_image_in_another_size_is_another_entry_of_the_cache(make_diffusion: Make, make_encoded: Make) -> None:
    model = make_diffusion()
    square, wide = make_encoded(model, [1, 3], sized=False), make_encoded(model, [1, 3])
    assert [shape(square.latents([i])[0]) for i in (0, 1)] == [OWN, OWN]
    assert [shape(wide.latents([i])[0]) for i in (0, 1)] == [BUCKETS[1], BUCKETS[3]]


# --- batches ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("paired", [False, True])
def test_parts_have_one_shape_and_hold_every_row_once(make_diffusion: Make, make_encoded: Make, paired: bool) -> None:
    batches = batches_of(make_encoded(make_diffusion()), paired=paired, size=12)
    plain = batches_of(make_encoded(make_diffusion(), sized=False), paired=paired, size=12)
    for step in range(6):
        assert sorted(batches.rows(step)) == sorted(plain.rows(step))
        for most in (1, 2, 3, 5, 12):
            for first, stop in ((0, 12), (0, 6), (6, 12)):
                parts = batches.parts(step, first, stop, most)
                assert (parts[0][0], parts[-1][1]) == (first, stop)
                assert all(a[1] == b[0] for a, b in pairwise(parts))
                assert all(0 < b - a <= max(most, 1 + paired) for a, b in parts)
                for a, b in parts:
                    shapes = [BUCKETS[row] for row in batches.rows(step)[a:b]]
                    assert len(set(shapes[::2])) == 1 and len(set(shapes[1::2])) <= 1
                    assert paired or len(set(shapes)) == 1
    whole = batches.parts(0, 0, 12, 12)
    assert len(whole) == len({tuple(BUCKETS[row] for row in batches.rows(0)[a : a + 1 + paired]) for a, _ in whole})
    assert plain.parts(0, 0, 12, 5) == ([(0, 4), (4, 8), (8, 12)] if paired else [(0, 5), (5, 10), (10, 12)])


def test_every_row_has_the_noise_and_time_that_it_has_alone(make_diffusion: Make, make_encoded: Make) -> None:
    batches = batches_of(make_encoded(make_diffusion()), size=24)
    rows, batch = batches.rows(2), batches.batch(2)
    seen: dict[int, int] = {}
    for row, (latent, _, noise, t) in zip(rows, rows_of(batch), strict=True):
        generator = seeded_generator(3, 2, f"image-{row}", seen.get(row, 0))
        seen[row] = seen.get(row, 0) + 1
        u = torch.rand((), generator=generator)
        torch.rand((), generator=generator)
        assert torch.equal(noise, torch.randn(latent.shape, generator=generator))
        assert t == batches.process.times(u[None])[0] and shape(latent) == BUCKETS[row]
    assert max(seen.values()) > 1
    for first, stop in batches.parts(2, 0, 24, 4):
        part = batches.batch(2, first, stop)
        for ours, theirs in zip(rows_of(part), rows_of(batch)[first:stop], strict=True):
            assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[2], theirs[2]) and ours[3] == theirs[3]


def test_two_shapes_of_a_pair_share_time_and_seed_of_the_noise(make_diffusion: Make, make_encoded: Make) -> None:
    batches = batches_of(make_encoded(make_diffusion()), paired=True, size=12)
    mixed = 0
    for step in range(4):
        rows = rows_of(batches.batch(step))
        for (latent, _, noise, t), (other, _, its_noise, its_t) in zip(rows[::2], rows[1::2], strict=True):
            assert t == its_t
            if latent.shape == other.shape:
                assert torch.equal(noise, its_noise)
            else:
                mixed += 1
                assert noise.shape == latent.shape and its_noise.shape == other.shape
    assert mixed > 3


# --- training ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("micro", [1, 3, 8])
@pytest.mark.parametrize(("kind", "paired"), [("epsilon", False), ("epsilon", True), ("xl-epsilon", False)])
def test_the_gradient_is_that_of_images_handled_alone(
    make_diffusion: Make, make_encoded: Make, make_training: Make, perturb: Make, kind: str, paired: bool, micro: int
) -> None:
    model, alone = make_diffusion(kind), make_diffusion(kind)
    for each in (model, alone):
        perturb(each, by=0.1)
    objective = DPO(beta=20.0) if paired else KTO(beta=20.0)
    training = make_training(model, "zero" if paired else "batch", micro_batch=micro)
    batches = batches_of(make_encoded(model), paired=paired, size=8)
    step = next(train(training, batches, objective))

    batch = batches.batch(0)
    assert isinstance(batch.latents, Ragged) and step.skipped == 0
    policy = torch.stack([error_alone(alone, *row) for row in rows_of(batch)])
    with torch.no_grad(), alone.reference():
        reference = torch.stack([error_alone(alone, *row) for row in rows_of(batch)])
    point = 0.0 if paired else max(0.0, float((reference - policy.detach()).mean()))
    judged = Judged(
        policy_error=policy,
        reference_error=reference,
        liked=batch.liked,
        weight=batch.weight,
        reference_point=torch.tensor(point),
        partner=batch.partner,
    )
    (objective(judged).sum() / 8).backward()
    expected = gradients(alone)
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(first_gradient(training), expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))
    assert step.policy_error == pytest.approx(float(policy.detach().double().mean()), rel=1e-5)


def weights(model: Any) -> Tensor:
    return torch.cat([weight.detach().flatten().clone() for _, weight in model.trainable()])


@pytest.mark.slow
@pytest.mark.parametrize("paired", [False, True])
def test_a_resume_is_bit_for_bit_with_many_shapes(
    make_diffusion: Make, make_encoded: Make, make_training: Make, tmp_path: Path, paired: bool
) -> None:
    def begin() -> tuple[Any, Training, Batches]:
        model = make_diffusion()
        training = make_training(model, "zero" if paired else "batch", micro_batch=2, steps=4, lr=1e-2)
        return model, training, batches_of(make_encoded(model, flips=True), paired=paired)

    objective = DPO(beta=20.0) if paired else KTO(beta=20.0)
    model, training, batches = begin()
    start = weights(model)
    list(train(training, batches, objective))
    _, half, same = begin()
    for step in train(half, same, objective):
        if step.step == 2:
            break
    save(half, tmp_path / "run")
    resumed, last, again = begin()
    assert restore_newest(last, tmp_path / "run")
    list(train(last, again, objective))
    assert torch.equal(weights(resumed), weights(model)) and not torch.equal(weights(model), start)


class OutOfMemory(RuntimeError):
    def __init__(self) -> None:
        super().__init__("CUDA out of memory")


@pytest.mark.slow
def test_parts_are_halved_from_the_largest_that_there_is(
    make_diffusion: Make, make_encoded: Make, make_training: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_diffusion()
    batches = batches_of(make_encoded(model), size=12)
    largest = max(stop - start for start, stop in batches.parts(0, 0, 12, 12))
    predict, tried = type(model).predict, []

    def short(self: Any, noisy: Tensor, *rest: Any) -> Tensor:
        tried.append(len(noisy))
        if len(noisy) >= largest:
            raise OutOfMemory
        return predict(self, noisy, *rest)

    monkeypatch.setattr(type(model), "predict", short)
    training = make_training(model, micro_batch=12, halve_parts=True, steps=1)
    list(train(training, batches, KTO(beta=1.0)))
    assert 1 < largest < 12 and tried.count(largest) == 1 and training.settings.micro_batch == largest // 2


# --- held-out images --------------------------------------------------------------------------------


@pytest.mark.slow
def test_held_out_images_are_measured_as_alone(
    make_diffusion: Make, make_encoded: Make, make_training: Make, perturb: Make
) -> None:
    model = make_diffusion()
    perturb(model)
    accelerator = make_training(model).accelerator
    whole = make_encoded(model)
    errors, rewards = mean_error(model, whole, accelerator, 3), implicit_reward(model, whole, accelerator, quiet, 3)
    for row in range(len(SIZES)):
        one = make_encoded(model, [row])
        torch.testing.assert_close(errors[row : row + 1], mean_error(model, one, accelerator), rtol=1e-4, atol=1e-5)
        reward = implicit_reward(model, one, accelerator, quiet)
        torch.testing.assert_close(rewards[row : row + 1], reward, rtol=1e-3, atol=1e-5)
    assert rewards.unique().numel() == len(SIZES)


# --- mirrored images --------------------------------------------------------------------------------


def test_mirrored_images_are_half_of_all_and_chosen_by_their_own_seed(make_diffusion: Make, make_encoded: Make) -> None:
    model = make_diffusion()
    plain, flipping = batches_of(make_encoded(model), size=24), batches_of(make_encoded(model, flips=True), size=24)
    mirrored = total = 0
    for step in range(4):
        ours, theirs = rows_of(flipping.batch(step)), rows_of(plain.batch(step))
        for row, one, other in zip(flipping.rows(step), ours, theirs, strict=True):
            assert torch.equal(one[2], other[2]) and one[3] == other[3]  # noise and time are as without
            turned = picture(row).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            expected = model.encode([turned], size=BUCKETS[row])[0]
            assert torch.equal(one[0], other[0]) != torch.equal(one[0], expected)
            mirrored, total = mirrored + torch.equal(one[0], expected), total + 1
        first, stop = flipping.parts(step, 0, 24, 4)[1]
        part = rows_of(flipping.batch(step, first, stop))
        assert all(torch.equal(a[0], b[0]) for a, b in zip(part, ours[first:stop], strict=True))
    assert abs(mirrored / total - 0.5) < 3 * math.sqrt(0.25 / total)
