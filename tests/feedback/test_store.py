"""The store: images byte for byte, votes that are only added, and errors with codes."""

import json
import sqlite3
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from pathlib import Path

import pytest
from refusals import refused
from sqlalchemy import event

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.store.schema import NEWEST
from thumbtune.feedback.store.store import Counts, Store
from thumbtune.files import sha256

Paint = Callable[..., bytes]


def labels_in(store: Store) -> list[tuple[str, str, bool]]:
    return [(row.image.prompt, row.rater, row.liked) for row in store.labels()]


def test_image_bytes_stay_untouched_under_their_hash(store: Store, paint: Paint) -> None:
    data = paint(1, "JPEG")
    image = store.add_image(data, "a fox", seed=7, model="sd", source="studio")
    name = sha256(data)
    assert image.file == f"images/{name[:2]}/{name}.jpg"
    assert store.read(image) == data
    assert (image.width, image.height, image.seed, image.model, image.source) == (
        16,
        16,
        7,
        "sd",
        "studio",
    )


def test_the_same_image_is_kept_once_per_prompt(store: Store, paint: Paint) -> None:
    first, again = store.add_image(paint(), "a fox"), store.add_image(paint(), "a fox")
    other = store.add_image(paint(), "a hare")
    assert first.id == again.id != other.id and first.file == other.file
    assert store.image(other.id).prompt == "a hare"


@pytest.mark.parametrize("prompt", ["", "  ", "half \ud800"])
def test_a_prompt_must_be_text(store: Store, paint: Paint, prompt: str) -> None:
    with refused("image-no-prompt" if not prompt.strip() else "text-half-character"):
        store.add_image(paint(), prompt)


def test_a_seed_must_fit(store: Store, paint: Paint) -> None:
    assert store.add_image(paint(), "a", seed=2**63 - 1).seed == 2**63 - 1
    with refused("image-bad-seed", naming=(2**63, "64 bits")):
        store.add_image(paint(), "b", seed=2**63)


def test_the_latest_vote_counts(store: Store, paint: Paint) -> None:
    fox, hare = store.add_image(paint(0), "fox"), store.add_image(paint(1), "hare")
    store.vote(fox, "like", rater="ann")
    store.vote(hare, "like", rater="ann")
    store.vote(fox, "dislike", rater="ann")
    store.vote(fox, "like", rater="bob")
    store.vote(hare, "skip", rater="ann")
    assert labels_in(store) == [("fox", "ann", False), ("fox", "bob", True)]
    assert store.counts() == Counts(images=2, votes=5, likes=1, dislikes=1, raters=2)


def test_undo_falls_back_to_the_vote_before(store: Store, paint: Paint) -> None:
    fox = store.add_image(paint(), "fox")
    first = store.vote(fox, "like", rater="ann")
    second = store.vote(fox.id, "dislike", rater="ann")
    assert store.undo(second, rater="ann") == store.undo(second, rater="ann")
    assert labels_in(store) == [("fox", "ann", True)]
    assert store.counts() == Counts(images=1, votes=3, likes=1, dislikes=0, raters=1)
    store.undo(first, rater="ann")
    assert labels_in(store) == []
    store.vote(fox, "dislike", rater="ann")
    assert labels_in(store) == [("fox", "ann", False)]


def test_undo_is_for_ones_own_votes(store: Store, paint: Paint) -> None:
    vote = store.vote(store.add_image(paint(), "fox"), "like", rater="ann")
    with refused("vote-of-another-rater", naming="ann"):
        store.undo(vote, rater="bob")
    missing = str(uuid.uuid4())
    with refused("vote-missing", naming=missing):
        store.undo(missing, rater="ann")
    with refused("vote-is-undo"):
        store.undo(store.undo(vote, rater="ann"), rater="ann")


def test_posting_twice_is_one_vote(store: Store, paint: Paint) -> None:
    fox, mine = store.add_image(paint(), "fox"), str(uuid.uuid4())
    assert store.vote(fox, "like", rater="ann", vote_id=mine) == mine
    assert store.vote(fox, "like", rater="ann", vote_id=mine.upper()) == mine
    assert store.counts().votes == 1
    with refused("vote-id-taken", naming=mine):
        store.vote(fox, "dislike", rater="ann", vote_id=mine)


@pytest.mark.parametrize(
    ("kind", "rater", "details", "code", "value"),
    [
        ("love", "ann", {}, "vote-unknown-kind", "love"),
        ("undo", "ann", {}, "vote-unknown-kind", "undo"),
        ("like", " ", {}, "vote-no-rater", "rater"),
        ("like", "ann", {"weight": -1.0}, "vote-bad-weight", -1.0),
        ("like", "ann", {"weight": float("nan")}, "vote-bad-weight", "nan"),
        ("like", "ann", {"grade": 1.5}, "vote-bad-grade", 1.5),
        ("like", "ann", {"vote_id": "12"}, "vote-bad-id", "12"),
    ],
)
def test_a_vote_must_mean_something(
    store: Store, paint: Paint, kind: str, rater: str, details: dict, code: str, value: object
) -> None:
    fox = store.add_image(paint(), "fox")
    with refused(code, naming=value):
        store.vote(fox, kind, rater=rater, **details)  # type: ignore[arg-type]
    assert store.counts().votes == 0


