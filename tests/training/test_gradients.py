"""What processes sum and gather, by hand: buckets, weights that no image reached, and batches that cannot be shared."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from refusals import refused
from torch import Tensor

from thumbtune.training import gradients
from thumbtune.training.gradients import VANISHED, add_up, ignore_vanished
from thumbtune.training.in_processes import check_shared


def beside(*others: Tensor) -> Any:
    """The accelerator of two processes, of which the other one has these tensors, in their order."""
    left = list(others)
    device = torch.device("cpu")
    return SimpleNamespace(num_processes=2, device=device, reduce=lambda own, _kind: own + left.pop(0))


def test_weights_that_no_process_reached_get_no_gradient() -> None:
    reached, elsewhere, never = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    reached.grad = torch.tensor([1.0, 2.0])
    add_up(beside(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.5, 0.0, 5.0, 6.0])), [reached, elsewhere, never])
    assert reached.grad.tolist() == [1.5, 2.0] and never.grad is None
    assert elsewhere.grad is not None and elsewhere.grad.tolist() == [5.0, 6.0]


@pytest.mark.parametrize("bucket", [1, 5, 6, 100])
def test_buckets_change_no_sum(bucket: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes and types are kept; one that is larger than a bucket is summed alone."""
    monkeypatch.setattr(gradients, "BUCKET", bucket)
    shapes = [(2, 2), (1,), (3, 4), (2,), (2, 1)]
    kinds = [torch.float32] * 3 + [torch.float64] * 2
    both = [[torch.randn(shape, dtype=kind) for shape, kind in zip(shapes, kinds, strict=True)] for _ in range(2)]
    parameters = [torch.nn.Parameter(torch.zeros_like(one)) for one in both[0]]
    for parameter, own in zip(parameters, both[0], strict=True):
        parameter.grad = own.clone()
    buckets = list(gradients._buckets(parameters))
    assert sum(map(len, buckets)) == len(parameters)
    places = {id(one): place for place, one in enumerate(parameters)}
    others = [torch.cat([both[1][places[id(one)]].flatten() for one in bucket]) for bucket in buckets]
    add_up(beside(torch.ones(len(parameters)), *others), parameters)
    for parameter, mine, theirs in zip(parameters, *both, strict=True):
        assert parameter.grad is not None and parameter.grad.dtype == mine.dtype
        assert torch.equal(parameter.grad, mine + theirs)


def test_a_batch_is_shared_equally_or_refused() -> None:
    check_shared(8, paired=True, processes=4)
    check_shared(12, paired=False, processes=4)
    with refused("batch-not-shared", naming="multiple of 8"):
        check_shared(12, paired=True, processes=4)
    with refused("batch-not-shared", naming="multiple of 4"):
        check_shared(6, paired=False, processes=4)


def test_a_gradient_that_has_vanished_is_zero_and_any_other_is_kept_bit_for_bit() -> None:
    slopes = torch.tensor([1.0, -VANISHED, 0.99 * VANISHED, 1e-39, -1e-30, 0.0, -3e-20])
    errors = torch.ones(len(slopes), requires_grad=True)
    ignore_vanished(errors)
    errors.backward(slopes)
    assert errors.grad is not None
    assert torch.equal(errors.grad, torch.where(slopes.abs() < VANISHED, torch.tensor(0.0), slopes))
    assert errors.grad.count_nonzero() == 3


def test_errors_without_a_gradient_have_none_to_ignore() -> None:
    ignore_vanished(torch.ones(2))


def test_a_gradient_that_has_vanished_moves_no_weight_in_adamw() -> None:
    """The reason for VANISHED: from its first step on, AdamW divides by at least its eps."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([weight], 1e-3, weight_decay=0.0)
    for _ in range(100):
        weight.grad = torch.full((1,), 1e6 * VANISHED)  # of an image whose error has the slope 1e6
        optimizer.step()
    assert weight.item() == 1.0
