"""The numbers of a step under the names that trackers of experiments know, and the trackers themselves.

    rewards/liked       beta * log-ratio of liked images          TRL: rewards/chosen
    rewards/disliked    beta * log-ratio of disliked images       TRL: rewards/rejected
    rewards/margin      rewards/liked - rewards/disliked          TRL: rewards/margins
    kl                  max(0, mean log-ratio of the batch)       TRL: kl, from mismatched completions
    log_ratio/liked, log_ratio/disliked, reference_point, loss, learning_rate, grad_norm ...     as in steps.jsonl

`steps.jsonl` stays the truth: a tracker gets its numbers after they were written there, and one that fails is told of
once and left out, while the training goes on. The trackers are Accelerate's classes.
"""

import json
import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError, joined, note, reason
from thumbtune.files import write_text
from thumbtune.training import records, tracker_kinds
from thumbtune.training.step import Step
from thumbtune.training.tracker_kinds import Begun

NAMES = {
    "loss": "loss",
    "lr": "learning_rate",
    "grad_norm": "grad_norm",
    "reference_point": "reference_point",
    "liked_log_ratio": "log_ratio/liked",
    "disliked_log_ratio": "log_ratio/disliked",
    "policy_error": "error/policy",
    "reference_error": "error/reference",
    "beta": "beta",
    "gain": "gain",
    "saturation": "saturation",
    "skipped": "skipped",
    "seconds": "seconds",
    "agreement": "eval/agreement",
    "held_out_liked": "eval/held_out_liked",
}


def metrics_of(step: Step, is_relative: bool = False) -> dict[str, float]:
    """Return the finite numbers of a step by the names above.

    is_relative: whether beta multiplies relative log-ratios; a reward is then made of the step's means, since the log
        has no log-ratio of an image
    """
    values = {name: getattr(step, field) for field, name in NAMES.items()}
    mean = None
    if step.reference_error is not None and step.policy_error is not None:
        mean = max(0.0, step.reference_error - step.policy_error)
    values["kl"] = mean
    unit = step.reference_error if is_relative else 1.0
    if step.beta is not None and unit:
        for kind, ratio in (("liked", step.liked_log_ratio), ("disliked", step.disliked_log_ratio)):
            values[f"rewards/{kind}"] = None if ratio is None else step.beta * ratio / unit
        pair = values["rewards/liked"], values["rewards/disliked"]
        values["rewards/margin"] = None if None in pair else pair[0] - pair[1]
    return {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}


def check(names: Iterable[str]) -> None:
    """Refuse trackers that are not installed, before any long work.

    Raises:
        ThumbtuneError: it names the first one that is missing, and how to install it.
    """
    for name in names:
        if not any(find_spec(package) for package in tracker_kinds.KINDS[name].packages):
            raise ThumbtuneError(
                f"train.report_to={name} needs {name}, which is not installed; install it with "
                f"`pip install 'thumbtune[{name}]'`, or leave {name} out.",
                code="tracker-missing",
            )


class Trackers:
    """The trackers of one run, which goes on in the same run of each tracker when it resumes.

    trackers.json in the run's folder has, for each tracker, the id of its run and the last step that it got.
    """

    def __init__(self, folder: Path, names: Sequence[str], is_relative: bool = False) -> None:
        self.folder, self.names, self.is_relative = folder, names, is_relative
        self.state: dict[str, Any] = {}
        self.opened: dict[str, Any] = {}
        self.written = ""

    def open(self, config: Mapping[str, Any], step: int) -> None:
        """Begin, or go on after `step` weight updates; a tracker that lacks steps of the log gets them first.

        config: the options to show beside the run, without nested ones

        Raises:
            ThumbtuneError: the log or trackers.json is damaged.
        """
        if not self.names:
            return
        self.state = records.read_trackers(self.folder)
        steps = records.read_steps(self.folder)
        for name in self.names:
            kind, known = tracker_kinds.KINDS[name], self.state.get(name)
            state = {"id": secrets.token_hex(8), "last": 0, **(known or {})}
            if kind.forgets_later_steps:
                state["last"] = min(state["last"], step)
            with _Guarded(self, name):
                own = state["id"] if known or kind.takes_new_id else None
                tracker = kind.make(Begun(folder=self.folder, run_id=own, step=step, config=config))
                tracker.start()
                self.opened[name] = tracker
                self.state[name] = {**state, "id": kind.id_of(tracker) or state["id"]}
                if known is None:
                    tracker.store_init_configuration(dict(config))
        self._write()
        for earlier in steps:
            self._report(earlier)
        self._write()

    def report(self, step: Step) -> None:
        """Give the numbers of a step to each tracker that has not got them."""
        self._report(step)
        self._write()

    def _report(self, step: Step) -> None:
        metrics = metrics_of(step, self.is_relative)
        for name, tracker in list(self.opened.items()):
            if step.step > self.state[name]["last"]:
                with _Guarded(self, name):
                    tracker.log(metrics, step=step.step)
                    self.state[name]["last"] = step.step

    def show(self, images: Mapping[str, Path], step: int) -> None:
        """Give images by their names to each tracker; they are files."""
        for name, tracker in list(self.opened.items()):
            with _Guarded(self, name):
                tracker_kinds.KINDS[name].show(tracker, images, step)

    def finish(self) -> None:
        """End the run of each tracker."""
        for name, tracker in list(self.opened.items()):
            with _Guarded(self, name):
                tracker.finish()
        self.opened = {}

    def _write(self) -> None:
        """Write trackers.json if it has changed: it stays as it was once no tracker takes steps any more."""
        text = json.dumps(self.state, indent=1)
        if self.state and text != self.written:
            write_text(self.folder / records.TRACKERS, text)
            self.written = text


class _Guarded:
    """Leave a tracker out from here on if the `with` block fails, and tell so; Ctrl-C passes."""

    def __init__(self, trackers: Trackers, name: str) -> None:
        self.trackers, self.name = trackers, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, where: Any) -> bool:
        if error is None or not isinstance(error, Exception | SystemExit):
            return False
        self.trackers.opened.pop(self.name, None)
        places = joined([records.STEPS, *self.trackers.opened])
        note(
            f"The tracker {self.name} failed ({reason(error)}) and gets nothing more; training goes on and reports to "
            f"{places}, and --resume gives {self.name} the steps that it lacks."
        )
        return True
