"""Stars and boards in InvokeAI's database, in the tables that its versions 3 and 6 make."""

import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from invokeai_gallery import METADATA, VERSION_3, VERSION_6, add, database_in, made, run
from refusals import refused

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.source import Reading, SourceRow
from thumbtune.feedback.sources.contrib import invokeai, invokeai_rows
from thumbtune.feedback.sources.contrib.invokeai import GalleryCounts, InvokeAI, recognises

Add = Callable[..., None]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return database_in(tmp_path / "invokeai", VERSION_3)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return database_in(tmp_path / "invokeai", VERSION_3, VERSION_6)


def found_in(path: Path, **reading: object) -> list[SourceRow]:
    return list(InvokeAI(path, Reading(**reading)))  # type: ignore[arg-type]


def told(path: Path, **reading: object) -> list[tuple[str, bool | None]]:
    return [(each.where.removeprefix("invokeai.db, "), each.liked) for each in found_in(path, **reading)]


def test_what_is_starred_is_liked(old: Path) -> None:
    add(old, "a.png", starred=True)
    add(old, "b.png")
    (found,) = found_in(old)
    assert (found.where, found.prompt, found.liked, found.seed) == ("invokeai.db, a.png", "a fox, ink", True, 7)
    assert (found.model, found.source, found.rater, found.problem) == ("Dreamshaper 8", "InvokeAI", None, None)
    assert found.image is not None and found.image() == made()


def test_boards_named_like_folders(old: Path) -> None:
    for name, board, starred in (
        ("a.png", "Favorites", False),
        ("b.png", "REJECTED", False),
        ("c.png", "foxes", True),
        ("d.png", "liked", True),
        ("e.png", "bad", True),
        ("f.png", "foxes", False),
    ):
        add(old, name, board=board, starred=starred)
    found = found_in(old)
    assert [each.liked for each in found] == [True, False, True, True, None]
    assert found[-1].problem == invokeai.BOTH
    assert InvokeAI(old).counts() == GalleryCounts(likes=3, dislikes=1, contradicted=1, unrated=1)
    assert InvokeAI(old).__length_hint__() == 5


def test_what_has_neither_may_get_a_thumb(old: Path) -> None:
    add(old, "a.png", starred=True)
    add(old, "b.png")
    add(old, "uploaded.png", image_category="user", image_origin="external")
    add(old, "uploaded2.png", image_category="user", image_origin="external", starred=True)
    assert told(old) == [("a.png", True), ("uploaded2.png", True)]
    assert told(old, label=False) == [("a.png", True), ("b.png", False), ("uploaded2.png", True)]
    assert told(old, label=False, limit=2) == [("a.png", True), ("b.png", False)]
    assert InvokeAI(old, Reading(label=False)).__length_hint__() == 3


def test_what_its_gallery_does_not_show(old: Path) -> None:
    add(old, "a.png", starred=True, is_intermediate=True)
    add(old, "b.png", starred=True, deleted_at="2025-06-30 12:00:00.000")
    add(old, "c.png", starred=True, image_category="mask")
    add(old, "d.png", starred=True, image_category="control")
    add(old, "e.png", starred=True, is_intermediate=None)
    assert told(old, label=False) == [("e.png", True)]


def test_prompts_from_the_image_where_the_database_has_none(old: Path) -> None:
    own = {**METADATA, "positive_prompt": "a hare", "seed": 9}
    add(old, "a.png", starred=True, metadata=None, image=made(own))
    add(old, "b.png", starred=True, metadata='{"seed": 3}', image=made(own))
    add(old, "c.png", starred=True, metadata="[" * 100_000, image=made(own))
    add(old, "d.png", starred=True, metadata=json.dumps({"x": "y" * 5_000_000}))
    add(old, "e.png", starred=True, metadata=b"\xff\xfe")
    assert [(each.prompt, each.seed) for each in found_in(old)] == [
        ("a hare", 9),
        ("a hare", 3),
        ("a hare", 9),
        (None, None),
        (None, None),
    ]


def test_people_and_folders_of_later_versions(new: Path) -> None:
    add(new, "a.png", starred=True, user_id="2f0c", image_subfolder="2026/11")
    add(new, "b.png", starred=True)
    found = found_in(new)
    assert [(each.rater, each.problem) for each in found] == [("2f0c", None), (None, None)]
    assert all(each.image is not None and each.image() == made() for each in found)


def test_ways_to_name_it(old: Path, tmp_path: Path) -> None:
    add(old, "a.png", starred=True)
    for path in (old, old / "databases", old / "databases" / "invokeai.db"):
        assert recognises(path)
        assert [each.problem for each in found_in(path)] == [None]
    (old / "outputs" / "images").rename(tmp_path / "elsewhere")
    assert "" in str(found_in(old)[0].problem)
    assert [each.problem for each in found_in(old, root=tmp_path / "elsewhere")] == [None]
    (old / "outputs" / "images").symlink_to(tmp_path / "elsewhere")
    assert [each.problem for each in found_in(old)] == [None]
    with refused("root-missing", UsageError, naming=tmp_path / "none"):
        InvokeAI(old, Reading(root=tmp_path / "none"))


def test_pages(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invokeai_rows, "ROWS_PER_PAGE", 2)
    for name in "edcba":
        add(old, f"{name}.png", starred=True)
    run(old, "UPDATE images SET image_name = CAST(X'FF2E706E67' AS TEXT) WHERE image_name = 'e.png'")
    assert [where for where, _ in told(old)] == ["a.png", "b.png", "c.png", "d.png", "�.png"]


