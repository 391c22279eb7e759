"""Train in a run's directory: log each step, save checkpoints, and write the result."""

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from thumbtune import distributed
from thumbtune.documents import read_text
from thumbtune.errors import Interrupted, Terminated, ThumbtuneError, note
from thumbtune.feedback.bars import without_bars
from thumbtune.files import write_text
from thumbtune.memory import give_back
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.model_options import SHORT
from thumbtune.objective.protocol import Objective
from thumbtune.runs import build, monitor, run, sharding
from thumbtune.runs.card_files import write_card
from thumbtune.runs.forecast import check_memory
from thumbtune.runs.monitor import Monitor
from thumbtune.runs.own_labels import split_in
from thumbtune.runs.recipe import Recipe
from thumbtune.runs.reporting import reported
from thumbtune.runs.setup import Setup, batches_from, encoded_of, prepare
from thumbtune.signals import Requests, requests
from thumbtune.training import checkpoint, damage, records
from thumbtune.training.batches import Batches
from thumbtune.training.cache import Cache
from thumbtune.training.checkpoint import LOG
from thumbtune.training.encoded import Encoded
from thumbtune.training.in_processes import check_shared
from thumbtune.training.lockstep import Alone
from thumbtune.training.progress import Progress
from thumbtune.training.step import Step
from thumbtune.training.trainer import LOWER_RATE, MemoryRanOut, Training, TrainingBroke, WentWrong, train

WORSE_THAN_ZEROS = 1.05  # a mean error: zeros have that of the target's variance, which is about 1


def tune(
    recipe: Recipe,
    folder: Path,
    progress: Progress,
    resume: bool = False,
    story: Mapping[str, Any] | None = None,
    objective: Objective | None = None,
) -> Generator[Step, None, None]:
    """Train by the recipe, and yield each step; save checkpoints, and write the result at the end.

    `story` has facts on the likes for the report: their `source`, and `simulated` if a formula made them. `objective`
    is one in place of the recipe's.

    Raises:
        Interrupted: Ctrl-C, or SIGTERM (then Terminated); a checkpoint of the last whole step was saved.
        WentWrong: a guard stopped the training; the result has the weights of the best checkpoint.
        ThumbtuneError: bad likes, a full disk, or broken training; earlier checkpoints are intact.
    """
    run.refuse_busy(folder)
    run.check(recipe, folder, resume)
    with without_bars():
        setup = prepare(recipe, given=objective, split_of=partial(split_in, recipe, folder))
        notes = setup.notes()
    story = {"notes": notes, **(story or {}), "prompt_prefix": setup.prefix, "contrasts": setup.contrasts}
    accelerator = build.training_accelerator_of(recipe)
    check_shared(recipe.train.batch, "pairs" in setup.objective.needs, accelerator.num_processes)
    check_memory(recipe)
    accelerator.wait_for_everyone()  # all have checked the folder before it changes
    model = build.model_of(recipe, accelerator.device)
    sharding.check_division(recipe, model, accelerator)
    story["notes"] += setup.size_notes(model)
    with run.training_lock(folder) if accelerator.is_main_process else nullcontext():
        if accelerator.is_main_process:
            run.check(recipe, folder, resume)  # again: another process may have trained here in between
            with without_bars():
                run.start(recipe, folder, setup.split, story)
        accelerator.wait_for_everyone()
        yield from _tuned(setup, model, folder, progress, resume, accelerator)


