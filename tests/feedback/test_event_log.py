"""An event log gives the labels, the splits and the counts that a store gives after an import of the same files."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.refusals import refused
from thumbtune.errors import UsageError
from thumbtune.feedback.importers import ImportReport, import_likes
from thumbtune.feedback.likes import cell_of, image_of, likes_of, sizes_of, split
from thumbtune.feedback.policies import POLICIES
from thumbtune.feedback.source import Reading
from thumbtune.feedback.stats import stats_of
from thumbtune.feedback.store.store import Store

pytest.importorskip("duckdb")

from thumbtune.feedback.event_log.log import EventLog
from thumbtune.feedback.event_log.reading import EventReading

START = datetime(2024, 1, 1, tzinfo=UTC)
COLUMNS = ("image_id", "prompt", "label", "weight", "grade", "rater", "seed", "model", "source")
RATERS = ("ann", "bob", " cid ", "ånn", None)


def draw_images(folder: Path) -> None:
    """Write four images, of which two are the same bytes, and a broken one."""
    (folder / "images").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (8, 8), (number * 80, 0, 0)).save(folder / "images" / f"{number}.png")
    (folder / "images" / "same.png").write_bytes((folder / "images" / "0.png").read_bytes())
    (folder / "images" / "broken.png").write_bytes(b"no image")


def write_log(folder: Path, rows: list[dict[str, Any]], files: int = 1) -> None:
    """Write rows as Parquet files, in groups of three rows."""
    table = pa.Table.from_pylist(rows)
    size = -(-len(rows) // files)
    for number in range(files):
        part = table.slice(number * size, size)
        pq.write_table(part, folder / f"part-{number}.parquet", row_group_size=3)


def random_rows(seed: int, number: int, timed: float) -> Iterator[dict[str, Any]]:
    """Yield random votes: repeated, changed, of several raters, at equal, past and future times, and unusable ones."""
    dice = random.Random(seed)
    images = ["images/0.png", "images/1.png", "./images/2.png", "images/same.png"] * 4
    for _ in range(number):
        time = START + timedelta(days=dice.choice([0, 1, 1, 2, 50_000 * (dice.random() < 0.1)]))
        yield {
            "image": dice.choice([*images, "images/broken.png", "images/gone.png", "../out.png", None]),
            "prompt": dice.choice(["a fox", " a fox", "a cat\x07", "a dog", "a dog", None]),
            "label": dice.choice(["like", "dislike", "like", "dislike", "skip me", "?", None]),
            "rater": dice.choice(RATERS),
            "weight": dice.choice([1.0, 1.0, 0.5, 2.25, None, -1.0 if dice.random() < 0.1 else 1.0]),
            "grade": dice.choice([None, None, 0.3, 0.9]),
            "seed": dice.choice([None, 7, 8]),
            "model": dice.choice([None, "sd15"]),
            "created_at": time if dice.random() < timed else None,
        }


def imported(folder: Path, store: Path, **reading: Any) -> tuple[Store, ImportReport]:
    opened = Store.open(store)
    return opened, import_likes(folder, opened, kind="parquet", rater="me", reading=Reading(**reading))


def rows_in(likes: Any, columns: tuple[str, ...] = COLUMNS) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in columns) for row in likes.select_columns(list(columns)).to_list()]


@pytest.mark.slow
@pytest.mark.parametrize("files", [1, 3])
@pytest.mark.parametrize("timed", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_labels_and_splits_are_those_of_a_store(tmp_path: Path, seed: int, timed: float, files: int) -> None:
    folder = tmp_path / "log"
    draw_images(folder)
    write_log(folder, list(random_rows(seed, 150, timed)), files)
    words = {"skip me": "skip"}
    store, report = imported(folder, tmp_path / "likes", words=words)
    with store, EventLog.open(str(folder), EventReading(words=words)) as log:
        assert log.report.liked + log.report.disliked == report.likes + report.dislikes + report.duplicates
        assert (log.report.liked, log.report.disliked) == (report.liked, report.disliked)
        for name in ("rows", "without_label", "without_prompt", "unreadable"):
            assert getattr(log.report, name) == getattr(report, name), name
        assert log.skipped() == report.skipped and len(report.skipped) > 20
        for policy in (*POLICIES, "rater:ann"):
            ours, theirs = log.likes(policy), likes_of(store, policy)
            assert rows_in(ours) == rows_in(theirs), policy
            for side in ("train", "held_out"):
                assert rows_in(getattr(split(ours, 0.3, seed), side)) == rows_in(
                    getattr(split(theirs, 0.3, seed), side)
                )
        ours, theirs = stats_of(log), stats_of(store)
        assert ours.balances == theirs.balances and ours.pairs == theirs.pairs and ours.fleiss == theirs.fleiss
        assert (ours.images, ours.prompts, ours.labels) == (theirs.images, theirs.prompts, theirs.labels)
        assert list(log.prompts()) == list(dict.fromkeys(store.prompts(store.newest())))


def test_moments_that_a_source_gives_are_kept(tmp_path: Path) -> None:
    draw_images(tmp_path / "log")
    write_log(tmp_path / "log", list(random_rows(5, 80, 1.0)))
    store, _ = imported(tmp_path / "log", tmp_path / "likes", words={"skip me": "skip"})
    with store, EventLog.open(str(tmp_path / "log"), EventReading(words={"skip me": "skip"})) as log:
        columns = ("image_id", "prompt", "rater", "created_at")
        assert rows_in(log.likes("per-vote"), columns) == rows_in(likes_of(store, "per-vote"), columns)


def test_ids_of_votes(tmp_path: Path) -> None:
    """A row with the id of a vote before it is the same vote, or unusable if it is another vote."""
    draw_images(tmp_path / "log")
    ids = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(4)]
    base = {"image": "images/1.png", "prompt": "a fox", "rater": "ann", "label": True, "weight": 1.0}
    rows = [
        {**base, "vote_id": ids[0]},
        {**base, "vote_id": ids[0], "weight": 5.0},  # the same vote
        {**base, "vote_id": ids[1], "weight": 3.0},  # a later one
        {**base, "vote_id": ids[1], "rater": "bob"},  # the id of another
        {**base, "vote_id": ids[2], "label": False, "prompt": "a dog"},
        {**base, "vote_id": "no id", "label": False, "prompt": "a dog"},
        {**base, "vote_id": None, "label": False, "prompt": "a cat"},
    ]
    write_log(tmp_path / "log", rows)
    store, report = imported(tmp_path / "log", tmp_path / "likes")
    with store, EventLog.open(str(tmp_path / "log")) as log:
        assert log.report.unreadable == report.unreadable == 2
        assert log.skipped() == report.skipped
        assert rows_in(log.likes("per-vote")) == rows_in(likes_of(store, "per-vote"))
        assert [row[3] for row in rows_in(log.likes())] == [3.0, 1.0, 1.0]


def test_images_inside_the_table(tmp_path: Path) -> None:
    draw_images(tmp_path / "log")
    files = [(tmp_path / "log" / "images" / f"{name}.png").read_bytes() for name in ("0", "1", "same", "broken")]
    cells = [{"bytes": data, "path": None} for data in files]
    rows = [
        {"image": cells[number % 4], "prompt": f"a fox {number % 3}", "label": number % 5 > 1} for number in range(24)
    ]
    write_log(tmp_path / "log", rows, files=2)
    store, report = imported(tmp_path / "log", tmp_path / "likes")
    with store, EventLog.open(str(tmp_path / "log")) as log:
        assert log.report.unreadable == report.unreadable == 6
        assert log.skipped() == report.skipped
        ours, theirs = log.likes(), likes_of(store)
        assert rows_in(ours) == rows_in(theirs) and len(ours) > 3
        assert sizes_of(ours) == sizes_of(theirs) == [(8, 8)] * len(ours)
        for row in range(len(ours)):
            assert image_of(ours, row).tobytes() == image_of(theirs, row).tobytes()


def test_ratings_and_columns_of_other_names(tmp_path: Path) -> None:
    draw_images(tmp_path / "log")
    dice = random.Random(0)
    rows = [
        {
            "picture_file": f"images/{dice.randrange(3)}.png",
            "meta": {"words": f"a fox {dice.randrange(3)}"},
            "user_id": dice.randrange(3),
            "stars": dice.randrange(1, 6),
            "ts": 1_704_460_931 + dice.randrange(3),
        }
        for _ in range(60)
    ]
    write_log(tmp_path / "log", rows)
    columns = {"image": "picture_file", "prompt": "meta.words"}
    store, _ = imported(tmp_path / "log", tmp_path / "likes", columns=columns, like_at=4)
    with store, EventLog.open(str(tmp_path / "log"), EventReading(columns=columns, like_at=4)) as log:
        for policy in POLICIES:
            assert rows_in(log.likes(policy)) == rows_in(likes_of(store, policy))


def test_what_is_refused(tmp_path: Path) -> None:
    draw_images(tmp_path / "log")
    with refused("event-log-missing", naming="none/*.parquet"):
        EventLog.open(str(tmp_path / "none" / "*.parquet"))
    (tmp_path / "log" / "part-0.parquet").write_bytes(b"no Parquet")
    with refused("event-log-unreadable", naming="part-0.parquet"):
        EventLog.open(str(tmp_path / "log" / "*.parquet"))
    write_log(tmp_path / "log", [{"image": "images/0.png", "prompt": "a fox", "label": "?"}] * 3)
    with refused("event-log-no-usable-row", naming="3 without a label"):
        EventLog.open(str(tmp_path / "log"))
    write_log(tmp_path / "log", [{"image": "images/0.png", "prompt": "a fox", "label": True, "rater": "ann"}] * 3)
    with EventLog.open(str(tmp_path / "log")) as log, refused("rater-unknown", kind=UsageError, naming="ann"):
        log.likes("rater:bob")


@pytest.mark.slow
def test_a_log_at_an_address(tmp_path: Path) -> None:
    """Images are named relative to the files, are not read before they are needed, and are known by their address."""
    draw_images(tmp_path / "log")
    rows = [row for row in random_rows(1, 60, 0.5) if row["image"] not in {None, "../out.png", "images/gone.png"}]
    write_log(tmp_path / "log", [*rows, {**rows[0], "image": "../out.png"}], files=2)
    system = fsspec.filesystem("memory")
    system.put(str(tmp_path / "log"), "/lake/log", recursive=True)
    words = EventReading(words={"skip me": "skip"})
    try:
        with (
            EventLog.open("memory://lake/log/*.parquet", words) as log,
            EventLog.open(str(tmp_path / "log"), words) as here,
        ):
            ours, theirs = log.likes("per-vote"), here.likes("per-vote")
            assert {(row[1], row[5]) for row in rows_in(ours)} >= {(row[1], row[5]) for row in rows_in(theirs)}
            assert any("outside the folder" in why for _, why in log.skipped())
            paths = [cell_of(ours, row)[0] for row in range(len(ours))]
            assert set(paths) >= {f"memory:///lake/log/images/{name}.png" for name in ("0", "1", "2", "same", "broken")}
            row = paths.index("memory:///lake/log/images/1.png")
            assert image_of(ours, row).convert("RGB").getpixel((0, 0)) == (80, 0, 0)
    finally:
        system.rm("/lake", recursive=True)
