"""Shared passes: every process makes equally many, a stand-in has no gradient, and a broken pass ends the training."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from refusals import refused
from torch import Tensor, nn

from thumbtune.errors import ThumbtuneError
from thumbtune.models.shards import bytes_here, cut, exchanged, gathered, is_sharded, local, whole
from thumbtune.training.batch import Batch
from thumbtune.training.lockstep import Alone, Lockstep, blank


class Others:
    """The other processes: each sum of this one's number with the next of theirs."""

    device = torch.device("cpu")

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)

    def reduce(self, own: Tensor, how: str) -> Tensor:
        assert how == "sum"
        return own + self.numbers.pop(0)


@pytest.fixture
def step() -> Callable[..., tuple[Lockstep, nn.Linear, list[bool]]]:
    """(numbers of the others) -> the lockstep of a network, the network, and whether each stand-in had a gradient."""

    def make(*numbers: float) -> tuple[Lockstep, nn.Linear, list[bool]]:
        network, made = nn.Linear(1, 1), []

        def stand_in() -> Tensor:
            made.append(torch.is_grad_enabled())
            return network(torch.ones(1, 1)).sum()

        accelerator: Any = Others(*numbers)
        return Lockstep(network, accelerator, stand_in), network, made

    return make


def test_passes_are_made_along_until_nobody_makes_one(step: Any) -> None:
    lockstep, network, made = step(1, 1, 1, 0)
    with lockstep.shared():
        network(torch.ones(1, 1))  # the others make one too, then two more
    assert made == [False, False] and not lockstep.accelerator.numbers


def test_a_stand_in_adds_nothing_to_the_gradient(step: Any) -> None:
    lockstep, network, made = step(1, 1, 0)
    with lockstep.graph() as others:
        loss = network(torch.full((1, 1), 3.0)).sum()
    assert made == [True] and len(others) == 1
    (loss + sum(0 * other for other in others)).backward()
    assert network.weight.grad is not None and network.weight.grad.item() == 3.0


def test_all_have_the_weights_of_the_reference_until_all_are_done(step: Any) -> None:
    lockstep, network, _ = step(1, 0)
    inside = []

    @contextmanager
    def reference() -> Iterator[None]:
        inside.append("in")
        yield
        inside.append("out")

    network.register_forward_pre_hook(lambda *_: inside.append("pass"))
    with lockstep.shared(reference):
        pass
    assert inside == ["in", "pass", "out"]


def test_an_error_between_passes_lets_the_others_go_on(step: Any) -> None:
    lockstep, network, made = step(1, 1, 0)
    with pytest.raises(OSError, match="disk"), lockstep.shared():
        network(torch.ones(1, 1))
        raise OSError("disk")
    assert made == [False] and not lockstep.is_torn


def test_an_error_inside_a_pass_ends_the_training(step: Any) -> None:
    lockstep, network, made = step(1)
    with pytest.raises(RuntimeError), lockstep.shared():
        network(torch.ones(1, 7))  # as memory that runs out would
    assert lockstep.is_torn and made == []
    with refused("shard-pass-torn", ThumbtuneError, naming="--resume"), lockstep.shared():
        network(torch.ones(1, 1))


def test_a_pass_that_no_other_process_makes_is_an_error_at_once(step: Any) -> None:
    lockstep, network, _ = step()
    with pytest.raises(AssertionError):
        network(torch.ones(1, 1))
    assert not lockstep.is_torn


def test_a_flag_of_any_process_is_one_of_all(step: Any) -> None:
    assert step(0)[0].anywhere(True) and step(1)[0].anywhere(False) and not step(0)[0].anywhere(False)
    assert Alone().anywhere(True) and not Alone().anywhere(False)


def test_a_stand_in_is_blank_and_keeps_masks_and_times() -> None:
    batch = Batch(
        latents=torch.tensor([[float("nan"), float("inf"), 2.0]]),
        condition={"text": torch.ones(1, 1), "mask": torch.tensor([[True]])},
        noise=torch.ones(1, 3),
        t=torch.tensor([5]),
        liked=torch.tensor([True]),
        weight=torch.ones(1),
    )
    made = blank(batch)
    assert isinstance(made.latents, Tensor) and made.latents.tolist() == [[0.0, 0.0, 0.0]]
    assert made.condition["mask"].all() and made.t.tolist() == [5]


def test_tensors_that_are_not_divided_are_as_they_are() -> None:
    tensor = torch.arange(6.0).view(3, 2)
    assert not is_sharded(tensor) and local(tensor) is tensor and whole(tensor) is tensor
    assert cut(tensor, tensor) is tensor and gathered({"a": tensor}) == {"a": tensor}
    assert bytes_here([tensor, tensor]) == 48


def test_exchanged_numbers_return_bit_for_bit() -> None:
    one, other = torch.tensor([1.0, 2.0]), torch.tensor([3.0, float("nan")])
    with exchanged([one], [other]):
        assert one[0] == 3 and one[1].isnan() and other.tolist() == [1, 2]
    assert one.tolist() == [1, 2] and other[0] == 3 and other[1].isnan()
