"""The feedback that a recipe's `likes` names: a store, or an event log that is read where it lies."""

import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError, UsageError, note, plural
from thumbtune.feedback.event_log.files import files_of, is_event_log
from thumbtune.feedback.event_log.log import EventLog
from thumbtune.feedback.event_log.reading import EventReading
from thumbtune.feedback.likes import likes_of
from thumbtune.feedback.store.store import Store, is_store

Labels = tuple[Any, Iterable[str]]  # the table that training reads, and the prompts of all images in their order
OPTION = re.compile(r"(?<![\w-])--(map-label|map|like-at|root|rater|prompt|split) (?!gives )")
OF_VOTES = ("table", "parquet")  # the kinds of sources whose rows are votes
_opened: dict[str, EventLog] = {}  # the last one: a training asks for its labels several times


@contextmanager
def labels_of(likes: str, policy: str, reading: EventReading, *, keep: bool = True) -> Iterator[Labels]:
    """Give the labels of a store or an event log under a policy; `keep` as in `likes_of`.

    Raises:
        UsageError: options for event logs are given for a store.
        ThumbtuneError: there is no feedback, or it cannot be read.
    """
    if is_event_log(likes):
        log = event_log(likes, reading)
        yield log.likes(policy), log.prompts()
        return
    if reading != EventReading():
        raise UsageError(
            f"The options of events have no effect on {likes}, which names no Parquet files; leave them out.",
            code="events-without-log",
        )
    if not is_store(likes):
        _refuse_source(likes)
        raise ThumbtuneError(
            f"{likes} has no likes; import some with `thumbtune import FOLDER --likes {likes}`.", code="likes-missing"
        )
    with Store.open(likes, create=False) as store:
        # the prompts of all images in their order, so that no label policy moves a prompt
        yield likes_of(store, policy, keep=keep), store.prompts(store.newest())


def event_log(likes: str, reading: EventReading) -> EventLog:
    """Return an event log, read once as long as its files stay as they are; a note counts the rows that are no votes.

    Raises:
        ThumbtuneError, UsageError: as `EventLog.open`.
    """
    with _with_settings():
        files = files_of(likes, reading.split)
    if files.system is None:
        _refuse_other_kinds(likes, Path(files.names[0]))
    key = repr((files.names, files.ends, reading))
    if key not in _opened:
        for name in list(_opened):
            _opened.pop(name).close()
        with _with_settings():
            log = _opened[key] = EventLog.open(likes, reading)
        if (left_out := left_out_note(log)) is not None:
            note(with_settings(left_out))
    return _opened[key]


def with_settings(sentence: str) -> str:
    """Return a sentence with the settings of a recipe in place of options, which a training lacks.

    >>> with_settings("name it, as in --map prompt=caption")
    'name it, as in --set events.map=prompt=caption'
    """
    return OPTION.sub(lambda option: f"--set events.{option[1].replace('-', '_')}=", sentence)


@contextmanager
def _with_settings() -> Iterator[None]:
    """Give the errors of a log inside the block the settings of a recipe."""
    try:
        yield
    except ThumbtuneError as error:
        raise type(error)(with_settings(str(error)), code=error.code) from error


def _refuse_other_kinds(likes: str, file: Path) -> None:
    """Refuse files whose rows are no votes but comparisons or rankings, of which only an import makes labels.

    Raises:
        ThumbtuneError: they are.
    """
    from thumbtune.feedback.sources.kinds import KINDS

    kind = next((kind for kind in KINDS if kind.recognises(file)), None)
    if kind is not None and kind.name not in OF_VOTES:
        raise ThumbtuneError(
            f"{likes} has rows of another kind ({kind.description}); import it with `thumbtune import "
            f"{shlex.quote(likes)} --likes store`, and set likes=store.",
            code="event-log-of-another-kind",
        )


def left_out_note(log: EventLog) -> str | None:
    """Return how many rows of a log are no votes, and why the first one is none; None if all are."""
    report = log.report
    number = report.without_label + report.without_prompt + report.unreadable
    if not number:
        return None
    (where, why), *_ = log.skipped(1)
    rows = plural(number, "row", "rows")
    return (
        f"{rows} of {report.rows:,} in {log.name} cannot be used ({report.without_label:,} without a label, "
        f"{report.without_prompt:,} without a prompt, {report.unreadable:,} unreadable); the first: {where}: {why}."
    )


def _refuse_source(likes: str) -> None:
    """Refuse what likes are imported from, where a store is needed, with the command that imports it.

    Raises:
        ThumbtuneError: it is such a source.
    """
    from thumbtune.feedback.sources.kinds import is_source

    if is_source(Path(likes)):
        store = "likes" if Path(likes).name != "likes" else "store"
        raise ThumbtuneError(
            f"{likes} holds labelled images or a table, and is no store of likes yet; import it with `thumbtune import "
            f"{shlex.quote(likes)} --likes {store}`, and set likes={store}.",
            code="likes-not-imported",
        )
