"""Many writers at once, and a process killed during an import, on both databases."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import Vote

Paint = Callable[..., bytes]
WRITERS, VOTES = 32, 10

VOTING = """
import sys, uuid
from thumbtune.feedback.store.store import Store
where, writer, votes = sys.argv[1], sys.argv[2], int(sys.argv[3])
with Store.open(where) as store:
    for number in range(votes):
        own = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{writer}-{number}"))
        for _ in range(2):  # what is posted twice is one vote
            store.vote(1, "like", rater=writer, vote_id=own)
        store.vote(1, "like", rater="all", vote_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"all-{number}")))
        store.add_image(bytes.fromhex(sys.argv[4]), f"prompt {number}")  # the same one, from all of them
"""

IMPORTING = """
import sys, time
from pathlib import Path
from thumbtune.feedback import importers
from thumbtune.feedback.store.store import Store
importers.ROWS_AT_ONCE = 7
def slowly(rows):  # so slowly that nobody who means to kill it comes too late
    for row in rows:
        time.sleep(0.02)
        yield row
with Store.open(sys.argv[2]) as store:
    importers.import_likes(Path(sys.argv[1]), store, progress=slowly)
"""


@pytest.mark.slow
def test_no_vote_of_many_writers_is_lost_or_doubled(store: Store, paint: Paint) -> None:
    store.vote(store.add_image(paint(), "fox"), "like", rater="first")
    words = [sys.executable, "-c", VOTING, str(store.where)]
    writers = [
        subprocess.Popen([*words, f"writer {number}", str(VOTES), paint(1).hex()], stderr=subprocess.PIPE)
        for number in range(WRITERS)
    ]
    complaints = [writer.communicate()[1].decode() for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * WRITERS, complaints
    counts = store.counts()
    assert (counts.images, counts.votes, counts.raters) == (1 + VOTES, 1 + WRITERS * VOTES + VOTES, WRITERS + 2)
    with store._reading() as session:
        each = session.execute(select(Vote.rater, func.count()).group_by(Vote.rater)).all()
    assert dict(map(tuple, each)) == {f"writer {n}": VOTES for n in range(WRITERS)} | {"all": VOTES, "first": 1}


def everything(store: Store) -> list[tuple[object, ...]]:
    """Return the votes in their order, with their images' hashes and without their times."""
    return [
        (row.vote_id, row.image.prompt, store.read(row.image), row.rater, row.liked, row.weight, row.grade)
        for row in store.labels()
    ]


@pytest.mark.slow
def test_an_import_that_was_killed_goes_on_and_ends_where_it_would_have(
    store: Store, paint: Paint, tmp_path: Path
) -> None:
    source = tmp_path / "mine"
    for number in range(300):
        file = source / ("like" if number % 3 else "dislike") / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(paint(number))
        file.with_suffix(".txt").write_text(f"prompt {number % 50}")
    words = [sys.executable, "-c", IMPORTING, str(source), str(store.where)]
    process = subprocess.Popen(words)
    while store.counts().votes < 50 and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    votes = store.counts().votes
    assert 50 <= votes < 300 and votes % 7 == 0, "it was to be killed in the middle, between two transactions"
    report = import_likes(source, store)
    assert report.duplicates == votes and report.rows == 300
    with Store.open(tmp_path / "other") as other:
        import_likes(source, other)
        assert everything(store) == everything(other)


def test_two_that_bring_the_same_image_at_once_share_it(store: Store, paint: Paint) -> None:
    """The second writer finds the row missing, and then stored: the first inserts it in between."""
    with Store.open(store.where) as other:
        if store.folder is None:  # SQLite lets one write at a time, so that there is no such moment
            with store.transaction():
                mine = store.add_image(paint(), "fox")
            with other.transaction():
                assert other.add_image(paint(), "fox").id == mine.id
        else:
            assert store.add_image(paint(), "fox").id == other.add_image(paint(), "fox").id
        vote = str(uuid.uuid4())
        for each in (store, other):
            assert each.vote(1, "like", rater="ann", vote_id=vote) == vote
    assert store.counts().votes == 1
