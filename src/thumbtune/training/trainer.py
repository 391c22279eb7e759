"""Training: a generator of steps. The caller iterates, and decides what to log, when to save and when to stop.

One step, over an effective batch cut into micro-batches (and processes):

    reference_error   of every image, without gradients; left out where nothing reads it
    beta              the objective's own, or with `Auto` computed from past log-ratios
    reference_point   from the log-ratios of the whole effective batch, or of its images under other prompts, if the
                      estimator reads them: all parts are scored first, then each is replayed with the pooled value
    loss              sum over the parts / size of the effective batch, so parts add up to the gradient of one big batch
    update            backward, sum over the processes, clip, step of the optimiser, EMA of the weights
    sync              every N steps, if set: the policy becomes the reference
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float
from torch import Tensor

from thumbtune.errors import note, plural
from thumbtune.memory import make_room, ran_out
from thumbtune.models.protocol import Model
from thumbtune.models.shards import is_sharded
from thumbtune.objective.beta import Beta, Fixed
from thumbtune.objective.kto import Judged
from thumbtune.objective.log_ratio import LogRatio, unit_of
from thumbtune.objective.protocol import Objective, reads_moved, reads_reference, traits_of
from thumbtune.objective.reference_point import ReferencePoint
from thumbtune.objective.validation import loss_of
from thumbtune.training.batch import Batch
from thumbtune.training.batches import Batches
from thumbtune.training.denoising import (
    Reference,
    error,
    error_and_moved,
    reference_error,
    without_reference,
)
from thumbtune.training.ema import EMA
from thumbtune.training.failures import MemoryRanOut, TrainingBroke, WentWrong
from thumbtune.training.gradients import add_up, clip, ignore_vanished
from thumbtune.training.in_processes import check_shared, gathered
from thumbtune.training.lockstep import Alone
from thumbtune.training.measurements import Measurements, measured, step_of
from thumbtune.training.optimizers import Name, optimizer_of
from thumbtune.training.reference_errors import ReferenceErrors
from thumbtune.training.step import Step

__all__ = ["MemoryRanOut", "Settings", "Training", "TrainingBroke", "WentWrong", "train"]
PATIENCE = 5  # broken steps in a row that end a training
LOWER_RATE = "start a new run with a lower train.lr, or with train.precision=no"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of the optimisation. The effective batch, `Batches.size`, is cut into parts of `micro_batch`.

    halve_parts: whether a step for which memory runs out is tried again with parts of half that size, in one process
    measure_log_ratios: whether the reference denoises every batch, also where the objective does not read its errors;
                 without it, sft and csft save about a third of a step, and have no log-ratios
    """

    steps: int
    micro_batch: int
    halve_parts: bool = False
    measure_log_ratios: bool = True
    lr: float = 1e-4
    warmup: int = 0
    cooldown: int = 0
    max_grad_norm: float = 1.0
    weight_decay: float = 0.01
    optimizer: Name = "adamw"
    ema: float = 0.0  # decay of the moving average of the weights; 0: none
    sync_reference_every: int = 0  # steps after which the policy becomes the reference; 0: never

    def lr_at(self, step: int) -> float:
        """Return the learning rate: linear warm-up, then constant as in the paper; a cool-down is linear to zero.

        A saturated utility leaves a tiny gradient that is mostly noise, and Adam scales it up to full steps. A falling
        rate keeps these steps from undoing what was learnt.
        """
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        fall = min(1.0, (self.steps - step) / self.cooldown) if self.cooldown else 1.0
        return self.lr * rise * fall


