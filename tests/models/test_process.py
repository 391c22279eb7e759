"""Processes: equal to diffusers' schedulers, undone by their inverses, and noisier with time."""

import math
from typing import Any

import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor

from thumbtune.models.process import DynamicShift, FlowProcess, VPProcess
from thumbtune.models.schedulers import betas_from, process_of, zero_terminal

# the numbers of SD 1.5's own scheduler config
SD15 = {"beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}
SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
PREDICTIONS = ("epsilon", "v_prediction", "sample")
SHAPES = ((5, 2), (5, 4, 8, 8), (5, 3, 5, 6, 7))


def draw(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def built(schedule: str, prediction: str = "epsilon", zero_snr: bool = False) -> tuple[VPProcess, DDPMScheduler]:
    """Ours from the config of diffusers', as for a pipeline."""
    theirs = DDPMScheduler(**SD15, beta_schedule=schedule, prediction_type=prediction, rescale_betas_zero_snr=zero_snr)
    ours = process_of(theirs.config)
    assert isinstance(ours, VPProcess)
    return ours, theirs


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_variance_preserving_noise_and_targets_are_those_of_diffusers(
    schedule: str, prediction: str, zero_snr: bool
) -> None:
    ours, theirs = built(schedule, prediction, zero_snr)
    # theirs is made in float32, ours in float64: a thousand roundings apart
    torch.testing.assert_close(ours.alphas_cumprod, theirs.alphas_cumprod, rtol=1e-4, atol=1e-6)
    t = torch.tensor([0, 1, 250, 500, 998, 999])
    clean, noise = draw((6, 4, 8, 8), 0), draw((6, 4, 8, 8), 1)
    torch.testing.assert_close(ours.noised(clean, noise, t), theirs.add_noise(clean, noise, t), rtol=1e-4, atol=1e-4)
    targets = {"epsilon": noise, "sample": clean, "v_prediction": theirs.get_velocity(clean, noise, t)}
    torch.testing.assert_close(ours.target(clean, noise, t), targets[prediction], rtol=1e-4, atol=1e-4)
    assert ours.prediction == prediction


def test_the_last_step_of_sd_1_5_keeps_a_little_of_the_image_and_that_of_zero_snr_nothing() -> None:
    usual, _ = built("scaled_linear")
    # abar_T of SD 1.5, known from arXiv 2305.08891, table 1: sqrt(0.004660) = 0.068265
    assert usual.alphas_cumprod[-1].sqrt().item() == pytest.approx(0.068265, abs=1e-5)
    none, _ = built("scaled_linear", "v_prediction", True)
    assert none.alphas_cumprod[-1].item() == 0
    assert none.alphas_cumprod[0].item() == pytest.approx(1 - 0.00085, abs=1e-7)


def test_trained_betas_of_a_config_are_taken_as_they_are() -> None:
    # abar = 0.9, 0.9 * 0.8 = 0.72, 0.72 * 0.5 = 0.36
    process = process_of({"trained_betas": [0.1, 0.2, 0.5], "beta_schedule": "ignored"})
    assert isinstance(process, VPProcess)
    torch.testing.assert_close(process.alphas_cumprod, torch.tensor([0.9, 0.72, 0.36]))


def test_a_variance_preserving_image_by_hand() -> None:
    # abar = 0.36: signal 0.6, spread 0.8; clean 1, noise 2: x_t = 0.6 + 1.6 = 2.2 and v = 0.6 * 2 - 0.8 * 1 = 0.4
    process = VPProcess(torch.tensor([0.36]), "v_prediction")
    clean, noise, t = torch.tensor([[1.0]]), torch.tensor([[2.0]]), torch.tensor([0])
    torch.testing.assert_close(process.noised(clean, noise, t), torch.tensor([[2.2]]))
    torch.testing.assert_close(process.target(clean, noise, t), torch.tensor([[0.4]]))


def test_each_image_has_its_own_time() -> None:
    ours, _ = built("scaled_linear", "v_prediction")
    clean, noise, t = draw((4, 2, 3), 0), draw((4, 2, 3), 1), torch.tensor([3, 900, 3, 40])
    together = ours.noised(clean, noise, t), ours.target(clean, noise, t)
    for i in range(4):
        one = slice(i, i + 1)
        torch.testing.assert_close(together[0][one], ours.noised(clean[one], noise[one], t[one]))
        torch.testing.assert_close(together[1][one], ours.target(clean[one], noise[one], t[one]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_clean_image_comes_back_from_a_noisy_one_and_its_target(
    schedule: str, prediction: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    process, _ = built(schedule, prediction)
    clean, noise = draw(shape, 0, dtype), draw(shape, 1, dtype)
    t = torch.tensor([0, 10, 300, 700, 950])
    back = process.clean(process.noised(clean, noise, t), process.target(clean, noise, t), t)
    assert back.dtype == dtype and back.shape == clean.shape
    # the scales are float32 numbers, so v's signal^2 + spread^2 is 1 to 1e-7; epsilon divides by signal, down to 0.08
    torch.testing.assert_close(back, clean, rtol=0, atol=2e-5 if dtype == torch.float32 else 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_clean_image_comes_back_along_a_straight_line(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    process = FlowProcess()
    clean, noise = draw(shape, 0, dtype), draw(shape, 1, dtype)
    t = torch.tensor([1.0, 10.5, 300.0, 700.0, 999.0])
    back = process.clean(process.noised(clean, noise, t), process.target(clean, noise, t), t)
    assert back.dtype == dtype
    torch.testing.assert_close(back, clean, rtol=0, atol=2e-6 if dtype == torch.float32 else 1e-12)


def test_zero_snr_v_prediction_comes_back_even_from_pure_noise() -> None:
    process, _ = built("scaled_linear", "v_prediction", True)
    clean, noise, t = draw((3, 4, 8, 8), 0), draw((3, 4, 8, 8), 1), torch.full((3,), 999)
    torch.testing.assert_close(process.noised(clean, noise, t), noise)
    torch.testing.assert_close(process.clean(noise, process.target(clean, noise, t), t), clean)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_rectified_flow_is_that_of_diffusers(shift: float) -> None:
    theirs = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=shift)
    ours = process_of({**theirs.config, "_class_name": "FlowMatchEulerDiscreteScheduler"})
    assert ours == FlowProcess(shift=shift)
    t = theirs.timesteps[[0, 1, 500, 998, 999]]
    clean, noise = draw((5, 16, 4, 4), 0), draw((5, 16, 4, 4), 1)
    torch.testing.assert_close(ours.noised(clean, noise, t), theirs.scale_noise(clean, t, noise))
    torch.testing.assert_close(ours.target(clean, noise, t), noise - clean)


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_signal_to_noise_ratio_falls_with_time(schedule: str, zero_snr: bool) -> None:
    process, _ = built(schedule, zero_snr=zero_snr)
    alpha = process.alphas_cumprod.double()
    assert ((alpha / (1 - alpha)).diff() < 0).all()
    assert ((alpha >= 0) & (alpha < 1)).all()


def test_zero_terminal_keeps_the_first_step_and_empties_the_last() -> None:
    betas = betas_from({**SD15, "beta_schedule": "scaled_linear"})
    bar = (1 - zero_terminal(betas)).cumprod(0)
    assert bar[0] == pytest.approx((1 - betas[0]).item(), rel=1e-12)
    assert bar[-1] == 0


def test_whole_times_cover_every_step_evenly_and_rise_with_their_input() -> None:
    process, _ = built("scaled_linear")
    t = process.times((torch.arange(4000) + 0.5) / 4000)
    assert t.dtype == torch.int64
    assert (t.diff() >= 0).all()
    assert torch.bincount(t).tolist() == [4] * 1000
    just_below_1 = torch.tensor([0.0, 1 - 2**-24])
    assert process.times(just_below_1).tolist() == [0, 999]


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("density", ["uniform", "logit-normal"])
def test_flow_times_rise_with_their_input_and_stay_inside_0_to_1000(density: Any, shift: float) -> None:
    t = FlowProcess(density=density, shift=shift).times(torch.linspace(0, 1 - 2**-24, 2001))
    assert (t.diff() >= 0).all() and t.unique().numel() > 1990
    assert t.min() > 0 and t.max() < 1000


def test_flow_times_by_hand() -> None:
    # the quantile of a standard normal at 0.8413447 is 1, and logistic(1) = 0.7310586
    t = FlowProcess().times(torch.tensor([0.5, 0.8413447]))
    torch.testing.assert_close(t, torch.tensor([500.0, 731.0586]), rtol=0, atol=1e-2)
    # shift 3: 3 * 0.5 / (1 + 2 * 0.5) = 0.75
    shifted = FlowProcess(density="uniform", shift=3.0).times(torch.tensor([0.5]))
    torch.testing.assert_close(shifted, torch.tensor([750.0]))


def test_a_dynamic_shift_gives_the_noise_levels_of_diffusers_for_each_size() -> None:
    theirs = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, base_image_seq_len=256, max_image_seq_len=8192
    )
    ours = process_of({**theirs.config, "_class_name": "FlowMatchEulerDiscreteScheduler"}, positions_per_token=4)
    assert isinstance(ours, FlowProcess) and isinstance(ours.shift, DynamicShift)
    sigmas = torch.linspace(0.95, 0.05, 7)
    for height, width in ((64, 64), (128, 96), (192, 192)):
        tokens = height * width // 4
        mu = calculate_shift(tokens, 256, 8192, 0.5, 0.9)
        theirs.set_timesteps(sigmas=sigmas.tolist(), mu=mu)
        uniform = 0.5 * (1 + torch.erf(torch.logit(sigmas) / 2**0.5))  # what a logit-normal density maps to the sigmas
        t = ours.times(uniform, torch.full((7,), height * width))
        torch.testing.assert_close(t, theirs.timesteps, rtol=1e-4, atol=1e-2)
        assert ours.shift.of(torch.tensor([height * width])).item() == pytest.approx(math.exp(mu), rel=1e-6)


def test_a_dynamic_shift_is_one_of_each_image_in_a_batch() -> None:
    process = FlowProcess(density="uniform", shift=DynamicShift(positions_per_token=4))
    sizes = torch.tensor([64 * 64, 128 * 128])
    together = process.times(torch.tensor([0.5, 0.5]), sizes)
    # exp(0.63) and exp(1.15): mu of 1024 tokens is 0.5 + 0.65 * 768 / 3840
    shifts = torch.tensor([math.exp(0.63), math.exp(1.15)])
    torch.testing.assert_close(together, 1000 * shifts / (1 + shifts))
    for row in (0, 1):
        torch.testing.assert_close(process.times(torch.tensor([0.5]), sizes[row : row + 1]), together[row : row + 1])
    with pytest.raises(ValueError, match="positions"):
        process.times(torch.tensor([0.5]))


def test_a_dynamic_shift_may_be_linear() -> None:
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}
    process = process_of({**config, "time_shift_type": "linear", "base_shift": 2.0, "max_shift": 4.0})
    assert isinstance(process, FlowProcess) and isinstance(process.shift, DynamicShift)
    torch.testing.assert_close(process.shift.of(torch.tensor([256, 2176, 4096])), torch.tensor([2.0, 3.0, 4.0]))


@pytest.mark.parametrize(
    ("scheduler", "shift"),
    [
        (UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0), 3.0),
        (DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=6.0), 6.0),
        (FlowMatchHeunDiscreteScheduler(shift=2.0), 2.0),
        (FlowMatchEulerDiscreteScheduler(shift=1.5, use_dynamic_shifting=False), 1.5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_schedulers_of_flow_are_known_under_any_class(scheduler: Any, shift: float) -> None:
    assert process_of({**scheduler.config, "_class_name": type(scheduler).__name__}) == FlowProcess(shift=shift)


def test_uniform_flow_times_are_uniform() -> None:
    t = FlowProcess(density="uniform").times((torch.arange(1000) + 0.5) / 1000)
    torch.testing.assert_close(t, torch.arange(1000) + 0.5, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize(
    ("config", "names"),
    [({"beta_schedule": "laplace"}, ("beta_schedule", "laplace")), ({"prediction_type": "flow"}, ("flow", "epsilon"))],
)
def test_an_unknown_schedule_or_prediction_gets_a_sentence(config: dict[str, str], names: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"is not known; use .*\.$") as caught:
        process_of(config)
    assert all(name in str(caught.value) for name in names)
