"""Likes in tables: real files of every format, what their rows say, and what is said of rows that say nothing."""

import base64
import csv
import gzip
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.feedback import importers
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.reading import downloads
from thumbtune.feedback.source import Reading, SourceRow
from thumbtune.feedback.sources.parquet_folder import ParquetFolder
from thumbtune.feedback.sources.table import Table, recognises
from thumbtune.feedback.store.store import Store

Paint = Callable[..., bytes]
Row = dict[str, Any]
Said = list[tuple[str | None, str, bool | None]]

ROWS: tuple[Row, ...] = (
    {"file_name": "img/a.png", "prompt": 'a "red", fox; für\nzwei', "label": True},
    {"file_name": "img/b.png", "prompt": "hare", "label": False},
    {"file_name": "img/c.png", "prompt": "\N{FOX FACE}", "label": True},
)
SAID: Said = [('a "red", fox; für\nzwei', "a", True), ("hare", "b", False), ("\N{FOX FACE}", "c", True)]
FOX: Row = {"file_name": "img/a.png", "prompt": "fox", "label": 1}


def write(file: Path, *rows: Row) -> Path:
    """A table in the format that its name says."""
    name = file.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(list(rows)), file)
        return file
    if name.endswith((".csv", ".tsv")):
        text = pd.DataFrame(rows).to_csv(sep="\t" if name.endswith("tsv") else ",", index=False)
    elif name.endswith(".json"):
        text = json.dumps(list(rows))
    else:
        text = "".join(json.dumps(row) + "\n" for row in rows)
    data = text.encode()
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)
    return file


def said(source: Iterable[SourceRow], paint: Paint) -> Said:
    """Prompt, image and label of every row that can be used."""
    names = {paint(number): name for number, name in enumerate("abc")}
    return [(one.prompt, names[one.image()], one.liked) for one in source if one.image is not None]


def problems(source: Iterable[SourceRow]) -> list[str | None]:
    return [one.problem for one in source]


def unread(found: SourceRow) -> str:
    """Why its image cannot be read."""
    assert found.image is not None and found.problem is None
    with pytest.raises(UnreadableImage) as caught:
        found.image()
    return str(caught.value)


# --- formats


@pytest.mark.parametrize(
    "name",
    "a.csv a.tsv a.jsonl a.ndjson a.json a.parquet a.csv.gz a.tsv.gz a.jsonl.gz a.ndjson.gz a.json.gz A.CSV.GZ".split(),
)
def test_every_format(table: Path, paint: Paint, store: Store, name: str) -> None:
    file = write(table / name, *ROWS) if name != "A.CSV.GZ" else write(table / "a.csv.gz", *ROWS).rename(table / name)
    assert recognises(file)
    assert said(Table(file), paint) == SAID
    assert Table(file).__length_hint__() in {0, 3, 4}, "0 where nobody can tell; a prompt may have two lines"
    report = importers.import_likes(file, store)
    assert (report.likes, report.dislikes, report.skipped) == (2, 1, [])
    assert {row.image.source for row in store.labels()} == {name}


def test_what_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.csv").mkdir()
    paths = (tmp_path / "a.txt", tmp_path / "b.csv", tmp_path / "none.csv", Path("a\0.csv"), Path("x" * 5000 + ".csv"))
    assert not any(recognises(path) for path in paths)


def test_an_excel_export_in_another_encoding(table: Path, paint: Paint) -> None:
    lines = ["sep=;", "file_name;prompt;label;weight", 'img\\a.png;"für; dich";WAHR;0,5', "img\\b.png;hare;FALSCH;"]
    (table / "a.csv").write_bytes("\r\n".join(lines).encode("cp1252"))
    source = Table(table / "a.csv", Reading(encoding="cp1252"))
    assert said(source, paint) == [("für; dich", "a", True), ("hare", "b", False)]
    assert [one.weight for one in source] == [0.5, 1.0]
    with refused("text-wrong-encoding", naming=["a.csv", "UTF-8", "--encoding cp1252"]):
        Table(table / "a.csv")
    with refused("encoding-unknown", UsageError, naming="'excel'"):
        Table(table / "a.csv", Reading(encoding="excel"))


