"""Every kind of source, met with more than ten thousand broken files: rows, problems and sentences, and nothing else.

A new kind is one line of `KINDS`: its name, what makes a small file of it in a folder and returns what to open (a file,
or the folder), and what opens it. The same files are broken in the same ways each time.
"""

import base64
import gzip
import json
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from operator import length_hint
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from invokeai_gallery import VERSION_3, add, database_in
from mutations import broken
from PIL import Image, PngImagePlugin
from sqlalchemy import select

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback import importers
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.metadata.image_files import parameters_in
from thumbtune.feedback.source import Reading, Source, SourceRow
from thumbtune.feedback.sources.classes import Classes
from thumbtune.feedback.sources.comparisons import Comparisons
from thumbtune.feedback.sources.contrib.invokeai import InvokeAI
from thumbtune.feedback.sources.contrib.label_studio import LabelStudio
from thumbtune.feedback.sources.contrib.webdataset import WebDataset
from thumbtune.feedback.sources.folders import LikeFolders
from thumbtune.feedback.sources.pairs import Pairs
from thumbtune.feedback.sources.parquet_folder import ParquetFolder
from thumbtune.feedback.sources.pickapic import PickAPic
from thumbtune.feedback.sources.rankings import Rankings
from thumbtune.feedback.sources.saved import SavedDataset
from thumbtune.feedback.sources.table import Table
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import StoredImage, Vote
from thumbtune.files import sha256

FILES_OF_EACH = 300
AT_ONCE = 50  # files between two looks into the store

Row = dict[str, Any]
Make = Callable[[Path], Path]
Open = Callable[[Path], Source]


@dataclass(frozen=True)
class Kind:
    """A kind of source."""

    name: str
    make: Make
    open: Open

    def __str__(self) -> str:
        return self.name


# --- small files that are as they should be


def image(number: int, **texts: str) -> bytes:
    """A small PNG, with texts in it."""
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_text(name, text, zip=number % 2 == 0)
    file = BytesIO()
    Image.new("RGB", (4, 4), (number * 40, 90, 200)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def beside(folder: Path) -> Path:
    """The folder, with images a to d in img/."""
    (folder / "img").mkdir(parents=True, exist_ok=True)
    for number, name in enumerate("abcd"):
        (folder / "img" / f"{name}.png").write_bytes(image(number))
    return folder


def like_folders(folder: Path) -> Path:
    """like/ and dislike/, with prompts beside the images and in a table."""
    for number, name in enumerate(("like/a", "like/deeper/b", "dislike/c")):
        file = folder / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image(number))
    (folder / "like" / "a.txt").write_text("a f\xfcchslein\n", encoding="utf-8")
    (folder / "metadata.csv").write_text("file_name,prompt\nlike/deeper/b.png,hare\n")
    (folder / "dislike" / "metadata.jsonl").write_text('{"file_name": "c.png", "text": "owl"}\n')
    return folder


