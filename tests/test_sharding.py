"""Two processes that divide a network train what one process with the whole network does, and write the same files."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import in_shards
import numpy as np
import pytest
import torch
from coloured_likes import likes_in
from PIL import Image
from safetensors.torch import load_file

pytestmark = pytest.mark.slow
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
PATIENCE = 400  # seconds, on a busy machine: a process that waits for a pass of another one would wait for hours
OPTIONS = [
    *("train.batch=4", "train.micro_batch=2", "train.steps=6", "train.lr=1e-3", "train.warmup=0", "train.cooldown=0"),
    *("train.checkpoint_every=2", "train.validation_share=0.3", "train.validate_every=3", "train.size=16"),
    *("objective.beta=100", "evaluate.steps=1", "evaluate.size=16", "train.shard=true"),
]
FULL = ["train.weights=full", "train.ema=0.5"]
HALF = ["train.precision=bf16", "train.gradient_checkpointing=true"]
PLAIN = ["train.shard=false"]
FEW = ["train.steps=3", "train.micro_batch=1", "train.validation_share=0"]
SHAPES = [(16, 16), (64, 16), (16, 64), (24, 16), (40, 16)]
FILES = {
    "full-sd": "unet",
    "lora-sd": "lora",
    "full-sd3": "transformer",
    "lora-sd3": "lora",
    "pairs": "lora",
    "mismatched": "unet",
}
WEIGHTS = {"lora": "pytorch_lora_weights.safetensors"}
Work = Sequence[tuple[str, list[str], int, bool]]


def done(folder: Path, processes: int, work: Work) -> None:
    """Do some work in one process or in several."""
    (folder / "work.json").write_text(json.dumps(work))
    if processes == 1:
        in_shards.main(folder)
        return
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command += [in_shards.__file__, str(folder)]
    ended = subprocess.run(command, check=False, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 0, ended.stderr[-4000:]


def runs_of(folder: Path, models: dict[str, Path]) -> dict[str, tuple[list[str], bool]]:
    """Every run by its name: its options, and whether images are broken."""
    plain = [f"likes={likes_in(folder / 'plain', SHAPES[:1])}", *OPTIONS]
    shaped = [
        f"likes={likes_in(folder / 'shaped', SHAPES)}",
        *OPTIONS,
        "train.steps=3",
        "train.micro_batch=1",
        "train.validation_share=0",
    ]
    sd, sd3 = f"model={models['sd']}", f"model={models['sd3']}"
    few = "train.steps=2"
    return {
        "full-sd": ([*plain, sd, *FULL, "train.sync_reference_every=3", "train.sample_every=4"], False),
        "lora-sd": ([*plain, sd, "train.ema=0.5", "train.sync_reference_every=3"], False),
        "full-sd3": ([*plain, sd3, *FULL, HALF[1], few], False),
        "lora-sd3": ([*plain, sd3, *HALF, few], False),
        "mismatched": (
            [
                *(*shaped, sd, *FULL, "train.batch=8", "train.sync_reference_every=2"),
                *("objective.reference_point=mismatched", "train.noise_draws=2"),
            ],
            True,
        ),
        "interrupted": ([*plain, sd, "train.weights=full", "train.checkpoint_every=100"], False),
        "pairs": ([*shaped, sd, "objective.name=dpo"], True),
        "guarded": ([*plain, sd, *FULL[:1], "train.lr=1e30", "train.steps=60"], False),
    }


@pytest.fixture(scope="module")
def runs(tiny_pipeline: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all runs: `one/` has those of one process, `two/` those of two.

    Two of these are trained in turn by two processes that divide the network, one process, two again, and two that have
    it whole.
    """
    folder = tmp_path_factory.mktemp("shards")
    named = runs_of(folder, {"sd": tiny_pipeline("epsilon"), "sd3": tiny_pipeline("sd3")})
    in_turn = ("full-sd", "lora-sd")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_shards.tuning, "Training", in_shards.tuning.Training)  # put back at the end
        patch.setattr(in_shards.Batches, "batch", in_shards.Batches.batch)
        rest = [(f"two/{name}", options, 0, broken) for name, (options, broken) in named.items() if name not in in_turn]
        rest = [
            (name, options, -2 if "interrupted" in name else until, broken) for name, options, until, broken in rest
        ]
        done(folder, 2, [*rest, *((f"two/{name}", named[name][0], 2, False) for name in in_turn)])
        named.pop("interrupted")
        alone = [(f"one/{name}", options, 0, broken) for name, (options, broken) in named.items()]
        done(folder, 1, [*alone, *((f"two/{name}", named[name][0], 3, False) for name in in_turn)])
        done(
            folder,
            2,
            [
                (f"two/{name}", [*named[name][0], *more], until, False)
                for name in in_turn
                for until, more in ((5, []), (0, PLAIN))
            ],
        )
    return folder


