"""What makes an import fast changes nothing: ids, ranks, and that no statement reads a whole table."""

import sqlite3
import uuid
from collections import defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event

from thumbtune.feedback.changes import Changes
from thumbtune.feedback.store.intake import NewVote
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.votes import ID_NAMESPACE, derived_id


@pytest.mark.parametrize("parts", [("a",), ("f00", "ein Füchslein 🦊", "ann"), ("",), ("a\nb", "c")])
def test_derived_ids_are_those_of_uuid5(parts: tuple[str, ...]) -> None:
    assert derived_id(*parts) == str(uuid.uuid5(ID_NAMESPACE, "\n".join(parts)))


def random_votes(number: int) -> list[NewVote]:
    dice = np.random.default_rng(number)
    times = [None, None, *(datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2))]
    return [
        NewVote(
            data=bytes([dice.integers(3)]),
            prompt="fox",
            kind=("like", "dislike")[dice.integers(2)],
            rater=f"rater {dice.integers(2)}",
            created_at=times[dice.integers(len(times))],
        )
        for _ in range(number)
    ]


def expected_ranks(votes: list[NewVote]) -> list[tuple[int, bool]]:
    """Return how often the rater had changed their mind among the votes of one time, and whether it is their first."""
    before: dict[Any, list[str]] = defaultdict(list)
    ranks = []
    for vote in votes:
        of_time = before[vote.key, vote.rater, vote.created_at]
        kinds = [*of_time, vote.kind]
        switches = sum(one != other for one, other in pairwise(kinds))
        of_rater = before[vote.key, vote.rater]
        ranks.append((switches, not of_rater))
        of_time.append(vote.kind)
        of_rater.append(vote.kind)
    return ranks


@pytest.mark.parametrize("at_once", [1, 7, 400])
def test_ranks_do_not_depend_on_how_many_votes_are_ranked_at_once(at_once: int) -> None:
    votes, ranked = random_votes(400), []
    with Changes() as changes:
        for start in range(0, len(votes), at_once):
            ranked += changes.with_ranks(votes[start : start + at_once])
            changes.add()
        outdated = changes.outdated()
    assert [(vote.switches, is_first) for vote, is_first in ranked] == expected_ranks(votes)
    assert max(vote.switches for vote, _ in ranked) > 2
    latest: dict[Any, NewVote] = {}
    for vote in votes:
        last = latest.get((vote.key, vote.rater))
        if last is None or vote.created_at is None or (last.created_at and vote.created_at >= last.created_at):
            latest[vote.key, vote.rater] = vote
    assert outdated == sum(vote.kind != latest[vote.key, vote.rater].kind for vote in votes)


def test_an_import_reads_no_whole_table(file_store: Store, paint: Any) -> None:
    """A full read for each few hundred votes would make a large store ever slower."""
    seen: dict[str, Any] = {}

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
        if statement.startswith("SELECT") and not many:
            seen[statement] = parameters

    votes = [NewVote(data=paint(0), prompt=f"fox {n}", kind="like", rater="ann") for n in range(40)]
    file_store.add_votes(votes)
    event.listen(file_store._engine, "before_cursor_execute", note)
    file_store.add_votes(votes)
    assert any("FROM votes" in statement for statement in seen)
    with sqlite3.connect(str(file_store.folder / "likes.sqlite")) as database:  # type: ignore[operator]
        plans = [
            row[3]
            for statement, parameters in seen.items()
            for row in database.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    assert any("SEARCH votes USING INDEX votes_by_picture_and_rater" in plan for plan in plans)
    assert [plan for plan in plans if plan.startswith(("SCAN votes", "SCAN pictures"))] == []
