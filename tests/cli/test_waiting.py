"""Threads of a command sleep soon while they wait, beside other busy programs, unless somebody chose."""

import os
import subprocess
import sys

import pytest

from thumbtune.cli import FEW_CORES, SPINS

CODE = """
import os
import sys
os.cpu_count = lambda: {cores}
from thumbtune.cli import main
sys.argv = ["thumbtune", "--version"]
try:
    main()
except SystemExit:
    pass
import torch
"""


@pytest.mark.parametrize(
    ("cores", "given", "spins"),
    [
        (FEW_CORES, {}, SPINS),
        (FEW_CORES, {"GOMP_SPINCOUNT": "77"}, "77"),
        (FEW_CORES, {"OMP_WAIT_POLICY": "PASSIVE"}, "0"),
        (FEW_CORES + 1, {"GOMP_SPINCOUNT": "78"}, "78"),
        (FEW_CORES + 1, {"OMP_WAIT_POLICY": "PASSIVE"}, "0"),
    ],
)
def test_openmp_takes_the_spins_when_torch_loads(cores: int, given: dict[str, str], spins: str) -> None:
    rest = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    environment = rest | {"OMP_DISPLAY_ENV": "VERBOSE"} | given
    code = CODE.format(cores=cores)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("this torch has another library of threads")
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr


def test_many_cores_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from thumbtune import cli

    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: FEW_CORES + 1)
    monkeypatch.setattr(sys, "argv", ["thumbtune", "--version"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    with pytest.raises(SystemExit):
        cli.main()
    assert os.environ.pop("GOMP_SPINCOUNT") == SPINS
