"""Trainings whose network is divided among processes: run by test_sharding.py, in one process or in several.

in_shards.py FOLDER    does what FOLDER/work.json lists: for each run, its options, and the step after which to stop

and writes the bytes of the weights that each process holds to <run>-<rank>.json, beside the folder of the run.
"""

import json
import sys
from pathlib import Path
from typing import Any

from thumbtune.distributed import team
from thumbtune.models.shards import bytes_here
from thumbtune.runs.recipe import read_recipe
from thumbtune.runs.tuning import tune
from thumbtune.training import trainer
from thumbtune.training.progress import quiet


class Watched(trainer.Training):
    """A training that tests find afterwards."""

    newest: Any

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        Watched.newest = self


def go_on(folder: Path, options: list[str], until: int, resume: bool) -> None:
    """Train a run from its start or from where it is, and stop after a step; the whole of it ends with its result."""
    for step in tune(read_recipe(None, options), folder, quiet, resume=resume):
        if step.step == until:
            break


def held_bytes(training: Any) -> dict[str, int]:
    """Bytes in this process of the whole network, the trained weights and what the optimiser and the EMA keep of them."""
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
    from thumbtune.runs import tuning

    tuning.Training = Watched  # type: ignore[misc]
    rank = team().process_index
    for name, options, until in json.loads((folder / "work.json").read_text()):
        team().wait_for_everyone()
        resume = (folder / name).exists()
        team().wait_for_everyone()  # all have looked before one makes it
        go_on(folder / name, options, until, resume)
        (folder / f"{name}-{rank}.json").write_text(json.dumps(held_bytes(Watched.newest)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