def log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["full-sd", "lora-sd", "full-sd3", "lora-sd3", "mismatched", "pairs"])
def test_two_processes_have_the_losses_of_one(runs: Path, name: str) -> None:
    alone, divided = log(runs / "one" / name), log(runs / "two" / name)
    assert len(alone) == len(divided) > 1
    for one, two in zip(alone, divided, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
        # a weight that differs in its last bit may be another number of bf16
        assert two["policy_error"] == pytest.approx(one["policy_error"], rel=1e-3 if name == "lora-sd3" else 1e-5)
        assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-2 if name == "lora-sd3" else 1e-3)
        assert [two[key] for key in ("step", "skipped", "synced")] == [
            one[key] for key in ("step", "skipped", "synced")
        ]
        for key in ("agreement", "held_out_liked"):
            assert (two[key] is None) == (one[key] is None)
    if name in ("mismatched", "pairs"):
        assert all(step["skipped"] > 0 for step in alone)
    if name.endswith("-sd"):
        assert [step["synced"] for step in divided] == [False, False, True, False, False, False]
        assert divided[2]["agreement"] is not None


@pytest.mark.parametrize("name", FILES)
def test_the_result_has_the_form_and_the_weights_of_one_process(runs: Path, name: str) -> None:
    file = Path(FILES[name], WEIGHTS.get(FILES[name], "diffusion_pytorch_model.safetensors"))
    one, two = (load_file(runs / kind / name / file) for kind in ("one", "two"))
    assert [(key, value.shape, value.dtype) for key, value in one.items()] == [
        (key, value.shape, value.dtype) for key, value in two.items()
    ]
    # Adam's first steps are signs: a gradient of about 0 may have another one
    close = [(one[key] - two[key]).abs().mean() < 0.02 * 1e-3 for key in one]
    assert all(close)
    if FILES[name] != "lora":
        config = Path(FILES[name], "config.json")
        assert (runs / "one" / name / config).read_bytes() == (runs / "two" / name / config).read_bytes()


LOADED = """
import sys, torch, diffusers
from safetensors.torch import load_file
base, sd3, full, full3, lora = sys.argv[1:]
unet = diffusers.UNet2DConditionModel.from_pretrained(full, subfolder="unet")
stored = load_file(f"{full}/unet/diffusion_pytorch_model.safetensors")
assert all(torch.equal(value, stored[key]) for key, value in unet.state_dict().items())
diffusers.SD3Transformer2DModel.from_pretrained(full3, subfolder="transformer")
pipeline = diffusers.StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
before = {key: value.clone() for key, value in pipeline.unet.state_dict().items()}
pipeline.load_lora_weights(f"{lora}/lora")
pipeline.fuse_lora()
assert any("lora_B" in name and weight.abs().max() > 0 for name, weight in pipeline.unet.named_parameters())
for tuned in (pipeline, diffusers.StableDiffusionPipeline.from_pretrained(base, unet=unet, safety_checker=None)):
    tuned.set_progress_bar_config(disable=True)
    assert tuned("a cat", num_inference_steps=1, height=16, width=16).images[0].size == (16, 16)
print("loaded")
"""


