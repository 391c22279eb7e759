"""The labels that a run began with, for a run that goes on after its store of likes has changed.

A run keeps its labels in likes.parquet, and the store never deletes an image. So the training goes on bit for bit as
with an unchanged store.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError, joined, note, plural
from thumbtune.feedback.bars import without_bars
from thumbtune.feedback.event_log.files import is_event_log
from thumbtune.feedback.likes import Split, likes_features
from thumbtune.feedback.store.store import Store
from thumbtune.runs import build, run
from thumbtune.runs.feedback_source import event_log
from thumbtune.runs.recipe import Recipe
from thumbtune.training import records

Row = dict[str, Any]


def split_in(recipe: Recipe, folder: Path, *, keep: bool = True) -> Split:
    """Return the feedback of a training in this folder; `keep` as in `likes_of`.

    It is that of the store. A run that is there already keeps the labels that it began with if the store has changed
    since, and a note says how many are new.

    Raises:
        ThumbtuneError: as `build.split_of`; or the store lacks an image of the run, or a rater of the run was erased.
    """
    split = build.split_of(recipe, keep=keep)
    if not (folder / "recipe.yaml").exists():
        return split
    before = records.read_labels(folder, run.COMPARED)
    with without_bars():
        now = run.labels_table(split).select_columns(list(run.COMPARED)).to_list()
    if before == now:
        return split
    own = records.read_labels(folder, [*likes_features(), "held_out"])
    if is_event_log(recipe.likes):
        addresses = event_log(recipe.likes, recipe.events.reading()).addresses()
    else:
        with Store.open(recipe.likes, create=False) as store:
            _refuse_erased(own, store, recipe, folder)
            addresses = store.addresses({row["image_id"] for row in own})
    _give_addresses(own, addresses, recipe, folder)
    note(_changes(before, now, recipe, folder))
    train, held_out = ([row for row in own if row["held_out"] is side] for side in (False, True))
    return Split(train=_table(train), held_out=_table(held_out))


def _refuse_erased(own: Sequence[Row], store: Store, recipe: Recipe, folder: Path) -> None:
    """Refuse to train on the votes of a rater who was erased; of the label of several raters, no rater is known.

    Raises:
        ThumbtuneError: a rater of the run was erased from the store.
    """
    erased = store.erased_raters()
    if any(row["rater"] is not None and row["rater"] in erased for row in own):
        raise ThumbtuneError(
            f"{folder} is trained on votes of a rater who was erased from {recipe.likes} since; begin a new run in "
            "another folder, without them.",
            code="run-rater-erased",
        )


def _give_addresses(own: Sequence[Row], addresses: dict[str, str], recipe: Recipe, folder: Path) -> None:
    """Add the path or the URL of its image to each row.

    Raises:
        ThumbtuneError: the store has no image with that hash; the error names the first one.
    """
    for row in own:
        if row["image_id"] not in addresses:
            raise ThumbtuneError(
                f"{recipe.likes} no longer contains an image that {folder} is trained on, of the prompt "
                f"'{row['prompt']}' (sha256 {row['image_id']}); restore the store, or begin a new run.",
                code="run-image-gone",
            )
        row["image"] = {"bytes": None, "path": addresses[row["image_id"]]}


def _table(rows: Sequence[Row]) -> Any:
    import pyarrow as pa
    from datasets import Dataset

    schema = likes_features().arrow_schema
    return Dataset(pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema=schema))


def _changes(before: Sequence[Row], now: Sequence[Row], recipe: Recipe, folder: Path) -> str:
    """Return a sentence with the number of labels that are new, and of those that are gone or have changed."""
    old, new = (Counter(tuple(row[name] for name in run.COMPARED) for row in rows) for rows in (before, now))
    added, gone = (new - old).total(), (old - new).total()
    numbers = [plural(added, "label is", "labels are") + " new"] if added else []
    numbers += [plural(gone, "label has", "labels have") + " changed or gone"] if gone else []
    is_finished = (folder / build.result_in(folder, recipe)).exists() and not (folder / run.STOPPED).exists()
    what = "does not contain them" if is_finished else "goes on with the labels that it began with"
    return (
        f"The likes in {recipe.likes} have changed since {folder} began ({joined(numbers) or 'their order'}); this run "
        f"{what}. To train on the likes of now, begin a new run in another folder."
    )
