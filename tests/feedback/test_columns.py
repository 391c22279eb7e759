"""Which column is which: by name, by what somebody maps, by what a cell can be, and dots into nested cells."""

import json
import uuid
from pathlib import Path

import pytest
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.feedback.reading.columns import COLUMNS, Columns, cell_in, parse_map
from thumbtune.feedback.reading.options import check_columns, check_reading, sheets_of
from thumbtune.feedback.reading.record import record_of
from thumbtune.feedback.source import Reading

KNOWN = str(uuid.UUID(int=7, version=4))
PNG = b"\x89PNG\r\n\x1a\n"


def ours(row: dict[str, object], **mapping: str) -> dict[str, object]:
    """What is filled in a row, by our names."""
    found = Columns(mapping).ours_in(record_of(row.items()))
    return {key: cell for key, cell in found.items() if cell is not None}


def labels(row: dict[str, object], **mapping: str) -> list[tuple[str, object]]:
    return Columns(mapping).labels_in(record_of(row.items()))


# --- by name


@pytest.mark.parametrize(("key", "name"), [(key, name) for key, names in COLUMNS.items() for name in names])
def test_every_name(key: str, name: str) -> None:
    """In any case, with white space around it."""
    cell = KNOWN if key == "vote_id" else "2025-06-01" if key == "created_at" else "x"
    row = {f" {name.title()} ": cell}
    if key == "label":
        assert labels(row) == [(name, cell)] and ours(row) == {}
    else:
        assert ours(row) == {key: cell} and labels(row) == []


def test_the_first_column_that_is_filled_counts() -> None:
    assert ours({"caption": "c", "text": " ", "prompt": None}) == {"prompt": "c"}
    assert ours({"caption": "c", "text": "t", "prompt": "p"}) == {"prompt": "p"}
    assert ours({"user": "u", "annotator": "a", "rater": ""}) == {"rater": "u"}
    assert labels({"liked": 1, "label": "", "stars": 4, "vote": None}) == [("liked", 1), ("stars", 4)]


def test_an_image_itself_goes_before_the_name_of_one() -> None:
    assert ours({"file_name": "a.png", "image": {"bytes": PNG, "path": None}}) == {
        "image": {"bytes": PNG, "path": None}
    }
    assert ours({"path": "a.png", "png": PNG, "url": "https://x.org"}) == {"image": PNG}
    assert ours({"image": 7, "path": "a.png"}) == {"image": "a.png"}
    assert ours({"image": {"bytes": None, "path": None}, "url": "u"}) == {"image": "u"}
    assert ours({"image": {"bytes": None, "path": None}}) == {}
    assert ours({"image": 7}) == {"image": 7}, "for a sentence"


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"id": 7}, {}),
        ({"id": KNOWN}, {}),  # that of an image, more often than of a vote
        ({"id": KNOWN.replace("-", "")}, {}),  # 32 hexadecimal digits may be the hash of anything
        ({"vote_id": "x"}, {"vote_id": "x"}),  # for a sentence: it was meant
        ({"time": 12.5}, {}),
        ({"time": "12:30"}, {}),
        ({"time": "2025-06-01"}, {"created_at": "2025-06-01"}),
        ({"time": 3.5, "timestamp": 1748779200}, {"created_at": 1748779200}),
        ({"created_at": "soon", "time": "2025-06-01"}, {"created_at": "soon"}),
        ({"user": {"name": "ann"}}, {}),
        ({"user": {"name": "ann"}, "user_id": 7}, {"rater": 7}),
        ({"rater": {"name": "ann"}}, {"rater": {"name": "ann"}}),
        ({"comment": ["a", "b"]}, {}),
        ({"text": 7, "caption": "fox"}, {"prompt": "fox"}),
        ({"text": {"a": 1}}, {}),
    ],
)
def test_a_name_that_is_only_likely_counts_where_its_cell_can_be_meant(
    row: dict[str, object], found: dict[str, object]
) -> None:
    assert ours(row) == found


# --- mapped


def test_mapping() -> None:
    row = {"Good": "yes", "label": "no", "what": "fox", "prompt": "x", "user": "ann"}
    assert labels(row, label="GOOD ") == [("good", "yes")]
    assert ours(row, prompt="What") == {"prompt": "fox", "rater": "ann"}
    assert ours(row, rater="prompt") == {"rater": "x"}, "what is mapped to one is no other"
    assert ours({"time": 12.5}, created_at="time") == {"created_at": 12.5}, "whoever maps it means it"
    assert ours({"image": "a.png", "file_name": "b.png"}, image="image") == {"image": "a.png"}


def test_dots_reach_into_nested_cells() -> None:
    nested = {"who": {"Name": "ann", "ids": [{"n": 7}, {"n": 8}]}, "a.b": 1, "a": {"b": 2, "c.d": 3}, "c.d": {"e": 4}}
    row = record_of({**nested, "text": json.dumps(nested), "list": '["x", "y"]'}.items())
    reached = {
        "who.name": "ann",
        "who.ids.1.n": 8,
        "a.b": 1,  # a column that is called so
        "a.c.d": 3,
        "c.d.e": 4,
        "text.who.ids.0.n": 7,
        "list.1": "y",
    }
    assert {name: cell_in(row, name) for name in reached} == reached
    for name in ("who.age", "who.ids.2", "who.ids.n", "who.name.x", "none.x", "list.1.x", "a.b.c", ".", "who."):
        assert cell_in(row, name) is None, name
        assert cell_in(row, name, "absent") == "absent", name
    assert cell_in({"text": "[" * 100_000}, "text.0", "absent") == "absent"
    assert cell_in({"text": "{oops"}, "text.a", "absent") == "absent"


