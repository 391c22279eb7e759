"""A training under watch: a question to a few held-out likes now and then, the guards after each step, the way back.

agreement        how often the implicit reward of a held-out like is above that of a dislike
held_out_liked   in its place, where an objective does not set the two against each other and so promises no such thing:
                 how much better held-out likes are denoised than by the base

stopped.json       written where a guard stopped the run: at which step, the sentence, and the step of the result
"""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.likes import Split
from thumbtune.files import write_text
from thumbtune.models.lora import KOHYA_FILE
from thumbtune.models.protocol import Model
from thumbtune.training import checkpoint
from thumbtune.training.batches import Batches, Encoded, Progress
from thumbtune.training.cache import Cache
from thumbtune.training.denoising import error, reference_error
from thumbtune.training.guards import BROKEN, Advice, Guards, best, deviation_of_chance
from thumbtune.training.step import Step, with_new_names
from thumbtune.training.trainer import Settings, Training

STOPPED = "stopped.json"
MOST = 16  # held-out images of each kind that are asked: as much work, at four noise levels, as a step of 32 images


def few(parts: Split, contrasts: bool = True, most: int = MOST) -> Any | None:
    """Some held-out likes, and as many dislikes if both count, from all over the table; None where a kind is missing.

    Images that training sees too, under another prompt, are not asked about.
    """
    trained = set(parts.train["image_id"])
    table = parts.held_out
    asked = [i for i, name in enumerate(table["image_id"]) if name not in trained]
    labels = table["label"]
    kinds = [[i for i in asked if labels[i] == kind] for kind in ((True, False) if contrasts else (True,))]
    if not all(kinds):
        return None
    # where a kind has no more than `most`, every place of it is met
    chosen = {kind[j * len(kind) // most] for kind in kinds for j in range(most)}
    return table.select(sorted(chosen))


def deviation_of(likes: Any | None) -> float:
    """The standard error of agreement by chance alone: prompts, not images, are the trials."""
    if likes is None:
        return deviation_of_chance(0, 0)
    pairs = list(zip(likes["prompt"], likes["label"], strict=True))
    return deviation_of_chance(*(len({prompt for prompt, liked in pairs if liked == kind}) for kind in (True, False)))


class Watch:
    """Looks at every step of a run. To be made while the reference still is the base, before a checkpoint is restored.

    held_out: the likes that are asked, or None; with dislikes they are asked for agreement
    every:    steps between two questions; 0 asks none
    """

    def __init__(self, training: Training, guards: Guards | None, held_out: Encoded | None, every: int) -> None:
        from thumbtune.evaluation.agreement import mean_error

        self.training = training
        self.guards = guards
        self.held_out = held_out if every else None
        self.every = every
        if self.held_out is not None:
            at_once = training.settings.micro_batch
            self._base = mean_error(training.model, self.held_out, training.accelerator, at_once, base=True)

    def look(self, step: Step) -> tuple[Step, str | None]:
        """The step with what held-out likes say, where it is time for it, and what the guards say."""
        if self.held_out is not None and step.step % self.every == 0:
            name = "held_out_liked" if self.held_out.liked.all() else "agreement"
            step = replace(step, **{name: self._asked(self.held_out)})
        return step, None if self.guards is None else self.guards.watch(step)

    def replay(self, log: Path) -> None:
        """Show the guards the steps of an earlier part of the run."""
        if self.guards is not None and log.exists():
            for line in log.read_text().splitlines():
                self.guards.watch(Step(**with_new_names(json.loads(line))))

    def _asked(self, held_out: Encoded) -> float | None:
        """One process asks and tells the others: numbers that differ in their last bit could stop one alone."""
        from thumbtune.evaluation.agreement import mean_error, pairwise_auc

        training, accelerator = self.training, self.training.accelerator
        found = torch.zeros(2, device=accelerator.device)
        if accelerator.is_main_process:
            with training.average.in_place():
                errors = mean_error(training.model, held_out, accelerator, training.settings.micro_batch)
            if held_out.liked.all():
                told = 1 - float(errors.mean() / self._base.mean())
            else:
                told = pairwise_auc(self._base - errors, held_out.liked)
            sound = told is not None and math.isfinite(told)
            found = torch.tensor([1.0, told] if sound else [0.0, 0.0], device=accelerator.device)
        shared: Any = accelerator.reduce(found, "sum") if accelerator.num_processes > 1 else found
        known, told = shared.tolist()
        return told if known else None

    def spared(self, steps: list[int]) -> set[int]:
        """Of the steps that have a checkpoint, those that pruning must leave: the best, and those not asked about yet.

        Without guards nothing would go back to either.
        """
        if self.guards is None:
            return set()
        asked = [s.step for s in self.guards.seen if s.agreement is not None or s.held_out_liked is not None]
        upto = max(asked, default=0) if self.held_out is not None else self.training.step
        known = [step for step in steps if step <= upto]
        chosen = [best(self.guards.seen, known, self.guards.deviation)] if known else []
        return {*chosen, *(step for step in steps if step > upto)}

    def go_back(self, folder: Path, result: Path, sentence: str) -> str:
        """Put the best checkpoint into the training and into the run's result; returns the sentence, with its step."""
        assert self.guards is not None
        chosen = best(self.guards.seen, checkpoint.steps_in(folder), self.guards.deviation)
        stopped = self.training.step
        checkpoint.restore(self.training, checkpoint.folder_of(folder, chosen))
        with self.training.average.in_place():
            self.training.model.save(folder / result.parent)
        name = result.parent.name
        whole = f"{sentence.rstrip('.')}; {name}/ holds the best checkpoint, that of step {chosen}."
        told = {"step": stopped, "best": chosen, "folder": name, "sentence": whole}
        write_text(folder / STOPPED, json.dumps(told, indent=1))
        return whole


def finite(training: Training) -> bool:
    """Whether every weight is a number: others are not worth a checkpoint."""
    return all(bool(weight.isfinite().all()) for weight in [*training.parameters, *training.average.values])


@torch.no_grad()
def gives_numbers(training: Training, batches: Batches) -> bool:
    """Whether the network still denoises with the weights that are to be kept: after the last step no other one tells.

    It is asked about the images of a step more. Weights may be finite and too large for it.
    """
    if not finite(training):
        return False
    upto = min(training.settings.micro_batch, batches.size)
    batch = batches.batch(training.step, 0, upto).to(training.accelerator.device)
    known = reference_error(training.model, batch, training.accelerator).isfinite()
    with training.average.in_place():
        found = error(training.model, batch, training.accelerator).isfinite()
    return not known.any() or float((~found[known]).float().mean()) <= BROKEN


def asked(
    parts: Split, contrasts: bool, model: Model, cache: Cache, progress: Progress, at_once: int
) -> Encoded | None:
    """The held-out likes that are asked, encoded, with dislikes if both count; None where there are none of a kind."""
    likes = few(parts, contrasts)
    return None if likes is None else Encoded(likes, model, cache).fill(progress, at_once)


def guards_of(settings: Settings, batch: int, held_out: Encoded | None, advice: Advice) -> Guards:
    """The guards of a run."""
    return Guards(
        steps=settings.steps,
        batch=batch,
        deviation=deviation_of(None if held_out is None else held_out.likes),
        refresh=settings.sync_reference_every,
        advice=advice,
    )


def check_stopped(folder: Path, guards: bool) -> None:
    """Refuse to go on with a run that a guard stopped, unless the guards are off.

    Raises:
        ThumbtuneError: it says how to go on.
    """
    if guards and (folder / STOPPED).exists():
        told = json.loads((folder / STOPPED).read_text())
        raise ThumbtuneError(
            f"A guard stopped {folder} at step {told['step']}, and its result is that of step {told['best']}; start a "
            f"new run as {folder / STOPPED} says, or go on all the same with --resume --set train.guards=false."
        )


def forget_stop(folder: Path, result: Path) -> None:
    """A run that goes on is not stopped, and has no result yet."""
    if (folder / STOPPED).exists():
        for file in (folder / result, (folder / result).with_name(KOHYA_FILE), folder / STOPPED):
            file.unlink(missing_ok=True)
