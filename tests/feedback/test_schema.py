"""Upgrades from every earlier version of the store, with its rows, on both databases."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from refusals import refused
from sqlalchemy import Engine, create_engine, insert, select, text

from thumbtune.feedback.store import schema
from thumbtune.feedback.store.database import _engine, open_database, url_of
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import StoredImage, Table, Vote
from thumbtune.feedback.store.votes import key_of

Paint = Callable[..., bytes]

# what `user_version` 1 was, as the release that wrote it made it
FIRST_FORM = """
CREATE TABLE pictures (id INTEGER NOT NULL, sha256 VARCHAR(64) NOT NULL, prompt VARCHAR NOT NULL, file VARCHAR NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, seed INTEGER, model VARCHAR, source VARCHAR,
    created_at DATETIME NOT NULL, PRIMARY KEY (id), UNIQUE (sha256, prompt));
CREATE TABLE votes (sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, id VARCHAR(36) NOT NULL,
    picture_id INTEGER NOT NULL, rater VARCHAR NOT NULL, kind VARCHAR(8) NOT NULL, undoes VARCHAR(36),
    weight FLOAT NOT NULL, grade FLOAT, reason VARCHAR, created_at DATETIME NOT NULL,
    CONSTRAINT kind_is_known CHECK (kind IN ('like', 'dislike', 'skip', 'undo')),
    CONSTRAINT undo_names_a_vote CHECK ((kind = 'undo') = (undoes IS NOT NULL)),
    CONSTRAINT weight_is_not_negative CHECK (weight >= 0),
    CONSTRAINT grade_is_a_fraction CHECK (grade IS NULL OR (grade >= 0 AND grade <= 1)),
    UNIQUE (id), FOREIGN KEY(picture_id) REFERENCES pictures (id), FOREIGN KEY(undoes) REFERENCES votes (id));
CREATE INDEX votes_by_picture_and_rater ON votes (picture_id, rater, sequence);
CREATE INDEX ix_votes_undoes ON votes (undoes);
CREATE TRIGGER votes_refuse_update BEFORE UPDATE ON votes BEGIN SELECT RAISE(ABORT, 'votes are append-only'); END;
CREATE TRIGGER votes_refuse_delete BEFORE DELETE ON votes BEGIN SELECT RAISE(ABORT, 'votes are append-only'); END;
INSERT INTO pictures VALUES (1, 'aa', 'a fox', 'images/aa/aa.png', 8, 9, 7, 'm', 's', '2025-06-01 10:00:00.000000');
INSERT INTO pictures VALUES (2, 'aa', 'a hen', 'images/aa.png', 8, 9, NULL, NULL, NULL, '2025-06-01 10:00:00.000000');
INSERT INTO votes VALUES (1, 'v1', 1, 'ann', 'like', NULL, 0.5, 0.9, 'hands', '2025-06-01 11:00:00.000000');
INSERT INTO votes VALUES (2, 'v2', 2, 'ann', 'dislike', NULL, 1.0, NULL, NULL, '2025-06-01 11:00:00.000000');
INSERT INTO votes VALUES (3, 'v3', 2, 'ann', 'undo', 'v2', 1.0, NULL, NULL, '2025-06-01 11:00:00.000000');
PRAGMA user_version = 1;
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Return an engine on a database without tables."""
    where = tmp_path / "likes.sqlite" if request.param == "sqlite" else request.getfixturevalue("database")
    engine = _engine(url_of(where), str(where))
    yield engine
    engine.dispose()


def rows_at_first(engine: Engine) -> None:
    """Insert the rows of FIRST_FORM, on any database."""
    begun = FIRST_FORM.index("INSERT INTO pictures")
    with engine.begin() as connection:
        for line in FIRST_FORM[begun : FIRST_FORM.index("PRAGMA")].splitlines():
            connection.execute(text(line.rstrip(";").replace(":00:00.000000", "\\:00\\:00.000000")))


def assert_as_it_was(engine: Engine) -> None:
    with engine.connect() as connection:
        images = connection.execute(select(StoredImage.__table__).order_by(StoredImage.id)).mappings().all()
        votes = connection.execute(select(Vote.__table__).order_by(Vote.sequence)).mappings().all()
    assert [(p["sha256"], p["prompt"], p["seed"], p["model"]) for p in images] == [
        ("aa", "a fox", 7, "m"),
        ("aa", "a hen", None, None),
    ]
    assert [p["key"] for p in images] == [key_of("aa", "a fox"), key_of("aa", "a hen")]
    assert [(v["id"], v["kind"], v["undoes"], v["weight"], v["grade"], v["pair"]) for v in votes] == [
        ("v1", "like", None, 0.5, 0.9, None),
        ("v2", "dislike", None, 1.0, None, None),
        ("v3", "undo", "v2", 1.0, None, None),
    ]


def test_the_versions_are_those_of_the_folder() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    steps = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(steps)) == schema.VERSIONS


def test_a_store_of_the_first_release_opens_with_its_rows_and_its_rules(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "likes.sqlite")
    connection.executescript(FIRST_FORM)
    connection.close()
    with Store.open(tmp_path) as store:
        assert [(row.image.prompt, row.liked) for row in store.labels()] == [("a fox", True)]
        assert_as_it_was(store._engine)
        with pytest.raises(Exception, match="append-only"), store._engine.begin() as again:
            again.exec_driver_sql("DELETE FROM votes")
        with pytest.raises(Exception, match="FOREIGN KEY"), store._engine.begin() as again:
            again.execute(insert(Vote).values(id="x", picture_id=99, rater="ann", kind="like"))


@pytest.mark.parametrize("version", schema.VERSIONS)
def test_every_version_comes_up_to_what_the_tables_say(empty: Engine, version: str) -> None:
    schema.upgrade(empty, "it", version)
    if version == schema.VERSIONS[0]:
        rows_at_first(empty)
    schema.upgrade(empty, "it")
    schema.upgrade(empty, "it")  # once more changes nothing
    with empty.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Table.metadata) == []
        assert schema.version_of(connection, "it") == schema.NEWEST
    if version == schema.VERSIONS[0]:
        assert_as_it_was(empty)


def test_a_server_is_brought_up_to_date_only_when_told(database: str, tmp_path: Path) -> None:
    engine = create_engine(url_of(database))
    schema.upgrade(engine, "it", schema.VERSIONS[0])
    with refused("store-outdated", naming=("schema 0001", "thumbtune likes upgrade")):
        open_database(database)
    schema.upgrade(engine, "it")
    engine.dispose()
    Store.open(database, images=str(tmp_path)).close()


def test_a_newer_store_is_refused_by_its_version(empty: Engine) -> None:
    schema.upgrade(empty, "it")
    with empty.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0099'")
    with empty.connect() as connection, refused("store-newer", naming="schema 0099"):
        schema.version_of(connection, "it")


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = sqlite3.connect(tmp_path / "likes.sqlite")
    connection.executescript(FIRST_FORM)

    def fail(*_: object) -> str:
        raise RuntimeError

    with monkeypatch.context() as broken, pytest.raises(RuntimeError):
        broken.setattr("thumbtune.files.sha256", fail)
        Store.open(tmp_path)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert "place" not in {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    Store.open(tmp_path).close()


def test_a_large_prompt_is_kept_and_found(store: Store, paint: Paint) -> None:
    prompt = "a fox " * 2000
    assert store.add_image(paint(), prompt).id == store.add_image(paint(), prompt).id
