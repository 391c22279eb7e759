"""Erasing a rater deletes their votes, keeps all others, and counts the images that it changes."""

import hmac
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from platform import node

import pytest
from refusals import refused
from typer.testing import CliRunner

from thumbtune.cli.app import app
from thumbtune.errors import UsageError
from thumbtune.feedback import likes
from thumbtune.feedback.likes import likes_of
from thumbtune.feedback.store.erasure import marker_of
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.temporary import remove_leftovers

Paint = Callable[..., bytes]


def labels_in(store: Store) -> dict[tuple[str, str], bool]:
    return {(row.image.prompt, row.rater): row.liked for row in store.labels()}


def test_erasing_deletes_all_votes_of_a_rater_and_counts_changed_images(store: Store, paint: Paint) -> None:
    alone, tie, turned, same = (
        store.add_image(paint(i), name) for i, name in enumerate(("alone", "tie", "turned", "same"))
    )
    for image in (alone, tie, same):
        store.vote(image, "like", rater="ann")
    store.undo(store.vote(turned, "dislike", rater="ann"), rater="ann")
    store.vote(turned, "like", rater="ann")
    store.vote(tie, "dislike", rater="bob")  # a tie, which becomes a dislike
    for rater, kind in (("bob", "dislike"), ("eve", "like")):  # a like, which becomes a tie
        store.vote(turned, kind, rater=rater)  # type: ignore[arg-type]
    store.vote(same, "like", rater="bob")
    erased = store.erase("ann")
    assert (erased.votes, erased.unlabelled, erased.majority_changed) == (6, 1, 2)
    assert labels_in(store) == {
        ("tie", "bob"): False,
        ("turned", "bob"): False,
        ("turned", "eve"): True,
        ("same", "bob"): True,
    }


def test_votes_are_append_only_again_after_erasing(store: Store, paint: Paint) -> None:
    fox = store.add_image(paint(), "fox")
    for rater in ("ann", "bob"):
        store.vote(fox, "like", rater=rater)
    store.erase("ann")
    with pytest.raises(Exception, match="append-only"), store._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM votes")
    store.vote(fox, "dislike", rater="ann")  # who may come back
    assert labels_in(store) == {("fox", "ann"): False, ("fox", "bob"): True}


def test_nobody_is_erased_by_a_slip(store: Store, paint: Paint) -> None:
    store.vote(store.add_image(paint(), "fox"), "like", rater="ann")
    with refused("rater-unknown", UsageError, naming=("'Ann'", "likes stats")) as slip:
        store.erase("Ann")
    assert "ann" not in str(slip.value)


def test_an_erasure_that_fails_erases_nothing(store: Store, paint: Paint, tmp_path: Path) -> None:
    store.vote(store.add_image(paint(), "fox"), "like", rater="ann")
    with pytest.raises(RuntimeError), store.transaction():
        store.erase("ann")
        raise RuntimeError
    assert labels_in(store) == {("fox", "ann"): True}


# --- erasing is one act: killed at any moment, a second call completes it

KILLED = """
import os, signal, sys
from thumbtune.feedback.store import erasure, store as stores
def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
where = {"begun": (erasure, "write_text"), "deleted": (stores, "erase"), "committed": (stores, "checkpoint"),
         "logged": (erasure.Erasure, "clean"), "tables": (erasure, "remove_leftovers")}[sys.argv[2]]
setattr(*where, kill)
with stores.Store.open(sys.argv[1]) as store:
    store.erase("ann-of-green-gables")
"""


def files_naming(folder: Path, name: bytes) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and name in file.read_bytes()]


