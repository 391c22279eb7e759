"""A run is a directory: the results of a training, and everything needed to repeat or continue it.

recipe.yaml        every option                    environment.json   versions and hardware
likes.parquet      image ids, prompts, labels, and which were held out
steps.jsonl        one line per weight update      checkpoints/       to continue from
lora/              the result, for diffusers and for ComfyUI / A1111; unet/ or transformer/ if all weights are trained;
                   with README.md, its model card
examples/          a few of the rated images       own/               the user's files and LoRA that the recipe names
SHA256SUMS         the hashes of all files but the model card, and those of checkpoints, which have their own
evaluation/        images and scores               report.html
base.json          how well the base denoises a few of the images, before the first step
stopped.json       why a guard stopped the training; the result then has the weights of the best checkpoint
samples/           images of a few prompts, every N steps     tensorboard/, trackers.json     with train.report_to
"""

import json
import platform
import shlex
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from thumbtune import checksums, locks
from thumbtune.errors import ThumbtuneError, UsageError, plural
from thumbtune.feedback.likes import Split
from thumbtune.files import sweep, write_text, write_whole
from thumbtune.models.lora_files import is_lora_folder
from thumbtune.models.protocol import PipelineModel
from thumbtune.models.weight_files import SAFETENSORS, use_of_lora
from thumbtune.objective.prompt_prefix import prefixed
from thumbtune.runs import build, examples, lora_copy, objectives
from thumbtune.runs.recipe import Recipe, read_recipe, recipe_options, write_recipe
from thumbtune.training import checkpoint, records
from thumbtune.training.cache import Cache

OWN = lora_copy.OWN
STOPPED = records.STOPPED
LOCK = ".training.lock"
CARD, CARD_IMAGES = "README.md", "images"  # the model card beside the tuned weights
COMPARED = ("image_id", "prompt", "label", "weight", "grade", "held_out")  # what a label is to a run that continues
# a run that continues writes these again
REWRITTEN = {"lora", "unet", "transformer", checkpoint.LOG, records.BASE}
MAY_GO = {STOPPED, records.ENVIRONMENT}  # errors advise to delete these
PACKAGES = ("thumbtune", "torch", "diffusers", "transformers", "peft", "accelerate", "datasets", "numpy")


def environment() -> dict[str, Any]:
    """Return the versions and the hardware that can change a result."""
    import torch

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {plural(torch.get_num_threads(), 'thread')}"
    )
    return {"versions": versions, "python": platform.python_version(), "machine": platform.machine(), "device": device}


def recipe_in(folder: Path) -> Recipe:
    """Return the recipe of an existing run.

    Raises:
        UsageError: the folder is not a run.
    """
    if not (folder / "recipe.yaml").exists():
        if folder.is_dir() and all((folder.parent / name).is_file() for name in ("recipe.yaml", records.LABELS)):
            raise UsageError(f"{folder} is a part of a run; name the run, {folder.parent}.", code="run-part")
        if is_lora_folder(folder):
            raise UsageError(f"{folder} is a LoRA and not a run; {use_of_lora(folder)}.", code="run-is-lora")
        raise UsageError(
            f"{folder} is not a run, since it has no recipe.yaml; make a run with `thumbtune train`.",
            code="run-missing",
        )
    checksums.check(folder, lambda name: Path(name).parts[0] not in REWRITTEN)
    checksums.note_missing(folder, lambda name: Path(name).parts[0] not in REWRITTEN | MAY_GO)
    return read_recipe(folder / "recipe.yaml")


def refuse_busy(folder: Path) -> None:
    """Refuse a run that another process trains.

    Raises:
        ThumbtuneError: one does.
    """
    locks.refuse_busy(folder / LOCK, partial(_busy, folder))


def training_lock(folder: Path) -> AbstractContextManager[None]:
    """Return what holds the lock of a run in training; the lock goes with its process.

    Raises:
        ThumbtuneError: another process trains in this folder.
    """
    return locks.held(folder / LOCK, partial(_busy, folder))


def _busy(folder: Path, owner: str) -> ThumbtuneError:
    return ThumbtuneError(
        f"{folder} is being trained by {owner}; wait until it ends, or choose another folder with --out.",
        code="run-busy",
    )


def record_result(folder: Path, result: Path, *names: str) -> None:
    """Add the result of a run, its log, the errors of its base and other files to its list of hashes.

    The model card has none: a person may change it.
    """
    part = (folder / result).parent
    weights = [name for name in _inside(folder, part) if not is_of_card(name.removeprefix(f"{part.name}/"))]
    checksums.record(folder, [*weights, checkpoint.LOG, records.BASE, *names])


def is_of_card(name: str) -> bool:
    """Return whether a file of a result, by its path there, is the model card or one of its images.

    >>> is_of_card("README.md"), is_of_card("images/0.png"), is_of_card("config.json")
    (True, True, False)
    """
    return name == CARD or name.startswith(f"{CARD_IMAGES}/")


def _inside(folder: Path, *parts: Path) -> list[str]:
    """Return the paths inside a run of all files in some of its folders."""
    return [path.relative_to(folder).as_posix() for part in parts for path in part.rglob("*") if path.is_file()]