def test_a_table_in_utf_16(table: Path, paint: Paint) -> None:
    """What spreadsheet programs call "Unicode text"."""
    with (table / "a.csv").open("w", newline="", encoding="utf-16") as out:
        rows = csv.DictWriter(out, list(ROWS[0]), delimiter="\t")
        rows.writeheader()
        rows.writerows(ROWS)
    assert said(Table(table / "a.csv"), paint) == SAID


def test_data_sets(tmp_path: Path, table: Path, paint: Paint) -> None:
    """Parameters by `datasets`: from an imagefolder, with whole paths in place of images; and with images as text."""
    write(table / "metadata.jsonl", *ROWS)
    loaded = datasets.load_dataset("imagefolder", data_dir=str(table), split="train", cache_dir=str(tmp_path / "cache"))
    (tmp_path / "elsewhere").mkdir()
    loaded.to_parquet(tmp_path / "elsewhere" / "a.parquet")
    outside = problems(Table(tmp_path / "elsewhere" / "a.parquet"))
    assert outside and all("is outside the folder" in str(problem) for problem in outside)
    assert said(Table(tmp_path / "elsewhere" / "a.parquet", Reading(root=table)), paint) == SAID
    held = [
        {**row, "image": {"bytes": base64.b64encode(paint(n)).decode(), "path": None}} for n, row in enumerate(ROWS)
    ]
    datasets.Dataset.from_list(held).remove_columns("file_name").to_json(tmp_path / "b.json")
    assert said(Table(tmp_path / "b.json"), paint) == SAID


# --- images in cells


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
@pytest.mark.parametrize("column", ["image", "png", "jpg", "url", "file_name", "image_url"])
def test_images_as_text(tmp_path: Path, paint: Paint, name: str, column: str) -> None:
    text = base64.b64encode(paint(0, side=64)).decode()
    cells = (text, f"data:image/png;base64,{text}", base64.urlsafe_b64encode(paint(0, side=64)).decode())
    file = write(tmp_path / name, *({column: cell, "prompt": "fox", "label": 1} for cell in cells))
    assert [one.image() for one in Table(file) if one.image] == [paint(0, side=64)] * 3


def test_images_as_bytes(tmp_path: Path, paint: Paint) -> None:
    for name in ("image", "jpg", "png", "webp"):
        pd.DataFrame({name: [paint(0), paint(1)], "text": ["fox", "hare"], "liked": [1, 0]}).to_parquet(
            tmp_path / "a.parquet"
        )
        assert said(Table(tmp_path / "a.parquet"), paint) == [("fox", "a", True), ("hare", "b", False)]


def test_an_image_inside_goes_before_its_name(tmp_path: Path, paint: Paint) -> None:
    rows = (
        {"file_name": "none.png", "image": paint(0), "prompt": "fox", "label": 1},
        {"file_name": "none.png", "image": None, "prompt": "fox", "label": 1},
    )
    first, second = Table(write(tmp_path / "a.parquet", *rows))
    assert said([first], paint) == [("fox", "a", True)]
    assert "does not exist" in unread(second)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_rows_without_an_image(table: Path, paint: Paint, name: str) -> None:
    file = write(table / name, {**FOX, "file_name": None}, FOX, {**FOX, "file_name": "img/none.png"})
    nameless, good, missing = Table(file)
    assert nameless.problem == "it names no image; fill in file_name or remove the row"
    assert said([good], paint) == [("fox", "a", True)]
    assert unread(missing) == f"the file '{table.resolve()}/img/none.png' does not exist; add it or remove the row"


# --- where images lie


@pytest.mark.parametrize(
    "name", ["img/a.png", "img\\a.png", ".\\img\\a.png", "./img/../img/a.png", "inside/a.png", " img/a.png "]
)
def test_names_below_the_table(table: Path, paint: Paint, name: str) -> None:
    (table / "inside").symlink_to("img")
    assert said(Table(write(table / "a.jsonl", {**FOX, "file_name": name})), paint) == [("fox", "a", True)]


def test_names_that_lead_out(table: Path, tmp_path: Path, paint: Paint) -> None:
    (tmp_path / "secret.png").write_bytes(paint(0))
    (table / "link.png").symlink_to(tmp_path / "secret.png")
    (table / "up").symlink_to(tmp_path)
    names = ("../secret.png", "..\\secret.png", str(tmp_path / "secret.png"), "link.png", "up/secret.png", "C:\\a.png")
    names += ((tmp_path / "secret.png").as_uri(),)
    source = Table(write(table / "a.jsonl", *({**FOX, "file_name": name} for name in names), FOX))
    *out, good = source
    assert [one.image for one in out] == [None] * len(names)
    assert all("is outside the folder; put the image into the folder" in str(one.problem) for one in out)
    assert said([good], paint) == [("fox", "a", True)]


