"""Images that are imported without votes, to be judged later."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import refused

from thumbtune.feedback.source import Reading
from thumbtune.feedback.sources.kinds import open_source
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.unrated import import_unrated

Call = Callable[..., tuple[int, str, str]]


def rows_of(folder: Path) -> object:
    return open_source(folder, None, Reading(label=True))


def test_images_come_in_without_votes_once(folder: Path, store: Store) -> None:
    dry = import_unrated(rows_of(folder), store, dry_run=True)  # type: ignore[arg-type]
    assert store.counts().images == 0
    first = import_unrated(rows_of(folder), store)  # type: ignore[arg-type]
    again = import_unrated(rows_of(folder), store)  # type: ignore[arg-type]
    assert (first.rows, first.new, first.known, first.skipped) == (3, 3, 0, []) and dry == first
    assert (again.new, again.known) == (0, 3)
    counts = store.counts()
    assert (counts.images, counts.votes) == (3, 0)
    assert sorted(store.prompts(store.newest())) == ["prompt 0", "prompt 1", "prompt 2"]


def test_the_same_image_twice_in_a_folder_is_one(folder: Path, store: Store) -> None:
    shutil.copy(folder / "like" / "a.png", folder / "like" / "copy.png")
    shutil.copy(folder / "like" / "a.txt", folder / "like" / "copy.txt")
    for dry_run in (True, False):
        report = import_unrated(rows_of(folder), store, dry_run=dry_run)  # type: ignore[arg-type]
        assert (report.rows, report.new, report.known) == (4, 3, 1)


def test_what_cannot_be_used_is_listed(folder: Path, store: Store) -> None:
    (folder / "like" / "a.txt").unlink()
    (folder / "like" / "broken.png").write_bytes(b"no image")
    (folder / "like" / "broken.txt").write_text("x")
    report = import_unrated(rows_of(folder), store)  # type: ignore[arg-type]
    assert (report.rows, report.new, len(report.skipped)) == (4, 2, 2)
    assert "prompt" in report.skipped[0][1] and "image" in report.skipped[1][1]
    assert import_unrated(rows_of(folder), store, prompt="for all").new == 1  # type: ignore[arg-type]


def test_the_command(call: Call, folder: Path, tmp_path: Path) -> None:
    likes = tmp_path / "likes"
    code, out, _ = call("import", folder, "--likes", likes, "--unrated", "--dry-run")
    assert code == 0 and "3 images: 3 new" in out and not likes.exists()
    code, out, _ = call("import", folder, "--likes", likes, "--unrated")
    assert code == 0 and "thumbtune studio" in out
    with Store.open(likes) as store:
        assert (store.counts().images, store.counts().votes) == (3, 0)


@pytest.mark.parametrize("option", [("--label", "like"), ("--strict",), ("--correct",)])
def test_options_without_an_effect_are_refused(
    call: Call, folder: Path, tmp_path: Path, option: tuple[str, ...]
) -> None:
    code, _, err = call("import", folder, "--likes", tmp_path / "likes", "--unrated", *option)
    assert code == 2 and option[0] in err and not (tmp_path / "likes").exists()


def test_a_full_disk_ends_the_import(folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from thumbtune.errors import ThumbtuneError

    def full(*_: object, **__: object) -> None:
        raise ThumbtuneError("The disk is full.", code="disk-full")

    monkeypatch.setattr("thumbtune.feedback.unrated.add_images", full)
    with refused("disk-full"):
        import_unrated(rows_of(folder), store)  # type: ignore[arg-type]
