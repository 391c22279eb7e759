"""Name the rows of a log that are no votes, in the sentences of an import: the first of them are read again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.checked_votes import NO_LABEL, NO_PROMPT, checked_vote
from thumbtune.feedback.event_log.cells import FILE, PLACE
from thumbtune.feedback.event_log.engine import batches
from thumbtune.feedback.event_log.votes import State
from thumbtune.feedback.image_content import bytes_of
from thumbtune.feedback.images import UnreadableImage, inspect_image
from thumbtune.feedback.metadata.automatic1111 import settings_apart
from thumbtune.feedback.prompts import plain_prompt
from thumbtune.feedback.reading.arrow import rows_in
from thumbtune.feedback.source import Bytes, SourceRow
from thumbtune.feedback.store.votes import without_controls

if TYPE_CHECKING:
    from thumbtune.feedback.event_log.log import EventLog

ELSEWHERE = b"an image at an address"
OF_IMAGE = "its prompt is inside the image, which a log does not read; import the log, or add a column of prompts"
NOW = "it could be read now, and not before; run the command again"
TAKEN = "its vote id {name} belongs to another vote; give every vote its own id, or leave them out"


def skipped_rows(log: EventLog, limit: int) -> Iterator[tuple[str, str]]:
    """Yield the place and the reason of the first rows that are no votes, at most `limit`."""
    states = (State.WITHOUT_LABEL, State.WITHOUT_PROMPT, State.UNREADABLE, State.TAKEN)
    query = f"""
        WITH bad AS (SELECT n, state, vote_id FROM coded WHERE state IN ({", ".join(str(int(s)) for s in states)})
            ORDER BY n LIMIT {int(limit)})
        SELECT bad.n AS our_n, bad.state AS our_state, bad.vote_id AS our_id, f.source AS our_source,
            f.folder AS our_folder, e.{PLACE} + 1 AS our_row, e.* EXCLUDE ({FILE}, {PLACE})
        FROM raw_events e JOIN files f ON e.{FILE} = f.name JOIN bad ON bad.n = f.first + e.{PLACE} ORDER BY bad.n"""
    names = ("our_n", "our_state", "our_id", "our_source", "our_folder", "our_row")
    for batch in batches(log.connection, query, 64):
        about = batch.select(list(names)).to_pylist()
        rows = rows_in(batch.drop_columns(list(names)), log.cells.classes, batch.num_rows)
        for of, row in zip(about, rows, strict=True):
            if of["our_state"] == State.TAKEN:
                yield f"{of['our_source']}, row {of['our_row']}", TAKEN.format(name=of["our_id"])
                continue
            read = log.reader.read(
                row,
                f"{of['our_source']}, row {of['our_row']}",
                lambda cell, folder=of["our_folder"]: _image(log, cell, folder),
                of["our_source"],
            )
            why = _why(read, log.rater, log.reading.prompt or "")
            yield read.where, why or (OF_IMAGE if of["our_state"] == State.WITHOUT_PROMPT else NOW)


def _image(log: EventLog, cell: object, folder: int) -> Bytes:
    """Return the function that reads an image; that of an image at an address is not read."""
    address = log.images.remote(cell, folder)
    return log.images.read_cell(folder, cell) if address is None else lambda: ELSEWHERE


def _why(row: SourceRow, rater: str, prompt: str) -> str | None:
    """Return why a row is no vote; None if it is one now, with what lies in its image."""
    row = settings_apart(row)
    words, _ = plain_prompt(without_controls(row.prompt or prompt), row.syntax)
    if row.liked is None and row.image is not None:
        return row.problem or NO_LABEL
    if not words and row.image is not None:
        return NO_PROMPT
    try:
        data = checked_vote(row, words, row.rater or rater).data
        if data != ELSEWHERE:
            inspect_image(bytes_of(data))
    except (ThumbtuneError, UnreadableImage) as error:
        return str(error).rstrip(".")
    return None
