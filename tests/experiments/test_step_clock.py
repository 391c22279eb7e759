"""The clock of a training's steps: what comes before the first step is not counted, and a resumed one has no time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thumbtune.experiments import alignprop_cells, rounds_cells, step_clock, training_grid
from thumbtune.experiments.alignprop import Rewarded
from thumbtune.experiments.experiments import Order
from thumbtune.experiments.ground_cells import ground_cell
from thumbtune.experiments.grounds import GROUNDS
from thumbtune.experiments.simulated_labels import PoolImage, Rating
from thumbtune.experiments.step_clock import StepClock
from thumbtune.experiments.training_grid import Grid, trained
from thumbtune.training.progress import quiet


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The processor's time, which only a test moves."""
    time = [0.0]
    monkeypatch.setattr(step_clock.time, "process_time", lambda: time[0])
    return time


def steps(now: list[float], first: int, last: int, before: float = 100.0, each: float = 2.0) -> Iterator[Any]:
    now[0] += before  # images are encoded
    for number in range(first, last + 1):
        now[0] += each
        yield SimpleNamespace(step=number)
    now[0] += 1.0  # the result is saved


def test_only_the_steps_after_the_first_are_counted_in_each_part(now: list[float]) -> None:
    clock = StepClock()
    assert [one.step for one in clock.timed(steps(now, 1, 4))] == [1, 2, 3, 4]
    assert clock.seconds == 3 * 2 + 1
    list(clock.timed(steps(now, 5, 6), first=5))
    assert clock.seconds == 3 * 2 + 1 + 2 + 1


def test_a_part_that_an_earlier_call_began_makes_the_time_unknown(now: list[float]) -> None:
    clock = StepClock()
    list(clock.timed(steps(now, 3, 4)))
    assert clock.seconds is None
    list(clock.timed(steps(now, 5, 6), first=5))
    assert clock.seconds is None


@pytest.mark.parametrize(("first", "seconds"), [(1, 119 * 2.0 + 1), (7, None)])
def test_the_first_cell_of_a_seed_does_not_pay_for_the_pool(
    first: int, seconds: float | None, now: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pool(lab: Grid, cell: object) -> tuple[int, int]:
        now[0] += 1000
        return 3, 4

    monkeypatch.setattr(training_grid, "label_pool", pool)
    monkeypatch.setattr(training_grid, "not_trainable", lambda recipe: None)
    monkeypatch.setattr(training_grid, "tune", lambda *_, **__: steps(now, first, 120))
    row = trained(Grid(Order(folder=tmp_path, ground="soft-3d"), quiet, print), ground_cell("soft-3d", "paper", 40))
    assert row == {"likes": 3, "dislikes": 4, "status": "trained", "train_seconds": seconds}


def test_alignprop_does_not_pay_for_loading_its_model_and_its_reward(
    now: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taking(seconds: float, value: Any = None) -> Callable[..., Any]:
        def call(*_: Any, **__: Any) -> Any:
            now[0] += seconds
            return value

        return call

    monkeypatch.setattr(alignprop_cells.build, "model_of", taking(100))
    monkeypatch.setattr(alignprop_cells, "style_classifier", taking(200))
    monkeypatch.setattr(alignprop_cells, "train_by_reward", taking(7, Rewarded({0: 1.0}, 0, 20)))
    monkeypatch.setattr(alignprop_cells, "save_run", taking(400))
    monkeypatch.setattr(alignprop_cells.run, "trained_model", taking(800))
    monkeypatch.setattr(alignprop_cells, "scored", taking(1600, {}))
    lab = Grid(Order(folder=tmp_path, ground="soft-3d"), quiet, print)
    assert alignprop_cells.rewarded(lab, ground_cell("soft-3d", "alignprop", 40))["train_seconds"] == 7


def test_a_cell_that_stopped_half_way_counts_the_labels_of_each_round_and_no_time(
    tmp_path: Path, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store has the labels of two rounds when the first one is counted again."""
    from PIL import Image

    pool = [PoolImage(tmp_path / f"{n}.png", f"prompt {n % 2}", n) for n in range(6)]
    for place, one in enumerate(pool):
        Image.new("RGB", (8, 8), (40 * place, 0, 0)).save(one.file)
    done: list[int] = []

    def tune(*_: Any, **__: Any) -> Iterator[Any]:
        for number in range(len(done) + 1, 121):
            if number == 60 and stops:
                stops.pop()
                raise KeyboardInterrupt
            now[0] += 1.0
            done.append(number)
            yield SimpleNamespace(step=number)

    stops = [True]
    monkeypatch.setattr(rounds_cells, "pool_of", lambda lab, cell: pool)
    monkeypatch.setattr(rounds_cells, "_generated", lambda lab, cell, part, folder: part)
    monkeypatch.setattr(rounds_cells, "not_trainable", lambda recipe: None)
    monkeypatch.setattr(rounds_cells, "tune", tune)
    monkeypatch.setattr(rounds_cells.rounds, "take_new_labels", lambda *_: 0)
    monkeypatch.setattr(rounds_cells.checkpoint, "steps_in", lambda folder: done[-1:])
    monkeypatch.setattr(rounds_cells.run, "trained_model", lambda *_: None)
    monkeypatch.setattr(rounds_cells, "scored", lambda *_: {})
    # the first image of each round is liked
    monkeypatch.setattr(
        rounds_cells.ground_labels, "log_odds", lambda ground, images, *_: [9.0] + [-9.0] * (len(images) - 1)
    )
    lab = Grid(Order(folder=tmp_path / "out", ground="line-art-wrong"), quiet, print)
    cell = ground_cell("line-art-wrong", "kto-three-rounds", 40, rating=Rating())
    assert GROUNDS[cell.ground].tau is None
    with pytest.raises(KeyboardInterrupt):
        rounds_cells.in_rounds(lab, cell)
    row = rounds_cells.in_rounds(lab, cell)
    assert row["rounds"] == [{"until": until, "likes": 1, "dislikes": 1} for until in (40, 80, 120)]
    assert (row["likes"], row["dislikes"]) == (3, 3) and done == list(range(1, 121))
    assert row["train_seconds"] is None and row["generate_seconds"] is None
    done.clear()
    assert rounds_cells.in_rounds(lab, cell)["train_seconds"] == 39 * 3
