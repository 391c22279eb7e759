"""The monitor of a training: validation on held-out likes every N steps, the guards after each step, and the way back.

agreement        how often a held-out like has a higher implicit reward than a held-out dislike
held_out_liked   for an objective that does not set likes against dislikes: how much better than the base held-out likes
                 are denoised

base.json        written before the first step: how the base denoises a few of the images
stopped.json     written if a guard stops the run: its step, the sentence, and the step of the result
"""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from thumbtune import checksums
from thumbtune.errors import note
from thumbtune.feedback.likes import Split
from thumbtune.files import write_text
from thumbtune.models.noise_levels import words_of
from thumbtune.models.protocol import PipelineModel
from thumbtune.models.shards import local
from thumbtune.objective.log_ratio import relative
from thumbtune.objective.protocol import traits_of
from thumbtune.runs.image_sizes import encoded_as_trained
from thumbtune.runs.objectives import with_prefix
from thumbtune.runs.run import STOPPED, record_result
from thumbtune.runs.setup import Setup
from thumbtune.training import checkpoint, records
from thumbtune.training.batches import Batches
from thumbtune.training.cache import Cache
from thumbtune.training.denoising import error, reference_error
from thumbtune.training.encoded import Encoded
from thumbtune.training.guards import BROKEN, Guards, best_step, chance_standard_error
from thumbtune.training.progress import Progress
from thumbtune.training.step import Step
from thumbtune.training.trainer import Training

MAX_VALIDATION_IMAGES = 16  # of each kind: at four noise levels as much work as a step of 32 images