def test_the_columns_of_labels() -> None:
    assert Columns({"label": "A.b.c"}).of_labels() == ["a.b.c", "a.b", "a"]
    assert Columns({}).of_labels() == list(COLUMNS["label"])
    assert "score" not in Columns({"weight": "score"}).of_labels()


def test_a_mapping_in_words() -> None:
    assert parse_map("image=jpg, Prompt = The Caption ,label=meta.liked") == {
        "image": "jpg",
        "prompt": "The Caption",
        "label": "meta.liked",
    }
    assert parse_map("label=a=b") == {"label": "a=b"}
    assert parse_map("chosen=good") == {"chosen": "good"}, "which names there are is for the kind of table to say"


@pytest.mark.parametrize(
    ("text", "code", "naming"),
    [
        ("", "map-malformed", ("''", "image=jpg,prompt=caption")),
        ("label", "map-malformed", "'label'"),
        ("label=", "map-malformed", "'label='"),
        ("=x", "map-malformed", "'=x'"),
        ("label=a,,prompt=b", "map-malformed", "''"),
        ("label=a,LABEL=b", "map-repeated", "LABEL"),
    ],
)
def test_mappings_that_say_nothing(text: str, code: str, naming: object) -> None:
    with refused(code, UsageError, naming=naming):
        parse_map(text)


def test_a_name_of_ours_that_is_none() -> None:
    with refused("map-unknown-name", UsageError, naming=["'picture'", "image, prompt"]):
        Columns({"picture": "x"})


# --- compared with what there is


def check(files: list[Path], columns: Columns) -> None:
    check_columns(files[0], columns, sheets_of(files))


def table(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_mapped_columns_that_there_are(tmp_path: Path) -> None:
    first = table(tmp_path, "a.csv", 'a;B;meta\n1;2;"{""who"": 3}"\n')
    second = table(tmp_path, "b.jsonl", '{"a": 1}\n{"late": {"deep": [1]}}\n')
    check([first], Columns({"label": "b", "rater": "Meta.WHO"}))
    check([second], Columns({"label": "a", "rater": "late.deep.0"}))
    check([first, second], Columns({"label": "b", "rater": "late"}))


@pytest.mark.parametrize(
    ("mapping", "missing"),
    [
        ({"label": "c"}, " c;"),
        ({"label": "C", "rater": "a"}, " c;"),
        ({"label": "meta.when"}, " meta.when;"),
        ({"label": "x.y", "rater": "d"}, " d, x.y;"),
    ],
)
def test_mapped_columns_that_there_are_not(tmp_path: Path, mapping: dict[str, str], missing: str) -> None:
    file = table(tmp_path, "a.csv", 'a;B;meta\n1;2;"{""who"": 3}"\n')
    with refused("column-missing", UsageError, naming=[file, missing, "a, b, meta."]):
        check([file], Columns(mapping))


def test_mapped_columns_that_no_row_has(tmp_path: Path) -> None:
    files = [table(tmp_path, "a.jsonl", '{"a": 1}\n{"b": 1}\n'), table(tmp_path, "b.jsonl", '{"c": 1}\n[]\n')]
    with refused("column-missing", UsageError, naming=["a.jsonl", " d;", "a, b, c."]):
        check(files, Columns({"label": "d"}))
    with refused("column-missing", UsageError, naming=[" d;", "none."]):
        check([table(tmp_path, "c.jsonl", "")], Columns({"label": "d"}))


def test_columns_of_the_same_name(tmp_path: Path) -> None:
    file = table(tmp_path, "a.csv", "prompt,x,X,Prompt \n1,2,3,4\n")
    with refused("column-repeated", naming=["a.csv", "prompt"]):
        check([file], Columns({}))
    other = table(tmp_path, "b.csv", "x,X,label\n1,2,3\n")
    check([other], Columns({}))
    with refused("column-repeated", naming=[other, " x;"]):
        check([other], Columns({"prompt": "x"}))


def test_readings_that_cannot_be_meant(tmp_path: Path) -> None:
    for like_at in (float("nan"), float("inf")):
        with refused("like-at-invalid", UsageError, naming=[like_at, "--like-at 4"]):
            check_reading(Reading(like_at=like_at))
    for encoding in ("cp12", "hex", "a\0b", ""):
        with refused("encoding-unknown", UsageError, naming=[repr(encoding), "cp1252"]):
            check_reading(Reading(encoding=encoding))
    with refused("root-missing", UsageError, naming=tmp_path / "none"):
        check_reading(Reading(root=tmp_path / "none"))
    for encoding in ("cp1252", "UTF-8", "utf-16", "latin-1", "shift_jis"):
        check_reading(Reading(encoding=encoding, root=tmp_path, like_at=0))


def test_records() -> None:
    cells = [(" Prompt", 1), ("prompt ", 2), ("", 3), (" ", 4), (None, 5), (7, 6), ("ÄB", 7)]
    assert record_of(cells) == {"prompt": 1, "äb": 7}