LIKES: Sequence[Row] = (
    {"file_name": "img/a.png", "prompt": "a f\xfcchslein", "label": 1, "weight": 0.5, "seed": 7, "id": "x"},
    {"file_name": "img/b.png", "prompt": 'a "hare", running', "label": 0, "rater": "ann", "grade": 0.25},
    {"file_name": "img\\c.png", "prompt": "an owl", "label": 1, "created_at": "2025-06-01T12:00:00Z"},
)
HELD: Sequence[Row] = tuple(
    {**row, "image": {"bytes": image(number), "path": None}} for number, row in enumerate(LIKES)
)
TEXTS: Sequence[Row] = tuple(
    {"prompt": row["prompt"], "label": row["label"], "png": base64.b64encode(image(number)).decode()}
    for number, row in enumerate(LIKES)
)
RATED: Sequence[Row] = tuple({**row, "label": 3 + 2 * number} for number, row in enumerate(LIKES))
PAIRS: Sequence[Row] = (
    {"prompt": "fox", "chosen": "img/a.png", "rejected": "img/b.png", "rater": "ann", "seed": 3},
    {"prompt": "fox", "chosen": "img/c.png", "rejected": "img/a.png", "created_at": 1748779200},
    {"prompt": "hare", "chosen": "img/d.png", "rejected": "img/a.png", "model": "sd"},
)
COMPARED: Sequence[Row] = (
    {"prompt": "fox", "image_a": "img/a.png", "image_b": "img/b.png", "winner": 1, "seed_a": 3, "ts": "1/5/2024"},
    {"prompt": "hare", "image_a": "img/c.png", "image_b": "img/a.png", "winner": 2, "ts": "13/5/2024 10:00"},
    {"prompt": "owl", "image_a": "img/d.png", "image_b": "C:\\x\\img\\a.png", "winner": "tie", "model_a": "sd"},
)
RANKINGS: Sequence[Row] = (
    {"prompt": "fox", "generations": ["img/a.png", "img/b.png", "img/c.png"], "ranking": [1, 3, 2]},
    {"prompt": "hare", "generations": ["img/a.png", "img/d.png"], "ranking": [2, 1]},
)
CLASSES: Sequence[Row] = (
    {"file_name": "img/a.png", "caption": "fox", "split": "exclusive_win"},
    {"file_name": "img/b.png", "caption": "fox", "split": "intersections"},
    {"file_name": "img/c.png", "caption": "hare", "split": "exclusive_lose"},
)
PICKED: Sequence[Row] = tuple(
    {
        "caption": "fox",
        "image_0_uid": a,
        "image_1_uid": b,
        "jpg_0": image(ord(a) % 6),
        "jpg_1": image(ord(b) % 6),
        "label_0": label,
        "label_1": 1 - label,
        "user_id": 7,
        "has_label": True,
        "are_different": True,
    }
    for a, b, label in (("A", "B", 1.0), ("B", "C", 0.0), ("C", "D", 0.5))
)
PARAMETERS = "a fox\nNegative prompt: blurred\nSteps: 20, Sampler: Euler, Seed: 42, Model: sd"
GRAPH = {
    "1": {
        "class_type": "KSampler",
        "inputs": {"seed": 7, "positive": ["2", 0], "negative": ["3", 0], "latent_image": 0},
    },
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox"}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurred"}},
}


def table(name: str, rows: Sequence[Row]) -> Make:
    """What writes these rows into a file of the kind that its name says."""

    def make(folder: Path) -> Path:
        file = beside(folder) / name
        if name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist(list(rows)), file)
        else:
            data = text_of(name, rows).encode("utf-16" if "utf-16" in name else "utf-8")
            file.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
        return file

    return make


def text_of(name: str, rows: Sequence[Row]) -> str:
    if ".csv" in name or ".tsv" in name:
        cells = [
            {key: json.dumps(cell) if isinstance(cell, list) else cell for key, cell in row.items()} for row in rows
        ]
        return pd.DataFrame(cells).to_csv(sep=";" if ".csv" in name else "\t", index=False)
    if ".json" in name and ".jsonl" not in name:
        return json.dumps({"version": 1, "rows": rows} if "document" in name else rows, ensure_ascii=False)
    return "".join(json.dumps(row) + "\n" for row in rows)


def telling_images(folder: Path) -> Path:
    """Images in which their makers wrote what they were made for."""
    folder.mkdir(exist_ok=True)
    (folder / "a.png").write_bytes(image(1, parameters=PARAMETERS))
    (folder / "b.png").write_bytes(image(2, prompt=json.dumps(GRAPH)))
    (folder / "c.png").write_bytes(image(3, invokeai_metadata='{"positive_prompt": "a fox", "seed": 7}'))
    return folder


