"""Trainings whose network is divided among processes: run by test_sharding.py, in one process or in several.

in_shards.py FOLDER    does what FOLDER/work.json lists: for each run its options, the step after which to stop (0: to
                       its end), and whether images are broken

and writes the bytes of the weights that each process holds to <run>-<rank>.json, beside the folder of the run.
"""

import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState

from thumbtune.distributed import team
from thumbtune.errors import Interrupted
from thumbtune.models.shards import bytes_here
from thumbtune.runs import tuning
from thumbtune.runs.recipe import read_recipe
from thumbtune.runs.tuning import tune
from thumbtune.training import trainer
from thumbtune.training.batch import Batch, Ragged
from thumbtune.training.batches import Batches
from thumbtune.training.failures import TrainingBroke, WentWrong
from thumbtune.training.progress import quiet


class Watched(trainer.Training):
    """A training that tests find afterwards."""

    newest: Any

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        Watched.newest = self


def with_broken(self: Batches, step: int, start: int = 0, stop: int | None = None, mismatched: bool = False) -> Batch:
    """A batch whose last quarter has no latents: the second of two processes has fewer whole images."""
    made = whole_batch(self, step, start, stop, mismatched)
    for row in range(len(made)):
        if start + row >= self.size - self.size // 4 and stop is not None and stop - start < self.size:
            (made.latents.rows if isinstance(made.latents, Ragged) else made.latents)[row][:] = math.nan
    return made


whole_batch = Batches.batch


def go_on(folder: Path, options: list[str], until: int, resume: bool) -> None:
    """Train a run from its start or from where it is, and stop after a step; the whole of it ends with its result.

    After a negative number of steps the last process alone gets Ctrl-C.
    """
    for step in tune(read_recipe(None, options), folder, quiet, resume=resume):
        if step.step == until:
            break
        if step.step == -until and team().is_last_process:
            os.kill(os.getpid(), signal.SIGINT)


def held_bytes(training: Any) -> dict[str, int]:
    """Bytes in this process of the network, of its trained weights, and of what belongs to these."""
    slots = [
        value for own in training.optimizer.state_dict()["state"].values() for value in own.values() if value.dim() > 0
    ]
    return {
        "network": bytes_here(list(training.model.network.parameters())),
        "trained": bytes_here(training.parameters),
        "optimiser": bytes_here(slots),
        "ema": bytes_here(training.ema.values),
        "reference": bytes_here(list(getattr(training.model.trained, "_first", {}).values())),
    }


def main(folder: Path) -> None:
    tuning.Training = Watched  # type: ignore[misc]
    rank, processes = team().process_index, team().num_processes
    for name, options, until, is_broken in json.loads((folder / "work.json").read_text()):
        Batches.batch = with_broken if is_broken else whole_batch  # type: ignore[method-assign]
        AcceleratorState._reset_state()  # a process has one precision
        team().wait_for_everyone()
        resume = (folder / name).exists()
        team().wait_for_everyone()  # all have looked before one makes it
        try:
            go_on(folder / name, options, until, resume)
        except (WentWrong, TrainingBroke, Interrupted) as stop:
            print(f"{name}: {stop}")
        if processes == 1 or Watched.newest.lockstep.is_shared:
            (folder / f"{name}-{rank}-of-{processes}.json").write_text(json.dumps(held_bytes(Watched.newest)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
