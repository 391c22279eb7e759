"""What commands load before they work, and how the benchmark of it reads Python's list."""

import subprocess
import sys

import pytest

from benchmarks.startup import loads_in

IMPORTTIME = """import time: self [us] | cumulative | imported package
import time:       566 |      57257 |     numpy._core
import time:       100 |      60000 |   numpy
import time:      2000 |      62000 | thumbtune.cli.app
a warning: of something else
import time:      4000 |       4000 | thumbtune.cli
"""


def test_the_time_of_a_package_is_that_of_its_own_modules() -> None:
    assert loads_in(IMPORTTIME) == {"thumbtune": 6.0, "numpy": 0.666}


@pytest.mark.parametrize(
    ("code", "never"),
    [
        ("import thumbtune", "numpy pydantic torch"),
        ("sys.argv = ['thumbtune', '--help']; from thumbtune.cli.app import main; main()", "sqlalchemy numpy torch"),
        ("import thumbtune.runs.tuning", "scipy matplotlib"),
    ],
)
def test_what_takes_long_to_load_is_not_loaded_before_it_is_needed(code: str, never: str) -> None:
    told = f"import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {code}"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "thumbtune" in loaded and not loaded & set(never.split())