def test_a_root(table: Path, tmp_path: Path, paint: Paint) -> None:
    (tmp_path / "elsewhere").mkdir()
    whole = str(table / "img" / "b.png")
    names = ("img/a.png", whole, Path(whole).as_uri(), "../table/img/b.png", "/etc/passwd", str(tmp_path / "x.png"))
    file = write(tmp_path / "elsewhere" / "a.jsonl", *({**FOX, "file_name": name} for name in names))
    found = list(Table(file, Reading(root=table)))
    assert said(found[:3], paint) == [("fox", "a", True), ("fox", "b", True), ("fox", "b", True)]
    assert said(found[3:4], paint) == [("fox", "b", True)], "from the table's folder, and below the root"
    assert ["is outside the folder" in str(one.problem) for one in found[4:]] == [True, True]
    assert "does not exist" in unread(next(iter(Table(file, Reading(root=tmp_path)))))
    with refused("root-missing", UsageError, naming=tmp_path / "none"):
        Table(file, Reading(root=tmp_path / "none"))


# --- on the web


class Quiet(SimpleHTTPRequestHandler):
    """The files of a folder."""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test says what happened."""


@pytest.fixture
def address(table: Path) -> Iterator[str]:
    """The table's folder, served at an address of this machine."""
    with ThreadingHTTPServer(
        ("127.0.0.1", 0),
        lambda *asked: Quiet(*asked, directory=str(table)),  # type: ignore[arg-type]
    ) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_images_on_the_web(
    tmp_path: Path, paint: Paint, address: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = {"image_url": [f"{address}/img/a.png", f"{address}/img/none.png"], "prompt": ["fox"] * 2, "label": [1, 0]}
    pd.DataFrame(columns).to_csv(tmp_path / "a.csv", index=False)
    words = f"'{address}/img/a.png' is a URL; use --allow-download, or download it and give its path"
    assert problems(Table(tmp_path / "a.csv"))[0] == words
    allowed = Reading(allow_download=True)
    assert "it is in a private network" in unread(next(iter(Table(tmp_path / "a.csv", allowed))))
    here = downloads.public_opener(lambda address: address.is_loopback)
    monkeypatch.setattr(downloads, "public_opener", lambda: here)
    found, missing = Table(tmp_path / "a.csv", allowed)
    assert said([found], paint) == [("fox", "a", True)]
    assert "HTTP status 404" in unread(missing)
    report = importers.import_likes(tmp_path / "a.csv", store, reading=allowed)
    assert (report.likes, report.unreadable) == (1, 1)


def test_addresses_of_other_schemes(tmp_path: Path) -> None:
    rows = ({**FOX, "file_name": name} for name in ("ftp://x.org/a.png", "s3://bucket/a.png"))
    source = Table(write(tmp_path / "a.jsonl", *rows), Reading(allow_download=True))
    assert all("is not an http address; download the image" in str(problem) for problem in problems(source))


# --- labels


@pytest.mark.parametrize(
    ("column", "cells", "labels"),
    [
        ("label", [True, False], [True, False]),
        ("liked", [1, 0], [True, False]),
        ("vote", [1, -1], [True, False]),
        ("thumb", ["up", "down"], [True, False]),
        ("thumbs", ["👍🏽", "👎"], [True, False]),
        ("like", ["Yes", "NO"], [True, False]),
        ("label", [1.0, 0.0], [True, False]),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_labels(table: Path, name: str, column: str, cells: list[Any], labels: list[bool]) -> None:
    rows = ({"file_name": "img/a.png", "prompt": "fox", column: cell} for cell in cells)
    assert [one.liked for one in Table(write(table / name, *rows))] == labels


RATED = ("stars", "rating", "score")


@pytest.mark.parametrize("column", RATED)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_ratings_need_a_number_from_which_they_are_likes(table: Path, name: str, column: str) -> None:
    rows = [{"file_name": "img/a.png", "prompt": "fox", column: cell} for cell in (1, 4, 5)]
    file = write(table / name, *rows)
    refused = list(Table(file))
    assert [one.liked for one in refused] == [None, None, None]
    shown = "'1'" if name == "a.csv" else "1"
    assert refused[0].problem == (
        f"its {column} {shown} looks like a rating (of up to 5), not a label; "
        "give the lowest rating that is a like, as in --like-at 4"
    )
    assert refused[0].image is not None, "so that it counts as one without a label"
    assert [one.liked for one in Table(file, Reading(like_at=4))] == [False, True, True]
    assert [one.liked for one in Table(file, Reading(like_at=4.5))] == [False, False, True]


def test_stars_as_stars(table: Path) -> None:
    rows = [{**FOX, "label": cell} for cell in ("★★★★☆", "3/5", "⭐", "yes")]
    file = write(table / "a.jsonl", *rows)
    assert [one.liked for one in Table(file)] == [None, None, None, True]
    assert [one.liked for one in Table(file, Reading(like_at=4))] == [True, False, False, True]


def test_what_numbers_mean_is_told_by_all_rows_of_all_shards(table: Path) -> None:
    """The 1 of the first file is no thumb if the second has a 5; a column of its own is judged by itself."""
    first = write(table / "a.jsonl", FOX, {**FOX, "label": None, "stars": 1})
    second = write(table / "b.jsonl", {**FOX, "label": None, "stars": 5})
    assert [one.liked for one in Table([first])] == [True, None]  # of stars, one is few
    assert [one.liked for one in Table([first, second])] == [True, None, None]
    assert [one.liked for one in Table([first, second], Reading(limit=2))] == [True, None]
    zeros = write(table / "c.jsonl", {**FOX, "label": 0}, {**FOX, "label": -1})
    opinionless, dislike = Table(zeros)
    assert (dislike.liked, opinionless.liked) == (False, None)
    assert opinionless.problem == "its label 0 is no label, since other rows contain -1; write 1 or -1, or remove it"


def test_columns_of_labels_that_contradict_each_other(table: Path) -> None:
    """An imagefolder's class beside a thumb, for example: nobody can tell which one is meant."""
    rows = ({"label": 1, "liked": 1}, {"label": 0, "liked": 1}, {"label": "", "liked": 0}, {"label": "cat", "liked": 1})
    file = write(table / "a.jsonl", *({**FOX, **row} for row in rows))
    agreed, contradicted, blank, other = Table(file)
    assert (agreed.liked, blank.liked, other.liked) == (True, False, True)
    assert contradicted.liked is None
    assert contradicted.problem == "liked is a like and label a dislike; name the one that counts: --map label=liked"
    assert [one.liked for one in Table(file, Reading(columns={"label": "liked"}))] == [True, True, False, True]


def test_rows_without_a_label_say_which_columns_there_are(table: Path, store: Store) -> None:
    file = write(table / "a.jsonl", {"file_name": "img/a.png", "prompt": "fox", "opinion": "yes"}, FOX)
    assert next(iter(Table(file))).where == "a.jsonl, line 1 (columns: file_name, prompt, opinion)"
    report = importers.import_likes(file, store)
    assert (report.likes, report.without_label) == (1, 1)
    assert [one.liked for one in Table(file, Reading(columns={"label": "opinion"}))] == [True, None]


# --- columns


def test_columns_that_somebody_maps(table: Path, paint: Paint) -> None:
    meta = {"who": {"Name": "ann"}, "tags": ["x", "fox"], "thumb": {"up": True}}
    row = {"pic": {"file": "img/a.png"}, "meta": json.dumps(meta), "Ünfug": "7", "prompt": "wrong", "label": 0}
    mapping = {
        "image": "pic.file",
        "prompt": "Meta.tags.1",
        "label": "meta.THUMB.up",
        "rater": "meta.who.name",
        "seed": "ünfug",
    }
    (found,) = Table(write(table / "a.jsonl", row), Reading(columns=mapping))
    assert said([found], paint) == [("fox", "a", True)]
    assert (found.rater, found.seed) == ("ann", 7)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_columns_that_there_are_not(table: Path, name: str) -> None:
    with refused("column-missing", UsageError, naming=[" opinion;", "file_name, prompt, label."]):
        Table(write(table / name, FOX), Reading(columns={"label": "opinion"}))
    with refused("map-unknown-name", UsageError, naming="'labl'"):
        Table(write(table / name, FOX), Reading(columns={"labl": "label"}))


def test_columns_of_one_name(table: Path) -> None:
    (table / "a.csv").write_text("file_name,prompt,Label,label\nimg/a.png,fox,1,0\n")
    with refused("column-repeated", naming=["a.csv", " label;"]):
        Table(table / "a.csv")
    pq.write_table(pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], ["Prompt", "prompt"]), table / "a.parquet")
    with refused("column-repeated", naming=["a.parquet", " prompt;"]):
        Table(table / "a.parquet")


def test_everything_else_that_a_row_may_say(table: Path) -> None:
    more = {
        "weight": "2,5",
        "grade": 0.75,
        "user_id": 7.0,
        "comment": "six fingers",
        "pair_id": 12,
        "seed": "42",
        "model": "sd-1.5",
        "source": "game",
        "timestamp": 1748779200,
        "vote_id": "5F0C3A0E-6D0B-5C53-9D6B-6C7F3A1F8F52",
    }
    (found,) = Table(write(table / "a.jsonl", FOX | more))
    assert (found.weight, found.grade, found.rater, found.reason, found.pair) == (2.5, 0.75, "7", "six fingers", "12")
    assert (found.seed, found.model, found.source) == (42, "sd-1.5", "game")
    assert found.created_at == datetime(2025, 6, 1, 12, tzinfo=UTC)
    assert found.vote_id == "5f0c3a0e-6d0b-5c53-9d6b-6c7f3a1f8f52"


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("weight", -1, "weight -1 is not a number of at least 0; correct it or leave it empty"),
        ("grade", 7, "grade 7 does not lie between 0 and 1; rescale it or leave it empty"),
        ("vote_id", 7, "vote_id 7 is not a UUID; correct it or leave it empty"),
        ("rater", {"name": "ann"}, "is no text; name the part that is, as in --map rater=column.part"),
    ],
)
def test_cells_that_hold_something_else(table: Path, paint: Paint, column: str, cell: object, words: str) -> None:
    bad, good = Table(write(table / "a.jsonl", {**FOX, column: cell}, FOX))
    assert bad.image is None and str(bad.problem).endswith(words)
    assert said([good], paint) == [("fox", "a", True)]


