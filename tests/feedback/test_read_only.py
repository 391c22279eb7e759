"""A read-only store can be used for statistics, exports and training."""

import os
import shutil
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from refusals import refused

from thumbtune.feedback.exporters.export import export
from thumbtune.feedback.likes import likes_of
from thumbtune.feedback.stats import stats_of
from thumbtune.feedback.store.database import copy_database
from thumbtune.feedback.store.location import copy_store, is_made
from thumbtune.feedback.store.store import Store
from thumbtune.runs.build import split_of
from thumbtune.runs.recipe import Recipe

Bound = Callable[..., AbstractContextManager[Path]]
Paint = Callable[..., bytes]


@pytest.fixture
def archive(bound: Bound, paint: Paint) -> Path:
    """A store with one like; its name has a blank and a percent sign."""
    with bound() as somebody:
        folder = somebody / "my 100% likes"
    with Store.open(folder) as store:
        store.vote(store.add_image(paint(), "fox"), "like", rater="ann")
        assert len(likes_of(store)) == 1  # with all that has to be loaded, which a user who is bound may not read
    shutil.rmtree(folder / "tables")
    give(folder)
    return folder


def give(folder: Path) -> None:
    """As root, give the folder to the user that the test becomes."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, folder.parent.stat().st_uid, -1)


def owner_of(archive: Path) -> sqlite3.Connection:
    """Return an owner's connection, opened while the file is writable; it can still write afterwards."""
    connection = sqlite3.connect(archive / "likes.sqlite", isolation_level=None)
    assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    give(archive)
    return connection


def close(folder: Path, file: int = 0o444, itself: int = 0o555) -> None:
    (folder / "likes.sqlite").chmod(file)
    folder.chmod(itself)


def test_it_can_be_looked_at(archive: Path, bound: Bound) -> None:
    close(archive)
    before = sorted(archive.rglob("*"))
    with bound() as somebody, Store.open(archive, create=False) as store:
        assert stats_of(store).raters[0].likes == 1
        assert export(store, somebody / "out", "folder").rows == 1
        assert len(likes_of(store)) == 1
        with refused("store-read-only", naming=archive / "likes.sqlite"):
            store.vote(1, "dislike", rater="ann")
        assert sorted(archive.rglob("*")) == before


def test_a_file_alone_that_may_not_be_written(archive: Path, bound: Bound) -> None:
    close(archive, itself=0o755)
    with bound(), Store.open(archive, create=False) as store:
        assert store.counts().likes == 1
        with refused("store-read-only"):
            store.vote(1, "dislike", rater="ann")


@pytest.mark.parametrize(("file", "itself"), [(0, 0o755), (0, 0o555), (0o444, 0)])
def test_what_may_not_be_read_is_one_sentence(archive: Path, bound: Bound, file: int, itself: int) -> None:
    close(archive, file, itself)
    with bound(), refused("store-not-readable", naming=archive):
        Store.open(archive, create=False)


def test_training_and_imports_say_so_too(archive: Path, bound: Bound) -> None:
    close(archive, itself=0)
    with bound(), refused("store-not-readable", naming=archive):
        is_made(archive)
    close(archive, itself=0)
    with bound(), refused("store-not-readable", naming=archive):
        split_of(Recipe(likes=str(archive)))


ONE_MORE = """INSERT INTO votes (id, picture_id, rater, kind, weight, created_at)
SELECT ?, picture_id, ?, kind, weight, created_at FROM votes LIMIT 1"""


def test_what_is_written_meanwhile_is_seen(archive: Path, bound: Bound) -> None:
    """The owner has the store open, and its log is still empty when the reader opens it."""
    with closing(owner_of(archive)) as owner:
        assert (archive / "likes.sqlite-wal").stat().st_size == 0 and (archive / "likes.sqlite-shm").exists()
        close(archive)
        with bound(), Store.open(archive, create=False) as store:
            assert store.counts().likes == 1
            owner.execute(ONE_MORE, (str(uuid.uuid4()), "bob"))
            assert store.counts().likes == 2


@pytest.mark.parametrize("left", ["likes.sqlite-wal", "likes.sqlite-shm"])
def test_what_a_killed_owner_left_is_no_owner(archive: Path, bound: Bound, left: str) -> None:
    (archive / left).touch()
    give(archive)
    close(archive)
    with bound(), Store.open(archive, create=False) as store:
        assert store.counts().likes == 1


def test_a_file_that_changes_while_it_is_read(archive: Path, bound: Bound) -> None:
    file = archive / "likes.sqlite"
    whole = file.read_bytes()
    close(archive)
    with bound(), Store.open(archive, create=False) as store:
        file.chmod(0o644)
        file.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
        with refused("store-changed", naming=file):
            store.counts()
        file.chmod(0o444)
        with refused("store-damaged", naming=file):
            Store.open(archive, create=False)


def test_a_file_that_somebody_opens_while_it_is_read(archive: Path, bound: Bound) -> None:
    close(archive)
    with bound(), Store.open(archive, create=False) as store:
        archive.chmod(0o755)
        (archive / "likes.sqlite-wal").write_bytes(b"1")
        with refused("store-changed", naming=archive / "likes.sqlite"):
            store.vote(1, "dislike", rater="ann")


def test_a_rehearsal_of_an_import_copies_it(archive: Path, bound: Bound) -> None:
    close(archive)
    with bound() as somebody:
        (somebody / "copy").mkdir()
        copy_store(archive, somebody / "copy")
        with Store.open(somebody / "copy", create=False) as copy:
            assert copy.counts().likes == 1


def test_a_copy_of_what_changes_meanwhile(archive: Path, bound: Bound, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(address: Path | str, *, uri: bool = False) -> sqlite3.Connection:
        (archive / "likes.sqlite").chmod(0o644)
        (archive / "likes.sqlite").write_bytes(b"half a page")
        return connect(address, uri=uri)

    connect = sqlite3.connect
    close(archive)
    with bound() as somebody:
        monkeypatch.setattr("thumbtune.feedback.store.database.sqlite3.connect", late)
        with refused("store-changed", naming=archive / "likes.sqlite"):
            copy_database(archive / "likes.sqlite", somebody / "copy.sqlite")


def test_a_store_that_nothing_came_into(bound: Bound) -> None:
    with bound() as somebody:
        folder = somebody / "likes"
        folder.mkdir()
        (folder / "likes.sqlite").touch()
        close(folder)
        with refused("store-empty", naming=folder / "likes.sqlite"):
            Store.open(folder, create=False)
