"""Batches: randomness by (seed, step, image), shares that are kept, images encoded once."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from PIL.Image import Image
from refusals import refused

from thumbtune.models.plane import CENTRE, SCALE, Plane, image_of_point
from thumbtune.models.process import Latents
from thumbtune.models.protocol import Condition
from thumbtune.training.batch import Batch
from thumbtune.training.batches import Batches
from thumbtune.training.cache import Cache
from thumbtune.training.encoded import Encoded
from thumbtune.training.neighbours import neighbours
from thumbtune.training.sampling import seeded_generator

POINTS = [(i / 15, 1 - i / 15) for i in range(16)]
LIKED = [i % 4 != 0 for i in range(16)]  # 12 likes, 4 dislikes


class Wordy(Plane):
    """A Plane that is told the length of its prompt, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded = 0
        self.embedded: list[str] = []

    def encode(self, images: Sequence[Image]) -> Latents:
        self.encoded += len(images)
        return super().encode(images)

    def embed(self, prompts: Sequence[str]) -> Condition:
        self.embedded += prompts
        return {"text": torch.tensor([[float(len(prompt))] for prompt in prompts])}


def same(a: Batch, b: Batch) -> bool:
    tensors = [(getattr(a, name), getattr(b, name)) for name in ("latents", "noise", "t", "liked", "weight")]
    return all(torch.equal(x, y) for x, y in [*tensors, (a.condition["text"], b.condition["text"])])


def row(batch: Batch, k: int) -> Batch:
    return batch.only(torch.arange(len(batch)) == k)


@pytest.fixture
def batches(make_batches: Callable[..., Batches]) -> Batches:
    return make_batches(Plane(), POINTS, LIKED, size=8)


# --- randomness -----------------------------------------------------------------------------------


def test_a_counted_generator_is_a_function_of_its_parts() -> None:
    first = torch.randn(5, generator=seeded_generator(0, 3, "image"))
    torch.rand(7)  # whatever else is drawn
    assert torch.equal(first, torch.randn(5, generator=seeded_generator(0, 3, "image")))
    for parts in [(1, 3, "image"), (0, 4, "image"), (0, 3, "other"), (0, 3, "image", 0), (3, 0, "image")]:
        assert not torch.equal(first, torch.randn(5, generator=seeded_generator(*parts)))


def test_a_counted_generator_disturbs_no_other_randomness() -> None:
    torch.manual_seed(0)
    undisturbed = torch.rand(3)
    torch.manual_seed(0)
    torch.rand(9, generator=seeded_generator(1, 2))
    assert torch.equal(torch.rand(3), undisturbed)


def test_a_row_is_the_same_however_the_batch_is_cut(batches: Batches) -> None:
    for step in (0, 1, 17):
        whole = batches.batch(step)
        assert len(whole) == 8
        for k in range(8):
            assert same(batches.batch(step, k, k + 1), row(whole, k))
        half = batches.batch(step, 4, 8)
        assert all(same(row(half, k), row(whole, 4 + k)) for k in range(4))


def test_two_builds_of_the_same_batches_agree_and_another_seed_or_step_does_not(
    make_batches: Callable[..., Batches],
) -> None:
    one, two = (make_batches(Plane(), POINTS, LIKED, seed=5) for _ in range(2))
    assert same(one.batch(3), two.batch(3))
    assert not torch.equal(one.batch(3).noise, one.batch(4).noise)
    other = make_batches(Plane(), POINTS, LIKED, seed=6)
    assert not torch.equal(one.batch(3).noise, other.batch(3).noise)
    assert one.rows(3) != other.rows(3) or one.rows(4) != other.rows(4)


@pytest.mark.slow
def test_an_image_gets_the_same_noise_in_larger_batches_of_other_images(make_batches: Callable[..., Batches]) -> None:
    small = make_batches(Plane(), POINTS, LIKED, size=4)
    large = make_batches(Plane(), POINTS, LIKED, size=64)
    found = 0
    for step in range(5):
        wide, narrow = large.rows(step), small.rows(step)
        for k, image in enumerate(narrow):
            if image in wide and image not in narrow[:k]:
                where = wide.index(image)
                assert torch.equal(small.batch(step).noise[k], large.batch(step).noise[where])
                assert small.batch(step).t[k] == large.batch(step).t[where]
                found += 1
    assert found > 5