# --- limits and splits


def test_a_limit(table: Path, paint: Paint) -> None:
    first, second = write(table / "a.jsonl", *ROWS[:2]), write(table / "b.jsonl", ROWS[2])
    for limit, rows in ((0, 0), (1, 1), (2, 2), (3, 3), (9, 3)):
        source = Table([first, second], Reading(limit=limit))
        assert (said(source, paint), source.__length_hint__()) == (SAID[:rows], rows)


def test_the_shards_of_a_split(tmp_path: Path, paint: Paint) -> None:
    (tmp_path / "data").mkdir()
    for number, name in enumerate(("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001")):
        row = {"image": paint(number), "prompt": name, "label": number != 1}
        write(tmp_path / "data" / f"{name}.parquet", row)
    train: Said = [("train-00000-of-00002", "a", True), ("train-00001-of-00002", "b", False)]
    assert said(ParquetFolder(tmp_path, Reading(split="train")), paint) == train
    assert said(ParquetFolder(tmp_path, Reading(split="test")), paint) == [("test-00000-of-00001", "c", True)]
    with refused("split-needed", UsageError, naming=["(test, train)", "--split test"]):
        ParquetFolder(tmp_path)
    with refused("split-unknown", UsageError, naming=["'val'", "test, train"]):
        ParquetFolder(tmp_path, Reading(split="val"))


def test_twice_the_same(table: Path) -> None:
    """Whatever is wrong with rows: each pass finds the same, in the same order."""
    file = write(table / "a.jsonl", *ROWS, {**FOX, "grade": "x"}, {**FOX, "file_name": None}, {**FOX, "label": "?"})
    source = Table(file)
    first, second = ([(one.where, one.prompt, one.liked, one.problem) for one in source] for _ in range(2))
    assert first == second and len(first) == 6


def test_rows_are_handed_out_before_the_end_of_the_table_is_read(table: Path) -> None:
    lines = (json.dumps(FOX) + "\n").encode()
    (table / "a.jsonl").write_bytes(lines * 2000 + b"\xff")
    assert [one.liked for one in Table(table / "a.jsonl", Reading(limit=1000))] == [True] * 1000
    with refused("text-wrong-encoding", naming=["a.jsonl", "UTF-8"]):
        list(Table(table / "a.jsonl"))
