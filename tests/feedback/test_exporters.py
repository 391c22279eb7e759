"""Exports in every form, imported again, and read with the libraries that others use."""

import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from operator import length_hint
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from refusals import refused

from thumbtune.errors import Interrupted, ThumbtuneError, UsageError
from thumbtune.feedback import importers
from thumbtune.feedback.exporters import raters, rows, webdataset
from thumbtune.feedback.exporters.dataset_card import Tally, text_of
from thumbtune.feedback.exporters.export import FORMS, ExportReport, _remove_leftovers, export
from thumbtune.feedback.exporters.raters import Pseudonyms
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.source import Source
from thumbtune.feedback.sources.contrib.webdataset import WebDataset
from thumbtune.feedback.sources.kinds import open_source
from thumbtune.feedback.sources.parquet_folder import ParquetFolder
from thumbtune.feedback.sources.saved import SavedDataset
from thumbtune.feedback.sources.table import Table
from thumbtune.feedback.store.intake import NewVote
from thumbtune.feedback.store.store import Label, Store
from thumbtune.files import sha256, sweep

Call = Callable[..., tuple[int, str, str]]
Paint = Callable[..., bytes]
MOMENT = datetime(2025, 6, 30, 12, 0, 0, 123457, tzinfo=UTC)
DERIVED_ID = uuid.uuid5(uuid.NAMESPACE_URL, "of ann")
RANDOM_ID = uuid.UUID("0f3a7c9e-1b2d-4e5f-8a6b-9c8d7e6f5a4b")
READERS: dict[str, Callable[[Path], Source]] = {
    "parquet": ParquetFolder,
    "datasets": SavedDataset,
    "folder": lambda folder: Table(folder / "metadata.jsonl"),
    "webdataset": WebDataset,
}
forms = pytest.mark.parametrize("form", FORMS)


@pytest.fixture(autouse=True)
def quiet() -> None:
    datasets.disable_progress_bars()


@pytest.fixture
def odd(file_store: Store, paint: Paint) -> Store:
    """Changed minds, skips, undos, grades, pairs; images of all kinds, one of them under two prompts."""
    seen = {"seed": -(2**63), "model": "sd/1.5 “éa”", "source": "a b.csv"}
    fox = file_store.add_image(paint(0), 'a fox\n\tof 🦊 \u2028 <b>"q\'uo,te" 狐', **seen)  # type: ignore[arg-type]
    same = file_store.add_image(paint(0), "a hare")
    jpeg = file_store.add_image(paint(1, "JPEG"), "x" * 5000, seed=2**63 - 1, source=None)
    gif, webp = (file_store.add_image(paint(n, kind), kind) for n, kind in enumerate(("GIF", "WEBP"), start=2))
    bmp, tiff = (file_store.add_image(paint(n, kind), kind) for n, kind in enumerate(("BMP", "TIFF"), start=4))
    silent = file_store.add_image(paint(6), "nobody rated this")
    file_store.vote(fox, "like", rater="ann", weight=0.1 + 0.2, grade=1 / 3, reason="paws \\ \n🐾", pair="p/1")
    file_store.vote(fox, "dislike", rater="bob 👤", weight=0.0, grade=0.0, created_at=MOMENT, vote_id=str(RANDOM_ID))
    file_store.vote(same, "dislike", rater="ann", vote_id=str(DERIVED_ID), pair="p/1")
    file_store.vote(jpeg, "dislike", rater="ann")
    file_store.vote(jpeg, "like", rater="ann", grade=1.0)  # a changed mind
    taken_back = file_store.vote(gif, "like", rater="bob 👤")
    file_store.vote(gif, "like", rater="ann", weight=1e300)
    file_store.undo(taken_back, rater="bob 👤")
    file_store.vote(webp, "like", rater="12.0")
    file_store.vote(bmp, "like", rater="true")
    file_store.vote(tiff, "dislike", rater="ann")
    file_store.vote(silent, "like", rater="ann")
    file_store.vote(silent, "skip", rater="ann")  # which withdraws the like
    return file_store


def votes(store: Store, hidden: Pseudonyms | None = None) -> list[tuple[object, ...]]:
    """All that the latest votes contain, in the order of the store."""
    labels = store.labels() if hidden is None else map(hidden.hide, store.labels())
    return sorted((_cells(label, store) for label in labels), key=repr)


