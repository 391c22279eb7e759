"""The entry point: loads the commands, and stops in one line on Ctrl-C and on SIGTERM even then."""

import os
import signal
import sys
from typing import Any

# A thread of GNU OpenMP that waits for the others spins for milliseconds, and beside another busy program it spins on a
# core that the other needs. So it spins this often, some 0.1 ms, then sleeps, unless somebody chose. OpenMP reads this
# when torch loads. benchmarks/busy.py measured it on two cores; with many, threads wait longer for the slowest.
SPIN, SPINS, FEW_CORES = "GOMP_SPINCOUNT", "2500", 4
STOPPED, TERMINATED = 130, 143  # as errors.Interrupted and errors.Terminated, which are not loaded yet


def main() -> None:
    """Load the commands and run the one that was typed."""
    if (os.cpu_count() or 1) <= FEW_CORES and "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(SPIN, SPINS)
    codes = [STOPPED]

    def terminate(number: int, frame: Any) -> None:
        codes.append(TERMINATED)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    try:
        from thumbtune.cli.app import main as run

        run()
    except KeyboardInterrupt:
        print("thumbtune: Stopped.", file=sys.stderr)
        sys.exit(codes[-1])
    except Exception as error:  # of a library that cannot be loaded
        from thumbtune.cli.failures import tell

        sys.exit(tell(error))
