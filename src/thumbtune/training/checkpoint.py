"""Checkpoints: everything that training changes, as safetensors and JSON in a folder written whole or not at all.

    weights.safetensors     the trained weights, in float32
    optimizer.safetensors   the optimiser's slots
    average.safetensors     the EMA of the weights, if there is one
    reference.safetensors   the reference, once it was synced
    reference_errors.safetensors    its known errors, if noise draws repeat
    steps.jsonl             the run's log up to here, from which a damaged one is restored
    state.json              step, reference point, beta, broken steps in a row, and with fp16 the scale of the loss;
                            the hash of every file, of the run's steps.jsonl up to here, and of itself

A checkpoint is used whole or not at all: every byte is compared with its hash, and every number must be finite.
Randomness is a function of (seed, step, image), so there is no generator to save, and resuming is exact.
"""

import json
import math
import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from thumbtune.errors import ThumbtuneError, note
from thumbtune.files import DamagedFile, file_sha256, flush, refuse_not_finite, sha256, working_folder
from thumbtune.models.shards import cut_slots
from thumbtune.training import contents, records
from thumbtune.training.optimizers import fits, name_of, put_slots
from thumbtune.training.trainer import Training

VERSION = 4
WITHOUT_HASHES = 3  # the version before, which is read as well
STATE = "state.json"
ERRORS = contents.ERRORS
LOG = records.STEPS  # of the run: a line for every step


def folder_of(run: Path, step: int) -> Path:
    """Return the folder of a step's checkpoint, whether or not it exists."""
    return run / "checkpoints" / f"step-{step:06d}"


def latest(run: Path) -> Path | None:
    """Return the newest complete checkpoint of a run; None if there is none."""
    steps = steps_in(run)
    return folder_of(run, steps[-1]) if steps else None


def steps_in(run: Path) -> list[int]:
    """Return the steps of a run's complete checkpoints, from the first to the newest."""
    names = (folder.name.removeprefix("step-") for folder in (run / "checkpoints").glob("step-*"))
    return sorted(int(name) for name in names if name.isdecimal())  # a renamed folder does not count


def prune(run: Path, newest: int, spared: Collection[int]) -> None:
    """Delete all checkpoints except the N `newest` and the `spared` steps.

    One that cannot be deleted stays, since that must not end a training.
    """
    for step in steps_in(run)[:-newest]:
        if step not in spared:
            _remove(folder_of(run, step))


def save(training: Training, run: Path) -> Path:
    """Write a checkpoint of the present step to the disk, and return its folder.

    If the trained weights are divided, all processes call it together, and the first one writes.

    Raises:
        ThumbtuneError: it could not be written; earlier checkpoints are unchanged.
    """
    target = folder_of(run, training.step)
    if not training.accelerator.is_main_process:
        for _ in contents.files_of(training):
            pass  # whose rows this process gives
        return target
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        with working_folder(partial):
            for name, tensors in contents.files_of(training):
                save_file(tensors, partial / f"{name}.safetensors")
            log = (run / LOG).read_bytes() if (run / LOG).is_file() else b""
            if log:
                (partial / LOG).write_bytes(log)
            hashes = {file.name: file_sha256(file) for file in sorted(partial.iterdir())}
            (partial / STATE).write_text(_sealed({**_state(training), "log": sha256(log), "files": hashes}))
            for path in (*partial.iterdir(), partial, *([run / LOG] if log else [])):
                flush(path)
            shutil.rmtree(target, ignore_errors=True)
            os.replace(partial, target)
            flush(target.parent)
    except (OSError, SafetensorError) as error:
        raise ThumbtuneError(
            f"The checkpoint {target} could not be written ({error}); make room, then continue with --resume.",
            code="checkpoint-unwritable",
        ) from error
    return target


def _sealed(state: Mapping[str, Any]) -> str:
    """Return a state as JSON, with the hash of the rest of it at its end."""
    text = json.dumps(state)
    return f'{text[:-1]}, "sha256": "{sha256(text.encode())}"}}'


