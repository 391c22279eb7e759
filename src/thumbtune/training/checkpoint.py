"""Checkpoints: everything that training changes, as safetensors and JSON in a folder written whole or not at all.

    weights.safetensors     the trained weights, in float32
    optimizer.safetensors   the optimiser's slots
    average.safetensors     the EMA of the weights, if there is one
    reference.safetensors   the reference, once it was synced
    state.json              step, reference point, beta, broken steps in a row, and with fp16 the scale of the loss

Randomness is a function of (seed, step, image), so there is no generator to save, and resuming is exact.
"""

import json
import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from thumbtune.errors import ThumbtuneError
from thumbtune.training.trainer import Training

VERSION = 3


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
            folder = folder_of(run, step)
            going = folder.with_name(f".{folder.name}.partial")  # so that half a folder does not count as a checkpoint
            with suppress(OSError):
                os.replace(folder, going)
                shutil.rmtree(going)


def save(training: Training, run: Path) -> Path:
    """Write a checkpoint of the present step, and return its folder.

    Raises:
        ThumbtuneError: it could not be written; earlier checkpoints are unchanged.
    """
    target = folder_of(run, training.step)
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(_weights(training), partial / "weights.safetensors")
        save_file(_slots(training), partial / "optimizer.safetensors")
        for name, tensors in (("average", _ema(training)), ("reference", training.model.reference_state())):
            if tensors:
                save_file(_on_cpu(tensors), partial / f"{name}.safetensors")
        (partial / "state.json").write_text(json.dumps(_state(training)))
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise ThumbtuneError(
            f"The checkpoint {target} could not be written ({error}); make room, then continue with --resume.",
            code="checkpoint-unwritable",
        ) from error
    return target


def restore(training: Training, folder: Path) -> None:
    """Restore a training from a checkpoint.

    Raises:
        ThumbtuneError: the checkpoint is damaged, or was made for another model or recipe.
    """
    try:
        state = json.loads((folder / "state.json").read_text())
        version = state["version"]
        if version != VERSION:
            raise ThumbtuneError(
                f"The checkpoint {folder} is of version {version}, and this Thumbtune reads version {VERSION}; "
                "continue it with the Thumbtune that wrote it, or start a new run.",
                code="checkpoint-version",
            )
        weights = load_file(folder / "weights.safetensors")
        slots = _by_parameter(load_file(folder / "optimizer.safetensors"))
        average, reference = (_optional(folder, name, state[name]) for name in ("average", "reference"))
        step, beta, broken, scaler = (state[name] for name in ("step", "beta", "broken", "scaler"))
        reference_point = _reference_point(state)
        if slots and len(slots) != len(weights):
            raise ValueError(f"the optimiser has slots for {len(slots)} of {len(weights)} weights")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ThumbtuneError(
            f"The checkpoint {folder} is damaged ({error}); delete it to continue from the one before, or from the "
            "start if there is none.",
            code="checkpoint-damaged",
        ) from error
    names = dict(training.model.trainable())
    if {n: p.shape for n, p in names.items()} != {n: w.shape for n, w in weights.items()}:
        raise ThumbtuneError(
            f"The checkpoint {folder} was made for another model or LoRA; use its own recipe, or a new run.",
            code="checkpoint-other-model",
        )
    states = ((reference_point, training.reference_point.state()), (beta, training.beta.state()))
    if any(saved.keys() != own.keys() for saved, own in (*states, (average, _ema(training)))):
        raise ThumbtuneError(
            f"The checkpoint {folder} was made with another objective.reference_point, objective.beta or train.ema; "
            "use its own recipe.",
            code="checkpoint-other-recipe",
        )
    _put(training, weights, average)
    training.model.restore_reference(reference)
    training.optimizer.load_state_dict({**training.optimizer.state_dict(), "state": slots})
    training.reference_point.restore(reference_point)
    training.beta.restore(beta)
    training.step, training.broken = step, broken
    if scaler and training.accelerator.scaler is not None:
        training.accelerator.scaler.load_state_dict(scaler)


def _put(training: Training, weights: dict[str, Tensor], average: dict[str, Tensor]) -> None:
    """Copy stored weights, and their EMA, into a training."""
    with torch.no_grad():
        for name, parameter in training.model.trainable():
            parameter.copy_(weights[name])
        for name, value in _ema(training).items():
            value.copy_(average[name])


def _by_parameter(stored: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Return the optimiser's slots by parameter: `0.exp_avg` of the file is `exp_avg` of parameter 0."""
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in stored.items():
        index, _, slot = key.partition(".")
        slots.setdefault(int(index), {})[slot] = value
    return slots


def _state(training: Training) -> dict[str, Any]:
    scaler = training.accelerator.scaler
    return {
        "version": VERSION,
        "step": training.step,
        "reference_point": training.reference_point.state(),
        "beta": training.beta.state(),
        "average": bool(_ema(training)),
        "reference": bool(training.model.reference_state()),
        "broken": training.broken,
        "scaler": None if scaler is None else scaler.state_dict(),
    }


def _optional(folder: Path, name: str, there: bool) -> dict[str, Tensor]:
    """Return the tensors of an optional file; empty unless it should be `there`."""
    return load_file(folder / f"{name}.safetensors") if there else {}


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _weights(training: Training) -> dict[str, Tensor]:
    return _on_cpu(dict(training.model.trainable()))


def _ema(training: Training) -> dict[str, Tensor]:
    """Return the EMA under the names of the weights; empty without one."""
    return dict(zip(dict(training.model.trainable()), training.ema.values, strict=False))


def _slots(training: Training) -> dict[str, Tensor]:
    state = training.optimizer.state_dict()["state"]
    return {f"{i}.{slot}": v.detach().cpu().contiguous() for i, slots in state.items() for slot, v in slots.items()}


def _reference_point(state: dict[str, Any]) -> dict[str, float]:
    """Return the state of the estimator; an earlier version stored it under another name."""
    return state["reference_point"] if "reference_point" in state else state["neutral"]
