"""`thumbtune import --unrated`: images without votes."""

from contextlib import AbstractContextManager
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from thumbtune.cli.import_report import print_skipped
from thumbtune.cli.progress import bar
from thumbtune.cli.terminal import say
from thumbtune.errors import plural

if TYPE_CHECKING:
    from thumbtune.feedback.source import Source
    from thumbtune.feedback.store.store import Store

AnyLabel = Literal["like", "dislike"] | None
Unrated = Annotated[bool, typer.Option("--unrated", help="Take all images without votes, to judge them in the studio.")]


def label_with(unrated: bool, label: AnyLabel, strict: bool, correct: bool) -> AnyLabel:
    """Return the label of images without one; without votes, each image gets one that is not stored.

    Raises:
        UsageError: an option has no effect without votes.
    """
    from thumbtune.feedback.unrated import check_unrated

    if not unrated:
        return label
    check_unrated(label, strict, correct)
    return "like"


def import_without_votes(
    rows: "Source", opened: "AbstractContextManager[Store]", likes: str, prompt: str | None, dry_run: bool
) -> None:
    """Import the images of a source, and print what became of them."""
    from thumbtune.feedback.store.database import name_of
    from thumbtune.feedback.unrated import import_unrated

    with opened as store:
        report = import_unrated(bar(rows, "Importing"), store, prompt=(prompt or "").strip(), dry_run=dry_run)
    print_skipped(report.skipped)
    left_out = f", {len(report.skipped):,} left out" if report.skipped else ""
    say(f"{plural(report.rows, 'image')}: {report.new:,} new, {report.known:,} stored before{left_out}.")
    if dry_run:
        say("Nothing was written (--dry-run).")
    else:
        say(f"Next: thumbtune studio --open --likes {quote(name_of(likes))}")
