"""The cells of an event log are those of an import: text in bytes, odd names of files, and images in objects."""

import io
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.refusals import refused
from thumbtune.errors import UsageError
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.likes import image_of, likes_of
from thumbtune.feedback.store.store import Store

pytest.importorskip("duckdb")

from thumbtune.feedback.event_log.log import EventLog
from thumbtune.feedback.event_log.reading import EventReading

COLORS = ((255, 0, 0), (0, 0, 255))
COLUMNS = ["image_id", "prompt", "label", "rater", "source"]


def png(color: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(file, "PNG")
    return file.getvalue()


def write(file: Path, columns: dict[str, Any], **options: Any) -> Path:
    """Write a table, and the images 0.png and 1.png beside it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    for number, color in enumerate(COLORS):
        (file.parent / f"{number}.png").write_bytes(png(color))
    pq.write_table(pa.table(columns), file, **options)
    return file


def votes(**columns: Any) -> dict[str, Any]:
    return {"image": ["0.png", "1.png"], "prompt": ["a fox", "a cat"], "label": ["like", "dislike"], **columns}


def rows_of_both(source: Path, store: Path) -> tuple[list[Any], list[Any]]:
    """Return the rows of a log, and of a store after an import of the same files."""
    with Store.open(store) as opened:
        import_likes(source, opened, rater="me", kind="parquet" if source.is_dir() else None)
        theirs = likes_of(opened, "per-vote").select_columns(COLUMNS).to_list()
    with EventLog.open(str(source)) as log:
        return log.likes("per-vote").select_columns(COLUMNS).to_list(), theirs


@pytest.mark.parametrize("image", ["image", "shot"])
def test_text_in_bytes_is_text(tmp_path: Path, image: str) -> None:
    columns = votes(prompt=pa.array([b"a fox", b"a cat"]), rater=pa.array([b"ann", b"bob"]))
    columns[image] = pa.array([png(color) for color in COLORS])
    if image != "image":
        del columns["image"]
    ours, theirs = rows_of_both(write(tmp_path / "log" / "e.parquet", columns), tmp_path / "likes")
    assert ours == theirs
    assert [(row["prompt"], row["rater"]) for row in ours] == [("a fox", "ann"), ("a cat", "bob")]


def test_characters_of_patterns_in_names_are_characters(tmp_path: Path) -> None:
    file = write(tmp_path / "log" / "e[1].parquet", votes())
    write(tmp_path / "log" / "e1.parquet", votes(prompt=["a dog", "a cow"]))
    write(tmp_path / "log" / "e*.parquet", votes(prompt=["an owl", "a bee"]))
    ours, theirs = rows_of_both(tmp_path / "log", tmp_path / "likes")
    assert ours == theirs
    assert {row["prompt"] for row in ours} == {"a fox", "a cat", "a dog", "a cow", "an owl", "a bee"}
    with EventLog.open(str(file)) as log:
        assert list(log.prompts()) == ["a fox", "a cat"]


def test_names_of_folders_are_no_columns(tmp_path: Path) -> None:
    file = write(tmp_path / "rater=zoe" / "prompt=x" / "e.parquet", votes())
    ours, theirs = rows_of_both(file, tmp_path / "likes")
    assert ours == theirs and {row["rater"] for row in ours} == {"me"}


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"size": {"w, h": 1}}, {"cost": Decimal("1.25")}, {"a.b": [{"c": b"x"}]}])
def test_images_in_objects_with_other_fields(tmp_path: Path, more: dict[str, Any]) -> None:
    images = [{"bytes": png(color), "path": None, **more} for color in COLORS]
    file = write(tmp_path / "log" / "e.parquet", votes(image=images))
    ours, theirs = rows_of_both(file, tmp_path / "likes")
    assert ours == theirs and len(ours) == 2
    with EventLog.open(str(file)) as log:
        assert image_of(log.likes(), 1).convert("RGB").getpixel((0, 0)) == COLORS[1]


def test_a_name_that_looks_like_a_hash_is_a_name(tmp_path: Path) -> None:
    mark = f"sha256:{random.Random(0).randbytes(32).hex()}:12"
    file = write(tmp_path / "log" / "e.parquet", votes(image=[mark, "1.png"], rater=[mark, mark]))
    with EventLog.open(str(file)) as log:
        assert (log.report.liked, log.report.disliked, log.report.unreadable) == (0, 1, 1)
        ((where, why),) = log.skipped()
        assert "row 1" in where and "does not exist" in why, why
        assert [label.rater for label in log.labels()] == [mark]


def test_each_row_of_ratings_counts(tmp_path: Path) -> None:
    """One 11 beside 399 ratings of 1 to 5 is an outlier; beside five distinct values it would be none."""
    stars = [1 + number % 5 for number in range(399)] + [11]
    columns = {"image": ["0.png"] * 400, "prompt": ["a fox"] * 400, "rating": stars}
    file = write(tmp_path / "e.parquet", columns)
    with refused("event-log-no-usable-row", naming="399 ratings are 1 to 5, one is 11"):
        EventLog.open(str(file))
    with EventLog.open(str(file), EventReading(like_at=4)) as log:
        assert any("399 ratings are 1 to 5, one is 11" in line for line in log.described())


def test_the_rater_of_rows_without_one(tmp_path: Path) -> None:
    file = write(tmp_path / "e.parquet", votes(rater=[None, "me"], image=["0.png", "0.png"], prompt=["a", "a"]))
    with EventLog.open(str(file), EventReading(rater=" me ")) as log:
        assert [(label.rater, label.liked) for label in log.labels()] == [("me", False)]
    with refused("event-log-rater-no-name", kind=UsageError):
        EventLog.open(str(file), EventReading(rater=" "))