def prompt_prefix_of(folder: Path) -> str | None:
    """Return the prefix that training put before the prompts of good images, or None; generate with it too.

    Raises:
        ThumbtuneError: likes.json holds something else, or is missing from a run that needs it.
    """
    story = records.read_story(folder)
    if story is None and recipe_in(folder).objective.name == "csft":
        raise ThumbtuneError(
            f"{folder / records.LIKES} is missing, and the prompts of a csft run begin with words that it holds; "
            "restore it, or train the run again.",
            code="run-file-missing",
        )
    return records.prefix_in(story or {})


def prompt_completion(folder: Path) -> Callable[[str], str]:
    """Return the function that puts the run's prefix before a prompt."""
    return partial(prefixed, prefix=prompt_prefix_of(folder))


def contrasts(folder: Path) -> bool:
    """Return whether a run's objective sets likes against dislikes; true if the run does not record it."""
    return (records.read_story(folder) or {}).get("contrasts", True)


def cache_of(folder: Path) -> Cache:
    """Return the cache of encoded images and prompts, which all runs in one folder share."""
    return Cache(folder.parent / "cache")


def check(recipe: Recipe, folder: Path, resume: bool) -> None:
    """Refuse to train over a finished or different run, before any work is done.

    Raises:
        UsageError: the folder is a file, or contains a run although `resume` is false, or its recipe differs.
        ThumbtuneError: a guard stopped the run, or the LoRA that it began from has changed.
    """
    if file := next((path for path in (folder, *folder.parents) if path.is_file()), None):
        raise UsageError(f"{file} is a file, and a run is a folder; choose another path.", code="run-not-a-folder")
    if not (folder / "recipe.yaml").exists():
        return
    if not resume:
        raise UsageError(
            f"{folder} already contains a run; continue it with --resume (resume=True in Python), or choose another.",
            code="run-exists",
        )
    refuse_differences(recipe_in(folder), recipe, folder)
    lora_copy.compare(recipe.lora.start, folder)
    check_stopped(folder, recipe.train.guards)


# Options that do not change the result of a training. The store of likes may have moved: resuming compares its likes
# with those of the run, and an evaluation uses only those that the run held out.
FREE = (
    "likes",
    "train.micro_batch",
    "train.gradient_checkpointing",
    "train.blocks_to_swap",
    "train.shard",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.guards",
    "train.validate_every",
    "train.report_to",
    "train.sample_every",
)


def refuse_differences(old: Recipe, new: Recipe, folder: Path) -> None:
    """Refuse to continue a run with another recipe. Options of the evaluation, and those in FREE, may differ.

    Raises:
        UsageError: an option differs; the error names the first one.
    """
    old_values, new_values = old.model_dump(mode="json"), new.model_dump(mode="json")
    for name in recipe_options():
        a, b = old_values, new_values
        for part in name.split("."):
            a, b = a[part], b[part]
        if a != b and not name.startswith(("evaluate.", "gates.")) and name not in FREE:
            raise UsageError(
                f"{folder} was started with {name} = {a}, not {b}; use its recipe, or choose another folder.",
                code="run-other-recipe",
            )


def check_stopped(folder: Path, guards: bool) -> None:
    """Refuse to continue a run that a guard stopped, unless the guards are off.

    Raises:
        ThumbtuneError: a guard stopped the run.
    """
    record = records.read_stop(folder) if guards else None
    if record is not None:
        raise ThumbtuneError(
            f"A guard stopped {folder} at step {record['step']}, and its result is from step {record['best']}; "
            f"start a new run as {folder / STOPPED} says, or continue this one with --resume --set train.guards=false.",
            code="run-stopped",
        )


def forget_stop(folder: Path, result: Path) -> None:
    """Remove the result and the record of the stop from a run that continues."""
    if (folder / STOPPED).exists():
        for file in (*(folder / result).parent.rglob(f"*{SAFETENSORS}"), folder / STOPPED):
            file.unlink(missing_ok=True)
        checksums.record(folder, [])
        for name in ("verdict.json", "result.json"):  # they speak of the result that was removed
            (folder / "evaluation" / name).unlink(missing_ok=True)


def notes_of(folder: Path) -> list[str]:
    """Return the notes on settings and likes that were made when the run began."""
    return (records.read_story(folder) or {}).get("notes", [])


def evaluation_command(folder: Path, recipe: Recipe) -> str:
    """Return the command that evaluates a run; it names the option that is needed where no prompt was held out.

    Raises:
        ThumbtuneError: the run's list of likes cannot be read.
    """
    command = f"thumbtune evaluate {shlex.quote(str(folder))}"
    has_prompts = bool(recipe.evaluate.prompts) or any(
        row["held_out"] for row in records.read_labels(folder, ("held_out",))
    )
    return command if has_prompts else f"{command} --set evaluate.prompts=FILE, a text file with a prompt a line"