def _tuned(
    setup: Setup, model: LatentDiffusion, folder: Path, progress: Progress, resume: bool, accelerator: Any
) -> Iterator[Step]:
    """Encode the likes, go back to the newest checkpoint if any, train, and write the result."""
    batches, held_out = _encoded(setup, model, run.cache_of(folder), progress, accelerator)
    is_divided = sharding.is_asked(setup.recipe, accelerator)
    lockstep = sharding.divided(model, batches, accelerator) if is_divided else Alone()
    model.rest()  # all is encoded
    give_back()
    settings = replace(setup.settings, measure_log_ratios=monitor.reads_log_ratios(setup, held_out))
    training = Training(model, setup.reference_point, settings, accelerator, setup.beta, lockstep)
    guards = monitor.guards_of(setup, held_out)
    watched = Monitor(training, guards, held_out, setup.recipe.train.validate_every)
    if accelerator.is_main_process:
        damage.set_aside_damaged(folder)
    accelerator.wait_for_everyone()
    is_restored = resume and checkpoint.restore_newest(training, folder)
    accelerator.wait_for_everyone()  # all have read the checkpoints before one is removed
    if accelerator.is_main_process:
        _tell_start(folder, training, resume and not is_restored)
        _tell_earlier(folder, training.step, is_restored)
        damage.set_aside_after(folder, training.step)
        _cut_log(folder, training.step)
    if not is_restored and guards is not None and _takes_part(training):
        checkpoint.save(training, folder)  # to go back to if all later ones are worse
    if accelerator.is_main_process:
        run.forget_stop(folder, setup.result)
    if not is_restored:
        monitor.measure_base(training, batches, folder)
    accelerator.wait_for_everyone()
    watched.replay(folder)
    accelerator.wait_for_everyone()  # all have read the log before it grows
    asked, ending = Requests(), partial(_end, training, batches)
    steps = _logged(watched, train(training, batches, setup.objective), setup.recipe, folder, ending, asked)
    try:
        yield from reported(steps, setup, model, training, folder, asked)
    except (TrainingBroke, WentWrong):
        if accelerator.is_main_process and (folder / run.STOPPED).is_file():
            write_card(folder)  # the result is that of the best checkpoint
        raise
    if _takes_part(training):
        with training.ema.in_place():
            model.save(folder / setup.result.parent)
    if accelerator.is_main_process:
        run.record_result(folder, setup.result)
        write_card(folder)


def _takes_part(training: Training) -> bool:
    """Return whether this process takes part in saving: the first one, and all of them if weights are divided."""
    return training.accelerator.is_main_process or training.is_divided


def _encoded(
    setup: Setup, model: LatentDiffusion, cache: Cache, progress: Progress, accelerator: Any
) -> tuple[Batches, Encoded | None]:
    """Return the batches to train on and the held-out likes; the processes share the encoding."""
    encoded = encoded_of(setup, model, cache)
    if accelerator.num_processes > 1:
        encoded.fill_share(accelerator.process_index, accelerator.num_processes, progress)
        accelerator.wait_for_everyone()
    with accelerator.main_process_first():  # what is left; the others find the cache filled
        batches = batches_from(encoded.fill(progress, strict=True), model.process, setup.recipe, setup.objective)
        return batches, monitor.held_out_of(setup, model, cache, progress)


def _tell_start(folder: Path, training: Training, lacks_checkpoint: bool) -> None:
    """Tell where a run that is resumed goes on, or that it is finished; nothing of a run that begins."""
    step, steps = training.step, training.settings.steps
    if step == steps:
        note(f"{folder} has done all of its {steps} steps, so there is nothing to do; its result is written again.")
    elif step:
        note(
            f"{folder} continues from step {step} of {steps}, with the checkpoint {checkpoint.folder_of(folder, step)}."
        )
    elif lacks_checkpoint and (folder / LOG).exists():
        note(f"{folder} has no checkpoint that can be used, so it begins again at step 1 of {steps}.")


def _tell_earlier(folder: Path, step: int, is_restored: bool) -> None:
    """Tell if the run continues from a checkpoint of the version before, which encoded images together."""
    newest = checkpoint.folder_of(folder, step)
    if is_restored and checkpoint.state_in(newest)["version"] == checkpoint.WITHOUT_HASHES:
        note(
            f"An earlier Thumbtune trained {folder} up to step {step}, on images that it encoded in groups; this one "
            "encodes each alone, so from here on the last digits differ from those of a run without a break."
        )


