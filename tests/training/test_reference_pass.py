"""The reference denoises a batch only where something reads what it gives, and nothing else changes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from refusals import refused
from torch import Tensor

from thumbtune.models.plane import Plane
from thumbtune.objective import CSFT, KTO, SFT, Judged, Objective
from thumbtune.objective.validation import try_objective
from thumbtune.training.step import Step
from thumbtune.training.trainer import Training, train

GENERATOR = torch.Generator().manual_seed(11)
POINTS = (0.5 + 0.2 * torch.randn(40, 2, generator=GENERATOR)).clamp(0, 1).tolist()
RIGHT = [x > 0.5 for x, _ in POINTS]
HALVES = [f"{kind}_log_ratio_{half}_noise" for kind in ("liked", "disliked") for half in ("high", "low")]
OF_REFERENCE = ("liked_log_ratio", "disliked_log_ratio", "reference_point", "reference_error", *HALVES)

MakePlane = Callable[..., Any]
MakeBatches = Callable[..., Any]
MakeTraining = Callable[..., Training]


class Counting(Plane):
    """A Plane that counts the passes of its reference."""

    passes = 0

    def reference(self) -> Any:
        self.passes += 1
        return super().reference()


def logged(steps: list[Step], *without: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in step.as_dict().items() if name not in without} for step in steps]


@pytest.mark.parametrize("objective", [SFT(), CSFT()], ids=["sft", "csft"])
@pytest.mark.parametrize("micro_batch", [8, 3])
def test_without_the_reference_losses_gradients_and_weights_are_the_same_bit_for_bit(
    make_plane: MakePlane,
    make_batches: MakeBatches,
    make_training: MakeTraining,
    objective: Objective,
    micro_batch: int,
) -> None:
    planes, logs = [], []
    for measured in (True, False):
        plane = make_plane(Counting, drift=0.03)
        settings = {"steps": 4, "micro_batch": micro_batch, "measure_log_ratios": measured}
        training = make_training(plane, "zero", **settings)
        logs.append(list(train(training, make_batches(plane, POINTS, RIGHT), objective)))
        planes.append(plane)
    with_it, without = logs
    assert logged(with_it, "seconds", *OF_REFERENCE) == logged(without, "seconds", *OF_REFERENCE)  # also the gradients
    assert all(getattr(step, name) is None for step in without for name in OF_REFERENCE)
    assert all(step.liked_log_ratio is not None and step.reference_error is not None for step in with_it)
    pairs = zip(planes[0].denoiser.parameters(), planes[1].denoiser.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert planes[0].passes == 4 * (1 if micro_batch == 8 else 3)
    assert planes[1].passes == 0


@pytest.mark.parametrize(
    ("objective", "estimator"), [(KTO(beta=3.0), "zero"), (SFT(), "batch"), (SFT(), "running"), (SFT(), "mismatched")]
)
def test_what_reads_the_reference_gets_it(
    make_plane: MakePlane,
    make_batches: MakeBatches,
    make_training: MakeTraining,
    objective: Objective,
    estimator: str,
) -> None:
    plane = make_plane(Counting, drift=0.03)
    training = make_training(plane, estimator, steps=1, measure_log_ratios=False)
    (step,) = train(training, make_batches(plane, POINTS, RIGHT), objective)
    assert plane.passes >= 1
    assert step.liked_log_ratio is not None and step.reference_error is not None


def test_a_broken_image_is_left_out_without_the_reference_too(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane()
    batches = make_batches(plane, POINTS, RIGHT)
    rows = batches.rows(0)
    key = batches.encoded._key_of(rows[2])
    batches.encoded._not_finite[key] = {"latent": torch.full((2,), torch.nan)}
    training = make_training(plane, "zero", steps=1, measure_log_ratios=False)
    (step,) = train(training, batches, SFT())
    assert step.skipped == rows.count(rows[2]) and step.loss is not None and step.grad_norm is not None


@dataclass(frozen=True)
class Silent:
    """An objective that reads the reference and says that it does not."""

    needs: frozenset[str] = frozenset({"liked", "disliked"})
    reads: frozenset[str] = frozenset()

    def __call__(self, judged: Judged) -> Tensor:
        return judged.weight * judged.log_ratio.square()


@dataclass(frozen=True)
class Misspelt(Silent):
    reads: frozenset[str] = frozenset({"reference_errors"})


def test_an_objective_that_reads_more_than_it_says_is_refused() -> None:
    with refused("objective-wrong-loss", naming=["my_file:Silent", "not finite"]):
        try_objective(Silent(), "my_file:Silent")
    with refused("objective-reads", naming=["my_file:Misspelt", "reference_errors", "reference_error"]):
        try_objective(Misspelt(), "my_file:Misspelt")