class Training:
    """Everything that changes while training, so everything that a checkpoint contains.

    These are the weights and their EMA, the optimiser, beta, the reference point, a synced reference, and the
    reference's errors where draws repeat.

    A network that is whole in every process is not wrapped: gradients are summed once a step. So no process waits for
    the backward pass of another, and a process without a finite image needs none. Of a network that is divided among
    the processes they share every pass (`lockstep`).
    """

    def __init__(
        self,
        model: Model,
        reference_point: ReferencePoint,
        settings: Settings,
        accelerator: Accelerator,
        beta: Beta | None = None,
        lockstep: Alone | None = None,
    ) -> None:
        self.model = model
        self.lockstep = lockstep or Alone()
        self.reference_point = reference_point
        self.first_reference_point = reference_point.state()
        self.beta: Beta = beta or Fixed()
        self.settings = settings
        self.accelerator = accelerator
        self.step = 0
        self.broken = 0
        self.torn = False  # whether an update of the weights is unfinished
        self.remedy = LOWER_RATE  # advice for the error, if losses or gradients are not finite
        self.parameters = [parameter for _, parameter in model.trainable()]
        self.ema = EMA(self.parameters, settings.ema)
        self.reference_errors = ReferenceErrors()
        plain = optimizer_of(settings.optimizer, self.parameters, settings.lr, settings.weight_decay)
        self.optimizer: Any = accelerator.prepare(plain)

    @property
    def is_divided(self) -> bool:
        """Return whether each process has only some rows of the trained weights, so that all save them together."""
        return any(map(is_sharded, self.parameters))


def train(training: Training, batches: Batches, objective: Objective) -> Iterator[Step]:
    """Yield a Step after every weight update, from `training.step` up to `settings.steps`.

    Raises:
        UsageError: the processes cannot share a batch equally.
        TrainingBroke: several steps in a row gave no finite loss or gradient; the weights are those before them.
        MemoryRanOut: memory ran out; the weights are those of the last whole step.
    """
    check_shared(batches.size, batches.paired, training.accelerator.num_processes)
    while training.step < training.settings.steps:
        try:
            step = _step(training, batches, objective)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            training.settings = _smaller(training, batches, error)
        else:
            yield step
            continue
        make_room()  # outside of `except`, whose traceback holds the tensors of the failed attempt


