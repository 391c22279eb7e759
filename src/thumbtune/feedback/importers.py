"""Importing likes: look where they are, go through them once, keep what is whole, and list what is not."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from operator import length_hint
from pathlib import Path
from typing import TypedDict, Unpack

from thumbtune.errors import Interrupted, ThumbtuneError, UsageError, plural
from thumbtune.feedback.changes import Heard
from thumbtune.feedback.exporters.raters import HIDDEN, own_names
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.shown import named
from thumbtune.feedback.source import DEFAULT_READING, Reading, ShowsUnrated, Source, SourceRow
from thumbtune.feedback.sources.kinds import open_source
from thumbtune.feedback.store.intake import Became
from thumbtune.feedback.store.store import Outcome, Store, Thumb
from thumbtune.feedback.store.votes import Kind, check_image, check_text, check_vote, chosen_id, key_of
from thumbtune.files import sha256

__all__ = ["ImportReport", "Source", "SourceRow", "import_from", "import_likes"]

Progress = Callable[[Iterable[SourceRow]], Iterable[SourceRow]]
NO_LABEL = "it has no label that says like or dislike; write true or false, or remove it"
SINCE = {
    Became.CONTRADICTED: "it was said before and the opposite since, by {rater}; the last word stands, unless "
    "--correct says it anew",
    Became.TAKEN_BACK: "it was said before by {rater} and taken back since; --correct says it anew",
}
# of one transaction: what is in memory, and what a crash may lose
ROWS_AT_ONCE, BYTES_AT_ONCE = 500, 64_000_000
LISTED = 1000  # rows that could not be used: a million of them would fill a memory, and nobody reads so many
OWN = (
    "These likes were exported from this store, under other names, and every rater would count twice; import them "
    "into another store, as in --likes fresh, or export them with --names."
)
NO_PROMPT = (
    "it has no prompt; add one, or give one for all, as in --prompt 'a cat', or say which column of a table it is, as "
    "in --map prompt=caption"
)


class Options(TypedDict, total=False):
    """How to import, whatever the source; `import_from` says what they mean."""

    rater: str
    prompt: str | None
    strict: bool
    correct: bool
    dry_run: bool
    whole: bool
    progress: Progress


@dataclass(kw_only=True)
class ImportReport:
    """What an import did; `rows` is the sum of the six counts after it.

    `changed` counts the new votes that replaced the opposite opinion of a rater. `withdrawn` counts the images whose
    thumb from before the source no longer gives; with `correct` they were taken back. `skipped` lists (where, why) of
    rows that could not be used, and of duplicates that their rater has since contradicted; `unlisted` counts those
    after the first thousand.
    """

    rows: int = 0
    likes: int = 0
    dislikes: int = 0
    duplicates: int = 0
    without_prompt: int = 0
    unreadable: int = 0
    without_label: int = 0
    changed: int = 0
    withdrawn: int = 0
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


def import_likes(
    path: Path, store: Store, *, reading: Reading = DEFAULT_READING, kind: str | None = None, **options: Unpack[Options]
) -> ImportReport:
    """Import every like and dislike under `path`: `kinds.open_source`, then `import_from`.

    Raises:
        ThumbtuneError: as both do.
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
    dry_run: bool = False,
    whole: bool = True,
    progress: Progress = iter,
) -> ImportReport:
    """Import every like and dislike of a source, some hundred at a time; a second time adds nothing.

    After Ctrl-C, a crash or an error what was imported stays, and the same call goes on. `name` is how sentences call
    the source. `rater` and `prompt` are for rows that name none. `strict` refuses everything if one row cannot be
    used; otherwise such rows are listed. With `correct`, what the source says last of an image is said anew where it
    is not its rater's last word, and what the source shows without a thumb is taken back. A `dry_run` reports and keeps
    nothing. `whole`: whether the source is read to its end; a part of it tells nothing of what it gives no thumb.
    `progress` wraps the source, as `rich.progress.track` does.

    Raises:
        Interrupted: Ctrl-C.
        ThumbtuneError: nothing is usable, or with `strict` something is not, or the disk is full.
        UsageError: the rater has no name.
    """
    if not rater.strip():
        raise UsageError("a rater needs a name; give one.")
    with Heard(correct) as heard:
        intake = _Intake(store, heard, rater.strip(), (prompt or "").strip(), correct, strict)
        intake.newest = store.newest() if whole else 0
        try:
            with store.transaction(rehearsal=dry_run) if strict or dry_run else nullcontext():
                intake.take_all(progress(_Everything(source) if whole else source), name)
                if intake.report.used == intake.report.withdrawn == 0 and not (correct and intake.shown):
                    raise _nothing_usable(name, intake.report, intake.shown)
        except KeyboardInterrupt as stop:
            if strict or dry_run:
                raise Interrupted("Stopped; nothing was kept.") from stop
            intake.flush()
            raise Interrupted(
                f"Stopped; {plural(intake.kept, 'thumb was', 'thumbs were')} kept, and the same "
                "command goes on from there."
            ) from stop
        return intake.report


