"""The names and numbers that trackers get, and the stores of real trackers, where they are installed."""

import json
import math
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from accelerate import PartialState
from PIL import Image

from thumbtune.training.step import Step
from thumbtune.training.trackers import Trackers, metrics_of

STEP = Step(
    step=1,
    loss=0.5,
    liked_log_ratio=0.25,
    disliked_log_ratio=-0.5,
    reference_point=0.125,
    policy_error=0.5,
    reference_error=0.75,
    beta=8.0,
    gain=2.0,
    saturation=0.25,
    grad_norm=3.0,
    lr=1e-3,
    skipped=0,
    seconds=0.1,
)


def test_rewards_are_beta_times_the_log_ratios() -> None:
    metrics = metrics_of(STEP)
    assert metrics["rewards/liked"] == 8 * 0.25
    assert metrics["rewards/disliked"] == 8 * -0.5
    assert metrics["rewards/margin"] == 2 + 4
    assert metrics["kl"] == 0.75 - 0.5
    assert (metrics["loss"], metrics["learning_rate"], metrics["grad_norm"]) == (0.5, 1e-3, 3.0)
    assert metrics["reference_point"] == 0.125


def test_a_relative_reward_is_a_share_of_the_reference_error() -> None:
    assert metrics_of(STEP, is_relative=True)["rewards/liked"] == pytest.approx(8 * 0.25 / 0.75)


def test_trackers_json_is_written_when_a_tracker_took_a_step_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "thumbtune.training.trackers.write_text", lambda path, text: written.append(json.loads(text)["wandb"])
    )

    class Fake:
        def log(self, metrics: dict[str, float], step: int) -> None:
            if step == 3:
                raise OSError("no network")

    trackers = Trackers(tmp_path, ["wandb"])
    trackers.state, trackers.opened = {"wandb": {"id": "one", "last": 0}}, {"wandb": Fake()}
    for step in range(1, 9):
        trackers.report(replace(STEP, step=step))
    assert [state["last"] for state in written] == [1, 2], "it failed at 3, and took no step from there on"


def test_kl_is_never_negative() -> None:
    assert metrics_of(replace(STEP, policy_error=1.0))["kl"] == 0


def test_numbers_that_are_missing_or_not_finite_are_left_out() -> None:
    bare = metrics_of(replace(STEP, beta=None, loss=math.nan, grad_norm=math.inf, disliked_log_ratio=None))
    assert not {"loss", "grad_norm", "rewards/liked", "rewards/margin", "log_ratio/disliked", "eval/agreement"} & {
        *bare
    }
    one_kind = metrics_of(replace(STEP, disliked_log_ratio=None))
    assert "rewards/liked" in one_kind and not {"rewards/disliked", "rewards/margin"} & {*one_kind}
    assert metrics_of(replace(STEP, agreement=0.75))["eval/agreement"] == 0.75


@pytest.mark.parametrize("name", ["wandb", "trackio", "mlflow"])
def test_a_real_tracker_keeps_the_steps_of_both_parts_of_a_run_in_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    import warnings

    monkeypatch.chdir(tmp_path)  # mlflow keeps its files where it is called
    for variable, value in {
        "WANDB_MODE": "offline",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
    }.items():
        monkeypatch.setenv(variable, value)
    run = tmp_path / "run"
    run.mkdir()
    Image.new("RGB", (16, 16), "red").save(tmp_path / "0.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of foreign packages
        pytest.importorskip(name)
        PartialState()
        for begin in (0, 2):
            trackers = Trackers(run, [name])
            trackers.open({"train.lr": 1e-3}, begin)
            assert list(trackers.opened) == [name]
            for number in (begin + 1, begin + 2):
                step = replace(STEP, step=number, loss=number / 8)
                with (run / "steps.jsonl").open("a") as log:
                    log.write(json.dumps(step.as_dict()) + "\n")
                trackers.report(step)
                trackers.show({"a red apple": tmp_path / "0.png"}, number)
            assert list(trackers.opened) == [name]
            trackers.finish()
    state = json.loads((run / "trackers.json").read_text())[name]
    assert state["last"] == 4
    {"wandb": _check_wandb, "trackio": _check_trackio, "mlflow": _check_mlflow}[name](run, state["id"])


LOSSES = [(1, 0.125), (2, 0.25), (3, 0.375), (4, 0.5)]


def _check_wandb(run: Path, run_id: str) -> None:
    files = sorted(run.glob("wandb/offline-run-*/*.wandb"))
    assert {file.name for file in files} == {f"run-{run_id}.wandb"}
    assert len(list(run.rglob("a red apple_*.png"))) == 4
    written = b"".join(file.read_bytes() for file in files)
    assert written.count(b"rewards/liked") >= 4


def _check_trackio(run: Path, run_id: str) -> None:
    with sqlite3.connect(run.parent / "trackio" / "thumbtune.db") as store:
        rows: list[Any] = store.execute("select step, metrics from metrics where run_name = ?", [f"run-{run_id[:6]}"])
        losses = [(step, json.loads(text)["loss"]) for step, text in rows if b'"loss"' in bytes(text)]
        configs = store.execute("select config from configs").fetchall()
    assert losses == LOSSES
    assert json.loads(configs[-1][0])["train.lr"] == 1e-3


def _check_mlflow(run: Path, run_id: str) -> None:
    with sqlite3.connect(run.parent / "mlflow.db") as store:
        rows = store.execute("select step, value from metrics where key = 'loss' and run_uuid = ?", [run_id])
        assert sorted(rows) == LOSSES
