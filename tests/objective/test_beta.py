"""Beta that sets itself: where it begins, how slowly it moves, that gains end in the band for all kinds of errors."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from thumbtune.models.plane import Plane
from thumbtune.models.process import FlowProcess, VPProcess
from thumbtune.objective.baselines import BCO, SFT
from thumbtune.objective.beta import BAND, MEMORY, MIN_BETA, RATE, START, Auto, Beta, Fixed
from thumbtune.objective.kto import KTO
from thumbtune.runs import objectives
from thumbtune.runs.recipe import Recipe, read_recipe, write_recipe
from thumbtune.training.batches import Batches
from thumbtune.training.trainer import Training, train

GENERATOR = torch.Generator().manual_seed(5)
POINTS = (0.5 + 0.2 * torch.randn(40, 2, generator=GENERATOR)).clamp(0, 1).tolist()
RIGHT = [x > 0.5 for x, _ in POINTS]


def begun(error: float = 0.5) -> Auto:
    auto = Auto()
    auto.before(torch.full((4,), error))
    return auto


def shown(auto: Auto, distances: list[float], error: float = 0.5) -> list[float]:
    """The betas of steps whose images all have these |log_ratio - reference_point|."""
    betas = []
    for distance in distances:
        betas.append(auto.before(None))
        auto.after(torch.full((4,), distance), torch.full((4,), error))
    return [beta for beta in betas if beta is not None]


def test_both_rules_are_betas_and_a_fixed_one_leaves_the_objective_alone() -> None:
    assert isinstance(Fixed(), Beta) and isinstance(Auto(), Beta)
    fixed = Fixed()
    fixed.after(torch.ones(2), torch.ones(2))
    fixed.restore(fixed.state())
    assert fixed.before(torch.ones(2)) is None and not fixed.looks and fixed.state() == {}


def test_the_first_beta_is_that_of_the_reference_s_mean_error_and_no_later_error_moves_it() -> None:
    auto = Auto()
    assert auto.looks
    assert auto.before(torch.tensor([0.01, 0.03])) == pytest.approx(START / 0.02)
    assert not auto.looks
    assert auto.before(torch.tensor([5.0])) == pytest.approx(START / 0.02)


def test_without_a_finite_image_there_is_no_beta_yet() -> None:
    auto = Auto()
    assert auto.before(torch.tensor([])) is None and auto.before(None) is None and auto.looks
    auto.after(torch.tensor([]), torch.tensor([]))
    assert auto.state() == Auto().state()


@pytest.mark.parametrize("distance", [0.0, 1e-8, 4e-7])
def test_beta_waits_while_log_ratios_are_nothing_but_rounding(distance: float) -> None:
    assert shown(begun(), [distance] * 50) == [START / 0.5] * 50


@pytest.mark.parametrize(("distance", "factor"), [(1e-6, 1 + RATE), (1e-3, 1 + RATE), (1e3, 1 / (1 + RATE))])
def test_a_step_changes_beta_by_two_per_cent_at_most(distance: float, factor: float) -> None:
    betas = shown(begun(), [distance] * 20)
    assert all(after / before == pytest.approx(factor) for before, after in pairwise(betas))


@pytest.mark.parametrize(("distance", "gain"), [(0.002, BAND[0]), (0.5, BAND[1])])
def test_beta_stops_where_the_median_gain_enters_the_band(distance: float, gain: float) -> None:
    beta = shown(begun(), [distance] * 400)[-1]
    assert beta * distance == pytest.approx(gain)


def test_gains_of_another_scale_are_those_of_a_beta_that_is_as_many_times_as_high() -> None:
    distances = [10 ** (-4 + i / 20) for i in range(80)]
    four = Auto(scale=4.0)
    four.before(torch.full((4,), 0.5))
    assert four.value == 4 * START / 0.5 and four.least == 4 * MIN_BETA / 0.5
    assert shown(four, distances) == pytest.approx([4 * beta for beta in shown(begun(), distances)])
    recipe = read_recipe(None, ["objective.gain_scale=4"])
    found = objectives.beta_of(recipe, objectives.objective_of(recipe))
    assert isinstance(found, Auto) and found.scale == 4


def test_a_policy_that_runs_away_does_not_take_beta_along() -> None:
    betas = shown(begun(), [0.01 * 1.05**i for i in range(400)])
    assert betas[-1] == betas[-50] == MIN_BETA / 0.5 < betas[0]  # an error that has trebled is a gain of 1


def test_inside_the_band_beta_rests() -> None:
    assert set(shown(begun(), [0.08, 0.12, 0.2, 0.1, 0.22] * 10)) == {START / 0.5}


def test_the_median_of_past_batches_counts_not_the_mean_of_the_images() -> None:
    """One image a thousand times off moves a mean, and must not move beta; nor must one batch in ten for long."""
    auto = begun()
    auto.after(torch.tensor([0.12, 0.12, 60.0]), torch.full((3,), 0.5))
    assert auto.value == START / 0.5
    auto.after(torch.tensor([0.12, 0.12, 0.12]), torch.full((3,), 0.5))
    for value, rows in ((0.12, 10), (0.5, 1)):
        for _ in range(rows):
            auto.after(torch.full((3,), value), torch.full((3,), 0.5))
    assert auto.value == START / 0.5
    # by hand: mean = 0.9 log 0.12 + 0.1 log 0.5, which is a gain of 0.55
    logs = MEMORY * torch.tensor(0.12).log() + (1 - MEMORY) * torch.tensor(0.5).log()
    assert START / 0.5 * float(torch.exp(logs)) == pytest.approx(0.554, abs=0.01)


@pytest.mark.parametrize("scale", [2.0**-10, 2.0**7])
def test_errors_of_another_size_give_another_beta_and_the_same_gains(scale: float) -> None:
    distances = [10 ** (-4 + i / 20) for i in range(80)]
    one = shown(begun(0.5), distances)
    other = shown(begun(0.5 * scale), [d * scale for d in distances], 0.5 * scale)
    assert [beta * scale for beta in other] == pytest.approx(one, rel=1e-6)
    assert len(set(one)) > 20


def test_a_restored_rule_goes_on_as_if_never_stopped() -> None:
    distances = [0.001 * 1.1**i for i in range(60)]
    whole, first, second = begun(), begun(), Auto()
    expected = shown(whole, distances)
    early = shown(first, distances[:25])
    second.restore(first.state())
    assert early + shown(second, distances[25:]) == expected and len(set(expected)) > 20


def test_after_a_refresh_the_old_log_ratios_are_forgotten_and_beta_stays() -> None:
    auto = begun()
    shown(auto, [3.0] * 30)
    beta = auto.value
    auto.forget()
    assert auto.before(None) == beta and auto.state() == {
        "value": beta,
        "least": MIN_BETA / 0.5,
        "mean": 0.0,
        "weight": 0.0,
    }
    auto.after(torch.full((4,), 1 / beta), torch.full((4,), 0.5))  # a gain of 1: what came before would lower beta
    assert auto.value == beta


# --- in training ----------------------------------------------------------------------------------


class Any2D(Plane):
    """A plane under a process of one's choice, fitted to it."""

    def under(self, process: Any) -> "Any2D":
        self.process = process
        clean = (torch.tensor(POINTS) - 0.5) * 4
        generator = torch.Generator().manual_seed(0)
        optimizer = torch.optim.Adam(self.denoiser.parameters(), 3e-3)
        for _ in range(400):
            x = clean[torch.randint(len(clean), (128,), generator=generator)]
            t = process.times(torch.rand(128, generator=generator))
            noise = torch.randn(x.shape, generator=generator)
            out = self.denoiser(process.noised(x, noise, t), t)
            optimizer.zero_grad()
            (out - process.target(x, noise, t)).pow(2).mean().backward()
            optimizer.step()
        self.begin()
        return self


