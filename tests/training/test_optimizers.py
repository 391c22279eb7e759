"""Optimisers: their slots, which go through safetensors, and what tells one from another."""

import sys
from typing import Any

import pytest
import torch
from refusals import refused
from torch import Tensor

from thumbtune.training.optimizers import Name, fits, name_of, optimizer_of, put_slots, slots_of

LARGE, SMALL = (64, 64), (3, 5)


def parameters() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in (LARGE, SMALL)]


def stepped(optimizer: Any, weights: list[torch.nn.Parameter], steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()


@pytest.fixture(params=["adamw", "adamw-8bit"])
def name(request: pytest.FixtureRequest) -> Name:
    if request.param != "adamw":
        pytest.importorskip("bitsandbytes")
    return request.param


def test_an_optimiser_goes_on_from_its_slots_bit_for_bit(name: Name) -> None:
    whole, half = parameters(), parameters()
    first = optimizer_of(name, whole, 1e-2, 0.1)
    stepped(first, whole, range(6))
    second = optimizer_of(name, half, 1e-2, 0.1)
    stepped(second, half, range(3))
    slots = slots_of(second)
    assert name_of(slots) == name and all(fits(slots[i], weight.shape) for i, weight in enumerate(half))
    third = optimizer_of(name, half, 1e-2, 0.1)
    put_slots(third, slots)
    stepped(third, half, range(3, 6))
    assert all(torch.equal(one, two) for one, two in zip(whole, half, strict=True))
    later, usual = slots_of(third), slots_of(first)
    assert all(torch.equal(usual[i][slot], later[i][slot]) for i in usual for slot in usual[i])


def test_moments_in_8_bits_take_a_quarter_and_end_near_those_of_32() -> None:
    pytest.importorskip("bitsandbytes")
    bytes_of, ends = {}, {}
    for name in ("adamw", "adamw-8bit"):
        weights = parameters()
        optimizer = optimizer_of(name, weights, 1e-2, 0.1)
        stepped(optimizer, weights, range(20))
        kept = slots_of(optimizer)[0]
        bytes_of[name] = sum(value.nbytes for value in kept.values())
        ends[name] = weights
    assert bytes_of["adamw-8bit"] == pytest.approx(bytes_of["adamw"] / 4, rel=0.02)  # and one scale for each 256
    start = parameters()
    change = [one - two for one, two in zip(ends["adamw"], start, strict=True)]
    for one, two, size in zip(ends["adamw"], ends["adamw-8bit"], change, strict=True):
        assert (one - two).norm() < 0.05 * size.norm()


def test_slots_of_no_optimiser_or_of_two_are_none() -> None:
    def slots(*names: str, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        return {one: torch.zeros(3, dtype=dtype) for one in ("step", *names)}

    adamw, small = slots("exp_avg", "exp_avg_sq"), slots("state1", "state2")
    scales = ("absmax1", "absmax2")
    assert name_of({0: small, 1: slots("state1", "state2", *scales, dtype=torch.uint8)}) == "adamw-8bit"
    assert name_of({}) == "adamw"
    for wrong in (slots("exp_avg"), slots("state1", "state2", dtype=torch.uint8), slots("state1", "state2", *scales)):
        with pytest.raises(ValueError, match="has the slots"):
            name_of({0: wrong})
    with pytest.raises(ValueError, match="two kinds"):
        name_of({0: adamw, 1: small})


def test_8_bits_without_their_library_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with refused("bitsandbytes-missing", naming=["adamw-8bit", "thumbtune[8bit]"]):
        optimizer_of("adamw-8bit", parameters(), 1e-2, 0.1)