def _cells(label: Label, store: Store) -> tuple[object, ...]:
    about = label.image
    pixels = (about.sha256, sha256(store.read(about)), about.width, about.height, Path(about.file).suffix)
    made = (about.prompt, about.seed, about.model, about.source)
    more = (label.weight, label.grade, label.reason, label.pair, label.created_at, label.vote_id)
    return (*pixels, *made, label.rater, label.liked, *more)


def imported(source: Source, where: Path, patch: pytest.MonkeyPatch, **options: object) -> Store:
    """Return a new store with all rows of a source."""
    patch.setattr(importers, "open_source", lambda path, store, reading, kind: source)
    store = Store.open(where)
    report = import_likes(where, store, strict=True, **options)  # type: ignore[arg-type]
    assert report.rows == report.likes + report.dislikes
    return store


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- out and in again


@forms
@pytest.mark.parametrize("names", [True, False])
def test_nothing_is_lost(odd: Store, tmp_path: Path, form: str, names: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    report = export(odd, tmp_path / "out" / "likes", form, names=names)
    assert report == ExportReport(rows=8, likes=5, dislikes=3, skips=1)
    hidden = None if names else Pseudonyms(raters.pseudonym_key_of(odd))
    with imported(READERS[form](tmp_path / "out" / "likes"), tmp_path / "new", monkeypatch) as new:
        assert len(votes(new)) == 8 and votes(new) == votes(odd, hidden)


@forms
def test_prompts_with_marks_come_back_letter_by_letter(
    file_store: Store, tmp_path: Path, form: str, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import takes the weights of image generators out of prompts; a store has them where they were words."""
    prompts = ["a (red:1.3) apple <lora:ink:0.8>", "a sign BREAK ((loud))", "a cat --ar 16:9", "plain"]
    for number, prompt in enumerate(prompts):
        file_store.vote(file_store.add_image(paint(number), prompt), "like", rater="ann")
    export(file_store, tmp_path / "likes", form, names=True)
    with imported(READERS[form](tmp_path / "likes"), tmp_path / "new", monkeypatch) as new:
        assert sorted(label.image.prompt for label in new.labels()) == sorted(prompts)
        assert votes(new) == votes(file_store)


@forms
def test_importing_it_over_the_store_changes_nothing(odd: Store, tmp_path: Path, form: str, paint: Paint) -> None:
    before = odd.state()
    export(odd, tmp_path / "likes", form, names=True)
    report = odd.add_votes([_vote(row) for row in READERS[form](tmp_path / "likes")])
    assert len(report) == 8 and odd.state() == before


def _vote(row: importers.SourceRow) -> NewVote:
    assert row.image is not None and row.prompt and row.rater
    return NewVote(
        data=row.image(),
        prompt=row.prompt,
        kind="like" if row.liked else "dislike",
        rater=row.rater,
        vote_id=row.vote_id,
    )


def test_a_server_s_store(store: Store, tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        store.vote(store.add_image(paint(number), "fox"), "like", rater="ann")
    export(store, tmp_path / "a", "webdataset")
    export(store, tmp_path / "b", "webdataset")
    kept = store.folder is not None
    assert (files_in(tmp_path / "a") == files_in(tmp_path / "b")) == kept, "a server has no place for a key"
    with imported(WebDataset(tmp_path / "a"), tmp_path / "new", monkeypatch) as new:
        assert [row.rater for row in new.labels()] == [next(iter(new.labels())).rater] * 3


@pytest.mark.parametrize("form", ["parquet", "folder"])
def test_what_the_import_finds_by_itself(odd: Store, tmp_path: Path, form: str) -> None:
    export(odd, tmp_path / "likes", form, names=True)
    found = list(open_source(tmp_path / "likes", None))
    assert len(found) == 8 and all(each.image and each.liked is not None and not each.problem for each in found)


# --- the same again


@forms
def test_exporting_twice_gives_the_same_bytes(odd: Store, tmp_path: Path, form: str) -> None:
    for name in ("a", "b"):
        export(odd, tmp_path / name, form, shard_bytes=1500)
    assert files_in(tmp_path / "a") == files_in(tmp_path / "b")


@forms
def test_shards(odd: Store, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small; and however few rows are in memory at once."""
    monkeypatch.setattr(rows, "BATCH_BYTES", 1)
    export(odd, tmp_path / "likes", form, names=True, shard_bytes=2 * rows.ROW_BYTES + 1)
    names = sorted(name for name in files_in(tmp_path / "likes") if name.endswith((".parquet", ".arrow", ".tar")))
    patterns = {
        "parquet": "data/train-{:05}-of-{:05}.parquet",
        "datasets": "data-{:05}-of-{:05}.arrow",
        "webdataset": "shard-{:06}.tar",
        "folder": "",
    }
    number = 0 if form == "folder" else len(names)
    assert number == 0 or 4 <= number < 8
    assert names == [patterns[form].format(shard, number) for shard in range(number)]
    with imported(READERS[form](tmp_path / "likes"), tmp_path / "new", monkeypatch) as new:
        assert votes(new) == votes(odd)


def test_groups_of_rows() -> None:
    row = rows.Row(cells={}, image=bytes(500), name="")
    groups = [len(list(group)) for group in rows.in_shards(iter([row] * 7), 2 * 1500)]
    assert groups == [2, 2, 2, 1]
    assert [len(list(group)) for group in rows.in_shards([row] * 4, 1)] == [1] * 4
    assert list(rows.in_shards([], 1)) == []


@forms
def test_few_images_are_in_memory(odd: Store, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is written before those of the next batch are read."""
    monkeypatch.setattr(rows, "BATCH_BYTES", 1)
    sizes = []

    def watched(labels: Iterable[Label]) -> Iterator[Label]:
        assert length_hint(labels) == 8
        for label in labels:
            (written,) = tmp_path.glob(f".likes.{platform.node()}-{os.getpid()}.*.partial")
            sizes.append(sum(len(data) for data in files_in(written).values()))
            yield label

    export(odd, tmp_path / "likes", form, shard_bytes=1, progress=watched)
    assert len(sizes) == 8 and all(later > before for before, later in zip(sizes[2:6], sizes[4:], strict=True))


def test_an_image_that_many_rated_is_in_parquet_once(file_store: Store, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    image = file_store.add_image(file.getvalue(), "noise")
    for number in range(20):
        file_store.vote(image, "like", rater=f"rater {number}")
    export(file_store, tmp_path / "likes", "parquet")
    (written,) = files_in(tmp_path / "likes").values()
    assert len(file.getvalue()) < len(written) < 2 * len(file.getvalue())


# --- what others see


def test_load_dataset_sees_images(odd: Store, tmp_path: Path, paint: Paint) -> None:
    export(odd, tmp_path / "likes", "parquet", names=True)
    loaded = datasets.load_dataset(str(tmp_path / "likes"), split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(loaded, datasets.Dataset)
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded[0]["image"].size == (16, 16) and loaded[0]["rater"] == "ann" and loaded[0]["label"] is True
    frame = pd.read_parquet(tmp_path / "likes")
    assert frame["image"][0]["bytes"] == paint(0)
    assert frame["created_at"].dt.tz is not None
    schema = pq.read_schema(next((tmp_path / "likes" / "data").iterdir()))
    assert json.loads(schema.metadata[b"huggingface"])["info"]["features"]["image"] == {"_type": "Image"}


def test_load_from_disk(odd: Store, tmp_path: Path, paint: Paint) -> None:
    export(odd, tmp_path / "likes", "datasets", names=True, shard_bytes=3000)
    loaded = datasets.load_from_disk(str(tmp_path / "likes"))
    assert isinstance(loaded, datasets.Dataset)
    assert len(loaded) == 8 and loaded.features == rows.features()
    assert loaded.cast_column("image", datasets.Image(decode=False))[0]["image"]["bytes"] == paint(0)
    assert loaded[1]["rater"] == "bob 👤" and loaded[1]["created_at"] == MOMENT
    export(odd, tmp_path / "again", "datasets", names=True)
    export(odd, tmp_path / "hidden", "datasets")
    again, hidden = (datasets.load_from_disk(str(tmp_path / name)) for name in ("again", "hidden"))
    assert isinstance(again, datasets.Dataset) and isinstance(hidden, datasets.Dataset)
    assert loaded._fingerprint == again._fingerprint != hidden._fingerprint


def test_imagefolder(odd: Store, tmp_path: Path) -> None:
    export(odd, tmp_path / "likes", "folder", names=True)
    assert len([name for name in files_in(tmp_path / "likes") if name.startswith("images/")]) == 6, "of 8 rows"
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "likes"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert isinstance(loaded, datasets.Dataset)
    assert len(loaded) == 8 and set(loaded["label"]) == {True, False}
    assert loaded[0]["image"].size == (16, 16)


def test_the_files_of_a_sample(odd: Store, tmp_path: Path, paint: Paint) -> None:
    export(odd, tmp_path / "likes", "webdataset", names=True)
    with tarfile.open(tmp_path / "likes" / "shard-000000.tar") as archive:
        names = archive.getnames()
        about = json.loads((archive.extractfile("000000001.json") or io.BytesIO()).read())
        assert (archive.extractfile("000000000.png") or io.BytesIO()).read() == paint(0)
    assert names[:4] == ["000000000.png", "000000000.txt", "000000000.json", "000000001.png"]
    assert [name.split(".")[1] for name in names[::3]] == ["png", "png", "png", "jpg", "gif", "webp", "bmp", "tif"]
    assert about["rater"] == "bob 👤" and about["label"] is False and about["created_at"] == MOMENT.isoformat()


# --- from others


def by_others(paint: Paint) -> datasets.Dataset:
    kinds = ("PNG", "JPEG", "GIF", "WEBP")
    features = datasets.Features(
        {"image": datasets.Image(), "prompt": datasets.Value("string"), "label": datasets.Value("bool")}
    )
    cells = {
        "image": [{"bytes": paint(n, kind), "path": None} for n, kind in enumerate(kinds)],
        "prompt": [f"a fox {n} 🦊" for n in range(4)],
        "label": [True, False, True, False],
    }
    return datasets.Dataset.from_dict(cells, features=features)


@pytest.mark.parametrize("form", ["parquet", "datasets"])
def test_what_datasets_itself_exports(tmp_path: Path, paint: Paint, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = by_others(paint)
    folder = tmp_path / "likes"
    (folder / "data").mkdir(parents=True)
    if form == "parquet":
        made.to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    else:
        made.save_to_disk(folder)
    with imported(READERS[form](folder), tmp_path / "new", monkeypatch, rater="ann") as new:
        kinds = ("PNG", "JPEG", "GIF", "WEBP")
        labels = {(row.image.sha256, row.image.prompt, row.liked, row.rater) for row in new.labels()}
        assert labels == {(sha256(paint(n, kind)), f"a fox {n} 🦊", n % 2 == 0, "ann") for n, kind in enumerate(kinds)}


def test_what_pandas_exports(tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame(
        {
            "image": [paint(0), paint(1, "JPEG")],
            "prompt": ["fox", "hare"],
            "label": [1, 0],
            "rater": ["ann", None],
            "grade": [0.5, float("nan")],
            "created_at": pd.to_datetime([MOMENT, None], utc=True),
        }
    )
    frame.to_parquet(tmp_path / "likes.parquet")
    with imported(Table(tmp_path / "likes.parquet"), tmp_path / "new", monkeypatch, rater="bob") as new:
        labels = [(row.image.sha256, row.liked, row.rater, row.grade) for row in new.labels()]
        assert labels == [(sha256(paint(0)), True, "ann", 0.5), (sha256(paint(1, "JPEG")), False, "bob", None)]
        assert next(iter(new.labels())).created_at == MOMENT


# --- policies


def test_a_row_for_each_image(odd: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = next(iter(odd.labels())).image  # on which ann and bob differ
    report = export(odd, tmp_path / "majority", "parquet", policy="majority")
    assert report == ExportReport(rows=6, likes=4, dislikes=2, skips=1, undecided=1)
    report = export(odd, tmp_path / "strict", "parquet", policy="any-dislike")
    assert report == ExportReport(rows=7, likes=4, dislikes=3, skips=1)
    odd.vote(image, "dislike", rater="cy", grade=1.0)
    assert export(odd, tmp_path / "three", "folder", policy="majority").undecided == 0
    lines = (tmp_path / "three" / "metadata.jsonl").read_text(encoding="utf-8").split("\n")
    first = json.loads(lines[0])
    assert (first["label"], first["rater"], first["weight"], first["grade"]) == (False, "majority of 3", 0.5, 0.5)
    assert first["vote_id"] is None, "three people gave it"
    raters = [json.loads(line)["rater"] for line in filter(None, lines)]
    cards = {name: text_of("me/likes", Tally(raters=Counter([name]))) for name in (raters[0], "rater-7f3a")}
    assert "Raters have pseudonyms" in cards["rater-7f3a"] and "Raters have" not in cards[raters[0]]
    assert "A label joins the votes" in cards[raters[0]]
    assert set(raters) == {"majority of 1", "majority of 3"}, "and no pseudonym among them"
    with imported(Table(tmp_path / "three" / "metadata.jsonl"), tmp_path / "new", monkeypatch) as new:
        assert len(list(new.labels())) == 7


@pytest.mark.parametrize("names", [True, False])
def test_what_one_rater_says(odd: Store, tmp_path: Path, names: bool) -> None:
    report = export(odd, tmp_path / "bob", "folder", policy="rater:bob 👤", names=names)
    assert report == ExportReport(rows=1, dislikes=1, skips=1)
    (row,) = map(json.loads, (tmp_path / "bob" / "metadata.jsonl").read_text().splitlines())
    assert (row["rater"] == "bob 👤") == names and row["vote_id"] == str(RANDOM_ID)


# --- names


def test_raters_are_hidden(odd: Store, tmp_path: Path) -> None:
    export(odd, tmp_path / "likes", "folder")
    lines = list(map(json.loads, (tmp_path / "likes" / "metadata.jsonl").read_text().splitlines()))
    names = [row["rater"] for row in lines]
    assert len(set(names)) == 4, "each rater has a pseudonym"
    assert all(name.startswith("rater-") and len(name) == 22 for name in names)
    assert names[0] == names[2] != names[1], "and always the same one"
    key = (odd.folder or Path()) / raters.KEY_FILE
    assert key.stat().st_mode & 0o077 == 0, "for its owner alone"
    assert names[0] == Pseudonyms(key.read_bytes()).name_of("ann")
    assert lines[1]["vote_id"] == str(RANDOM_ID) and lines[2]["vote_id"] != str(DERIVED_ID)
    key.unlink()
    export(odd, tmp_path / "other", "folder")
    others = [json.loads(line) for line in (tmp_path / "other" / "metadata.jsonl").read_text().splitlines()]
    assert set(names).isdisjoint(row["rater"] for row in others), "with another key, others"


def test_what_follows_from_a_name_is_not_exported(file_store: Store, tmp_path: Path, paint: Paint) -> None:
    """A derived vote id would confirm a guessed name."""
    file_store.add_votes([NewVote(data=paint(0), prompt="fox", kind="like", rater="ann")])
    (before,) = file_store.labels()
    export(file_store, tmp_path / "likes", "folder")
    text = (tmp_path / "likes" / "metadata.jsonl").read_text()
    assert before.vote_id is not None and before.vote_id not in text and "ann" not in text


def test_a_damaged_key(odd: Store, tmp_path: Path) -> None:
    ((odd.folder or Path()) / raters.KEY_FILE).write_bytes(b"short")
    with refused("export-key-damaged", naming=raters.KEY_FILE):
        export(odd, tmp_path / "likes", "folder")
    export(odd, tmp_path / "likes", "folder", names=True)


# --- whole or not at all


@forms
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_export_that_is_stopped(odd: Store, tmp_path: Path, form: str, error: BaseException) -> None:
    def stops(labels: Iterable[Label]) -> Iterator[Label]:
        for number, label in enumerate(labels):
            if number == 5:
                raise error
            yield label

    code, kind, cause = (
        ("export-stopped", Interrupted, ())
        if isinstance(error, KeyboardInterrupt)
        else ("export-not-written", ThumbtuneError, "No space left on device")
    )
    (tmp_path / "in").mkdir()
    with refused(code, kind, naming=cause):
        export(odd, tmp_path / "in" / "likes", form, shard_bytes=1, progress=stops)
    assert list((tmp_path / "in").iterdir()) == []


def test_places_that_are_taken(odd: Store, tmp_path: Path) -> None:
    folder = tmp_path / "likes"
    folder.mkdir()
    export(odd, folder, "folder")
    before = files_in(folder)
    with refused("export-folder-taken", UsageError, naming=folder):
        export(odd, folder, "folder")
    assert files_in(folder) == before and [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
    (tmp_path / "file").touch()
    for taken in (tmp_path / "file", odd.folder or Path()):
        with refused("export-folder-taken", UsageError, naming=taken):
            export(odd, taken, "parquet")
    with refused("export-not-written", naming=tmp_path / "file" / "below"):
        export(odd, tmp_path / "file" / "below", "parquet")


def test_images_that_are_gone_or_others(odd: Store, tmp_path: Path, paint: Paint) -> None:
    (gif,) = (row.image for row in odd.labels() if row.image.prompt == "GIF")
    file = Path(odd.address_of(gif))
    file.write_bytes(paint(9))
    with refused("image-changed", naming=file):
        export(odd, tmp_path / "likes", "webdataset")
    file.unlink()
    with refused("image-not-read", naming=file):
        export(odd, tmp_path / "likes", "parquet")
    assert not (tmp_path / "likes").exists()


def test_nothing_to_export(file_store: Store, tmp_path: Path, paint: Paint) -> None:
    file_store.vote(file_store.add_image(paint(), "fox"), "skip", rater="ann")
    for form in FORMS:
        with refused("export-empty", naming=file_store.name):
            export(file_store, tmp_path / "likes", form)
    file_store.vote(file_store.add_image(paint(), "fox"), "like", rater="ann")
    with refused("export-empty", naming=(file_store.name, "by the policy rater:cy")):
        export(file_store, tmp_path / "likes", "folder", policy="rater:cy")
    assert not (tmp_path / "likes").exists()


def test_what_there_is_not(odd: Store, tmp_path: Path) -> None:
    with refused("export-unknown-form", UsageError, naming=("'zip'", "parquet, datasets, folder, webdataset")):
        export(odd, tmp_path / "likes", "zip")
    with refused("policy-unknown", UsageError, naming="'most'"):
        export(odd, tmp_path / "likes", "parquet", policy="most")


def test_archives_forget_what_they_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = []
    add = tarfile.TarFile.addfile
    monkeypatch.setattr(
        tarfile.TarFile, "addfile", lambda self, *given: held.append(len(self.members)) or add(self, *given)
    )
    row = rows.Row(cells={"prompt": "fox"}, image=b"p", name="a.png")
    webdataset.write([row] * 20, tmp_path, 10**9)
    assert len(held) == 60 and max(held) < 3


# --- into the store that it came from


def test_a_store_refuses_its_own_export_under_other_names(
    file_store: Store, tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, rater in enumerate(("ann", "bob")):
        file_store.vote(file_store.add_image(paint(number), "fox"), "like", rater=rater)
    for name, names in (("hidden", False), ("named", True)):
        export(file_store, tmp_path / name, "folder", names=names)
    before = file_store.counts()
    with refused("import-own-export", UsageError):
        import_likes(tmp_path / "hidden", file_store)
    assert file_store.counts() == before
    import_likes(tmp_path / "named", file_store)
    assert file_store.counts() == before
    with imported(Table(tmp_path / "hidden" / "metadata.jsonl"), tmp_path / "new", monkeypatch) as new:
        assert new.counts().raters == 2, "another store takes it"


def test_a_rehearsal_refuses_it_too(call: Call, file_store: Store, tmp_path: Path, paint: Paint) -> None:
    file_store.vote(file_store.add_image(paint(), "fox"), "like", rater="ann")
    out = tmp_path / "my out"
    code, printed, _ = call("likes", "export", out, "--likes", file_store.folder)
    assert code == 0 and f"thumbtune import '{out}' --likes fresh" in printed
    code, _, err = call("import", out, "--likes", file_store.folder, "--dry-run")
    assert code == 2 and "every rater would count twice" in err


def test_a_key_is_whole_or_not_there(file_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process must never read half a key: the file is complete before it gets its name."""
    assert file_store.folder is not None
    file, seen, link = file_store.folder / raters.KEY_FILE, list[bytes](), os.link

    def watched(partial: Path, name: Path) -> None:
        assert not name.exists()
        link(partial, name)
        seen.append(name.read_bytes())

    monkeypatch.setattr("thumbtune.feedback.exporters.raters.os.link", watched)
    assert [raters.pseudonym_key_of(file_store)] == seen and len(seen[0]) == raters.KEY_BYTES
    assert [path.name for path in file_store.folder.glob(".raters*")] == []
    assert raters.pseudonym_key_of(file_store) == seen[0] == file.read_bytes()


def test_who_was_faster_with_a_key_wins(file_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert file_store.folder is not None
    file, theirs = file_store.folder / raters.KEY_FILE, bytes(range(raters.KEY_BYTES))

    def late(partial: Path, name: Path) -> None:
        file.write_bytes(theirs)
        raise FileExistsError(17, "File exists")

    monkeypatch.setattr("thumbtune.feedback.exporters.raters.os.link", late)
    assert raters.pseudonym_key_of(file_store) == theirs


def test_a_key_on_a_disk_without_links(file_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(partial: Path, name: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("thumbtune.feedback.exporters.raters.os.link", none)
    assert raters.pseudonym_key_of(file_store) == raters.pseudonym_key_of(file_store)
    assert file_store.folder is not None
    assert (file_store.folder / raters.KEY_FILE).stat().st_mode & 0o077 == 0


def test_leftovers_of_a_process_that_was_killed_are_removed(odd: Store, tmp_path: Path) -> None:
    """kill -9 leaves a folder behind. The next export of the same name removes it; others stay."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    machine = platform.node()
    gone = [f".likes.{machine}-{ended.pid}.0f3a7c9e.partial", f".likes.{machine}-{ended.pid}.partial"]
    gone.append(f".likes.{machine}-{os.getpid()}.1b2d4e5f.partial")
    stay = [f".likes.{machine}-{os.getppid()}.0f3a7c9e.partial", f".others.{machine}-{ended.pid}.0f3a7c9e.partial"]
    for name in gone + stay:
        leave(tmp_path / name, hours=1.1)
    export(odd, tmp_path / "likes", "folder")
    assert sorted(path.name for path in tmp_path.glob(".*.partial")) == sorted(stay)


@forms
def test_an_export_at_work_is_not_swept(odd: Store, tmp_path: Path, form: str) -> None:
    """A training that starts in the same folder sweeps it; so does another export, even hours later."""

    def watched(labels: Iterable[Label]) -> Iterator[Label]:
        for label in labels:
            (at_work,) = tmp_path.glob(".likes.*.partial")
            for path in (at_work, *at_work.rglob("*")):
                os.utime(path, (0, 0))
            sweep(tmp_path)
            _remove_leftovers(tmp_path / "likes")
            yield label

    export(odd, tmp_path / "likes", form, progress=watched)
    assert files_in(tmp_path / "likes") and [path.name for path in tmp_path.glob(".likes.*")] == []


def test_a_key_that_is_being_written_is_not_swept(file_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    link, folder = os.link, file_store.folder
    assert folder is not None

    def watched(partial: Path, name: Path) -> None:
        assert partial.stat().st_mode & 0o077 == 0
        sweep(folder)
        link(partial, name)

    monkeypatch.setattr("thumbtune.feedback.exporters.raters.os.link", watched)
    assert raters.pseudonym_key_of(file_store) == (folder / raters.KEY_FILE).read_bytes()
    assert list(folder.glob(".*.partial")) == []


def leave(folder: Path, hours: float) -> None:
    """Make the partial folder of an export some hours ago, with one file in it."""
    folder.mkdir()
    moment = time.time() - hours * 3600
    for path in (folder / "a.parquet", folder):
        path.touch()
        os.utime(path, (moment, moment))


@pytest.mark.parametrize("own", [True, False])
def test_an_export_of_a_container_that_is_called_alike_stays(odd: Store, tmp_path: Path, own: bool) -> None:
    """Its process is invisible here, or has the id of this one; it wrote within the hour."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    number = os.getpid() if own else ended.pid
    names = [f".likes.{platform.node()}-{number}{end}.partial" for end in ("", ".0f3a7c9e", ".1b2d4e5f")]
    for name, hours in zip(names, (0, 0.9, 2), strict=True):
        leave(tmp_path / name, hours)
    (tmp_path / names[2] / "a.parquet").write_bytes(b"more")  # which leaves its folder's time as it was
    export(odd, tmp_path / "likes", "folder")
    assert [(tmp_path / name / "a.parquet").is_file() for name in names] == [True, True, True]
    assert (tmp_path / "likes" / "metadata.jsonl").is_file()
