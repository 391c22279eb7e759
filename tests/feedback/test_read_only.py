"""A store that this user may read and not write: it can be looked at, exported and trained on."""

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from thumbtune.build import split_of
from thumbtune.config import Recipe
from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.exporters.export import export
from thumbtune.feedback.likes import likes_of
from thumbtune.feedback.location import is_made
from thumbtune.feedback.stats import stats_of
from thumbtune.feedback.store import Store

Bound = Callable[..., AbstractContextManager[Path]]
Paint = Callable[..., bytes]


@pytest.fixture
def archive(bound: Bound, paint: Paint) -> Path:
    """One like in a store, whose name has a blank and a percent sign."""
    with bound() as somebody:
        folder = somebody / "my 100% likes"
    with Store.open(folder) as store:
        store.vote(store.add_picture(paint(), "fox"), "like", rater="ann")
        assert len(likes_of(store)) == 1  # with all that has to be loaded, which a user who is bound may not read
    shutil.rmtree(folder / "tables")
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, folder.parent.stat().st_uid, -1)
    return folder


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
        with pytest.raises(ThumbtuneError, match=r"likes\.sqlite could not be written because it is read-only"):
            store.vote(1, "dislike", rater="ann")
        assert sorted(archive.rglob("*")) == before


def test_a_file_alone_that_may_not_be_written(archive: Path, bound: Bound) -> None:
    close(archive, itself=0o755)
    with bound(), Store.open(archive, create=False) as store:
        assert store.counts().likes == 1
        with pytest.raises(ThumbtuneError, match="read-only"):
            store.vote(1, "dislike", rater="ann")


@pytest.mark.parametrize(("file", "itself"), [(0, 0o755), (0, 0o555), (0o444, 0)])
def test_what_may_not_be_read_is_one_sentence(archive: Path, bound: Bound, file: int, itself: int) -> None:
    close(archive, file, itself)
    with bound(), pytest.raises(ThumbtuneError, match=r"could not be (looked into|opened).*(right to|may) read it"):
        Store.open(archive, create=False)


def test_training_and_imports_say_so_too(archive: Path, bound: Bound) -> None:
    close(archive, itself=0)
    with bound(), pytest.raises(ThumbtuneError, match="could not be looked into"):
        is_made(archive)
    close(archive, itself=0)
    with bound(), pytest.raises(ThumbtuneError, match="could not be looked into"):
        split_of(Recipe(likes=str(archive)))
