"""What tables of pairs and rankings stand on: rows of JSON lists, first rows, splits, and pictures that are named."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.pictures import UnreadablePicture
from thumbtune.feedback.sources import records
from thumbtune.feedback.sources.named import Places
from thumbtune.feedback.sources.records import count_records, first_record, read_records
from thumbtune.feedback.sources.splits import files_of_split, parquet_files
from thumbtune.files import sha256

Paint = Callable[..., bytes]
WORDS = st.text(st.characters(exclude_categories=()), max_size=12)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)


def listed(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


# --- lists in JSON


def test_a_list_of_objects(tmp_path: Path) -> None:
    file = listed(tmp_path / "a.json", '\ufeff \n[ {"Prompt ": "fox"} ,\n 7, {"a": [1, {"b": "]}"}]}]\n')
    assert list(read_records(file)) == [
        ("a.json, item 1", {"prompt": "fox"}),
        ("a.json, item 2", None),
        ("a.json, item 3", {"a": [1, {"b": "]}"}]}),
    ]
    assert list(read_records(listed(tmp_path / "b.json", " [ ] "))) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(JSON, max_size=6), st.integers(1, 7), st.sampled_from([None, 2]), st.booleans())
def test_json_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, items: list[object], chunk: int, indent: int | None, ascii_only: bool
) -> None:
    """However few characters are read at once."""
    text = json.dumps(items, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "replace").decode()
    file = listed(tmp_path_factory.mktemp("json") / "a.json", text)
    with pytest.MonkeyPatch.context() as patch, file.open(encoding="utf-8") as opened:
        patch.setattr(records, "CHUNK", chunk)
        assert list(records._items(opened, file)) == json.loads(text)


def test_one_item_at_a_time(tmp_path: Path) -> None:
    """The second half is not looked at while the first is read."""
    half = json.dumps([{"prompt": "fox" * 100}] * 1000)[1:-1]
    rows = read_records(listed(tmp_path / "a.json", f"[{half}, oops"))
    assert [next(rows)[1] for _ in range(1000)] == [{"prompt": "fox" * 100}] * 1000
    with pytest.raises(ThumbtuneError, match="is damaged at item 1001"):
        next(rows)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no list in JSON"),
        ('{"prompt": "fox"}', "is no list in JSON"),
        ("[", "is damaged at item 1; export it again"),
        ('[{"a": 1}', "is damaged after item 1"),
        ('[{"a": 1} {"a": 2}]', "is damaged after item 1"),
        ('[{"a": 1},', "is damaged at item 2"),
        ('[{"a": 1},]', "is damaged at item 2"),
        ('[{"a": "', "is damaged at item 1"),
        ("[" + "[" * 100_000, "is damaged at item 1"),
        ("[" + "9" * 5000 + "]", "is damaged at item 1"),
    ],
)
def test_damaged_json(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ThumbtuneError, match=words):
        list(read_records(listed(tmp_path / "a.json", text)))


def test_an_item_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LONGEST", 1000)
    monkeypatch.setattr(records, "CHUNK", 100)
    with pytest.raises(ThumbtuneError, match="is damaged at item 1"):
        list(read_records(listed(tmp_path / "a.json", '["' + "a" * 9000 + '"]')))


def test_json_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes('["für"]'.encode("latin-1"))
    with pytest.raises(ThumbtuneError, match="not UTF-8 text"):
        list(read_records(tmp_path / "a.json"))


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(ThumbtuneError, match=r"a\.xml is no \.jsonl, \.csv, \.parquet or \.json file"):
        list(read_records(tmp_path / "a.xml"))
    with pytest.raises(ThumbtuneError, match="could not be read"):
        list(read_records(tmp_path / "none.json"))


def test_columns_by_other_names(tmp_path: Path) -> None:
    file = listed(tmp_path / "a.jsonl", '{"Text": "fox", "meta": {"who": {"Name": "ann"}}, "a.b": 1}\n[1]\n')
    columns = {"prompt": "TEXT", "rater": "meta.who.Name", "seed": "a.b", "model": "meta.none.x", "source": "text.x"}
    (_, row), (_, none) = read_records(file, columns)
    assert none is None
    assert row is not None and {ours: row[ours] for ours in columns} == {
        "prompt": "fox",
        "rater": "ann",
        "seed": 1,
        "model": None,
        "source": None,
    }
    assert row["text"] == "fox"


def test_how_many_rows(tmp_path: Path) -> None:
    assert count_records(listed(tmp_path / "a.jsonl", "{}\n{}\n")) == 2
    assert count_records(listed(tmp_path / "a.json", "[{}, {}]")) == 0, "nobody can tell"


# --- the first row


def test_first_rows(tmp_path: Path) -> None:
    listed(tmp_path / "a.json", '[{"A": 1}, {"A": 2}]')
    listed(tmp_path / "a.jsonl", '{"A": 1}\n{"A": 2}\n')
    listed(tmp_path / "a.csv", "A\n1\n2\n")
    pq.write_table(pa.table({"A": [1, 2]}), tmp_path / "a.parquet")
    assert [first_record(tmp_path / f"a.{kind}") for kind in ("json", "jsonl", "csv", "parquet")] == [
        {"a": 1},
        {"a": 1},
        {"a": "1"},
        {"a": 1},
    ]


def test_files_without_a_first_row(tmp_path: Path) -> None:
    deep = listed(tmp_path / "deep.json", "[" * 100_000)
    broken = listed(tmp_path / "broken.parquet", "PAR1 and no more")
    long = listed(tmp_path / "long.jsonl", '{"a": "' + "x" * records.FIRST_LINE + '"}\n')
    empty = listed(tmp_path / "empty.csv", "")
    pq.write_table(pa.table({"A": pa.array([], pa.int64())}), tmp_path / "none.parquet")
    other = listed(tmp_path / "a.txt", "A\n1\n")
    paths = (deep, broken, long, empty, other, tmp_path / "none.parquet", tmp_path, tmp_path / "a\0b.json")
    assert [first_record(path) for path in paths] == [None] * len(paths)


# --- splits


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
    with pytest.raises(ThumbtuneError, match=r"several splits \(one without a name, train\)"):
        files_of_split(tmp_path, None)
    assert [file.name for file in files_of_split(tmp_path, "train")] == ["train-00000-of-00001.parquet"]


# --- named pictures


@pytest.fixture
def root(tmp_path: Path, paint: Paint) -> Path:
    """A table's folder with a picture and a folder of them, and a secret beside it."""
    folder = tmp_path / "root"
    (folder / "test").mkdir(parents=True)
    (folder / "a.png").write_bytes(paint(1))
    (folder / "test" / "b.png").write_bytes(paint(2))
    (tmp_path / "secret.png").write_bytes(paint(3))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "up").symlink_to(tmp_path)
    (folder / "loop.png").symlink_to(folder / "loop.png")
    return folder