class _Everything:
    """A source with the images that it shows and gives no thumb, if it is of those that do."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __length_hint__(self) -> int:
        return length_hint(self.source)

    def __iter__(self) -> Iterator[SourceRow]:
        return self.source.with_unrated() if isinstance(self.source, ShowsUnrated) else iter(self.source)


class _Skipped(Exception):
    """This row cannot be used; the message says why."""


class _Intake:
    """Rows gathered until there are enough of them, then kept in one transaction."""

    def __init__(self, store: Store, heard: Heard, rater: str, prompt: str, correct: bool, strict: bool) -> None:
        self.store, self.heard, self.rater, self.prompt = store, heard, rater, prompt
        self.correct, self.strict = correct, strict
        self.report, self.kept = ImportReport(), 0
        self.newest = self.shown = 0  # the newest image of before; how many have no thumb here
        self._remembers = False
        self._known_by: frozenset[str] | None = None  # what exports call the raters of this store, once that is asked
        self._rows: list[tuple[int, str, Thumb]] = []
        self._troubles: list[tuple[int, str, str]] = []  # row, where, why: sorted and listed with what was gathered
        self._bytes = 0

    def take_all(self, rows: Iterable[SourceRow], name: str) -> None:
        """Keep a whole source, as sentences call it: its rows, then what it says of the store by giving none.

        Raises:
            ThumbtuneError: it is to be strict, and a row cannot be used.
        """
        for found in rows:
            self.take(found)
            self.refuse_trouble(name)
        self.flush()
        self.refuse_trouble(name)
        self.withdraw()
        self.overrule()

    def take(self, found: SourceRow) -> None:
        """Count one row, and gather it or list why it cannot be used."""
        if found.unrated:
            self.shown += 1
            self._say_nothing(found)
            return
        self.report.rows += 1
        try:
            thumb = self.heard.with_rank(self._thumb(found))
        except _Skipped as skipped:
            self._troubles.append((self.report.rows, found.where, str(skipped)))
            if len(self._troubles) >= ROWS_AT_ONCE:  # of many rows that cannot be used few are listed
                self.flush()
            return
        self._rows.append((self.report.rows, found.where, thumb))
        self._bytes += len(thumb.data)
        if len(self._rows) >= ROWS_AT_ONCE or self._bytes >= BYTES_AT_ONCE:
            self.flush()

    def _thumb(self, found: SourceRow) -> Thumb:
        """The row as a thumb.

        Raises:
            _Skipped: something is missing, or cannot be.
        """
        prompt = found.prompt or self.prompt
        if found.liked is None and found.image is not None:
            self.report.without_label += 1
            if not found.problem:
                self._say_nothing(found)
            raise _Skipped(found.problem or NO_LABEL)
        if not prompt and found.image is not None:
            self.report.without_prompt += 1
            raise _Skipped(NO_PROMPT)
        self._refuse_own(found.rater)
        try:
            return _checked(found, prompt, found.rater or self.rater)
        except ThumbtuneError as error:
            self.report.unreadable += 1
            raise _Skipped(str(error).rstrip(".")) from error

    def _refuse_own(self, rater: str | None) -> None:
        """Refuse what was exported from this very store under other names: everybody would count twice.

        Raises:
            UsageError: a rater is called as this store's exports call somebody.
        """
        if rater is None or not HIDDEN.fullmatch(rater):
            return
        if self._known_by is None:
            self._known_by = own_names(self.store)
        if rater in self._known_by:
            raise UsageError(OWN)

    def _say_nothing(self, found: SourceRow) -> None:
        """Note that an image gets no thumb, if the store may have one of it: only such are read."""
        prompt = found.prompt or self.prompt
        if not self.newest or found.image is None or not prompt:
            return
        if not self._remembers:
            self.heard.remember_prompts(self.store.prompts(self.newest))
            self._remembers = True
        with suppress(ThumbtuneError):  # it cannot be read, or is of nobody whom a store could know
            check_text(prompt, "prompt")
            check_text(found.rater or "", "rater")
            if self.heard.knows(prompt):
                key = key_of(sha256(found.image()), prompt)
                self.heard.say_nothing(key, found.rater or self.rater, found.source)

    def withdraw(self) -> None:
        """Count what the source no longer gives, or take it back."""
        for silences in self.heard.silences():
            self.report.withdrawn += self.store.silence(silences, self.correct)

    def overrule(self) -> None:
        """With `correct`, let what the source says last be the last word."""
        for wishes in self.heard.last() if self.correct else ():
            for kind, opposite in self.store.say_anew(wishes):
                self.report.duplicates -= 1
                self.report.likes += kind == "like"
                self.report.dislikes += kind == "dislike"
                self.report.changed += opposite

    def flush(self) -> None:
        """Keep what was gathered."""
        rows = self._rows
        outcomes = self.store.keep([thumb for *_, thumb in rows]) if rows else []
        # only now: after Ctrl-C amid this the same rows are kept again, which adds nothing, and counted once
        self._rows, self._bytes, self.kept = [], 0, self.kept + len(rows)
        for (number, where, thumb), outcome in zip(rows, outcomes, strict=True):
            if why := self._count(thumb, outcome):
                self._troubles.append((number, where, why))
        for _, where, why in sorted(self._troubles):
            self.report.add_trouble(where, why)
        self._troubles = []

    def refuse_trouble(self, name: str) -> None:
        """Where it is to be strict, stop at the first row that cannot be used.

        Raises:
            ThumbtuneError: there is one.
        """
        if not self.strict:
            return
        known = self.report.skipped or [(where, why) for _, where, why in sorted(self._troubles)]
        if known:
            raise ThumbtuneError(f"{name}: {known[0][0]}: {known[0][1]}; nothing was imported.")

    def _count(self, thumb: Thumb, outcome: Outcome) -> str | None:
        """Count what became of a row; what is to be listed of it."""
        report = self.report
        if isinstance(outcome, ThumbtuneError):
            report.unreadable += 1
            return str(outcome).rstrip(".")
        if outcome in SINCE or outcome is Became.KNOWN:
            report.duplicates += 1
            if outcome in SINCE and self.correct:
                self.heard.differs(thumb.key, thumb.rater)
            told = outcome in SINCE and not (self.correct or self.strict)
            return SINCE[outcome].format(rater=named(thumb.rater)) if told else None
        report.likes += thumb.kind == "like"
        report.dislikes += thumb.kind == "dislike"
        report.changed += outcome is Became.CHANGED
        return None


def _checked(found: SourceRow, prompt: str, rater: str) -> Thumb:
    """A row once nothing is wrong with it (the store may still be full).

    Raises:
        ThumbtuneError: there is no image, or a cell holds what no store can.
    """
    if found.image is None:
        raise UnreadableImage(found.problem or "there is no image; put it there or remove the row")
    kind: Kind = "like" if found.liked else "dislike"
    check_image(prompt, found.seed)
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


def _nothing_usable(name: str, report: ImportReport, shown: int) -> ThumbtuneError:
    if not report.rows and shown:
        return ThumbtuneError(
            f"{name} has {plural(shown, 'image')} and no thumb; say which are liked, as in folders like and dislike."
        )
    if not report.rows:
        return ThumbtuneError(f"{name} holds no rows and no images; put some there, or give another source.")
    counts = (
        f"{plural(report.rows, 'row')}: {report.without_label} without a label, "
        f"{report.without_prompt} without a prompt, "
        f"{report.unreadable} unreadable"
    )
    example = f"; the first: {report.skipped[0][0]}: {report.skipped[0][1]}" if report.skipped else ""
    return ThumbtuneError(f"{name} holds nothing that can be used ({counts}){example}.")
