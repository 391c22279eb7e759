"""Export likes: the latest vote of every rater, or a label for each image, in a form that other programs read.

form        files                                   read by
parquet     data/train-*.parquet, images inside     datasets.load_dataset, the hub, pandas, DuckDB
datasets    data-*.arrow, images inside             datasets.load_from_disk
folder      images/ and metadata.jsonl              datasets' imagefolder, people
webdataset  shard-*.tar                             webdataset, datasets.load_dataset

Every form can be imported again without loss.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from platform import node
from secrets import token_hex

from thumbtune.errors import Interrupted, ThumbtuneError, UsageError
from thumbtune.feedback.exporters import folder, parquet, saved, webdataset
from thumbtune.feedback.exporters.raters import Pseudonyms, pseudonym_key_of
from thumbtune.feedback.exporters.rows import SHARD_BYTES, Row, row_of
from thumbtune.feedback.policies import POLICIES, Undecided, apply_policy, check_policy, combined_raters
from thumbtune.feedback.store.store import Label, Store
from thumbtune.files import remove_left, sha256, working_folder
from thumbtune.locks import is_running

__all__ = ["FORMS", "ExportReport", "export"]

Progress = Callable[[Iterable[Label]], Iterable[Label]]
Writer = Callable[[Iterable[Row], Path, int], None]
FORMS: Mapping[str, Writer] = {
    "parquet": parquet.write,
    "datasets": saved.write,
    "folder": folder.write,
    "webdataset": webdataset.write,
}
QUIET_SECONDS = 60 * 60  # without a write, after which no process is at work in a folder
PER_VOTE = "per-vote"  # the policy with a row for every vote
COMBINING_POLICIES = frozenset(POLICIES) - {PER_VOTE}  # one row from the votes of several raters


@dataclass(kw_only=True)
class ExportReport:
    """The numbers of an export.

    skips:     latest votes that are skips, and so in no row
    undecided: images without a label under the policy
    """

    rows: int = 0
    likes: int = 0
    dislikes: int = 0
    skips: int = 0
    undecided: int = 0


def export(  # noqa: PLR0913 - this is the command `thumbtune export`, one argument for each option
    store: Store,
    out: Path,
    form: str,
    *,
    policy: str | None = None,
    names: bool = False,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress = iter,
    change: Callable[[Iterable[Row]], Iterable[Row]] = iter,
) -> ExportReport:
    """Write the likes in a store into the folder `out`, entirely or after Ctrl-C or an error not at all.

    Args:
        store: where the votes are.
        out: a folder that does not exist yet, or is empty.
        form: one of `FORMS`.
        policy: which label an image gets that several raters rated (policies.py), a row each; None: a row for the
            latest vote of every rater, with all its details.
        names: write raters' names. Otherwise pseudonyms are written, rater-7f3a... (raters.py). Reasons, prompts and
            file names are written as they are either way.
        shard_bytes: the size of one file, if several are written.
        progress: wraps the labels in the store, as `rich.progress.track` does.
        change: makes the written rows of these, in their order.

    Returns the numbers of the export.

    Raises:
        UsageError: the form or policy does not exist, or `out` is not empty.
        Interrupted: Ctrl-C.
        ThumbtuneError: there is nothing to export, an image is missing, or the disk is full.
    """
    if form not in FORMS:
        raise UsageError(f"There is no export format {form!r}; choose {', '.join(FORMS)}.", code="export-unknown-form")
    pseudonyms = None if names else Pseudonyms(pseudonym_key_of(store))
    rows = _ExportedRows(store, check_policy(policy or PER_VOTE), pseudonyms, progress)
    with _replacing(out) as partial:
        FORMS[form](change(rows), partial, shard_bytes)
        if not rows.report.rows:
            by_policy = f" by the policy {policy}" if policy else ""
            raise ThumbtuneError(
                f"{store.name} contains no likes or dislikes to export{by_policy}; import some first.",
                code="export-empty",
            )
    return rows.report


class _Labels:
    """The labels in a store, with their number."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __length_hint__(self) -> int:
        counts = self.store.counts()
        return counts.likes + counts.dislikes

    def __iter__(self) -> Iterator[Label]:
        return self.store.labels()


