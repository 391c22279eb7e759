"""Pick-a-Pic's Parquet, with its columns, small JPEGs inside, and every kind of row it has."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback import importers
from thumbtune.feedback.source import PairPolicy, Reading, SourceRow
from thumbtune.feedback.sources.pickapic import PickAPic, recognises
from thumbtune.feedback.sources.preferences import ComparisonCounts
from thumbtune.feedback.store.store import Store

Paint = Callable[..., bytes]

SCHEMA = pa.schema(
    {
        "are_different": pa.bool_(),
        "best_image_uid": pa.string(),
        "caption": pa.string(),
        "created_at": pa.timestamp("ns"),
        "has_label": pa.bool_(),
        "image_0_uid": pa.string(),
        "image_0_url": pa.string(),
        "image_1_uid": pa.string(),
        "image_1_url": pa.string(),
        "jpg_0": pa.binary(),
        "jpg_1": pa.binary(),
        "label_0": pa.float64(),
        "label_1": pa.float64(),
        "model_0": pa.string(),
        "model_1": pa.string(),
        "ranking_id": pa.int64(),
        "user_id": pa.int64(),
        "num_example_per_prompt": pa.int64(),
        "__index_level_0__": pa.int64(),
    }
)
FIRST, SECOND = "train-00000-of-00002.parquet", "train-00001-of-00002.parquet"
# caption, image 0, image 1, label 0, user, and what is unusual
ROWS = {
    FIRST: (
        ("a fox", "A", "B", 1.0, 1, {}),
        ("a fox", "A", "C", 0.0, 1, {}),
        ("a fox", "C", "D", 0.5, 1, {}),
        ("a fox", "C", "E", 1.0, 2, {}),
        ("a fox", "A", "F", 1.0, 1, {"has_label": False}),
        ("a fox", "A", "A", 1.0, 1, {"are_different": False}),
        ("a fox", "E", "A", 1.0, 1, {"are_different": False}),
    ),
    SECOND: (
        ("a hare", "A", "G", 0.0, 3, {}),
        ("a hare", "H", "I", 0.0, 3, {}),
        ("a fox", "B", "J", 0.0, 1, {}),
        ("a hare", "K", "L", 0.5, 3, {}),
    ),
}
# A of the fox won against B and lost against C; B lost twice; C won twice; D, K and L only ever tied.
COUNTS = {
    "comparisons": 6,
    "ties": 2,
    "unlabelled": 1,
    "alike": 2,
    "exclusive_win": 4,  # C, J of the fox; G, I of the hare
    "intersections": 1,  # A of the fox
    "exclusive_lose": 4,  # B, E of the fox; A, H of the hare
    "only_tied": 3,
}
# Where, prompt, liked (None: the policy decides), rater
EXPECTED = (
    (f"{FIRST}, row 1, image 0", "a fox", "A", None, "Pick-a-Pic user 1"),
    (f"{FIRST}, row 1, image 1", "a fox", "B", False, "Pick-a-Pic user 1"),
    (f"{FIRST}, row 2, image 1", "a fox", "C", True, None),  # two users decided
    (f"{FIRST}, row 4, image 1", "a fox", "E", False, "Pick-a-Pic user 2"),
    (f"{SECOND}, row 1, image 0", "a hare", "A", False, "Pick-a-Pic user 3"),
    (f"{SECOND}, row 1, image 1", "a hare", "G", True, "Pick-a-Pic user 3"),
    (f"{SECOND}, row 2, image 0", "a hare", "H", False, "Pick-a-Pic user 3"),
    (f"{SECOND}, row 2, image 1", "a hare", "I", True, "Pick-a-Pic user 3"),
    (f"{SECOND}, row 3, image 1", "a fox", "J", True, "Pick-a-Pic user 1"),
)


def jpeg_of(uid: str, paint: Paint) -> bytes:
    return paint(ord(uid), "JPEG")


def rows_of(file: str, paint: Paint) -> list[dict[str, object]]:
    rows = []
    for index, (caption, a, b, label, user, unusual) in enumerate(ROWS[file]):
        row = {
            "are_different": True,
            "best_image_uid": {1.0: a, 0.0: b}.get(label, "tie"),
            "caption": caption,
            "created_at": datetime(2023, 4, 5, 12, index),
            "has_label": True,
            "label_0": label,
            "label_1": 1 - label,
            "ranking_id": 100 + index,
            "user_id": user,
            "num_example_per_prompt": 3,
            "__index_level_0__": index,
        }
        for side, uid in ((0, a), (1, b)):
            row |= {
                f"image_{side}_uid": uid,
                f"image_{side}_url": f"https://example.org/{uid}.png",
                f"jpg_{side}": jpeg_of(uid, paint),
                f"model_{side}": f"model-{uid}",
            }
        rows.append(row | unusual)
    return rows


@pytest.fixture
def folder(tmp_path: Path, paint: Paint) -> Path:
    """Two shards of one split, as the hub lays them out."""
    data = tmp_path / "pickapic" / "data"
    data.mkdir(parents=True)
    for file in ROWS:
        pq.write_table(pa.Table.from_pylist(rows_of(file, paint), SCHEMA), data / file, row_group_size=2)
    return data.parent


def write(path: Path, *rows: dict[str, object], schema: pa.Schema | None = None) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path)
    return path


def read(found: SourceRow) -> bytes:
    assert found.image is not None, found.problem
    return found.image()


# --- by hand


@pytest.mark.parametrize(
    ("policy", "likes", "dislikes", "left_out"), [("w_l", 4, 4, 4), ("wi_l", 5, 4, 3), ("w_il", 4, 5, 3)]
)
def test_counts_by_hand(folder: Path, policy: PairPolicy, likes: int, dislikes: int, left_out: int) -> None:
    source = PickAPic(folder, Reading(policy=policy))
    assert source.counts() == ComparisonCounts(policy=policy, **COUNTS)  # type: ignore[arg-type]
    counts = source.counts()
    assert (counts.likes, counts.dislikes, counts.left_out) == (likes, dislikes, left_out)
    assert counts.liked_share == likes / (likes + dislikes)
    found = list(source)
    assert [one.liked for one in found].count(True) == likes
    assert [one.liked for one in found].count(False) == dislikes
    assert source.counts() == counts


@pytest.mark.parametrize(("policy", "intermediate"), [("w_l", None), ("wi_l", True), ("w_il", False)])
def test_labels_by_hand(folder: Path, paint: Paint, policy: PairPolicy, intermediate: bool | None) -> None:
    found = list(PickAPic(folder, Reading(policy=policy)))
    said = [(one.where, one.prompt, read(one), one.liked, one.rater) for one in found]
    expected = [
        (where, prompt, jpeg_of(uid, paint), intermediate if liked is None else liked, rater)
        for where, prompt, uid, liked, rater in EXPECTED
        if liked is not None or intermediate is not None
    ]
    assert said == expected
    assert not [one for one in found if one.problem]


def test_the_paper_takes_what_was_preferred_at_least_once(folder: Path) -> None:
    assert [one.liked for one in PickAPic(folder)] == [True if one[3] is None else one[3] for one in EXPECTED]


def test_what_else_a_row_says(folder: Path) -> None:
    found = list(PickAPic(folder))
    assert {one.source for one in found} == {"Pick-a-Pic"}
    assert [one.model for one in found] == [f"model-{uid}" for _, _, uid, _, _ in EXPECTED]
    b = found[1]
    assert b.created_at == datetime(2023, 4, 5, 12, 2, tzinfo=UTC), "its last comparison, in the second shard"
    assert {one.weight for one in found} == {1.0} and {one.grade for one in found} == {None}


def test_pairs_that_met_each_other_alone(folder: Path) -> None:
    pairs = {f"{one.prompt}:{one.model}": one.pair for one in PickAPic(folder)}
    assert pairs["a hare:model-A"] and pairs["a hare:model-A"] == pairs["a hare:model-G"]
    assert pairs["a hare:model-H"] and pairs["a hare:model-H"] == pairs["a hare:model-I"]
    assert len({*pairs.values()}) == 3, "two pairs, and none for the others"


def test_every_pass_is_the_same(folder: Path) -> None:
    source = PickAPic(folder)
    first, second = ([(one.where, one.liked, one.rater, one.pair, read(one)) for one in source] for _ in range(2))
    assert first == second
    begun = iter(source)
    next(begun)  # two passes at once do not take each other's images
    assert [one.where for one in source] == [one[0] for one in first]
    assert next(begun).where == first[1][0]


def test_into_a_store(folder: Path, store: Store) -> None:
    report = importers.import_likes(folder, store)
    assert (report.rows, report.likes, report.dislikes, report.skipped) == (9, 5, 4, [])
    assert store.counts().images == 9, "A is one image for the fox and one for the hare"
    assert {row.rater for row in store.labels()} == {"import", *(f"Pick-a-Pic user {user}" for user in (1, 2, 3))}
    assert importers.import_likes(folder, store).duplicates == 9


# --- what is read


def test_the_first_pass_reads_no_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    iterate = pq.ParquetFile.iter_batches

    def listening(self: pq.ParquetFile, *args: object, columns: list[str], **options: object) -> object:
        asked.extend(columns)
        return iterate(self, *args, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", listening)
    PickAPic(folder).counts()
    assert "label_0" in asked and not [name for name in asked if name.startswith("jpg")]


def test_images_are_not_kept(folder: Path) -> None:
    """An image is held by the one row that is being read."""
    source = iter(PickAPic(folder))
    first = next(source)
    assert first.image is not None
    kept = [cell.cell_contents for cell in first.image.__closure__ or ()]
    assert kept == [read(first)]


@pytest.mark.parametrize(("limit", "likes", "dislikes"), [(1, 1, 1), (2, 2, 1), (8, 3, 3), (0, 0, 0)])
def test_a_limit_of_rows(folder: Path, limit: int, likes: int, dislikes: int) -> None:
    source = PickAPic(folder, Reading(limit=limit))
    found = [one.liked for one in source]
    assert (found.count(True), found.count(False)) == (likes, dislikes)
    assert (source.counts().likes, source.counts().dislikes) == (likes, dislikes)
    assert source.__length_hint__() == limit


def test_one_file_by_itself(folder: Path) -> None:
    source = PickAPic(folder / "data" / SECOND)
    assert source.__length_hint__() == 4
    assert [one.liked for one in source] == [False, True, False, True, False, True], "B of the fox is met here first"


def test_splits_are_kept_apart(folder: Path, paint: Paint) -> None:
    (folder / "data" / SECOND).rename(folder / "data" / "test-00000-of-00001-e852c19ead276a89.parquet")
    with refused("split-needed", UsageError, naming="test, train"):
        PickAPic(folder)
    with refused("split-unknown", UsageError, naming=["'validation'", "test, train"]):
        PickAPic(folder, Reading(split="validation"))
    assert PickAPic(folder, Reading(split="test")).counts().ties == 1
    assert [file.name for file in PickAPic(folder, Reading(split="train")).files] == [FIRST]


# --- what is recognised


def test_what_is_recognised(folder: Path, tmp_path: Path, paint: Paint) -> None:
    file = folder / "data" / FIRST
    assert all(recognises(path) for path in (file, folder, folder / "data"))
    bare = pq.read_table(file).select(["caption", "image_0_uid", "image_1_uid", "label_0", "label_1"])
    pq.write_table(bare, tmp_path / "bare.parquet")
    assert recognises(tmp_path / "bare.parquet")


def test_what_is_not_recognised(folder: Path, tmp_path: Path) -> None:
    likes = write(tmp_path / "likes.parquet", {"image": b"x", "prompt": "a", "label": True})
    broken, empty = tmp_path / "broken.parquet", tmp_path / "empty"
    broken.write_bytes((folder / "data" / FIRST).read_bytes()[:-100])
    empty.mkdir()
    listed = tmp_path / "a.jsonl"
    listed.write_text(json.dumps(dict.fromkeys(SCHEMA.names)) + "\n")
    nul = Path("a\0b")
    assert not [path for path in (likes, broken, empty, listed, nul, tmp_path / "none") if recognises(path)]


# --- what is wrong with a row


def good(paint: Paint, **changes: object) -> dict[str, object]:
    return rows_of(FIRST, paint)[0] | changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label_0": None, "label_1": None}, "its label_0 and label_1 name neither"),
        ({"label_0": 1.0, "label_1": 1.0}, "its label_0 and label_1 name neither"),
        ({"label_0": 0.0, "label_1": 0.0}, "its label_0 and label_1 name neither"),
        ({"label_0": 0.7, "label_1": 0.3}, "its label_0 and label_1 name neither"),
        ({"label_0": -1.0}, "label_0 -1.0 is not a number of at least 0"),
        ({"image_1_uid": None}, "it has no image_1_uid to identify the image"),
        ({"image_0_uid": "  "}, "it has no image_0_uid to identify the image"),
    ],
)
def test_a_row_that_cannot_be_used(tmp_path: Path, paint: Paint, changes: dict[str, object], words: str) -> None:
    file = write(tmp_path / "a.parquet", good(paint, **changes), good(paint), schema=SCHEMA)
    source = PickAPic(file)
    bad, *rest = source
    assert bad.where == "a.parquet, row 1" and bad.image is None and bad.problem is not None
    assert bad.problem.startswith(words)
    assert [one.liked for one in rest] == [True, False], "the row after it still counts"
    assert (source.counts().unusable, source.counts().comparisons) == (1, 1)


@pytest.mark.parametrize("missing", ["label_0", "label_1"])
def test_one_label_is_enough(tmp_path: Path, paint: Paint, missing: str) -> None:
    rows = [good(paint, **{missing: None}), good(paint, image_1_uid="T", label_0=0.5, label_1=0.5) | {missing: None}]
    source = PickAPic(write(tmp_path / "a.parquet", *rows, schema=SCHEMA))
    assert [one.liked for one in source] == [True, False]
    assert source.counts().ties == 1


def test_a_copy_without_the_images(folder: Path, tmp_path: Path) -> None:
    table = pq.read_table(folder / "data" / FIRST).drop_columns(["jpg_0", "jpg_1"])
    pq.write_table(table, tmp_path / "no_images.parquet")
    source = PickAPic(tmp_path / "no_images.parquet")
    found = list(source)
    assert source.counts().exclusive_win == 1
    assert [one.image for one in found] == [None] * 4
    assert found[0].problem == "jpg_0 contains no image; use a copy of Pick-a-Pic with the images inside"


def test_an_image_as_datasets_writes_one(tmp_path: Path, paint: Paint) -> None:
    row = {**good(paint), "jpg_0": {"bytes": paint(1), "path": None}, "jpg_1": {"bytes": None, "path": "x.jpg"}}
    first, second = PickAPic(write(tmp_path / "a.parquet", row))
    assert read(first) == paint(1)
    assert second.image is None and "jpg_1" in (second.problem or "")


def test_columns_that_may_be_missing(tmp_path: Path, paint: Paint) -> None:
    needed = ("caption", "image_0_uid", "image_1_uid", "label_0", "label_1", "jpg_0", "jpg_1")
    row = {name: cell for name, cell in good(paint).items() if name in needed}
    first, second = PickAPic(write(tmp_path / "a.parquet", row))
    assert (first.liked, second.liked) == (True, False)
    assert (first.rater, first.model, first.created_at) == (None, None, None)


def test_a_caption_that_is_missing(tmp_path: Path, paint: Paint) -> None:
    first, _ = PickAPic(write(tmp_path / "a.parquet", good(paint, caption=None), schema=SCHEMA))
    assert (first.prompt, first.liked) == (None, True), "there may be one prompt for all"


@pytest.mark.parametrize("kept", [4, 1000, -9])
def test_a_damaged_file(folder: Path, kept: int) -> None:
    file = folder / "data" / FIRST
    file.write_bytes(file.read_bytes()[:kept])
    with refused("parquet-invalid", naming="00000-of-00002.parquet"):
        list(PickAPic(folder))


def test_a_file_whose_middle_is_damaged(folder: Path) -> None:
    file = folder / "data" / FIRST
    data = file.read_bytes()
    file.write_bytes(data[:4] + b"\xff" * 4000 + data[4004:])
    with pytest.raises(ThumbtuneError) as caught:
        list(PickAPic(folder))
    assert caught.value.code in {"parquet-damaged", "table-unreadable"}, "as this pyarrow says it"
    assert "00000-of-00002.parquet" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("caption", pa.array([b"\xff"]).view(pa.string())),
        ("created_at", pa.array([10**15], pa.timestamp("s"))),
    ],
)
def test_a_cell_that_python_cannot_hold_is_empty(tmp_path: Path, paint: Paint, column: str, cells: pa.Array) -> None:
    table = pa.Table.from_pylist([good(paint)], SCHEMA).drop_columns([column]).append_column(column, cells)
    pq.write_table(table, tmp_path / "a.parquet")
    first, second = PickAPic(tmp_path / "a.parquet")
    assert (first.liked, second.liked) == (True, False)
    assert (first.prompt is None) == (column == "caption") and (first.created_at is None) == (column == "created_at")


def test_a_folder_without_parquet(tmp_path: Path) -> None:
    with refused("parquet-missing", naming=tmp_path):
        PickAPic(tmp_path)


# --- anything in any cell

CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.datetimes(min_value=datetime(1800, 1, 1), max_value=datetime(2200, 1, 1)),
    st.lists(st.integers(0, 9), max_size=2),
    st.fixed_dictionaries({"bytes": st.one_of(st.none(), st.binary(max_size=3)), "path": st.text(max_size=3)}),
)


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({}, optional={name: CELLS for name in SCHEMA.names}))
def test_anything_in_any_cell(tmp_path_factory: pytest.TempPathFactory, row: dict[str, object]) -> None:
    file = tmp_path_factory.mktemp("any") / "a.parquet"
    fixed = {"image_0_uid": "A", "image_1_uid": "B", "label_0": 1.0, "label_1": 0.0, "caption": "fox"}
    source = PickAPic(write(file, fixed | row))
    found = list(source)
    assert all(one.problem or (one.image is not None and one.liked is not None) for one in found)
    counts = source.counts()
    assert counts.comparisons + counts.ties + counts.alike + counts.unlabelled + counts.unusable == 1
