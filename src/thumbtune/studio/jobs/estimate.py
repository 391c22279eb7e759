"""What a training would need: the lines of `thumbtune train --dry-run`, from a process of its own.

The studio itself never imports torch. One estimate is made at a time, and none while a job has the GPU.
"""

import subprocess
import threading
from collections.abc import Sequence

from thumbtune.errors import ThumbtuneError
from thumbtune.studio.jobs.files import NOTE, OURS
from thumbtune.studio.jobs.queue import Queue, environment_of

MAX_SECONDS = 180.0
_ONE = threading.Lock()


def estimate(queue: Queue, words: Sequence[str]) -> list[str]:
    """Return the plan of a training, in lines for people.

    Args:
        words: of the command, without the program and `--dry-run`.

    Raises:
        ThumbtuneError: another estimate is being made, it took too long, or the command refused the settings.
    """
    if not _ONE.acquire(blocking=False):
        raise ThumbtuneError("Another estimate is being made; wait for it.", code="job-estimating")
    try:
        done = subprocess.run(
            [*queue.command, *words, "--dry-run"],
            cwd=queue.place.root,
            env=environment_of(queue.place),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=MAX_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ThumbtuneError(
            f"The estimate took more than {MAX_SECONDS:.0f} s; run the command with --dry-run.", code="job-no-estimate"
        ) from error
    finally:
        _ONE.release()
    told = [line for line in done.stderr.splitlines() if line.startswith(OURS)]
    if done.returncode:
        errors = [line.removeprefix(OURS) for line in told if not line.startswith(NOTE)]
        raise ThumbtuneError(
            errors[-1] if errors else "The estimate failed; run the command with --dry-run.", code="job-no-estimate"
        )
    return [*done.stdout.splitlines(), *(f"note        {line.removeprefix(NOTE)}" for line in told)]
