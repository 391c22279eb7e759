"""All weights of each family's transformer: its reference, and the folder that diffusers loads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_lora_of_transformers import answer
from tiny_transformers import BUILDERS

from thumbtune.models.full import Full


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "wan-experts"])  # refused for two networks
def test_the_result_is_the_network_in_diffusers_and_the_reference_the_base(
    name: str, make_diffusion: Callable[..., Any], perturb: Callable[..., None], tmp_path: Path
) -> None:
    model = make_diffusion(name, tuning=Full())
    trained = [key for key, _ in model.trainable()]
    assert trained == [key for key, _ in model.network.named_parameters()]
    before = answer(model)
    perturb(model, by=0.02)
    with model.reference():
        assert torch.equal(answer(model), before)
    tuned = answer(model)
    assert (tuned - before).abs().max() > 1e-3
    model.save(tmp_path / "transformer")
    assert (
        json.loads((tmp_path / "transformer" / "config.json").read_text())["_class_name"]
        == type(model.network).__name__
    )

    network = type(model.network).from_pretrained(tmp_path, subfolder="transformer")
    state = model.network.state_dict()
    assert network.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    again = make_diffusion(name, tuning=Full())
    again.load(tmp_path / "transformer")
    assert torch.equal(answer(again), tuned)
    with again.reference():
        assert torch.equal(answer(again), before)


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
@pytest.mark.parametrize("name", ["flux", "sd3", "z-image", "sana"])
def test_the_reference_of_a_training_in_bf16_takes_half_the_memory(
    name: str, make_diffusion: Callable[..., Any]
) -> None:
    model = make_diffusion(name, tuning=Full(autocast=torch.bfloat16))
    with model.reference(), torch.autocast("cpu", torch.bfloat16):
        half = answer(model)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(answer(model), half)
    model.freeze_reference()
    kept = model.reference_state()
    assert {kept[key].dtype for key in kept if key.endswith("to_q.weight")} == {torch.bfloat16}
