"""The commands about likes: import, statistics, export, erasing a rater, upgrading the store."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from thumbtune.cli.erasure_report import has_voted, print_erased_in_studio
from thumbtune.cli.event_log import Feedback, opened_log
from thumbtune.cli.import_report import MAX_PRINTED, print_reading, print_report
from thumbtune.cli.progress import bar
from thumbtune.cli.terminal import counts, quieten, say
from thumbtune.cli.unrated import Unrated, import_without_votes, label_with
from thumbtune.errors import ThumbtuneError, UsageError, note, plural
from thumbtune.feedback.quoting import named
from thumbtune.feedback.source import PairPolicy, Reading

if TYPE_CHECKING:
    from thumbtune.feedback.importers import Options
    from thumbtune.feedback.source import Source, SourceRow
    from thumbtune.feedback.stats import Stats
    from thumbtune.feedback.store.store import Store

likes_app = typer.Typer(
    help="Show statistics of the likes, export or push them, or erase a rater.", no_args_is_help=True
)
AGREEMENT = "agreement (kappa is 1 if raters always agree, 0 if as often as by chance, and below 0 if less often)"
Likes = Annotated[str, typer.Option(help="The store of likes: a folder, or postgresql://user@host/database.")]

As = Annotated[str | None, typer.Option("--as", help="The kind of source, if it is not recognised.")]
Map = Annotated[str | None, typer.Option("--map", help="The columns of a table: image=jpg,prompt=caption,label=liked.")]
MapLabel = Annotated[
    str | None,
    typer.Option("--map-label", help="The meaning of your own labels: 'Like it=like,Reject=dislike,Meh=skip'."),
]
Label = Annotated[
    Literal["like", "dislike"] | None, typer.Option(help="The label of images without one, such as saved favourites.")
]
LikeAt = Annotated[float | None, typer.Option(help="Ratings of at least this number are likes, lower ones dislikes.")]
Policy = Annotated[
    PairPolicy,
    typer.Option(
        help="The images of pairs that become likes (before _) and dislikes (after _): w won all its pairs, l "
        "lost all, i won some and lost some."
    ),
]
Split = Annotated[str | None, typer.Option(help="The split of a data set to read.")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Largest number of rows to read, also to determine the scale of ratings.")
]
Root = Annotated[Path | None, typer.Option(help="The folder that contains the images named by a table.")]
Download = Annotated[bool, typer.Option("--allow-download", help="Download images from URLs.")]
Encoding = Annotated[str | None, typer.Option(help="The encoding of text that is not UTF-8, such as cp1252.")]
Images = Annotated[str | None, typer.Option(help="The location of a new store's images: a folder, s3://..., gs://....")]

From = Annotated[str, typer.Argument(help="A file, folder or URL with likes; `thumbtune likes kinds` lists the kinds.")]
Correct = Annotated[
    bool,
    typer.Option(
        "--correct", help="Make the source's votes the latest, and undo imported votes that it no longer contains."
    ),
]
AllowErased = Annotated[
    bool, typer.Option("--allow-erased", help="Take the votes of raters who were erased from the store.")
]


def import_(
    source: From,
    *,
    likes: Likes = "likes",
    kind: As = None,
    columns: Map = None,
    words: MapLabel = None,
    label: Label = None,
    like_at: LikeAt = None,
    policy: Policy = "wi_l",
    split: Split = None,
    limit: Limit = None,
    root: Root = None,
    allow_download: Download = False,
    encoding: Encoding = None,
    prompt: Annotated[str | None, typer.Option(help="The prompt of images without one.")] = None,
    rater: Annotated[str, typer.Option(help="The rater of rows without one.")] = "me",
    images: Images = None,
    strict: Annotated[bool, typer.Option("--strict", help="Import nothing if any row cannot be used.")] = False,
    correct: Correct = False,
    allow_erased: AllowErased = False,
    unrated: Unrated = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the rows, and write nothing.")] = False,
) -> None:
    """Import likes and dislikes into the store."""
    quieten()
    from thumbtune.feedback.importers import Options
    from thumbtune.feedback.reading.columns import parse_map
    from thumbtune.feedback.reading.own_words import parse_map_label
    from thumbtune.feedback.sources.kinds import open_source
    from thumbtune.feedback.store.database import is_address
    from thumbtune.runs.bundled_words import unknown_note

    label = label_with(unrated, label, strict, correct)
    reading = Reading(
        columns=parse_map(columns) if columns else {}, like_at=like_at, policy=policy, split=split, limit=limit,
        root=root, allow_download=allow_download, encoding=encoding, label=None if label is None else label == "like",
        words=parse_map_label(words) if words else {},
    )  # fmt: skip
    # raises before a store is made
    rows = open_source(source, None if is_address(likes) else Path(likes), reading, kind)
    if unrated:
        return import_without_votes(rows, _store_for(likes, images, dry_run), likes, prompt, dry_run)
    drawn: dict[str, None] = {}  # the prompts that the bundled model was given
    options: Options = {"rater": rater, "prompt": prompt, "strict": strict, "correct": correct}
    options |= {"allow_erased": allow_erased, "dry_run": dry_run, "whole": limit is None}
    options["progress"] = lambda found: _noting_prompts(bar(found, "Importing"), drawn)
    _import(source, rows, likes, images, options)
    if (unknown := unknown_note(drawn)) is not None:
        note(unknown)


def _noting_prompts(rows: "Iterable[SourceRow]", drawn: dict[str, None]) -> "Iterator[SourceRow]":
    """Yield rows, and note the prompts of images that the bundled model made."""
    from thumbtune.runs.bundled_words import is_of_bundled

    for row in rows:
        if row.prompt and is_of_bundled(row.model):
            drawn[row.prompt] = None
        yield row


def _import(name: str, rows: "Source", likes: str, images: str | None, options: "Options") -> None:
    """Import the rows of a source, and print everything about it."""
    from thumbtune.feedback.enough import ENOUGH_PROMPTS, verdict_note
    from thumbtune.feedback.importers import import_from
    from thumbtune.feedback.store.database import name_of

    dry_run, few, counted = options.get("dry_run", False), None, None
    try:
        with _store_for(likes, images, dry_run) as store:
            report = import_from(rows, store, name=name, **options)
            if not dry_run:
                counted = store.counts()
                few = verdict_note(store.distinct_prompts(ENOUGH_PROMPTS))
    except ThumbtuneError:
        print_reading(rows, err=True)  # it shows why there was nothing to import
        raise
    print_report(report, rows, dry_run, options.get("correct", False))
    if counted is None:
        say("Nothing was written (--dry-run).")
    else:
        say(f"Imported into {name_of(likes)}. {_next(likes, counted.likes, counted.dislikes)}")
    if few:
        say(few)


def _next(likes: str, liked: int, disliked: int) -> str:
    """Return what to do after an import: train, or what a store with labels of one kind lacks for a training."""
    from thumbtune.feedback.store.database import name_of

    to = f"--likes {quote(name_of(likes))}"
    if liked and disliked:
        return f"Next: thumbtune train {to}"
    if not (liked or disliked):
        return "Its latest votes hold no like and no dislike, so no training can begin yet."
    if not liked:
        return f"It holds no like yet, and a training needs some: thumbtune import FOLDER --label like {to}"
    return (
        f"It holds no dislike yet. Next: thumbtune import FOLDER --label dislike {to}, or to learn from likes alone: "
        f"thumbtune train {to} --objective sft"
    )


@contextmanager
def _store_for(likes: str, images: str | None, dry_run: bool) -> "Iterator[Store]":
    """Open the store for an import; for a dry run a temporary one, with a copy of the votes of a folder's store.

    A store made for this import is removed again if the import fails, nothing was added and nobody else has it open.
    """
    from thumbtune.feedback.rehearsal import needs_copy, rehearsed
    from thumbtune.feedback.store.database import is_address
    from thumbtune.feedback.store.location import is_made, remove_if_empty
    from thumbtune.feedback.store.store import Store

    if dry_run and needs_copy(likes):
        with rehearsed(likes) as store:
            yield store
        return
    if images is not None and images.startswith("memory:"):
        raise UsageError(
            f"Images at {images} would be lost when this command ends; name a folder, s3://... or gs://....",
            code="images-in-memory",
        )
    folder_existed, store_existed = Path(likes).exists(), is_made(likes)
    try:
        with Store.open(likes, images=images) as store:
            yield store
    except ThumbtuneError:
        if not (store_existed or is_address(likes)):
            with suppress(ThumbtuneError):  # the error of the import is the one to be read
                remove_if_empty(Path(likes), with_folder=not folder_existed)
        raise


@likes_app.command()
def kinds() -> None:
    """List the kinds of sources that likes can be imported from."""
    from thumbtune.feedback.sources.kinds import KINDS

    for kind in KINDS:
        say(f"  {kind.name:<14}{kind.description}")


@likes_app.command()
def stats(
    likes: Feedback = "likes",
    columns: Map = None,
    words: MapLabel = None,
    like_at: LikeAt = None,
    root: Root = None,
    prompt: Annotated[str | None, typer.Option(help="The prompt of an event log's rows without one.")] = None,
    rater: Annotated[str, typer.Option(help="The rater of an event log's rows without one.")] = "me",
    split: Split = None,
) -> None:
    """Show the number of likes and dislikes, their balance, and the agreement of raters."""
    from thumbtune.feedback.enough import ENOUGH_PROMPTS, verdict_note
    from thumbtune.feedback.stats import chance_note, disagreement_note, stats_of
    from thumbtune.feedback.store.store import Store

    log = opened_log(likes, columns, words, like_at=like_at, root=root, prompt=prompt, rater=rater, split=split)
    kind = "store" if log is None else "event log"
    with log or Store.open(likes, create=False) as store:
        numbers, few = stats_of(store), verdict_note(store.distinct_prompts(ENOUGH_PROMPTS), kind)
    for title, section in _sections(numbers, kind).items():
        say(title)
        counts(section)
    if (more := len(numbers.pairs) - MAX_PRINTED) > 0:
        say(f"  ... and {plural(more, 'more pair')} of raters")
    for sentence in filter(None, (disagreement_note(numbers), chance_note(numbers), few)):
        say(sentence)


def _sections(stats: "Stats", name: str) -> dict[str, Mapping[str, int | str]]:
    """Return the numbers of each section by its title."""
    totals: dict[str, int | str] = {
        "images (an image has one prompt)": stats.images,
        "distinct images": stats.distinct_images,
        "distinct images with several prompts": stats.multi_prompt_images,
        "distinct prompts": stats.prompts,
        "images without a like or dislike": stats.unlabelled,
        "votes, with undos, skips and repetitions": stats.votes,
        "latest votes of a rater on an image": stats.labels,
    }
    balances = {
        balance.policy: _share(balance.likes, balance.dislikes, f"{balance.undecided:,} undecided")
        for balance in stats.balances
    }
    short = _short_names([rater.name for rater in stats.raters])
    raters = {short[rater.name]: _share(rater.likes, rater.dislikes) for rater in stats.raters}
    title = "raters" if stats.all_raters == len(raters) else f"raters, the busiest {len(raters)} of {stats.all_raters}"
    agreement: dict[str, int | str] = {
        "images with two raters or more": stats.shared,
        "images liked by some and disliked by others": stats.contradicted,
        "agreement of all raters (Fleiss' kappa)": _kappa(stats.fleiss),
    }
    for pair in sorted(stats.pairs[:MAX_PRINTED], key=lambda pair: (pair.first, pair.second)):
        agreement[f"{short[pair.first]} and {short[pair.second]} (Cohen's kappa)"] = (
            f"{_kappa(pair.kappa)}, {pair.agreed:,} of {pair.images:,} alike"
        )
    return {name: totals, "labels by policy": balances, title: raters, AGREEMENT: agreement}


def _short_names(names: list[str]) -> dict[str, str]:
    """Return raters' names shortened for a terminal, and still distinct."""
    shortened: dict[str, str] = {}
    for name in names:
        short = named(name)
        is_taken = short in shortened.values()
        shortened[name] = f"{short} ({len(shortened) + 1})" if is_taken else short
    return shortened