def _smaller(training: Training, batches: Batches, error: RuntimeError | MemoryError) -> Settings:
    """Return the settings with parts of half the size, so that the step can be tried again.

    Raises:
        MemoryRanOut: the weights are half updated; the size is a person's choice, or cannot become smaller; or there
            are several processes, of which the others wait for this one inside the step.
    """
    processes = training.accelerator.num_processes
    if training.torn:
        raise MemoryRanOut(
            f"Memory ran out in the update of step {training.step + 1}, since the optimiser keeps two more "
            "numbers per trained weight; take a larger GPU, or start a new run with train.weights=lora, a lower "
            "lora.rank or train.optimizer=adamw-8bit."
        ) from error
    at_once = max(stop - start for start, stop in _ends(training, batches))
    smaller = max(2 if batches.paired else 1, at_once // 2)
    if training.settings.halve_parts and processes == 1 and smaller < at_once:
        note(
            f"Memory ran out at step {training.step + 1} with {at_once} images at once; the step is tried again with "
            f"{smaller}, which changes only rounding."
        )
        return replace(training.settings, micro_batch=smaller)
    raise MemoryRanOut(
        f"Memory ran out at step {training.step + 1}, with {plural(at_once, 'image')} at once; continue with --resume "
        "and a lower train.micro_batch, or with train.gradient_checkpointing=true: the result stays the same."
    ) from error


def _step(training: Training, batches: Batches, objective: Objective) -> Step:
    begun = time.perf_counter()
    training.optimizer.zero_grad()  # drop the gradients of a step that failed half-way
    for group in training.optimizer.param_groups:
        group["lr"] = training.settings.lr_at(training.step)
    parts = _parts(training, batches)
    has_reference = _has_reference(training, objective)
    with training.lockstep.shared(training.model.reference):
        references = [
            training.reference_errors.of(training.model, part, training.accelerator, keep_output=reads_moved(objective))
            if has_reference
            else without_reference(part)
            for part in parts
        ]
    objective = _with_beta(training, objective, references)
    log_ratio = traits_of(objective).log_ratio
    reference_point = _reference_point(training, batches, parts, references, log_ratio)
    tables: list[Tensor] = []
    for part, reference in zip(parts, references, strict=True):
        learnt = _learn(training, part, reference, reference_point, objective, batches.size)
        tables.append(learnt.stacked())
    table = gathered(training.accelerator, torch.cat(tables))
    images = Measurements.of(table)
    training.remedy = _remedy(objective, finite=any(map(len, tables)))
    norm = _update(training, empty=not len(images))
    training.reference_point.after(log_ratio(images.reference_error, images.policy_error), images.liked)
    unit = unit_of(log_ratio, images.reference_error)
    training.beta.after(images.distance / (traits_of(objective).beta or 1.0), unit)
    training.step += 1
    if norm is not None:
        training.ema.after(training.step)
    synced = _sync_reference(training)
    step = step_of(
        Measurements.of(table.cpu().double()),
        traits_of(objective).beta,
        has_reference=has_reference,
        step=training.step,
        lr=training.settings.lr_at(training.step - 1),
    )
    seconds = time.perf_counter() - begun
    return replace(step, grad_norm=norm, skipped=batches.size - len(images), synced=synced, seconds=seconds)


def _has_reference(training: Training, objective: Objective) -> bool:
    """Return whether the objective, the reference point or the settings read the reference's errors."""
    point = training.reference_point
    has_memory = bool(point.state())  # of log-ratios
    asked = training.settings.measure_log_ratios or reads_reference(objective)
    return asked or point.looks_at != "nothing" or has_memory


def _with_beta(training: Training, objective: Objective, references: list[Reference]) -> Objective:
    """Return the objective with the beta of this step, computed from the errors of all processes."""
    errors = None
    if training.beta.looks:
        errors = gathered(training.accelerator, torch.cat([one.error for one in references])[:, None])[:, 0]
        errors = unit_of(traits_of(objective).log_ratio, errors)
    beta = training.beta.before(errors)
    return objective if beta is None else replace(objective, beta=beta)  # type: ignore[type-var]


def _sync_reference(training: Training) -> bool:
    """If a sync is due, make the policy the reference and drop earlier log-ratios; return whether it was due."""
    every = training.settings.sync_reference_every
    if not every or training.step % every or training.step >= training.settings.steps:
        return False
    training.model.freeze_reference()
    training.reference_point.restore(training.first_reference_point)
    training.reference_errors.forget()
    training.beta.forget()
    return True


def _parts(training: Training, batches: Batches, mismatched: bool = False) -> list[Batch]:
    """Return this process's micro-batches of the present step, with the images' own prompts or mismatched ones.

    Where processes share passes, each has equally many: those that are missing have no image.
    """
    step, accelerator = training.step, training.accelerator
    ends = _ends(training, batches)
    parts = [batches.batch(step, start, stop, mismatched).to(accelerator.device) for start, stop in ends]
    processes = range(accelerator.num_processes if training.lockstep.is_shared else 0)
    most = max([len(parts), *(len(_ends(training, batches, one)) for one in processes)])
    return [*parts, *[parts[0].only(torch.zeros_like(parts[0].liked))] * (most - len(parts))]


def _ends(training: Training, batches: Batches, process: int | None = None) -> list[tuple[int, int]]:
    """Return where a process's micro-batches of the present step begin and end in the effective batch; None: ours."""
    accelerator = training.accelerator
    share = batches.size // accelerator.num_processes
    first = share * (accelerator.process_index if process is None else process)
    return batches.parts(training.step, first, first + share, training.settings.micro_batch)


def _reference_point(
    training: Training, batches: Batches, parts: list[Batch], references: list[Reference], log_ratio: LogRatio
) -> float | None:
    """Return the reference point; None if there is one part in one process, whose training pass gives it for free."""
    estimator, accelerator = training.reference_point, training.accelerator
    if estimator.looks_at == "nothing":
        return estimator.before(None, None)
    errors = [reference.error for reference in references]
    if estimator.looks_at == "mismatched":
        parts = _parts(training, batches, mismatched=True)
        with training.lockstep.shared(training.model.reference):
            errors = [reference_error(training.model, part, accelerator) for part in parts]
    elif len(parts) == 1 and accelerator.num_processes == 1:
        return None
    with training.lockstep.shared(), torch.no_grad():
        policies = [error(training.model, part, accelerator) for part in parts]
    ratio = log_ratio(torch.cat(errors), torch.cat(policies))
    table = torch.stack([ratio, torch.cat([part.liked for part in parts])], 1)
    ratio, liked = gathered(accelerator, table).unbind(1)
    return _before(estimator, ratio, liked > 0)


def _before(estimator: ReferencePoint, log_ratio: Float[Tensor, "n"], liked: Bool[Tensor, "n"]) -> float:
    """Return the estimate from the finite images; without any, from None."""
    return estimator.before(log_ratio, liked) if len(log_ratio) else estimator.before(None, None)


def _learn(
    training: Training,
    part: Batch,
    reference: Reference,
    reference_point: float | None,
    objective: Objective,
    size: int,
) -> Measurements:
    """Add the gradient of one part; return the measurements of its images. Those without finite errors are left out."""
    accelerator, lockstep = training.accelerator, training.lockstep
    with lockstep.graph() as others:
        policy, moved = error_and_moved(training.model, part, accelerator, reference)
    keep = part.whole(policy.isfinite() & reference.is_sound)
    if lockstep.anywhere(not keep.all()):
        del policy, moved, others  # a graph without a backward pass
        part, reference = part.only(keep), reference.only(keep)
        with lockstep.graph() as others:
            policy, moved = error_and_moved(training.model, part, accelerator, reference)
    if reference_point is None:
        ratio = traits_of(objective).log_ratio(reference.error, policy.detach())
        reference_point = _before(training.reference_point, ratio, part.liked)
    for number in (policy, moved):
        if number is not None:
            ignore_vanished(number)
    judged = Judged(
        policy_error=policy,
        reference_error=reference.error,
        liked=part.liked,
        weight=part.weight,
        reference_point=torch.tensor(reference_point, device=policy.device),
        partner=part.partner,
        grade=part.grade,
        moved=moved,
    )
    loss = loss_of(objective, judged)
    if len(part) or others:
        accelerator.backward(loss.sum() / size + sum(0 * other for other in others))
    return measured(objective, judged, loss.detach(), training.model.process.share(part.t))


def _remedy(objective: Objective, finite: bool) -> str:
    """Return advice after a step without a finite gradient. If errors were `finite`, the weights are sound."""
    if not finite or traits_of(objective).beta is None:
        return LOWER_RATE
    return (
        "errors were finite, and the loss computed from them was not: start a new run with a lower objective.beta or "
        "objective.anchor, or with train.precision=no"
    )


def _update(training: Training, empty: bool) -> float | None:
    """Clip and apply the gradient, and return its norm. If it is not finite, change nothing and return None."""
    norm = math.nan
    if not empty:
        add_up(training.accelerator, training.parameters)
        norm = clip(training.accelerator, training.parameters, training.settings.max_grad_norm)
        # the scaler of fp16 must get every gradient: it skips broken ones itself and lowers its scale
        if math.isfinite(norm) or training.accelerator.scaler is not None:
            training.torn = True
            training.optimizer.step()
            training.torn = False
    training.optimizer.zero_grad()
    broken = not math.isfinite(norm)
    if not broken:
        training.broken = 0
    elif empty or not _is_scale_falling(training):
        training.broken += 1
    if training.broken >= PATIENCE:
        raise TrainingBroke(
            f"Training stopped at step {training.step + 1}: {PATIENCE} steps in a row gave no finite loss or gradient; "
            f"{training.remedy}."
        )
    return None if broken else norm


def _is_scale_falling(training: Training) -> bool:
    """Return whether fp16 still lowers its scale, which begins far too high and is halved at every broken gradient.

    Below a scale of 1, halving would only lose small gradients.
    """
    scaler: Any = training.accelerator.scaler
    return scaler is not None and scaler.get_scale() > 1
