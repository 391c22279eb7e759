"""The vector world: the person's truth by hand, and shares of the true distribution against closed forms."""

import math

import pytest
import torch
from scipy.stats import chi2, norm

from thumbtune.experiments import vector_world as world
from thumbtune.experiments.vector_world import contents, is_liked, is_sound, labels, measures, rated
from thumbtune.training.sampling import seeded_generator

MANY = 240_000
STYLE_3, STYLE_4 = [0.0, -1.6, 0.0], [0.0, 0.0, 1.6]
# in truth: modes are 9 sd and more apart, so the nearest mode is the one that was drawn
SOUND = (1 - math.exp(-(3.5**2) / 2)) * chi2.cdf(16, 3) * chi2.cdf(30, 3)
LIKED_IF_WANTED, LIKED_IF_NOT = norm.cdf(1.0), norm.cdf(-2.5 / 1.5)  # 2 + 1.5 a > 0.5, and -2 + 1.5 a > 0.5
LIKED = sum(share * LIKED_IF_WANTED + (1 - share) * LIKED_IF_NOT for share in (0.15, 0.10)) / 2


def sample(prompt: int, style: list[float], attribute: float) -> torch.Tensor:
    return torch.tensor([[*contents()[prompt].tolist(), *style, attribute, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("prompt", "style", "attribute", "feeling"),
    [
        (0, STYLE_3, -1.0, 3.5),  # bits 0, 0: the fourth mode, a negative attribute
        (0, STYLE_3, 1.0, 0.5),
        (0, STYLE_4, -1.0, -0.5),
        (1, STYLE_4, -1.0, 3.5),  # bits 1, 0: the fifth mode
        (1, STYLE_3, -2.0, 1.0),
        (2, STYLE_3, 1.0, 3.5),  # bits 0, 1: the sign turns
        (2, STYLE_3, -1.0, 0.5),
        (3, STYLE_4, 1.0, 3.5),
        (3, STYLE_4, -3.0, -2.5),
        (7, STYLE_4, 1.0, 3.5),  # the third bit changes nothing of the person
    ],
)
def test_the_person_by_hand(prompt: int, style: list[float], attribute: float, feeling: float) -> None:
    x, k = sample(prompt, style, attribute), torch.tensor([prompt])
    assert float(world.feeling(x, k)) == pytest.approx(feeling)
    assert bool(is_liked(x, k)) is (feeling > 0.5)
    chance = labels(x.expand(20_000, -1), k.expand(20_000), seeded_generator("hand")).double().mean()
    assert float(chance) == pytest.approx(1 / (1 + math.exp(0.5 - feeling)), abs=0.012)


def test_soundness_by_hand() -> None:
    k = torch.tensor([5])
    whole = sample(5, STYLE_3, 0.0)

    def moved(place: int, by: float) -> bool:
        return bool(is_sound(whole + by * torch.eye(8)[place], k))

    assert moved(0, 0.87) and not moved(0, 0.88)  # 3.5 * 0.25 = 0.875
    assert moved(4, 0.99) and not moved(4, 1.01)  # 4 * 0.25 = 1
    assert moved(7, 5.47) and not moved(7, 5.48)  # the root of 30 is 5.477
    assert not moved(3, math.nan) and not moved(0, math.inf)
    assert not is_sound(whole, torch.tensor([6]))  # the content of another prompt


def test_true_samples_have_the_shares_of_the_closed_forms() -> None:
    prompts = rated(False).repeat(MANY // 24)
    found = measures(world.true_samples(prompts, seeded_generator("true")), prompts)
    assert found.sound == pytest.approx(SOUND, abs=5e-4)
    assert found.like == pytest.approx(LIKED * SOUND, abs=0.003)
    assert found.style == pytest.approx(0.125, abs=0.003)
    assert found.attribute == pytest.approx(0.0, abs=0.01)
    assert found.spread == pytest.approx(1.0, abs=0.006)


def test_the_ceiling_is_liked_wherever_it_is_sound() -> None:
    prompts = rated(False).repeat(MANY // 24 // 4)
    found = measures(world.liked_true_samples(prompts, seeded_generator("asked")), prompts)
    # the wanted style given a like, for either bit
    wanted = sum(p * LIKED_IF_WANTED / (p * LIKED_IF_WANTED + (1 - p) * LIKED_IF_NOT) for p in (0.15, 0.10)) / 2
    assert found.like == found.sound == pytest.approx(SOUND, abs=1e-3)
    assert found.style == pytest.approx(wanted, abs=0.006)
    assert found.spread == pytest.approx(1.0, abs=0.01)


def test_a_draw_that_is_given_a_like_is_of_the_same_distribution_as_a_true_sample_that_is_liked() -> None:
    prompts = torch.full((40_000,), 4)
    drawn = world.true_samples(prompts, seeded_generator("one"))
    liked = drawn[is_liked(drawn, prompts)]
    ceiling = world.liked_true_samples(prompts[:6000], seeded_generator("two"))
    assert torch.allclose(liked.mean(0), ceiling.mean(0), atol=0.05)
    assert torch.allclose(liked.std(0), ceiling.std(0), atol=0.05)


def test_both_bits_are_as_frequent_among_rated_and_unrated_prompts() -> None:
    assert sorted([*rated().tolist(), *rated(False).tolist()]) == list(range(48))
    for some in (rated(), rated(False)):
        pairs = [(k & 1, k >> 1 & 1) for k in some.tolist()]
        assert {pair: pairs.count(pair) for pair in pairs} == {(a, b): 6 for a in (0, 1) for b in (0, 1)}
    told = world.embeddings()
    assert torch.equal(told[:, -2] > 0, torch.arange(48) % 2 == 1)
    assert torch.equal(told[:, -1] > 0, torch.arange(48) // 2 % 2 == 1)


def test_samples_that_are_not_sound_count_for_nothing() -> None:
    prompts = torch.tensor([0, 0])
    gone = torch.full((2, 8), math.nan)
    found = measures(gone, prompts)
    assert (found.like, found.sound, found.attribute, found.spread) == (0, 0, 0, 0)
