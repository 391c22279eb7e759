"""A store with a damaged cell is refused in one sentence that names the cell, whatever asks for it."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from refusals import refused
from typer.testing import CliRunner

from thumbtune.cli.app import app
from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.exporters.export import export
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.likes import likes_of
from thumbtune.feedback.stats import stats_of
from thumbtune.feedback.store.store import Store

Paint = Callable[..., bytes]
# the change, and what of it the sentence names
DAMAGE = {
    "UPDATE votes SET created_at = 'soon' WHERE sequence = 2": ("created_at of row 2 in votes", "'soon'"),
    "UPDATE votes SET created_at = 17": ("created_at of row 1 in votes", "17"),
    "UPDATE votes SET created_at = X'FF'": "created_at of row 1 in votes",
    "UPDATE votes SET created_at = '2025-99-99 00:00:00.000000'": "2025-99-99",
    "UPDATE votes SET ordered_at = 'never'": ("ordered_at of row 1 in votes", "'never'"),
    "UPDATE pictures SET created_at = ''": "created_at of row 1 in pictures",
    "UPDATE pictures SET prompt = CAST(X'63617420FF' AS TEXT) WHERE id = 2": "prompt of row 2 in pictures is not UTF-8",
    "UPDATE pictures SET prompt = X'636174'": "prompt of row 1 in pictures",
    "UPDATE pictures SET prompt = CAST(X'63006174' AS TEXT)": "prompt of row 1 in pictures is text with a zero byte",
    "UPDATE pictures SET seed = 'many'": ("seed of row 1 in pictures", "'many'"),
    "UPDATE pictures SET model = CAST(X'C3' AS TEXT)": "model of row 1 in pictures is not UTF-8",
    "UPDATE votes SET rater = X'00'": "rater of row 1 in votes",
    "UPDATE votes SET weight = 'heavy'": ("weight of row 1 in votes", "'heavy'"),
    "UPDATE votes SET grade = 'good'": ("grade of row 1 in votes", "'good'"),
    "UPDATE votes SET reason = X'01'": "reason of row 1 in votes",
}
NULLS = ("pictures.prompt", "pictures.file", "pictures.sha256", "votes.rater", "votes.weight", "votes.created_at")


@pytest.fixture
def where(tmp_path: Path, folder: Path) -> Path:
    with Store.open(tmp_path / "store") as store:
        import_likes(folder, store)
    return tmp_path / "store"


def damage(where: Path, statement: str) -> None:
    database = sqlite3.connect(where / "likes.sqlite", isolation_level=None)
    database.execute("PRAGMA ignore_check_constraints = ON")
    database.execute("DROP TRIGGER votes_refuse_update")
    database.execute(statement)
    database.close()


def make_nullable(where: Path, column: str) -> None:
    """Take NOT NULL from a column, as only damage does, and empty it."""
    database = sqlite3.connect(where / "likes.sqlite", isolation_level=None)
    database.execute("PRAGMA writable_schema = ON")
    table, _, name = column.partition(".")
    (sql,) = database.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    nullable = re.sub(rf"(\b{name} [^,]*?) NOT NULL", r"\1", sql)
    database.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (nullable, table))
    database.close()
    damage(where, f"UPDATE {table} SET {name} = NULL")


@pytest.mark.parametrize("statement", DAMAGE)
def test_a_damaged_cell_is_named(where: Path, folder: Path, tmp_path: Path, statement: str) -> None:
    damage(where, statement)
    with Store.open(where, create=False) as store:
        for ask in (stats_of, likes_of, lambda store: export(store, tmp_path / "out", "folder")):
            with refused("store-damaged", naming=DAMAGE[statement]):
                ask(store)
        with suppress(ThumbtuneError):  # an import may not need the cell
            import_likes(folder, store, correct=True)
    result = CliRunner().invoke(app, ["likes", "stats", "--likes", str(where)])
    assert isinstance(result.exception, ThumbtuneError) and result.exception.code == "store-damaged"


@pytest.mark.parametrize("column", NULLS)
def test_an_empty_cell_where_a_value_belongs_is_named(where: Path, column: str) -> None:
    make_nullable(where, column)
    with Store.open(where, create=False) as store:
        for ask in (stats_of, likes_of):
            table, _, name = column.partition(".")
            with refused("store-damaged", naming=f"{name} of row 1 in {table} is empty"):
                ask(store)


def test_a_location_of_images_that_is_no_text(where: Path) -> None:
    damage(where, "INSERT INTO place VALUES (1, X'00')")
    with refused("store-damaged", naming="location"):
        Store.open(where)


def test_an_emptied_database_is_no_empty_store(where: Path) -> None:
    (where / "likes.sqlite").write_bytes(b"")
    with refused("store-empty", naming="likes.sqlite"):
        Store.open(where, create=False)


@pytest.mark.parametrize("rest", [100, 4096, 5000])
def test_a_database_that_was_cut_off(where: Path, rest: int) -> None:
    file = where / "likes.sqlite"
    file.write_bytes(file.read_bytes()[:rest])
    with pytest.raises(ThumbtuneError) as caught, Store.open(where, create=False) as store:
        stats_of(store)
    assert caught.value.code in ("store-damaged", "store-foreign")


def test_a_vote_whose_id_is_no_uuid_is_exported_under_another(where: Path, tmp_path: Path) -> None:
    damage(where, "UPDATE votes SET id = 'v' || sequence")
    with Store.open(where, create=False) as store:
        assert export(store, tmp_path / "out", "folder").rows == 3


def test_a_missing_image_is_named(where: Path, tmp_path: Path) -> None:
    with Store.open(where, create=False) as store:
        image = next(iter(store.labels())).image
        (where / image.file).unlink()
        with refused("image-not-read", naming=image.file):
            export(store, tmp_path / "out", "folder")
        with refused("image-not-read", naming=image.file):
            store.read(image)
