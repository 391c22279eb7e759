"""The window of noise levels of disliked images: the density without it, restricted; likes stay as they are."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from refusals import refused
from torch import Tensor

from thumbtune.models.noise_levels import NoiseLevels
from thumbtune.models.plane import Plane
from thumbtune.models.process import DynamicShift, FlowProcess, Process, VPProcess
from thumbtune.models.window import inside, place_of
from thumbtune.runs.recipe import read_recipe, recipe_text

POINTS = [(i / 16, 1 - i / 16) for i in range(16)]
LIKED = [i % 4 != 0 for i in range(16)]
VP = VPProcess(torch.linspace(0.99, 0.01, 1000))
PROCESSES: dict[str, Process] = {
    "vp": VP,
    "uniform": FlowProcess(density="uniform"),
    "logit-normal, shifted": FlowProcess(shift=3.0, logit_mean=0.3, logit_std=0.8),
    "mode": NoiseLevels(density="mode", shift=1.5).on(FlowProcess()),
}
UNIFORM = torch.rand(4000, generator=torch.Generator().manual_seed(3))

MakeBatches = Callable[..., Any]


def shares(process: Process, uniform: Tensor, positions: Tensor | None = None) -> Tensor:
    return process.share(process.times(uniform, positions))


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("bias", [1.0, 3.0, 0.5])
def test_inside_a_window_levels_are_as_frequent_as_without_one(name: str, bias: float) -> None:
    """The quantiles of those of many draws without a window that fall into it, by the definition of a restriction."""
    process, (low, high) = PROCESSES[name], (0.4, 0.7)
    grid = (torch.arange(2_000_000).double() + 0.5) / 2_000_000
    free = shares(process, grid ** (1 / bias))
    kept = free[(free >= low) & (free < high)]
    ours = shares(process, inside((low, high), process, UNIFORM, bias))
    assert (ours >= low).all() and (ours < high).all()
    expected = kept[(UNIFORM * len(kept)).long()]
    assert (ours - expected).abs().max() < 2e-3  # a time of a VP process is 1e-3


def test_the_largest_uniform_number_is_below_the_upper_end_of_a_window() -> None:
    last = torch.tensor([1 - 2**-24])  # float32 has none between it and 1
    assert VP.times(inside((0.5, 0.75), VP, last)).tolist() == [749]


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("bias", [1.0, 3.0, 0.5])
def test_rounding_carries_no_level_over_the_ends_of_a_window(name: str, bias: float) -> None:
    process, ends = PROCESSES[name], torch.tensor([0.0, 2**-24, 0.5, 1 - 2**-23, 1 - 2**-24])
    for place in range(4, 19):  # of 20: the logit-normal density has no levels at the ends
        low, high = place / 20, (place + 1) / 20
        ours = shares(process, inside((low, high), process, ends, bias))
        assert (ours >= low).all() and (ours < high).all(), (low, high)


@pytest.mark.parametrize("name", PROCESSES)
def test_the_whole_window_changes_only_rounding(name: str) -> None:
    process = PROCESSES[name]
    biased = UNIFORM ** (1 / 3)
    assert (inside((0.0, 1.0), process, UNIFORM, 3.0) - biased).abs().max() < 1e-6


def test_the_place_of_a_level_is_the_inverse_of_the_times_by_hand() -> None:
    assert place_of(VP, 0.3, 2).tolist() == pytest.approx([0.3, 0.3])
    # sigma = 3 u / (1 + 2 u), so u = sigma / (3 - 2 sigma)
    flow = FlowProcess(density="uniform", shift=3.0)
    assert place_of(flow, 0.6, 1).item() == pytest.approx(0.6 / 1.8, rel=1e-6)
    # logit-normal: u = Phi(logit(sigma))
    normal = 0.5 * (1 + math.erf(math.log(0.8 / 0.2) / math.sqrt(2)))
    assert place_of(FlowProcess(), 0.8, 1).item() == pytest.approx(normal, rel=1e-6)
    assert place_of(FlowProcess(density="uniform"), 1.0, 1).item() == 1


def test_a_shift_by_size_gives_each_image_a_place_of_its_own() -> None:
    flow = FlowProcess(density="uniform", shift=DynamicShift())
    positions = torch.tensor([256, 4096])
    sigma = shares(flow, inside((0.5, 0.9), flow, torch.tensor([0.0, 0.0]), 1.0, positions), positions)
    assert sigma.tolist() == pytest.approx([0.5, 0.5], abs=1e-5)
    places = place_of(flow, 0.5, 2, positions)
    shift = [math.exp(0.5), math.exp(1.15)]
    assert places.tolist() == pytest.approx([0.5 / (one - 0.5 * (one - 1)) for one in shift], rel=1e-5)


def test_dislikes_lie_in_their_window_and_nothing_else_moves(make_batches: MakeBatches) -> None:
    options: dict[str, Any] = {"size": 400, "timestep_bias": 2.0}
    free = make_batches(Plane(), POINTS, LIKED, **options)
    windowed = make_batches(Plane(), POINTS, LIKED, disliked_timesteps=(0.5, 0.75), **options)
    for step in (0, 3):
        one, other = free.batch(step), windowed.batch(step)
        assert torch.equal(one.noise, other.noise) and torch.equal(one.liked, other.liked)
        assert torch.equal(one.t[one.liked], other.t[one.liked])
        disliked = other.t[~one.liked]
        assert (disliked >= 50).all() and (disliked < 75).all()
        # the same uniform numbers: a later time without the window is a later one, or the same, with it
        order = one.t[~one.liked].argsort()
        assert (disliked[order].diff() >= -1).all() and len(disliked.unique()) > 10
        assert torch.equal(windowed.batch(step, 7, 9).t, other.t[7:9])  # however the batch is cut


def test_the_default_is_the_whole_process_bit_for_bit(make_batches: MakeBatches) -> None:
    one = make_batches(Plane(), POINTS, LIKED, timestep_bias=3.0).batch(2)
    other = make_batches(Plane(), POINTS, LIKED, timestep_bias=3.0, disliked_timesteps=(0.0, 1.0)).batch(2)
    assert torch.equal(one.t, other.t)


def test_pairs_share_one_time_and_so_refuse_a_window(make_batches: MakeBatches) -> None:
    with refused("timesteps-of-pairs", naming=["train.disliked_timesteps", "pair"]):
        make_batches(Plane(), POINTS, LIKED, prompts=["a"] * 16, paired=True, disliked_timesteps=(0.5, 1.0))
    for name, why in (("dpo", "both images of a pair share one time"), ("sft", "from likes alone")):
        with refused("option-unused", naming=[name, "train.disliked_timesteps", why, "[0.0, 1.0]"]):
            read_recipe(None, [f"objective.name={name}", "train.disliked_timesteps=[0.5, 1]"])


@pytest.mark.parametrize(
    "text", ["[0.5]", "[1, 0.5]", "[0.5, 0.5]", "[-0.1, 1]", "[0, 1.1]", "0.5", "[yes, 1]", "[a, 1]"]
)
def test_other_windows_are_refused(text: str) -> None:
    with refused("recipe-value", naming=["train.disliked_timesteps", "should be"]):
        read_recipe(None, [f"train.disliked_timesteps={text}"])


def test_a_window_is_written_and_read_again() -> None:
    recipe = read_recipe(None, ["train.disliked_timesteps=[0.5, 1]"])
    assert recipe.train.disliked_timesteps == [0.5, 1.0]
    assert "disliked_timesteps: [0.5, 1.0]" in recipe_text(recipe)
    assert "disliked_timesteps: [0.0, 1.0]" in recipe_text(read_recipe(None, ["objective.beta=250"]))
