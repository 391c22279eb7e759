"""Scores that were computed before: what is put is got, in one process and in several, and a bad file is said."""

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from thumbtune.evaluation.scorers.score_cache import KEYS_PER_QUERY, Key, ScoreCache

ONE: Key = ("ab12", "a cat", "red|1|rgb/1")
keys = st.tuples(*[st.text("ab| ä", max_size=2)] * 3)
WRITER = """
import sys
from pathlib import Path
from thumbtune.evaluation.scorers.score_cache import ScoreCache
name, path = sys.argv[1:]
cache = ScoreCache(Path(path))
for i in range(12):
    cache.put({(name, str(i), "s"): i + 0.5, ("both", str(i), "s"): float(i)})
assert cache.get([(name, str(i), "s") for i in range(12)]) == {(name, str(i), "s"): i + 0.5 for i in range(12)}
"""


@given(st.lists(st.dictionaries(keys, st.floats(allow_nan=False), max_size=4), max_size=4), st.lists(keys, max_size=6))
@settings(max_examples=25, deadline=None)
def test_it_is_a_dictionary(tmp_path_factory: pytest.TempPathFactory, puts: list[dict[Key, float]], asked: list[Key]):
    file = tmp_path_factory.mktemp("cache") / "scores.sqlite"
    kept: dict[Key, float] = {}
    for scores in puts:
        ScoreCache(file).put(scores)
        kept |= scores
    wanted = [*asked, *kept, *asked]
    assert ScoreCache(file).get(wanted) == {key: kept[key] for key in wanted if key in kept}


@pytest.mark.parametrize("value", [0.1 + 0.2, 5e-324, -1.7976931348623157e308, 1 / 3, 2.0, float("-inf")])
def test_a_score_comes_back_to_the_last_bit(tmp_path: Path, value: float) -> None:
    cache = ScoreCache(tmp_path / "scores.sqlite")
    cache.put({ONE: value})
    found = cache.get([ONE])[ONE]
    assert found.hex() == value.hex() and type(found) is float


def test_another_image_prompt_or_scorer_is_another_score(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path / "scores.sqlite")
    cache.put({ONE: 1.0})
    others: list[Key] = [
        ("ab13", *ONE[1:]),
        (ONE[0], "a cat ", ONE[2]),
        (*ONE[:2], "red|2|rgb/1"),
        ("ab1", "2a cat", ONE[2]),
    ]
    assert cache.get([*others, ONE]) == {ONE: 1.0}


def test_more_keys_than_sqlite_takes_at_once(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path / "scores.sqlite")
    many: dict[Key, float] = {("picture", str(i), "s"): i / 7 for i in range(2 * KEYS_PER_QUERY + 3)}
    cache.put(many)
    assert cache.get(iter([*many, ONE])) == many


def test_without_a_file_nothing_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    cache = ScoreCache(None)
    cache.put({ONE: 1.0})
    assert cache.get([ONE]) == {} and not list(tmp_path.rglob("*"))


def test_asking_makes_no_file_and_putting_makes_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    cache = ScoreCache(Path("~/new/folder/scores.sqlite"))
    assert cache.get([ONE]) == {} and cache.get([]) == {}
    cache.put({})
    assert not (tmp_path / "new").exists()
    cache.put({ONE: 1.0})
    assert (tmp_path / "new" / "folder" / "scores.sqlite").is_file() and cache.get([ONE]) == {ONE: 1.0}


def test_scores_are_put_all_or_none(tmp_path: Path) -> None:
    """The last one is no number, which the table refuses."""
    cache = ScoreCache(tmp_path / "scores.sqlite")
    cache.put({ONE: 1.0})
    with refused("score-cache-unusable"):
        cache.put({ONE: 2.0, ("b", "b", "b"): 3.0, ("c", "c", "c"): float("nan")})
    assert cache.get([ONE, ("b", "b", "b")]) == {ONE: 1.0}


def test_a_broken_file_is_one_sentence_and_may_be_deleted(tmp_path: Path) -> None:
    file = tmp_path / "scores.sqlite"
    cache = ScoreCache(file)
    file.write_bytes(b"no database at all, but long enough to have a header of its own" * 40)
    for use in (lambda: cache.get([ONE]), lambda: cache.put({ONE: 1.0})):
        with refused("score-cache-unusable", naming=file):
            use()
    file.unlink()
    cache.put({ONE: 1.0})
    assert cache.get([ONE]) == {ONE: 1.0}


def test_a_file_that_was_cut_off_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "scores.sqlite"
    many: dict[Key, float] = {("picture", str(i), "s"): float(i) for i in range(400)}
    ScoreCache(file).put(many)
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    whole = file.read_bytes()
    assert len(whole) > 8192
    file.write_bytes(whole[:8192] + b"\1" * (len(whole) - 8192))
    with refused("score-cache-unusable", naming=file):
        ScoreCache(file).get(many)


@pytest.mark.parametrize("what", ["a folder", "below a file", "another table"])
def test_a_place_that_cannot_be_a_cache_is_one_sentence(tmp_path: Path, what: str) -> None:
    file = tmp_path / "scores.sqlite"
    if what == "a folder":
        file.mkdir()
    elif what == "below a file":
        file.write_text("")
        file = file / "scores.sqlite"
    else:
        with sqlite3.connect(file) as database:
            database.execute("CREATE TABLE scores (name TEXT)")
        database.close()
    with refused("score-cache-unusable", naming=file):
        ScoreCache(file).put({ONE: 1.0})


def test_an_empty_file_is_an_empty_cache(tmp_path: Path) -> None:
    (tmp_path / "scores.sqlite").touch()
    cache = ScoreCache(tmp_path / "scores.sqlite")
    assert cache.get([ONE]) == {}
    cache.put({ONE: 1.0})
    assert cache.get([ONE]) == {ONE: 1.0}


def test_processes_and_threads_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "scores.sqlite"
    ScoreCache(file).put({ONE: 1.0})
    command = [sys.executable, "-c", WRITER]
    others = [
        subprocess.Popen([*command, name, str(file)], stderr=subprocess.PIPE, env=os.environ) for name in ("p", "q")
    ]
    errors: list[Exception] = []

    def write(name: str) -> None:
        try:
            for i in range(12):
                ScoreCache(file).put({(name, str(i), "s"): i + 0.5, ("both", str(i), "s"): float(i)})
        except ThumbtuneError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("t", "u")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and [(other.communicate()[1], other.returncode) for other in others] == [(b"", 0)] * 2
    wanted: dict[Key, float] = {(name, str(i), "s"): i + 0.5 for name in "pqtu" for i in range(12)}
    wanted |= {("both", str(i), "s"): float(i) for i in range(12)} | {ONE: 1.0}
    assert ScoreCache(file).get(wanted) == wanted


@pytest.mark.parametrize("new", [False, True])
def test_a_writer_waits_for_another_one(tmp_path: Path, new: bool) -> None:
    """new: the other one has only just made the file, as where two processes start together."""
    file = tmp_path / "scores.sqlite"
    if not new:
        ScoreCache(file).put({ONE: 1.0})
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE other (value)")
    other.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.3, other.execute, ["COMMIT"])
    done.start()
    try:
        ScoreCache(file).put({ONE: 2.0})
        assert ScoreCache(file).get([ONE]) == {ONE: 2.0}
    finally:
        done.join()
        other.close()