def state_in(folder: Path) -> dict[str, Any]:
    """Return the state of a checkpoint, compared with its hash; a state of the version before has none.

    Raises:
        ThumbtuneError: another version wrote it.
        OSError, ValueError, KeyError, TypeError: it is damaged.
    """
    text = (folder / STATE).read_text(encoding="utf-8")
    state = json.loads(text)
    if "sha256" in state:
        del state["sha256"]
        if _sealed(state) != text:
            raise DamagedFile(f"{STATE} does not have the bytes that were written")
    elif state["version"] == VERSION:
        raise DamagedFile(f"{STATE} has no hash")
    version = state["version"]
    if version not in {VERSION, WITHOUT_HASHES}:
        raise ThumbtuneError(
            f"The checkpoint {folder} is of version {version}, and this Thumbtune reads version {VERSION}; "
            "continue it with the Thumbtune that wrote it, or start a new run.",
            code="checkpoint-version",
        )
    return state


def check_files(folder: Path, state: Mapping[str, Any], *names: str) -> None:
    """Compare files of a checkpoint with their hashes in its state: all, or those of these names.

    Raises:
        OSError, ValueError, KeyError: one is missing, or has other bytes than those that were written.
    """
    if state["version"] == WITHOUT_HASHES:
        return
    for name in names or state["files"]:
        if file_sha256(folder / name) != state["files"][name]:
            raise DamagedFile(f"{name} does not have the bytes that were written")


def restore_newest(training: Training, run: Path) -> bool:
    """Restore the newest checkpoint that can be used, with a note on each damaged one; return whether there is one.

    Raises:
        ThumbtuneError: a checkpoint was made for another model or recipe, or by another version.
    """
    for step in reversed(steps_in(run)):
        try:
            restore(training, folder_of(run, step))
        except ThumbtuneError as error:
            if error.code != "checkpoint-damaged":
                raise
            note_damaged(folder_of(run, step), error.__cause__)
            continue
        return True
    return False


def note_damaged(folder: Path, why: object) -> None:
    """Tell that a checkpoint is damaged, and where the run goes on."""
    note(f"The checkpoint {folder} is damaged ({why}); the run continues from the one before it, or from its start.")


def _remove(folder: Path) -> None:
    """Remove a checkpoint; half a folder never counts as one. One that cannot be deleted stays."""
    going = folder.with_name(f".{folder.name}.partial")
    with suppress(OSError):
        os.replace(folder, going)
        shutil.rmtree(going)


def restore(training: Training, folder: Path) -> None:
    """Restore a training from a checkpoint.

    Raises:
        ThumbtuneError: the checkpoint is damaged, or was made for another model or recipe.
    """
    try:
        state = state_in(folder)
        check_files(folder, state)
        weights = load_file(folder / "weights.safetensors")
        slots = contents.by_parameter(load_file(folder / "optimizer.safetensors"))
        average, reference = (_optional(folder, name, state[name]) for name in ("average", "reference"))
        errors = _errors_of_reference(folder, state)
        for tensors in (weights, average, reference, errors, *slots.values()):
            refuse_not_finite(tensors)
        step, broken = (_count(state[name], name) for name in ("step", "broken"))
        beta, scaler, reference_point = state["beta"], state["scaler"], _reference_point(state)
        for name, numbers in (("beta", beta), ("reference_point", reference_point), ("scaler", scaler or {})):
            _check_numbers(name, numbers)
        _check_slots(slots, len(weights), needed=step > broken and not scaler)
        optimizer = name_of(slots)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise _damaged(folder, error) from error
    _check_weights(folder, weights, training)
    if slots and optimizer != training.settings.optimizer:
        raise ThumbtuneError(
            f"The checkpoint {folder} was made with train.optimizer={optimizer}, not {training.settings.optimizer}; "
            "use its own recipe.",
            code="checkpoint-other-optimizer",
        )
    states = ((reference_point, training.reference_point.state()), (beta, training.beta.state()))
    if any(saved.keys() != own.keys() for saved, own in (*states, (average, contents.ema_of(training)))):
        raise ThumbtuneError(
            f"The checkpoint {folder} was made with another objective.reference_point, objective.beta or train.ema; "
            "use its own recipe.",
            code="checkpoint-other-recipe",
        )
    _check_shapes(folder, slots, average, reference, training)
    contents.put(training, weights, average)
    training.model.restore_reference(reference)
    training.reference_errors.restore(errors)
    put_slots(training.optimizer, cut_slots(slots, training.parameters))
    training.reference_point.restore(reference_point)
    training.beta.restore(beta)
    training.step, training.broken = step, broken
    if scaler and training.accelerator.scaler is not None:
        training.accelerator.scaler.load_state_dict(scaler)


