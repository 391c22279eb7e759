"""Files of images that an import reads and hashes once, and only while they stay as they are."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from thumbtune.feedback import image_content
from thumbtune.feedback.image_content import HashedFile, ImageFiles, bytes_of, digest_of
from thumbtune.feedback.images import UnreadableImage, read_image
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.store.store import Store
from thumbtune.files import sha256

Paint = Callable[..., bytes]
LONG_AGO = 1_700_000_000


def settled(file: Path, data: bytes, at: int = LONG_AGO) -> partial[bytes]:
    """Write a file that is some time old, and return the function that reads it."""
    file.write_bytes(data)
    os.utime(file, (at, at))
    return partial(read_image, file)


@pytest.fixture(autouse=True)
def old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_content, "SETTLED_SECONDS", -1e9)  # the time of a change cannot be set


def test_a_file_is_read_once_while_it_is_unchanged(tmp_path: Path) -> None:
    files, read = ImageFiles(), settled(tmp_path / "a", b"one")
    first, second = files.content(read), files.content(read)
    assert first == b"one" and isinstance(second, HashedFile)
    assert digest_of(first) == digest_of(second) == sha256(b"one")
    assert (len(second), bytes_of(second)) == (3, b"one")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    files, read = ImageFiles(), settled(tmp_path / "a", b"one")
    before = [files.content(read), files.content(read)]
    settled(tmp_path / "a", b"two", LONG_AGO + 1)
    assert files.content(read) == b"two"
    with pytest.raises(UnreadableImage, match="changed while it was imported"):
        bytes_of(before[1])


def test_a_file_that_has_just_changed_is_read_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_content, "SETTLED_SECONDS", 2.0)
    (tmp_path / "a").write_bytes(b"one")
    files, read = ImageFiles(), partial(read_image, tmp_path / "a")
    assert files.content(read) == files.content(read) == b"one"


def test_what_is_no_file_is_read_each_time(tmp_path: Path) -> None:
    files, reads = ImageFiles(), []

    def read() -> bytes:
        reads.append(1)
        return b"one"

    assert files.content(read) == files.content(read) == b"one" and len(reads) == 2
    for missing in (tmp_path / "b", tmp_path):
        with pytest.raises(UnreadableImage):
            files.content(partial(read_image, missing))


def test_a_lost_image_of_a_store_is_written_from_a_file_that_was_hashed(
    file_store: Store, tmp_path: Path, paint: Paint
) -> None:
    settled(tmp_path / "a.png", paint(0))
    table = tmp_path / "t.csv"
    table.write_text("file_name,prompt,label\n" + "".join(f"a.png,fox {number},1\n" for number in range(3)))
    import_likes(table, file_store)
    (stored,) = (tmp_path / "store" / "images").rglob("*.png")
    stored.unlink()
    assert import_likes(table, file_store).duplicates == 3
    assert stored.read_bytes() == paint(0)
