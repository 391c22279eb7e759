"""Small files that unfold into endless work end early, with a sentence."""

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import refused

from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.reading import texts
from thumbtune.feedback.reading.record import MAX_COLUMNS
from thumbtune.feedback.reading.rows import header_of, read_rows
from thumbtune.feedback.store.store import Store

SECONDS = 5.0  # of one core
BLANK = 30_000_000
WIDE = 200_000


def lines_in_text(line: str) -> bytes:
    return ("image,prompt,label\n" + line * (BLANK // len(line))).encode()


BLANK_LINES = {
    "at-the-end.csv": lambda: lines_in_text("\n"),
    "windows.csv": lambda: lines_in_text("\r\n"),
    "delimiters.csv": lambda: lines_in_text(",,\n"),
    "spaces.csv": lambda: lines_in_text("  \n"),
    "first.csv": lambda: b"\n" * BLANK + b"image,prompt,label\n",
    "tabs.tsv": lambda: b"image\tprompt\tlabel\n" + b"\t\t\n" * (BLANK // 3),
    "lines.jsonl": lambda: b"\n" * BLANK,
    "after-one.jsonl": lambda: b'{"image": "a.png"}\n' + b" \n" * (BLANK // 2),
    "lines.json": lambda: b'{"image": "a.png"}\n' + b"\n" * BLANK,
}
WIDE_TABLES = {
    "a.csv": lambda: (",".join(map(str, range(WIDE))) + "\n" + ",".join("1" * WIDE) + "\n").encode() * 3,
    "semicolons.csv": (";".join(f"c{n}" for n in range(WIDE)) + "\n").encode,
    "a.tsv": ("\t".join(f"c{n}" for n in range(WIDE)) + "\n").encode,
    "a.jsonl": lambda: (json.dumps({f"c{n}": 1 for n in range(WIDE)}) + "\n").encode() * 3,
    "a.json": lambda: json.dumps([{f"c{n}": 1 for n in range(WIDE)}] * 2).encode(),
}


def assert_quick(do: Callable[[], object]) -> None:
    begun = time.process_time()
    do()
    assert time.process_time() - begun < SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("name", BLANK_LINES)
def test_blank_lines_without_end_are_refused(
    tmp_path: Path, name: str, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, data = tmp_path / name, BLANK_LINES[name]()
    if packed:
        file = file.with_name(f"{name}.gz")
        data = gzip.compress(data, 1)
        monkeypatch.setattr(texts, "MAX_UNPACK_RATIO", 10_000)  # it would be refused for its ratio
    file.write_bytes(data)

    def read() -> None:
        with refused("table-blank-lines", naming=(file, f"{texts.MAX_BLANK_LINES:,}")):
            list(read_rows(file))

    assert_quick(read)


@pytest.mark.slow
def test_a_sheet_with_all_its_lines_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("image,prompt,label\n" + "a.png,fox,1\n" * 2 + ",,\n" * (2**20 - 3), encoding="utf-8")
    assert sum(1 for _ in read_rows(file)) == 2


def test_blank_lines_between_rows_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MAX_BLANK_LINES", 5)
    file = tmp_path / "a.csv"
    file.write_text("image\n" + "a.png\n\n\n\n" * 50, encoding="utf-8")
    assert sum(1 for _ in read_rows(file)) == 50
    file.with_suffix(".jsonl").write_text('{"a": 1}\n\n\n\n' * 50, encoding="utf-8")
    assert sum(1 for _ in read_rows(file.with_suffix(".jsonl"))) == 50


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("name", WIDE_TABLES)
def test_a_table_of_a_million_columns_is_refused(tmp_path: Path, name: str, packed: bool) -> None:
    file, data = tmp_path / name, WIDE_TABLES[name]()
    if packed:
        file, data = file.with_name(f"{name}.gz"), gzip.compress(data, 1)
    file.write_bytes(data)

    def read() -> None:
        with refused("table-too-wide", naming=(file, "200,000", f"{MAX_COLUMNS:,}")):
            header_of(file)
            list(read_rows(file))

    assert_quick(read)


def test_a_parquet_file_of_too_many_columns(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    table = pa.table({f"c{number}": [1] for number in range(MAX_COLUMNS + 1)})
    write_table(table, tmp_path / "a.parquet", compression="none", use_dictionary=False, write_statistics=False)
    with refused("table-too-wide", naming="16,385"):
        list(read_rows(tmp_path / "a.parquet"))


def test_a_wide_table_of_people_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(",".join(f"c{number}" for number in range(MAX_COLUMNS)) + "\n1\n", encoding="utf-8")
    assert sum(1 for _ in read_rows(file)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["delimiters.csv", "after-one.jsonl"])
def test_an_import_says_so_too(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(BLANK_LINES[name]())
    with Store.open(tmp_path / "store") as store, refused("table-blank-lines"):
        import_likes(file, store)


@pytest.mark.slow
def test_a_bomb_behind_a_good_table_is_refused_early(tmp_path: Path) -> None:
    """The ratio of the whole file is allowed, and that of its second half is not."""
    import random

    noise = random.Random(0)
    good = "".join(f'{{"prompt": "{noise.randbytes(40).hex()}"}}\n' for _ in range(20_000))
    bad = '{"prompt": "' + "a" * 60_000_000 + '"}'
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(good.encode() + bad.encode(), 6))
    assert file.stat().st_size * texts.MAX_UNPACK_RATIO > 61_000_000
    with refused("text-unpacks-too-large", naming=file):
        list(read_rows(file))
