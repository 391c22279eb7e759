"""The files of a run, each read through one door, which checks its types and names it in the error.

likes.json      what the training was made from    steps.jsonl         one line per weight update
likes.parquet   the labels, without images         environment.json    versions and hardware
stopped.json    why a guard stopped the run         base.json           how well the base denoises the images
trackers.json   the run of each tracker
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import (
    Annotated,
    Any,
    NotRequired,  # of pydantic, which asks for it below Python 3.12
)

from pydantic import Field
from typing_extensions import TypedDict

from thumbtune.documents import DocumentFault, brief, read_json, read_lines
from thumbtune.errors import ThumbtuneError
from thumbtune.training.step import Step, with_new_names

LIKES, STEPS, STOPPED, ENVIRONMENT = "likes.json", "steps.jsonl", "stopped.json", "environment.json"
LABELS, BASE, TRACKERS = "likes.parquet", "base.json", "trackers.json"
EARLIER = {"weight": 1.0}  # what runs of versions without such a column trained with
LABEL_TYPES = {"image_id": "string", "prompt": "string", "label": "bool", "held_out": "bool"}  # without empty cells
Count = Annotated[int, Field(ge=0)]
Number = float | None  # also NaN and infinity, which a training that goes wrong writes
Measured = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Round(TypedDict):
    """New labels that a run took: after which step, and how many."""

    step: Count
    labels: Count


class Story(TypedDict):
    """likes.json. Runs of earlier versions lack some of it."""

    source: NotRequired[str | None]
    simulated: NotRequired[str | None]
    notes: NotRequired[list[str]]
    prompt_prefix: NotRequired[str | None]
    mark: NotRequired[str | None]  # an earlier name of prompt_prefix
    contrasts: NotRequired[bool]
    examples: NotRequired[dict[str, list[str]] | None]
    likes: NotRequired[Count]
    dislikes: NotRequired[Count]
    prompts: NotRequired[Count]
    held_out: NotRequired[Count]
    rounds: NotRequired[list[Round]]


class Stop(TypedDict):
    """stopped.json: the step of the stop, and the step of the result."""

    step: Count
    best: Count
    folder: NotRequired[str]
    sentence: NotRequired[str]


class BaseLevel(TypedDict):
    """The base's error at one noise level."""

    sigma: Measured
    time: Measured
    prompted: bool
    error: Number
    relative: Number
    fit: Number


class Base(TypedDict):
    """base.json: what was asked of the base before the first step."""

    images: Count
    noise_levels: str
    levels: list[BaseLevel]
    note: str | None


class Tracked(TypedDict):
    """The run of one tracker in trackers.json: its id, and the last step that it got."""

    id: str
    last: Count


class StepRow(TypedDict):
    """A line of steps.jsonl."""

    step: Count
    loss: NotRequired[Number]
    liked_log_ratio: NotRequired[Number]
    disliked_log_ratio: NotRequired[Number]
    reference_point: NotRequired[Number]
    neutral: NotRequired[Number]  # an earlier name of reference_point
    policy_error: NotRequired[Number]
    reference_error: NotRequired[Number]
    beta: NotRequired[Number]
    gain: NotRequired[Number]
    saturation: NotRequired[Number]
    grad_norm: NotRequired[Number]
    lr: NotRequired[Measured]
    skipped: NotRequired[Count]
    seconds: NotRequired[Measured]
    synced: NotRequired[bool]
    refreshed: NotRequired[bool]  # an earlier name of synced
    agreement: NotRequired[Number]
    held_out_liked: NotRequired[Number]
    liked_log_ratio_high_noise: NotRequired[Number]
    liked_log_ratio_low_noise: NotRequired[Number]
    disliked_log_ratio_high_noise: NotRequired[Number]
    disliked_log_ratio_low_noise: NotRequired[Number]
    liked_high_noise_share: NotRequired[Number]
    disliked_high_noise_share: NotRequired[Number]


def read_story(run: Path) -> dict[str, Any] | None:
    """Return likes.json of a run; None if it is missing, as in runs of early versions.

    Raises:
        ThumbtuneError: it holds something else.
    """
    file = run / LIKES
    return _read(file, Story, "restore it, or train the run again") if file.is_file() else None


