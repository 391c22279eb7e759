"""What `make setup` says: the next command when it has worked, and nothing when there was nothing to do."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_setup_ends_with_the_next_command_and_is_quiet_afterwards(tmp_path: Path) -> None:
    """The environment has a Python that does nothing, in place of downloads."""
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    python.chmod(0o755)

    def setup() -> str:
        words = ["make", "--no-print-directory", "setup", f"VENV={tmp_path / 'env'}", f"PYTHON={python}"]
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert setup().splitlines()[-1] == f"Done. Next: source {tmp_path / 'env' / 'bin'}/activate"
    assert "Done" not in setup() and "==>" not in setup()