def labels_table(split: Split) -> Any:
    """Return all likes without their images, with a column `held_out`."""
    from datasets import concatenate_datasets

    tables = [(table.remove_columns("image"), flag) for table, flag in ((split.train, False), (split.held_out, True))]
    return concatenate_datasets([t.add_column("held_out", [flag] * len(t)) for t, flag in tables if len(t)])


def start(recipe: Recipe, folder: Path, split: Split, story: Mapping[str, Any]) -> None:
    """Make the run's directory, or check that an existing one began with the same likes.

    Raises:
        ThumbtuneError: the likes or the user's files have changed since the run began.
    """
    for pattern in ("", "*", "examples/*"):
        sweep(folder, pattern)
    likes = labels_table(split)
    file = folder / "likes.parquet"
    if (folder / "recipe.yaml").exists():
        _compare_own(recipe, folder)
        stored = records.read_labels(folder, COMPARED)
        if stored != likes.select_columns(list(COMPARED)).to_list():
            raise ThumbtuneError(
                f"The labels in {file} have changed while {folder} was prepared, so resuming would train something "
                "else; give the same command again.",
                code="run-likes-changed",
            )
        if not (folder / checksums.SUMS).is_file():  # of an early version, or deleted
            _record_beginning(folder)
        with checksums.rewriting(folder, ["recipe.yaml"]):
            write_recipe(recipe, folder / "recipe.yaml")
        result = (folder / build.result_in(folder, recipe)).parent
        with checksums.rewriting(folder, [checkpoint.LOG, *_inside(folder, result)], keep=False):
            return
    labels = likes["label"]
    summary = {"source": "the store of likes", "simulated": None, **story}
    summary["examples"] = examples.save_examples(split.train, folder, recipe.frames > 1)
    summary |= {"likes": sum(labels), "dislikes": len(labels) - sum(labels)}
    summary |= {"prompts": len(set(likes["prompt"])), "held_out": len(split.held_out)}
    for source in objectives.own_files(recipe):
        write_whole(folder / OWN / source.name, partial(shutil.copyfile, source), durable=True)
    lora_copy.keep(recipe.lora.start, folder)
    write_whole(file, likes.to_parquet, durable=True)
    write_text(folder / "likes.json", json.dumps(summary, indent=1), durable=True)
    write_text(folder / "environment.json", json.dumps(environment(), indent=1), durable=True)
    write_recipe(recipe, folder / "recipe.yaml")  # last, since a folder with a recipe is a run
    _record_beginning(folder)


def _record_beginning(folder: Path) -> None:
    """Note the hashes of all files that a run has from its beginning."""
    names = _inside(folder, folder / "examples", folder / OWN)
    checksums.record(folder, [*names, records.LABELS, records.LIKES, records.ENVIRONMENT, "recipe.yaml"])


def _compare_own(recipe: Recipe, folder: Path) -> None:
    """Check that the user's own files have not changed since the run began.

    Raises:
        ThumbtuneError: one has changed, so resuming would train something else.
    """
    for source in objectives.own_files(recipe):
        copy = folder / OWN / source.name
        if not copy.is_file() or _lines_of(copy) != _lines_of(source):
            raise ThumbtuneError(
                f"{source} has changed since {folder} was started; put back {copy}, or start a new run.",
                code="run-file-changed",
            )


def _lines_of(file: Path) -> bytes:
    """Return a file's bytes with the line ends of Unix: earlier versions wrote their copies so."""
    return file.read_bytes().replace(b"\r\n", b"\n")


def with_own_start(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe of a run that begins from the run's copy of a LoRA; unchanged if it begins from none."""
    if recipe.lora.start is None:
        return recipe
    own = recipe.lora.model_copy(update={"start": str(lora_copy.of_run(folder))})
    return recipe.model_copy(update={"lora": own})


def baseline(recipe: Recipe, folder: Path) -> str:
    """Return the side that a run began as: the LoRA, if it began from one, or else its model."""
    return recipe.model if recipe.lora.start is None else str(lora_copy.of_run(folder))


def finished_result(folder: Path, recipe: Recipe) -> Path:
    """Return the folder of a run's tuned weights, after a look at their hashes.

    Raises:
        ThumbtuneError: the run has not finished training, or the weights have changed since they were written.
    """
    result = folder / build.result_in(folder, recipe)
    if not result.exists():
        raise ThumbtuneError(
            f"{folder} has no {result.parent.name} folder: its training has not finished; continue it with --resume.",
            code="run-unfinished",
        )
    checksums.check(folder, lambda name: Path(name).parts[0] == result.parent.name)
    checksums.note_missing(folder, lambda name: Path(name).parts[0] == result.parent.name)
    return result.parent


def trained_model(
    recipe: Recipe, folder: Path, device: Any = "cpu", precision: build.Precision | None = None
) -> PipelineModel:
    """Return the model of a finished run: the base with its LoRA, or with all its trained weights.

    precision: in which it generates images; None: as it was trained

    Raises:
        ThumbtuneError: the run has not finished training.
    """
    result = finished_result(folder, recipe)
    model = build.model_of(with_own_start(recipe, folder), device, training=False, precision=precision)
    model.load(result)
    build.store_whole(recipe, model)
    model.complete = prompt_completion(folder)
    return model
