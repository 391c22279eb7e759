"""Encodings of tables that are text, and what is refused where nobody can tell."""

import codecs
import gzip
from pathlib import Path

import pytest
from refusals import refused

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.reading import texts
from thumbtune.feedback.reading.rows import header_of, read_rows

PROMPT = "für ein Füchslein \N{FOX FACE}"
TABLES = {
    "a.csv": f"prompt;label\n{PROMPT};1\n",
    "a.tsv": f"prompt\tlabel\n{PROMPT}\t1\n",
    "a.jsonl": f'{{"prompt": "{PROMPT}", "label": "1"}}\n',
    "a.json": f'[{{"prompt": "{PROMPT}", "label": "1"}}]',
}
MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", MARKS)
def test_marks_say_the_encoding(tmp_path: Path, name: str, packed: bool, encoding: str) -> None:
    data = MARKS[encoding] + TABLES[name].encode(encoding)
    file = tmp_path / (f"{name}.gz" if packed else name)
    file.write_bytes(gzip.compress(data) if packed else data)
    assert [row for _, row in read_rows(file)] == [{"prompt": PROMPT, "label": "1"}]
    assert [row for _, row in read_rows(file, encoding="cp1252")] == [{"prompt": PROMPT, "label": "1"}], (
        "a mark is sure"
    )
    assert header_of(file) == (None if "json" in name else ["prompt", "label"])


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(("encoding", "fox"), [("cp1252", ""), ("latin-1", ""), ("utf-16-le", "\N{FOX FACE}")])
def test_an_encoding_that_somebody_names(tmp_path: Path, name: str, encoding: str, fox: str) -> None:
    text = TABLES[name].replace("\N{FOX FACE}", fox)
    (tmp_path / name).write_bytes(text.encode(encoding))
    rows = [row for _, row in read_rows(tmp_path / name, encoding=encoding)]
    assert rows == [{"prompt": PROMPT.replace("\N{FOX FACE}", fox), "label": "1"}]
    with pytest.raises(ThumbtuneError) as caught:
        list(read_rows(tmp_path / name))
    assert caught.value.code in {"text-wrong-encoding", "text-zero-bytes", "json-invalid"}
    assert str(tmp_path / name) in str(caught.value)


def test_an_encoding_that_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"prompt\nf\xfcr\n")
    with refused("text-wrong-encoding", naming=["a.csv", "ascii", "UTF-8"]):
        list(read_rows(tmp_path / "a.csv", encoding="ascii"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json.gz", '{"a":[' + "[]," * 4_000_000 + "[]]}"),
        ("a.jsonl.gz", '{"prompt": "' + "a" * 12_000_000 + '"}'),
        ("a.csv.gz", "prompt,label\n" + "a" * 12_000_000),
    ],
)
def test_what_unpacks_a_thousandfold_is_refused(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_bytes(gzip.compress(text.encode()))
    with refused("text-unpacks-too-large", naming=[file, "200 times"]):
        list(read_rows(file))


def test_a_short_table_of_alike_rows_unpacks(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"prompt": "a fox", "label": true}\n' * 100_000))
    assert file.stat().st_size * texts.MAX_UNPACK_RATIO < 35 * 100_000 < texts.ALLOWED_UNPACKED_BYTES
    assert sum(1 for _ in read_rows(file)) == 100_000


def test_zero_bytes(tmp_path: Path) -> None:
    """UTF-16 without a mark would be taken for text in UTF-8 with a zero behind each letter."""
    (tmp_path / "a.csv").write_bytes("prompt,label\nfox,1\n".encode("utf-16-le"))
    with refused("text-zero-bytes", naming=["a.csv", "UTF-8"]):
        list(read_rows(tmp_path / "a.csv"))
    (tmp_path / "b.csv").write_bytes(b"prompt,label\n" + b"x" * 100 + b"\0,1\n")
    assert [row for _, row in read_rows(tmp_path / "b.csv")] == [{"prompt": "x" * 100 + "\0", "label": "1"}]


def test_halves_of_characters(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("prompt\n\ud800\n".encode("utf-8", "surrogatepass"))
    with refused("text-wrong-encoding", naming=["a.csv", "UTF-8"]):
        list(read_rows(tmp_path / "a.csv"))
    (tmp_path / "a.jsonl").write_text('{"prompt": "\\ud800"}')
    assert [row for _, row in read_rows(tmp_path / "a.jsonl")] == [{"prompt": "\ud800"}], "refused by the store"


def test_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is too long takes no more memory than the limit, and does not hide the next one."""
    monkeypatch.setattr(texts, "MAX_ROW", 10)
    (tmp_path / "a.txt").write_bytes(b"123456789\n1234567890\n" + b"x" * 25 + b"\nlast")
    with texts.open_text(tmp_path / "a.txt") as text:
        assert list(texts.lines_of(text)) == ["123456789\n", None, None, "last"]
    (tmp_path / "a.txt").write_bytes(b"a\nxxxxxxxxxxxxx")
    with texts.open_text(tmp_path / "a.txt") as text:
        assert list(texts.lines_of(text)) == ["a\n", None]
