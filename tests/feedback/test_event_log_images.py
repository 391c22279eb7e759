"""The images of an event log: none of other files of this machine, each file once, and none that has changed."""

import io
import os
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.refusals import refused
from thumbtune.feedback import held_images
from thumbtune.feedback.likes import image_of, opened_cell

pytest.importorskip("duckdb")

from thumbtune.feedback.event_log.log import EventLog
from thumbtune.feedback.event_log.reading import EventReading


def png(color: tuple[int, int, int] = (255, 0, 0)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(file, "PNG")
    return file.getvalue()


def write(file: Path, images: list[Any], **options: Any) -> Path:
    """Write votes on these images, likes first, and the image 0.png beside them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    (file.parent / "0.png").write_bytes(png())
    number = len(images)
    columns = {"image": images, "prompt": ["a fox"] * number, "label": ["like"] * (number - 1) + ["dislike"]}
    pq.write_table(pa.table(columns), file, **options)
    return file


@pytest.mark.parametrize(
    "address",
    [
        *("local://{0}/private.png", "file://{0}/private.png", "simplecache::file://{0}/private.png"),
        *("zip://private.png::file://{0}/z.zip", "s3://bucket/a.png::file://{0}/private.png", "dir://{0}/private.png"),
        *("ftp://host/a.png", "nosuch://a/b.png", "memory://private.png", "parquet://{0}/x.parquet#0#image#0"),
    ],
)
@pytest.mark.parametrize("remote", [False, True])
def test_addresses_lead_to_no_other_file(tmp_path: Path, address: str, remote: bool) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "private.png").write_bytes(png())
    with zipfile.ZipFile(secret / "z.zip", "w") as packed:
        packed.writestr("private.png", png())
    file = write(tmp_path / "log" / "e.parquet", [address.format(secret), "0.png"])
    if not remote:
        with EventLog.open(str(file)) as log:
            assert (log.report.liked, log.report.disliked, log.report.unreadable) == (0, 1, 1)
            assert len(log.skipped()) == 1
        return
    system = fsspec.filesystem("memory")
    system.put(str(tmp_path / "log"), "/guarded", recursive=True)
    try:
        with EventLog.open("memory://guarded/*.parquet") as log:
            of_log = address.startswith("memory:")  # an address in the place where the log lies
            assert (log.report.liked, log.report.unreadable) == (int(of_log), int(not of_log))
    finally:
        system.rm("/guarded", recursive=True)


def test_addresses_of_stores_of_objects_are_kept(tmp_path: Path) -> None:
    names = [
        "s3://b/a.png",
        "gs://b/a.png",
        "gcs://b/a.png",
        "hf://datasets/o/n/a.png",
        "az://c/a.png",
        "abfs://c/a.png",
        "abfss://c@account.dfs.core.windows.net/a.png",
        "s3a://b/a.png",
    ]
    with EventLog.open(str(write(tmp_path / "e.parquet", names))) as log:
        assert sorted(log.addresses().values()) == sorted(names)


def test_an_address_that_no_package_opens_is_a_sentence() -> None:
    with refused("image-not-read", naming="nosuch"), opened_cell("nosuch://a/b.png", None):
        pass


def test_a_link_counts_once_and_lies_where_it_is(tmp_path: Path) -> None:
    """A cache of downloads has links beside the images, to files in another folder."""
    write(tmp_path / "blobs" / "e.parquet", ["0.png", "0.png"])
    (tmp_path / "blobs" / "0.png").unlink()
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "0.png").write_bytes(png())
    for name in ("a.parquet", "z.parquet"):
        os.symlink(tmp_path / "blobs" / "e.parquet", tmp_path / "log" / name)
    with EventLog.open(str(tmp_path / "log" / "*.parquet")) as log:
        assert (log.report.rows, log.report.liked, log.report.disliked) == (2, 1, 1)
        assert list(log.addresses().values()) == [str(tmp_path / "log" / "0.png")]
        assert [label.image.source for label in log.labels()] == ["a.parquet"]


def test_a_group_of_rows_is_read_once(tmp_path: Path) -> None:
    images = [png((number, 0, 0)) for number in range(6)]
    file = write(tmp_path / "e.parquet", images, row_group_size=3)
    with EventLog.open(str(file)) as log:
        likes = log.likes()
    reads = []
    real = pq.ParquetFile.read_row_group

    def counted(table: Any, group: int, **options: Any) -> Any:
        reads.append(group)
        return real(table, group, **options)

    with mock.patch.object(pq.ParquetFile, "read_row_group", counted):
        assert [image_of(likes, row).getpixel((0, 0)) for row in range(6)] == [(number, 0, 0) for number in range(6)]
    assert reads == [0, 1]


@pytest.mark.parametrize("column", ["image #1", "50% %23 #", "image"])
@pytest.mark.parametrize("folder", ["a::b", "simplecache::file:", "plain"])
def test_bytes_are_read_again_whatever_the_names_of_the_file_and_its_column(
    tmp_path: Path, folder: str, column: str
) -> None:
    file = tmp_path / folder / "e::f.parquet"
    file.parent.mkdir()
    images = [png((number, 0, 0)) for number in range(3)]
    pq.write_table(pa.table({column: images, "prompt": ["a fox"] * 3, "label": ["like"] * 3}), file)
    with EventLog.open(str(file), EventReading(columns={"image": column})) as log:
        likes = log.likes()
    assert [image_of(likes, row).getpixel((0, 0)) for row in range(3)] == [(number, 0, 0) for number in range(3)]


def test_bytes_that_changed_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "e.parquet", [png((1, 0, 0)), png((2, 0, 0))])
    with EventLog.open(str(file)) as log:
        likes = log.likes()
    write(file, [png((2, 0, 0)), png((1, 0, 0))])
    held_images._opened.cache_clear()  # as in a new process
    held_images._cells.cache_clear()
    with refused("image-not-read", naming="has changed"):
        image_of(likes, 0)


def test_a_prompt_inside_an_image_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "e.parquet", ["0.png", "m.png", "0.png"])
    info = PngInfo()
    info.add_text("parameters", "a wolf\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 8x8, Model: abc")
    Image.new("RGB", (8, 8)).save(tmp_path / "m.png", pnginfo=info)
    table = pq.read_table(file)
    pq.write_table(table.set_column(1, "prompt", pa.array(["a fox", None, None])), file)
    with EventLog.open(str(file)) as log:
        assert log.report.without_prompt == 2
        (_, inside), (_, none) = log.skipped()
        assert "inside the image" in inside and "--prompt" in none


def test_files_that_are_gone_are_named_in_a_sentence(tmp_path: Path) -> None:
    file = write(tmp_path / "e.parquet", ["0.png", "gone.png", "0.png"])
    log = EventLog.open(str(file))
    file.unlink()
    with refused("event-log-unreadable", naming="e.parquet"):
        log.skipped()
    log.close()
    for read in (log.addresses, log.counts, lambda: list(log.prompts()), lambda: list(log.labels())):
        with refused("event-log-unreadable", naming="e.parquet"):
            read()


def test_an_address_without_a_hash_is_refused() -> None:
    with refused("image-not-read", naming="no hash"), opened_cell("parquet:a.parquet#0#image", None):
        pass
