"""The folder of a gallery: it contains the files of one plan only, and no half-written file."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from thumbtune import checksums, distributed, files, locks
from thumbtune.documents import DocumentFault
from thumbtune.errors import Interrupted, ThumbtuneError, UsageError
from thumbtune.evaluation.duel_folder import (
    FORM,
    IMAGE_COLUMNS,
    IMAGES,
    IMAGES_OF_FORM_1,
    MANIFEST,
    SCORE_COLUMNS,
    SCORES,
    VERDICT,
    is_duel,
    is_of_earlier_evaluation,
    is_of_now,
    read_images,
    read_manifest,
    rewriting,
)
from thumbtune.files import file_sha256, write_text
from thumbtune.runs import run
from thumbtune.spreadsheets import csv_of

COUNTED = (IMAGES, IMAGES_OF_FORM_1, SCORES, VERDICT, "report.html", "environment.json")  # follows from the images

LOCK = ".duel.lock"
FILE, DIGEST = IMAGE_COLUMNS.index("file"), IMAGE_COLUMNS.index("sha256")


def claim(out: Path, manifest: Mapping[str, Any], replace: bool = False) -> Path | None:
    """Make the folder that of a plan, or check that it is already.

    Args:
        replace: whether a finished duel of another plan is moved away (see `replaced_folder`); otherwise it is refused.

    Returns:
        Where a finished duel was moved; None if there was none to move.

    Raises:
        UsageError: it is a file, or holds something else.
        ThumbtuneError: its manifest cannot be read.
    """
    manifest = {"form": FORM, **manifest}
    if is_of_earlier_evaluation(out):
        raise UsageError(
            f"{out} contains an evaluation by an earlier Thumbtune; delete it, or choose another folder with "
            "--out, then run "
            "the same command again.",
            code="evaluation-of-earlier-version",
        )
    moved = None
    if (out / MANIFEST).is_file():
        moved = _take_over(out, manifest, replace)
    elif out.is_file() or (out.is_dir() and any(path.name != LOCK for path in out.iterdir())):
        raise UsageError(
            f"{out} contains files that do not belong to a duel; choose another folder with --out.",
            code="duel-folder-taken",
        )
    with rewriting(out, MANIFEST, "environment.json"):
        write_text(out / MANIFEST, json.dumps(manifest, indent=1))  # first: from now on the folder is this plan's
        if not (environment := out / "environment.json").is_file():
            write_text(environment, json.dumps(run.environment(), indent=1))
    return moved


def batch_in(out: Path, manifest: Mapping[str, Any], replace: bool) -> int | None:
    """Return how many images of a duel that goes on are drawn together; None for a new one.

    It stays as it was while images of this folder stay: the last bit of an image may depend on those beside it.

    Args:
        manifest: of the plan, without this number.
        replace: as in `claim`.

    Raises:
        ThumbtuneError: the manifest in the folder cannot be read.
    """
    if not (out / MANIFEST).is_file() or is_of_earlier_evaluation(out):
        return None
    was = _manifest_of(out)
    other = any(_identity(name, was.get(name)) != _identity(name, now) for name, now in manifest.items())
    if other and (replace or not any(path.is_file() for name in was["sides"] for path in (out / name).glob("*"))):
        return None
    return was.get("batch")


def batch_of(out: Path) -> int:
    """Return how many images are drawn together, as `claim` wrote it."""
    return read_manifest(out)["batch"]


@contextmanager
def at_work(out: Path) -> Iterator[None]:
    """Hold the folder of a duel inside the `with` block, on the main process; the lock goes with the process.

    Its file lies beside the folder, which may be moved meanwhile; inside where the folder around it is read-only.

    Raises:
        Interrupted: somebody pressed Ctrl-C; the images and scores so far stay.
        ThumbtuneError: another process works on this duel.
    """
    if not distributed.team().is_main_process:
        yield
        return
    given, out = out, out.absolute()
    is_inside = out.is_dir() and not files.may_write(out.parent)
    is_new = not out.parent.exists()
    try:
        with locks.held(out / LOCK if is_inside else out.with_name(f".{out.name}{LOCK}"), partial(_busy, out)):
            yield
    except KeyboardInterrupt as stop:
        raise Interrupted(
            f"Stopped; {given} keeps what is done, and the same command continues from there.", code="duel-stopped"
        ) from stop
    finally:
        if is_new:  # and nothing was written in it
            with suppress(OSError):
                out.parent.rmdir()


def _busy(out: Path, owner: str) -> ThumbtuneError:
    return ThumbtuneError(
        f"{out} is being written by {owner}; wait until it ends, or choose another folder with --out.",
        code="duel-busy",
    )


def replaced_folder(out: Path) -> Path:
    """Return where the duel that a new one replaces is kept: `evaluation-before`, or `evaluation-before-2` and so on.

    It is a free name, since images may have taken hours: none that was kept is deleted.
    """
    return files.free_name(out, "-before")


def _take_over(out: Path, manifest: Mapping[str, Any], replace: bool) -> Path | None:
    """Refuse or replace a folder with images of another plan; delete the scores of a plan that left no images.

    A finished duel is moved: the new one may fail, and the images may have taken hours. Of an unfinished one, only the
    folders of its sides are deleted.
    """
    was = _manifest_of(out)
    other = [name for name in manifest if _identity(name, was.get(name)) != _identity(name, manifest[name])]
    if replace and other and is_duel(out):
        kept = replaced_folder(out)
        out.rename(kept)
        return kept
    if replace and other:
        for side in was["sides"]:
            shutil.rmtree(out / side, ignore_errors=True)
    elif _has_images_of(out, was, manifest, other):
        raise UsageError(
            f"{out} contains a duel with other {' and '.join(other)}; choose another folder with --out.",
            code="duel-folder-taken",
        )
    if other:
        for name in COUNTED:
            (out / name).unlink(missing_ok=True)
        for file in out.glob("result.*"):
            file.unlink()
    return None


def _manifest_of(out: Path) -> dict[str, Any]:
    """Return the manifest of a duel, compared with its hash if it has one.

    Raises:
        ThumbtuneError: it cannot be read, or has changed.
    """
    try:
        was = read_manifest(out)
    except DocumentFault as fault:
        raise ThumbtuneError(
            f"{out} cannot be read as a duel ({fault}); delete it, or choose another folder for this duel.",
            code="duel-unreadable",
        ) from fault
    if is_of_now(out):
        checksums.check(out, lambda name: name == MANIFEST)
    return was


def _identity(name: str, value: Any) -> Any:
    """Return what of an entry decides the images: not the spelling of a path; a base is in the fingerprints."""
    if name in {"source", "base"}:
        return None
    if not isinstance(value, Mapping):
        return value
    if name == "sides":
        return {side: {**each, "name": None} for side, each in value.items()}
    return {**value, "name": None, "of": None} if name == "prompts" else value


def _has_images_of(out: Path, was: Mapping[str, Any], now: Mapping[str, Any], other: Sequence[str]) -> bool:
    """Return whether images of another plan are there; a name that was mistyped leaves none."""
    before, after = (_identity("sides", manifest.get("sides", {})) for manifest in (was, now))
    changed = [name for name in before if other != ["sides"] or before[name] != after.get(name)]
    return bool(other) and any(path.is_file() for name in changed for path in (out / name).glob("*"))


def known_hashes(out: Path) -> dict[Path, str]:
    """Return the hashes of the images that were scored before and are still there; a lost one is generated again.

    Raises:
        ThumbtuneError: an image is another one now, or the list of images is damaged.
    """
    try:
        listed = read_images(out)
        hashes = {path: row["sha256"] for row in listed if (path := out / row["file"]).is_file()}
    except DocumentFault as fault:
        raise ThumbtuneError(
            f"{out / IMAGES} cannot be read ({fault}); delete it and run the same command again.",
            code="duel-unreadable",
        ) from fault
    checksums.check(out, lambda name: name == IMAGES)
    for path, digest in hashes.items():
        if file_sha256(path) != digest:
            raise ThumbtuneError(
                f"{path} has changed since it was scored; delete it and run the same command again.",
                code="duel-image-changed",
            )
    return hashes


def sweep(out: Path, sides: Iterable[str]) -> None:
    """Delete the half-written files of processes that were killed."""
    for folder in (out, *(out / name for name in sides)):
        files.sweep(folder)


def write_lists(out: Path, images: Iterable[Sequence[object]], scores: Iterable[Sequence[object]]) -> None:
    """Write images.csv and scores.csv from their rows."""
    write_text(out / IMAGES, csv_of(IMAGE_COLUMNS, images), durable=True)
    write_text(out / SCORES, csv_of(SCORE_COLUMNS, scores), durable=True)
    (out / IMAGES_OF_FORM_1).unlink(missing_ok=True)


def write_sealed_lists(out: Path, images: Sequence[Sequence[object]], scores: Iterable[Sequence[object]]) -> None:
    """Write both lists, and note their hashes and those of the images."""
    with rewriting(out, IMAGES, SCORES):
        write_lists(out, images, scores)
    checksums.record(out, [], {str(row[FILE]): str(row[DIGEST]) for row in images})