@pytest.mark.parametrize("moment", ["begun", "deleted", "committed", "logged", "tables"])
def test_an_erasure_that_was_killed_is_completed_by_the_next(
    file_store: Store, paint: Paint, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "temporary").mkdir()
    fox = file_store.add_image(paint(), "fox")
    for rater in ("ann-of-green-gables", "bob"):
        file_store.vote(fox, "like", rater=rater)
    assert len(likes_of(file_store, "per-vote")) == 2
    assert file_store.folder is not None and file_store.tables is not None
    (file_store.tables / ".likes.arrow.0123.partial").write_bytes(b"ann-of-green-gables")
    left = tmp_path / "temporary" / f"thumbtune-likes-{node()}.{2**30}.abc"
    left.mkdir()
    (left / "likes.arrow").write_bytes(b"ann-of-green-gables")
    file_store.close()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(file_store.folder), moment], check=False)
    assert killed.returncode == -signal.SIGKILL
    result = CliRunner().invoke(
        app, ["likes", "erase", "ann-of-green-gables", "--likes", str(file_store.folder), "--yes"]
    )
    assert result.exit_code == 0, result.output
    assert ("was interrupted before" in result.output) == (moment != "begun")
    assert files_naming(tmp_path, b"green-gables") == []
    assert list(file_store.folder.glob(".erasing*")) == []
    with Store.open(file_store.folder) as store:
        assert labels_in(store) == {("fox", "bob"): True}
        assert store.erase("ann-of-green-gables").votes == 0, "the same script may run again"


def test_a_rater_who_is_unknown_is_named_before_anything_is_asked(file_store: Store, paint: Paint) -> None:
    file_store.vote(file_store.add_image(paint(), "fox"), "like", rater="ann")
    for name in ("Ann", "ann ", "\udcff"):
        result = CliRunner().invoke(app, ["likes", "erase", name, "--likes", str(file_store.folder)])
        assert isinstance(result.exception, UsageError) and "Delete" not in result.output
        assert result.exception.code == "rater-unknown"


@pytest.mark.slow
def test_another_raters_interrupted_erasure_makes_no_rater_known(file_store: Store, paint: Paint) -> None:
    assert file_store.folder is not None
    file_store.vote(file_store.add_image(paint(), "fox"), "like", rater="ann")
    marker_of(file_store.folder, "bob").touch()
    with refused("rater-unknown", UsageError):
        file_store.check_rater("eve")
    erased = file_store.erase("bob")
    assert (erased.votes, erased.resumed) == (0, True)
    assert labels_in(file_store) == {("fox", "ann"): True}


def test_a_table_that_was_begun_before_an_erasure_is_not_kept(
    file_store: Store, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        file_store.vote(file_store.add_image(paint(number), "fox"), "like", rater="ann")
    file_store.vote(1, "like", rater="bob")
    write = likes._write

    def write_slowly(store: Store, policy: str, file: Path) -> Path:
        written = write(store, policy, file)
        store.erase("ann")
        return write(store, policy, file) if not written.exists() else written

    monkeypatch.setattr(likes, "_write", write_slowly)
    likes_of(file_store)
    assert file_store.tables is not None and not list(file_store.tables.glob("*"))


def test_a_log_that_others_read_is_named(file_store: Store, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    file_store.vote(file_store.add_image(paint(), "fox"), "like", rater="ann")
    with monkeypatch.context() as busy:
        busy.setattr("thumbtune.feedback.store.store.checkpoint", lambda _: False)
        with refused("erasure-incomplete", naming=file_store.name):
            file_store.erase("ann")
    assert file_store.erase("ann").resumed


def test_temporary_folders_of_running_processes_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = [
        f"thumbtune-likes-{node()}.{os.getpid()}.a",
        f"thumbtune-rehearsal-{node()}.{2**30}.b",
        "thumbtune-likes-c",
    ]
    names += [f"thumbtune-likes-elsewhere.{2**30}.d", "thumbtune-other"]
    for name in names:
        (tmp_path / name).mkdir()
    old = tmp_path / "thumbtune-likes-old"
    old.mkdir()
    os.utime(old, (0, 0))
    remove_leftovers()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([names[0], *names[2:]])


def test_the_store_knows_an_erased_rater_by_a_keyed_hash_alone(store: Store, paint: Paint) -> None:
    fox = store.add_image(paint(), "fox")
    store.vote(fox, "like", rater="ann")
    assert "ann" not in store.erased_raters()
    store.erase("ann")
    erased = store.erased_raters()
    assert "ann" in erased and "Ann" not in erased and len(erased.key) == 32
    assert erased.digests == {hmac.new(erased.key, b"ann", "sha256").hexdigest()}
    store.vote(fox, "like", rater="bob")
    store.erase("bob")
    assert store.erased_raters().key == erased.key and len(store.erased_raters().digests) == 2
