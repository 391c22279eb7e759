"""A run is a directory: everything that a training did, and everything needed to repeat or continue it.

recipe.yaml        every option                    environment.json   versions and hardware
likes.parquet      image ids, prompts, thumbs, and which were held out
steps.jsonl        one line per weight update      checkpoints/       to continue from
lora/              the result, for diffusers and for ComfyUI / A1111; unet/ in its place where all weights are trained
examples/          a few of the rated images      own/               the user's files that the recipe names
evaluation/        images and scores             report.html
stopped.json       what went wrong, where a guard stopped the training; the result is then that of its best checkpoint
"""

import json
import platform
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from thumbtune.errors import Interrupted, ThumbtuneError, UsageError
from thumbtune.feedback.likes import Split
from thumbtune.files import write_text, write_whole
from thumbtune.models.protocol import Model
from thumbtune.objective.kto import Objective
from thumbtune.runs import build, examples
from thumbtune.runs import checks as suspects
from thumbtune.runs import monitor as watch
from thumbtune.runs import recipe as config
from thumbtune.runs.hints import hints
from thumbtune.runs.recipe import Recipe
from thumbtune.training.batches import Batches, Encoded, Progress
from thumbtune.training.cache import Cache
from thumbtune.training.step import Step
from thumbtune.training.trainer import LOWER_RATE, MemoryRanOut, Training, TrainingBroke, WentWrong, train

OWN = "own"  # copies of the user's files that the recipe speaks of
PACKAGES = ("thumbtune", "torch", "diffusers", "transformers", "peft", "accelerate", "datasets", "numpy")


def environment() -> dict[str, Any]:
    """Versions and hardware, as far as they can change a result."""
    import torch

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return {"versions": versions, "python": platform.python_version(), "machine": platform.machine(), "device": device}


def recipe_in(folder: Path) -> Recipe:
    """The recipe of an existing run.

    Raises:
        UsageError: the folder is no run.
    """
    if not (folder / "recipe.yaml").exists():
        raise UsageError(f"{folder} is no run: it holds no recipe.yaml; make one with `thumbtune train`.")
    return config.read(folder / "recipe.yaml")


def mark_of(folder: Path) -> str | None:
    """What a run's training put before the prompts of good images, if anything; whoever draws must do the same."""
    file = folder / "likes.json"
    return json.loads(file.read_text()).get("mark") if file.exists() else None


def contrasts(folder: Path) -> bool:
    """Whether a run's training set likes against dislikes; runs of before this was kept are taken to have done so."""
    file = folder / "likes.json"
    return json.loads(file.read_text()).get("contrasts", True) if file.exists() else True


def cache_of(folder: Path) -> Cache:
    """Where the runs beside each other keep encoded images and prompts: `cache` in the folder that holds them."""
    return Cache(folder.parent / "cache")


def check(recipe: Recipe, folder: Path, resume: bool) -> None:
    """Refuse to train over a finished or different run, before any work is done.

    Raises:
        UsageError: the folder is a file, or holds a run and `resume` was not asked for, or its recipe differs.
    """
    if file := next((path for path in (folder, *folder.parents) if path.is_file()), None):
        raise UsageError(f"{file} is a file, and a run is a folder; choose another.")
    if not (folder / "recipe.yaml").exists():
        return
    if not resume:
        raise UsageError(
            f"{folder} already holds a run; continue it with --resume (resume=True in Python), or choose another."
        )
    refuse_differences(recipe_in(folder), recipe, folder)
    watch.check_stopped(folder, recipe.train.guards)


# options that change how fast a training is and what it needs, never where it ends; the likes may have moved: resuming
# compares them with those of the run, and evaluating asks only those that the run held out
FREE = (
    "likes",
    "train.micro_batch",
    "train.gradient_checkpointing",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.guards",
    "train.validate_every",
)


def refuse_differences(old: Recipe, new: Recipe, folder: Path) -> None:
    """Evaluation may change between the parts of a run, and so may what saves memory; what is learnt may not.

    Raises:
        UsageError: it names the first option that differs.
    """
    was, now = old.model_dump(mode="json"), new.model_dump(mode="json")
    for name in config.options():
        a, b = was, now
        for part in name.split("."):
            a, b = a[part], b[part]
        if a != b and not name.startswith(("evaluate.", "gates.")) and name not in FREE:
            raise UsageError(
                f"{folder} was started with {name} = {a}, not {b}; use its recipe, or choose another folder."
            )


@contextmanager
def stop_on_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Yield a question: has Ctrl-C been pressed? The step under way ends first; a second Ctrl-C stops at once."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: Any) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handle)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _keep_log(folder: Path, upto: int) -> None:
    """Drop the lines of steps after the checkpoint that a run continues from: they will be made again."""
    log = folder / "steps.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= upto]
    write_text(log, "".join(line + "\n" for line in kept))


def notes_of(folder: Path) -> list[str]:
    """What looked odd about the settings and the likes of a run when it began."""
    return json.loads((folder / "likes.json").read_text()).get("notes", [])


