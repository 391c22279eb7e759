"""Save and resume for the three trainings here: one safetensors file and the step, written whole or not at all."""

import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


def _flat_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{i}.{key}": value for i, slot in state.items() for key, value in slot.items()}


def save(path: Path, step: int, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer) -> None:
    tensors = {f"{name}.{k}": v for name, m in modules.items() for k, v in m.state_dict().items()}
    tensors |= _flat_optimizer(optimizer)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, partial, {"step": str(step)})
    os.replace(partial, path)


def resume(path: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer | None) -> int:
    """Load what `save` wrote and return its step; 0 where there is nothing yet."""
    if not path.exists():
        return 0
    tensors = load_file(path)
    for name, module in modules.items():
        module.load_state_dict({k[len(name) + 1 :]: v for k, v in tensors.items() if k.startswith(f"{name}.")})
    if optimizer is not None:
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, field = key.split(".", 2)
                slots.setdefault(int(index), {})[field] = value
        optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    return read_step(path)


def read_step(path: Path) -> int:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return int((file.metadata() or {})["step"])
