"""The benchmarks of one machine: their pages have their rows, their sums are right, and a leak is found."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import busy, feedback_scale, flat, machine, parts, reference, stages, startup, steps
from benchmarks.models import SD1, TINY_SIZE, write_model, write_weights
from thumbtune.training import trainer

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


@pytest.mark.parametrize("benchmark", [parts, reference, stages, startup, busy], ids=lambda module: module.__name__)
def test_the_page_has_the_table_of_the_rows(benchmark: object) -> None:
    assert benchmark.table(machine.rows_in(benchmark.FILE)) in PAGE.read_text()  # type: ignore[attr-defined]


def test_the_page_has_the_line_of_a_long_training() -> None:
    (row,) = machine.rows_in(flat.FILE)
    assert flat.line_of(row) in PAGE.read_text() and flat.is_flat(row)


def test_the_page_has_the_event_logs_of_the_rows() -> None:
    logs = [row for row in json.loads(feedback_scale.FILE.read_text())["results"] if row["step"] == "log"]
    assert [row["events"] for row in logs] == [10**6, 10**7, 3 * 10**7, 10**8]
    for row in logs:
        cells = f"| {row['events']:,} | {row['seconds']:.1f} | {row['cpu_seconds']:.1f} | {row['memory_mb']:,} MB |"
        assert cells in PAGE.read_text()


def test_a_leak_is_found_in_noise_and_so_is_a_handle() -> None:
    """Memory jumps by 20 MB to and fro; 100 kB of each of 300 steps are found in it, and so is one more file."""
    noise = [20_000_000 * (i % 2) for i in range(101)]
    calm = [(3 * i, 10**9 + jump, 12) for i, jump in enumerate(noise)]
    assert flat.is_flat(flat.row_of(calm))
    leaking = [(step, memory + 100_000 * step, handles) for step, memory, handles in calm]
    assert flat.row_of(leaking)["kb_a_step"] == pytest.approx(100, abs=5) and not flat.is_flat(flat.row_of(leaking))
    opening = [(step, memory, handles + step // 150) for step, memory, handles in calm]
    assert flat.row_of(opening)["handles"] == 2 and not flat.is_flat(flat.row_of(opening))


def test_what_the_reference_adds_by_hand() -> None:
    times = {"plain": 2.0, "apart": 1.0, "one batch": 3.5, "two steps": 1.6, "bf16": 1.5, "channels last": 0.5}
    assert reference.added(times) == pytest.approx(
        {"apart": 0.5, "one batch": 0.75, "two steps": 0.4, "bf16": 0.75, "channels last": 0.25}
    )


def test_the_counter_knows_the_attention_of_a_cpu() -> None:
    """Two products of 2 * s * s * d operations a head, and five in the gradient."""
    rows, heads, side, width = 2, 3, 8, 4
    query, key, value = (torch.randn(rows, heads, side, width, requires_grad=True) for _ in range(3))
    product = 2 * rows * heads * side * side * width
    with steps.counter() as counting:
        output = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        assert counting.get_total_flops() == 2 * product
        output.sum().backward()
    assert counting.get_total_flops() == 7 * product


def test_the_speed_beside_a_busy_loop_by_hand() -> None:
    calm = [{(way, "train"): (wall, 1.0) for way, wall in (("1 thread", 4.0), (busy.ACTIVE, 2.0))}]
    other = [{(way, "train"): (wall, 1.5) for way, wall in (("1 thread", 5.0), (busy.ACTIVE, 8.0))}]
    row = busy._row("1 thread", "train", calm, other)
    assert (row["calm"], row["busy"], row["left"]) == (4.0, 5.0, 0.8)
    assert (row["calm_times_active"], row["busy_times_active"]) == (2.0, 0.62)


@pytest.mark.slow
def test_the_parts_of_a_step_make_the_step(tmp_path: Path) -> None:
    model = write_weights(write_model(tmp_path / "model", SD1, tiny=True))
    case = steps.Case(name="tiny", model=str(model), size=TINY_SIZE, batch=2)
    before = trainer.error_and_moved
    rows = {row["part"]: row for row in parts.measure(case, tmp_path, "cpu", rounds=3)}
    assert trainer.error_and_moved is before
    of_step = [rows[part]["share"] for part in (*parts.PARTS, parts.REST)]
    assert sum(of_step) == pytest.approx(1, abs=0.1) and all(share > 0 for share in of_step)
    # the policy's pass has the reference's operations and those of the LoRA, and its gradient no fewer than the half
    assert 0 < rows["reference"]["operations"] < rows["policy"]["operations"] < 2 * rows["backward"]["operations"]
    whole = steps.counted(steps.kto(case, steps.Cache(tmp_path / "cache")))
    assert sum(row["operations"] for row in rows.values()) == whole
    parts.trace(case, tmp_path, "cpu", tmp_path / "trace.json")
    names = {event.get("name") for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]}
    assert {f"# {part}" for part in parts.PARTS} <= names


@pytest.mark.slow
def test_a_training_of_300_steps_keeps_its_memory_and_files_and_a_leak_of_100_kb_is_found() -> None:
    assert flat.is_flat(flat.row_of(flat.points_of(300)))
    assert not flat.is_flat(flat.row_of(flat.points_of(300, leak=100_000)))


def test_the_peak_of_a_stage_is_counted_from_its_start() -> None:
    """Of 64 MiB that are gone and 64 MiB that stay, both are in the peak; a second stage has only its own."""
    if not stages.CLEAR.exists():
        pytest.skip("only Linux counts the peak of a process again")
    size = 64 * stages.MIB
    row, kept = stages.stage("both", 0, lambda: (bytes(b"x" * size), len(bytes(b"y" * size)))[0])
    assert row["peak"] == pytest.approx(128, abs=8) and row["kept"] == pytest.approx(64, abs=8)
    row, _ = stages.stage("little", 0, lambda: len(kept))
    assert row["peak"] < 8
