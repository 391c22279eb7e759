"""What is damaged in a run that continues: set aside under another name, never deleted, with a note on each.

A damaged checkpoint gets the ending `.damaged`, and the run continues from the one before. A damaged log costs no
checkpoint: it is restored from the copy in the newest sound one.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError, note
from thumbtune.files import free_name, sha256, sweep, write_whole
from thumbtune.training.checkpoint import LOG, WITHOUT_HASHES, check_files, folder_of, note_damaged, state_in, steps_in

ENDING = ".damaged"


def set_aside_damaged(run: Path) -> None:
    """Rename the damaged checkpoints of a run, and restore its log if that is damaged, with a note on each.

    Also remove what killed processes left. No other process may be training in this folder.

    Raises:
        ThumbtuneError: another version wrote a checkpoint, or the disk is full.
    """
    sweep(run / "checkpoints")
    newest: tuple[int, dict[str, Any]] | None = None
    for step in steps_in(run):
        folder = folder_of(run, step)
        try:
            state = state_in(folder)
            check_files(folder, state)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as error:
            note_damaged(folder, error)
            _set_aside(folder)
            continue
        newest = step, state
    if newest is not None and newest[1]["version"] != WITHOUT_HASHES:
        _restore_log(run, *newest)


def set_aside_after(run: Path, step: int) -> None:
    """Rename the checkpoints after a step, which could not be used: a run that continues from there writes new ones."""
    for later in steps_in(run):
        if later > step:
            _set_aside(folder_of(run, later))


def _set_aside(path: Path) -> None:
    """Give a damaged file or folder another name; one that cannot be renamed stays."""
    aside = free_name(path, ENDING)
    try:
        os.replace(path, aside)
    except OSError:
        return
    note(f"{path} is kept as {aside.name}; delete it when nothing in it is needed.")


def _restore_log(run: Path, step: int, state: dict[str, Any]) -> None:
    """Compare the log up to a step with what its checkpoint knows of it, and write it anew from there if it differs."""
    log, copy = run / LOG, folder_of(run, step) / LOG
    written = log.read_bytes() if log.is_file() else b""
    if copy.is_file():
        data = copy.read_bytes()
        if written.startswith(data):
            return
        aside = free_name(log, ENDING)
        try:
            if written:
                shutil.copyfile(log, aside)
        except OSError as error:
            raise ThumbtuneError(
                f"{aside} could not be written ({error.strerror or error}); make room, then use --resume.",
                code="file-unwritable",
            ) from error
        write_whole(log, lambda partial: partial.write_bytes(data), durable=True)
        kept = f"; the damaged one is kept as {aside.name}" if written else ""
        note(f"{log} is damaged before step {step}, and was restored from the copy in {copy.parent}{kept}.")
    elif state["log"] != sha256(b"".join(written.splitlines(keepends=True)[:step])):
        note(
            f"{log} is damaged before step {step}, and {copy.parent} has no copy of it; its numbers may be wrong, and "
            "the guards read them."
        )
