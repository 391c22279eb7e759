"""benchmarks/mutated_inputs.py at small size: no traceback, no hang, no gigabytes, no success with nothing done."""

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and asks the kernel what children used")


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    command = [sys.executable, "-m", "benchmarks.mutated_inputs", "--folder", str(folder), *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


LIGHT = ("importers", "recipes", "answers and keys", "prompts files")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "words", "areas"),
    [
        (60, ["--light"], LIGHT),
        pytest.param(200, [], (*LIGHT, "run folders", "duels", "checkpoints"), marks=pytest.mark.slow),
    ],
)
def test_broken_inputs(tmp_path: Path, count: int, words: list[str], areas: tuple[str, ...]) -> None:
    done = run(tmp_path, "--count", str(count), "--seed", "7", *words)
    faults = (tmp_path / "faults.txt").read_text() if (tmp_path / "faults.txt").exists() else ""
    assert done.returncode == 0, f"{done.stdout}{done.stderr[-2000:]}{faults[-6000:]}"
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["inputs"] == count
    assert [summary[kind] for kind in ("traceback", "hang", "memory", "nothing done")] == [0, 0, 0, 0]
    assert all(area in done.stdout for area in areas)


def test_an_input_is_the_same_in_every_run(tmp_path: Path) -> None:
    from benchmarks.mutated_areas import change

    for number in range(60):
        found = []
        for _ in range(2):
            file = tmp_path / ("a.yaml" if number % 2 else "a.json")
            file.write_text("train:\n  steps: 3\n" if number % 2 else '{"a": [1, {"b": null}]}')
            change(Random(f"0 {number}"), file)
            found.append(file.read_bytes())
        assert found[0] == found[1]


@pytest.mark.slow
def test_what_counts_as_a_fault(tmp_path: Path) -> None:
    import faulthandler
    import signal
    import time

    from benchmarks.mutated_inputs import _kind, in_child

    def kind(work: object, is_command: bool = True) -> str:
        status, used = in_child(work, tmp_path / "log")  # type: ignore[arg-type]
        return _kind(status, used, (tmp_path / "log").read_text(), is_command)

    def said(text: str, code: int) -> object:
        return lambda: print(text) or code

    assert kind(said("thumbtune import\n3 rows: 1 like, 2 dislikes", 0)) == "done"
    assert kind(said("thumbtune import\n3 rows: 0 likes, 0 dislikes", 0)) == "nothing done"
    assert kind(said("thumbtune recipe", 0)) == "nothing done" and kind(said("", 72), False) == "nothing done"
    assert kind(said("thumbtune: no", 2)) == "refused" and kind(said("Unexpected", 70)) == "traceback"
    assert kind(lambda: int("x")) == "traceback"
    assert kind(lambda: [faulthandler.disable(), os.abort()]) == "traceback"
    assert kind(lambda: os.kill(os.getpid(), signal.SIGXCPU) or time.sleep(9) or 0) == "hang"