def _errors_of_reference(folder: Path, state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the known errors of the reference; empty without any, as in checkpoints of earlier versions.

    Raises:
        OSError, ValueError, SafetensorError: they are damaged.
    """
    errors = _optional(folder, ERRORS, state.get(ERRORS, False))
    shapes = {name: tensor.shape for name, tensor in errors.items()}
    if errors and (shapes.keys() != {"draw", "error"} or shapes["draw"] != shapes["error"]):
        raise ValueError(f"{ERRORS} does not have an error for each draw")
    return errors


def _check_weights(folder: Path, weights: Mapping[str, Tensor], training: Training) -> None:
    """Refuse the weights of another model.

    Raises:
        ThumbtuneError: their names or shapes differ.
    """
    names = dict(training.model.trainable())
    if {n: p.shape for n, p in names.items()} != {n: w.shape for n, w in weights.items()}:
        raise ThumbtuneError(
            f"The checkpoint {folder} was made for another model or LoRA; use its own recipe, or a new run.",
            code="checkpoint-other-model",
        )


def weights_in(folder: Path) -> dict[str, Tensor]:
    """Return the trained weights of a checkpoint by name, for generating images; with an EMA, its average.

    Raises:
        ThumbtuneError: the checkpoint is damaged, or another version wrote it.
    """
    try:
        state = state_in(folder)
        check_files(folder, state)
        weights = _optional(folder, "average", state["average"]) or load_file(folder / "weights.safetensors")
        refuse_not_finite(weights)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise _damaged(folder, error) from error
    return weights


def _damaged(folder: Path, error: Exception) -> ThumbtuneError:
    return ThumbtuneError(
        f"The checkpoint {folder} is damaged ({error}); delete it to continue from the one before, or from the "
        "start if there is none.",
        code="checkpoint-damaged",
    )


def _count(value: Any, name: str) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is {value!r}, not a number of steps")
    return value


def _check_numbers(name: str, numbers: Mapping[str, Any]) -> None:
    """Check that a part of the state holds finite numbers under names; None is the number of what has none yet.

    Raises:
        ValueError: it does not.
    """
    for key, value in numbers.items():
        values = value if isinstance(value, list) else [value]
        if not all(one is None or (isinstance(one, int | float) and math.isfinite(one)) for one in values):
            raise ValueError(f"{name}.{key} is {value!r}, not a finite number")


def _check_slots(slots: Mapping[int, Mapping[str, Tensor]], weights: int, needed: bool) -> None:
    """Check that the optimiser has slots for every weight; for none, before its first update.

    Raises:
        ValueError: some are missing.
    """
    if (slots or needed) and sorted(slots) != list(range(weights)):
        raise ValueError(f"the optimiser has slots for {len(slots)} of {weights} weights")


def _check_shapes(
    folder: Path,
    slots: Mapping[int, Mapping[str, Tensor]],
    average: Mapping[str, Tensor],
    reference: Mapping[str, Tensor],
    training: Training,
) -> None:
    """Check the shapes of everything that belongs to a weight.

    Raises:
        ThumbtuneError: one differs from that of its weight.
    """
    names = dict(training.model.trainable())
    shapes = {name: weight.shape for name, weight in names.items()}
    by_number = list(shapes.values())
    is_whole = all(fits(of_one, by_number[index]) for index, of_one in slots.items())
    for tensors in (average, reference):
        is_whole = is_whole and (not tensors or {name: value.shape for name, value in tensors.items()} == shapes)
    if not is_whole:
        error = ValueError("the optimiser, the average or the reference has another shape than its weights")
        raise _damaged(folder, error) from error


def _state(training: Training) -> dict[str, Any]:
    scaler = training.accelerator.scaler
    return {
        "version": VERSION,
        "step": training.step,
        "reference_point": training.reference_point.state(),
        "beta": training.beta.state(),
        "average": bool(contents.ema_of(training)),
        "reference": bool(training.model.reference_state()),
        ERRORS: len(training.reference_errors) > 0,
        "broken": training.broken,
        "scaler": None if scaler is None else scaler.state_dict(),
    }


def _optional(folder: Path, name: str, there: bool) -> dict[str, Tensor]:
    """Return the tensors of an optional file; empty unless it should be `there`."""
    return load_file(folder / f"{name}.safetensors") if there else {}


def _reference_point(state: dict[str, Any]) -> dict[str, float]:
    """Return the state of the estimator; an earlier version stored it under another name."""
    return state["reference_point"] if "reference_point" in state else state["neutral"]
