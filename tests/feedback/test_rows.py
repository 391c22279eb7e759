"""Rows of files of any kind: which kind it is, how many, the first one, and what is said of a broken file."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from refusals import refused

from thumbtune.feedback.reading import rows
from thumbtune.feedback.reading.rows import count_rows, first_row, header_of, kind_of, read_rows, why_broken

KINDS = {
    "a.jsonl": ".jsonl",
    "a.ndjson": ".ndjson",
    "A.JSON": ".json",
    "a.csv": ".csv",
    "a.b.tsv": ".tsv",
    "a.Parquet": ".parquet",
    "a.csv.gz": ".csv",
    "a.JSONL.GZ": ".jsonl",
    "a.parquet.gz": None,
    "a.gz": None,
    "a.txt": None,
    "a": None,
    ".csv": None,
}


def written(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_kinds() -> None:
    assert {name: kind_of(Path(name)) for name in KINDS} == KINDS


def test_headers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"A ": [1], "a": [2]}), tmp_path / "a.parquet")
    assert header_of(tmp_path / "a.parquet") == ["A ", "a"]
    assert header_of(written(tmp_path / "a.csv", "A ;a\n1;2\n")) == ["A ", "a"]
    assert header_of(written(tmp_path / "a.tsv", "")) == []
    assert header_of(written(tmp_path / "a.jsonl", '{"a": 1}')) is None


def test_how_many_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": range(1000)}), tmp_path / "a.parquet")
    counted = {
        "a.jsonl": "{}\n{}",
        "b.jsonl": "{}\n{}\n",
        "a.csv": "a\n1\n2\n3",
        "empty.csv": "",
        "a.json": "[{}, {}]",
        "a.csv.gz": "a\n1\n",
        "broken.parquet": "PAR1",
    }
    found = {name: count_rows(written(tmp_path / name, text)) for name, text in counted.items()}
    assert found == {
        "a.jsonl": 2,
        "b.jsonl": 2,
        "a.csv": 3,
        "empty.csv": 0,
        "a.json": 0,  # only reading it would tell
        "a.csv.gz": 0,
        "broken.parquet": 0,
    }
    assert (count_rows(tmp_path / "a.parquet"), count_rows(tmp_path / "none.csv")) == (1000, 0)


def test_first_rows(tmp_path: Path) -> None:
    written(tmp_path / "a.json", '[{"A": 1}, {"A": 2}]')
    written(tmp_path / "a.jsonl", '{"A": 1}\n{"A": 2}\n')
    written(tmp_path / "a.csv", "A\n1\n2\n")
    written(tmp_path / "a.tsv.gz", "A\n1\n")
    pq.write_table(pa.table({"A": [1, 2]}), tmp_path / "a.parquet")
    assert [first_row(tmp_path / f"a.{kind}") for kind in ("json", "jsonl", "csv", "tsv.gz", "parquet")] == [
        {"a": 1},
        {"a": 1},
        {"a": "1"},
        {"a": "1"},
        {"a": 1},
    ]


def test_the_first_row_of_a_table_in_another_encoding(tmp_path: Path) -> None:
    """Its names are known; what it says is to be read with the encoding that somebody names."""
    (tmp_path / "a.csv").write_bytes("Prompt,label\nfür,1\n".encode("cp1252"))
    assert list(first_row(tmp_path / "a.csv") or ()) == ["prompt", "label"]
    with refused("text-wrong-encoding", naming=[tmp_path / "a.csv", "UTF-8"]):
        list(read_rows(tmp_path / "a.csv"))


def test_files_without_a_first_row(tmp_path: Path) -> None:
    deep = written(tmp_path / "deep.json", "[" * 100_000)
    broken = written(tmp_path / "broken.parquet", "PAR1 and no more")
    long = written(tmp_path / "long.jsonl", '{"a": "' + "x" * rows.FIRST_LINE + '"}\n')
    empty = written(tmp_path / "empty.csv", "")
    pq.write_table(pa.table({"A": pa.array([], pa.int64())}), tmp_path / "none.parquet")
    other = written(tmp_path / "a.txt", "A\n1\n")
    paths = (deep, broken, long, empty, other, tmp_path / "none.parquet", tmp_path, tmp_path / "a\0b.json")
    assert [first_row(path) for path in paths] == [None] * len(paths)


@pytest.mark.parametrize(
    ("name", "data", "code", "naming"),
    [
        ("a.xml", b"<a/>", "table-unknown-format", ".jsonl, .ndjson, .json, .csv, .tsv or .parquet"),
        ("a.jsonl", b'{"a": "f\xfcr"}', "text-wrong-encoding", "UTF-8"),
        ("a.csv", b'a\n"x', "csv-invalid", "quote in line 2 "),
        ("a.csv.gz", b"a\n1\n", "table-unreadable", "(Not a gzipped file"),
        ("a.csv.gz", gzip.compress(b"a\n1\n" * 99, mtime=0)[:-20], "table-unreadable", "(Compressed file ended"),
        ("a.json.gz", gzip.compress(b"[]", mtime=0)[:10] + b"\xff" * 99, "table-unreadable", "(Error -3"),
        ("a.parquet", b"PAR1", "parquet-invalid", ()),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, data: bytes, code: str, naming: object) -> None:
    (tmp_path / name).write_bytes(data)
    with refused(code, naming=[tmp_path / name, *([naming] if isinstance(naming, str) else ())]):
        list(read_rows(tmp_path / name))


def test_a_file_that_is_not_there_and_one_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with refused("table-unreadable", naming=["none.json", "(No such file or directory)"]):
        list(read_rows(tmp_path / "none.json"))
    monkeypatch.setattr(rows, "_rows_of", exhausted)
    with refused("table-too-large", naming="a.csv"):
        list(read_rows(tmp_path / "a.csv"))


def exhausted(*_: object) -> None:
    raise MemoryError


def test_headers_that_cannot_be_read(tmp_path: Path) -> None:
    for name, data, code in (
        ("a.csv", b"f\xfcr,label", "text-wrong-encoding"),
        ("a.parquet", b"PAR1", "parquet-invalid"),
    ):
        with refused("table-unreadable", naming=tmp_path / name):
            header_of(tmp_path / name)
        (tmp_path / name).write_bytes(data)
        with refused(code, naming=tmp_path / name):
            header_of(tmp_path / name)


def test_why_a_row_is_broken() -> None:
    assert why_broken(Path("a.csv.gz")).startswith("it has more cells than the header; put quotes around")
    assert why_broken(Path("a.jsonl")) == "it is not a JSON object of at most 64 MB; correct it or remove it"
