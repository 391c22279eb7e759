"""Import likes: read a source once, store each valid row, and list the others with the reason."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext, suppress
from operator import length_hint
from pathlib import Path
from typing import TypedDict, Unpack

from thumbtune.errors import Interrupted, ThumbtuneError, UsageError, plural
from thumbtune.feedback.changes import Changes
from thumbtune.feedback.checked_votes import NO_LABEL, NO_PROMPT, checked_vote
from thumbtune.feedback.exporters.raters import PSEUDONYM, pseudonyms_in
from thumbtune.feedback.image_content import ImageFiles
from thumbtune.feedback.import_report import ImportReport
from thumbtune.feedback.metadata.automatic1111 import settings_apart
from thumbtune.feedback.prompts import plain_prompt
from thumbtune.feedback.quoting import named
from thumbtune.feedback.source import DEFAULT_READING, Reading, ShowsUnrated, Source, SourceRow
from thumbtune.feedback.sources.kinds import open_source
from thumbtune.feedback.store.erased_raters import ErasedRaters
from thumbtune.feedback.store.intake import VoteStatus
from thumbtune.feedback.store.store import NewVote, Store, VoteResult
from thumbtune.feedback.store.votes import check_text, key_of, without_controls
from thumbtune.files import sha256

__all__ = ["ImportReport", "Source", "SourceRow", "import_from", "import_likes"]

Progress = Callable[[Iterable[SourceRow]], Iterable[SourceRow]]
OUTVOTED = {
    VoteStatus.CONTRADICTED: "{rater} has voted the opposite later, outside of this source, and the latest vote "
    "counts; --correct takes the latest of this source instead",
    VoteStatus.UNDONE: "{rater}'s vote was undone since it was imported; --correct adds it again",
}
# of one transaction; they bound the memory, and the rows that a crash may lose
ROWS_AT_ONCE, BYTES_AT_ONCE = 5000, 64_000_000
OWN_EXPORT = (
    "These likes were exported from this store under pseudonyms, and every rater would count twice; import them into "
    "another store, as in --likes fresh, or export them with --names."
)


class Options(TypedDict, total=False):
    """The options of an import from any source; `import_from` explains them."""

    rater: str
    prompt: str | None
    strict: bool
    correct: bool
    allow_erased: bool
    dry_run: bool
    whole: bool
    progress: Progress


def import_likes(
    path: Path, store: Store, *, reading: Reading = DEFAULT_READING, kind: str | None = None, **options: Unpack[Options]
) -> ImportReport:
    """Import every like and dislike under `path`, and return the report: `kinds.open_source`, then `import_from`.

    Raises:
        ThumbtuneError: as for both.
    """
    options.setdefault("whole", reading.limit is None)
    return import_from(open_source(path, store.folder, reading, kind), store, name=str(path), **options)


def import_from(  # noqa: PLR0913 - this is the command `thumbtune import`, one argument for each option
    source: Source,
    store: Store,
    *,
    name: str,
    rater: str = "import",
    prompt: str | None = None,
    strict: bool = False,
    correct: bool = False,
    allow_erased: bool = False,
    dry_run: bool = False,
    whole: bool = True,
    progress: Progress = iter,
) -> ImportReport:
    """Import every like and dislike of a source, some hundred at a time; repeating it adds nothing.

    After Ctrl-C, a crash or an error the imported votes stay, and the same call continues.

    Args:
        source, store: where the votes come from and go to; errors call the source `name`.
        rater, prompt: of rows that name none.
        strict: import nothing if one row cannot be used; otherwise such rows are listed.
        correct: make the source's votes the latest in the store, and undo imported votes that it no longer contains.
        allow_erased: take the votes of raters who were erased; otherwise they are counted and left out.
        dry_run: report, and store nothing.
        whole: whether the source is read to its end; a part of it does not show which votes are missing.
        progress: wraps the source, as `rich.progress.track` does.

    Raises:
        Interrupted: Ctrl-C.
        ThumbtuneError: no row can be used, or with `strict` one cannot, or the disk is full.
        UsageError: the rater's name is empty.
    """
    if not rater.strip():
        raise UsageError("a rater needs a name; give one.", code="rater-no-name")
    with Changes() as changes:
        intake = _Intake(store, changes, rater.strip(), (prompt or "").strip(), correct, strict)
        intake.begin(whole, allow_erased)
        try:
            with store.transaction(rehearsal=dry_run) if strict or dry_run else nullcontext():
                intake.add_all(progress(_WithUnrated(source) if whole else source), name)
                intake.refuse_nothing(name)
        except KeyboardInterrupt as stop:
            if strict or dry_run:
                raise Interrupted("Stopped; nothing was imported.", code="import-rolled-back") from stop
            rows = plural(intake.flush(), "row was", "rows were")
            raise Interrupted(
                f"Stopped; {rows} imported, and the same command continues from there.", code="import-stopped"
            ) from stop
        return intake.report


class _WithUnrated:
    """A source with its images that have no vote, if it can yield them."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __length_hint__(self) -> int:
        return length_hint(self.source)

    def __iter__(self) -> Iterator[SourceRow]:
        return self.source.with_unrated() if isinstance(self.source, ShowsUnrated) else iter(self.source)


