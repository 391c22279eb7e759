"""Columns of images found by their cells, what is printed of a table's columns, and tables of other programs."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.source import Reading
from thumbtune.feedback.sources.kinds import open_source
from thumbtune.feedback.sources.table import Table
from thumbtune.feedback.store.store import Store

Paint = Callable[..., bytes]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, paint: Paint) -> Path:
    """A folder of images."""
    (tmp_path / "images" / "craiyon").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "craiyon/p01.png", "craiyon/p02.png")):
        (tmp_path / "images" / name).write_bytes(paint(number))
    return tmp_path


def write(folder: Path, *rows: dict[str, object]) -> Path:
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "t.jsonl"


def test_a_column_of_names_of_images(folder: Path, file_store: Store) -> None:
    """As AGIQA's `name`, with a rating."""
    rows = [{"name": f"images/{name}.png", "prompt": f"a {name}", "mos_quality": 3 + k} for k, name in enumerate("ab")]
    source = Table(write(folder, *rows), Reading(columns={"label": "mos_quality"}, like_at=3.5))
    assert [row.liked for row in source] == [False, True]
    assert source.described() == ["read: name as image, prompt, mos_quality as label (>= 3.5 is a like)."]
    report = import_likes(folder / "t.jsonl", file_store, reading=source.reading)
    assert (report.likes, report.dislikes) == (1, 1)


def test_names_without_an_ending(folder: Path) -> None:
    """As appeal.csv of avt_ai_images: the file is craiyon/p01.png, and the prompt an id."""
    (folder / "appeal.csv").write_text("image_key,prompt,score\ncraiyon/p01,p01,4\ncraiyon/p02,p02,2\n")
    source = Table(folder / "appeal.csv", Reading(root=folder / "images", like_at=3))
    assert [(row.liked, row.image is not None) for row in source] == [(True, True), (False, True)]
    read, note = source.described()
    assert read == "read: image_key as image, prompt, score as label (>= 3 is a like)."
    assert note.startswith("Each prompt is one word with a number, such as 'p02'; if these are names of prompts")


def test_of_several_columns_of_images_one_that_exists_is_read(folder: Path) -> None:
    row: dict[str, object] = {"prompt": "x", "label": 1}
    both = {"big": "images/a.png", "small": "images/b.png"}
    (found,) = Table(write(folder, row | both))
    assert found.problem == (
        "its columns big, small all contain images; name the one that counts, as in --map image=big"
    )
    (found,) = Table(write(folder, row | both | {"small": "thumbs/a.png"}))
    assert found.problem is None and found.image is not None
    (found,) = Table(write(folder, row | {"note": "none of them"}))
    assert str(found.problem).startswith("none of its columns (prompt, label, note) contains images")


def test_columns_in_other_spellings(folder: Path) -> None:
    row = {"Image Path": "images/a.png", "Prompt Text": "x", "is-liked": True, "User-ID": 7, "createdAt": "2024-01-05"}
    source = Table(write(folder, row | {"prompt": "a fox"}))
    (found,) = source
    assert (found.prompt, found.liked, found.rater, str(found.created_at)[:10]) == ("a fox", True, "7", "2024-01-05")
    assert source.described() == [
        "read: image path as image, prompt, is-liked as label, user-id as rater, createdat as time; "
        "not read: prompt text."
    ]


def test_labels_in_other_spellings_of_a_parquet_file(folder: Path) -> None:
    """Its scale is read from the columns of labels alone."""
    rows = [{"imagePath": f"images/{name}.png", "prompt": name, "Is Liked": k} for k, name in enumerate("ab")]
    pq.write_table(pa.Table.from_pylist(rows), folder / "t.parquet")
    assert [row.liked for row in Table(folder / "t.parquet")] == [False, True]


def test_trls_unpaired_preferences(folder: Path) -> None:
    rows = [{"prompt": f"a {name}", "completion": f"images/{name}.png", "label": name == "a"} for name in "ab"]
    assert [(row.prompt, row.liked) for row in open_source(write(folder, *rows))] == [("a a", True), ("a b", False)]


def test_every_import_prints_how_it_was_read(folder: Path, call: Call, tmp_path: Path) -> None:
    file = write(folder, {"image_path": "images/a.png", "prompt": "a", "rating": 5, "ts": 1704460931, "foo": 1})
    for options in (("--dry-run",), ()):
        code, out, _ = call("import", file, "--likes", tmp_path / "likes", "--like-at", "4", *options)
        assert code == 0
        assert "read: image_path as image, prompt, rating as label (>= 4 is a like), ts as time; not read: foo." in out
    code, _, err = call("import", write(folder, {"foo": 1, "prompt": "a"}), "--likes", tmp_path / "likes")
    assert code != 0 and "read: prompt; not read: foo." in err