def test_names_that_lead_out(old: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(made())
    for name in ("../../../secret.png", str(tmp_path / "secret.png"), "a\0b.png", "x" * 5000, "c:\\secret.png"):
        run(
            old,
            "INSERT INTO images (image_name, image_origin, image_category, width, height, starred) "
            "VALUES (?, 'internal', 'general', 8, 8, TRUE)",
            name,
        )
    found = found_in(old)
    assert len(found) == 5 and all(each.image is None and each.problem for each in found)
    assert sum("is outside the folder" in str(each.problem) for each in found) >= 3


def everything_in(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}


@pytest.mark.parametrize("version", ["old", "new"])
def test_nothing_is_written(version: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(version)
    add(root, "a.png", starred=True)
    before = everything_in(root / "databases")
    assert len(before) == 1
    assert recognises(root) and told(root) == [("a.png", True)] and InvokeAI(root).counts().likes == 1
    assert everything_in(root / "databases") == before


def test_while_invokeai_runs(new: Path) -> None:
    """What it has written ahead is read too, and it may write on between two pages."""
    with closing(sqlite3.connect(new / "databases" / "invokeai.db")) as running:
        running.execute("SELECT count(*) FROM images").fetchone()
        add(new, "a.png", starred=True)
        running.execute("BEGIN IMMEDIATE")
        assert (new / "databases" / "invokeai.db-wal").stat().st_size > 0
        assert told(new) == [("a.png", True)]


def test_a_reader_keeps_nobody_from_writing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invokeai_rows, "ROWS_PER_PAGE", 1)
    add(old, "a.png", starred=True)
    add(old, "b.png", starred=True)
    going = iter(InvokeAI(old))
    assert next(going).where == "invokeai.db, a.png"
    add(old, "c.png", starred=True)
    assert [each.where for each in going] == ["invokeai.db, b.png", "invokeai.db, c.png"]


def test_a_database_that_is_locked(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invokeai_rows, "LOCK_TIMEOUT", 0.0)
    add(old, "a.png", starred=True)
    with closing(sqlite3.connect(old / "databases" / "invokeai.db")) as running:
        running.execute("BEGIN EXCLUSIVE")
        with refused("invokeai-busy", naming=["invokeai.db", "database is locked"]):
            list(InvokeAI(old))
        assert InvokeAI(old).__length_hint__() == 0 and not recognises(old)


def test_what_is_no_such_database(old: Path, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("hello")
    (tmp_path / "empty.db").write_bytes(b"")
    with closing(sqlite3.connect(tmp_path / "other.db")) as database, database:
        database.execute("CREATE TABLE images (name TEXT)")
    for path in (tmp_path, tmp_path / "none", tmp_path / "a\0b"):
        assert not recognises(path)
    for name, code in (
        ("text.db", "invokeai-damaged"),
        ("empty.db", "invokeai-no-gallery"),
        ("other.db", "invokeai-no-gallery"),
    ):
        assert not recognises(tmp_path / name)
        with refused(code, naming=tmp_path / name):
            list(InvokeAI(tmp_path / name))
    with refused("invokeai-missing", naming=[tmp_path, "databases/invokeai.db"]):
        InvokeAI(tmp_path)
    file = old / "databases" / "invokeai.db"
    add(old, "a.png", starred=True)
    file.write_bytes(file.read_bytes()[:5000])
    with refused("invokeai-damaged", naming=file):
        list(InvokeAI(old))


def test_a_database_without_boards(old: Path) -> None:
    add(old, "a.png", starred=True)
    run(old, "DROP TABLE board_images")
    assert told(old) == [("a.png", True)]


def test_views_are_not_trusted(old: Path) -> None:
    """Somebody's view might never end."""
    add(old, "a.png", starred=True)
    run(old, "ALTER TABLE images RENAME TO image")
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    run(old, f"CREATE VIEW images AS {endless} SELECT image.* FROM image, n WHERE n.i < 0")
    assert not recognises(old)
    with refused("invokeai-no-gallery", naming="invokeai.db"):
        list(InvokeAI(old))


def test_any_damage_is_said_in_words(old: Path) -> None:
    for name in "abc":
        add(old, f"{name}.png", starred=True, board="bad" if name == "b" else None)
    file = old / "databases" / "invokeai.db"
    whole, chance, read = file.read_bytes(), random.Random(0), 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 5, 50])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        file.write_bytes(data)
        recognises(old)
        try:
            read += len(list(InvokeAI(old, Reading(label=True)))) == 3
        except ThumbtuneError as error:
            assert str(error).startswith(str(file)) and str(error).endswith(".")
    assert read > 25


@pytest.mark.parametrize("cell", [None, 7, 0.5, b"\xff\0", "\ud7ff" * 9, "[" * 5000, "a\nb", "../.."])
def test_any_cell_makes_an_image_or_a_sentence(new: Path, cell: object) -> None:
    run(new, "CREATE TABLE loose (image_name, starred, image_category, metadata, user_id, image_subfolder)")
    run(new, "DROP TABLE images")
    run(new, "ALTER TABLE loose RENAME TO images")
    names = ("image_name", "starred", "image_category", "metadata", "user_id", "image_subfolder")
    good = dict(zip(names, ("a.png", True, "general", json.dumps(METADATA), "2f0c", ""), strict=True))
    for name in names:
        cells = {**good, name: cell}
        run(new, f"INSERT INTO images ({', '.join(cells)}) VALUES (?, ?, ?, ?, ?, ?)", *cells.values())
    assert all(each.image is not None or each.problem for each in found_in(new, label=False))
