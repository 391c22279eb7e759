"""A run that begins from a LoRA: its first log-ratios, resume, its copy of the LoRA, its baseline and its refusals."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from refusals import refused
from safetensors.torch import load_file, save_file

from thumbtune.duels.sides import side
from thumbtune.models.loading import load_pipeline
from thumbtune.runs import lora_copy, run
from thumbtune.runs.memory_estimate import estimate
from thumbtune.runs.recipe import read_recipe
from thumbtune.runs.tuning import tune
from thumbtune.training.progress import quiet

Call = Callable[..., tuple[int, str, str]]
SMALL = ("train.steps=4", "train.batch=4", "train.micro_batch=2", "train.checkpoint_every=1", "train.validate_every=0")
FILES = ("pytorch_lora_weights.safetensors", "kohya.safetensors")


@pytest.fixture
def base(tiny_pipeline: Callable[[str], Path]) -> str:
    return str(tiny_pipeline("epsilon"))


@pytest.fixture
def start(base: str, tmp_path: Path) -> Path:
    """A LoRA of kohya for UNet and text encoder, with a rank and an alpha of each layer."""
    pipeline, random, tensors = load_pipeline(base), torch.Generator().manual_seed(0), {}
    places = [("lora_unet", pipeline.unet, "", ("attn1.to_q", "attn2.to_v", "resnets.0.conv1"))]
    places += [("lora_te", pipeline.text_encoder, "text_model.", ("self_attn.q_proj",))]
    for prefix, network, level, ends in places:
        for i, (name, module) in enumerate(network.named_modules()):
            if name.endswith(ends):
                shape, rank = module.weight.shape, 1 + i % 3
                flat = f"{prefix}_{(level + name.removeprefix('text_model.')).replace('.', '_')}"
                up = torch.randn(shape[0], rank, *(1 for _ in shape[2:]), generator=random) * 0.3
                tensors |= {f"{flat}.lora_down.weight": torch.randn(rank, *shape[1:], generator=random) * 0.3}
                tensors |= {f"{flat}.lora_up.weight": up, f"{flat}.alpha": torch.tensor(0.5 + i % 2)}
    (tmp_path / "given").mkdir()
    save_file(tensors, tmp_path / "given" / "old.safetensors")
    return tmp_path / "given" / "old.safetensors"


def settings(likes: Path, base: str, start: Path, *more: str) -> list[str]:
    return [f"likes={likes}", f"model={base}", f"lora.start={start}", *SMALL, *more]


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("train.ema=0.5", "train.sync_reference_every=2")])
def test_the_first_step_has_no_log_ratio_and_resume_is_bit_for_bit(
    six_of_each: Path, base: str, start: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    recipe = read_recipe(None, settings(six_of_each, base, start, "train.lr=0.01", *more))
    whole = [step.as_dict() for step in tune(recipe, tmp_path / "whole", quiet)]
    assert (whole[0]["liked_log_ratio"] or 0, whole[0]["disliked_log_ratio"] or 0) == (0, 0)
    assert any(row["liked_log_ratio"] for row in whole[1:])
    begun = tune(recipe, tmp_path / "broken", quiet)
    assert [next(begun).step for _ in range(2)] == [1, 2]
    del begun
    rest = [step.as_dict() for step in tune(recipe, tmp_path / "broken", quiet, resume=True)]
    assert [{**row, "seconds": 0} for row in whole[2:]] == [{**row, "seconds": 0} for row in rest]
    for name in FILES:
        one, other = (tmp_path / folder / "lora" / name for folder in ("whole", "broken"))
        assert one.read_bytes() == other.read_bytes()
    given, result = load_file(start), load_file(tmp_path / "whole" / "lora" / FILES[1])
    assert given.keys() == result.keys()
    same = {key.split("_")[1] for key, value in given.items() if torch.equal(value, result[key]) and "alpha" not in key}
    assert same == {"te"}


@pytest.mark.slow
def test_a_run_needs_its_lora_to_go_on_and_not_to_be_used(
    six_of_each: Path, base: str, start: Path, tmp_path: Path
) -> None:
    recipe, folder = read_recipe(None, settings(six_of_each, base, start)), tmp_path / "run"
    list(tune(recipe, folder, quiet))
    copy = folder / "own" / "start" / "old.safetensors"
    assert (
        copy.read_bytes() == start.read_bytes() and f"{copy.relative_to(folder)}" in (folder / "SHA256SUMS").read_text()
    )
    run.check(recipe, folder, resume=True)
    with start.open("ab") as file:
        file.write(b" ")
    with refused("run-file-changed", naming=[str(start), str(copy)]):
        run.check(recipe, folder, resume=True)
    start.unlink()
    with refused("run-start-missing", naming=[str(start), str(copy)]):
        run.check(recipe, folder, resume=True)
    weights = []
    for name in (folder, folder / "checkpoints" / "step-000004"):
        load = side(str(name)).load
        assert load is not None
        weights.append(dict(load("cpu").trainable()))
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_a_run_may_begin_from_another_run(six_of_each: Path, base: str, start: Path, tmp_path: Path) -> None:
    list(tune(read_recipe(None, settings(six_of_each, base, start, "train.lr=0.01")), tmp_path / "one", quiet))
    recipe = read_recipe(None, settings(six_of_each, base, tmp_path / "one"))
    list(tune(recipe, tmp_path / "two", quiet))
    assert lora_copy.of_run(tmp_path / "two").read_bytes() == (tmp_path / "one" / "lora" / FILES[0]).read_bytes()
    shutil.rmtree(tmp_path / "one")
    model = run.trained_model(recipe, tmp_path / "two")
    kept, first = load_file(lora_copy.of_run(tmp_path / "two")), load_file(tmp_path / "two" / "lora" / FILES[0])
    with model.reference():
        now = {name: weight.clone() for name, weight in model.trainable()}
    assert kept.keys() == first.keys() and len(now) == len([key for key in kept if key.startswith("unet.")])


@pytest.mark.slow
def test_with_the_base_as_reference_the_first_log_ratios_are_what_the_lora_gained(
    six_of_each: Path, base: str, start: Path, tmp_path: Path
) -> None:
    save_file({key: value for key, value in load_file(start).items() if key.startswith("lora_unet")}, start)
    more = ("lora.reference=base", "train.lr=0.01")
    whole = tune(read_recipe(None, settings(six_of_each, base, start, *more)), tmp_path / "whole", quiet)
    rows = [step.as_dict() for step in whole]
    assert rows[0]["liked_log_ratio"]
    begun = tune(read_recipe(None, settings(six_of_each, base, start, *more)), tmp_path / "broken", quiet)
    assert [next(begun).step for _ in range(2)] == [1, 2]
    del begun
    again = tune(read_recipe(None, settings(six_of_each, base, start, *more)), tmp_path / "broken", quiet, resume=True)
    assert [{**step.as_dict(), "seconds": 0} for step in again] == [{**row, "seconds": 0} for row in rows[2:]]
    last = next(iter(tune(read_recipe(None, settings(six_of_each, base, start)), tmp_path / "last", quiet))).as_dict()
    assert not last["liked_log_ratio"] and not last["disliked_log_ratio"]
    plain = ["train.lr=1e-12", *settings(six_of_each, base, start)[:2], *SMALL]
    other = next(iter(tune(read_recipe(None, plain), tmp_path / "plain", quiet))).as_dict()
    assert rows[0]["reference_error"] == other["reference_error"] != last["reference_error"]


@pytest.mark.slow
def test_the_baseline_of_an_evaluation_is_the_lora(
    call: Call, likes: Path, base: str, start: Path, small: list[str], tmp_path: Path
) -> None:
    chosen = settings(
        likes, base, start, *small, "evaluate.steps=2", "evaluate.per_prompt=2", "train.validation_share=0.5"
    )
    options = [word for option in chosen for word in ("--set", option)]
    assert call("train", "--out", tmp_path / "run", *options)[0] == 0
    start.unlink()
    assert "Traceback" not in call("evaluate", tmp_path / "run")[2]
    found = json.loads((tmp_path / "run" / "evaluation" / "verdict.json").read_text())
    manifest = json.loads((tmp_path / "run" / "evaluation" / "duel.json").read_text())
    copy = lora_copy.of_run(tmp_path / "run")
    assert str(copy).endswith(found["against"]) and found["agreement"] is not None
    assert manifest["sides"]["a"]["kind"] == "lora"
    assert "Traceback" not in call("evaluate", tmp_path / "run", "--against", base, "--out", tmp_path / "plain")[2]
    plain = json.loads((tmp_path / "plain" / "verdict.json").read_text())
    assert base.endswith(plain["against"]) and "the LoRA that it began from" in plain["no_agreement"]


def test_a_reference_needs_a_lora_to_begin_from() -> None:
    with refused("option-unused", naming="lora.reference works only with lora.start"):
        read_recipe(None, ["lora.reference=base"])
    assert read_recipe(None, ["lora.start=a.safetensors", "lora.reference=base"]).lora.reference == "base"


@pytest.mark.parametrize(
    "option", ["rank=4", "alpha=3", "targets=with-convolutions", "dora=true", "conv_rank=2", "conv_alpha=1"]
)
def test_what_the_file_gives_is_refused(option: str) -> None:
    with refused("option-unused", naming=f"lora.{option.split('=', maxsplit=1)[0]} is not used with lora.start"):
        read_recipe(None, ["lora.start=a.safetensors", f"lora.{option}"])


def test_all_weights_begin_from_no_lora() -> None:
    with refused("option-unused", naming="does not use the options of lora"):
        read_recipe(None, ["lora.start=a.safetensors", "train.weights=full"])


@pytest.mark.slow
def test_the_forecast_counts_its_layers(six_of_each: Path, base: str, start: Path) -> None:
    with_start = estimate(read_recipe(None, settings(six_of_each, base, start)))
    plain = estimate(read_recipe(None, settings(six_of_each, base, start)[:2]))
    assert with_start is not None and plain is not None
    assert with_start.networks["text_encoder"] > plain.networks["text_encoder"]