def test_an_image_drawn_twice_in_a_step_gets_other_noise_the_second_time(make_batches: Callable[..., Batches]) -> None:
    batch = make_batches(Plane(), POINTS[:2], [True, False], size=16).batch(0)
    assert batch.noise.unique(dim=0).shape == batch.noise.shape


def test_two_thumbs_of_the_same_image_in_a_step_get_different_noise(make_batches: Callable[..., Batches]) -> None:
    """Two raters who disagree: one image, two rows, one image id."""
    batch = make_batches(Plane(), [POINTS[0]] * 2, [True, False], ids=["same", "same"], size=16).batch(0)
    assert batch.noise.unique(dim=0).shape == batch.noise.shape


@pytest.mark.slow
def test_noise_is_normal_and_times_cover_the_schedule(make_batches: Callable[..., Batches]) -> None:
    batch = make_batches(Plane(), POINTS, LIKED, size=4000).batch(0)
    # four standard errors: 4 / sqrt(8000) = 0.045 of a mean, 4 * sqrt(2 / 8000) = 0.063 of a variance
    assert abs(batch.noise.mean()) < 0.045
    assert abs(batch.noise.var() - 1) < 0.063
    counts = torch.bincount(batch.t, minlength=100).double()
    # 100 cells of 40: chi square with 99 degrees of freedom has mean 99 and standard deviation 14.1
    assert ((counts - 40) ** 2 / 40).sum() < 99 + 4 * 14.1


# --- which images ---------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_the_share_of_likes_is_kept_over_many_steps_whatever_the_thumbs_at_hand(
    make_batches: Callable[..., Batches], share: float
) -> None:
    batches = make_batches(Plane(), POINTS, LIKED, liked_share=share, size=20)
    drawn = [LIKED[i] for step in range(200) for i in batches.rows(step)]
    # 4000 draws: four standard deviations of a binomial share
    assert abs(sum(drawn) / 4000 - share) < 4 * math.sqrt(share * (1 - share) / 4000)


def test_images_of_one_side_are_drawn_evenly(make_batches: Callable[..., Batches]) -> None:
    batches = make_batches(Plane(), POINTS, LIKED, liked_share=0.75, size=20)
    drawn = [i for step in range(200) for i in batches.rows(step)]
    # 12 of 16 liked at share 0.75: every image has 1/16 of 4000 = 250 draws, give or take 15.3
    assert all(abs(drawn.count(i) - 250) < 4 * 15.4 for i in range(16))


def test_a_liked_share_of_1_draws_likes_only(make_batches: Callable[..., Batches]) -> None:
    batches = make_batches(Plane(), POINTS, LIKED, liked_share=1.0)
    assert all(LIKED[i] for step in range(100) for i in batches.rows(step))
    assert make_batches(Plane(), POINTS, [True] * 16, liked_share=1.0).batch(0).liked.all()


@pytest.mark.parametrize(("liked", "share"), [(True, 0.8), (False, 0.8), (False, 1.0), (True, 0.0)])
def test_thumbs_of_one_kind_are_refused_where_both_are_needed(
    make_batches: Callable[..., Batches], liked: bool, share: float
) -> None:
    code, counts = ("likes-no-dislikes", "16 likes and 0 dis") if liked else ("likes-no-likes", "0 likes and 16 dis")
    with refused(code, naming=counts) as caught:
        make_batches(Plane(), POINTS, [liked] * 16, liked_share=share)
    assert ("objective.name to sft" in str(caught.value)) == liked


