"""The votes of a log as whole numbers: image, prompt, rater, like or dislike, time; and which rows are none.

The rules are those of an import: `RowReader` reads the cells, and `importers` refuses the same values. A row that is
no vote gets the state that says why, and is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.event_log.cells import FILE, PLACE, LogCells, joined
from thumbtune.feedback.event_log.engine import name
from thumbtune.feedback.metadata.automatic1111 import settings_apart
from thumbtune.feedback.prompts import plain_prompt
from thumbtune.feedback.reading.cells import grade_in, number_in, prompt_in, syntax_in, text_in, uuid_in
from thumbtune.feedback.reading.columns import SURE_TIMES
from thumbtune.feedback.reading.moments import FIRST_YEAR
from thumbtune.feedback.reading.reader import DISLIKE_COLUMNS, RowReader
from thumbtune.feedback.reading.record import Record, lowered_name
from thumbtune.feedback.source import SourceRow
from thumbtune.feedback.store.votes import check_text, chosen_id, without_controls

if TYPE_CHECKING:
    from thumbtune.feedback.event_log.images import LogImages

TIMES = ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S")
LAST_MOMENT = int(datetime(9999, 12, 31).timestamp()) * 10**6


class State(IntEnum):
    """What a row of a log is."""

    VOTE = 0
    WITHOUT_LABEL = 1
    WITHOUT_PROMPT = 2
    UNREADABLE = 3
    SKIP = 4
    TAKEN = 5  # its vote id belongs to another vote


class LogVotes:
    """Makes the table `coded` of a log: one row for each row of the log.

    rater, prompt: of rows that name none.
    """

    def __init__(self, cells: LogCells, reader: RowReader, rater: str, prompt: str) -> None:
        self.cells, self.reader, self.rater, self.prompt = cells, reader, rater, prompt
        self.columns: dict[str, list[str]] = {}

    def make(self, images: LogImages) -> None:
        """Make the table, from tables of the distinct cells of each field."""
        read = self._read
        read("label", ["label"], [("our_liked", "BOOLEAN"), ("our_skipped", "BOOLEAN")], self._label)
        kinds = [
            ("our_words", "VARCHAR"),
            ("our_bad", "BOOLEAN"),
            ("our_own_seed", "BIGINT"),
            ("our_own_model", "VARCHAR"),
        ]
        read("prompt", ["prompt", "syntax"], kinds, self._prompt)
        read("rater", ["rater"], [("our_words", "VARCHAR"), ("our_bad", "TINYINT")], self._rater)
        read(
            "weight", ["weight"], [("our_number", "DOUBLE"), ("our_bad", "TINYINT")], self._number("weight", number_in)
        )
        read("grade", ["grade"], [("our_number", "DOUBLE"), ("our_bad", "TINYINT")], self._number("grade", grade_in))
        for field in ("reason", "pair", "model", "source"):
            read(field, [field], [("our_words", "VARCHAR"), ("our_bad", "TINYINT")], self._text(field))
        read("seed", ["seed"], [("our_number", "BIGINT")], self._detail("seed"))
        read("vote_id", ["vote_id"], [("our_words", "VARCHAR"), ("our_bad", "TINYINT")], self._id)
        self._read_times()
        self.columns["image"] = images.make()
        for field, key in (("prompt", "our_words"), ("rater", "our_words"), ("image", "our_sha256")):
            self._number_distinct(field, key)
        self._code(images)

    def _read(self, field: str, keys: Sequence[str], kinds: Sequence[tuple[str, str]], read: Any) -> None:
        columns = self.cells.columns_of(self.reader.columns, *keys)
        if field == "label":
            columns += [column for column in self.cells.header if lowered_name(column) in DISLIKE_COLUMNS]
        self.columns[field] = columns
        self.cells.read(field, columns, kinds, read)

    def _read_times(self) -> None:
        """Read the times of a log; those of the engine's own types need no table."""
        columns = self.cells.columns_of(self.reader.columns, "created_at")
        if len(columns) == 1 and self.cells.header[columns[0]] in TIMES:
            self.columns["created_at"] = []
            cell = f"e.{name(columns[0])}"
            first = "0001-01-02" if self._is_sure(columns[0]) else f"{FIRST_YEAR}-01-01"
            self.time = f"CASE WHEN {cell} >= '{first}' AND epoch_us({cell}) < {LAST_MOMENT} THEN epoch_us({cell}) END"
            self.reader.columns.used["created_at"][lowered_name(columns[0])] = None
            self.cells.read("created_at", [], [("our_at", "BIGINT")], lambda _: (None,))
        else:
            self.time = ""
            self._read("created_at", ["created_at"], [("our_at", "BIGINT")], self._moment)

    def _is_sure(self, column: str) -> bool:
        lowered = lowered_name(column)
        return lowered in SURE_TIMES or lowered == self.reader.columns.mapped.get("created_at")

    def _label(self, row: Record) -> tuple[Any, ...]:
        liked, _, _, skipped = self.reader.label_of(row, self._lacks("label"))
        return liked, skipped

    def _lacks(self, key: str) -> bool:
        return not self.cells.columns_of(self.reader.columns, key)

    def _prompt(self, row: Record) -> tuple[Any, ...]:
        ours = self.reader.columns.ours_in(row)
        given = SourceRow(where="", prompt=prompt_in(ours), syntax=syntax_in(ours, "syntax"))
        apart = settings_apart(given)
        words, _ = plain_prompt(without_controls(apart.prompt or self.prompt), apart.syntax)
        return words or None, bool(words) and _is_bad_text(words, "prompt"), apart.seed, apart.model

    def _rater(self, row: Record) -> tuple[Any, ...]:
        words, bad = self._text("rater")(row)
        return (words or self.rater), bad

    def _text(self, field: str) -> Any:
        def read(row: Record) -> tuple[Any, ...]:
            """Return the text, and whether it is bad: 1 if no row can have it, 2 if no vote can."""
            try:
                words = text_in(self.reader.columns.ours_in(row), field)
            except ValueError:
                return None, 1
            return words, 2 if words and _is_bad_text(words, field) else 0

        return read

    def _number(self, field: str, read_number: Any) -> Any:
        def read(row: Record) -> tuple[Any, ...]:
            try:
                return read_number(self.reader.columns.ours_in(row), field), 0
            except ValueError:
                return None, 1

        return read

    def _id(self, row: Record) -> tuple[Any, ...]:
        try:
            found = uuid_in(self.reader.columns.ours_in(row), "vote_id")
            return found and chosen_id(found), 0
        except (ValueError, ThumbtuneError):
            return None, 1

    def _detail(self, field: str) -> Any:
        return lambda row: (self.reader.detail_of(row, field),)

    def _moment(self, row: Record) -> tuple[Any, ...]:
        moment = self.reader.detail_of(row, "created_at")
        return (None if moment is None else microseconds(moment),)  # type: ignore[arg-type]

    def _number_distinct(self, field: str, key: str) -> None:
        """Number the distinct meanings of a field: two cells may mean the same."""
        self.cells.connection.execute(
            f"CREATE OR REPLACE TABLE distinct_{field} AS SELECT {key}, min(our_code) AS id FROM {field} "
            f"WHERE {key} IS NOT NULL GROUP BY {key}"
        )
        self.cells.connection.execute(
            f"CREATE OR REPLACE TABLE {field} AS SELECT each.*, d.id AS our_id FROM {field} each "
            f"LEFT JOIN distinct_{field} d USING ({key})"
        )

    def _code(self, images: LogImages) -> None:
        """Make the table `coded`."""
        fields = [field for field in self.columns if field != "image"]
        read = [field for field in fields if self.columns[field]]
        constant = [field for field in fields if not self.columns[field]]  # each has a table of one row
        joins = " ".join(joined(field, self.columns[field]) for field in read)
        if constant:
            joins += f" CROSS JOIN (SELECT {', '.join(constant)} FROM {', '.join(constant)}) constants"
        of = {field: field for field in read} | {field: f"constants.{field}" for field in constant}
        texts = ("reason", "pair", "model", "source", "rater")
        shape = " OR ".join(f"{of[each]}.our_bad = 1" for each in (*texts, "weight", "grade", "vote_id"))
        value = " OR ".join([f"{of['prompt']}.our_bad", *(f"{of[each]}.our_bad = 2" for each in texts)])
        source = "f.source" if self._lacks("source") else f"{of['source']}.our_words"
        moment = self.time or f"{of['created_at']}.our_at"
        self.cells.connection.execute(
            f"""CREATE OR REPLACE TABLE coded AS
            SELECT f.first + e.{PLACE} AS n, image.our_id AS image, {of["prompt"]}.our_id AS prompt,
                {of["rater"]}.our_id AS rater, {of["label"]}.our_liked, {moment} AS moment,
                coalesce({of["weight"]}.our_number, 1) AS weight, {of["grade"]}.our_number AS grade,
                coalesce({of["seed"]}.our_number, {of["prompt"]}.our_own_seed) AS seed,
                coalesce({of["model"]}.our_words, {of["prompt"]}.our_own_model) AS model,
                {source} AS source, {of["vote_id"]}.our_words AS vote_id,
                (CASE WHEN {of["label"]}.our_skipped THEN {State.SKIP}
                    WHEN image.our_bad = 1 OR {shape} THEN {State.UNREADABLE}
                    WHEN {of["label"]}.our_liked IS NULL THEN {State.WITHOUT_LABEL}
                    WHEN {of["prompt"]}.our_words IS NULL THEN {State.WITHOUT_PROMPT}
                    WHEN image.our_bad = 2 OR {value} THEN {State.UNREADABLE}
                    ELSE {State.VOTE} END)::TINYINT AS state
            FROM events e JOIN files f ON e.{FILE} = f.name {joins} {images.join}"""
        )
        if self.columns["vote_id"]:
            self._refuse_taken_ids()

    def _refuse_taken_ids(self) -> None:
        """Give the rows whose vote id is that of another vote before them their state."""
        vote = "{'a': image, 'b': prompt, 'c': rater, 'd': our_liked}"
        self.cells.connection.execute(
            f"""UPDATE coded SET state = {State.TAKEN} FROM (
                SELECT n, {vote} AS vote, first_value({vote}) OVER (PARTITION BY vote_id ORDER BY n) AS first
                FROM coded WHERE state = {State.VOTE} AND vote_id IS NOT NULL
            ) ids WHERE ids.n = coded.n AND ids.vote IS DISTINCT FROM ids.first"""
        )


def microseconds(moment: datetime) -> int:
    """Return a moment in microseconds since 1970, exactly."""
    since = moment - datetime(1970, 1, 1, tzinfo=moment.tzinfo)
    return (since.days * 86400 + since.seconds) * 10**6 + since.microseconds


def _is_bad_text(words: str, field: str) -> bool:
    try:
        check_text(words, field)
    except ThumbtuneError:
        return True
    return False
