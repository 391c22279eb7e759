"""The entry point: loads the commands, and stops in one line on Ctrl-C and on SIGTERM even then."""

import signal
import sys
from typing import Any

STOPPED, TERMINATED = 130, 143  # as errors.Interrupted and errors.Terminated, which are not loaded yet


def main() -> None:
    """Load the commands and run the one that was typed."""
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
