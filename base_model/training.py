"""The training loop of every part: learning rate, loss of each step, averaged weights, checkpoints, log lines.

The random numbers of a step depend only on its number, so a resumed training equals an uninterrupted one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from base_model import checkpoint


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Length and rate of a training, and how often it logs and saves."""

    out: Path
    steps: int
    batch: int
    rate: Callable[[int], float]
    decay: float | None = None  # of the running average of the weights; None for no average
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    log_every: int = 100
    save_seconds: float = 180.0
    minutes: float | None = None  # save and stop after this time; the same command resumes


def averaged(learner: nn.Module, decay: float | None) -> AveragedModel:
    """Return the running average of a module's weights."""
    return AveragedModel(learner, multi_avg_fn=get_ema_multi_avg_fn(decay or 0.0))


def train(learner: nn.Module, plan: Plan, loss_at: Callable[[int], Tensor], report: Callable[[nn.Module], str]) -> bool:
    """Train from the newest checkpoint, and return whether all steps are done.

    `loss_at(step)` returns the loss of one batch; `report(module)` returns a quality of the averaged module as text.
    """
    optimizer = torch.optim.AdamW(learner.parameters(), plan.rate(0), betas=plan.betas, weight_decay=plan.weight_decay)
    mean = averaged(learner, plan.decay) if plan.decay else None
    modules: dict[str, nn.Module] = {"learner": learner} | ({"mean": mean} if mean else {})
    start = checkpoint.resume(plan.out, modules, optimizer)
    begun = saved = time.time()
    for step in range(start, plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate(step)
        loss = loss_at(step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        if mean:
            mean.update_parameters(learner)
        done, now = step + 1, time.time()
        late = plan.minutes is not None and now - begun > 60 * plan.minutes
        if done % plan.log_every == 0 or done == plan.steps or late:
            speed = (done - start) * plan.batch / (now - begun)
            said = report(mean.module if mean else learner)
            print(f"step {done} loss {loss.item():.4f} {said} {speed:.0f} img/s", flush=True)
        if now - saved > plan.save_seconds or done == plan.steps or late:
            checkpoint.save(plan.out, done, modules, optimizer)
            saved = now
        if late:
            return done == plan.steps
    return True


def load_learner(learner: nn.Module, path: Path, name: str = "learner") -> nn.Module:
    """Return the module with the weights of a checkpoint; it must be built like the trained module.

    Raises:
        FileNotFoundError: there is no checkpoint, and so nothing but the weights of the start.
    """
    if not checkpoint.resume(path, {name: learner}, None):
        raise FileNotFoundError(f"{path} holds no checkpoint; run the trainings in the order of `make base-model`.")
    return learner.eval()


def load_averaged(learner: nn.Module, path: Path) -> nn.Module:
    """Return the module with the averaged weights of a checkpoint; see `load_learner`."""
    return load_learner(averaged(learner, None), path, "mean").module  # type: ignore[return-value]
