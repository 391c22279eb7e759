"""The entry point: loads the commands, and stops in one line on Ctrl-C and on SIGTERM even then."""

import os
import signal
import sys
from typing import Any

# OpenMP's threads spin while they wait for each other, and beside another busy program one spins on a core that the
# other needs. So they sleep, unless somebody chose. OpenMP reads it when torch loads. docs/benchmarks.md has the times.
WAIT_POLICY, SLEEP = "OMP_WAIT_POLICY", "PASSIVE"
STOPPED, TERMINATED = 130, 143  # as errors.Interrupted and errors.Terminated, which are not loaded yet


def main() -> None:
    """Load the commands and run the one that was typed."""
    os.environ.setdefault(WAIT_POLICY, SLEEP)
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