def shards(name: str) -> Make:
    """What packs images and what is said of them into an archive."""

    def make(folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        with tarfile.open(folder / name, "w:gz" if name.endswith(".gz") else "w") as archive:
            for number, row in enumerate(LIKES):
                said = json.dumps({key: cell for key, cell in row.items() if key != "file_name"}).encode()
                for suffix, data in (("png", image(number)), ("json", said)):
                    member = tarfile.TarInfo(f"{number:04}.{suffix}")
                    member.size = len(data)
                    archive.addfile(member, BytesIO(data))
        return folder / name

    return make


def saved(folder: Path) -> Path:
    """What `datasets` writes to disk."""
    Dataset.from_list([dict(row) for row in HELD]).save_to_disk(str(folder))
    return folder


def parquet_folder(folder: Path) -> Path:
    """Two shards of a data set."""
    for number in range(2):
        file = folder / "data" / f"train-0000{number}-of-00002.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(HELD[number : number + 1])), file)
    return folder


def label_studio(folder: Path) -> Path:
    """Two tasks, one with a choice and one with a rating."""
    about = {"from_name": "opinion", "to_name": "img"}
    said: Sequence[Row] = (
        {"type": "choices", "value": {"choices": ["like"]}, **about},
        {"type": "rating", "value": {"rating": 2}, **about},
    )
    tasks = [
        {
            "id": number,
            "data": {"image": f"img/{'ab'[number]}.png", "prompt": "a fox"},
            "annotations": [{"id": 10 + number, "completed_by": 1, "result": [one], "was_cancelled": False}],
        }
        for number, one in enumerate(said)
    ]
    (beside(folder) / "project.json").write_text(json.dumps(tasks))
    return folder / "project.json"


def gallery(folder: Path) -> Path:
    """InvokeAI's database with a star and a board."""
    database_in(folder, VERSION_3)
    add(folder, "a.png", starred=True, image=image(1))
    add(folder, "b.png", board="dislike", image=image(2))
    return folder / "databases" / "invokeai.db"


class Telling:
    """Such images, each liked, with what is written in them."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*.png"))

    def __length_hint__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[SourceRow]:
        for file in self.files:
            told = parameters_in(file.read_bytes())
            yield SourceRow(
                where=file.name, image=file.read_bytes, prompt=told.prompt, liked=True, seed=told.seed, model=told.model
            )


def rated(file: Path) -> Source:
    """A table of ratings."""
    return Table(file, Reading(like_at=4))


def rated_tasks(file: Path) -> Source:
    """Tasks of which some are rated."""
    return LabelStudio(file, Reading(like_at=4))


KINDS = (
    Kind("folders", like_folders, LikeFolders),
    Kind("csv", table("a.csv", LIKES), Table),
    Kind("csv.gz", table("a.csv.gz", LIKES), Table),
    Kind("csv in utf-16", table("utf-16.csv", LIKES), Table),
    Kind("tsv with ratings", table("a.tsv", RATED), rated),
    Kind("jsonl", table("a.jsonl", LIKES), Table),
    Kind("jsonl.gz", table("a.jsonl.gz", LIKES), Table),
    Kind("json", table("a.json", LIKES), Table),
    Kind("json in an object", table("document.json", LIKES), Table),
    Kind("csv with images", table("a.csv", TEXTS), Table),
    Kind("jsonl with images", table("a.jsonl", TEXTS), Table),
    Kind("parquet", table("a.parquet", LIKES), Table),
    Kind("parquet with images", table("a.parquet", HELD), Table),
    Kind("comparisons in jsonl", table("a.jsonl", COMPARED), Comparisons),
    Kind("comparisons in csv", table("a.csv", COMPARED), Comparisons),
    Kind("pairs in jsonl", table("a.jsonl", PAIRS), Pairs),
    Kind("pairs in csv", table("a.csv", PAIRS), Pairs),
    Kind("pairs in parquet", table("a.parquet", PAIRS), Pairs),
    Kind("rankings in json", table("a.json", RANKINGS), Rankings),
    Kind("rankings in csv", table("a.csv", RANKINGS), Rankings),
    Kind("rankings in parquet", table("a.parquet", RANKINGS), Rankings),
    Kind("classes", table("a.csv", CLASSES), Classes),
    Kind("pick-a-pic", table("a.parquet", PICKED), PickAPic),
    Kind("webdataset", shards("a.tar"), WebDataset),
    Kind("webdataset.gz", shards("a.tar.gz"), WebDataset),
    Kind("saved data set", saved, SavedDataset),
    Kind("folder of parquet", parquet_folder, ParquetFolder),
    Kind("label studio", label_studio, rated_tasks),
    Kind("invokeai", gallery, InvokeAI),
    Kind("images that tell", telling_images, Telling),
)


# --- what holds of every one


def recognised(path: Path, kind: Kind) -> object:
    """What the kind's module says of the file, if it says anything: it never raises."""
    return getattr(sys.modules[kind.open.__module__], "recognises", bool)(path)


def found_in(source: Source) -> list[tuple[object, ...]]:
    """Everything that a source says, with each image read."""
    said = []
    for found in source:
        assert found.image is not None or found.problem, "no image, and no word on why"
        try:
            data = b"" if found.image is None else found.image()
            assert isinstance(data, bytes)
        except UnreadableImage as error:
            assert str(error).strip() and "\n" not in str(error)
        said.append((found.where, found.prompt, found.liked, found.problem, found.rater, found.weight, found.seed))
    return said


def read(path: Path, kind: Kind) -> list[tuple[object, ...]] | None:
    """What a source says, twice the same; None where it is refused in a sentence."""
    try:
        source = kind.open(path)
        assert length_hint(source) >= 0
        once = found_in(source)
        assert found_in(source) == once
        return once
    except ThumbtuneError as error:
        assert str(error).strip()
        return None


def check_whole(store: Store) -> None:
    """Every row of an image has its file, byte for byte, and every vote its image."""
    with store.reading() as session:
        images = {row.id: row for row in session.scalars(select(StoredImage))}
        assert {vote.picture_id for vote in session.scalars(select(Vote))} <= set(images)
        for row in images.values():
            assert sha256(store.read(row)) == row.sha256


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_files_that_are_whole(kind: Kind, tmp_path: Path) -> None:
    """What is broken below is read as it should be while it is not broken."""
    path = kind.make(tmp_path / "made")
    said = read(path, kind)
    assert said and all(one[3] is None and one[1] for one in said), said
    assert recognised(path, kind)


def packed_as(kind: str, content: bytes) -> bytes:
    """One file in an archive."""
    out = BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=out, mode="w") as archive:
            member = tarfile.TarInfo("a.json")
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    else:
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("a.json", content)
    return out.getvalue()