def line_of(step: Step) -> str:
    """Return a line with the step's number, loss and log-ratios, for people; a step may have images of one kind."""

    def number(value: float | None, missing: str = "-") -> str:
        return missing if value is None else f"{value:+.2e}"

    line = f"step {step.step}  loss {number(step.loss)}"
    ratios = {"log-ratio of liked": step.liked_log_ratio, "of disliked": step.disliked_log_ratio}
    if all(ratio is None for ratio in ratios.values()):
        return line
    return "  ".join([line, *(f"{name} {number(ratio, '(none in this step)')}" for name, ratio in ratios.items())])


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
    asked: Requests | None = None,
) -> Generator[Step, None, None]:
    """Log each step before yielding it; save checkpoints, also if something stops the training.

    `ending` returns what is wrong with the last weights, or None; wrong ones get no checkpoint. Requests of other
    programs are noted in `asked`.
    """
    accelerator = watched.training.accelerator
    saver = _Saver(watched, folder, recipe.train.keep_checkpoints)
    asked = asked or Requests()
    with requests(asked):  # until all is saved
        try:
            yield from _saved(watched, steps, recipe, saver, ending, asked)
        except MemoryRanOut:  # perhaps in one process alone, so do not wait for the others
            saver.save_alone()
            raise
        except RuntimeError as error:
            lost = distributed.lost_process(error)
            if lost is None:
                raise
            saver.save_alone()
            raise lost from None
        except GeneratorExit:  # whoever closes the first process's steps may not close those of the others
            saver.save_alone()
            if not watched.training.is_divided:
                accelerator.wait_for_everyone()
            raise
        except (Interrupted, TrainingBroke, WentWrong) as stop:
            saver.save()
            raised = stop
            if (
                _takes_part(watched.training)
                and watched.guards is not None
                and isinstance(stop, TrainingBroke | WentWrong)
            ):
                raised = type(stop)(watched.go_back(folder, build.result_of(recipe), str(stop)))
            accelerator.wait_for_everyone()  # a launcher kills the others as soon as one exits
            raise raised from None


def _worse_than_zeros(step: Step, model: Any) -> str | None:
    """Return a sentence if the base model is worse at the first step than zeros, whose error is about 1."""
    # before the first update, the policy is the reference
    error = step.policy_error if step.reference_error is None else step.reference_error
    prediction = getattr(model.process, "prediction", None)
    if getattr(model.process, "weighting", None) is not None:  # the error is weighted, and zeros would have another one
        return None
    if step.step > 1 or error is None or error <= WORSE_THAN_ZEROS or prediction not in SHORT.values():
        return None
    short, other = ("v", "epsilon") if prediction == SHORT["v"] else ("epsilon", "v")
    return (
        f"The base model has a mean error of {error:.2f} at the first step, and guessing zeros has about 1; if it does "
        f"not draw well by itself, it may predict {other} and not {short}: see the option prediction."
    )


def _saved(
    watched: Monitor,
    steps: Iterator[Step],
    recipe: Recipe,
    saver: "_Saver",
    ending: Callable[[], str | None],
    asked: Requests,
) -> Iterator[Step]:
    """Log each step before yielding it, and save checkpoints when they are due or asked for."""
    accelerator = watched.training.accelerator
    for taken in steps:
        step, wrong = watched.inspect(taken)
        if accelerator.is_main_process:
            _write_step(saver.folder / LOG, step)
        if (sentence := _worse_than_zeros(step, watched.training.model)) is not None:
            note(sentence)
        broke = ending()
        if broke is not None:
            saver.newest = step.step
        elif step.step % recipe.train.checkpoint_every == 0 or step.step == recipe.train.steps:
            saver.save()
        yield step
        if wrong or broke:
            raise WentWrong(f"Training stopped at step {step.step}: {wrong or broke}.")
        ended, is_save = _asked(accelerator, asked)
        if ended:
            raise _interrupted(ended, step.step, recipe.train.steps, saver.save())
        if is_save:
            _tell_saved(accelerator, step.step, saver.save())


