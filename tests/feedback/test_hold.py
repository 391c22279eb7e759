"""A store that an import made and did not fill is removed again, but never while another process has it open."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thumbtune import locks
from thumbtune.cli.app import app
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.store import hold
from thumbtune.feedback.store.location import remove_if_empty
from thumbtune.feedback.store.store import Store
from thumbtune.files import sha256

Paint = Callable[..., bytes]
WITH_HOLDS = pytest.mark.skipif(locks.fcntl is None, reason="this system has no locks on folders")
OTHER = """
import sys
from thumbtune.feedback.store.store import Store
with Store.open(sys.argv[1]) as store:
    print("open", flush=True)
    sys.stdin.readline()
    store.vote(store.add_image(bytes.fromhex(sys.argv[2]), "fox"), "like", rater="ann")
"""


@pytest.fixture
def useless(tmp_path: Path) -> Path:
    """A source without any usable row."""
    folder = tmp_path / "useless"
    folder.mkdir()
    (folder / "log.csv").write_text("image,prompt,label\nmissing.png,a fox,1\n", encoding="utf-8")
    return folder / "log.csv"


def failing_import(source: Path, likes: Path) -> None:
    result = CliRunner().invoke(app, ["import", str(source), "--likes", str(likes)])
    assert result.exit_code != 0


def test_a_failing_import_leaves_no_store_behind(useless: Path, tmp_path: Path) -> None:
    failing_import(useless, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_failing_import_leaves_a_folder_with_other_things_as_it_was(useless: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "images").mkdir(parents=True)
    (tmp_path / "mine" / "images" / "a.txt").write_text("mine")
    failing_import(useless, tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").rglob("*")) == ["a.txt", "images"]


@pytest.mark.slow
@WITH_HOLDS
def test_a_failing_import_removes_no_store_that_another_process_has_open(
    useless: Path, tmp_path: Path, paint: Paint
) -> None:
    """The other process has opened the new store, and has not yet stored anything when the import fails."""
    new, words = tmp_path / "new", [sys.executable, "-c", OTHER]
    with subprocess.Popen(
        [*words, str(new), paint().hex()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "open\n"
        assert not remove_if_empty(new, with_folder=True)
        failing_import(useless, new)
        other.communicate("go on\n")
    assert other.returncode == 0
    with Store.open(new, create=False) as store:
        assert store.counts().likes == 1


@WITH_HOLDS
def test_a_store_in_the_same_process_is_held_too(tmp_path: Path, paint: Paint) -> None:
    with Store.open(tmp_path / "new") as store:
        assert not remove_if_empty(tmp_path / "new", with_folder=True)
        store.vote(store.add_image(paint(), "fox"), "like", rater="ann")
    assert not remove_if_empty(tmp_path / "new", with_folder=True), "it has a vote now"


@WITH_HOLDS
def test_an_image_without_a_vote_is_something_to_keep(tmp_path: Path, paint: Paint) -> None:
    with Store.open(tmp_path / "new") as store:
        store.add_image(paint(), "fox")
    assert not remove_if_empty(tmp_path / "new", with_folder=True)


@WITH_HOLDS
def test_who_waits_for_a_store_that_is_removed_makes_it_anew(tmp_path: Path, paint: Paint) -> None:
    new = tmp_path / "new"
    Store.open(new).close()
    alone = hold.hold_alone(new)
    assert alone is not None

    def vote() -> None:
        with Store.open(new) as store:
            store.vote(store.add_image(paint(), "fox"), "like", rater="ann")

    waiting = threading.Thread(target=vote)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive(), "it waits"
    (new / "likes.sqlite").unlink()
    new.rmdir()
    hold.release(alone)
    waiting.join(60)
    with Store.open(new, create=False) as store:
        assert store.counts().likes == 1


def test_good_and_useless_imports_at_once_lose_nothing(useless: Path, tmp_path: Path, paint: Paint) -> None:
    """Four good imports and four useless ones into a new store: all votes are there."""
    sources = []
    for number in range(4):
        folder = tmp_path / f"good {number}" / "like"
        folder.mkdir(parents=True)
        for image in range(10):
            (folder / f"{image}.png").write_bytes(paint(10 * number + image))
        sources.append(folder.parent)
    new, ready, failed = tmp_path / "new", threading.Barrier(8), list[BaseException]()

    def bring(source: Path) -> None:
        try:
            ready.wait(60)
            with Store.open(new) as store:
                import_likes(source, store, prompt="a fox")
        except BaseException as error:
            failed.append(error)

    def fail() -> None:
        ready.wait(60)
        for _ in range(10):
            with Store.open(new):
                pass
            remove_if_empty(new, with_folder=True)

    threads = [threading.Thread(target=bring, args=(source,)) for source in sources]
    threads += [threading.Thread(target=fail) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failed
    with Store.open(new, create=False) as store:
        assert store.counts().likes == 40
        assert all(sha256(store.read(label.image)) == label.image.sha256 for label in store.labels())
