"""How each tracker of experiments is begun, continued and shown images: Accelerate's class for it, and what differs.

tensorboard   event files in RUN/tensorboard: `tensorboard --logdir runs`
wandb         the project `thumbtune`, or WANDB_PROJECT; WANDB_MODE=offline needs no account and no network
trackio       the project `thumbtune`, or TRACKIO_PROJECT, in a local store: `trackio show`
mlflow        the experiment `thumbtune`, or MLFLOW_EXPERIMENT_NAME, where MLFLOW_TRACKING_URI says
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image

from thumbtune.images import rgb

PROJECT = "thumbtune"
TENSORBOARD = "tensorboard"  # the folder in a run


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What a tracker begins or goes on with.

    folder: of the run
    run_id: of the tracker's run; None: the tracker gives one
    step: the weight updates so far
    config: the options of the run, without nested ones
    """

    folder: Path
    run_id: str | None
    step: int
    config: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What differs between trackers.

    packages: the modules, of which one must be there
    make: what begins or goes on -> a tracker that has not started
    show: (tracker, files of images by name, step) -> None
    id_of: the id that a started tracker gave its run; None: the one that it was given
    takes_new_id: whether a new run takes our id
    forgets_later_steps: whether it drops what it has of the steps after the one that a training goes on from
    """

    packages: tuple[str, ...]
    make: Callable[[Begun], Any]
    show: Callable[[Any, Mapping[str, Path], int], None]
    id_of: Callable[[Any], str | None] = lambda tracker: None
    takes_new_id: bool = True
    forgets_later_steps: bool = False


def _class_of(name: str) -> Any:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    return LOGGER_TYPE_TO_CLASS[name]


def _tensorboard(begun: Begun) -> Any:
    return _class_of("tensorboard")(TENSORBOARD, begun.folder, purge_step=begun.step + 1 if begun.step else None)


def _tensorboard_images(tracker: Any, images: Mapping[str, Path], step: int) -> None:
    import numpy as np

    arrays = {f"samples/{name}": np.asarray(_opened(file))[None] for name, file in images.items()}
    tracker.log_images(arrays, step=step, dataformats="NHWC")
    tracker.tracker.flush()


def _wandb(begun: Begun) -> Any:
    # its capture of what the command prints would show the paths of this machine
    quiet = {"console": "off", "silent": True, "save_code": False}
    options = {"name": _name(begun), "id": begun.run_id, "resume": "allow", "dir": str(begun.folder), "settings": quiet}
    return _class_of("wandb")(os.environ.get("WANDB_PROJECT", PROJECT), **options)


def _wandb_images(tracker: Any, images: Mapping[str, Path], step: int) -> None:
    tracker.log_images({f"samples/{name}": [_opened(file)] for name, file in images.items()}, step=step)


def _trackio(begun: Begun) -> Any:
    name = f"{_name(begun)}-{(begun.run_id or '')[:6]}"  # two runs may have folders of one name
    # it keeps the options of its last beginning alone
    options = {"name": name, "resume": "allow", "embed": False, "config": dict(begun.config)}
    return _class_of("trackio")(os.environ.get("TRACKIO_PROJECT", PROJECT), **options)


def _trackio_images(tracker: Any, images: Mapping[str, Path], step: int) -> None:
    trackio = import_module("trackio")
    shown = {f"samples/{name}": trackio.Image(_opened(file), caption=name) for name, file in images.items()}
    tracker.log(shown, step=step)


def _mlflow(begun: Begun) -> Any:
    return _class_of("mlflow")(PROJECT, run_id=begun.run_id, run_name=_name(begun))


def _mlflow_images(tracker: Any, images: Mapping[str, Path], step: int) -> None:
    for file in images.values():
        tracker.log_artifact(str(file), f"samples/{file.parent.name}")


def _name(begun: Begun) -> str:
    return begun.folder.resolve().name


def _opened(file: Path) -> Image.Image:
    """Return an image, or the first frame of a clip."""
    with Image.open(file) as image:
        return rgb(image)


KINDS = {
    "tensorboard": Kind(
        packages=("tensorboard", "tensorboardX"),
        make=_tensorboard,
        show=_tensorboard_images,
        forgets_later_steps=True,
    ),
    "wandb": Kind(packages=("wandb",), make=_wandb, show=_wandb_images),
    "trackio": Kind(packages=("trackio",), make=_trackio, show=_trackio_images),
    "mlflow": Kind(
        packages=("mlflow",),
        make=_mlflow,
        show=_mlflow_images,
        id_of=lambda tracker: tracker.tracker.info.run_id,
        takes_new_id=False,
    ),
}
