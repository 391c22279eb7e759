"""Print everything about an import: how the source was read, what was left out, and the numbers."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from thumbtune.cli.terminal import counts, say
from thumbtune.errors import plural
from thumbtune.feedback.quoting import shown
from thumbtune.passwords import without_passwords

if TYPE_CHECKING:
    from thumbtune.feedback.import_report import ImportReport
    from thumbtune.feedback.source import Source
    from thumbtune.feedback.sources.preferences import ComparisonCounts

SINGULAR = {"likes": "like", "dislikes": "dislike", "duplicates": "duplicate"}
MAX_PRINTED = 20  # skipped rows, reasons and pairs of raters that are printed one by one
MAX_WORDS = 5  # labels that were not read, of which --map-label gives examples
WANTED = {
    "seed": "a seed is a whole number below 2^63; -1 stands for none",
    "created_at": "a time is best written like 2025-06-30T12:00:00Z",
}
CELLS = {"seed": ("seed", "seeds"), "created_at": ("time", "times")}


def print_reading(source: object, err: bool = False) -> None:
    """Print which columns or folders were read as what, and which were left out."""
    from thumbtune.feedback.source import Describes

    for line in source.described() if isinstance(source, Describes) else ():
        typer.echo(line, err=err)


def print_report(report: "ImportReport", source: "Source", dry_run: bool, correct: bool) -> None:
    """Print everything about an import."""
    print_skipped(report.skipped, report.unlisted)
    print_reading(source)
    _print_source(source)
    (_print_table if dry_run else _print_line)(report)
    for note in report.notes():
        say(note)
    _print_erased(report)
    _print_left_out(report)
    _print_balance(report)
    _print_withdrawn(report, correct)


def print_skipped(skipped: Sequence[tuple[str, str]], unlisted: int = 0) -> None:
    """Print the first rows that could not be used; `unlisted` counts those that are not in the list."""
    for where, why in skipped[:MAX_PRINTED]:
        typer.echo(without_passwords(f"skipped {where}: {why}"), err=True)
    if (more := len(skipped) + unlisted - MAX_PRINTED) > 0:
        typer.echo(f"... and {more:,} more", err=True)


def _print_source(source: "Source") -> None:
    """Print the source's own numbers, which are in no row."""
    from thumbtune.feedback.source import HasCounts
    from thumbtune.feedback.sources.folders import UnlabelledImages
    from thumbtune.feedback.sources.preferences import ComparisonCounts

    numbers = source.counts() if isinstance(source, HasCounts) else None
    if isinstance(numbers, ComparisonCounts):
        if any((numbers.comparisons, numbers.ties, numbers.unlabelled, numbers.alike, numbers.unusable)):
            _print_comparisons(numbers)
    elif isinstance(numbers, UnlabelledImages):
        if number := numbers.images:
            images = plural(number, "image is", "images are")
            say(f"{images} outside of folders named like or dislike; --label labels all of them.")
    elif numbers is not None:
        say("images by class")
        counts(vars(numbers))


def _print_comparisons(numbers: "ComparisonCounts") -> None:
    """Print the numbers of pairwise comparisons, and the labels under the policy."""
    say("comparisons")
    counts(
        {
            "decided": numbers.comparisons,
            "ties": numbers.ties,
            "unlabelled": numbers.unlabelled,
            "of equal images": numbers.alike,
            "unusable": numbers.unusable,
        }
    )
    say("images by their comparisons")
    counts(
        {
            "won all": numbers.exclusive_win,
            "won some": numbers.intersections,
            "won none": numbers.exclusive_lose,
            "only tied": numbers.only_tied,
        }
    )
    share = "" if numbers.liked_share is None else f"; {numbers.liked_share:.1%} of those with a label are liked"
    labels = f"{numbers.likes:,} liked, {numbers.dislikes:,} disliked, {numbers.left_out:,} left out"
    say(f"policy {numbers.policy}: {labels}{share}")