def processes() -> dict[str, Any]:
    alphas = Plane().process.alphas_cumprod
    return {
        "epsilon": VPProcess(alphas, "epsilon"),
        "v": VPProcess(alphas, "v_prediction"),
        "flow": FlowProcess(),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "objective"),
    [
        ("flow", KTO()),
        *(pytest.param(*both, marks=pytest.mark.slow) for both in (("epsilon", KTO()), ("v", KTO()), ("flow", BCO()))),
    ],
)
def test_gains_come_to_the_band_for_every_kind_of_error(
    make_batches: Callable[..., Batches], make_training: Callable[..., Training], kind: str, objective: Any
) -> None:
    plane = Any2D().under(processes()[kind])
    training = make_training(plane, auto=True, steps=100, micro_batch=24, lr=1e-3, max_grad_norm=1.0)
    steps = list(train(training, make_batches(plane, POINTS, RIGHT, size=24), objective))
    error = steps[0].reference_error
    assert error is not None and steps[0].beta == pytest.approx(START / error)
    assert steps[0].gain == 0
    medians = sorted(step.gain for step in steps[-30:] if step.gain is not None)
    # a single batch's median swings round that of many
    assert BAND[0] < medians[15] < 1.25 * BAND[1]
    betas = [step.beta for step in steps if step.beta is not None]
    assert all(1 / (1 + RATE) - 1e-9 <= b / a <= 1 + RATE + 1e-9 for a, b in pairwise(betas))