def _share(likes: int, dislikes: int, *more: str) -> str:
    share = f"{likes / (likes + dislikes):.1%} liked" if likes + dislikes else "none"
    return ", ".join([f"{plural(likes, 'like')}, {plural(dislikes, 'dislike')}", share, *more])


def _kappa(value: float | None) -> str:
    return "none" if value is None else f"{value:z.2f}"


@likes_app.command("export")
def export_(
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet, or is empty.")],
    *,
    likes: Likes = "likes",
    form: Annotated[
        Literal["parquet", "datasets", "folder", "webdataset"], typer.Option("--as", help="The format of the files.")
    ] = "parquet",
    policy: Annotated[
        str | None,
        typer.Option(
            help="Write one label for each image, by majority, unanimous, ... Default: a row for each rater's latest "
            "vote on an image."
        ),
    ] = None,
    names: Annotated[
        bool, typer.Option("--names", help="Write the names of raters instead of pseudonyms such as rater-7f3a....")
    ] = False,
) -> None:
    """Write each rater's latest like or dislike on an image, with the image, for Thumbtune and other programs.

    It is no backup: earlier votes, undos, skips and images without a vote stay in the store.
    Raters get pseudonyms. Their reasons, the prompts, times and the metadata inside images stay as they are.
    """
    from thumbtune.feedback.exporters.export import export
    from thumbtune.feedback.store.store import Store

    with Store.open(likes, create=False) as store:
        report = export(store, out, form, policy=policy, names=names, progress=lambda rows: bar(rows, "Exporting"))
    without = f", {plural(report.undecided, 'image')} without a label" if policy else ""
    skips = plural(report.skips, "skip", "skips")
    without += "" if policy else f"; each is a rater's latest vote on an image; earlier votes and {skips} are left out"
    labels = f"{plural(report.likes, 'like')}, {plural(report.dislikes, 'dislike')}"
    say(f"{plural(report.rows, 'row')}: {labels}{without}.")
    say(f"The export is in {out}. Import it into another store: thumbtune import {quote(str(out))} --likes fresh")


