"""Processes that could not know each other are refused, rather than each doing all of the work."""

import os
import subprocess
import sys

import pytest

ASK = "from thumbtune.distributed import team; state = team(); print(state.num_processes, state.is_main_process)"
WITH_A_GPU = "import torch; torch.accelerator.is_available = lambda *_: True; "


def ask(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ACCELERATE_")}
    words = [sys.executable, "-c", code]
    return subprocess.run(words, check=False, env=plain | environment, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_one_process_is_a_team() -> None:
    assert ask(ASK).stdout.split() == ["1", "True"]


@pytest.mark.slow
def test_processes_that_accelerate_takes_for_strangers_are_refused() -> None:
    """As on a machine whose accelerator is none that Accelerate shares out."""
    done = ask(WITH_A_GPU + ASK, WORLD_SIZE="2")
    assert done.returncode == 1
    assert "2 processes were started, and cannot work together on" in done.stderr