def test_rows_carry_the_latents_thumbs_and_weights_of_their_images(make_batches: Callable[..., Batches]) -> None:
    weights = [1 + i / 4 for i in range(16)]
    batches = make_batches(Plane(), POINTS, LIKED, weights=weights)
    rows, batch = batches.rows(2), batches.batch(2)
    assert batch.liked.tolist() == [LIKED[i] for i in rows]
    assert batch.weight.tolist() == [weights[i] for i in rows]
    # an image holds its point in steps of 1/255
    points = (torch.tensor([POINTS[i] for i in rows]) - CENTRE) * SCALE
    torch.testing.assert_close(batch.latents, points, rtol=0, atol=SCALE / 255)


def test_only_keeps_the_rows_asked_for(batches: Batches) -> None:
    batch = batches.batch(0)
    keep = torch.tensor([True, False] * 4)
    some = batch.only(keep)
    assert len(some) == 4
    assert torch.equal(some.t, batch.t[::2]) and torch.equal(some.condition["text"], batch.condition["text"][::2])
    assert len(batch.only(torch.zeros(8, dtype=torch.bool))) == 0
    assert same(batch.to(torch.device("cpu")), batch)


# --- prompts --------------------------------------------------------------------------------------


def test_prompts_reach_their_own_images(make_batches: Callable[..., Batches]) -> None:
    prompts = ["x" * (i + 1) for i in range(16)]
    batches = make_batches(Wordy(), POINTS, LIKED, prompts=prompts)
    assert batches.batch(1).condition["text"][:, 0].tolist() == [i + 1 for i in batches.rows(1)]


def test_prompts_are_dropped_at_their_rate_and_then_empty(make_batches: Callable[..., Batches]) -> None:
    batches = make_batches(Wordy(), POINTS, LIKED, prompts=["xyz"] * 16, prompt_dropout=0.25, size=2000)
    lengths = batches.batch(0).condition["text"][:, 0]
    assert set(lengths.tolist()) == {0.0, 3.0}
    assert abs((lengths == 0).double().mean() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 2000)


@pytest.mark.slow
@pytest.mark.parametrize(("bias", "mean"), [(1.0, 0.5), (2.0, 2 / 3), (0.5, 1 / 3)])
def test_a_bias_towards_noise_moves_the_mean_time_as_its_density_says(
    make_batches: Callable[..., Batches], bias: float, mean: float
) -> None:
    """The density bias * u ** (bias - 1) has the mean bias / (bias + 1)."""
    batches = make_batches(Wordy(), POINTS, LIKED, timestep_bias=bias, size=4000)
    times = batches.batch(0).t.double() / len(batches.process.alphas_cumprod)
    assert abs(times.mean() - mean) < 4 * 0.3 / math.sqrt(4000) + 1 / len(batches.process.alphas_cumprod)


def test_dropping_prompts_changes_neither_noise_nor_times(make_batches: Callable[..., Batches]) -> None:
    kept, dropped = (make_batches(Wordy(), POINTS, LIKED, prompt_dropout=p).batch(0) for p in (0.0, 0.9))
    assert torch.equal(kept.noise, dropped.noise) and torch.equal(kept.t, dropped.t)


# --- encoding -------------------------------------------------------------------------------------


def test_images_and_prompts_are_encoded_once(make_batches: Callable[..., Batches]) -> None:
    model = Wordy()
    make_batches(model, POINTS, LIKED, prompts=["a", "b"] * 8)
    assert model.encoded == 16
    assert sorted(model.embedded) == ["", "a", "b"]
    again = Wordy()
    make_batches(again, POINTS, LIKED, prompts=["a", "b"] * 8)
    assert again.encoded == 0 and again.embedded == []


def test_one_more_image_is_the_only_one_encoded(make_batches: Callable[..., Batches]) -> None:
    make_batches(Wordy(), POINTS[:15], LIKED[:15])
    model = Wordy()
    make_batches(model, POINTS, LIKED)
    assert model.encoded == 1


def test_another_model_does_not_find_the_latents_of_the_first(make_batches: Callable[..., Batches]) -> None:
    class Other(Wordy):
        def fingerprint(self) -> str:
            return "other"

    make_batches(Wordy(), POINTS, LIKED)
    other = Other()
    make_batches(other, POINTS, LIKED)
    assert other.encoded == 16