def unpacked(kind: str, data: bytes) -> bytes | None:
    """The one file; None where the archive is broken, or has no such file."""
    try:
        if kind == "tar":
            with tarfile.open(fileobj=BytesIO(data)) as archive:
                file = archive.extractfile("a.json")
                return file and file.read()
        with zipfile.ZipFile(BytesIO(data)) as archive:
            return archive.read("a.json")
    except Exception:  # whatever it is: it is broken
        return None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archives_are_broken_outside_and_inside(kind: str) -> None:
    content = b'{"prompt": "a fox", "label": 1}' * 20
    data = packed_as(kind, content)
    assert unpacked(kind, data) == content
    found = [unpacked(kind, broken(Random(number), data)) for number in range(200)]
    assert found.count(None) >= 20, "outside"
    assert len({each for each in found if each not in (None, content)}) >= 20, "inside"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")  # Pillow's, which stop no user's import
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_files_that_are_broken(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kind.make(tmp_path / "made")
    whole = {file: file.read_bytes() for file in files_below(tmp_path / "made")}
    monkeypatch.setattr(importers, "open_source", lambda path, store, reading, kind_named: kind.open(path))
    with Store.open(tmp_path / "store") as store:
        for number in range(FILES_OF_EACH):
            random = Random(f"{kind.name} {number}")
            file = path if path in whole and random.random() < 0.9 else random.choice(list(whole))
            file.write_bytes(broken(random, whole[file]))
            recognised(path, kind)
            said = read(path, kind)
            report = imported(path, store)
            assert report is None or (said is not None and report.rows == len(said)), number
            if number % AT_ONCE == 0:
                check_whole(store)
            file.write_bytes(whole[file])
        check_whole(store)
        assert importers.import_likes(path, store, prompt="a thing").used, "what was whole is used after all that"


def imported(path: Path, store: Store) -> importers.ImportReport | None:
    try:
        return importers.import_likes(path, store, prompt="a thing")
    except ThumbtuneError:
        return None