class _ExportedRows:
    """The exported rows, counted while they are read."""

    def __init__(self, store: Store, policy: str, pseudonyms: Pseudonyms | None, progress: Progress) -> None:
        self.store, self.policy, self.pseudonyms, self.progress = store, policy, pseudonyms, progress
        self.report = ExportReport(skips=store.skips())

    def __iter__(self) -> Iterator[Row]:
        labels, policy, undecided = iter(self.progress(_Labels(self.store))), self.policy, Undecided()
        if self.pseudonyms is not None:
            labels, policy = map(self.pseudonyms.hide, labels), self.pseudonyms.policy_of(policy)
        image, data = "", b""  # an image's labels follow each other, so that it is read once
        for label in apply_policy(labels, policy, undecided):
            if label.image.sha256 != image:
                image, data = label.image.sha256, _read_image(self.store, label)
            yield self._count(row_of(label, data))
        self.report.undecided = undecided.images

    def _count(self, row: Row) -> Row:
        if self.policy in COMBINING_POLICIES:
            row.cells["vote_id"] = None  # a label of several raters is not one vote
            if combined_raters(str(row.cells["rater"])) is None:  # no name, or pseudonym, among the other rows
                row.cells["rater"] = f"{self.policy} of 1"
        self.report.rows += 1
        self.report.likes += row.cells["label"] is True
        self.report.dislikes += row.cells["label"] is False
        return row


def _read_image(store: Store, label: Label) -> bytes:
    """Return the image's bytes, as they were added.

    Raises:
        ThumbtuneError: the file is missing or has changed.
    """
    data = store.read(label.image)
    if sha256(data) != label.image.sha256:
        address = store.address_of(label.image)
        raise ThumbtuneError(
            f"The image {address} has changed since it was added; restore it, or import it again.",
            code="image-changed",
        )
    return data


def _remove_leftovers(out: Path) -> None:
    """Remove partial folders that killed processes of this machine left of the same export.

    Containers may have equal host names and not see each other's processes, so a recently written folder stays.
    """
    beginning, end = f".{out.name}.{node()}-", ".partial"
    for path in out.parent.glob(f"{escape(beginning)}*{end}"):
        number = path.name[len(beginning) : -len(end)].partition(".")[0]
        ended = number.isdecimal() and (int(number) == os.getpid() or not is_running(int(number)))
        if ended and _is_quiet(path):
            remove_left(path)


def _is_quiet(folder: Path) -> bool:
    """Return whether no file in the folder was written for an hour."""
    try:
        last = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except OSError:  # a file was removed meanwhile: a process is at work
        return False
    return time.time() - last > QUIET_SECONDS


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """Make a folder beside `out`, which replaces it at the end of the block, or is removed after an error.

    Raises:
        UsageError: `out` is not empty.
        Interrupted: Ctrl-C.
        ThumbtuneError: the disk is full, or the folder may not be written.
    """
    out = out.absolute()
    partial = out.with_name(f".{out.name}.{node()}-{os.getpid()}.{token_hex(4)}.partial")
    try:
        _remove_leftovers(out)
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise UsageError(
                f"{out} exists already and is not an empty folder; choose another, or delete it.",
                code="export-folder-taken",
            )
        partial.parent.mkdir(parents=True, exist_ok=True)
        with working_folder(partial):  # locked, so that nothing sweeps it
            yield partial
            if out.exists():
                out.rmdir()
            partial.rename(out)
    except KeyboardInterrupt as stop:
        raise Interrupted("Stopped; nothing was exported.", code="export-stopped") from stop
    except OSError as error:
        raise ThumbtuneError(
            f"{out} could not be written ({error.strerror or error}); make room or choose another folder.",
            code="export-not-written",
        ) from error
