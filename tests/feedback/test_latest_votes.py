"""Votes repeated, changed or undone by another import: the latest vote of each rater counts."""

import csv
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from refusals import refused
from sqlalchemy import select

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.likes import likes_of
from thumbtune.feedback.source import SourceRow
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import Vote
from thumbtune.feedback.store.votes import derived_id
from thumbtune.files import sha256
from thumbtune.images import rgb

Paint = Callable[..., bytes]
Row = dict[str, object]


@pytest.fixture
def log(tmp_path: Path, paint: Paint) -> Callable[..., Path]:
    """Write a CSV beside one image, with these columns for every row."""
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "a.png").write_bytes(paint())

    def write(*rows: Row) -> Path:
        with (folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["image", "prompt", *rows[0]])
            writer.writeheader()
            writer.writerows([{"image": "a.png", "prompt": "a fox", **row} for row in rows])
        return folder / "log.csv"

    return write


def labels_in(store: Store) -> list[tuple[str, bool]]:
    return [(label.rater, label.liked) for label in store.labels()]


def test_a_mind_that_is_changed_twice(store: Store, log: Callable[..., Path]) -> None:
    days = [{"label": label, "created_at": f"2025-06-0{day}"} for day, label in ((1, 1), (2, 0), (3, 1))]
    file = log(*days)
    assert import_likes(file, store).likes == 2
    assert labels_in(store) == [("import", True)]
    assert import_likes(file, store).duplicates == 3
    assert labels_in(store) == [("import", True)]


def test_the_order_of_the_rows_decides_where_nothing_else_does(store: Store, log: Callable[..., Path]) -> None:
    """A like, a dislike and a like of one image by one rater end as a like, and are the same votes again."""
    file = log(*({"label": label} for label in (1, 0, 1)))
    report = import_likes(file, store)
    assert (report.likes, report.dislikes, report.changed, report.duplicates) == (2, 1, 2, 0)
    assert labels_in(store) == [("import", True)]
    votes = store.counts().votes
    assert import_likes(file, store).duplicates == 3
    assert (store.counts().votes, labels_in(store)) == (votes, [("import", True)])
    assert import_likes(log(*({"label": label} for label in (1, 1, 0, 0, 1, 0))), store).changed == 1
    assert (store.counts().votes, labels_in(store)) == (votes + 1, [("import", False)])


def test_the_first_two_votes_have_the_ids_that_they_always_had(store: Store, log: Callable[..., Path]) -> None:
    """Stores contain ids derived from image, prompt, rater and kind alone."""
    file = log({"label": 1}, {"label": 0}, {"label": 1}, {"label": 0})
    import_likes(file, store)
    image = sha256((file.parent / "a.png").read_bytes())
    ids = [derived_id(image, "a fox", "import", kind) for kind in ("like", "dislike")]
    with store._reading() as session:
        votes = session.execute(select(Vote.id, Vote.kind).order_by(Vote.sequence)).all()
    assert [name for name, _ in votes[:2]] == ids
    assert [kind for _, kind in votes] == ["like", "dislike", "like", "dislike"]