@likes_app.command()
def erase(
    rater: Annotated[str, typer.Argument(help="The rater whose votes are deleted permanently.")],
    likes: Likes = "likes",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete all votes of a rater and their answers to blind tests, and print what else changes."""
    from thumbtune.feedback.store.store import Store
    from thumbtune.runs.trained_on import runs_on
    from thumbtune.studio.erasure import erase_in_studio, is_known
    from thumbtune.studio.site import folder_of

    with Store.open(likes, create=False) as store:
        folder = folder_of(likes, store.name)
        only_there = is_known(folder, rater) and not has_voted(store, rater)
        if not only_there:
            store.check_rater(rater)
        if not yes:
            _ask(f"Delete all votes of {named(rater)} in {store.name} for good?")
        print_erased_in_studio(erase_in_studio(store, folder, rater), rater)
        if only_there:
            return
        erased = store.erase(rater)
    if erased.resumed:
        say(f"The erasure of {named(rater)} was interrupted before; it is complete now.")
    say(f"{plural(erased.votes, 'vote')} of {named(rater)} {'was' if erased.votes == 1 else 'were'} deleted.")
    if erased.unlabelled:
        is_left = "image has no like or dislike left; it stays"
        say(f"{plural(erased.unlabelled, is_left, 'images have no like or dislike left; they stay')} in the store.")
    if erased.majority_changed:
        say(f"{plural(erased.majority_changed, 'image has', 'images have')} a different majority now.")
    say(
        "An import leaves out the votes of this rater from now on. Delete them in their sources too: another store "
        "would import them."
    )
    trained = ", ".join(map(str, runs_on(likes)))
    say(
        f"Runs trained on these votes still contain them in their likes.parquet: {trained}; train them again."
        if trained
        else "Runs trained on these votes still contain them in their likes.parquet, and name the store in their "
        "recipe.yaml (`likes`); train them again."
    )
    say("Exports of these votes still contain them; delete them, and export again.")


def _ask(question: str) -> None:
    """Ask a person to agree.

    Raises:
        UsageError: there is no terminal, and so no person.
        typer.Abort: the person does not agree.
    """
    try:
        typer.confirm(question, abort=True)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        raise UsageError("No terminal is here to agree; add --yes.", code="no-terminal") from None


@likes_app.command()
def upgrade(likes: Likes = "likes") -> None:
    """Upgrade a store on a server to this version of Thumbtune; a store in a folder is upgraded when it is opened."""
    from thumbtune.feedback.store.database import name_of
    from thumbtune.feedback.store.location import upgrade_store

    before, after = upgrade_store(likes)
    was = "was up to date already" if before == after else f"was upgraded from schema {before}"
    say(f"{name_of(likes)} {was} (schema {after}).")