def line_of(step: Step) -> str:
    """A step in words and numbers, for people who watch."""

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:+.2e}"

    return (
        f"step {step.step}  loss {number(step.loss)}  log-ratio of liked {number(step.liked_log_ratio)}"
        f"  of disliked {number(step.disliked_log_ratio)}"
    )


def _thumbs(parts: Split) -> Any:
    """The thumbs without their images, and which were held out."""
    from datasets import concatenate_datasets

    sides = [part.remove_columns("image") for part in (parts.train, parts.held_out)]
    marked = [side.add_column("held_out", [flag] * len(side)) for side, flag in zip(sides, (False, True), strict=True)]
    return concatenate_datasets([side for side in marked if len(side)])


def _start(recipe: Recipe, folder: Path, parts: Split, story: Mapping[str, Any]) -> None:
    """Make the run's directory, or see that an existing one still has the likes that it began with.

    Raises:
        ThumbtuneError: the likes have changed since, so that resuming would train something else.
    """
    thumbs = _thumbs(parts)
    file = folder / "likes.parquet"
    if (folder / "recipe.yaml").exists():
        _compare_own(recipe, folder)
        from pyarrow import parquet

        columns = ["image_id", "prompt", "label", "weight", "grade", "held_out"]
        known = [{name: row.get(name) for name in columns} for row in parquet.read_table(file).to_pylist()]
        if known != thumbs.select_columns(columns).to_list():
            raise ThumbtuneError(
                f"The likes in {recipe.likes} have changed since {folder} was started, so that resuming would not end "
                "where it would have; choose another folder for a new run."
            )
        config.write(recipe, folder / "recipe.yaml")
        return
    labels = thumbs["label"]
    summary = {"source": "the store of likes", "simulated": None, **story}
    summary["examples"] = examples.keep(parts.train, folder)
    summary |= {"likes": sum(labels), "dislikes": len(labels) - sum(labels)}
    summary |= {"prompts": len(set(thumbs["prompt"])), "held_out": len(parts.held_out)}
    for own in build.own_files(recipe):
        write_text(folder / OWN / own.name, own.read_text(encoding="utf-8"))
    write_whole(file, thumbs.to_parquet)
    write_text(folder / "likes.json", json.dumps(summary, indent=1))
    write_text(folder / "environment.json", json.dumps(environment(), indent=1))
    config.write(recipe, folder / "recipe.yaml")  # last: a folder with a recipe is a run


def _compare_own(recipe: Recipe, folder: Path) -> None:
    """See that the user's own files are what they were when the run began.

    Raises:
        ThumbtuneError: one has changed, so that resuming would train something else.
    """
    for own in build.own_files(recipe):
        kept = folder / OWN / own.name
        if not kept.is_file() or kept.read_text(encoding="utf-8") != own.read_text(encoding="utf-8"):
            raise ThumbtuneError(f"{own} has changed since {folder} was started; put back {kept}, or start a new run.")


def _asked(
    recipe: Recipe, folder: Path, objective: Objective, model: Model, parts: Split, progress: Progress
) -> Encoded | None:
    """The held-out likes that are asked while training, encoded, with the prompts that ask for good images."""
    parts = replace(parts, held_out=build.asked_by(build.mark_of(objective), parts.held_out))
    return watch.asked(parts, build.contrasts(objective), model, cache_of(folder), progress, build.at_once(recipe))


def tune(
    recipe: Recipe, folder: Path, progress: Progress, resume: bool = False, story: Mapping[str, Any] | None = None
) -> Iterator[Step]:
    """Train as the recipe says, yielding steps; checkpoints on the way, the result at the end.

    `story` adds to what the report says of the likes: their `source`, and `simulated` where a formula gave them.

    Raises:
        Interrupted: Ctrl-C; a checkpoint of the last whole step was saved.
        WentWrong: a guard stopped the training; the result is that of the best checkpoint.
        ThumbtuneError: bad likes, a full disk, or training that broke; what was saved before is whole.
    """
    from thumbtune.training import checkpoint

    check(recipe, folder, resume)
    objective = build.objective_of(recipe)
    beta = build.beta_of(recipe, objective)
    parts = build.split_of(recipe)
    build.check_judging(recipe, parts)
    build.check_thumbs(recipe, objective, parts.train)
    story = {"notes": [*hints(recipe), *suspects.look(parts.train)], **(story or {})}
    story |= {"mark": build.mark_of(objective), "contrasts": build.contrasts(objective)}
    accelerator = build.training_accelerator_of(recipe)
    accelerator.wait_for_everyone()  # all have seen the folder as it was
    model = build.model_of(recipe, accelerator.device)
    if accelerator.is_main_process:
        _start(recipe, folder, parts, story)
    accelerator.wait_for_everyone()
    with accelerator.main_process_first():  # the others find the cache filled
        batches = build.batches_of(recipe, objective, model, parts.train, cache_of(folder), progress)
        asked = _asked(recipe, folder, objective, model, parts, progress)
    training = Training(model, build.reference_point_of(recipe), build.settings_of(recipe), accelerator, beta)
    advice, size = build.advice_of(recipe), recipe.train.batch
    guards = watch.guards_of(training.settings, size, asked, advice) if recipe.train.guards else None
    watched = watch.Watch(training, guards, asked, recipe.train.validate_every)
    newest = checkpoint.latest(folder) if resume else None
    if newest is not None:
        checkpoint.restore(training, newest)
    if accelerator.is_main_process:
        _keep_log(folder, training.step)
        if newest is None and guards is not None:
            checkpoint.save(training, folder)  # to go back to, should all that follows be worse
        watch.forget_stop(folder, build.result_of(recipe))
    accelerator.wait_for_everyone()
    watched.replay(folder / "steps.jsonl")
    accelerator.wait_for_everyone()  # all have read the log before it grows
    yield from _logged(watched, train(training, batches, objective), recipe, folder, partial(_end, training, batches))
    if accelerator.is_main_process:
        with training.average.in_place():
            model.save(folder / build.result_of(recipe).parent)


