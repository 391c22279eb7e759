"""An event log: Parquet files of votes that a training reads where they lie, with the labels that a store would give.

with EventLog.open("events/*.parquet", EventReading(like_at=4)) as log:
    log.report          # what each row became, as after an import
    log.likes("majority")
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from thumbtune.errors import ThumbtuneError, UsageError, plural
from thumbtune.feedback.event_log.cells import FILE, PLACE, LogCells
from thumbtune.feedback.event_log.engine import batches, connected, in_sentences, insert, path, text
from thumbtune.feedback.event_log.files import LogFiles, files_of
from thumbtune.feedback.event_log.images import LogImages, folder_of
from thumbtune.feedback.event_log.labels import labels_query, rows_query
from thumbtune.feedback.event_log.latest import make_latest
from thumbtune.feedback.event_log.reading import EventReading
from thumbtune.feedback.event_log.votes import LogVotes, State
from thumbtune.feedback.likes import MAX_NAMED_RATERS, likes_features
from thumbtune.feedback.policies import RATER_PREFIX
from thumbtune.feedback.quoting import listed
from thumbtune.feedback.reading.arrow import classes_in
from thumbtune.feedback.reading.options import check_columns
from thumbtune.feedback.reading.reader import RowReader
from thumbtune.feedback.store.counting import Counts, Variety
from thumbtune.feedback.store.labels import Label, LabelledImage
from thumbtune.feedback.temporary import prefix_of, remove_leftovers
from thumbtune.files import write_whole

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

MAX_LISTED_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class LogReport:
    """The numbers of a log, with the names that an import's have; `rows` leaves the skips out."""

    rows: int
    liked: int
    disliked: int
    without_label: int
    without_prompt: int
    unreadable: int
    skips: int