def test_a_damaged_latent_gets_a_sentence_and_the_next_run_makes_it_again(
    make_likes: Callable[..., Any], tmp_path: Path
) -> None:
    likes = make_likes([image_of_point(x, y) for x, y in POINTS], LIKED)
    cache = Cache(tmp_path)
    encoded = Encoded(likes, Plane(), cache).fill()
    before = encoded.latents(range(16))
    (pack,) = tmp_path.glob("*.pack")
    pack.write_bytes(bytes(byte ^ 1 for byte in pack.read_bytes()))
    for rows in range(16):
        with refused("cache-damaged", naming=tmp_path):
            encoded.latents([rows])
    again = Encoded(likes, Plane(), cache).fill()
    assert torch.equal(again.latents(range(16)), before)


def test_progress_sees_every_chunk(make_likes: Callable[..., Any], tmp_path: Path) -> None:
    seen: list[tuple[int, str]] = []

    def progress(chunks: Any, what: str) -> Any:
        for chunk in chunks:
            seen.append((len(chunk), what))
            yield chunk

    likes = make_likes([image_of_point(x, y) for x, y in POINTS], LIKED)
    Encoded(likes, Plane(), Cache(tmp_path)).fill(progress, at_once=10)
    assert seen == [(10, "Encoding images"), (6, "Encoding images")]


def test_mismatched_gives_every_image_the_next_other_prompt_and_nothing_else_of_another(
    make_diffusion: Any, make_likes: Any, tmp_path: Path
) -> None:
    model = make_diffusion()
    noise = np.random.default_rng(0)
    images = [Pillow.fromarray(noise.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(6)]
    likes = make_likes(images, [True, False] * 3, prompts=["a", "a", "b", "c", "c", "b"])
    encoded = Encoded(likes, model, Cache(tmp_path / "cache")).fill()
    batches = Batches(encoded=encoded, process=model.process, size=8, liked_share=0.5, prompt_dropout=0.3)
    for step in range(4):
        own, other = batches.batch(step), batches.batch(step, mismatched=True)
        for name in ("latents", "noise", "t", "liked", "weight"):
            assert torch.equal(getattr(own, name), getattr(other, name))
        prompts = [encoded.prompts[row] for row in batches.rows(step)]
        expected = neighbours(prompts)
        assert all(a != b for a, b in zip(prompts, expected, strict=True))
        assert torch.equal(other.condition["text"], encoded.condition(expected)["text"])
        part = batches.batch(step, 3, 6, mismatched=True)
        assert torch.equal(part.condition["text"], other.condition["text"][3:6])


def test_neighbours_go_round_and_never_pair_an_image_with_its_own_prompt() -> None:
    assert neighbours(["a", "a", "b", "a"]) == ["b", "b", "a", "b"]
    assert neighbours(["a", "a"], ["a", "c", "b"]) == ["c", "c"]
    with refused("likes-one-prompt", naming=["'a'", "objective.reference_point"]):
        neighbours(["a", "a"])


def test_a_batch_of_one_prompt_borrows_another_prompt_of_the_likes(
    make_diffusion: Any, make_likes: Any, tmp_path: Path
) -> None:
    images = [Pillow.new("RGB", (16, 16), (40 * i, 0, 0)) for i in range(5)]
    likes = make_likes(images, [True, False] * 2 + [True], prompts=["a", "b", "c", "d", "e"])
    model = make_diffusion()
    encoded = Encoded(likes, model, Cache(tmp_path / "cache")).fill()
    batches = Batches(encoded=encoded, process=model.process, size=1, liked_share=0.5)
    lent = []
    for step in range(12):
        own = encoded.prompts[batches.rows(step)[0]]
        text = batches.batch(step, mismatched=True).condition["text"]
        (other,) = [p for p in encoded.prompts if torch.equal(text, encoded.condition([p])["text"])]
        assert other != own
        lent.append(other)
    assert len(set(lent)) > 2