def test_diffusers_loads_the_results_in_another_process(runs: Path, tiny_pipeline: Callable[[str], Path]) -> None:
    results = (runs / "two" / name for name in ("mismatched", "full-sd3", "pairs"))  # written by a divided network
    words = [sys.executable, "-c", LOADED, tiny_pipeline("epsilon"), tiny_pipeline("sd3"), *results]
    ended = subprocess.run(list(map(str, words)), check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.stdout.split() == ["loaded"], ended.stderr[-4000:]


def scale_of(tensor: torch.Tensor) -> float:
    """The size of a step of a weight, or of numbers that are smaller."""
    return min(1e-3, float(tensor.abs().mean())) or 1e-9


def test_checkpoints_of_both_have_the_same_tensors(runs: Path) -> None:
    for name in ("full-sd", "lora-sd", "full-sd3"):
        one, two = (runs / kind / name / "checkpoints" / "step-000002" for kind in ("one", "two"))
        files = sorted(path.name for path in one.glob("*.safetensors"))
        assert sorted(path.name for path in two.glob("*.safetensors")) == files
        assert {"weights.safetensors", "optimizer.safetensors", "average.safetensors"} <= {*files}
        for file in files:
            first, second = load_file(one / file), load_file(two / file)
            assert {key: value.shape for key, value in first.items()} == {k: v.shape for k, v in second.items()}
            # the mean of each, as above; of moments, whose numbers are small, as a part of them
            far = [key for key in first if (first[key] - second[key]).abs().mean() > 0.02 * scale_of(first[key])]
            assert not far, (name, file)
        if name.endswith("-sd"):
            assert (two.parent / "step-000004" / "reference.safetensors").exists()


def test_a_process_holds_half_of_everything(runs: Path) -> None:
    def held(name: str, of: str) -> dict[str, int]:
        return json.loads((runs / f"{name}-{of}.json").read_text())

    for name in ("full-sd", "full-sd3"):
        alone = held(f"one/{name}", "0-of-1")
        halves = [held(f"two/{name}", f"{rank}-of-2") for rank in (0, 1)]
        assert alone["trained"] > 0 and alone["optimiser"] == 2 * alone["trained"] == 2 * alone["ema"]
        for part in ("network", "trained", "optimiser", "ema"):
            assert sum(half[part] for half in halves) == alone[part]  # no row is held twice
            assert all(half[part] < 0.55 * alone[part] for half in halves)
    alone, first, second = (held("one/lora-sd3", "0-of-1"), *(held("two/lora-sd3", f"{rank}-of-2") for rank in (0, 1)))
    assert first["trained"] == second["trained"] == alone["trained"]  # a LoRA is whole in both
    base = alone["network"] - alone["trained"]
    assert first["network"] + second["network"] - 2 * alone["trained"] == base
    assert first["network"] - alone["trained"] < 0.55 * base


def test_of_two_processes_one_draws_samples_while_both_make_the_passes(runs: Path) -> None:
    for step in (0, 4, 6):
        files = [
            sorted((runs / kind / "full-sd" / "samples" / f"step-{step:06d}").iterdir()) for kind in ("one", "two")
        ]
        assert [path.name for path in files[0]] == [path.name for path in files[1]] and files[0]
        for one, two in zip(*files, strict=True):
            with Image.open(one) as first, Image.open(two) as second:
                assert np.abs(np.array(first).astype(int) - np.array(second)).max() <= 2  # of 255


def test_a_guard_stops_all_processes_and_they_restore_the_best_checkpoint_together(runs: Path) -> None:
    one, two = (json.loads((runs / kind / "guarded" / "stopped.json").read_text()) for kind in ("one", "two"))
    assert one["best"] == two["best"] == 0 < two["step"] == one["step"] < 60
    kept = load_file(runs / "two" / "guarded" / "checkpoints" / f"step-{two['best']:06d}" / "weights.safetensors")
    result = load_file(runs / "two" / "guarded" / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(result[name].equal(value) for name, value in kept.items())


def test_ctrl_c_in_one_process_saves_the_rows_of_both(runs: Path) -> None:
    run = runs / "two" / "interrupted"
    steps = [step["step"] for step in log(run)]
    assert steps[-1] in (2, 3)  # a signal may come after the processes have asked each other
    saved = run / "checkpoints" / f"step-{steps[-1]:06d}"
    assert json.loads((saved / "state.json").read_text())["step"] == steps[-1]
    shapes = {name: weight.shape for name, weight in load_file(saved / "weights.safetensors").items()}
    other = load_file(runs / "one" / "full-sd" / "checkpoints" / "step-000002" / "weights.safetensors")
    assert shapes == {name: weight.shape for name, weight in other.items()}