def test_a_vote_needs_an_image_that_is_there(store: Store) -> None:
    with refused("image-missing", naming=("no image 9", store.name)):
        store.vote(9, "like", rater="ann")
    with refused("image-missing", naming=("no image 9", store.name)):
        store.image(9)


def test_details_are_kept_and_moments_are_utc(store: Store, paint: Paint) -> None:
    noon = datetime(2025, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    fox = store.add_image(paint(), "fox")
    store.vote(fox, "like", rater="ann", weight=0.5, grade=0.9, reason="hands", created_at=noon)
    (row,) = store.labels()
    assert (row.weight, row.grade, row.reason) == (0.5, 0.9, "hands")
    assert row.created_at == datetime(2025, 6, 1, 10, tzinfo=UTC) and row.created_at.tzinfo is UTC


@pytest.mark.parametrize(
    "statement",
    ["UPDATE votes SET kind = 'dislike'", "DELETE FROM votes", "REPLACE INTO votes SELECT * FROM votes"],
)
def test_votes_are_append_only(file_store: Store, paint: Paint, statement: str) -> None:
    file_store.vote(file_store.add_image(paint(), "fox"), "like", rater="ann")
    connection = sqlite3.connect(file_store.name)
    connection.execute("PRAGMA recursive_triggers = ON")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    assert labels_in(file_store) == [("fox", "ann", True)]


@pytest.mark.parametrize("statement", ["UPDATE votes SET kind = 'dislike'", "DELETE FROM votes"])
def test_votes_are_append_only_on_a_server(database: str, tmp_path: Path, paint: Paint, statement: str) -> None:
    import psycopg

    with Store.open(database, images=str(tmp_path)) as store:
        store.vote(store.add_image(paint(), "fox"), "like", rater="ann")
        with psycopg.connect(database) as connection, pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            connection.execute(statement)
        assert labels_in(store) == [("fox", "ann", True)]


def test_settings_of_the_database(file_store: Store) -> None:
    with file_store._engine.connect() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "user_version")
        }
    assert settings == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30_000, "user_version": int(NEWEST)}


def test_a_store_opens_again_as_it_was(tmp_path: Path, paint: Paint) -> None:
    with Store.open(tmp_path / "s") as store:
        store.vote(store.add_image(paint(), "fox"), "like", rater="ann")
    with Store.open(tmp_path / "s", create=False) as store:
        assert labels_in(store) == [("fox", "ann", True)]


def test_a_transaction_is_all_or_nothing(store: Store, paint: Paint) -> None:
    with pytest.raises(KeyboardInterrupt), store.transaction():
        store.vote(store.add_image(paint(), "fox"), "like", rater="ann")
        assert len(labels_in(store)) == 1
        raise KeyboardInterrupt
    assert store.counts() == Counts(images=0, votes=0, likes=0, dislikes=0, raters=0)
    store.vote(store.add_image(paint(), "fox"), "like", rater="ann")
    assert store.counts().votes == 1


def test_ctrl_c_while_a_row_is_fetched(file_store: Store, paint: Paint, caplog: pytest.LogCaptureFixture) -> None:
    """Ctrl-C is the only error raised, SQLAlchemy adds none, and the store still works."""
    for number in range(3):
        file_store.vote(file_store.add_image(paint(number), "fox"), "like", rater="ann")

    def stop(text: bytes) -> str:
        if text == b"like" and next(seen) == 1:
            raise KeyboardInterrupt
        return text.decode()

    def listen(connection: sqlite3.Connection, *_: object) -> None:
        connection.text_factory = stop

    seen = count()
    event.listen(file_store._engine, "checkout", listen)
    with pytest.raises(KeyboardInterrupt):
        labels_in(file_store)
    assert caplog.messages == [] and next(seen) == 2
    assert file_store.counts().likes == 3 == len(labels_in(file_store))


def test_a_rehearsal_keeps_nothing(store: Store, paint: Paint, tmp_path: Path) -> None:
    with store.transaction(rehearsal=True):
        store.vote(store.add_image(paint(), "fox"), "like", rater="ann")
        assert store.counts().likes == 1
    assert store.counts().images == 0 and not list(tmp_path.rglob("*.png"))


def test_a_lost_file_comes_back_with_its_image(store: Store, paint: Paint) -> None:
    path = Path(store.address_of(store.add_image(paint(), "fox")))
    path.unlink()
    store.add_image(paint(), "fox")
    assert path.read_bytes() == paint()


