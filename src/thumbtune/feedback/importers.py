"""Importing likes: look where they are, go through them once, keep what is whole, and list what is not."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from thumbtune.errors import Interrupted, ThumbtuneError
from thumbtune.feedback.intake import Became
from thumbtune.feedback.pictures import UnreadablePicture
from thumbtune.feedback.sources.folders import LikeFolders, nothing_here, opinion_folders
from thumbtune.feedback.sources.found import Found, Source
from thumbtune.feedback.sources.rows import METADATA_SUFFIXES, TABLE_SUFFIXES
from thumbtune.feedback.sources.table import Table, recognises
from thumbtune.feedback.store import Outcome, Store, Thumb, is_store
from thumbtune.feedback.votes import Kind, check_picture, check_text, check_vote, chosen_id

__all__ = ["Found", "ImportReport", "Source", "find_source", "import_likes"]

Progress = Callable[[Iterable[Found]], Iterable[Found]]
NO_LABEL = "it has no label that says like or dislike; write true or false, or remove it"
CONTRADICTED = "{rater} said this before and something else since, and the last word stands"
# of one transaction: what is in memory, and what a crash may lose
ROWS_AT_ONCE, BYTES_AT_ONCE = 500, 64_000_000
LISTED = 1000  # rows that could not be used: a million of them would fill a memory, and nobody reads so many
NO_PROMPT = "it has no prompt; add one, or give one prompt for all"


@dataclass(kw_only=True)
class ImportReport:
    """What an import did; `rows` is the sum of the six counts after it.

    `changed` counts the new votes that replaced the opposite opinion of a rater. `skipped` lists
    (where, why) of rows that could not be used, and of duplicates that their rater has since contradicted; `unlisted`
    counts those after the first thousand.
    """

    rows: int = 0
    likes: int = 0
    dislikes: int = 0
    duplicates: int = 0
    without_prompt: int = 0
    unreadable: int = 0
    without_label: int = 0
    changed: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    unlisted: int = 0

    @property
    def used(self) -> int:
        """Rows whose thumb is in the store, from now or from before."""
        return self.likes + self.dislikes + self.duplicates

    def add_trouble(self, where: str, why: str) -> None:
        """List a row, unless there are too many for anybody to read."""
        if len(self.skipped) < LISTED:
            self.skipped.append((where, why))
        else:
            self.unlisted += 1


def find_source(path: Path, likes: Path | None) -> Source:
    """Look at `path` and choose how to read it: like/ and dislike/, or a metadata file. `likes` is the store's folder.

    Raises:
        ThumbtuneError: there is nothing to import from, or more than one thing, or the store would lie among it.
    """
    if not path.exists():
        raise ThumbtuneError(f"{path} does not exist; give a folder of pictures or a {_kinds()} file.")
    try:
        source = _table_in_file(path) if path.is_file() else _source_in_folder(path)
        root = path.parent if path.is_file() else path
        own = [folder for folder, _ in source.folders] if isinstance(source, LikeFolders) else []
    except OSError as error:
        raise ThumbtuneError(f"{path} could not be read ({error.strerror or error}); check it.") from error
    place = likes and likes.resolve()
    if place and (place == root.resolve() or any(place.is_relative_to(folder.resolve()) for folder in own)):
        raise ThumbtuneError(
            f"{likes} lies among what is to be imported; keep the store elsewhere, as in --likes thumbs."
        )
    return source


def _table_in_file(file: Path) -> Source:
    if not recognises(file):
        raise ThumbtuneError(f"{file} is no {_kinds()} file; give one, or a folder with like/ and dislike/.")
    return Table([file])


def _source_in_folder(folder: Path) -> Source:
    if is_store(folder):
        raise ThumbtuneError(f"{folder} is a store of likes already; train on it with --set likes={folder}.")
    if opinion_folders(folder):
        return LikeFolders(folder)
    tables = [folder / f"metadata{suffix}" for suffix in METADATA_SUFFIXES if (folder / f"metadata{suffix}").is_file()]
    if len(tables) > 1:
        names = " and ".join(table.name for table in tables)
        raise ThumbtuneError(f"{folder} holds {names}; give the path of the one to read.")
    # `datasets` writes shards with its own names, beside the card or in data/.
    shards = sorted(folder.glob("*.parquet")) or sorted(folder.glob("data/*.parquet"))
    if not tables and not shards:
        raise nothing_here(folder)
    return Table(tables or shards)


def _kinds() -> str:
    return ", ".join(TABLE_SUFFIXES[:-1]) + f" or {TABLE_SUFFIXES[-1]}"


def import_likes(  # noqa: PLR0913 - this is the command `thumbtune import`, one argument for each option
    path: Path,
    store: Store,
    *,
    rater: str = "import",
    prompt: str | None = None,
    strict: bool = False,
    dry_run: bool = False,
    progress: Progress = iter,
) -> ImportReport:
    """Import every like and dislike under `path`, some hundred at a time; a second time adds nothing.

    After Ctrl-C, a crash or an error what was imported stays, and the same call goes on. `rater` and `prompt` are for
    rows that name none. `strict` refuses everything if one row cannot be used; otherwise such rows are listed. A
    `dry_run` reports and keeps nothing. `progress` wraps the source, as `rich.progress.track` does.

    Raises:
        Interrupted: Ctrl-C.
        ThumbtuneError: nothing is usable, or with `strict` something is not, or the disk is full.
    """
    source = find_source(path, store.folder)
    intake = _Intake(store, rater, (prompt or "").strip())
    try:
        with store.transaction(rehearsal=dry_run) if strict or dry_run else nullcontext():
            for found in progress(source):
                intake.take(found)
                if strict:
                    intake.refuse_trouble(path)
            intake.flush()
            if strict:
                intake.refuse_trouble(path)
            if intake.report.used == 0:
                raise _nothing_usable(path, intake.report)
    except KeyboardInterrupt as stop:
        if strict or dry_run:
            raise Interrupted("Stopped; nothing was kept.") from stop
        intake.flush()
        raise Interrupted(
            f"Stopped; {intake.kept} thumbs were kept, and the same command goes on from there."
        ) from stop
    return intake.report


class _Skipped(Exception):
    """This row cannot be used; the message says why."""


class _Intake:
    """Rows gathered until there are enough of them, then kept in one transaction."""

    def __init__(self, store: Store, rater: str, prompt: str) -> None:
        self.store, self.rater, self.prompt = store, rater, prompt
        self.report, self.kept = ImportReport(), 0
        self._rows: list[tuple[int, str, Thumb]] = []
        self._troubles: list[tuple[int, str, str]] = []  # row, where, why: sorted and listed with what was gathered
        self._bytes = 0

    def take(self, found: Found) -> None:
        """Count one row, and gather it or list why it cannot be used."""
        self.report.rows += 1
        try:
            thumb = self._thumb(found)
        except _Skipped as skipped:
            self._troubles.append((self.report.rows, found.where, str(skipped)))
            return
        self._rows.append((self.report.rows, found.where, thumb))
        self._bytes += len(thumb.data)
        if len(self._rows) >= ROWS_AT_ONCE or self._bytes >= BYTES_AT_ONCE:
            self.flush()

    def _thumb(self, found: Found) -> Thumb:
        """The row as a thumb.

        Raises:
            _Skipped: something is missing, or cannot be.
        """
        prompt = found.prompt or self.prompt
        if found.liked is None and found.image is not None:
            self.report.without_label += 1
            raise _Skipped(found.problem or NO_LABEL)
        if not prompt and found.image is not None:
            self.report.without_prompt += 1
            raise _Skipped(NO_PROMPT)
        try:
            return _checked(found, prompt, found.rater or self.rater)
        except ThumbtuneError as error:
            self.report.unreadable += 1
            raise _Skipped(str(error).rstrip(".")) from error

    def flush(self) -> None:
        """Keep what was gathered."""
        rows, self._rows, self._bytes = self._rows, [], 0
        outcomes = self.store.keep([thumb for *_, thumb in rows]) if rows else []
        for (number, where, thumb), outcome in zip(rows, outcomes, strict=True):
            if why := self._count(thumb, outcome):
                self._troubles.append((number, where, why))
        self.kept += len(rows)
        for _, where, why in sorted(self._troubles):
            self.report.add_trouble(where, why)
        self._troubles = []

    def refuse_trouble(self, path: Path) -> None:
        """Stop at the first row that cannot be used.

        Raises:
            ThumbtuneError: there is one.
        """
        known = self.report.skipped or [(where, why) for _, where, why in sorted(self._troubles)]
        if known:
            raise ThumbtuneError(f"{path}: {known[0][0]}: {known[0][1]}; nothing was imported.")

    def _count(self, thumb: Thumb, outcome: Outcome) -> str | None:
        """Count what became of a row; what is to be listed of it."""
        report = self.report
        if isinstance(outcome, ThumbtuneError):
            report.unreadable += 1
            return str(outcome).rstrip(".")
        if outcome in (Became.KNOWN, Became.CONTRADICTED):
            report.duplicates += 1
            return CONTRADICTED.format(rater=thumb.rater) if outcome is Became.CONTRADICTED else None
        report.likes += thumb.kind == "like"
        report.dislikes += thumb.kind == "dislike"
        report.changed += outcome is Became.CHANGED
        return None


def _checked(found: Found, prompt: str, rater: str) -> Thumb:
    """A row once nothing is wrong with it (the store may still be full).

    Raises:
        ThumbtuneError: there is no picture, or a cell holds what no store can.
    """
    if found.image is None:
        raise UnreadablePicture(found.problem or "there is no picture; put it there or remove the row")
    kind: Kind = "like" if found.liked else "dislike"
    check_picture(prompt, found.seed)
    check_vote(kind, rater, {"weight": found.weight, "grade": found.grade, "reason": found.reason, "pair": found.pair})
    for what in ("model", "source"):
        check_text(getattr(found, what) or "", what)
    return Thumb(
        data=found.image(),
        prompt=prompt,
        seed=found.seed,
        model=found.model,
        source=found.source,
        kind=kind,
        rater=rater,
        weight=found.weight,
        grade=found.grade,
        reason=found.reason,
        pair=found.pair,
        created_at=found.created_at,
        vote_id=found.vote_id and chosen_id(found.vote_id),
    )


def _nothing_usable(path: Path, report: ImportReport) -> ThumbtuneError:
    counts = (
        f"{report.rows} rows: {report.without_label} without a label, "
        f"{report.without_prompt} without a prompt, "
        f"{report.unreadable} unreadable"
    )
    example = f"; the first: {report.skipped[0][0]}: {report.skipped[0][1]}" if report.skipped else ""
    return ThumbtuneError(f"{path} holds nothing that can be used ({counts}){example}.")