class EventLog:
    """The votes of a log, in a temporary database. Open it with `EventLog.open`, in a `with` block."""

    def __init__(self, name: str, folder: Path, files: LogFiles, reading: EventReading) -> None:
        self.name, self.folder, self.files, self.reading = name, folder, files, reading
        self.rater = reading.rater.strip()
        self.now = datetime.now(UTC)
        self.connection = connected(folder)
        if files.system is not None:
            self.connection.register_filesystem(files.system)

    @classmethod
    def open(cls, likes: str, reading: EventReading | None = None) -> Self:
        """Return the log with this name, read once.

        Raises:
            ThumbtuneError: there are no such files, one cannot be read, or no row is a vote.
            UsageError: an option is invalid, or names a column that the log lacks; or the rater is blank.
        """
        reading = reading or EventReading()
        if not reading.rater.strip():
            raise UsageError("The rater of rows without one needs a name; give one.", code="event-log-rater-no-name")
        files = files_of(likes, reading.split)
        remove_leftovers()
        folder = Path(tempfile.mkdtemp(prefix=prefix_of("likes")))
        try:
            log = cls(likes, folder, files, reading)
            weakref.finalize(log, rmtree, folder, ignore_errors=True)
            with in_sentences(likes):
                log._read()
            return log
        except BaseException:
            rmtree(folder, ignore_errors=True)
            raise

    def close(self) -> None:
        """Remove the temporary database; tables that were made of it stay while they are used."""
        self.connection.close()
        (self.folder / "events.duckdb").unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        """Make the tables of the log: what its cells mean, its votes, the latest of them.

        Raises:
            ThumbtuneError: no row is a vote.
        """
        files = ", ".join(map(path, self.files.names))
        options = f"filename={text(FILE)}, union_by_name=true, file_row_number=true, hive_partitioning=false"
        self.connection.execute(
            f"CREATE VIEW raw_events AS SELECT * RENAME (file_row_number AS {PLACE}) "
            f"FROM read_parquet([{files}], {options})"
        )
        raw = self.connection.sql("SELECT * FROM raw_events")
        columns = zip(raw.columns, raw.types, strict=True)
        kinds = {column: kind for column, kind in columns if column not in {FILE, PLACE}}
        folders = self._number_files()
        cells = LogCells(self.connection, kinds, classes_in(self._metadata()))
        reader = RowReader(self.reading.reading, cells.counted_rows, sample=cells.rows)
        check_columns(self.name, reader.columns, [(self.name, list(cells.header), cells.rows())])
        self.cells, self.reader = cells, reader
        self.images = LogImages(cells, reader, folders, self.reading.root)
        votes = LogVotes(cells, reader, self.rater, self.reading.prompt or "")
        votes.make(self.images)
        self.has_weights = bool(votes.columns["weight"] or votes.columns["grade"])
        self._refuse_nothing()
        make_latest(self.connection, self.now)
        self.connection.execute(
            "CREATE TABLE addresses AS SELECT our_sha256, min(our_address) AS address FROM image "
            "WHERE our_sha256 IS NOT NULL GROUP BY our_sha256"
        )

    def _number_files(self) -> list[str]:
        """Note the number of each file's first row in the log, and its folder; return the folders."""
        of_files = dict.fromkeys(map(folder_of, self.files.names))
        folders = {folder: number for number, folder in enumerate(of_files)}
        first, rows = 0, []
        for file in self.files.names:
            rows.append((file, first, folders[folder_of(file)], file.rpartition("/")[2]))
            query = f"SELECT num_rows FROM parquet_file_metadata({path(file)})"
            first += sum(number for (number,) in self.connection.execute(query).fetchall())
        kinds = [("name", "VARCHAR"), ("first", "BIGINT"), ("folder", "BIGINT"), ("source", "VARCHAR")]
        insert(self.connection, "files", kinds, rows)
        return list(folders)

    def _metadata(self) -> Mapping[bytes, bytes]:
        query = f"SELECT key, value FROM parquet_kv_metadata({path(self.files.names[0])})"
        return dict(self.connection.execute(query).fetchall())

    @cached_property
    def report(self) -> LogReport:
        """What each row of the log became."""
        rows = self._all("SELECT state, our_liked, count(*) FROM coded GROUP BY ALL")

        def number_of(*states: State, liked: bool | None = None) -> int:
            return sum(n for state, kind, n in rows if state in states and liked in (None, kind))

        return LogReport(
            rows=number_of(*(set(State) - {State.SKIP})),
            liked=number_of(State.VOTE, liked=True),
            disliked=number_of(State.VOTE, liked=False),
            without_label=number_of(State.WITHOUT_LABEL),
            without_prompt=number_of(State.WITHOUT_PROMPT),
            unreadable=number_of(State.UNREADABLE, State.TAKEN),
            skips=number_of(State.SKIP),
        )

    def skipped(self, limit: int = MAX_LISTED_ROWS) -> list[tuple[str, str]]:
        """Return (where, why) of the first rows that cannot be used."""
        from thumbtune.feedback.event_log.skipped import skipped_rows

        with in_sentences(self.name):
            return list(skipped_rows(self, limit))

    def described(self) -> list[str]:
        """Return which column was read as what, as after an import."""
        return self.reader.described()

    def _refuse_nothing(self) -> None:
        report = self.report
        if report.liked + report.disliked:
            return
        first = "".join(f"; the first: {where}: {why}" for where, why in self.skipped(1))
        raise ThumbtuneError(
            f"{self.name} contains no usable row ({plural(report.rows, 'row')}: {report.without_label:,} without a "
            f"label, {report.without_prompt:,} without a prompt, {report.unreadable:,} unreadable){first}.",
            code="event-log-no-usable-row",
        )

    def _count(self, query: str) -> int:
        ((number,),) = self._all(query)
        return int(number or 0)

    def _all(self, query: str) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with in_sentences(self.name):
            return self.connection.execute(query).fetchall()

    def _batches(self, query: str) -> Iterator[pa.RecordBatch]:
        with in_sentences(self.name):
            yield from batches(self.connection, query)

    def prompts(self) -> Iterator[str]:
        """Yield the distinct prompts of all images, in the order in which they first occur."""
        query = (
            "SELECT p.our_words FROM distinct_prompt p JOIN (SELECT prompt, min(first) AS first FROM firsts "
            "GROUP BY prompt) f ON f.prompt = p.id ORDER BY f.first"
        )
        for batch in self._batches(query):
            yield from batch.column(0).to_pylist()

    def distinct_prompts(self, limit: int) -> list[str]:
        """Return at most `limit` of the prompts."""
        query = f"SELECT our_words FROM distinct_prompt WHERE id IN (SELECT prompt FROM firsts) LIMIT {int(limit)}"
        return [words for (words,) in self._all(query)]

    def labels(self) -> Iterator[Label]:
        """Yield the latest vote of each rater on each image, in the order of the images."""
        previous, number = None, -1
        for batch in self._batches(rows_query("per-vote")):
            for row in batch.to_pylist():
                key = (row["image_id"], row["prompt"])
                number += key != previous
                previous = key
                cells = (row["address"], 0, 0, row["seed"], row["model"], row["source"], self.now)
                yield Label(
                    image=LabelledImage(number, *key, *cells), rater=row["rater"], liked=row["label"],
                    weight=row["weight"], grade=row["grade"], reason=None,
                    created_at=row["created_at"].replace(tzinfo=UTC),
                )  # fmt: skip

    def counts(self) -> Counts:
        """Return how many images, votes, likes, dislikes and raters there are."""
        return Counts(
            images=self._count("SELECT count(*) FROM firsts"),
            votes=self.report.liked + self.report.disliked,
            likes=self._count("SELECT count(*) FROM latest WHERE liked"),
            dislikes=self._count("SELECT count(*) FROM latest WHERE NOT liked"),
            raters=self._count("SELECT count(DISTINCT rater) FROM latest"),
        )

    def variety(self) -> Variety:
        """Return how many distinct images and prompts there are."""
        several = "SELECT count(*) FROM (SELECT image FROM firsts GROUP BY image HAVING count(*) > 1)"
        return Variety(
            distinct_images=self._count("SELECT count(DISTINCT image) FROM firsts"),
            prompts=self._count("SELECT count(DISTINCT prompt) FROM firsts"),
            multi_prompt_images=self._count(several),
        )

    def busiest_raters(self, limit: int | None = None) -> list[str]:
        """Return the raters with the most votes, most first; all without a limit."""
        end = "" if limit is None else f"LIMIT {int(limit)}"
        query = (
            f"SELECT r.our_words FROM coded JOIN distinct_rater r ON r.id = coded.rater WHERE state = {State.VOTE} "
            f"GROUP BY r.our_words ORDER BY count(*) DESC, r.our_words {end}"
        )
        return [words for (words,) in self._all(query)]

    def addresses(self) -> dict[str, str]:
        """Return the address of each image by its id."""
        return dict(self._all("SELECT our_sha256, address FROM addresses"))

    def likes(self, policy: str = "majority") -> Dataset:
        """Return the labels as the table that training reads, memory-mapped, in the order of the images.

        Raises:
            UsageError: the policy does not exist, or its rater has rated nothing.
            ThumbtuneError: the disk is full.
        """
        from datasets import Dataset

        labels_query(policy)  # checks the policy
        folder = Path(tempfile.mkdtemp(prefix=prefix_of("likes")))
        file = folder / "likes.arrow"
        with in_sentences(self.name):
            rows = self._write(policy, file)
        if not rows and policy.startswith(RATER_PREFIX):
            rmtree(folder, ignore_errors=True)
            raise UsageError(
                f"{policy.removeprefix(RATER_PREFIX)} has rated no image in {self.name}; the raters with the most "
                f"votes are {listed(self.busiest_raters(MAX_NAMED_RATERS))}.",
                code="rater-unknown",
            )
        likes = Dataset.from_file(str(file))
        weakref.finalize(likes, rmtree, folder, ignore_errors=True)  # mapped files stay readable
        return likes

    def _write(self, policy: str, file: Path) -> int:
        import pyarrow as pa

        schema, rows = likes_features().arrow_schema, 0

        def write(partial: Path) -> None:
            nonlocal rows
            with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
                for batch in batches(self.connection, rows_query(policy, self.has_weights)):
                    stream.write_batch(_as_likes(batch, schema))
                    rows += batch.num_rows

        write_whole(file, write)
        return rows


def _as_likes(batch: Any, schema: Any) -> Any:
    """Return a batch of the engine's rows with the columns of `likes_features`."""
    import pyarrow as pa

    of_image = schema.field("image").type
    addresses = batch.column("address").cast(pa.string())
    fields = {"bytes": pa.nulls(batch.num_rows, pa.binary()), "path": addresses}
    image = pa.StructArray.from_arrays([fields[each.name] for each in of_image], names=[each.name for each in of_image])
    columns = [image, *(batch.column(each.name).cast(each.type) for each in schema if each.name != "image")]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
