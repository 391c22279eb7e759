"""Rows in JSON: an object a line, a list read item by item, or the one list in a document."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from thumbtune.feedback.reading import json_lists, json_rows, texts
from thumbtune.feedback.reading.record import Record
from thumbtune.feedback.reading.rows import read_rows

WORDS = st.text(st.characters(exclude_categories=()), max_size=12)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)
FOX: dict[str, Any] = {"prompt": "fox"}


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


def rows_of(path: Path) -> list[tuple[str, Record | None]]:
    return list(read_rows(path))


# --- lists


def test_a_list_of_objects(tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", '\ufeff \n[ {"Prompt ": "fox"} ,\n 7, {"a": [1, {"b": "]}"}]}]\n')
    assert rows_of(file) == [
        ("a.json, row 1", {"prompt": "fox"}),
        ("a.json, row 2", None),
        ("a.json, row 3", {"a": [1, {"b": "]}"}]}),
    ]
    assert rows_of(written(tmp_path / "b.json", " [ ] ")) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(JSON, max_size=6), st.integers(1, 7), st.sampled_from([None, 2]), st.booleans())
def test_json_is_read_as_it_was_written(items: list[object], chunk: int, indent: int | None, ascii_only: bool) -> None:
    """However few characters are read at once."""
    text = json.dumps(items, indent=indent, ensure_ascii=ascii_only)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lists, "CHUNK", chunk)
        assert list(json_lists.items_of(io.StringIO(text), Path("a.json"))) == json.loads(text)


def test_one_item_at_a_time(tmp_path: Path) -> None:
    """The second half is not looked at while the first is read."""
    half = json.dumps([{"prompt": "fox" * 100}] * 1000)[1:-1]
    rows = read_rows(written(tmp_path / "a.json", f"[{half}, oops"))
    assert [next(rows)[1] for _ in range(1000)] == [{"prompt": "fox" * 100}] * 1000
    with refused("json-damaged", naming="at row 1001;"):
        next(rows)


class Counted(io.StringIO):
    """A text that says how much of it was asked for."""

    asked = 0

    def read(self, size: int | None = -1) -> str:
        data = super().read(size)
        self.asked += len(data)
        return data


def test_small_items_behind_a_large_one_are_not_copied_again_and_again() -> None:
    """The piece that a large item needed holds thousands of small ones; it is moved only when more is read."""
    text = Counted(json.dumps(["x" * 1_000_000, *range(100_000)]))
    buffer = json_lists._Buffer(text)
    buffer.take_token()
    assert buffer.take_item() == "x" * 1_000_000
    piece, moved = buffer.piece, 0
    for number in range(100_000):
        assert buffer.take_token() == ","
        assert buffer.take_item() == number
        piece, moved = buffer.piece, moved + (buffer.piece is not piece)
    assert buffer.take_token() == "]" and text.asked == len(text.getvalue())
    assert 1 <= moved <= 20, "once for each time that more is read"


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ("[", "json-damaged", "at row 1;"),
        ('[{"a": 1}', "json-damaged", "after row 1;"),
        ('[{"a": 1} {"a": 2}]', "json-damaged", "after row 1;"),
        ('[{"a": 1},', "json-damaged", "at row 2;"),
        ('[{"a": 1},]', "json-damaged", "at row 2;"),
        ('[{"a": "', "json-damaged", "at row 1;"),
        ("[12", "json-damaged", "after row 1;"),
        ("[" + "[" * 100_000, "json-damaged", "at row 1;"),
        ("[" + "9" * 5000 + "]", "json-damaged", "at row 1;"),
        ('[{"a": 1}] [{"a": 2}]', "json-after-list", "a.json"),
        ("[]x", "json-after-list", "a.json"),
    ],
)
def test_damaged_lists(tmp_path: Path, text: str, code: str, where: str) -> None:
    with refused(code, naming=where):
        rows_of(written(tmp_path / "a.json", text))


def test_an_item_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lists, "MAX_ITEM", 1000)
    monkeypatch.setattr(json_lists, "CHUNK", 100)
    for text in ('["' + "a" * 9000 + '"]', "[0." + "1" * 9000 + "]"):
        opened = Counted(text)
        with refused("json-damaged", naming=" row 1;"):
            list(json_lists.items_of(opened, Path("a.json")))
        assert opened.asked < 4000


def test_what_is_no_list_is_not_read_as_one() -> None:
    with refused("json-not-list", naming="a.json"):
        list(json_lists.items_of(io.StringIO("{}"), Path("a.json")))


# --- lines


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "A.JSONL", "a.jsonl.gz", "a.json"])
def test_an_object_a_line(tmp_path: Path, name: str) -> None:
    """`datasets` writes lines into .json files, too."""
    text = '{"Prompt": "fox", "": 1, "prompt": 2}\n  \r\n{"a": null}\r\n[1]\n"x"\n{"a":\n{}'
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert rows_of(tmp_path / name) == [
        (f"{name}, line 1", {"prompt": "fox"}),
        (f"{name}, line 3", {"a": None}),
        (f"{name}, line 4", None),
        (f"{name}, line 5", None),
        (f"{name}, line 6", None),
        (f"{name}, line 7", {}),
    ]


def test_lines_and_lists_of_pandas(tmp_path: Path) -> None:
    frame = pd.DataFrame({"prompt": ["fox", "für", "\N{FOX FACE}\n"], "label": [1, 0, 1], "weight": [1.5, None, 2]})
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_json(tmp_path / "a.json", orient="records")
    frame.to_json(tmp_path / "b.json", orient="records", indent=2, force_ascii=False)
    frame.to_json(tmp_path / "c.json.gz", orient="records", lines=True, compression="gzip")
    expected = [
        {"prompt": "fox", "label": 1, "weight": 1.5},
        {"prompt": "für", "label": 0, "weight": None},
        {"prompt": "\N{FOX FACE}\n", "label": 1, "weight": 2.0},
    ]
    for name in ("a.jsonl", "a.json", "b.json", "c.json.gz"):
        assert [row for _, row in rows_of(tmp_path / name)] == expected, name


BROKEN = {
    "deep list": "[" * 100_000,
    "deep object": '{"a":' * 100_000,
    "number": '{"a": ' + "9" * 5000 + "}",
    "null": "null",
    "word": "x",
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN)
def test_a_broken_line_does_not_hide_those_after_it(tmp_path: Path, line: str) -> None:
    file = written(tmp_path / "a.jsonl", f'{line}\n{{"prompt": "fox"}}\n')
    assert rows_of(file) == [("a.jsonl, line 1", None), ("a.jsonl, line 2", FOX)]


def test_a_line_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MAX_ROW", 100)
    lines = ["x" * 99, "x" * 100, "x" * 1000, '{"prompt": "fox"}']
    file = written(tmp_path / "a.jsonl", "\n".join(lines))
    assert rows_of(file) == [*((f"a.jsonl, line {number}", None) for number in (1, 2, 3)), ("a.jsonl, line 4", FOX)]


# --- documents


@pytest.mark.parametrize(
    "document",
    [
        {"rows": [FOX], "version": 3},
        {"meta": {"by": "ann"}, "data": [FOX], "errors": [], "tags": ["a"]},
    ],
)
def test_the_one_list_in_a_document(tmp_path: Path, document: object) -> None:
    for indent in (None, 2):
        file = written(tmp_path / "a.json", json.dumps(document, indent=indent))
        assert rows_of(file) == [("a.json, row 1", FOX)]


def test_an_empty_list_in_a_document(tmp_path: Path) -> None:
    assert rows_of(written(tmp_path / "a.json", '{"rows": []}')) == []


@pytest.mark.parametrize(
    ("text", "code", "naming"),
    [
        ("", "json-invalid", ()),
        ("oops", "json-invalid", ()),
        ('{"rows": [', "json-invalid", ()),
        ('{"a":' * 100_000, "json-invalid", ()),
        ("7", "json-no-list", "JSON lines"),
        ('{"prompt": "fox"}', "json-no-list", ()),
        ('{"prompt": {"0": "fox", "1": "hare"}}', "json-no-list", ()),  # pandas' to_json() without orient
        ('{"a": [{}], "b": [{}], "c": []}', "json-several-lists", "(a, b)"),
    ],
)
def test_documents_without_rows(tmp_path: Path, text: str, code: str, naming: object) -> None:
    with refused(code, naming=naming):
        rows_of(written(tmp_path / "a.json", text))


def test_a_document_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "MAX_DOCUMENT", 1000)
    rows = [FOX] * 200
    with refused("json-too-large", naming=["0 MB", ".jsonl"]):
        rows_of(written(tmp_path / "a.json", json.dumps({"rows": rows})))
    assert len(rows_of(written(tmp_path / "b.json", json.dumps(rows)))) == 200, "a list may be of any size"