def _end(training: Training, batches: Batches) -> str | None:
    """After the last step, what is wrong with the weights that a training ends with, and what to try."""
    if training.step < training.settings.steps:
        return None
    if training.broken == training.step:
        return f"no step gave a finite loss or gradient; {training.to_try}"
    if _anywhere(training.accelerator, not watch.gives_numbers(training, batches)):
        return f"with the weights of its last step the network gives no finite error; {LOWER_RATE}"
    return None


def _logged(
    watched: watch.Watch,
    steps: Iterator[Step],
    recipe: Recipe,
    folder: Path,
    ending: Callable[[], str | None] = lambda: None,
) -> Iterator[Step]:
    """Write each step down before it is shown; save checkpoints; leave in order when something stops the training.

    `ending` says what is wrong with the last weights, which are then not worth a checkpoint.
    """
    training = watched.training
    main = training.accelerator.is_main_process
    saved, keep = training.step, recipe.train.keep_checkpoints
    with stop_on_ctrl_c() as pressed:
        try:
            for taken in steps:
                step, wrong = watched.look(taken)
                if main:
                    _note(folder / "steps.jsonl", step)
                broke = ending()
                if broke is not None:
                    saved = step.step
                elif step.step % recipe.train.checkpoint_every == 0 or step.step == recipe.train.steps:
                    saved = _save(watched, folder, saved, keep)
                yield step
                if wrong or broke:
                    raise WentWrong(f"Training stopped at step {step.step}: {wrong or broke}.")
                if _anywhere(training.accelerator, pressed()):
                    raise Interrupted(
                        f"Stopped after step {step.step} of {recipe.train.steps}; a checkpoint was saved: "
                        "the same command with --resume goes on from it."
                    )
        except MemoryRanOut:  # which may have happened in one process alone: the others are not waited for
            _save(watched, folder, saved, keep)
            raise
        except (Interrupted, GeneratorExit, TrainingBroke, WentWrong) as stop:
            _save(watched, folder, saved, keep)
            said = stop
            if main and watched.guards is not None and isinstance(stop, TrainingBroke | WentWrong):
                said = type(stop)(watched.go_back(folder, build.result_of(recipe), str(stop)))
            training.accelerator.wait_for_everyone()  # a launcher kills the others as soon as one has left
            raise said from None


def _save(watched: watch.Watch, folder: Path, saved: int, keep: int) -> int:
    """Save a checkpoint of the present step, if it is another than the `saved` one and sound; returns the newest."""
    from thumbtune.training import checkpoint

    training = watched.training
    if training.step == saved or training.torn or not watch.finite(training):
        return saved
    if training.accelerator.is_main_process:
        checkpoint.save(training, folder)
        if keep:
            checkpoint.prune(folder, keep, watched.spared(checkpoint.steps_in(folder)))
    return training.step


def _anywhere(accelerator: Any, pressed: bool) -> bool:
    """Whether any process was asked to stop: they must all stop after the same step."""
    if accelerator.num_processes == 1:
        return pressed
    import torch

    return bool(accelerator.reduce(torch.tensor(float(pressed), device=accelerator.device), "sum"))


def _note(log: Path, step: Step) -> None:
    try:
        with log.open("a") as file:
            file.write(json.dumps(step.as_dict()) + "\n")
    except OSError as error:
        raise ThumbtuneError(f"{log} could not be written ({error.strerror}); make room, then use --resume.") from error


def trained_model(recipe: Recipe, folder: Path, device: Any = "cpu") -> Any:
    """The model of a finished run: the base with its LoRA, or with the weights that it was trained to.

    Raises:
        ThumbtuneError: the run has not finished training.
    """
    result = folder / build.result_of(recipe)
    if not result.exists():
        raise ThumbtuneError(
            f"{folder} has no {result.parent.name} folder: its training has not finished; continue it with --resume."
        )
    model = build.model_of(recipe, device, training=False)
    model.load(result.parent)
    return model