def _print_table(report: "ImportReport") -> None:
    say("rows")
    counts({"all": report.rows} | _counts_of(report) | {"changed votes among them": report.changed})
    reasons = Counter(why for _, why in report.skipped)
    if reasons:
        say("reasons for skipped rows")
        for why, number in reasons.most_common(MAX_PRINTED):  # whole: the remedy is at the end of a sentence
            say(without_passwords(f"  {number:>9,}  {why}"))
        if (more := len(reasons) - MAX_PRINTED) > 0:
            say(f"  ... and {plural(more, 'more reason')}")


def _print_line(report: "ImportReport") -> None:
    numbers = ", ".join(plural(number, SINGULAR.get(name, name), name) for name, number in _counts_of(report).items())
    say(f"{plural(report.rows, 'row')}: {numbers}.")
    if report.replaced:
        say(
            f"{plural(report.replaced, 'vote')} replaced the opposite vote that the same rater gave before this import."
        )
    if report.outdated:
        hold = plural(report.outdated, "row holds", "rows hold")
        say(f"{hold} the opposite of the same rater's newest vote in this source; the newest counts.")


def _print_erased(report: "ImportReport") -> None:
    """Print how many rows are of raters who were erased."""
    if report.erased:
        rows = plural(report.erased, "row of an erased rater was", "rows of erased raters were")
        say(f"{rows} left out; --allow-erased takes {'it' if report.erased == 1 else 'them'}.")


def _print_left_out(report: "ImportReport") -> None:
    """Print how many cells beside votes were not read; the votes count without them."""
    for name, cells in report.left_out.items():
        one, several = CELLS.get(name, (name, f"cells of {name}"))
        examples = ", ".join(cells.examples) + (", ..." if cells.number > len(cells.examples) else "")
        numbers = plural(cells.number, f"{one} was", f"{several} were")
        say(f"{numbers} left out, and the votes were kept: {examples} ({WANTED.get(name, 'correct them')}).")


def _print_balance(report: "ImportReport") -> None:
    """Print the labels that were not read, and whether all that were read are on one side."""
    one_sided = bool(report.liked) != bool(report.disliked)
    if one_sided:
        one, other = ("like", "dislikes") if report.liked else ("dislike", "likes")
        say(f"The source has {plural(report.liked + report.disliked, one)} and no {other}; training needs both.")
    if report.unread:
        from thumbtune.feedback.reading.labels import mapping_of

        number = sum(report.unread.values())
        first = report.unread.most_common(MAX_WORDS)
        words = ", ".join(f"{shown(word)} ({times:,})" for word, times in first)
        words += ", ..." if len(report.unread) > MAX_WORDS else ""
        meaning = "like" if report.disliked and not report.liked else "dislike" if one_sided else "like"
        mapping = ",".join(mapping_of(word, meaning).strip("'") for word, _ in first)
        is_read = plural(number, "label was not read", "labels were not read")
        its = "its" if number == 1 else "their"
        say(f"{is_read}: {words}. Give {its} meaning (like, dislike or skip), as in --map-label '{mapping}'.")


def _print_withdrawn(report: "ImportReport", correct: bool) -> None:
    """Print how many images the source shows without the vote that they had before."""
    number, is_one = report.withdrawn, report.withdrawn == 1
    if number and correct:
        was = "was" if is_one else "were"
        say(f"{plural(number, 'vote')} that this source no longer contains {was} undone.")
    elif number:
        has, it = ("has", "it") if is_one else ("have", "them")
        say(
            f"{plural(number, 'image')} {has} an earlier vote that this source no longer contains; "
            f"--correct undoes {it}."
        )


def _counts_of(report: "ImportReport") -> dict[str, int]:
    return {
        "likes": report.likes,
        "dislikes": report.dislikes,
        "duplicates": report.duplicates,
        "without a prompt": report.without_prompt,
        "unreadable": report.unreadable,
        "without a label": report.without_label,
        **({"of erased raters": report.erased} if report.erased else {}),
    }