class _Saver:
    """Save checkpoints of a training. `newest` is the step of the last one, or of weights that must not be saved."""

    def __init__(self, watched: Monitor, folder: Path, keep: int) -> None:
        self.watched, self.folder, self.keep = watched, folder, keep
        self.newest = watched.training.step

    def save(self) -> bool:
        """Save a checkpoint of the present step, if it is sound and not yet saved; prune earlier ones.

        Returns:
            Whether there is one now: none of weights that are half updated, or not finite.
        """
        training = self.watched.training
        if training.step == self.newest:
            return True
        if training.torn or not monitor.is_finite(training):
            return False
        if _takes_part(training):
            checkpoint.save(training, self.folder)
            if self.keep and training.accelerator.is_main_process:
                steps = checkpoint.steps_in(self.folder)
                checkpoint.prune(self.folder, self.keep, self.watched.steps_to_keep(steps))
        self.newest = training.step
        return True

    def save_alone(self) -> None:
        """Save as `save`, without the other processes: of weights that are divided among them nothing can be saved."""
        if not self.watched.training.is_divided:
            self.save()


def _tell_saved(accelerator: Any, step: int, is_saved: bool) -> None:
    """Tell once, not in every process, what became of a request for a checkpoint."""
    if not accelerator.is_main_process:
        return
    if is_saved:
        note(f"A checkpoint of step {step} was saved, as SIGUSR1 asked; training continues.")
    else:
        note(f"SIGUSR1 asked for a checkpoint of step {step}, and its weights are not finite, so none was saved.")


def _interrupted(kind: type[Interrupted], step: int, steps: int, is_saved: bool) -> Interrupted:
    stopped = Interrupted(
        f"Stopped after step {step} of {steps}; a checkpoint was saved: the same command with --resume continues "
        "from it.",
        code="training-interrupted",
    )
    if not is_saved:
        stopped = Interrupted(
            f"Stopped after step {step} of {steps}; its weights are not finite, so no checkpoint was saved: the same "
            "command with --resume continues from the one before, or from the start if there is none.",
            code="training-interrupted",
        )
    return stopped if kind is Interrupted else kind(str(stopped), code=stopped.code)


def _anywhere(accelerator: Any, flag: bool) -> bool:
    """Return whether the flag is set in any process, since all must stop after the same step."""
    if accelerator.num_processes == 1:
        return flag
    import torch

    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum"))


def _asked(accelerator: Any, asked: Requests) -> tuple[type[Interrupted] | None, bool]:
    """Return how the training is to end, or None, and whether to save; a request to one process is one to all.

    One for samples is then one that all know of: they are drawn after the next step.
    """
    here = (asked.end is Interrupted, asked.end is Terminated, asked.take_save(), asked.take_sample())
    if accelerator.num_processes > 1:
        import torch

        numbers = torch.tensor([float(one) for one in here], device=accelerator.device)
        here = tuple(number > 0 for number in accelerator.reduce(numbers, "sum").tolist())
    if here[3]:
        asked.agree()
    return (Terminated if here[1] else Interrupted if here[0] else None), here[2]


def _cut_log(folder: Path, upto: int) -> None:
    """Drop the log's lines after step `upto`, since the run continues from there, and a line that was cut short.

    Raises:
        ThumbtuneError: the log is damaged.
    """
    log = folder / LOG
    steps = [row["step"] for row in records.read_step_rows(folder)]
    lines = [line for line in read_text(log).split("\n") if line.strip()] if steps else []
    rest = [line for line, step in zip(lines, steps, strict=False) if step <= upto]  # the last may be cut short
    write_text(log, "".join(line + "\n" for line in rest), durable=True)


def _write_step(log: Path, step: Step) -> None:
    try:
        with log.open("a") as file:
            file.write(json.dumps(step.as_dict()) + "\n")
    except OSError as error:
        raise ThumbtuneError(
            f"{log} could not be written ({error.strerror}); make room, then use --resume.", code="file-unwritable"
        ) from error
