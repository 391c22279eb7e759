"""The entry point: loads the commands, and stops in one line on Ctrl-C even then."""

import sys

STOPPED = 130  # as errors.Interrupted, which is not loaded yet


def main() -> None:
    """Load the commands and run the one that was typed."""
    try:
        from thumbtune.cli.app import main as run

        run()
    except KeyboardInterrupt:
        print("thumbtune: Stopped.", file=sys.stderr)
        sys.exit(STOPPED)
    except Exception as error:  # of a library that cannot be loaded
        from thumbtune.cli.failures import tell

        sys.exit(tell(error))
