"""List every kind of source that likes are imported from, and find the kind of a given one.

A new kind is a module in `sources/` and an entry here. The first kind that recognises a path opens it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.reading.rows import TABLE_SUFFIXES
from thumbtune.feedback.source import DEFAULT_READING, Reading, Source
from thumbtune.feedback.sources import (
    classes,
    comparisons,
    folders,
    hub,
    pairs,
    parquet_folder,
    pickapic,
    rankings,
    saved,
    table,
)
from thumbtune.feedback.sources.contrib import invokeai, label_studio, webdataset
from thumbtune.feedback.store.location import is_store

Recognises = Callable[[Path], bool]
Opens = Callable[[Path, Reading], Source]


@dataclass(frozen=True)
class Kind:
    """One kind of source: its name for `--as`, its description, and the fields of `Reading` that it understands."""

    name: str
    description: str
    recognises: Recognises
    opens: Opens
    options: tuple[str, ...] = ()


OF_TABLES = ("columns", "limit", "root", "allow_download", "encoding")
KINDS: Sequence[Kind] = (
    Kind(
        "hub",
        "a data set on the Hugging Face hub: hf://datasets/OWNER/NAME",
        hub.recognises,
        hub.HubDataset,
        ("label", "like_at", "words", "split", "columns", "limit", "allow_download"),
    ),
    Kind(
        "invokeai",
        "InvokeAI's folder or database: stars, and boards named like or dislike",
        invokeai.recognises,
        invokeai.InvokeAI,
        ("label", "limit", "root"),
    ),
    Kind(
        "label-studio",
        "Label Studio's export in JSON: choices, ratings, comparisons",
        label_studio.recognises,
        label_studio.LabelStudio,
        ("label", "like_at", "words", *OF_TABLES),
    ),
    Kind(
        "webdataset",
        "shards of WebDataset: a .tar file, a folder of .tar files, or shards-{000..012}.tar",
        webdataset.recognises,
        webdataset.WebDataset,
        ("label", "like_at", "words", "split", *OF_TABLES[:-1]),
    ),
    Kind(
        "dataset",
        "a data set that `datasets` saved to disk",
        saved.recognises,
        saved.SavedDataset,
        ("label", "like_at", "words", "split", *OF_TABLES[:-1]),
    ),
    Kind(
        "pick-a-pic",
        "Pick-a-Pic's Parquet files",
        pickapic.recognises,
        pickapic.PickAPic,
        ("policy", "split", "limit"),
    ),
    Kind(
        "classes",
        "images with the classes of the paper's authors",
        classes.recognises,
        classes.Classes,
        ("policy", *OF_TABLES),
    ),
    Kind(
        "pairs",
        "tables of a chosen and a rejected image",
        pairs.recognises,
        pairs.Pairs,
        ("policy", "split", *OF_TABLES),
    ),
    Kind(
        "rankings",
        "tables of several ranked images, as ImageReward's and HPD's",
        rankings.recognises,
        rankings.Rankings,
        ("policy", "split", "like_at", *OF_TABLES),
    ),
    Kind(
        "comparisons",
        "tables of two images a row, and a column that says which is better",
        comparisons.recognises,
        comparisons.Comparisons,
        ("policy", "split", "words", *OF_TABLES),
    ),
    Kind(
        "folders",
        "like/ and dislike/ folders of images",
        folders.recognises,
        folders.LikeFolders,
        ("label", "words", "limit", "root", "encoding"),
    ),
    Kind(
        "table",
        "a table of labels: .csv, .tsv, .jsonl, .json or .parquet, or a folder with metadata beside its images",
        table.recognises,
        table.opened,
        ("label", "like_at", "words", *OF_TABLES),
    ),
    Kind(
        "parquet",
        "a folder of Parquet files, as data sets on the Hugging Face hub have",
        parquet_folder.recognises,
        parquet_folder.ParquetFolder,
        ("label", "like_at", "words", "split", *OF_TABLES),
    ),
)
OPTIONS = {
    "label": "--label",
    "columns": "--map",
    "words": "--map-label",
    "like_at": "--like-at",
    "policy": "--policy",
    "split": "--split",
    "limit": "--limit",
    "root": "--root",
    "allow_download": "--allow-download",
    "encoding": "--encoding",
}


ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/{1,2}", re.IGNORECASE)  # Path keeps one slash of two
TO_UNPACK = "unpack it and give the folder, or pack it as .tar"
TO_SAVE = "save it as .csv"
TO_NAME = "give its folder, with --label like if you like all its images"
TO_EXPORT = "export its table as .csv; InvokeAI's is the only database that is read"
ADVICE = {
    **{suffix: TO_UNPACK for suffix in (".zip", ".7z", ".rar")},
    **{suffix: TO_SAVE for suffix in (".xlsx", ".xls", ".ods")},
    **{suffix: TO_EXPORT for suffix in (".db", ".sqlite", ".sqlite3")},
    **{suffix: TO_NAME for suffix in folders.IMAGE_SUFFIXES},
}


def open_source(
    path: Path | str, store: Path | None = None, reading: Reading = DEFAULT_READING, kind: str | None = None
) -> Source:
    """Open a source, of the named kind or of the first that recognises it. Nothing is imported yet.

    `store` is the folder of the store to import into, which must not lie inside the source.

    Raises:
        UsageError: there is no such kind, or an option has no effect on it.
        ThumbtuneError: the source is missing, cannot be read, or is a store itself.
    """
    _check_name(str(path))
    path = Path(path)
    try:
        chosen = _kind_of(path, kind, reading)
        _check_options(chosen, reading)
        source = chosen.opens(path, reading)
    except OSError as error:
        raise ThumbtuneError(
            f"{path} could not be read ({error.strerror or error}); check it.", code="source-unreadable"
        ) from error
    _check_place(path, source, store)
    return source


def is_source(path: Path) -> bool:
    """Return whether likes can be imported from a path, as far as names and heads of files tell."""
    try:
        return path.exists() and any(kind.recognises(path) for kind in KINDS)
    except (OSError, ValueError, ThumbtuneError):
        return False


def _check_name(name: str) -> None:
    """Refuse a name of nothing on this machine, before it becomes a path.

    Raises:
        UsageError: it is empty, or an address outside the hub.
    """
    if not name.strip():
        raise UsageError("No source is given; name a folder, a table, or a data set on the hub.", code="source-unnamed")
    if ADDRESS.match(name) and not hub.recognises(Path(name)):
        raise UsageError(
            f"{name} is an address; download it and name the file, or write hf://datasets/OWNER/NAME for a data set on "
            "the hub.",
            code="source-is-address",
        )


def _kind_of(path: Path, name: str | None, reading: Reading) -> Kind:
    if is_store(path):
        raise ThumbtuneError(
            f"{path} is already a store of likes; train on it with --set likes={path}.", code="source-is-store"
        )
    if name is not None:
        return _named(name)
    kind = next((kind for kind in KINDS if kind.recognises(path)), None)
    if kind is not None:
        return kind
    if not path.exists():
        on_hub = f" For a data set on the hub, write hf://datasets/{path}." if hub.may_name(path) else ""
        raise ThumbtuneError(
            f"{path} does not exist; give a folder of images or a table.{on_hub}", code="source-missing"
        )
    if (reading.label is not None or reading.words) and path.is_dir():
        return _named("folders")  # the label is for all images, the words for names of folders
    raise _nothing_here(path)


def _named(name: str) -> Kind:
    for kind in KINDS:
        if kind.name == name:
            return kind
    raise UsageError(
        f"There is no kind of source {name!r}; choose {', '.join(kind.name for kind in KINDS)}.", code="kind-unknown"
    )


def _check_options(kind: Kind, reading: Reading) -> None:
    """Refuse options without effect."""
    for field, option in OPTIONS.items():
        if field not in kind.options and getattr(reading, field) != getattr(DEFAULT_READING, field):
            raise UsageError(
                f"{option} has no effect on {kind.description}; leave it out.", code="option-without-effect"
            )


def _check_place(path: Path, source: Source, store: Path | None) -> None:
    """Refuse a store inside the source, as every import would import its images again."""
    if store is None:
        return
    place, root = store.resolve(), path.resolve().parent if path.is_file() else path.resolve()
    own = [folder for folder, _ in source.folders] if isinstance(source, folders.LikeFolders) else []
    if place == root or any(place.is_relative_to(folder.resolve()) for folder in own):
        raise ThumbtuneError(
            f"The store {store} is inside the source; choose a store outside it, as in --likes elsewhere.",
            code="source-holds-store",
        )


def _nothing_here(path: Path) -> ThumbtuneError:
    if path.is_file():
        if (advice := ADVICE.get(path.suffix.lower())) is not None:
            return ThumbtuneError(f"{path} cannot be read directly; {advice}.", code="source-unsupported")
        kinds = ", ".join(TABLE_SUFFIXES[:-1]) + f" or {TABLE_SUFFIXES[-1]}"
        return ThumbtuneError(
            f"{path} is not a {kinds} file; give such a file, or a folder with like/ and dislike/.",
            code="table-unknown-format",
        )
    return folders.nothing_here(path)
