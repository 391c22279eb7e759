"""The short form of the trials in benchmarks/: kills and turned bits over a training, in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "words", "figure"),
    [
        ("kills", ["--kills", "3", "--images", "6"], "0 runs with differing bits, 0 that did not end, 0 files left"),
        ("bitflips", ["--bits", "3"], "3 bits: 3 noticed, 0 silent"),
    ],
)
def test_nothing_is_lost_and_nothing_is_silent(
    tiny_pipeline: Callable[[str], Path], tmp_path: Path, script: str, words: list[str], figure: str
) -> None:
    command = [sys.executable, "-m", f"benchmarks.{script}", str(tmp_path / script), *words]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    done = subprocess.run(
        [*command, "--model", str(tiny_pipeline("epsilon"))],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert figure in done.stdout
