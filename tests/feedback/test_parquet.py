"""Rows of .parquet files of pandas, `datasets` and pyarrow, with cells of every type."""

import io
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from refusals import refused

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.reading import parquet
from thumbtune.feedback.reading.rows import count_rows, first_row, header_of, read_rows

Paint = Callable[..., bytes]
NOON = datetime(2025, 6, 1, 12, 0, 0, 123456)


def rows_of(table: pa.Table, folder: Path, **options: Any) -> list[dict[str, object] | None]:
    pq.write_table(table, folder / "a.parquet", **options)
    return [row for _, row in read_rows(folder / "a.parquet")]


def test_a_table_of_pandas(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "Prompt": ["fox", None],
            "label": [True, False],
            "weight": [0.5, None],
            "seed": pd.array([7, None], "Int64"),
            "created_at": [pd.Timestamp(NOON), pd.NaT],
            "rater": pd.Categorical(["ann", "ben"]),
        },
        index=["x", "y"],
    )
    frame.to_parquet(tmp_path / "a.parquet")
    first, second = read_rows(tmp_path / "a.parquet")
    assert first == (
        "a.parquet, row 1",
        {
            "prompt": "fox",
            "label": True,
            "weight": 0.5,
            "seed": 7,
            "created_at": NOON,
            "rater": "ann",
            "__index_level_0__": "x",
        },
    )
    assert second[0] == "a.parquet, row 2"
    assert second[1] is not None and second[1]["seed"] is second[1]["created_at"] is second[1]["prompt"] is None


def test_a_data_set(tmp_path: Path, paint: Paint) -> None:
    names = ["like", "dislike"]
    features = datasets.Features(
        {"image": datasets.Image(), "Label": datasets.ClassLabel(names=names), "n": datasets.Value("int8")}
    )
    cells = {"image": [{"bytes": paint(1), "path": "x.png"}] * 3, "Label": [1, 0, -1], "n": [1, 0, 1]}
    datasets.Dataset.from_dict(cells, features=features).to_parquet(tmp_path / "a.parquet")
    rows = [row for _, row in read_rows(tmp_path / "a.parquet")]
    assert [row and (row["label"], row["n"]) for row in rows] == [("dislike", 1), ("like", 0), (None, 1)]
    assert rows[0] is not None and rows[0]["image"] == {"bytes": paint(1), "path": "x.png"}


@pytest.mark.parametrize(
    "metadata",
    [b"", b"{", b"[" * 100_000, b'{"info": 7}', b'{"info": {"features": {"a": 7, "b": {"_type": "ClassLabel"}}}}'],
)
def test_names_of_classes_that_make_no_sense(tmp_path: Path, metadata: bytes) -> None:
    table = pa.table({"a": [1, 0]}).replace_schema_metadata({b"huggingface": metadata})
    assert rows_of(table, tmp_path) == [{"a": 1}, {"a": 0}]


def test_cells_of_every_type(tmp_path: Path) -> None:
    cells = {
        "bytes": pa.array([b"\x89PNG"]),
        "large": pa.array([b"x"], pa.large_binary()),
        "fixed": pa.array([b"xy"], pa.binary(2)),
        "half": pa.array([0.5], pa.float16()),
        "decimal": pa.array([Decimal("0.5")]),
        "day": pa.array([date(2025, 6, 1)]),
        "nano": pa.array([1_748_779_200_123_456_789], pa.timestamp("ns")),
        "zone": pa.array([NOON], pa.timestamp("ms", "Europe/Berlin")),
        "list": pa.array([[1, 2]]),
        "struct": pa.array([{"who": {"name": "ann"}}]),
        "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
        "dictionary": pa.array(["yes"]).dictionary_encode(),
        "null": pa.nulls(1),
    }
    (row,) = rows_of(pa.table(cells), tmp_path)
    assert row == {
        "bytes": b"\x89PNG",
        "large": b"x",
        "fixed": b"xy",
        "half": 0.5,
        "decimal": Decimal("0.5"),
        "day": date(2025, 6, 1),
        "nano": datetime(2025, 6, 1, 12, 0, 0, 123456),
        "zone": NOON.replace(microsecond=123000, tzinfo=UTC),
        "list": [1, 2],
        "struct": {"who": {"name": "ann"}},
        "map": [("a", 1)],
        "dictionary": "yes",
        "null": None,
    }


