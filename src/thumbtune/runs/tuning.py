"""Train in a run's directory: log each step, save checkpoints, and write the result."""

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from thumbtune.documents import read_text
from thumbtune.errors import Interrupted, ThumbtuneError
from thumbtune.files import write_text
from thumbtune.runs import build, monitor, run
from thumbtune.runs.monitor import Monitor
from thumbtune.runs.recipe import Recipe
from thumbtune.runs.setup import batches_of, prepare
from thumbtune.training import records
from thumbtune.training.batches import Batches, Progress
from thumbtune.training.step import Step
from thumbtune.training.trainer import LOWER_RATE, MemoryRanOut, Training, TrainingBroke, WentWrong, train

LOG = records.STEPS


def tune(
    recipe: Recipe, folder: Path, progress: Progress, resume: bool = False, story: Mapping[str, Any] | None = None
) -> Iterator[Step]:
    """Train by the recipe, and yield each step; save checkpoints, and write the result at the end.

    `story` has facts on the likes for the report: their `source`, and `simulated` if a formula made them.

    Raises:
        Interrupted: Ctrl-C; a checkpoint of the last whole step was saved.
        WentWrong: a guard stopped the training; the result has the weights of the best checkpoint.
        ThumbtuneError: bad likes, a full disk, or broken training; earlier checkpoints are intact.
    """
    from thumbtune.training import checkpoint

    run.check(recipe, folder, resume)
    setup = prepare(recipe)
    story = {"notes": setup.notes(), **(story or {}), "prompt_prefix": setup.prefix, "contrasts": setup.contrasts}
    accelerator = build.training_accelerator_of(recipe)
    accelerator.wait_for_everyone()  # all have checked the folder before it changes
    model = build.model_of(recipe, accelerator.device)
    if accelerator.is_main_process:
        run.start(recipe, folder, setup.split, story)
    accelerator.wait_for_everyone()
    with accelerator.main_process_first():  # the others find the cache filled
        batches = batches_of(setup, model, run.cache_of(folder), progress)
        held_out = monitor.held_out_of(setup, model, run.cache_of(folder), progress)
    training = Training(model, setup.reference_point, setup.settings, accelerator, setup.beta)
    guards = monitor.guards_of(setup, held_out)
    watched = Monitor(training, guards, held_out, recipe.train.validate_every)
    newest = checkpoint.latest(folder) if resume else None
    if newest is not None:
        checkpoint.restore(training, newest)
    if accelerator.is_main_process:
        _cut_log(folder, training.step)
        if newest is None and guards is not None:
            checkpoint.save(training, folder)  # to go back to if all later ones are worse
        run.forget_stop(folder, setup.result)
    accelerator.wait_for_everyone()
    watched.replay(folder)
    accelerator.wait_for_everyone()  # all have read the log before it grows
    yield from _logged(
        watched, train(training, batches, setup.objective), recipe, folder, partial(_end, training, batches)
    )
    if accelerator.is_main_process:
        with training.ema.in_place():
            model.save(folder / setup.result.parent)


def line_of(step: Step) -> str:
    """Return a line with the step's number, loss and log-ratios, for people."""

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:+.2e}"

    return (
        f"step {step.step}  loss {number(step.loss)}  log-ratio of liked {number(step.liked_log_ratio)}"
        f"  of disliked {number(step.disliked_log_ratio)}"
    )


@contextmanager
def stop_on_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C was pressed. A second Ctrl-C stops without waiting for the step."""
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


def _end(training: Training, batches: Batches) -> str | None:
    """Return, after the last step, what is wrong with the weights and what to try; None if they are sound."""
    if training.step < training.settings.steps:
        return None
    if training.broken == training.step:
        return f"no step gave a finite loss or gradient; {training.remedy}"
    if _anywhere(training.accelerator, not monitor.gives_numbers(training, batches)):
        return f"with the weights of its last step the network gives no finite error; {LOWER_RATE}"
    return None


def _logged(
    watched: Monitor,
    steps: Iterator[Step],
    recipe: Recipe,
    folder: Path,
    ending: Callable[[], str | None] = lambda: None,
) -> Iterator[Step]:
    """Log each step before yielding it; save checkpoints, also if something stops the training.

    `ending` returns what is wrong with the last weights, or None; wrong ones get no checkpoint.
    """
    training = watched.training
    main = training.accelerator.is_main_process
    saved, keep = training.step, recipe.train.keep_checkpoints
    with stop_on_ctrl_c() as pressed:
        try:
            for taken in steps:
                step, wrong = watched.inspect(taken)
                if main:
                    _write_step(folder / LOG, step)
                broke = ending()
                if broke is not None:
                    saved = step.step
                elif step.step % recipe.train.checkpoint_every == 0 or step.step == recipe.train.steps:
                    saved = _save(watched, folder, saved, keep)
                yield step
                if wrong or broke:
                    raise WentWrong(f"Training stopped at step {step.step}: {wrong or broke}.")
                if _anywhere(training.accelerator, pressed()):
                    raise Interrupted(
                        f"Stopped after step {step.step} of {recipe.train.steps}; a checkpoint was saved: "
                        "the same command with --resume continues from it.",
                        code="training-interrupted",
                    )
        except MemoryRanOut:  # perhaps in one process alone, so do not wait for the others
            _save(watched, folder, saved, keep)
            raise
        except (Interrupted, GeneratorExit, TrainingBroke, WentWrong) as stop:
            _save(watched, folder, saved, keep)
            raised = stop
            if main and watched.guards is not None and isinstance(stop, TrainingBroke | WentWrong):
                raised = type(stop)(watched.go_back(folder, build.result_of(recipe), str(stop)))
            training.accelerator.wait_for_everyone()  # a launcher kills the others as soon as one exits
            raise raised from None


def _save(watched: Monitor, folder: Path, saved: int, keep: int) -> int:
    """Save a checkpoint of the present step, if it is sound and not yet `saved`; return the newest saved step."""
    from thumbtune.training import checkpoint

    training = watched.training
    if training.step == saved or training.torn or not monitor.is_finite(training):
        return saved
    if training.accelerator.is_main_process:
        checkpoint.save(training, folder)
        if keep:
            checkpoint.prune(folder, keep, watched.steps_to_keep(checkpoint.steps_in(folder)))
    return training.step


def _anywhere(accelerator: Any, flag: bool) -> bool:
    """Return whether the flag is set in any process, since all must stop after the same step."""
    if accelerator.num_processes == 1:
        return flag
    import torch

    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum"))


def _cut_log(folder: Path, upto: int) -> None:
    """Drop the log's lines after step `upto`, since the run continues from there, and a line that was cut short.

    Raises:
        ThumbtuneError: the log is damaged.
    """
    log = folder / LOG
    steps = [row["step"] for row in records.read_step_rows(folder)]
    lines = [line for line in read_text(log).split("\n") if line.strip()] if steps else []
    rest = [line for line, step in zip(lines, steps, strict=False) if step <= upto]  # the last may be cut short
    write_text(log, "".join(line + "\n" for line in rest))


def _write_step(log: Path, step: Step) -> None:
    try:
        with log.open("a") as file:
            file.write(json.dumps(step.as_dict()) + "\n")
    except OSError as error:
        raise ThumbtuneError(
            f"{log} could not be written ({error.strerror}); make room, then use --resume.", code="file-unwritable"
        ) from error
