"""Open an event log for a command, and print how its rows were read."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from thumbtune.cli.import_report import print_reading, print_skipped
from thumbtune.cli.terminal import say
from thumbtune.errors import UsageError, plural

if TYPE_CHECKING:
    from thumbtune.feedback.event_log.log import EventLog

Feedback = Annotated[
    str, typer.Option("--likes", help="The store of likes, or an event log: Parquet files, as 'events/*.parquet'.")
]


def opened_log(likes: str, columns: str | None, words: str | None, **options: Any) -> "EventLog | None":
    """Return the event log that `likes` names, and print what its rows became; None for the name of a store.

    Args:
        likes: the name of a store or a log.
        columns, words: as in `--map` and `--map-label`.
        options: the other fields of an `EventReading`.

    Raises:
        UsageError: options of event logs are given for a store, or one is invalid.
        ThumbtuneError: as `EventLog.open`.
    """
    from thumbtune.feedback.event_log.files import is_event_log
    from thumbtune.feedback.event_log.reading import EventReading
    from thumbtune.feedback.reading.columns import parse_map
    from thumbtune.feedback.reading.own_words import parse_map_label

    reading = EventReading(
        columns=parse_map(columns) if columns else {}, words=parse_map_label(words) if words else {}, **options
    )
    if not is_event_log(likes):
        if reading != EventReading():
            raise UsageError(
                f"--map, --map-label, --like-at, --root, --prompt, --rater and --split have no effect on {likes}, "
                "which names no Parquet files; leave them out.",
                code="stats-without-log",
            )
        return None
    from thumbtune.feedback.event_log.log import EventLog

    log = EventLog.open(likes, reading)
    report = log.report
    skipped = log.skipped()
    unusable = report.without_label + report.without_prompt + report.unreadable
    print_skipped(skipped, unusable - len(skipped))
    print_reading(log)
    say(
        f"{plural(report.rows, 'row')}: {plural(report.liked, 'like')}, {plural(report.disliked, 'dislike')}, "
        f"{report.without_prompt:,} without a prompt, {report.unreadable:,} unreadable, {report.without_label:,} "
        f"without a label; {plural(report.skips, 'skip is', 'skips are')} left out."
    )
    return log