def test_reading_does_not_wait_for_an_import(store: Store, paint: Paint) -> None:
    with store.transaction():
        store.vote(store.add_image(paint(), "fox"), "like", rater="ann")
        with Store.open(store.where) as other:
            assert other.counts().votes == 0
    assert store.counts().votes == 1


def test_threads_may_vote_at_once(store: Store, paint: Paint) -> None:
    fox, one = store.add_image(paint(), "fox"), str(uuid.uuid4())

    def press(rater: str) -> None:
        for _ in range(5):
            store.vote(fox, "like", rater=rater)
        store.vote(fox, "like", rater="shared", vote_id=one)

    threads = [threading.Thread(target=press, args=(f"rater {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.counts() == Counts(images=1, votes=21, likes=5, dislikes=0, raters=5)


def test_no_store_to_open(tmp_path: Path) -> None:
    with refused("store-missing", naming=(tmp_path / "none", "likes.sqlite")):
        Store.open(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with refused("store-not-made", naming=tmp_path / "file"):
        Store.open(tmp_path / "file")


def test_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "likes.sqlite").write_text("this is a letter, not a database\n" * 100)
    with refused("store-foreign", naming=tmp_path / "likes.sqlite"):
        Store.open(tmp_path)


@pytest.mark.parametrize(
    ("statement", "code"),
    [("PRAGMA user_version = 99", "store-newer"), ("CREATE TABLE t (a)", "store-foreign")],
)
def test_a_database_that_is_not_ours(tmp_path: Path, statement: str, code: str) -> None:
    connection = sqlite3.connect(tmp_path / "likes.sqlite")
    connection.execute(statement)
    connection.commit()
    connection.close()
    with refused(code, naming=tmp_path / "likes.sqlite"):
        Store.open(tmp_path)


@pytest.mark.parametrize(
    ("setting", "code"), [("max_page_count = 1", "disk-full"), ("query_only = ON", "store-read-only")]
)
def test_a_disk_that_takes_no_more(file_store: Store, paint: Paint, setting: str, code: str) -> None:
    """SQLite itself refuses here, with the same message as on a full or read-only disk."""
    fox = file_store.add_image(paint(), "fox")

    @event.listens_for(file_store._engine, "checkout")
    def _limit(connection: sqlite3.Connection, _record: object, _proxy: object) -> None:
        connection.execute(f"PRAGMA {setting}").close()

    with refused(code, naming=file_store.name), file_store.transaction():
        for _ in range(100):
            file_store.vote(fox, "like", rater="ann", reason="because " * 1000)


def test_a_disk_without_room_for_the_image(
    store: Store, paint: Paint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thumbtune.files.os.replace", full)
    with pytest.raises(ThumbtuneError, match="No space left on device"):
        store.add_image(paint(), "fox")
    assert store.counts().images == 0
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file() and "images" in path.parts] == []


@pytest.mark.parametrize(
    ("prompt", "plain"),
    [
        ("a red\x0bapple", "a red apple"),  # Word's line break
        ("\x1b[31ma fox", "[31ma fox"),
        ("a fox\x7f", "a fox"),
        ("\x01\x02 a fox \x9f", "a fox"),
        ("a\x85fox", "a fox"),
        ("one\n\ttwo\r\nthree", "one\n\ttwo\r\nthree"),
        ("caf\u00e9 \u6771\u4eac \u200d \U0001f44d", "caf\u00e9 \u6771\u4eac \u200d \U0001f44d"),
    ],
)
def test_control_characters_in_prompts_become_spaces(
    file_store: Store, paint: Paint, tmp_path: Path, prompt: str, plain: str
) -> None:
    image = file_store.add_image(paint(), prompt)
    assert image.prompt == plain
    (tmp_path / "a.png").write_bytes(paint())
    row = {"file_name": "a.png", "prompt": prompt, "label": True}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert import_likes(tmp_path / "a.jsonl", file_store).likes == 1
    assert import_likes(tmp_path / "a.jsonl", file_store).duplicates == 1
    assert [label.image.id for label in file_store.labels()] == [image.id]


@pytest.mark.parametrize("prompt", ["a\0fox", "\0", "a fox\0"])
def test_zero_bytes_in_prompts_are_refused(file_store: Store, paint: Paint, tmp_path: Path, prompt: str) -> None:
    with refused("text-zero-byte", naming="zero byte"):
        file_store.add_image(paint(), prompt)
    (tmp_path / "a.png").write_bytes(paint())
    rows = [{"file_name": "a.png", "prompt": each, "label": True} for each in (prompt, "a fox")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    report = import_likes(tmp_path / "a.jsonl", file_store)
    assert (report.likes, report.unreadable) == (1, 1) and "zero byte" in report.skipped[0][1]


def test_a_prompt_of_control_characters_is_none(file_store: Store, paint: Paint) -> None:
    with refused("image-no-prompt"):
        file_store.add_image(paint(), "\x01\x1b")
