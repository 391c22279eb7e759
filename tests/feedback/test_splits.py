"""The Parquet files of a folder, and of one split in it."""

from pathlib import Path

from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.feedback.reading.splits import files_of_split, parquet_files


def test_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("b-1-of-2.parquet", "b-0-of-2.parquet", "._b-0-of-2.parquet", "b.txt"):
        (tmp_path / "data" / name).touch()
    names = [file.name for file in parquet_files(tmp_path)]
    assert names == ["b-0-of-2.parquet", "b-1-of-2.parquet"]
    assert files_of_split(tmp_path, "b") == files_of_split(tmp_path, None) == parquet_files(tmp_path / "data")
    (tmp_path / "all.parquet").touch()
    assert parquet_files(tmp_path) == [tmp_path / "all.parquet"], "beside the card before those in data/"
    assert parquet_files(tmp_path / "all.parquet") == [tmp_path / "all.parquet"]
    assert parquet_files(tmp_path / "none") == []


def test_files_with_and_without_a_split(tmp_path: Path) -> None:
    for name in ("extra.parquet", "train-00000-of-00001.parquet"):
        (tmp_path / name).touch()
    with refused("split-needed", UsageError, naming="one without a name, train"):
        files_of_split(tmp_path, None)
    assert [file.name for file in files_of_split(tmp_path, "train")] == ["train-00000-of-00001.parquet"]
