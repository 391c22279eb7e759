"""Threads of a command sleep while they wait, beside other busy programs, unless somebody chose."""

import os
import subprocess
import sys

import pytest

CODE = """
import sys
from thumbtune.cli import main
sys.argv = ["thumbtune", "--version"]
try:
    main()
except SystemExit:
    pass
import torch
"""


@pytest.mark.parametrize(("given", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_openmp_takes_the_policy_when_torch_loads(given: dict[str, str], policy: str) -> None:
    rest = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment = rest | {"OMP_DISPLAY_ENV": "TRUE"} | given
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    if "OMP_WAIT_POLICY" not in done.stderr:
        pytest.skip("this torch has another library of threads")
    assert f"OMP_WAIT_POLICY = '{policy}'" in done.stderr
