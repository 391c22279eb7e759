"""Importing likes: look where they are, go through them once, keep what is whole, and list what is not."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.pictures import UnreadablePicture
from thumbtune.feedback.sources.folders import LikeFolders, nothing_here, opinion_folders
from thumbtune.feedback.sources.found import Found, Source
from thumbtune.feedback.sources.rows import METADATA_SUFFIXES
from thumbtune.feedback.sources.table import Table
from thumbtune.feedback.store import Picture, Store, is_store
from thumbtune.feedback.votes import Kind, check_picture, check_text, derived_id

__all__ = ["Found", "ImportReport", "Source", "find_source", "import_likes"]

Progress = Callable[[Iterable[Found]], Iterable[Found]]
NO_LABEL = "it has no label that says like or dislike; write true or false, or remove it"
CONTRADICTED = "{rater} said this before and something else since, and the last word stands"
NO_PROMPT = "it has no prompt; add one, or give one prompt for all"


@dataclass(kw_only=True)
class ImportReport:
    """What an import did; `rows` is the sum of the six counts after it.

    `changed` counts the new votes that replaced the opposite opinion of a rater. `skipped` lists
    (where, why) of rows that could not be used, and of duplicates that their rater has since contradicted.
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


def find_source(path: Path, likes: Path) -> Source:
    """Look at `path` and choose how to read it, for the store in `likes`: like/ and dislike/, or a metadata file.

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
    place = likes.resolve()
    if place == root.resolve() or any(place.is_relative_to(folder.resolve()) for folder in own):
        raise ThumbtuneError(
            f"{likes} lies among what is to be imported; keep the store elsewhere, as in --likes thumbs."
        )
    return source


def _table_in_file(file: Path) -> Source:
    if file.suffix.lower() not in METADATA_SUFFIXES:
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
    return ", ".join(METADATA_SUFFIXES[:-1]) + f" or {METADATA_SUFFIXES[-1]}"


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
    """Import every like and dislike under `path`, all or none; a second time adds nothing.

    `rater` and `prompt` are for rows that name none. `strict` refuses everything if one row cannot be used;
    otherwise such rows are listed. A `dry_run` reports and keeps nothing. `progress` wraps the source, as
    `rich.progress.track` does.

    Raises:
        ThumbtuneError: nothing is usable, or with `strict` something is not, or the disk is full. The store
            is as it was.
    """
    source, report = find_source(path, store.folder), ImportReport()
    with store.transaction(rehearsal=dry_run):
        for found in progress(source):
            why = _take(found, store, report, rater, (prompt or "").strip())
            if why and strict:
                raise ThumbtuneError(f"{path}: {found.where}: {why}; nothing was imported.")
        if report.likes + report.dislikes + report.duplicates == 0:
            raise _nothing_usable(path, report)
    return report


class _Skipped(Exception):
    """This row cannot be used; the message says why."""


def _take(found: Found, store: Store, report: ImportReport, rater: str, prompt_for_all: str) -> str | None:
    """Count one row and keep it, or list it and return why it cannot be used."""
    report.rows += 1
    try:
        _keep(found, store, report, rater, found.prompt or prompt_for_all)
    except _Skipped as skipped:
        report.skipped.append((found.where, str(skipped)))
        return str(skipped)
    return None


def _keep(found: Found, store: Store, report: ImportReport, rater: str, prompt: str) -> None:
    """Put a row's picture and vote into the store.

    Raises:
        _Skipped: something is missing, or the picture is broken.
    """
    if found.liked is None and found.image is not None:
        report.without_label += 1
        raise _Skipped(NO_LABEL)
    if not prompt and found.image is not None:
        report.without_prompt += 1
        raise _Skipped(NO_PROMPT)
    try:
        image = _checked(found, prompt)
        picture = store.add_picture(image, prompt, seed=found.seed, model=found.model, source=found.source)
    except UnreadablePicture as error:
        report.unreadable += 1
        raise _Skipped(str(error)) from error
    _keep_vote(found, picture, store, report, found.rater or rater)


def _checked(found: Found, prompt: str) -> bytes:
    """The image, once nothing is wrong with the row itself (the store may still be full).

    Raises:
        UnreadablePicture: there is no picture, or a cell holds what no store can.
    """
    if found.image is None:
        raise UnreadablePicture(found.problem or "there is no picture; put it there or remove the row")
    try:
        check_picture(prompt, found.seed)
        for what in ("rater", "model", "source"):
            check_text(getattr(found, what) or "", what)
    except ThumbtuneError as error:
        raise UnreadablePicture(str(error).rstrip(".")) from error
    return found.image()


def _keep_vote(found: Found, picture: Picture, store: Store, report: ImportReport, rater: str) -> None:
    """Vote under an id that follows from what is said, so that saying it again is recognised."""
    kind: Kind = "like" if found.liked else "dislike"
    name = derived_id(picture.sha256, picture.prompt, rater, kind)
    before = store.opinion(picture, rater)
    if store.holds_vote(name):
        report.duplicates += 1
        if before != found.liked:
            report.skipped.append((found.where, CONTRADICTED.format(rater=rater)))
        return
    store.vote(picture, kind, rater=rater, vote_id=name, weight=found.weight, created_at=found.created_at)
    report.likes += kind == "like"
    report.dislikes += kind == "dislike"
    report.changed += before is not None and before != found.liked


def _nothing_usable(path: Path, report: ImportReport) -> ThumbtuneError:
    counts = (
        f"{report.rows} rows: {report.without_label} without a label, "
        f"{report.without_prompt} without a prompt, "
        f"{report.unreadable} unreadable"
    )
    example = f"; the first: {report.skipped[0][0]}: {report.skipped[0][1]}" if report.skipped else ""
    return ThumbtuneError(f"{path} holds nothing that can be used ({counts}){example}.")
