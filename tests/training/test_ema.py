"""The average of the weights: the formula by hand, and that looking through it changes nothing."""

from collections.abc import Callable

import pytest
import torch

from thumbtune.models.plane import Plane
from thumbtune.objective.kto import KTO
from thumbtune.training.batches import Batches
from thumbtune.training.ema import EMA
from thumbtune.training.trainer import Training, train

POINTS = [(i / 11, (i * 5 % 12) / 11) for i in range(12)]
RIGHT = [x > 0.5 for x, _ in POINTS]


def test_the_average_follows_the_formula() -> None:
    weight = torch.zeros(2)
    average = EMA([weight], 0.5)
    expected = 0.0
    for update in range(1, 30):
        weight.fill_(float(update))
        average.after(update)
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * update
        assert average.values[0].tolist() == pytest.approx([expected] * 2)
    assert average.decay_at(1) == 2 / 11 and average.decay_at(7) == 8 / 17 and average.decay_at(8) == 0.5


def test_inside_the_weights_are_the_average_and_afterwards_their_own_again() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    average = EMA([weight], 0.9)
    with torch.no_grad():
        weight.copy_(torch.tensor([3.0, 4.0]))
    with average.in_place():
        assert weight.tolist() == [1, 2]
    with pytest.raises(KeyError), average.in_place():
        raise KeyError
    assert weight.tolist() == [3, 4] and average.values[0].tolist() == [1, 2]


def test_a_decay_of_zero_keeps_no_average_and_one_is_refused() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    average = EMA([weight], 0.0)
    average.after(1)
    with average.in_place():
        assert weight.tolist() == [1, 1]
    assert average.values == []
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), not 1.0; try 0.99"):
        EMA([weight], 1.0)


def test_training_averages_its_weights_and_is_not_changed_by_it(
    make_plane: Callable[..., Plane], make_batches: Callable[..., Batches], make_training: Callable[..., Training]
) -> None:
    ends, values, path = [], [], []
    for decay in (0.0, 0.8):
        plane = make_plane()
        training = make_training(plane, ema=decay, steps=6)
        for _ in train(training, make_batches(plane, POINTS, RIGHT), KTO(beta=3.0)):
            path.append([p.detach().clone() for p in training.parameters])
        ends.append(path[-1])
        values.append(training.ema.values)
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
    assert values[0] == []
    by_hand = [p.detach().clone() for p in make_plane().denoiser.parameters()]
    for update, weights in enumerate(path[6:], 1):
        decay = min(0.8, (1 + update) / (10 + update))
        by_hand = [decay * old + (1 - decay) * new for old, new in zip(by_hand, weights, strict=True)]
    for value, expected in zip(values[1], by_hand, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)
