"""The Parquet files of a data set in a folder, as `datasets` and the Hugging Face hub lay them out.

`train-00000-of-00064.parquet` and its sisters are one split; they lie beside the card or in `data/`.
"""

import re
from pathlib import Path

from thumbtune.errors import ThumbtuneError

SHARD = re.compile(r"(?P<split>.+)-\d+-of-\d+(-\w+)?$")  # with a hash behind it on the hub's older data sets
UNNAMED = ""


def parquet_files(path: Path) -> list[Path]:
    """The file itself, or those of a folder, in order of name. It never raises; what cannot be read holds none."""
    try:
        if path.is_file():
            return [path] if path.suffix.lower() == ".parquet" else []
        for folder in (path, path / "data"):
            files = [file for file in sorted(folder.glob("*.parquet")) if not file.name.startswith(".")]
            if files:
                return files
    except (OSError, ValueError):
        pass
    return []


def files_of_split(path: Path, split: str | None) -> list[Path]:
    """The Parquet files of one split; `split` may stay None where there is but one.

    Raises:
        ThumbtuneError: there are none, or several splits and no word on which, or not this one.
    """
    files = parquet_files(path)
    if not files:
        raise ThumbtuneError(f"{path} holds no Parquet files; give one, or the folder that they lie in.")
    splits: dict[str, list[Path]] = {}
    for file in files:
        named = SHARD.match(file.stem)
        splits.setdefault(named["split"] if named else UNNAMED, []).append(file)
    names = ", ".join(name or "one without a name" for name in splits)
    if split is None and len(splits) > 1:
        raise ThumbtuneError(f"{path} holds several splits ({names}); say which one to read.")
    if split is not None and path.is_dir() and split not in splits:
        raise ThumbtuneError(f"{path} has no split {split!r}, only {names}; choose one of those.")
    return files if split is None or path.is_file() else splits[split]
