"""A short form of benchmarks/votes.py: writers and imports are killed, and no vote is lost or doubled."""

import os
from pathlib import Path

import pytest

from benchmarks import votes
from thumbtune.feedback.store.store import Store


@pytest.mark.slow
@pytest.mark.parametrize("kills", [6])
def test_no_vote_is_lost_or_doubled_by_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=os.pathsep)
    result = votes.run(str(tmp_path / "store"), tmp_path, votes=160, kills=kills, writers=4)
    assert (result.lost, result.doubled, result.complaints) == (0, 0, [])
    assert (result.votes, result.kills > 0) == (160, True)


@pytest.mark.slow
def test_no_vote_is_lost_or_doubled_on_a_server(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=os.pathsep)
    result = votes.run(database, tmp_path, votes=160, kills=6, writers=4)
    assert (result.lost, result.doubled, result.complaints) == (0, 0, [])


def test_the_count_notices_what_is_lost(tmp_path: Path) -> None:
    where = str(tmp_path / "store")
    votes.make_store(where, tmp_path)
    writer = votes.poster(where, tmp_path, 0, 3)
    with Store.open(where) as store:
        for number in (0, 2):
            store.vote(1, "like", rater=writer.name, vote_id=votes.vote_id(writer.name, number))
        assert votes.count(where, [writer]) == (1, 0)
        for number in (3, 4):
            store.vote(1, "like", rater=writer.name, vote_id=votes.vote_id(writer.name, number))
    assert votes.count(where, [writer]) == (1, 1)
