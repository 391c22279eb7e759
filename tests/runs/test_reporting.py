"""Trackers and samples of a training: what they get is what steps.jsonl has, and training is as without them."""

import json
import math
import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from thumbtune.cli import train as cli
from thumbtune.runs import samples
from thumbtune.runs.recipe import read_recipe
from thumbtune.runs.reporting import shown_options
from thumbtune.training import trackers

Call = Callable[..., tuple[int, str, str]]


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]


def by_hand(row: dict[str, Any]) -> dict[str, float]:
    """What a tracker should have of a step of kto."""
    expected = {
        "loss": row["loss"],
        "learning_rate": row["lr"],
        "grad_norm": row["grad_norm"],
        "reference_point": row["reference_point"],
        "kl": max(0.0, row["reference_error"] - row["policy_error"]),
    }
    for kind in ("liked", "disliked"):
        if row[f"{kind}_log_ratio"] is not None:
            expected[f"rewards/{kind}"] = row["beta"] * row[f"{kind}_log_ratio"]
    if {"rewards/liked", "rewards/disliked"} <= expected.keys():
        expected["rewards/margin"] = expected["rewards/liked"] - expected["rewards/disliked"]
    return expected


class Fake:
    """A tracker that keeps what it is given, over the runs of a test; it may fail at a step."""

    calls: ClassVar[list[tuple[Any, ...]]] = []
    fails_at: int | None = None

    def __init__(self, project: str, **options: Any) -> None:
        self.calls.append(("init", options["id"]))

    def start(self) -> None:
        self.calls.append(("start",))

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.calls.append(("config", values))

    def log(self, values: dict[str, float], step: int) -> None:
        if step == self.fails_at:
            raise ConnectionError("the network is gone")
        self.calls.append(("log", step, values))

    def log_images(self, values: dict[str, Any], step: int) -> None:
        self.calls.append(("images", step, sorted(values)))

    def finish(self) -> None:
        self.calls.append(("finish",))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    """Accelerate's class for wandb, replaced; its package counts as installed."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    class Own(Fake):
        calls: ClassVar[list[tuple[Any, ...]]] = []

    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "wandb", Own)
    monkeypatch.setattr(trackers, "find_spec", lambda name: name == "wandb" or None)
    return Own


def press_ctrl_c_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    say = cli.say

    def press(text: str) -> None:
        say(text)
        if f"step {step} " in text:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(cli, "say", press)


@pytest.mark.slow
def test_a_tracker_gets_the_numbers_of_the_log_in_order_and_images_of_one_set_of_prompts(
    call: Call, settings: list[str], tmp_path: Path, fake: type[Fake]
) -> None:
    run = tmp_path / "run"
    options = ["--set", "train.report_to=wandb", "--set", "train.sample_every=4"]
    code, _, err = call("train", "--out", run, *settings, *options)
    assert code == 0, err
    kinds = [one[0] for one in fake.calls]
    assert kinds == ["init", "start", "config", "images", *["log"] * 4, "images", *["log"] * 2, "images", "finish"]
    rows = rows_of(run)
    for (_, step, values), row in zip((one for one in fake.calls if one[0] == "log"), rows, strict=True):
        assert step == row["step"]
        for name, value in by_hand(row).items():
            assert values[name] == pytest.approx(value, abs=1e-12), name
        assert all(math.isfinite(value) for value in values.values())
    prompts = (run / "samples" / "prompts.txt").read_text().splitlines()
    assert [one[1:] for one in fake.calls if one[0] == "images"] == [
        (step, sorted(f"samples/{prompt}" for prompt in prompts)) for step in (0, 4, 6)
    ]
    held_out = {row["prompt"] for row in _labels(run) if row["held_out"]}
    assert prompts and set(prompts) <= held_out and len(prompts) <= samples.MAX_SAMPLES


def _labels(run: Path) -> list[dict[str, Any]]:
    from thumbtune.training import records

    return records.read_labels(run, ("prompt", "held_out"))


@pytest.mark.slow
def test_samples_and_trackers_change_no_weight(
    call: Call, settings: list[str], tmp_path: Path, fake: type[Fake]
) -> None:
    plain, watched = tmp_path / "plain", tmp_path / "watched"
    assert call("train", "--out", plain, *settings)[0] == 0
    options = ["--set", "train.report_to=wandb", "--set", "train.sample_every=1", "--set", "train.ema=0"]
    assert call("train", "--out", watched, *settings, *options)[0] == 0
    one, other = (load_file(run / "lora" / "pytorch_lora_weights.safetensors") for run in (plain, watched))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    assert not (plain / "samples").exists() and not (plain / "trackers.json").exists()


@pytest.mark.slow
def test_a_sample_is_the_image_of_the_weights_of_its_step(call: Call, settings: list[str], tmp_path: Path) -> None:
    import thumbtune
    from thumbtune.models.protocol import Sampler

    run = tmp_path / "run"
    # a rate at which six steps show
    options = ["--set", "train.sample_every=6", "--set", "train.lr=0.05", "--set", "train.guards=false"]
    code, _, err = call("train", "--out", run, *settings, *options)
    assert code == 0, err
    prompts = (run / "samples" / "prompts.txt").read_text().splitlines()
    tuned = thumbtune.load(run, "cpu")
    base = thumbtune.load(read_recipe(run / "recipe.yaml").model, "cpu")
    for step, model in ((6, tuned), (0, base)):
        for seed, prompt in enumerate(prompts):
            with Image.open(samples.folder_of(run, step) / f"{seed}.png") as image:
                assert image.tobytes() == model.generate([prompt], [seed], Sampler(steps=2))[0].tobytes()
    first, last = (samples.folder_of(run, step) / "0.png" for step in (0, 6))
    assert first.read_bytes() != last.read_bytes()


@pytest.mark.slow
def test_a_resumed_training_goes_on_in_the_same_run_of_its_tracker(
    call: Call, settings: list[str], tmp_path: Path, fake: type[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, options = tmp_path / "run", ["--set", "train.report_to=wandb"]
    with monkeypatch.context() as patched:
        press_ctrl_c_after(1, patched)
        assert call("train", "--out", run, *settings, *options)[0] == 130
    assert fake.calls[-1] == ("finish",)
    code, _, err = call("train", "--out", run, "--resume", *settings, *options)
    assert code == 0, err
    ids = [one[1] for one in fake.calls if one[0] == "init"]
    assert len(ids) == 2 and ids[0] == ids[1] == json.loads((run / "trackers.json").read_text())["wandb"]["id"]
    assert [one[1] for one in fake.calls if one[0] == "log"] == [1, 2, 3, 4, 5, 6]
    assert len([one for one in fake.calls if one[0] == "config"]) == 1


@pytest.mark.slow
def test_a_tracker_that_fails_is_told_of_once_and_stops_nothing_and_catches_up_when_resumed(
    call: Call, settings: list[str], tmp_path: Path, fake: type[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, options = tmp_path / "run", ["--set", "train.report_to=wandb"]
    fake.fails_at = 3
    with monkeypatch.context() as patched:
        patched.setattr(cli, "bar", lambda items, what: iter(items))
        code, _, err = call("train", "--out", run, *settings, *options)
    assert code == 0, err
    assert err.count("The tracker wandb failed (the network is gone)") == 1
    assert len(rows_of(run)) == 6 and (run / "lora" / "pytorch_lora_weights.safetensors").exists()
    assert [one[1] for one in fake.calls if one[0] == "log"] == [1, 2]
    fake.fails_at = None
    code, _, err = call("train", "--out", run, "--resume", *settings, *options)
    assert code == 0, err
    assert [one[1] for one in fake.calls if one[0] == "log"] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_a_tracker_that_cannot_begin_stops_nothing(
    call: Call, settings: list[str], tmp_path: Path, fake: type[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: Fake) -> None:
        raise SystemExit("no account")

    monkeypatch.setattr(fake, "start", start)
    code, _, err = call("train", "--out", tmp_path / "run", *settings, "--set", "train.report_to=wandb")
    assert code == 0 and "The tracker wandb failed (no account)" in err
    assert len(rows_of(tmp_path / "run")) == 6


def test_a_missing_package_is_refused_before_any_work(
    call: Call, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    code, _, err = call("train", "--out", tmp_path / "run", *settings, "--set", "train.report_to=wandb,mlflow")
    assert code == 1 and "pip install 'thumbtune[wandb]'" in err and not (tmp_path / "run").exists()


def test_an_unknown_tracker_is_refused(call: Call, settings: list[str], tmp_path: Path) -> None:
    code, _, err = call("train", "--out", tmp_path / "run", *settings, "--set", "train.report_to=comet")
    assert code == 2 and "tensorboard, wandb, trackio or mlflow" in err


@pytest.mark.slow
def test_samples_that_cannot_be_drawn_stop_nothing(
    call: Call, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: samples.Samples, step: int) -> None:
        raise MemoryError("too large")

    monkeypatch.setattr(samples.Samples, "_drawn", fail)
    code, _, err = call("train", "--out", tmp_path / "run", *settings, "--set", "train.sample_every=1")
    assert code == 0 and err.count("could not be drawn (too large)") == 1
    assert len(rows_of(tmp_path / "run")) == 6


def test_a_tracker_is_told_no_place_of_this_machine(tmp_path: Path) -> None:
    chosen = read_recipe(None, [f"likes={tmp_path}/likes", f"vae={tmp_path}/vae", "train.report_to=wandb,trackio"])
    shown = shown_options(chosen)
    assert str(tmp_path) not in json.dumps(shown)
    assert shown["vae"] == "vae" and shown["train.report_to"] == "wandb, trackio" and shown["train.lr"] == 5e-4


def test_tensorboard_has_what_the_log_has(
    call: Call, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    run = tmp_path / "run"
    options = ["--set", "train.report_to=tensorboard", "--set", "train.sample_every=3"]
    with monkeypatch.context() as patched:
        press_ctrl_c_after(1, patched)
        assert call("train", "--out", run, *settings, *options)[0] == 130
    code, _, err = call("train", "--out", run, "--resume", *settings, *options)
    assert code == 0 and "failed" not in err, err
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    rows = rows_of(run)
    for name in ("loss", "learning_rate", "kl", "reference_point", "rewards/liked", "rewards/disliked"):
        expected = [(row["step"], by_hand(row)[name]) for row in rows if name in by_hand(row)]
        read = [(one.step, one.value) for one in events.Scalars(name)]
        assert [step for step, _ in read] == [step for step, _ in expected], name
        assert [value for _, value in read] == pytest.approx([value for _, value in expected], rel=1e-6, abs=1e-12)
    prompts = (run / "samples" / "prompts.txt").read_text().splitlines()
    assert sorted(events.Tags()["images"]) == sorted(f"samples/{prompt}" for prompt in prompts)
    assert [one.step for one in events.Images(f"samples/{prompts[0]}")] == [0, 3, 6]