@pytest.mark.parametrize("kept", [1, 2, 3, 4])
def test_minds_that_are_changed_across_an_interruption(
    store: Store, log: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    file = log(*({"label": label} for label in (1, 0, 0, 1, 0, 1)))
    monkeypatch.setattr("thumbtune.feedback.importers.ROWS_AT_ONCE", 1)

    def breaks(rows: Iterable[SourceRow]) -> Iterator[SourceRow]:
        yield from islice(rows, kept)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        import_likes(file, store, progress=breaks)
    import_likes(file, store)
    with Store.open(tmp_path / "other") as other:
        import_likes(file, other)
        assert [(row.vote_id, row.liked) for row in store.labels()] == [
            (row.vote_id, row.liked) for row in other.labels()
        ]
        assert store.counts() == other.counts() and labels_in(store) == [("import", True)]


def test_a_rater_who_has_voted_the_opposite_since_is_named(store: Store, log: Callable[..., Path]) -> None:
    for label in (1, 0):
        import_likes(log({"label": label, "rater": "ann"}), store)
    ((_, why),) = import_likes(log({"label": 1, "rater": "ann"}), store).skipped
    assert why.startswith("ann has voted the opposite") and "--correct" in why


def test_the_later_vote_counts_wherever_its_row_is(store: Store, log: Callable[..., Path]) -> None:
    report = import_likes(
        log({"label": 1, "created_at": "2025-06-03"}, {"label": 0, "created_at": "2025-06-01"}), store
    )
    assert (report.likes, report.dislikes, report.changed) == (1, 1, 0)
    assert labels_in(store) == [("import", True)]
    assert (store.counts().likes, store.counts().dislikes) == (1, 0)
    assert store.erase("import").unlabelled == 1


OLDER = [(1, "2025-06-01"), (0, "2025-06-02"), (1, "2025-06-03")]


@pytest.mark.parametrize("rows", [OLDER, OLDER[::-1], [(1, None), (0, None), (1, None)]])
def test_an_older_row_of_the_same_source_is_no_fault(
    store: Store, log: Callable[..., Path], rows: list[tuple[int, str | None]]
) -> None:
    file = log(*({"label": label, "created_at": day, "rater": "bob"} for label, day in rows))
    for _ in range(2):
        report = import_likes(file, store)
        assert (report.skipped, report.outdated, report.replaced) == ([], 1, 0)
    assert labels_in(store) == [("bob", True)]
    assert "the opposite" not in "".join(why for _, why in import_likes(file, store, correct=True).skipped)


def test_of_a_source_that_is_contradicted_elsewhere_its_latest_row_is_listed(
    store: Store, log: Callable[..., Path]
) -> None:
    file = log(*({"label": label, "created_at": day, "rater": "bob"} for label, day in OLDER))
    import_likes(file, store)
    store.vote(next(iter(store.labels())).image, "dislike", rater="bob")
    report = import_likes(file, store)
    assert [where for where, _ in report.skipped] == ["log.csv, line 2", "log.csv, line 4"] and report.outdated == 1
    report = import_likes(log({"label": 1, "rater": "bob"}), store)
    assert (report.changed, report.replaced, report.outdated) == (1, 1, 0)


def test_a_corrected_source_makes_its_votes_the_latest(store: Store, log: Callable[..., Path]) -> None:
    for label in (1, 0):
        import_likes(log({"label": label}), store)
    again = log({"label": 1})
    assert import_likes(again, store).duplicates == 1
    assert labels_in(store) == [("import", False)]
    assert import_likes(again, store, correct=True).changed == 1
    assert labels_in(store) == [("import", True)]
    assert import_likes(again, store, correct=True).duplicates == 1


def test_a_change_of_mind_at_one_moment_or_by_an_id_counts(store: Store, log: Callable[..., Path]) -> None:
    day = "2020-01-01T00:00:00Z"
    assert import_likes(log(*({"label": label, "created_at": day} for label in (1, 0, 1))), store).skipped == []
    assert labels_in(store) == [("import", True)]
    own = str(uuid.uuid4())
    rows = [{"label": 1, "vote_id": ""}, {"label": 0, "vote_id": own}, {"label": 1, "vote_id": ""}]
    import_likes(log(*({"rater": "ann", **row} for row in rows)), store)
    assert dict(labels_in(store)) == {"import": True, "ann": True}


@pytest.mark.parametrize("labels", [(1, 0, 1), (0, 1), (1, 0, 1, 0)])
def test_correcting_again_adds_nothing(store: Store, log: Callable[..., Path], labels: tuple[int, ...]) -> None:
    rows = [{"label": label} for label in labels]
    import_likes(log(*rows), store)
    votes = store.counts().votes
    for _ in range(2):
        report = import_likes(log(*rows), store, correct=True)
        assert (report.changed, report.duplicates, store.counts().votes) == (0, len(labels), votes)
    assert labels_in(store) == [("import", bool(labels[-1]))]
    import_likes(log({"label": 1 - labels[-1], "created_at": "2999-01-01"}), store)
    report = import_likes(log(*rows), store, correct=True)
    assert store.counts().votes == votes + 1 + (report.changed == 1)


def test_ids_of_images_lose_no_vote(store: Store, log: Callable[..., Path]) -> None:
    same = "00000000-0000-4000-8000-000000000001"
    raters = [{"id": same, "rater": name, "label": int(name != "bob")} for name in ("ann", "bob", "cid")]
    import_likes(log(*raters), store)
    assert labels_in(store) == [("ann", True), ("bob", False), ("cid", True)]


def test_two_votes_cannot_share_an_id(store: Store, log: Callable[..., Path]) -> None:
    same = "00000000-0000-4000-8000-000000000001"
    report = import_likes(log(*({"vote_id": same, "rater": name, "label": 1} for name in ("ann", "bob"))), store)
    assert (report.likes, report.unreadable) == (1, 1)
    assert "belongs to another vote" in report.skipped[0][1]


def test_stars_of_one_alone_are_no_likes(store: Store, log: Callable[..., Path]) -> None:
    with pytest.raises(ThumbtuneError, match="looks like a rating"):
        import_likes(log({"stars": 1}), store)
    assert import_likes(log({"stars": 1, "rater": "ann"}, {"stars": 0, "rater": "bob"}), store).used == 2


def test_a_column_for_dislikes_beside_one_for_likes(store: Store, log: Callable[..., Path]) -> None:
    cells = {"ann": (1, 0), "bob": (0, 1), "cid": (0, 0), "dan": (1, 1)}
    report = import_likes(log(*({"rater": who, "like": a, "dislike": b} for who, (a, b) in cells.items())), store)
    assert labels_in(store) == [("ann", True), ("bob", False)]
    assert [why for _, why in report.skipped] == ["it is neither liked nor disliked", "it is liked and disliked"]


def test_white_space_around_names_makes_no_second_rater(store: Store, paint: Paint) -> None:
    one = store.add_image(paint(), " a fox ", model=" ", source=" game ")
    assert (one.prompt, one.model, one.source) == ("a fox", None, "game")
    assert store.add_image(paint(), "a fox").id == one.id
    store.vote(one, "like", rater=" ann ", reason="  ")
    store.vote(one, "dislike", rater="ann")
    (label,) = store.labels()
    assert (label.rater, label.liked, label.reason) == ("ann", False, None)


def test_a_prompt_of_a_book_is_refused(store: Store, paint: Paint) -> None:
    with refused("text-too-long", naming="100,000"):
        store.add_image(paint(), "fox " * 30_000)


def test_a_rater_without_a_name(store: Store, log: Callable[..., Path]) -> None:
    with refused("rater-no-name", UsageError):
        import_likes(log({"label": 1}), store, rater=" ")


@pytest.mark.parametrize("policy", ["rater:", "rater:  ", "ann"])
def test_a_policy_of_nobody(store: Store, policy: str) -> None:
    with refused("policy-unknown", UsageError, naming=repr(policy)):
        likes_of(store, policy)


def test_names_of_raters_are_no_names_of_files(file_store: Store, paint: Paint) -> None:
    one = file_store.add_image(paint(), "a fox")
    names = ["ann", "ann-marie", "../x", "y" * 300]
    for name in names:
        file_store.vote(one, "like", rater=name)
    for _ in range(2):
        assert [len(likes_of(file_store, f"rater:{name}")) for name in names] == [1] * 4
    assert file_store.tables is not None
    assert len(list(file_store.tables.iterdir())) == 4


def test_erased_names_leave_the_log_of_the_database(file_store: Store, paint: Paint) -> None:
    file_store.vote(file_store.add_image(paint(), "a fox"), "like", rater="ann-of-green-gables")
    assert file_store.folder is not None
    holds = [file for file in file_store.folder.glob("likes.sqlite*") if b"green-gables" in file.read_bytes()]
    assert holds
    file_store.erase("ann-of-green-gables")
    assert not [file for file in holds if b"green-gables" in file.read_bytes()]


def test_many_who_make_one_store_at_once(tmp_path: Path, paint: Paint) -> None:
    make_at_once(tmp_path / "store", str(tmp_path / "pictures"), paint())


@pytest.mark.slow
def test_many_who_make_one_server_store_at_once(database: str, tmp_path: Path, paint: Paint) -> None:
    make_at_once(database, str(tmp_path / "pictures"), paint())


def make_at_once(where: Path | str, images: str, data: bytes) -> None:
    failed: list[BaseException] = []
    ready = threading.Barrier(6)

    def make(name: str) -> None:
        try:
            ready.wait(30)
            with Store.open(where, images=images) as store:
                store.vote(store.add_image(data, "a fox"), "like", rater=name)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=make, args=(f"rater {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
    with Store.open(where) as store:
        assert (store.counts().images, store.counts().likes) == (1, 6)


def test_another_programs_empty_versions(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with sqlite3.connect(tmp_path / "store" / "likes.sqlite") as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("CREATE TABLE votes (id INTEGER)")
    database.close()
    with refused("store-foreign", naming=tmp_path):
        Store.open(tmp_path / "store")


def test_a_password_as_an_option_is_not_shown() -> None:
    with refused("database-password-shown", UsageError, naming="PGPASSWORD") as caught:
        Store.open("postgresql://ann@host/thumbs?password=SECRET", images="x")
    assert "SECRET" not in str(caught.value)


def test_who_has_no_right_is_told_so(database: str, tmp_path: Path, paint: Paint) -> None:
    from sqlalchemy import text

    with Store.open(database, images=str(tmp_path)) as store:
        store.vote(store.add_image(paint(), "a fox"), "like", rater="ann")
        with store._engine.begin() as server:
            server.execute(text("REVOKE ALL ON votes FROM PUBLIC"))
            server.execute(text("DROP ROLE IF EXISTS nobody_here"))
            server.execute(text("CREATE ROLE nobody_here"))
        with refused("database-no-right"), store.reading() as session:
            session.execute(text("SET LOCAL ROLE nobody_here"))
            session.execute(text("SELECT * FROM votes"))


def test_a_list_that_is_a_link_out_of_the_folder_is_not_read(store: Store, tmp_path: Path, paint: Paint) -> None:
    (tmp_path / "in" / "like").mkdir(parents=True)
    (tmp_path / "in" / "like" / "a.png").write_bytes(paint())
    (tmp_path / "secret.csv").write_text("file_name,prompt\na.png,SECRET\n")
    (tmp_path / "in" / "like" / "metadata.csv").symlink_to(tmp_path / "secret.csv")
    report = import_likes(tmp_path / "in", store, prompt="a fox")
    assert report.likes == 1
    assert [label.image.prompt for label in store.labels()] == ["a fox"]


def test_16_bits_are_narrowed_alike_in_every_strip() -> None:
    wide = np.linspace(0, 2**16 - 1, 200 * 3).astype(np.uint16).reshape(200, 3)
    narrow = np.asarray(rgb(Image.fromarray(wide)))[..., 0]
    assert (narrow == np.round(wide / 257)).all()


def test_times_with_and_without_a_zone_are_compared(store: Store, paint: Paint) -> None:
    one = store.add_image(paint(), "a fox")
    store.vote(one, "like", rater="ann", created_at=datetime(2025, 6, 2, tzinfo=UTC))
    store.vote(one, "dislike", rater="ann", created_at=datetime(2025, 6, 1))
    assert labels_in(store) == [("ann", True)]


def test_a_rehearsal_lets_others_vote(file_store: Store, log: Callable[..., Path], paint: Paint) -> None:
    """A dry run of the command works on a copy: it takes no lock, and upgrades no old store."""
    from thumbtune.cli.likes import _store_for

    one = file_store.add_image(paint(), "a fox")
    assert file_store.folder is not None
    with _store_for(str(file_store.folder), None, dry_run=True) as rehearsal, rehearsal.transaction(rehearsal=True):
        assert rehearsal.counts().images == 1
        rehearsal.vote(one.id, "dislike", rater="ann")
        file_store.vote(one, "like", rater="ann")
    assert labels_in(file_store) == [("ann", True)]