def gradient(training: Training) -> Tensor:
    """AdamW's first moment after one step is a tenth of the gradient."""
    slots = training.optimizer.state_dict()["state"]
    return torch.cat([slots[i]["exp_avg"].flatten() for i in range(len(slots))]) / 0.1


def test_micro_batches_add_up_with_a_beta_of_the_whole_batch(
    make_plane: Callable[..., Plane], make_batches: Callable[..., Batches], make_training: Callable[..., Training]
) -> None:
    plane = make_plane(drift=0.03)
    fixed = make_training(plane)
    batches = make_batches(plane, POINTS, RIGHT)
    first = next(train(fixed, batches, KTO(beta=1.0)))
    assert first.reference_error is not None
    beta = START / first.reference_error
    whole = make_training(make_plane(drift=0.03))
    expected = next(train(whole, batches, KTO(beta=beta)))
    for micro_batch in (8, 3, 1):
        training = make_training(make_plane(drift=0.03), auto=True, micro_batch=micro_batch)
        step = next(train(training, make_batches(training.model, POINTS, RIGHT), KTO(beta=1.0)))
        assert step.beta == pytest.approx(beta, rel=1e-5)
        assert step.gain == pytest.approx(expected.gain, rel=1e-4) and step.gain
        assert (gradient(training) - gradient(whole)).norm() / gradient(whole).norm() < 1e-5


# --- recipes --------------------------------------------------------------------------------------

OWN = (
    "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Mine:\n    {field}\n"
    "    needs: tuple = ('liked',)\n    def __call__(self, judged):\n        return judged.policy_error\n"
)


def test_auto_sets_the_beta_of_what_has_one_and_leaves_the_others_alone(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, field in (("without", "pass"), ("with_one", "beta: float = 2.0")):
        (tmp_path / f"{name}.py").write_text(OWN.format(field=field))
    for objective in ("sft", "without:Mine"):
        recipe = read_recipe(None, ["objective.beta=auto", f"objective.name={objective}"])
        assert isinstance(objectives.beta_of(recipe, objectives.objective_of(recipe)), Fixed)
    for objective in ("kto", "bco", "with_one:Mine"):
        recipe = read_recipe(None, ["objective.beta=auto", f"objective.name={objective}"])
        assert isinstance(objectives.beta_of(recipe, objectives.objective_of(recipe)), Auto)
    assert isinstance(objectives.beta_of(Recipe(), SFT()), Fixed)
    assert read_recipe(write_recipe(recipe, tmp_path / "r.yaml")).objective.beta == "auto"