def prefix_in(story: Mapping[str, Any]) -> str | None:
    """Return the prompt prefix of a run, which earlier versions called `mark`."""
    return story.get("prompt_prefix", story.get("mark"))


def read_stop(run: Path) -> dict[str, Any] | None:
    """Return stopped.json of a run; None if no guard stopped it.

    Raises:
        ThumbtuneError: it holds something else.
    """
    file = run / STOPPED
    return _read(file, Stop, "restore it, or delete it to continue with --resume") if file.is_file() else None


def read_base(run: Path) -> dict[str, Any] | None:
    """Return base.json of a run; None if it is missing, as in runs of earlier versions.

    Raises:
        ThumbtuneError: it holds something else.
    """
    file = run / BASE
    return _read(file, Base, "restore or delete it") if file.is_file() else None


def read_trackers(run: Path) -> dict[str, Any]:
    """Return trackers.json of a run; empty if it has no tracker yet.

    Raises:
        ThumbtuneError: it holds something else.
    """
    file = run / TRACKERS
    return _read(file, dict[str, Tracked], "delete it to begin new runs of its trackers") if file.is_file() else {}


def read_environment(run: Path) -> dict[str, Any]:
    """Return environment.json of a run; empty if it is missing.

    Raises:
        ThumbtuneError: it holds something else.
    """
    file = run / ENVIRONMENT
    return _read(file, dict[str, Any], "restore or delete it") if file.is_file() else {}


def read_step_rows(run: Path) -> list[dict[str, Any]]:
    """Return the lines of steps.jsonl with the present names; [] if it is missing.

    A last line that a crash cut short is left out.

    Raises:
        ThumbtuneError: a line is no step.
    """
    file = run / STEPS
    if not file.is_file():
        return []
    try:
        return [with_new_names(row) for row in read_lines(file, StepRow)]
    except DocumentFault as fault:
        raise ThumbtuneError(
            f"{file} cannot be read ({fault}); correct or remove that line.", code="run-file-unreadable"
        ) from fault


def read_steps(run: Path) -> list[Step]:
    """Return the steps of steps.jsonl, whole, as guards need them.

    Raises:
        ThumbtuneError: a line is no step, or lacks numbers.
    """
    steps = []
    for row in read_step_rows(run):
        try:
            steps.append(Step(**row))
        except TypeError as error:
            raise ThumbtuneError(
                f"{run / STEPS} has a step {row['step']} with other numbers than this version writes; continue the "
                "run with the version that began it, or with --set train.guards=false.",
                code="run-file-unreadable",
            ) from error
    return steps


def read_labels(run: Path, columns: Collection[str]) -> list[dict[str, Any]]:
    """Return columns of likes.parquet; one that it lacks is None in every row, unless LABEL_TYPES or EARLIER names it.

    Raises:
        ThumbtuneError: it is missing or damaged, or a column has another type.
    """
    from pyarrow import ArrowException, parquet

    file = run / LABELS
    try:
        names = parquet.read_schema(file).names
        table = parquet.read_table(file, columns=[name for name in columns if name in names])
        for name in sorted(LABEL_TYPES.keys() & set(columns)):
            if name not in table.column_names:
                raise ValueError(f"it has no column {name}")
            column = table[name]
            if str(column.type).removeprefix("large_") != LABEL_TYPES[name] or column.null_count:
                raise ValueError(f"its column {name} has other values than those of a run")
        rows = table.to_pylist()
    except (OSError, ValueError, KeyError, OverflowError, NotImplementedError, ArrowException) as error:
        raise ThumbtuneError(
            f"{file} cannot be read ({brief(error)}); restore it, or train the run again.", code="run-likes-unreadable"
        ) from error
    return [{name: row.get(name, EARLIER.get(name)) for name in columns} for row in rows]


def _read(file: Path, kind: Any, advice: str) -> dict[str, Any]:
    try:
        return read_json(file, kind)
    except DocumentFault as fault:
        raise ThumbtuneError(f"{file} cannot be read ({fault}); {advice}.", code="run-file-unreadable") from fault
