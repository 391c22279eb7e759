"""Save and resume for the trainings here: a folder of safetensors files of at most 15 MB each, replaced as a whole."""

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

LARGEST = 15_000_000  # bytes of a file, for machines that limit the size of files


def _slots(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{i}.{key}": value for i, slot in state.items() for key, value in slot.items()}


def _shards(tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return the tensors in order, in groups under LARGEST unless a single tensor exceeds it."""
    lots: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if lots[-1] and size + tensor.nbytes > LARGEST:
            lots.append({})
            size = 0
        lots[-1][name] = tensor
        size += tensor.nbytes
    return lots


def save(path: Path, step: int, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer) -> None:
    """Write a new folder beside `path`, then replace `path` with it."""
    tensors = {f"{name}.{k}": v for name, m in modules.items() for k, v in m.state_dict().items()} | _slots(optimizer)
    partial, old = path.with_suffix(".partial"), path.with_suffix(".old")
    for folder in (partial, old):
        shutil.rmtree(folder, ignore_errors=True)
    partial.mkdir(parents=True)
    for number, lot in enumerate(_shards(tensors)):
        plain = {k: v.detach().cpu().clone().contiguous() for k, v in lot.items()}
        save_file(plain, partial / f"{number:03d}.safetensors")
    (partial / "step.json").write_text(json.dumps(step))
    if path.exists():
        os.replace(path, old)
    os.replace(partial, path)
    shutil.rmtree(old, ignore_errors=True)


def resume(path: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer | None) -> int:
    """Load a saved checkpoint and return its step, or 0 if there is none."""
    if not (path / "step.json").exists():
        return 0
    tensors: dict[str, Tensor] = {}
    for file in sorted(path.glob("*.safetensors")):
        tensors |= load_file(file)
    for name, module in modules.items():
        module.load_state_dict({k[len(name) + 1 :]: v for k, v in tensors.items() if k.startswith(f"{name}.")})
    if optimizer is not None:
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, field = key.split(".", 2)
                slots.setdefault(int(index), {})[field] = value
        optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    return json.loads((path / "step.json").read_text())
