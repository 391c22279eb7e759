"""Which kind of source somebody gave: told by what lies there, named by them, or refused in a sentence."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from refusals import refused

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.source import DEFAULT_READING, Reading
from thumbtune.feedback.sources import hub
from thumbtune.feedback.sources.classes import Classes
from thumbtune.feedback.sources.contrib.webdataset import WebDataset
from thumbtune.feedback.sources.folders import LikeFolders
from thumbtune.feedback.sources.kinds import KINDS, OPTIONS, open_source
from thumbtune.feedback.sources.pairs import Pairs
from thumbtune.feedback.sources.rankings import Rankings
from thumbtune.feedback.sources.table import Table

Paint = Callable[..., bytes]
TABLES = {
    Table: {"file_name": "a.png", "prompt": "fox", "label": "like"},
    Pairs: {"chosen": "a.png", "rejected": "b.png", "prompt": "fox"},
    Classes: {"file_name": "a.png", "caption": "fox", "split": "exclusive_win"},
}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_told_by_its_columns(kind: type, suffix: str, tmp_path: Path) -> None:
    table, file = pd.DataFrame([TABLES[kind]]), tmp_path / f"metadata{suffix}"
    if suffix == ".jsonl":
        table.to_json(file, orient="records", lines=True)
    else:
        getattr(table, f"to_{suffix[1:]}")(file, index=False)
    assert isinstance(open_source(file), kind)


def test_rankings_are_told_by_theirs(tmp_path: Path) -> None:
    file = tmp_path / "test.json"
    file.write_text('[{"prompt": "fox", "image_path": ["a.png", "b.png"], "rank": [1, 2]}]')
    assert isinstance(open_source(file), Rankings)


def test_folders_go_before_the_table_beside_them(tmp_path: Path, paint: Paint) -> None:
    (tmp_path / "like").mkdir()
    (tmp_path / "like" / "a.png").write_bytes(paint())
    (tmp_path / "metadata.csv").write_text("file_name,prompt\nlike/a.png,fox\n")
    assert isinstance(open_source(tmp_path), LikeFolders)
    assert isinstance(open_source(tmp_path, kind="table"), Table)


def test_a_name_opens_what_would_be_taken_for_something_else(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("chosen,rejected,prompt,label,image\na.png,b.png,fox,like,c.png\n")
    assert isinstance(open_source(file), Pairs)
    assert isinstance(open_source(file, kind="table"), Table)
    with refused("kind-unknown", UsageError, naming=["'tabel'", "hub, invokeai, label-studio"]):
        open_source(file, kind="tabel")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_option_without_effect_is_refused(kind: object, tmp_path: Path) -> None:
    given = {"columns": {"image": "jpg"}, "like_at": 4.0, "policy": "w_l", "split": "train", "limit": 3}
    given |= {"label": True, "root": tmp_path, "allow_download": True, "encoding": "cp1252", "words": {"x": "like"}}
    assert given.keys() == OPTIONS.keys()
    for field in OPTIONS.keys() - set(kind.options):  # type: ignore[attr-defined]
        with refused("option-without-effect", UsageError, naming=OPTIONS[field]):
            open_source(tmp_path, reading=Reading(**{field: given[field]}), kind=kind.name)  # type: ignore


def test_every_option_of_reading_has_a_name_on_the_command_line() -> None:
    assert OPTIONS.keys() == vars(DEFAULT_READING).keys()


def test_nothing_is_told_apart_by_an_exception(tmp_path: Path) -> None:
    for name, data in {"a.parquet": b"PAR1 not", "b.json": b"[" * 5000, "c.csv": b"\xff\xfe\0", "d": b""}.items():
        (tmp_path / name).write_bytes(data)
        for kind in KINDS:
            kind.recognises(tmp_path / name)
    with refused("table-unknown-format", naming=[tmp_path / "d", ".jsonl"]):
        open_source(tmp_path / "d")


def test_what_is_not_here_is_asked_of_the_hub_by_address_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with refused("source-missing", naming=["ann/likes", "hf://datasets/ann/likes."]):
        open_source("ann/likes")
    with refused("source-missing", naming="likes.csv") as caught:
        open_source("ann/likes.csv")
    assert "hf://" not in str(caught.value)
    asked: list[object] = []

    def refuse(address: object) -> None:
        asked.append(address)
        raise ThumbtuneError("no.", code="no")

    monkeypatch.setattr(hub, "_builder_of", refuse)
    with refused("no"):
        open_source("hf://datasets/ann/likes")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.zip", ("unpack it", ".tar")),
        ("a.xlsx", ".csv"),
        ("a.db", (".csv", "InvokeAI")),
        ("a.PNG", ("folder", "--label like")),
    ],
)
def test_files_that_are_not_read_as_they_are(tmp_path: Path, name: str, advice: object) -> None:
    (tmp_path / name).write_bytes(b"x")
    with refused("source-unsupported", naming=[tmp_path / name, *([advice] if isinstance(advice, str) else advice)]):
        open_source(tmp_path / name)


def test_a_folder_of_favourites_is_told_of_its_option(tmp_path: Path, paint: Paint) -> None:
    (tmp_path / "liked").mkdir()
    (tmp_path / "liked" / "a.png").write_bytes(paint())
    with refused("source-empty", naming=[tmp_path / "liked", "--label like"]):
        open_source(tmp_path / "liked")


@pytest.mark.parametrize("name", ["https://example.org/likes.csv", "s3://bucket/likes", "https:/example.org/a.csv"])
def test_an_address_is_named_as_it_was_given(name: str) -> None:
    with refused("source-is-address", UsageError, naming=name):
        open_source(name)


@pytest.mark.parametrize("name", ["", " "])
def test_nothing_is_no_source(tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "like").mkdir()
    (tmp_path / "like" / "a.png").write_bytes(paint())
    monkeypatch.chdir(tmp_path)
    with refused("source-unnamed", UsageError):
        open_source(name)


def test_shards_are_named_together(tmp_path: Path) -> None:
    for number in range(2):
        tarfile.open(tmp_path / f"s-{number}.tar", "w").close()
    assert isinstance(open_source(tmp_path / "s-{0..1}.tar"), WebDataset)
    assert isinstance(open_source(tmp_path), WebDataset)
