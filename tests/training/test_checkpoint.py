"""Checkpoints: a resumed run is the run that was never interrupted, and nothing is half-written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from refusals import refused
from safetensors.torch import load_file, save_file
from torch import Tensor

from thumbtune.objective.kto import KTO
from thumbtune.objective.reference_point import REFERENCE_POINTS
from thumbtune.training import checkpoint
from thumbtune.training.batches import Batches
from thumbtune.training.cache import Cache
from thumbtune.training.encoded import Encoded
from thumbtune.training.optimizers import slots_of
from thumbtune.training.step import Step
from thumbtune.training.trainer import Training, train

POINTS = [(i / 11, (i * 5 % 12) / 11) for i in range(12)]
RIGHT = [x > 0.5 for x, _ in POINTS]
OBJECTIVE = KTO(beta=3.0)

Start = Callable[..., tuple[Training, Batches]]


@pytest.fixture
def plane_run(make_plane: Any, make_batches: Any, make_training: Any) -> Start:
    """reference_point -> a training and its batches, all fresh, as a new process would make them."""

    def start(reference_point: str = "batch", **options: Any) -> tuple[Training, Batches]:
        plane = make_plane()
        batches = make_batches(plane, POINTS, RIGHT)
        return make_training(
            plane, reference_point, micro_batch=4, warmup=4, weight_decay=0.01, max_grad_norm=1.0, **options
        ), batches

    return start


@pytest.fixture
def diffusion_run(make_diffusion: Any, make_likes: Any, make_training: Any, tmp_path: Path) -> Start:
    """The same on a tiny Stable Diffusion with a LoRA, eight noisy images and their prompts."""
    noise = np.random.default_rng(0)

    images = [Image.fromarray(noise.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(8)]

    def start(
        reference_point: str = "batch", prediction: str = "epsilon", rank: int = 4, **options: Any
    ) -> tuple[Training, Batches]:
        model = make_diffusion(prediction, rank=rank)
        likes = make_likes(images, [True, False] * 4, prompts=list("abcdefgh"))
        encoded = Encoded(likes, model, Cache(tmp_path / "cache")).fill()
        batches = Batches(encoded=encoded, process=model.process, size=4, liked_share=0.5, prompt_dropout=0.2)
        return make_training(
            model, reference_point, micro_batch=2, weight_decay=0.01, max_grad_norm=1.0, **options
        ), batches

    return start


def run(training: Training, batches: Batches, upto: int = 10) -> list[dict[str, Any]]:
    """The steps as they are logged, without the seconds."""
    steps: list[Step] = []
    for step in train(training, batches, OBJECTIVE):
        steps.append(step)
        if step.step == upto:
            break
    return [{name: value for name, value in step.as_dict().items() if name != "seconds"} for step in steps]


def trained(training: Training) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in training.model.trainable()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def five_and_five_are_ten(start: Start, folder: Path, **options: Any) -> None:
    through, batches = start(**options)
    before = trained(through)
    expected = run(through, batches)

    first, batches = start(**options)
    early = run(first, batches, upto=5)
    checkpoint.save(first, folder)
    del first, batches

    second, batches = start(**options)
    newest = checkpoint.latest(folder)
    assert newest is not None
    checkpoint.restore(second, newest)
    assert second.step == 5
    late = run(second, batches)
    assert early + late == expected
    assert equal(trained(second), trained(through))
    assert not equal(trained(second), before)
    slots = [slots_of(t.optimizer) for t in (through, second)]
    assert all(torch.equal(slots[0][i][name], slots[1][i][name]) for i in slots[0] for name in slots[0][i])
    assert second.beta.state() == through.beta.state()
    assert all(torch.equal(a, b) for a, b in zip(second.ema.values, through.ema.values, strict=True))
    assert equal(second.model.reference_state(), through.model.reference_state())


@pytest.mark.parametrize("reference_point", REFERENCE_POINTS)
def test_ten_steps_are_five_and_five_after_a_resume_on_the_plane(
    plane_run: Start, tmp_path: Path, reference_point: str
) -> None:
    five_and_five_are_ten(plane_run, tmp_path, reference_point=reference_point)


@pytest.mark.slow
@pytest.mark.parametrize(("prediction", "reference_point"), [("epsilon", "batch"), ("v_prediction", "running")])
def test_ten_steps_are_five_and_five_after_a_resume_of_stable_diffusion(
    diffusion_run: Start, tmp_path: Path, prediction: str, reference_point: str
) -> None:
    five_and_five_are_ten(diffusion_run, tmp_path, prediction=prediction, reference_point=reference_point)


STABLE: list[dict[str, Any]] = [
    {"auto": True},
    {"ema": 0.9},
    {"sync_reference_every": 3},
    {"auto": True, "ema": 0.9, "sync_reference_every": 3, "reference_point": "running"},
]


@pytest.mark.parametrize("options", STABLE, ids=["auto", "ema", "refresh", "all"])
def test_ten_steps_are_five_and_five_with_beta_average_and_reference_on_the_plane(
    plane_run: Start, tmp_path: Path, options: dict[str, Any]
) -> None:
    five_and_five_are_ten(plane_run, tmp_path, **options)


@pytest.mark.slow
@pytest.mark.parametrize("refresh", [0, 3])
def test_ten_steps_are_five_and_five_with_beta_average_and_reference_of_stable_diffusion(
    diffusion_run: Start, tmp_path: Path, refresh: int
) -> None:
    five_and_five_are_ten(diffusion_run, tmp_path, auto=True, ema=0.9, sync_reference_every=refresh)
    (folder,) = (tmp_path / "checkpoints").iterdir()
    assert (folder / "reference.safetensors").exists() == bool(refresh) and (folder / "average.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [4, 256])  # moments of 4096 numbers or more are in 8 bits
def test_ten_steps_are_five_and_five_with_moments_in_8_bits(diffusion_run: Start, tmp_path: Path, rank: int) -> None:
    pytest.importorskip("bitsandbytes")
    options: dict[str, Any] = {"optimizer": "adamw-8bit", "rank": rank, "ema": 0.9}
    five_and_five_are_ten(diffusion_run, tmp_path, **options)
    stored = load_file(checkpoint.folder_of(tmp_path, 5) / "optimizer.safetensors")
    kinds = {value.dtype for name, value in stored.items() if name.endswith(".state1")}
    assert kinds == ({torch.float32} if rank == 4 else {torch.float32, torch.uint8})
    assert {int(value) for name, value in stored.items() if name.endswith(".step")} == {5}


@pytest.mark.slow
def test_a_checkpoint_of_another_optimiser_gets_a_sentence_and_changes_nothing(
    diffusion_run: Start, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    for first, second in (("adamw-8bit", "adamw"), ("adamw", "adamw-8bit")):
        training, batches = diffusion_run(optimizer=first)
        run(training, batches, upto=2)
        folder = checkpoint.save(training, tmp_path / first)
        other, _ = diffusion_run(optimizer=second)
        before = trained(other)
        with refused("checkpoint-other-optimizer", naming=[folder, first, second]):
            checkpoint.restore(other, folder)
        assert equal(trained(other), before) and other.step == 0


@pytest.mark.slow
def test_a_refreshed_reference_is_the_policy_of_that_moment(diffusion_run: Start) -> None:
    training, batches = diffusion_run(sync_reference_every=3)
    steps = run(training, batches, upto=3)
    assert [step["synced"] for step in steps] == [False, False, True]
    assert equal(training.model.reference_state(), trained(training))
    after = run(training, batches, upto=4)[0]
    assert after["liked_log_ratio"] == 0 and after["disliked_log_ratio"] == 0
    assert steps[2]["liked_log_ratio"] != 0


@pytest.mark.parametrize(("made", "wanted"), [({"auto": True}, {}), ({}, {"auto": True}), ({"ema": 0.9}, {})])
def test_a_checkpoint_with_another_beta_or_average_gets_a_sentence(
    plane_run: Start, tmp_path: Path, made: dict[str, Any], wanted: dict[str, Any]
) -> None:
    training, batches = plane_run(**made)
    run(training, batches, upto=1)
    folder = checkpoint.save(training, tmp_path)
    other, _ = plane_run(**wanted)
    before = trained(other)
    with refused("checkpoint-other-recipe", naming=[folder, "objective.beta", "train.ema"]):
        checkpoint.restore(other, folder)
    assert equal(trained(other), before) and other.step == 0


def test_a_checkpoint_holds_safetensors_and_json_and_nothing_else(plane_run: Start, tmp_path: Path) -> None:
    training, batches = plane_run("running")
    run(training, batches, upto=2)
    folder = checkpoint.save(training, tmp_path)
    assert folder == tmp_path / "checkpoints" / "step-000002"
    assert sorted(file.name for file in folder.iterdir()) == [
        "optimizer.safetensors",
        "state.json",
        "weights.safetensors",
    ]
    assert equal(load_file(folder / "weights.safetensors"), trained(training))
    assert json.loads((folder / "state.json").read_text())["reference_point"] == training.reference_point.state()


def test_saving_the_same_step_again_replaces_it(plane_run: Start, tmp_path: Path) -> None:
    training, batches = plane_run()
    run(training, batches, upto=1)
    folder = checkpoint.save(training, tmp_path)
    with torch.no_grad():
        training.parameters[0].zero_()
    assert checkpoint.save(training, tmp_path) == folder
    assert not load_file(folder / "weights.safetensors")["layers.0.weight"].any()


def test_the_latest_checkpoint_is_that_of_the_highest_step(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None
    for step in (5, 40, 200, 999_999):
        checkpoint.folder_of(tmp_path, step).mkdir(parents=True)
    (tmp_path / "checkpoints" / ".step-999999999.partial").mkdir()
    assert checkpoint.latest(tmp_path) == checkpoint.folder_of(tmp_path, 999_999)


def test_pruning_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    for step in (0, 5, 10, 15, 1_000_000):
        checkpoint.folder_of(tmp_path, step).mkdir(parents=True)
    aside = checkpoint.folder_of(tmp_path, 5).with_name("step-000005.old")
    aside.mkdir()  # by somebody who keeps a damaged one
    checkpoint.prune(tmp_path, 2, {5})
    assert checkpoint.steps_in(tmp_path) == [5, 15, 1_000_000]
    checkpoint.prune(tmp_path, 1, set())
    assert checkpoint.steps_in(tmp_path) == [1_000_000]
    checkpoint.prune(tmp_path, 3, set())
    assert checkpoint.steps_in(tmp_path) == [1_000_000]
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {aside.name, "step-1000000"}


def test_a_checkpoint_that_cannot_be_deleted_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (1, 2):
        checkpoint.folder_of(tmp_path, step).mkdir(parents=True)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("thumbtune.training.checkpoint.os.replace", refuse)
    checkpoint.prune(tmp_path, 1, set())
    assert checkpoint.steps_in(tmp_path) == [1, 2]


def test_the_latest_checkpoint_is_that_of_the_highest_step_past_a_million_too(tmp_path: Path) -> None:
    for step in (999_999, 1_000_000):
        checkpoint.folder_of(tmp_path, step).mkdir(parents=True)
    assert checkpoint.latest(tmp_path) == checkpoint.folder_of(tmp_path, 1_000_000)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def without_step(file: Path) -> None:
    file.write_text(json.dumps({"version": checkpoint.VERSION, "reference_point": {}}))


def as_list(file: Path) -> None:
    file.write_text("[]")


def without_a_slot(file: Path) -> None:
    save_file({key: value for key, value in load_file(file).items() if not key.startswith("0.")}, file)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("weights.safetensors", cut),
        ("optimizer.safetensors", cut),
        ("state.json", cut),
        ("state.json", without_step),
        ("state.json", as_list),
        ("optimizer.safetensors", without_a_slot),
        ("weights.safetensors", Path.unlink),
        ("optimizer.safetensors", Path.unlink),
        ("state.json", Path.unlink),
    ],
)
def test_a_damaged_checkpoint_gets_a_sentence_and_changes_nothing(
    plane_run: Start, tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    training, batches = plane_run("running")
    run(training, batches, upto=1)
    folder = checkpoint.save(training, tmp_path)
    damage(folder / name)
    fresh, _ = plane_run("running")
    before = trained(fresh)
    with refused("checkpoint-damaged", naming=folder):
        checkpoint.restore(fresh, folder)
    assert (
        equal(trained(fresh), before)
        and fresh.step == 0
        and fresh.reference_point.state() == {"mean": 0.0, "weight": 0.0}
    )


def test_a_checkpoint_of_another_rank_gets_a_sentence_and_changes_nothing(diffusion_run: Start, tmp_path: Path) -> None:
    training, batches = diffusion_run(rank=4)
    run(training, batches, upto=1)
    folder = checkpoint.save(training, tmp_path)
    other, _ = diffusion_run(rank=2)
    before = trained(other)
    with refused("checkpoint-other-model", naming=folder):
        checkpoint.restore(other, folder)
    assert equal(trained(other), before) and other.step == 0


def test_a_checkpoint_with_another_reference_point_gets_a_sentence(plane_run: Start, tmp_path: Path) -> None:
    training, batches = plane_run("zero")
    run(training, batches, upto=1)
    folder = checkpoint.save(training, tmp_path)
    other, _ = plane_run("running")
    with refused("checkpoint-other-recipe", naming=[folder, "objective.reference_point"]):
        checkpoint.restore(other, folder)


def test_a_checkpoint_of_a_later_version_gets_a_sentence(plane_run: Start, tmp_path: Path) -> None:
    training, batches = plane_run()
    run(training, batches, upto=1)
    folder = checkpoint.save(training, tmp_path)
    # whatever else another version holds or lacks
    (folder / "state.json").write_text(json.dumps({"version": checkpoint.VERSION + 1}))
    versions = [f"version {checkpoint.VERSION + 1}", f"version {checkpoint.VERSION}"]
    with refused("checkpoint-version", naming=[folder, *versions]):
        checkpoint.restore(plane_run()[0], folder)


@pytest.mark.parametrize("which", [1, 2])
def test_a_full_disk_leaves_the_earlier_checkpoints_and_nothing_half_written(
    plane_run: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    training, batches = plane_run()
    run(training, batches, upto=1)
    earlier = checkpoint.save(training, tmp_path)
    kept = {file.name: file.read_bytes() for file in earlier.iterdir()}
    run(training, batches, upto=2)
    calls = []

    def full(tensors: dict[str, Tensor], path: Path) -> None:
        calls.append(path)
        save_file(tensors, path)
        if len(calls) == which:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with refused("checkpoint-unwritable", naming=["No space left on device", "--resume"]):
        checkpoint.save(training, tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]
    assert {file.name: file.read_bytes() for file in earlier.iterdir()} == kept
    assert checkpoint.latest(tmp_path) == earlier


def test_a_disk_that_is_really_full_gets_the_same_sentence(plane_run: Start, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    training, batches = plane_run()
    run(training, batches, upto=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with refused("checkpoint-unwritable", naming="--resume"):
            checkpoint.save(training, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert checkpoint.latest(tmp_path) is None


def test_a_half_written_folder_of_a_killed_process_is_no_checkpoint(plane_run: Start, tmp_path: Path) -> None:
    training, batches = plane_run()
    run(training, batches, upto=1)
    folder = checkpoint.save(training, tmp_path)
    shutil.copytree(folder, folder.with_name(".step-000002.partial"))
    assert checkpoint.latest(tmp_path) == folder
    run(training, batches, upto=2)
    assert checkpoint.save(training, tmp_path) == checkpoint.folder_of(tmp_path, 2)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000001", "step-000002"]


def test_the_scale_of_half_precision_and_the_broken_steps_come_back(plane_run: Start, tmp_path: Path) -> None:
    """Otherwise a resumed fp16 run starts at the first scale again, and a breaking one gets new patience."""
    training, batches = plane_run()
    run(training, batches, upto=1)
    training.accelerator.scaler = scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    training.broken = 3
    scaler.load_state_dict(scaler.state_dict() | {"scale": 256.0, "_growth_tracker": 7})
    folder = checkpoint.save(training, tmp_path)

    fresh, _ = plane_run()
    fresh.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    checkpoint.restore(fresh, folder)
    assert fresh.broken == 3
    assert fresh.accelerator.scaler.state_dict() == scaler.state_dict()
    assert fresh.accelerator.scaler.get_scale() == 256.0