def validation_sample(split: Split, contrasts: bool = True, most: int = MAX_VALIDATION_IMAGES) -> Any | None:
    """Return up to `most` held-out likes, spread over the table, and as many dislikes if `contrasts`.

    Images that training sees under another prompt are left out. Return None if a kind is missing.
    """
    trained = set(split.train["image_id"])
    table = split.held_out
    unseen = [i for i, name in enumerate(table["image_id"]) if name not in trained]
    labels = table["label"]
    kinds = [[i for i in unseen if labels[i] == kind] for kind in ((True, False) if contrasts else (True,))]
    if not all(kinds):
        return None
    # a kind with at most `most` images is taken whole
    chosen = {kind[j * len(kind) // most] for kind in kinds for j in range(most)}
    return table.select(sorted(chosen))


def standard_error_of(likes: Any | None) -> float:
    """Return the standard error of agreement by chance, with prompts as the trials; infinite if there are no likes."""
    if likes is None:
        return chance_standard_error(0, 0)
    pairs = list(zip(likes["prompt"], likes["label"], strict=True))
    return chance_standard_error(*(len({prompt for prompt, liked in pairs if liked == kind}) for kind in (True, False)))


class Monitor:
    """Inspect every step of a run. Make it while the reference is still the base, before a checkpoint is restored.

    held_out: the likes to validate on, or None; with dislikes among them, agreement is measured
    every:    steps between two validations; 0: none
    """

    def __init__(self, training: Training, guards: Guards | None, held_out: Encoded | None, every: int) -> None:
        from thumbtune.evaluation.agreement import mean_error

        self.training = training
        self.guards = guards
        self.held_out = held_out if every else None
        self.every = every
        if self.held_out is not None:
            at_once = training.settings.micro_batch
            with training.lockstep.shared(training.model.reference):
                self._base = mean_error(training.model, self.held_out, training.accelerator, at_once, base=True)

    def inspect(self, step: Step) -> tuple[Step, str | None]:
        """Return the step, with a validation if one is due, and what a guard found wrong, or None."""
        if self.held_out is not None and step.step % self.every == 0:
            name = "held_out_liked" if self.held_out.liked.all() else "agreement"
            step = replace(step, **{name: self._validated(self.held_out)})
        return step, None if self.guards is None else self.guards.check(step)

    def replay(self, folder: Path) -> None:
        """Check the steps of an earlier part of the run again, so that the guards know them.

        Raises:
            ThumbtuneError: the log of the run is damaged.
        """
        if self.guards is not None:
            for step in records.read_steps(folder):
                self.guards.check(step)

    def _validated(self, held_out: Encoded) -> float | None:
        """Return the validation's result; None if it is not finite.

        One process measures it for all: numbers that differ in the last bit could stop one process alone.
        """
        from thumbtune.evaluation.agreement import mean_error, pairwise_auc

        training, accelerator = self.training, self.training.accelerator
        result, errors = torch.zeros(2, device=accelerator.device), torch.zeros(0)
        with training.ema.in_place(), training.lockstep.shared():
            if accelerator.is_main_process:
                errors = mean_error(training.model, held_out, accelerator, training.settings.micro_batch)
        if accelerator.is_main_process:
            if held_out.liked.all():
                value = 1 - float(errors.mean() / self._base.mean())
            else:
                value = pairwise_auc(self._base - errors, held_out.liked)
            is_number = value is not None and math.isfinite(value)
            result = torch.tensor([1.0, value] if is_number else [0.0, 0.0], device=accelerator.device)
        shared: Any = accelerator.reduce(result, "sum") if accelerator.num_processes > 1 else result
        is_known, value = shared.tolist()
        return value if is_known else None

    def steps_to_keep(self, steps: list[int]) -> set[int]:
        """Return the steps whose checkpoints pruning must spare: the best one, and those not validated yet.

        Without guards there are none, since nothing goes back to a checkpoint.
        """
        if self.guards is None:
            return set()
        validated = [s.step for s in self.guards.history if s.agreement is not None or s.held_out_liked is not None]
        last = max(validated, default=0) if self.held_out is not None else self.training.step
        judged = [step for step in steps if step <= last]
        chosen = [best_step(self.guards.history, judged, self.guards.standard_error)] if judged else []
        return {*chosen, *(step for step in steps if step > last)}

    def go_back(self, folder: Path, result: Path, sentence: str) -> str:
        """Restore the best checkpoint, write it as the run's result, and return the sentence with its step added.

        If the trained weights are divided, all processes call it together, and the first one writes.
        """
        assert self.guards is not None
        accelerator = self.training.accelerator
        if self.training.is_divided:
            accelerator.wait_for_everyone()  # the first one may still remove checkpoints
        chosen = best_step(self.guards.history, checkpoint.steps_in(folder), self.guards.standard_error)
        stopped = self.training.step
        checkpoint.restore(self.training, checkpoint.folder_of(folder, chosen))
        with self.training.ema.in_place():
            self.training.model.save(folder / result.parent)
        name = result.parent.name
        whole = f"{sentence.rstrip('.')}; {name}/ holds the best checkpoint, that of step {chosen}."
        if not accelerator.is_main_process:
            return whole
        record = {"step": stopped, "best": chosen, "folder": name, "sentence": whole}
        write_text(folder / STOPPED, json.dumps(record, indent=1), durable=True)
        record_result(folder, result, STOPPED)
        return whole


def measure_base(training: Training, batches: Batches, folder: Path) -> None:
    """Measure how the base denoises a few images, write it into the run, and tell if it does not as one that learnt to.

    Call it in all processes, while the reference is the base; the first one measures.
    """
    from thumbtune.evaluation.base_error import record_of

    drawn = words_of(training.model.process, batches.timestep_bias, batches.disliked_timesteps)
    record = None
    with training.lockstep.shared(training.model.reference):
        if training.accelerator.is_main_process:
            at_once = training.settings.micro_batch
            record = record_of(training.model, batches.encoded, training.accelerator, at_once, drawn)
    if record is None:
        return
    write_text(folder / records.BASE, json.dumps(record, indent=1), durable=True)
    checksums.record(folder, [records.BASE])
    if record["note"]:
        note(record["note"])


def is_finite(training: Training) -> bool:
    """Return whether every weight is finite; others are not worth a checkpoint. Of divided ones all processes ask."""
    weights = [local(weight) for weight in [*training.parameters, *training.ema.values]]
    is_here = all(bool(weight.isfinite().all()) for weight in weights)
    return not training.lockstep.anywhere(not is_here) if training.is_divided else is_here


@torch.no_grad()
def gives_numbers(training: Training, batches: Batches) -> bool:
    """Return whether the network still gives finite errors with the weights to be saved.

    After the last step no further step would show it, so one more batch is denoised. Finite weights can be too large.
    """
    if not is_finite(training):
        return False
    (_, upto), *_ = batches.parts(training.step, 0, batches.size, training.settings.micro_batch)
    batch = batches.batch(training.step, 0, upto).to(training.accelerator.device)
    with training.lockstep.shared(training.model.reference):
        is_sound = reference_error(training.model, batch, training.accelerator).isfinite()
    with training.ema.in_place(), training.lockstep.shared():
        finite = error(training.model, batch, training.accelerator).isfinite()
    return not is_sound.any() or float((~finite[is_sound]).float().mean()) <= BROKEN


def held_out_of(setup: Setup, model: PipelineModel, cache: Cache, progress: Progress) -> Encoded | None:
    """Return the held-out likes to validate on, encoded, with dislikes if the objective needs them; None without."""
    split = replace(setup.split, held_out=with_prefix(setup.prefix, setup.split.held_out))
    likes = validation_sample(split, setup.contrasts)
    return None if likes is None else encoded_as_trained(setup.recipe, model, likes, cache).fill(progress, strict=True)


def reads_log_ratios(setup: Setup, held_out: Encoded | None) -> bool:
    """Return whether guards need log-ratios of every step; if likes alone are validated, these tell them as much.

    In a run too short for a validation nothing else would tell them anything.
    """
    train = setup.recipe.train
    return train.guards and (held_out is None or not train.reaches_validation or not held_out.liked.all())


def guards_of(setup: Setup, held_out: Encoded | None) -> Guards | None:
    """Return the guards of a run; None if the recipe switches them off."""
    if not setup.recipe.train.guards:
        return None
    return Guards(
        planned_steps=setup.settings.steps,
        batch_size=setup.recipe.train.batch,
        standard_error=standard_error_of(None if held_out is None else held_out.likes),
        is_relative=traits_of(setup.objective).log_ratio is relative,
        sync_every=setup.settings.sync_reference_every,
        advice=setup.advice,
    )
