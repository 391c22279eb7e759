"""Log-ratios by noise half: the means of a step, written out by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from thumbtune.models.process import FlowProcess, VPProcess
from thumbtune.objective import KTO, SFT
from thumbtune.training.denoising import error, reference_error
from thumbtune.training.trainer import Training, train

GENERATOR = torch.Generator().manual_seed(11)
POINTS = (0.5 + 0.2 * torch.randn(40, 2, generator=GENERATOR)).clamp(0, 1).tolist()
RIGHT = [x > 0.5 for x, _ in POINTS]

MakePlane = Callable[..., Any]
MakeBatches = Callable[..., Any]
MakeTraining = Callable[..., Training]


def test_the_share_of_a_time_is_its_place_among_all_and_for_flow_its_sigma() -> None:
    process = VPProcess(torch.linspace(0.99, 0.01, 1000))
    assert process.share(torch.tensor([0, 499, 500, 999])).tolist() == pytest.approx([0, 0.499, 0.5, 0.999])
    uniform = torch.tensor([0.1, 0.5, 0.9])
    assert process.share(process.times(uniform)).tolist() == pytest.approx([0.1, 0.5, 0.9])
    flow = FlowProcess(density="uniform", shift=3.0)
    sigma = 3 * uniform / (1 + 2 * uniform)
    assert flow.share(flow.times(uniform)).tolist() == pytest.approx(sigma.tolist())


@pytest.mark.parametrize("micro_batch", [16, 5])
def test_log_ratios_of_each_half_by_hand(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining, micro_batch: int
) -> None:
    plane = make_plane(drift=0.03)
    batches = make_batches(plane, POINTS, RIGHT, size=16)
    training = make_training(plane, micro_batch=micro_batch)
    batch = batches.batch(0)
    with torch.no_grad():
        ratio = reference_error(plane, batch, training.accelerator) - error(plane, batch, training.accelerator)
    step = next(train(training, batches, KTO(beta=3.0)))
    high = batch.t >= 50  # of 100 times
    assert len(plane.process.alphas_cumprod) == 100  # type: ignore[attr-defined]
    for kind, which in (("liked", batch.liked), ("disliked", ~batch.liked)):
        assert (which & high).any() and (which & ~high).any()
        assert getattr(step, f"{kind}_log_ratio_high_noise") == pytest.approx(
            ratio[which & high].mean().item(), rel=1e-4
        )
        assert getattr(step, f"{kind}_log_ratio_low_noise") == pytest.approx(
            ratio[which & ~high].mean().item(), rel=1e-4
        )
        assert getattr(step, f"{kind}_high_noise_share") == pytest.approx(high[which].double().mean().item())


def test_a_half_without_images_has_none(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane(drift=0.03)
    batches = make_batches(plane, POINTS, RIGHT, liked_share=1.0, timestep_bias=1e6)  # all at the highest noise
    step = next(train(make_training(plane), batches, KTO(beta=3.0)))
    assert step.liked_high_noise_share == 1 and step.disliked_high_noise_share is None
    assert step.liked_log_ratio_high_noise == step.liked_log_ratio
    assert step.liked_log_ratio_low_noise is None
    assert step.disliked_log_ratio_high_noise is None and step.disliked_log_ratio_low_noise is None


def test_without_the_reference_there_are_shares_and_no_log_ratios(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane()
    training = make_training(plane, "zero", measure_log_ratios=False)
    step = next(train(training, make_batches(plane, POINTS, RIGHT), SFT()))
    assert step.liked_log_ratio_high_noise is None and step.liked_log_ratio_low_noise is None
    assert step.liked_high_noise_share is not None and 0 < step.liked_high_noise_share < 1