def test_pictures_that_are_named(root: Path, paint: Paint) -> None:
    places = Places.of(root / "test.json", None, subfolders=("test",))
    a, b, same = (places.picture(name, "x") for name in ("a.png", "b.png", " ./a.png "))
    assert a.image is not None and a.image() == paint(1)
    assert b.image is not None and b.image() == paint(2), "found in test/"
    assert a.name == same.name == "a.png"
    assert Places.of(root / "test.json", None).picture("b.png", "x").image is None


def test_pictures_below_a_root_of_ones_own(root: Path, tmp_path: Path, paint: Paint) -> None:
    table = tmp_path / "elsewhere" / "a.json"
    found = Places.of(table, root).picture("a.png", "x")
    assert found.image is not None and found.image() == paint(1)
    absolute = Places.of(table, root).picture(str(root / "a.png"), "x")
    assert absolute.image is not None and absolute.image() == paint(1)
    assert Places.of(root / "a.json", tmp_path / "elsewhere").picture("a.png", "x").problem is not None, (
        "beside the table, but not below the root"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../secret.png", "'../secret.png' leads out of the folder"),
        ("test/../../secret.png", "leads out of the folder"),
        ("..\\secret.png", "leads out of the folder"),
        ("C:\\secret.png", "leads out of the folder"),
        ("/etc/passwd", "leads out of the folder"),
        ("/etc/none", "leads out of the folder"),
        ("link.png", "leads out of the folder"),
        ("up/secret.png", "leads out of the folder"),
        ("loop.png", "there is no such file"),
        ("none.png", "there is no such file as 'none.png'; put it there or remove the row"),
        ("test", "there is no such file"),
        ("a\0.png", "there is no such file"),
        ("\ud800.png", "there is no such file"),
        ("x" * 5000, "there is no such file as 'xxx"),
        ("https://example.org/a.png", "is an address on the web; download the picture"),
    ],
)
def test_names_that_lead_nowhere(root: Path, name: str, words: str) -> None:
    found = Places.of(root / "a.json", None).picture(name, "chosen")
    assert found.image is None and found.problem is not None
    assert words in found.problem and len(found.problem) < 300


def test_bytes_come_before_a_name(root: Path, paint: Paint) -> None:
    places = Places.of(root / "a.json", None)
    data = paint(5)
    for cell in (data, bytearray(data), {"bytes": data, "path": "a.png"}):
        found = places.picture(cell, "chosen")
        assert found.name == sha256(data) and found.image is not None and found.image() == data
    assert places.picture({"bytes": None, "path": "a.png"}, "chosen").name == "a.png"


@pytest.mark.parametrize("cell", [None, "", " ", 7, 0.5, b"", [], {}, {"bytes": b"", "path": None}, {"path": 7}])
def test_cells_without_a_picture(root: Path, cell: object) -> None:
    with pytest.raises(UnreadablePicture, match="it names no picture for chosen; fill it in or remove the row"):
        Places.of(root / "a.json", None).picture(cell, "chosen")
