"""Find the splits of a data set and its Parquet files, as `datasets` and the Hugging Face hub lay them out.

A split is `train-00000-of-00064.parquet` and the files numbered with it, beside the card or in `data/`; or
`train.parquet`; or the files in `train/`.
"""

import re
from collections.abc import Collection
from pathlib import Path

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.quoting import listed

SHARD = re.compile(r"(?P<split>.+)-\d+-of-\d+(-\w+)?$")  # older data sets on the hub have a hash at the end
WORDS = frozenset("train training validation valid val dev test testing eval evaluation".split())
UNNAMED = ""


def parquet_files(path: Path) -> list[Path]:
    """Return the file itself, or those of a folder in order of name. It never raises."""
    try:
        if path.is_file():
            return [path] if path.suffix.lower() == ".parquet" else []
        for folder in (path, path / "data"):
            files = _parquet_in(folder) or [file for each in _folders_of_splits(folder) for file in _parquet_in(each)]
            if files:
                return files
    except (OSError, ValueError):
        pass
    return []


def configurations(path: Path) -> list[str]:
    """Return the names of subfolders that each hold a data set in Parquet files. It never raises."""
    try:
        return [each.name for each in sorted(path.iterdir()) if each.is_dir() and parquet_files(each)]
    except (OSError, ValueError):
        return []


def _parquet_in(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("*.parquet")) if not file.name.startswith(".")]


def _folders_of_splits(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [each for each in sorted(folder.iterdir()) if each.name.lower() in WORDS and each.is_dir()]


def files_of_split(path: Path, split: str | None) -> list[Path]:
    """Return the Parquet files of one split; `split` may be None if there is only one.

    Raises:
        ThumbtuneError: there are no files, several splits and none is named, or no split of this name.
    """
    files = parquet_files(path)
    if not files:
        raise ThumbtuneError(
            f"{path} contains no Parquet files; give a Parquet file or a folder of them.", code="parquet-missing"
        )
    if path.is_file():
        return files
    splits: dict[str, list[Path]] = {}
    for file in files:
        splits.setdefault(_split_of(file), []).append(file)
    return splits[chosen_split(splits, split, str(path))]


def _split_of(file: Path) -> str:
    if named := SHARD.match(file.stem):
        return named["split"]
    return next((name for name in (file.stem, file.parent.name) if name.lower() in WORDS), UNNAMED)


def chosen_split(splits: Collection[str], wanted: str | None, where: str) -> str:
    """Return the wanted split, or the only one.

    Raises:
        UsageError: there are several and none is named, or there is none of this name.
    """
    names = listed([name or "one without a name" for name in splits])
    if wanted is None and len(splits) == 1:
        (wanted,) = splits
    if wanted is None:
        first = listed([name for name in splits if name][:1])
        raise UsageError(
            f"{where} contains several splits ({names}); name one, as in --split {first}.",
            code="split-needed",
        )
    if wanted not in splits:
        raise UsageError(f"{where} has no split {wanted!r}, only {names}; choose one of those.", code="split-unknown")
    return wanted