@pytest.mark.parametrize(
    "bad",
    [
        pa.array([0, 10**15], pa.timestamp("s")),  # after the year 9999
        pa.array([0, 10**18], pa.timestamp("us", "UTC")),
        pa.array([b"x", b"\xff"]).view(pa.string()),
        pa.array([0, 2**31 - 1], pa.date32()),
        pa.array([0, 10**18], pa.duration("s")),
        pa.array([0, 0], pa.timestamp("s", "Moon/Crater")),
    ],
    ids=str,
)
def test_cells_that_python_cannot_hold_are_empty(tmp_path: Path, bad: pa.Array) -> None:
    rows = rows_of(pa.table({"bad": bad, "prompt": ["fox", "hare"]}), tmp_path)
    assert [row and row["prompt"] for row in rows] == ["fox", "hare"]
    assert rows[1] is not None and rows[1]["bad"] is None


def test_columns_of_one_name(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], ["A", "a ", ""])
    assert rows_of(table, tmp_path) == [{"a": 1}]
    assert header_of(tmp_path / "a.parquet") == ["A", "a ", ""]


def test_some_columns_alone(tmp_path: Path) -> None:
    table = pa.table({"Label ": range(5000), "image": [b"x"] * 5000, "n": [{"a": 1}] * 5000})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1000)
    rows = list(read_rows(tmp_path / "a.parquet", columns=["label", "none"]))
    assert len(rows) == 5000 and rows[4999] == ("a.parquet, row 5000", {"label": 4999})
    assert [row for _, row in read_rows(tmp_path / "a.parquet", columns=["none"])] == [{}] * 5000


def test_every_row_of_every_group(tmp_path: Path) -> None:
    numbers = list(range(1, 1001))
    rows = rows_of(pa.table({"n": numbers}), tmp_path, row_group_size=97, compression="zstd")
    assert [row and row["n"] for row in rows] == numbers
    assert count_rows(tmp_path / "a.parquet") == 1000
    assert first_row(tmp_path / "a.parquet") == {"n": 1}


def test_a_table_without_rows_or_columns(tmp_path: Path) -> None:
    assert rows_of(pa.table({"a": pa.array([], pa.int8())}), tmp_path) == []
    assert rows_of(pa.table({}), tmp_path) == []
    assert first_row(tmp_path / "a.parquet") is None


@pytest.mark.slow
def test_a_long_cell_that_recurs_is_not_unfolded_many_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One text of a megabyte in each of a thousand rows is a small file, and would be a gigabyte in memory."""
    long = "x" * 1_000_000
    pq.write_table(pa.table({"prompt": [long] * 1000, "label": [1] * 1000}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 200_000
    monkeypatch.setattr(parquet, "BYTES_AT_ONCE", 5_500_000)
    asked, really = list[int](), pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile, "iter_batches", lambda *of, **how: asked.append(how["batch_size"]) or really(*of, **how)
    )
    rows = read_rows(tmp_path / "a.parquet")
    assert [row and len(str(row["prompt"])) for _, row in (next(rows) for _ in range(12))] == [1_000_000] * 12
    rows.close()  # type: ignore[attr-defined]
    assert len(list(read_rows(tmp_path / "a.parquet", columns=["label"]))) == 1000
    assert asked == [5, 64], "labels are small"


@pytest.mark.parametrize("cut", [slice(0, 100), slice(-100, None), slice(0, 0), slice(0, -1)])
def test_files_that_are_cut_off(tmp_path: Path, cut: slice) -> None:
    data = io.BytesIO()
    pq.write_table(pa.table({"a": ["fox"] * 1000}), data)
    (tmp_path / "a.parquet").write_bytes(data.getvalue()[cut])
    for read in (parquet.header_of, parquet.count_of, lambda file: list(parquet.rows_of(file))):
        with refused("parquet-invalid", naming=tmp_path / "a.parquet"):
            read(tmp_path / "a.parquet")
    assert first_row(tmp_path / "a.parquet") is None


def test_a_file_that_says_it_has_less_than_no_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"label": [1, 0, 1]}), tmp_path / "a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()
    told = []
    footer = int.from_bytes(data[-8:-4], "little")
    for at in range(len(data) - 8 - footer, len(data) - 8):  # somewhere in it the 3 becomes a -4
        (tmp_path / "a.parquet").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            told.append(pq.ParquetFile(tmp_path / "a.parquet").metadata.num_rows)
        except (pa.ArrowException, OSError):
            continue
        assert count_rows(tmp_path / "a.parquet") == (told[-1] if 0 <= told[-1] <= parquet.MAX_ROWS else 0)
    assert min(told) < 0


def test_a_file_whose_middle_is_damaged(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["fox" * 100] * 1000}), tmp_path / "a.parquet", use_dictionary=False)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[4:1000] = b"\xff" * 996
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(ThumbtuneError) as caught:
        list(read_rows(tmp_path / "a.parquet"))
    assert caught.value.code in {"parquet-damaged", "table-unreadable"}, "as this pyarrow says it"
    assert str(tmp_path / "a.parquet") in str(caught.value) and "\n" not in str(caught.value)