class _OfErased(Exception):
    """This row's rater was erased."""


class _Skipped(Exception):
    """This row cannot be used; the message says why."""


class _Intake:
    """Gathers rows, and stores each few hundred in one transaction."""

    def __init__(self, store: Store, changes: Changes, rater: str, prompt: str, correct: bool, strict: bool) -> None:
        self.store, self.changes, self.rater, self.prompt = store, changes, rater, prompt
        self.correct, self.strict = correct, strict
        self.report, self.stored = ImportReport(), 0
        self.newest = 0  # the id of the newest image before this import
        self.unrated = 0  # rows that show an image without a vote
        self.erased: ErasedRaters | None = None  # whose votes are left out; None: nobody's
        self._has_prompts = False
        self._pseudonyms: frozenset[str] | None = None  # of this store's raters in exports, once needed
        self._images = ImageFiles()
        self._votes: list[tuple[int, str, NewVote]] = []  # row, where, vote
        self._ranked: list[tuple[NewVote, bool]] = []  # the same votes, and whether each is the rater's first
        self._skipped: list[tuple[int, str, str]] = []  # row, where, why: sorted and listed with the votes
        self._bytes = 0

    def begin(self, whole: bool, allow_erased: bool) -> None:
        """Note what the store has before the import."""
        self.newest = self.store.newest() if whole else 0
        self.erased = None if allow_erased else self.store.erased_raters()

    def add_all(self, rows: Iterable[SourceRow], name: str) -> None:
        """Import all rows of a source, which errors call `name`, then reconcile the store with it.

        Raises:
            ThumbtuneError: with `strict`, a row cannot be used.
        """
        for row in rows:
            self.add(row)
            self.refuse_skipped(name)
        self.flush()
        self.refuse_skipped(name)
        for where, rater in self.changes.contradicted():
            self.report.add_skipped(where, OUTVOTED[VoteStatus.CONTRADICTED].format(rater=named(rater)))
        self.report.outdated = self.changes.outdated()
        self.withdraw()
        self.make_latest()

    def add(self, row: SourceRow) -> None:
        """Count one row, and gather its vote or list why it cannot be used."""
        row, given = settings_apart(row), row
        if row is not given:
            self.report.marks["settings"] += 1
        if row.unrated:
            self.unrated += 1
            self._add_unrated(row)
            return
        self.report.rows += 1
        if row.unread is not None or row.left_out:
            self.report.add_details(row)
        try:
            vote = self._vote(row)
        except _OfErased:
            self.report.erased += 1
            return
        except _Skipped as skipped:
            self._skipped.append((self.report.rows, row.where, str(skipped)))
            if len(self._skipped) >= ROWS_AT_ONCE:  # only the first thousand of them are kept
                self.flush()
            return
        self._votes.append((self.report.rows, row.where, vote))
        self._bytes += len(vote.data) if isinstance(vote.data, bytes) else 0
        if len(self._votes) >= ROWS_AT_ONCE or self._bytes >= BYTES_AT_ONCE:
            self.flush()

    def _vote(self, row: SourceRow) -> NewVote:
        """Return the row's vote.

        Raises:
            _OfErased: the rater was erased.
            _Skipped: a value is missing or invalid.
        """
        if row.liked is not None and self.erased is not None and (row.rater or self.rater) in self.erased:
            raise _OfErased
        prompt, marks = plain_prompt(without_controls(row.prompt or self.prompt), row.syntax)
        if row.liked is None and row.image is not None:
            self.report.without_label += 1
            if not row.problem:
                self._add_unrated(row)
            raise _Skipped(row.problem or NO_LABEL)
        if not prompt and row.image is not None:
            self.report.without_prompt += 1
            raise _Skipped(NO_PROMPT)
        self._refuse_own_export(row.rater)
        try:
            vote = checked_vote(row, prompt, row.rater or self.rater, self._images.content)
            if marks:
                self.report.marks.update(marks)
            return vote
        except ThumbtuneError as error:
            self.report.unreadable += 1
            raise _Skipped(str(error).rstrip(".")) from error

    def _refuse_own_export(self, rater: str | None) -> None:
        """Refuse an export of this very store under pseudonyms: every rater would count twice.

        Raises:
            UsageError: the rater is a pseudonym from an export of this store.
        """
        if rater is None or not PSEUDONYM.fullmatch(rater):
            return
        if self._pseudonyms is None:
            self._pseudonyms = pseudonyms_in(self.store)
        if rater in self._pseudonyms:
            raise UsageError(OWN_EXPORT, code="import-own-export")

    def _add_unrated(self, row: SourceRow) -> None:
        """Note an image without a vote, if the store may have one from before; only then is the image read."""
        prompt, _ = plain_prompt(without_controls(row.prompt or self.prompt), row.syntax)
        if not self.newest or row.image is None or not prompt:
            return
        if not self._has_prompts:
            self.changes.add_prompts(self.store.prompts(self.newest))
            self._has_prompts = True
        with suppress(ThumbtuneError):  # no store can have an unreadable image or an invalid name
            check_text(prompt, "prompt")
            check_text(row.rater or "", "rater")
            if self.changes.has_prompt(prompt):
                key = key_of(sha256(row.image()), prompt)
                self.changes.add_unrated(key, row.rater or self.rater, row.source)

    def withdraw(self) -> None:
        """Count the votes that the source no longer contains; with `correct`, undo them."""
        for unrated in self.changes.unrated():
            self.report.withdrawn += self.store.withdraw(unrated, undo=self.correct)

    def make_latest(self) -> None:
        """With `correct`, make the source's votes the latest where the store's differ."""
        for wanted in self.changes.corrections() if self.correct else ():
            for kind, was_opposite in self.store.make_latest(wanted):
                self.report.duplicates -= 1
                self.report.likes += kind == "like"
                self.report.dislikes += kind == "dislike"
                self.report.changed += was_opposite
                self.report.replaced += was_opposite

    def flush(self) -> int:
        """Store the gathered votes, and return how many rows were stored so far."""
        if self._votes and not self._ranked:
            self._ranked = self.changes.with_ranks([vote for *_, vote in self._votes])
            self.changes.add()
        votes, ranked = self._votes, self._ranked
        results = self.store.add_votes([vote for vote, _ in ranked]) if votes else []
        # cleared only now: after Ctrl-C amid `add_votes` the same votes are added again, which adds and counts nothing
        self._votes, self._ranked, self._bytes, self.stored = [], [], 0, self.stored + len(votes)
        for (number, where, _), (vote, is_first), result in zip(votes, ranked, results, strict=True):
            self.report.replaced += is_first and result is VoteStatus.CHANGED
            if result is VoteStatus.CONTRADICTED and not (self.correct or self.strict):
                self.changes.add_contradicted(number, where, vote)  # listed once all rows of the source are known
            if why := self._count(vote, result):
                self._skipped.append((number, where, why))
        for _, where, why in sorted(self._skipped):
            self.report.add_skipped(where, why)
        self._skipped = []
        return self.stored

    def refuse_skipped(self, name: str) -> None:
        """With `strict`, stop at the first row that cannot be used.

        Raises:
            ThumbtuneError: a row cannot be used.
        """
        if not self.strict:
            return
        if self._skipped:
            self.flush()  # a row before it may be one that only storing refuses; all is rolled back anyway
        if self.report.skipped:
            where, why = self.report.skipped[0]
            file = Path(name).name
            place = f"{name}{where.removeprefix(file)}" if file and where.startswith(f"{file},") else f"{name}: {where}"
            raise ThumbtuneError(f"{place}: {why}; nothing was imported.", code="import-unusable-row")

    def refuse_nothing(self, name: str) -> None:
        """Refuse a source that changes nothing and has no row to leave out on purpose.

        Raises:
            ThumbtuneError: no row of it can be used.
        """
        did_nothing = self.report.used == self.report.withdrawn == self.report.erased == 0
        if did_nothing and not (self.correct and self.unrated):
            raise _nothing_usable(name, self.report, self.unrated)

    def _count(self, vote: NewVote, result: VoteResult) -> str | None:
        """Count the result of adding a vote; return why its row is to be listed, or None."""
        report = self.report
        if isinstance(result, ThumbtuneError):
            report.unreadable += 1
            return str(result).rstrip(".")
        report.liked += vote.kind == "like"
        report.disliked += vote.kind == "dislike"
        if result in OUTVOTED or result is VoteStatus.DUPLICATE:
            report.duplicates += 1
            if result in OUTVOTED and self.correct:
                self.changes.add_outvoted(vote.key, vote.rater)
            is_listed = result is VoteStatus.UNDONE and not (self.correct or self.strict)
            return OUTVOTED[result].format(rater=named(vote.rater)) if is_listed else None
        report.likes += vote.kind == "like"
        report.dislikes += vote.kind == "dislike"
        report.changed += result is VoteStatus.CHANGED
        return None


def _nothing_usable(name: str, report: ImportReport, unrated: int) -> ThumbtuneError:
    if not report.rows and unrated:
        return ThumbtuneError(
            f"{name} has {plural(unrated, 'image')} and no likes or dislikes; sort the images into folders like "
            "and dislike, or set --label.",
            code="import-no-labels",
        )
    if not report.rows:
        return ThumbtuneError(
            f"{name} contains no rows and no images; put some there, or give another source.", code="import-empty"
        )
    counts = (
        f"{plural(report.rows, 'row')}: {report.without_label} without a label, "
        f"{report.without_prompt} without a prompt, "
        f"{report.unreadable} unreadable"
    )
    example = f"; the first: {report.skipped[0][0]}: {report.skipped[0][1]}" if report.skipped else ""
    return ThumbtuneError(f"{name} contains no usable row ({counts}){example}.", code="import-no-usable-row")
