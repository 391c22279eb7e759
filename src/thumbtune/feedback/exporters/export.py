"""Exporting likes: every vote in force, or a label for each image, into one of the forms that others read.

form        what is written                                              read by
parquet     data/train-*.parquet, images inside                        datasets.load_dataset, the hub, pandas, DuckDB
datasets    data-*.arrow, images inside                                datasets.load_from_disk
folder      images/ and metadata.jsonl                                   datasets' imagefolder, people
webdataset  shard-*.tar                                                  webdataset, datasets.load_dataset

All of them are imported again without loss.
"""

import os
import shutil
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
from thumbtune.feedback.exporters.raters import Pseudonyms, key_of
from thumbtune.feedback.exporters.rows import SHARD_BYTES, Row, row_of
from thumbtune.feedback.policies import POLICIES, Tally, check_policy, labelled
from thumbtune.feedback.store.store import Opinion, Store
from thumbtune.files import sha256

__all__ = ["FORMS", "ExportReport", "export"]

Progress = Callable[[Iterable[Opinion]], Iterable[Opinion]]
Writer = Callable[[Iterable[Row], Path, int], None]
FORMS: Mapping[str, Writer] = {
    "parquet": parquet.write,
    "datasets": saved.write,
    "folder": folder.write,
    "webdataset": webdataset.write,
}
QUIET_SECONDS = 60 * 60  # after which nobody is writing any more
EACH = "per-vote"  # the policy that leaves every vote as it is
MANY = frozenset(POLICIES) - {EACH}  # those that make one row of what several people said


@dataclass(kw_only=True)
class ExportReport:
    """What an export wrote.

    skips:     last words of a rater on an image that are neither like nor dislike, and so in no row
    undecided: images that the policy gave no label
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
) -> ExportReport:
    """Write the likes in a store into the folder `out`: all of them, or after Ctrl-C or an error nothing.

    Args:
        store: where the votes are.
        out: a folder that is not there yet, or empty.
        form: one of `FORMS`.
        policy: which label an image gets that several people rated (policies.py), a row each; None: a row for each
            vote in force, with all that its rater said.
        names: call raters by their names. Otherwise they are called rater-7f3a... (raters.py); what they wrote, as
            reasons, prompts or names of files, is exported as it is either way.
        shard_bytes: of one file, where several are written.
        progress: wraps the opinions in the store, as `rich.progress.track` does.

    Raises:
        UsageError: there is no such form or policy, or something is in `out`.
        Interrupted: Ctrl-C.
        ThumbtuneError: there is nothing to export, an image is gone, or the disk is full.
    """
    if form not in FORMS:
        raise UsageError(f"There is no form {form!r} to export into; choose {', '.join(FORMS)}.")
    hidden = None if names else Pseudonyms(key_of(store))
    chosen = _Chosen(store, check_policy(policy or EACH), hidden, progress)
    with _whole(out) as partial:
        FORMS[form](chosen, partial, shard_bytes)
        if not chosen.report.rows:
            raise ThumbtuneError(f"{store.name} holds no likes or dislikes to export{_by(policy)}; import some first.")
    return chosen.report


def _by(policy: str | None) -> str:
    return f" by the policy {policy}" if policy else ""


class _Opinions:
    """The last words in a store; how many there are is known."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __length_hint__(self) -> int:
        counts = self.store.counts()
        return counts.likes + counts.dislikes

    def __iter__(self) -> Iterator[Opinion]:
        return self.store.rows()


class _Chosen:
    """The rows that are exported, and a count of them as they go by."""

    def __init__(self, store: Store, policy: str, hidden: Pseudonyms | None, progress: Progress) -> None:
        self.store, self.policy, self.hidden, self.progress = store, policy, hidden, progress
        self.report = ExportReport(skips=store.skips())

    def __iter__(self) -> Iterator[Row]:
        opinions, policy, tally = iter(self.progress(_Opinions(self.store))), self.policy, Tally()
        if self.hidden is not None:
            opinions, policy = map(self.hidden.hide, opinions), self.hidden.policy_of(policy)
        image, data = "", b""  # an image's opinions follow each other, so that it is read once
        for opinion in labelled(opinions, policy, tally):
            if opinion.image.sha256 != image:
                image, data = opinion.image.sha256, _read(self.store, opinion)
            yield self._counted(row_of(opinion, data))
        self.report.undecided = tally.undecided

    def _counted(self, row: Row) -> Row:
        if self.policy in MANY:
            row.cells["vote_id"] = None  # what several people said is no vote that anybody gave
        self.report.rows += 1
        self.report.likes += row.cells["label"] is True
        self.report.dislikes += row.cells["label"] is False
        return row


def _read(store: Store, opinion: Opinion) -> bytes:
    """The image's bytes, as they came.

    Raises:
        ThumbtuneError: they are gone, or others.
    """
    data = store.read(opinion.image)
    if sha256(data) != opinion.image.sha256:
        address = store.address_of(opinion.image)
        raise ThumbtuneError(f"The image {address} is not what it was; restore it, or import it again.")
    return data


def _remove_leftovers(out: Path) -> None:
    """Remove what processes of this machine left of the same export that were killed, and so could not do it.

    Containers may call themselves alike and not see each other's processes: what was just written to is nobody's left.
    """
    beginning, end = f".{out.name}.{node()}-", ".partial"
    for path in out.parent.glob(f"{escape(beginning)}*{end}"):
        number = path.name[len(beginning) : -len(end)].partition(".")[0]
        ended = number.isdecimal() and (int(number) == os.getpid() or not _runs(int(number)))
        if ended and _is_quiet(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_quiet(folder: Path) -> bool:
    """Whether nothing in it was written to for an hour."""
    try:
        last = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except OSError:  # something went away meanwhile: somebody is at work
        return False
    return time.time() - last > QUIET_SECONDS


def _runs(process: int) -> bool:
    """Whether there is such a process; where nobody can tell, there is."""
    if os.name == "nt":  # where asking would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A new folder beside `out`, which takes its place at the end of the block, or is gone if that fails.

    Raises:
        UsageError: something is in `out`.
        Interrupted: Ctrl-C.
        ThumbtuneError: the disk is full, or the folder may not be written.
    """
    out = out.absolute()
    partial = out.with_name(f".{out.name}.{node()}-{os.getpid()}.{token_hex(4)}.partial")
    try:
        _remove_leftovers(out)
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise UsageError(f"{out} is there already and not empty; choose another folder, or delete it.")
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except KeyboardInterrupt as stop:
        raise Interrupted("Stopped; nothing was exported.") from stop
    except OSError as error:
        raise ThumbtuneError(
            f"{out} could not be written ({error.strerror or error}); make room or choose another folder."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
