"""A run is a directory: everything that a training did, and everything needed to repeat or continue it.

recipe.yaml        every option                    environment.json   versions and hardware
likes.parquet      image ids, prompts, thumbs, and which were held out
steps.jsonl        one line per weight update      checkpoints/       to continue from
lora/              the result, for diffusers and for ComfyUI / A1111
evaluation/        pictures and scores             report.html
"""

import json
import platform
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from thumbtune import build, config
from thumbtune.batches import Progress
from thumbtune.config import Recipe
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.files import write_text
from thumbtune.trainer import Step, Training, train

PACKAGES = ("thumbtune", "torch", "diffusers", "transformers", "peft", "accelerate", "datasets", "numpy")


class Interrupted(ThumbtuneError):
    """Somebody pressed Ctrl-C; a checkpoint was saved. The command line exits with 130."""


def environment() -> dict[str, Any]:
    """Versions and hardware, as far as they can change a result."""
    import torch

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return {"versions": versions, "python": platform.python_version(), "machine": platform.machine(), "device": device}


def recipe_in(folder: Path) -> Recipe:
    """The recipe of an existing run.

    Raises:
        UsageError: the folder is no run.
    """
    if not (folder / "recipe.yaml").exists():
        raise UsageError(f"{folder} is no run: it holds no recipe.yaml; make one with `thumbtune train`.")
    return config.read(folder / "recipe.yaml")


def start(recipe: Recipe, folder: Path, resume: bool) -> None:
    """Make the run's directory, or check that an existing one may be continued.

    Raises:
        UsageError: the folder holds a run and `resume` was not asked for, or its recipe differs.
    """
    if (folder / "recipe.yaml").exists():
        if not resume:
            raise UsageError(f"{folder} already holds a run; continue it with --resume, or choose another --out.")
        _refuse_differences(recipe_in(folder), recipe, folder)
        return
    config.write(recipe, folder / "recipe.yaml")
    write_text(folder / "environment.json", json.dumps(environment(), indent=1))


def _refuse_differences(old: Recipe, new: Recipe, folder: Path) -> None:
    """Evaluation may change between the parts of a run; training may not."""
    was, now = old.model_dump(mode="json", exclude={"evaluate"}), new.model_dump(mode="json", exclude={"evaluate"})
    for name in config.options():
        if name.startswith("evaluate."):
            continue
        a, b = was, now
        for part in name.split("."):
            a, b = a[part], b[part]
        if a != b:
            raise UsageError(
                f"{folder} was started with {name} = {a}, not {b}; use its recipe, or choose another --out."
            )


@contextmanager
def stop_on_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Yield a question: has Ctrl-C been pressed? The step under way ends first; a second Ctrl-C stops at once."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: Any) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handle)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _keep_log(folder: Path, upto: int) -> None:
    """Drop the lines of steps after the checkpoint that a run continues from: they will be made again."""
    log = folder / "steps.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= upto]
    write_text(log, "".join(line + "\n" for line in kept))


def _write_likes(folder: Path, parts: Any) -> None:
    """The thumbs that the run saw, without the pictures, and a summary for the report."""
    from datasets import concatenate_datasets

    sides = [part.remove_columns("image") for part in (parts.train, parts.held_out)]
    marked = [side.add_column("held_out", [flag] * len(side)) for side, flag in zip(sides, (False, True), strict=True)]
    whole = concatenate_datasets([side for side in marked if len(side)])
    whole.to_parquet(folder / "likes.parquet")
    summary = json.loads((folder / "likes.json").read_text()) if (folder / "likes.json").exists() else {}
    labels = whole["label"]
    summary = {"source": "the store of likes", "simulated": None, "examples": {"liked": [], "disliked": []}} | summary
    summary |= {
        "likes": sum(labels),
        "dislikes": len(labels) - sum(labels),
        "prompts": len(set(whole["prompt"])),
        "held_out": len(parts.held_out),
    }
    write_text(folder / "likes.json", json.dumps(summary, indent=1))


def tune(recipe: Recipe, folder: Path, progress: Progress, resume: bool = False) -> Iterator[Step]:
    """Train as the recipe says, yielding steps; checkpoints on the way, the LoRA at the end.

    Raises:
        Interrupted: Ctrl-C; a checkpoint of the last whole step was saved.
        ThumbtuneError: bad likes, a full disk, or training that broke; what was saved before is whole.
    """
    from accelerate import Accelerator

    from thumbtune import checkpoint

    objective = build.objective_of(recipe)
    parts = build.split_of(recipe)
    accelerator = Accelerator(mixed_precision=recipe.train.precision)
    model = build.model_of(recipe, accelerator.device)
    batches = build.batches_of(recipe, model, parts.train, folder.parent / "cache", progress)
    if accelerator.is_main_process:
        start(recipe, folder, resume)
        _write_likes(folder, parts)
    accelerator.wait_for_everyone()
    training = Training(model, build.neutral_of(recipe), build.settings_of(recipe), accelerator)
    newest = checkpoint.latest(folder) if resume else None
    if newest is not None:
        checkpoint.restore(training, newest)
    if accelerator.is_main_process:
        _keep_log(folder, training.step)
    yield from _logged(training, train(training, batches, objective), recipe, folder)
    if accelerator.is_main_process:
        model.save(folder / "lora")


def _logged(training: Training, steps: Iterator[Step], recipe: Recipe, folder: Path) -> Iterator[Step]:
    """Write each step down before it is shown; save checkpoints; leave in order on Ctrl-C."""
    from thumbtune import checkpoint

    main = training.accelerator.is_main_process
    with stop_on_ctrl_c() as pressed, (folder / "steps.jsonl").open("a") as log:
        for step in steps:
            if main:
                log.write(json.dumps(step.as_dict()) + "\n")
                log.flush()
            due = step.step % recipe.train.checkpoint_every == 0 or step.step == recipe.train.steps
            if main and due:
                checkpoint.save(training, folder)
            yield step
            if pressed():
                if main and not due:
                    checkpoint.save(training, folder)
                raise Interrupted(
                    f"Stopped after step {step.step} of {recipe.train.steps}; a checkpoint was saved: "
                    "the same command with --resume goes on from it."
                )


def trained_model(recipe: Recipe, folder: Path, device: Any = "cpu") -> Any:
    """The model of a finished run: the base with its LoRA.

    Raises:
        ThumbtuneError: the run has not finished training.
    """
    if not (folder / "lora").exists():
        raise ThumbtuneError(f"{folder} has no lora folder: its training has not finished; continue it with --resume.")
    model = build.model_of(recipe, device)
    model.load(folder / "lora")
    return model
