"""The commands about likes: bringing them in, looking at them, taking them out."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from thumbtune.cli.terminal import bar, counts, quieten, say
from thumbtune.errors import ThumbtuneError, UsageError, plural
from thumbtune.feedback.shown import named
from thumbtune.feedback.source import PairPolicy, Reading

if TYPE_CHECKING:
    from thumbtune.feedback.importers import ImportReport
    from thumbtune.feedback.source import Source
    from thumbtune.feedback.sources.preferences import Counts
    from thumbtune.feedback.stats import Stats
    from thumbtune.feedback.store.store import Store

ONE = {"likes": "like", "dislikes": "dislike", "duplicates": "duplicate"}
SHOWN = 20  # rows that could not be used and are named one by one
likes_app = typer.Typer(help="Look at the likes, export them, erase a rater.", no_args_is_help=True)
Likes = Annotated[str, typer.Option(help="Folder of the store of likes, or postgresql://user@host/database.")]


As = Annotated[str | None, typer.Option("--as", help="What kind of source it is, if that is not seen.")]
Map = Annotated[
    str | None, typer.Option("--map", help="What a table calls things: image=jpg,prompt=caption,label=liked.")
]
Label = Annotated[
    Literal["like", "dislike"] | None, typer.Option(help="A thumb for all that have none, such as saved favourites.")
]
LikeAt = Annotated[float | None, typer.Option(help="Ratings from here up are likes, those below dislikes.")]
Policy = Annotated[
    PairPolicy, typer.Option(help="Of images compared in pairs (won, at times, lost): which are liked _ disliked.")
]
Split = Annotated[str | None, typer.Option(help="Which split of a data set.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Read so many rows and no more, to tell scales too.")]
Root = Annotated[Path | None, typer.Option(help="The folder that the images a table names lie below.")]
Download = Annotated[bool, typer.Option("--allow-download", help="Follow addresses on the web.")]
Encoding = Annotated[str | None, typer.Option(help="Of text that is not UTF-8, such as cp1252.")]
Images = Annotated[str | None, typer.Option(help="Where a new store keeps its images: a folder, s3://..., gs://....")]


def import_(
    source: Annotated[str, typer.Argument(help="Where the likes are; `thumbtune likes kinds` lists what is read.")],
    *,
    likes: Likes = "likes",
    kind: As = None,
    columns: Map = None,
    label: Label = None,
    like_at: LikeAt = None,
    policy: Policy = "wi_l",
    split: Split = None,
    limit: Limit = None,
    root: Root = None,
    allow_download: Download = False,
    encoding: Encoding = None,
    prompt: Annotated[str | None, typer.Option(help="The prompt of images that name none.")] = None,
    rater: Annotated[str, typer.Option(help="Whose thumbs these are, where rows name nobody.")] = "me",
    images: Images = None,
    strict: Annotated[bool, typer.Option("--strict", help="Import nothing if any row cannot be used.")] = False,
    correct: Annotated[
        bool,
        typer.Option(
            "--correct",
            help="Let the source overrule what was said since, and take back thumbs of imports that it does not give.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
) -> None:
    """Bring likes and dislikes into the store."""
    quieten()
    from thumbtune.feedback.importers import Options, import_from
    from thumbtune.feedback.reading.columns import parse_map
    from thumbtune.feedback.sources.kinds import open_source
    from thumbtune.feedback.store.database import is_address, name_of

    reading = Reading(
        columns=parse_map(columns) if columns else {}, like_at=like_at, policy=policy, split=split, limit=limit,
        root=root, allow_download=allow_download, encoding=encoding, label=None if label is None else label == "like",
    )  # fmt: skip
    found = open_source(source, None if is_address(likes) else Path(likes), reading, kind)  # before a store is made
    options: Options = {"rater": rater, "prompt": prompt, "strict": strict, "correct": correct}
    options |= {"dry_run": dry_run, "whole": limit is None}
    options["progress"] = lambda rows: bar(rows, "Importing")
    with _store_for(likes, images, dry_run) as store:
        report = import_from(found, store, name=source, **options)
    _tell(report, found, dry_run, correct)
    say(
        "Nothing was written (--dry-run)."
        if dry_run
        else f"They are in {name_of(likes)}. Next: thumbtune train --set {quote(f'likes={name_of(likes)}')}"
    )


@contextmanager
def _store_for(likes: str, images: str | None, dry_run: bool) -> "Iterator[Store]":
    """The store that is imported into; a rehearsal has one to throw away, a copy where there is one in a folder.

    One that was made for this import goes again if nothing came into it.
    """
    from thumbtune.feedback.store.database import is_address
    from thumbtune.feedback.store.location import copy_store, is_made
    from thumbtune.feedback.store.store import Store

    if dry_run and not (is_address(likes) and is_made(likes)):
        with tempfile.TemporaryDirectory(prefix="thumbtune-rehearsal-") as rehearsal:
            if is_made(likes):  # nobody who votes meanwhile has to wait, and an old store stays as it is
                copy_store(Path(likes), Path(rehearsal))
            with Store.open(rehearsal) as store:
                yield store
        return
    if images is not None and images.startswith("memory:"):
        raise UsageError(f"What lies at {images} is gone when this command ends; name a folder, s3://... or gs://....")
    folder_there, there = Path(likes).exists(), is_made(likes)
    try:
        with Store.open(likes, images=images) as store:
            yield store
    except ThumbtuneError:
        if not there:
            _remove_empty(likes, folder_there)
        raise


def _remove_empty(likes: str, folder_there: bool) -> None:
    from thumbtune.feedback.store.location import STORE_FILE, is_made
    from thumbtune.feedback.store.store import Store

    if not is_made(likes):
        return
    with Store.open(likes, create=False) as store:
        if store.folder is None or store.counts().votes:
            return
    if folder_there:
        (Path(likes) / STORE_FILE).unlink()
    else:
        shutil.rmtree(likes)


def _tell(report: "ImportReport", source: "Source", dry_run: bool, correct: bool) -> None:
    """All that an import has to say."""
    _tell_skipped(report)
    _tell_source(source)
    (_tell_in_a_table if dry_run else _tell_in_a_line)(report)
    _tell_withdrawn(report, correct)


def _tell_skipped(report: "ImportReport") -> None:
    """The rows that could not be used."""
    for where, why in report.skipped[:SHOWN]:
        typer.echo(f"skipped {where}: {why}", err=True)
    if (more := len(report.skipped) + report.unlisted - SHOWN) > 0:
        typer.echo(f"... and {more:,} more", err=True)


def _tell_source(source: "Source") -> None:
    """What a source says of itself, which no row does."""
    from thumbtune.feedback.source import HasCounts
    from thumbtune.feedback.sources.folders import Outside
    from thumbtune.feedback.sources.preferences import Counts

    found = source.counts() if isinstance(source, HasCounts) else None
    if isinstance(found, Counts):
        if any((found.comparisons, found.ties, found.unlabelled, found.alike, found.unusable)):  # not thumbs alone
            _tell_comparisons(found)
    elif isinstance(found, Outside):
        if number := found.images:
            images = plural(number, "image lies", "images lie")
            say(f"{images} outside of folders that say like or dislike; --label gives a thumb to all such.")
    elif found is not None:
        say("marked as")
        counts(vars(found))


def _tell_comparisons(found: "Counts") -> None:
    """What comparisons in pairs are made of, and what the policy makes of them."""
    say("comparisons")
    counts(
        {
            "decided": found.comparisons,
            "ties": found.ties,
            "unlabelled": found.unlabelled,
            "of one image": found.alike,
            "unusable": found.unusable,
        }
    )
    say("images that won")
    counts(
        {
            "every one": found.exclusive_win,
            "some": found.intersections,
            "none": found.exclusive_lose,
            "only tied": found.only_tied,
        }
    )
    share = "" if found.liked_share is None else f"; {found.liked_share:.1%} of those with a label are liked"
    made = f"{found.likes:,} liked, {found.dislikes:,} disliked, {found.left_out:,} left out"
    say(f"policy {found.policy}: {made}{share}")


def _tell_in_a_table(report: "ImportReport") -> None:
    say("rows")
    counts({"all": report.rows} | _counted(report))
    reasons = Counter(why for _, why in report.skipped)
    if reasons:
        say("why rows were skipped")
        counts({why[:100]: number for why, number in reasons.most_common(SHOWN)})


def _tell_in_a_line(report: "ImportReport") -> None:
    numbers = _counted(report)
    changed = numbers.pop("of them another opinion than before")
    ones = ", ".join(plural(number, ONE.get(what, what), what) for what, number in numbers.items())
    say(f"{plural(report.rows, 'row')}: {ones}.")
    if changed:
        say(f"{changed:,} of them changed what their rater had said before.")


def _tell_withdrawn(report: "ImportReport", correct: bool) -> None:
    """What the source shows and no longer gives a thumb."""
    number, one = report.withdrawn, report.withdrawn == 1
    if number and correct:
        say(f"{plural(number, 'thumb')} that this source does not give {'was' if one else 'were'} taken back.")
    elif number:
        has, it = ("has", "it") if one else ("have", "them")
        say(
            f"{plural(number, 'image')} {has} a thumb from before that this source does not give; "
            f"--correct takes {it} back."
        )


def _counted(report: "ImportReport") -> dict[str, int]:
    return {
        "likes": report.likes,
        "dislikes": report.dislikes,
        "duplicates": report.duplicates,
        "without a prompt": report.without_prompt,
        "unreadable": report.unreadable,
        "without a label": report.without_label,
        "of them another opinion than before": report.changed,
    }


@likes_app.command()
def kinds() -> None:
    """List what likes can be imported from."""
    from thumbtune.feedback.sources.kinds import KINDS

    for kind in KINDS:
        say(f"  {kind.name:<14}{kind.what}")


@likes_app.command()
def stats(likes: Likes = "likes") -> None:
    """Say how many likes there are, how balanced they are, and how far their raters agree."""
    from thumbtune.feedback.stats import stats_of
    from thumbtune.feedback.store.store import Store

    with Store.open(likes, create=False) as store:
        found = stats_of(store)
    for title, numbers in _sections(found).items():
        say(title)
        counts(numbers)


def _sections(found: "Stats") -> dict[str, Mapping[str, int | str]]:
    """The numbers by what they are about."""
    there: dict[str, int | str] = {
        "images (an image is of one prompt)": found.images,
        "different images": found.distinct_images,
        "images under several prompts": found.several,
        "prompts": found.prompts,
        "images that nobody likes or dislikes": found.without,
        "votes, with undos, skips and repetitions": found.votes,
        "last words of a rater on an image": found.opinions,
    }
    balances = {
        balance.policy: _share(balance.likes, balance.dislikes, f"{balance.undecided:,} undecided")
        for balance in found.balances
    }
    called = _called([rater.name for rater in found.raters])
    raters = {called[rater.name]: _share(rater.likes, rater.dislikes) for rater in found.raters}
    title = "raters" if found.all_raters == len(raters) else f"raters, the busiest {len(raters)} of {found.all_raters}"
    agreement: dict[str, int | str] = {
        "images with two raters or more": found.shared,
        "of them liked by some, disliked by others": found.contradicted,
        "agreement beyond chance, of all (Fleiss' kappa)": _kappa(found.fleiss),
    }
    for pair in found.pairs[:SHOWN]:
        agreement[f"{called[pair.one]} and {called[pair.other]} (Cohen's kappa)"] = (
            f"{_kappa(pair.kappa)}, {pair.agreed:,} of {pair.images:,} alike"
        )
    return {"there": there, "what a label policy makes of it": balances, title: raters, "agreement": agreement}


def _called(names: list[str]) -> dict[str, str]:
    """The names of raters as a terminal may show them, each another one however they are cut."""
    called: dict[str, str] = {}
    for name in names:
        short = named(name)
        taken = short in called.values()
        called[name] = f"{short} ({len(called) + 1})" if taken else short
    return called


def _share(likes: int, dislikes: int, *more: str) -> str:
    share = f"{likes / (likes + dislikes):.1%} liked" if likes + dislikes else "none"
    return ", ".join([f"{plural(likes, 'like')}, {plural(dislikes, 'dislike')}", share, *more])


def _kappa(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


@likes_app.command("export")
def export_(
    out: Annotated[Path, typer.Argument(help="A folder that is not there yet, or empty.")],
    *,
    likes: Likes = "likes",
    form: Annotated[
        Literal["parquet", "datasets", "folder", "webdataset"], typer.Option("--as", help="What is written.")
    ] = "parquet",
    policy: Annotated[
        str | None, typer.Option(help="One label an image: majority, unanimous, ...; none: a row for every vote.")
    ] = None,
    names: Annotated[bool, typer.Option("--names", help="Keep the names of raters; else rater-7f3a....")] = False,
) -> None:
    """Write all likes, with their images, into a folder that this and other programs read.

    Raters get other names; their reasons, the prompts, times, and what is written inside images stay as they are.
    """
    from thumbtune.feedback.exporters.export import export
    from thumbtune.feedback.store.store import Store

    with Store.open(likes, create=False) as store:
        report = export(store, out, form, policy=policy, names=names, progress=lambda rows: bar(rows, "Exporting"))
    left = f", {plural(report.undecided, 'picture')} without a label" if policy else ""
    left += "" if policy else f"; {plural(report.skips, 'skip is', 'skips are')} left out"
    thumbs = f"{plural(report.likes, 'like')}, {plural(report.dislikes, 'dislike')}"
    say(f"{plural(report.rows, 'row')}: {thumbs}{left}.")
    say(f"They are in {out}. Read them into another store: thumbtune import {quote(str(out))} --likes fresh")


@likes_app.command()
def erase(
    rater: Annotated[str, typer.Argument(help="Whose votes are deleted for good.")],
    likes: Likes = "likes",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete all votes of a rater, and say what else that touches."""
    from thumbtune.feedback.store.store import Store

    with Store.open(likes, create=False) as store:
        if not yes:
            typer.confirm(f"Delete all votes of {named(rater)} in {store.name} for good?", abort=True)
        gone = store.erase(rater)
    say(f"{plural(gone.votes, 'vote')} of {named(rater)} {'is' if gone.votes == 1 else 'are'} gone.")
    if gone.silent:
        is_left = "image is left without a like or dislike; it stays"
        say(f"{plural(gone.silent, is_left, 'images are left without a like or dislike; they stay')} in the store.")
    if gone.turned:
        say(f"{plural(gone.turned, 'image has', 'images have')} another majority now.")
    say("Runs that were trained on these votes still hold them, in their likes.parquet; train them anew.")


@likes_app.command()
def upgrade(likes: Likes = "likes") -> None:
    """Bring a store of an older Thumbtune up to date; a folder's is when it is opened, a server's only so."""
    from thumbtune.feedback.store.database import name_of
    from thumbtune.feedback.store.location import upgrade_store

    before, after = upgrade_store(likes)
    was = "was up to date already" if before == after else f"is up to date; it was of schema {before}"
    say(f"{name_of(likes)} {was} (schema {after}).")
