"""docs/flow-models.md, formula by formula: on Gaussians, where log pi / pi_ref is known, and numbers of the page."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from thumbtune.models.noise_levels import elbo, snr_of, time_of
from thumbtune.models.process import FlowProcess, VPProcess
from thumbtune.models.schedulers import betas_from

PAGE = Path(__file__).parents[2] / "docs" / "flow-models.md"
SD15 = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
POINTS, WEIGHTS = (torch.tensor(values) for values in np.polynomial.hermite_e.hermegauss(16))
CHANCES = WEIGHTS / WEIGHTS.sum()  # of the noises POINTS: exact for means of squared errors, which are quadratic
Gaussian = tuple[float, float]  # mean, deviation
POLICY, REFERENCE = (0.3, 0.8), (0.0, 1.1)
IMAGES = (-1.0, 0.2, 1.5)


def log_density(x: float, of: Gaussian) -> float:
    return -0.5 * ((x - of[0]) / of[1]) ** 2 - math.log(of[1])


def log_ratio(x: float) -> float:
    return log_density(x, POLICY) - log_density(x, REFERENCE)


def best_clean(noisy: Tensor, signal: Tensor, spread: Tensor, of: Gaussian) -> Tensor:
    """E[x_0 | x_t] of a Gaussian: what its own network would say."""
    mean, deviation = of
    return mean + signal * deviation**2 * (noisy - signal * mean) / (signal**2 * deviation**2 + spread**2)


def errors(process: FlowProcess | VPProcess, t: Tensor, x: float, of: Gaussian) -> Tensor:
    """Mean squared error of the best network of a Gaussian on one image, at each time, over the noise: [t]."""
    if isinstance(process, FlowProcess):
        spread = (t / process.steps)[:, None]
        signal = 1 - spread
    else:
        alpha = process.alphas_cumprod[t][:, None]
        signal, spread = alpha.sqrt(), (1 - alpha).sqrt()
    noisy = signal * x + spread * POINTS
    clean = best_clean(noisy, signal, spread, of)
    noise = (noisy - signal * clean) / spread
    kind = "velocity" if isinstance(process, FlowProcess) else process.prediction
    guess, target = {
        "velocity": (noise - clean, POINTS - x),
        "epsilon": (noise, POINTS),
        "sample": (clean, torch.full_like(clean, x)),
        "v_prediction": (signal * noise - spread * clean, signal * POINTS - spread * x),
    }[kind]
    return ((guess - target) ** 2 * CHANCES).sum(1)


def sigmas(count: int) -> Tensor:
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def surrogate(process: FlowProcess | VPProcess, t: Tensor, x: float) -> Tensor:
    """error of the reference - error of the policy, at each time."""
    return errors(process, t, x, REFERENCE) - errors(process, t, x, POLICY)


# --- the velocity's error and the others ----------------------------------------------------------


def test_the_error_of_the_velocity_is_that_of_the_noise_and_of_the_image_times_a_factor() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise, output = (torch.randn(6, 4, 8, 8, generator=generator, dtype=torch.float64) for _ in range(3))
    sigma = torch.tensor([0.05, 0.1, 0.3, 0.5, 0.9, 0.97], dtype=torch.float64)
    process, s = FlowProcess(), sigma.view(-1, 1, 1, 1)
    noisy = process.noised(clean, noise, 1000 * sigma)
    velocity = (output - process.target(clean, noise, 1000 * sigma)) ** 2
    guess = process.clean(noisy, output, 1000 * sigma)
    torch.testing.assert_close(velocity, (guess - clean) ** 2 / s**2)
    torch.testing.assert_close(velocity, (noisy + (1 - s) * output - noise) ** 2 / (1 - s) ** 2)


# --- the bound ------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", IMAGES)
def test_velocity_errors_with_the_weight_of_the_bound_sum_up_to_the_log_ratio(x: float) -> None:
    process, t = FlowProcess(), 1000 * sigmas(20_000)
    found = (elbo(process, t) * surrogate(process, t, x)).mean()
    assert found.item() == pytest.approx(log_ratio(x), abs=1e-6)
    s = t / 1000  # (1 - s) / s, in full
    torch.testing.assert_close(elbo(process, t), (1 - s) / s)


@pytest.mark.parametrize("x", IMAGES)
def test_errors_of_a_vp_process_do_so_up_to_its_thousand_steps(x: float) -> None:
    alphas, t = (1 - betas_from(SD15)).cumprod(0), torch.arange(1000)
    found = [
        (elbo(process, t) * surrogate(process, t, x)).mean().item()
        for process in (VPProcess(alphas, kind) for kind in ("epsilon", "v_prediction", "sample"))
    ]
    assert found == pytest.approx([found[0]] * 3, abs=1e-6)  # whatever the network predicts
    assert found[0] == pytest.approx(log_ratio(x), rel=0.03)


def test_plain_velocity_errors_do_not_sum_up_to_it() -> None:
    t = 1000 * sigmas(20_000)
    plain = [surrogate(FlowProcess(), t, x).mean().item() for x in IMAGES]
    true = [log_ratio(x) for x in IMAGES]
    assert all((a > 0) == (b > 0) for a, b in zip(plain, true, strict=True))
    ratios = [a / b for a, b in zip(plain, true, strict=True)]
    assert max(ratios) / min(ratios) > 2  # no constant makes one of the other


def test_steps_of_the_reverse_chain_have_that_weight_in_the_limit() -> None:
    """N times the Kullback-Leibler divergence of one of N steps is (1 - s) / s times the squared velocity error."""
    clean_error = 0.37  # (x_0 - guess)^2
    for sigma in (0.1, 0.5, 0.9):
        for steps, close in ((100, 0.2), (100_000, 2e-4)):
            signal, spread, before = 1 - sigma, sigma, sigma - 1 / steps
            signal_before, spread_before = 1 - before, before
            added = spread**2 - (signal / signal_before) ** 2 * spread_before**2  # variance of x_s given x_before
            posterior = added * spread_before**2 / spread**2
            of_clean = signal_before * added / spread**2
            divergence = of_clean**2 * clean_error / (2 * posterior)
            velocity_error = clean_error / sigma**2
            assert steps * divergence == pytest.approx((1 - sigma) / sigma * velocity_error, rel=close)
            snr = [((1 - one) / one) ** 2 for one in (before, sigma)]
            assert divergence == pytest.approx((snr[0] - snr[1]) / 2 * clean_error)


def test_a_constant_weight_sees_a_level_by_the_factor_of_the_page() -> None:
    """s / (1 - s): how much a level counts with the plain error, for what it counts in the bound."""
    t = torch.tensor([100.0, 500.0, 900.0])
    factor = 1 / elbo(FlowProcess(), t)
    torch.testing.assert_close(factor, torch.tensor([1 / 9, 1.0, 9.0]))


def test_a_network_s_mean_error_times_its_elements_and_weight_is_the_log_ratio() -> None:
    """What beta means: nats are D * weight * (mean error of the reference - mean error of the policy)."""
    process, t = FlowProcess(), 1000 * sigmas(20_000)
    image = torch.tensor([0.2, -0.7, 1.1, 0.4], dtype=torch.float64)  # independent elements
    of_each = torch.stack([surrogate(process, t, float(x)) for x in image])
    mean_error = of_each.mean(0)  # as in training: a mean over elements
    found = len(image) * (elbo(process, t) * mean_error).mean()
    assert found.item() == pytest.approx(sum(log_ratio(float(x)) for x in image), abs=1e-6)


# --- the numbers of the page ----------------------------------------------------------------------


def shown(values: list[float]) -> str:
    return " | ".join(f"{value:.2g}" for value in values)


def test_the_table_of_the_page() -> None:
    page, levels = PAGE.read_text(), (0.1, 0.5, 0.9)
    sigma = torch.tensor(levels, dtype=torch.float64)
    normal = torch.exp(-0.5 * torch.logit(sigma) ** 2) / math.sqrt(2 * math.pi)
    logit_normal = normal / (sigma * (1 - sigma))

    def relative(values: Tensor) -> list[float]:
        return (values / values[1]).tolist()

    factor = sigma / (1 - sigma)
    assert f"| velocity, uniform | {shown(relative(factor))} |" in page
    assert f"| velocity, logit-normal (the default) | {shown(relative(logit_normal * factor))} |" in page
    # a shift moves mass to sigma from s / (s + (1 - s) shift), by the rule of densities
    shift = 3.0
    before = sigma / (sigma + shift * (1 - sigma))
    slope = shift / (sigma + shift * (1 - sigma)) ** 2
    moved = torch.exp(-0.5 * torch.logit(before) ** 2) / (before * (1 - before)) * slope
    assert f"| velocity, logit-normal, shifted by 3 | {shown(relative(moved * factor))} |" in page
    alphas = (1 - betas_from(SD15)).cumprod(0)
    process = VPProcess(alphas)
    t = torch.tensor([int(time_of(process, one)) for one in levels])
    assert (snr_of(process, t) / ((1 - sigma) / sigma) ** 2 - 1).abs().max() < 0.02
    assert f"| noise, SD 1.5 | {shown(relative(1 / elbo(process, t).double()))} |" in page
