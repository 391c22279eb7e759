"""The prompts of a folder's images, as `thumbtune import` reads them.

metadata.jsonl, .csv, .parquet ...   a table in the folder: file_name, and prompt, text or caption
a.txt, a.caption                     beside a.png: the prompt
metadata.jsonl, .csv                 in a folder further down
the image itself                     what its generator wrote into it

A table is the word on its images: a line without a name or a prompt is an error, and not an image without a prompt.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from thumbtune import videos
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.prompts import plain_prompt
from thumbtune.feedback.reading.cells import IMAGE_COLUMNS, PROMPT_COLUMNS, first, prompt_in
from thumbtune.feedback.reading.rows import TABLE_SUFFIXES, kind_of, read_rows, why_broken
from thumbtune.feedback.reading.walk import IMAGE_SUFFIXES as ALL_SUFFIXES
from thumbtune.feedback.source import Reading
from thumbtune.feedback.sources.folders import SIDECARS, LikeFolders

METADATA = "metadata.jsonl"
# The import's list without animations, drawings and icons, which lie beside the images of a model and are none of them.
IMAGE_SUFFIXES = ALL_SUFFIXES - {".gif", ".svg", ".psd", ".ico", *videos.SUFFIXES, *videos.OTHER_SUFFIXES}
NAMED_AS = tuple(f"metadata{suffix}" for suffix in TABLE_SUFFIXES)


@dataclass(frozen=True)
class PromptedFiles:
    """Images with their prompts, in the order in which prompts take them.

    images: each with its prompt as it is written, and the words of it, without the marks of a tool
    table: the table that names them; None if their prompts lie beside or inside the images
    """

    images: Sequence[tuple[Path, str, str]]
    table: Path | None = None
    others: Sequence[Path] = ()  # files that decide the prompts, beside the images and the table

    @property
    def place(self) -> str:
        """Return where the prompts stand, for messages."""
        return str(self.table) if self.table else "the texts beside or inside its images"


def table_in(folder: Path) -> Path | None:
    """Return the metadata table of a folder, or None.

    Raises:
        UsageError: there are several, which may contradict each other.
    """
    tables = [folder / name for name in NAMED_AS if (folder / name).is_file() and not _is_empty(folder / name)]
    if len(tables) > 1:
        raise UsageError(
            f"{folder} contains {' and '.join(table.name for table in tables)}; keep the one that names the prompts.",
            code="image-folder-several-tables",
        )
    return tables[0] if tables else None


def _is_empty(table: Path) -> bool:
    """Return whether a .json file holds no rows: other programs write files of this name too."""
    if table.suffix != ".json":
        return False
    try:
        return not isinstance(content := json.loads(table.read_text(encoding="utf-8-sig")), list) or not content
    except (OSError, ValueError, RecursionError):
        return True


def prompted_files(folder: Path) -> PromptedFiles | None:
    """Return the images of a folder that have a prompt; None if no metadata exists.

    Raises:
        UsageError: the table cannot be read, or a row of it names no image of the folder or no prompt.
    """
    table = table_in(folder)
    if table is not None:
        read = _read_jsonl(table) if table.name == METADATA else _read_table(table)
        return PromptedFiles(
            [(_inside(folder, table, name), prompt, plain_prompt(prompt)[0]) for name, prompt in read], table
        )
    rows = LikeFolders(folder, Reading(label=True))
    try:
        found = [
            (folder / row.where, row.prompt, plain_prompt(row.prompt, row.syntax)[0]) for row in rows if row.prompt
        ]
    except ThumbtuneError as error:
        raise UsageError(str(error), code="image-folder-metadata-unreadable") from error
    images = [each for each in found if each[0].suffix.lower() in IMAGE_SUFFIXES]
    beside = [path.with_suffix(suffix) for path, _, _ in images for suffix in SIDECARS]
    lists = {parent / name for path, _, _ in images for parent in path.parents for name in NAMED_AS}
    others = {path for path in (*beside, *lists) if path.is_relative_to(folder) and path.is_file()}
    return PromptedFiles(images, None, sorted(others)) if images else None


def _inside(folder: Path, table: Path, name: str) -> Path:
    """Return the path of an image that a table names.

    Raises:
        UsageError: it is no file in the folder.
    """
    for spelled in (name, name.replace("\\", "/")):  # as it is, or as Windows writes it
        path = folder / spelled
        try:
            if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
                return path
        except (OSError, ValueError):  # a name that no file can have
            continue
    raise UsageError(
        f"{table} names {name}, which is not an image in {folder}; correct that line.",
        code="image-folder-missing-image",
    )


def _read_table(table: Path) -> Iterator[tuple[str, str]]:
    try:
        for where, row in read_rows(table):
            name, prompt = (None, None) if row is None else (first(row, IMAGE_COLUMNS), prompt_in(row))
            if row is None:
                raise UsageError(
                    f"{table}, {where} cannot be read: {why_broken(table)}.", code="image-folder-metadata-unreadable"
                )
            if not isinstance(name, str) or prompt is None:
                raise UsageError(
                    f"{table}: {where} has no file_name or no prompt; write both.", code="image-folder-metadata-row"
                )
            yield name, prompt
    except UsageError:
        raise
    except ThumbtuneError as error:
        raise UsageError(str(error), code="image-folder-metadata-unreadable") from error


def _read_jsonl(table: Path) -> Iterator[tuple[str, str]]:
    try:
        for number, line in enumerate(table.read_text(encoding="utf-8-sig").split("\n"), start=1):
            row = json.loads(line) if line.strip() else None
            if row is not None:
                prompt = next((row[key] for key in PROMPT_COLUMNS if key in row), None)
                name = row.get("file_name")
                if not isinstance(name, str) or not isinstance(prompt, str):
                    raise UsageError(
                        f"{table}, line {number} has no file_name or no prompt; write both.",
                        code="image-folder-metadata-row",
                    )
                yield name, prompt
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{table} cannot be read ({str(error)[:100]}); write one object with file_name and prompt on each line.",
            code="image-folder-metadata-unreadable",
        ) from error


def refuse_other_tables(folder: Path, images: Sequence[Path]) -> None:
    """Refuse a table of another name whose first rows name the folder's images: the order may not be that of its rows.

    Raises:
        UsageError: there is one.
    """
    names = {image.name for image in images} | {image.stem for image in images}
    for table in sorted(folder.glob("*")):
        if kind_of(table) is None or not table.is_file() or table.name.startswith("."):
            continue
        try:
            row = next((row for _, row in read_rows(table) if row is not None), {})
        except ThumbtuneError:
            continue
        cells = [cell for cell in row.values() if isinstance(cell, str)]
        if any(cell.replace("\\", "/").rpartition("/")[2] in names for cell in cells):
            raise UsageError(
                f"{table} names images of {folder}, but only a table that is called metadata, as {METADATA}, gives "
                "them their prompts; rename it, with the columns file_name and prompt, or move it elsewhere.",
                code="image-folder-other-table",
            )
