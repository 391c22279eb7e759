"""`train.shard`: what it refuses, what one process does with it, and what it saves by the estimate."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from refusals import refused
from torch import nn

from thumbtune.errors import UsageError
from thumbtune.models.sharding import units_of
from thumbtune.runs import build, checks, sharding
from thumbtune.runs.forecast import Forecast, memory_lines
from thumbtune.runs.memory_estimate import estimate
from thumbtune.runs.recipe import Recipe, parse_recipe, read_recipe
from thumbtune.runs.run import refuse_differences
from thumbtune.runs.sharded_memory import Division

ON = "train.shard=true"
Tiny = Callable[[str], Path]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["train.blocks_to_swap=all", "train.gradient_checkpointing=true"], "train.blocks_to_swap"),
        (["train.quantize_base=int8"], "train.quantize_base"),
        (["train.quantize_base=nf4"], "train.quantize_base"),
        (["train.weights=full", "train.optimizer=adamw-8bit"], "adamw-8bit"),
    ],
)
def test_what_does_not_go_with_it_is_refused(options: list[str], named: str) -> None:
    with refused("option-unused", UsageError, naming=["train.shard", named]):
        read_recipe(None, [ON, *options])


def test_it_is_off_and_goes_with_a_lora_in_8_bit_moments() -> None:
    assert Recipe().train.shard is False
    assert read_recipe(None, [ON, "train.optimizer=adamw-8bit"]).train.shard


@pytest.mark.parametrize("name", ["fsdp", "train.fsdp", "fully_shard", "zero_stage", "deepspeed"])
def test_the_names_of_other_trainers_lead_to_it(name: str) -> None:
    with refused("recipe-unknown-option", UsageError, naming="train.shard"):
        parse_recipe({name: True}, "The recipe")


def test_a_run_may_go_on_without_it(tmp_path: Path) -> None:
    old, new = read_recipe(None, ["likes=x"]), read_recipe(None, ["likes=x", ON])
    refuse_differences(old, new, tmp_path)
    refuse_differences(new, old, tmp_path)


def test_one_process_has_the_network_whole_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = read_recipe(None, [ON])
    assert any("train.shard" in note for note in checks.settings_notes(recipe))
    assert not any("train.shard" in note for note in checks.settings_notes(Recipe()))
    monkeypatch.setattr(checks, "team", lambda: SimpleNamespace(num_processes=2))
    assert not any("train.shard" in note for note in checks.settings_notes(recipe))


def test_networks_that_take_turns_are_refused() -> None:
    model: Any = SimpleNamespace(
        networks={"transformer": nn.Linear(1, 1), "transformer_2": nn.Linear(1, 1)}, family=SimpleNamespace(name="Wan")
    )
    recipe = read_recipe(None, [ON])
    sharding.check_division(recipe, model, SimpleNamespace(num_processes=1))
    sharding.check_division(Recipe(), model, SimpleNamespace(num_processes=2))
    with refused("shard-several-networks", UsageError, naming=["Wan", "2"]):
        sharding.check_division(recipe, model, SimpleNamespace(num_processes=2))


def test_a_torch_that_cannot_divide_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.distributed.fsdp", None)
    model: Any = SimpleNamespace(networks={"unet": nn.Linear(1, 1)})
    sharding.check_division(read_recipe(None, [ON]), model, SimpleNamespace(num_processes=1))
    with refused("shard-missing", UsageError, naming=["train.shard", "torch.distributed"]):
        sharding.check_division(read_recipe(None, [ON]), model, SimpleNamespace(num_processes=2))


@pytest.mark.parametrize("name", ["epsilon", "sd3", "flux", pytest.param("ltx", marks=pytest.mark.slow)])
def test_units_are_small_blocks_that_share_no_weight(tiny_pipeline: Tiny, name: str) -> None:
    network = build.model_of(read_recipe(None, [f"model={tiny_pipeline(name)}", "train.precision=no"])).network
    units = units_of(network)
    weights = [weight for unit in units for weight in unit.parameters()]
    assert len(weights) == len(set(weights))
    assert not any(other in [*unit.modules()][1:] for unit in units for other in units)
    outside = sum(weight.numel() for weight in set(network.parameters()) - set(weights))
    assert outside < 0.7 * sum(weight.numel() for weight in network.parameters())  # of so tiny networks
    assert len(units) > 1


def test_a_network_that_names_no_blocks_is_divided_by_its_lists() -> None:
    network = nn.Module()
    network.blocks = nn.ModuleList([nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 2)])
    assert units_of(network) == [network.blocks[0], network.blocks[2]]


def test_a_division_by_hand() -> None:
    full = Division(processes=4, divided=1000, units=(300, 200, 100, 400), is_full=True)
    assert (full.saved, full.gathered) == (750, 400 + 300 + 200 + 300 + 2 * 400)
    counted = {"optimiser": 500 + 500, "reference": 500, "step": 5000}  # a reference in 16 bits
    assert full.of_step(counted, 1000) == {
        "optimiser": 500 + 250,
        "reference": 250,
        "step": 5000 - 250 - 750 + full.gathered,
        "gathered": full.gathered,
    }
    lora = Division(processes=3, divided=1000, units=(1000, 0), is_full=False)
    assert (lora.saved, lora.gathered) == (1000 - 334, 2000)
    assert lora.of_step({"optimiser": 7, "reference": 0, "step": 3000}, 99)["optimiser"] == 7


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["full", "lora"])
def test_the_estimate_is_that_of_each_process(tiny_pipeline: Tiny, weights: str) -> None:
    chosen = [f"model={tiny_pipeline('sd3')}", "train.precision=no", "train.ema=0.5", f"train.weights={weights}"]
    plain = read_recipe(None, chosen)
    counts = {n: estimate(read_recipe(None, [*chosen, ON]), 1, at_once=1, processes=n) for n in (1, 2, 4)}
    whole = estimate(plain, 1, at_once=1, processes=2)
    assert whole is not None and counts[1] == whole and whole.gathered == 0
    network = build.model_of(plain).network
    size = sum(w.nbytes for w in network.parameters() if weights == "full" or not w.requires_grad)
    for n in (2, 4):
        one = counts[n]
        assert one is not None and one.gathered > 0
        saved = size - -(-size // n)
        assert whole.networks["transformer"] - one.networks["transformer"] == saved
        if weights == "lora":
            assert whole.step - one.step == saved - one.gathered and one.optimiser == whole.optimiser
        else:  # two moments, the average and the reference
            assert one.optimiser == pytest.approx(whole.optimiser / n, abs=2 * n)
            less = saved + (whole.optimiser - one.optimiser) - one.gathered
            # at the peak there may be no gradient yet or all of it; a process keeps its part all the time
            assert less - -(-size // n) <= whole.step - one.step <= less + saved
    two = counts[2]
    assert two is not None
    (line,) = [line for line in memory_lines(Forecast(estimate=two, beside=0, room=1)) if "each process" in line]
    assert "gathers of it takes up to" in line
    assert not any("each process" in line for line in memory_lines(Forecast(estimate=whole, beside=0, room=1)))
