"""Tables of pairs, of rankings and of classes: real files, labels by hand, and anything in any cell."""

import base64
import contextlib
import csv
import gzip
import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from refusals import refused

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback import importers
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.source import PairPolicy, Reading, Source, SourceRow
from thumbtune.feedback.sources import classes, pairs, pickapic, rankings
from thumbtune.feedback.sources.classes import Classes
from thumbtune.feedback.sources.pairs import Pairs
from thumbtune.feedback.sources.preferences import ComparisonCounts
from thumbtune.feedback.sources.rankings import Rankings
from thumbtune.feedback.store.store import Store

Paint = Callable[..., bytes]
Row = dict[str, Any]

# a won against b and lost against c; d was chosen over itself, which says nothing
PAIRS: tuple[Row, ...] = (
    {"prompt": "fox", "chosen": "img/a.png", "rejected": "img/b.png"},
    {"prompt": "fox", "chosen": "img/c.png", "rejected": "img/a.png"},
    {"prompt": "hare", "chosen": "img/b.png", "rejected": "img/a.png"},
    {"prompt": "hare", "chosen": "img/d.png", "rejected": "img/d.png"},
)
PAIR_COUNTS = {"comparisons": 3, "alike": 1, "exclusive_win": 2, "intersections": 1, "exclusive_lose": 2}


@pytest.fixture
def root(tmp_path: Path, paint: Paint) -> Path:
    """A folder of five images, for tables to be put beside them."""
    (tmp_path / "root" / "img").mkdir(parents=True)
    for number, name in enumerate("abcde"):
        (tmp_path / "root" / "img" / f"{name}.png").write_bytes(paint(number))
    return tmp_path / "root"


def write(file: Path, *rows: Row) -> Path:
    """A table in the format that its name says."""
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), file)
    elif file.suffix == ".csv":
        with file.open("w", newline="", encoding="utf-8") as out:
            cells = [
                {key: json.dumps(cell) if isinstance(cell, list) else cell for key, cell in row.items()} for row in rows
            ]
            table = csv.DictWriter(out, list(rows[0]))
            table.writeheader()
            table.writerows(cells)
    elif file.suffix == ".json":
        file.write_text(json.dumps(list(rows)), encoding="utf-8")
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def said(source: Iterable[SourceRow], paint: Paint) -> list[tuple[str | None, str, bool | None]]:
    """Prompt, image and label of every image that can be read."""
    names = {paint(number): name for number, name in enumerate("abcde")}
    return [(one.prompt, names[one.image()], one.liked) for one in source if one.image is not None]


def unread(found: SourceRow) -> str:
    """Why its image cannot be read."""
    assert found.image is not None and found.problem is None
    with pytest.raises(UnreadableImage) as caught:
        found.image()
    return str(caught.value)


def problems(source: Source) -> list[tuple[str, str]]:
    return [(one.where, one.problem) for one in source if one.problem is not None]


# --- pairs


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "json"])
@pytest.mark.parametrize(("policy", "a"), [("w_l", None), ("wi_l", True), ("w_il", False)])
def test_pairs_of_files(root: Path, paint: Paint, kind: str, policy: PairPolicy, a: bool | None) -> None:
    file = write(root / f"pairs.{kind}", *PAIRS)
    assert pairs.recognises(file)
    source = Pairs(file, Reading(policy=policy))
    intermediate = [] if a is None else [("fox", "a", a)]
    assert said(source, paint) == [
        *intermediate,
        ("fox", "b", False),
        ("fox", "c", True),
        ("hare", "b", True),
        ("hare", "a", False),
    ]
    assert source.counts() == ComparisonCounts(policy=policy, **PAIR_COUNTS)  # type: ignore[arg-type]
    assert source.__length_hint__() == (0 if kind == "json" else 8)
    assert {one.source for one in source} == {f"pairs.{kind}"}


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        ("chosen", "rejected", "prompt"),
        ("image_chosen", "image_rejected", "caption"),
        ("preferred", "rejected", "text"),
        ("winner", "loser", "prompt"),
        ("img_better", "img_worse", "prompt"),
        ("Chosen_Path", "Rejected_Path", "Prompt"),
        ("winner_file_name", "loser_file_name", "prompt"),
    ],
)
def test_names_of_columns(root: Path, paint: Paint, chosen: str, rejected: str, prompt: str) -> None:
    file = write(root / "a.jsonl", {chosen: "img/a.png", rejected: "img/b.png", prompt: "fox"})
    assert pairs.recognises(file)
    assert said(Pairs(file), paint) == [("fox", "a", True), ("fox", "b", False)]


def test_pairs_by_names_of_ones_own(root: Path, paint: Paint) -> None:
    file = write(root / "a.jsonl", {"good": {"file": "img/a.png"}, "bad": "img/b.png", "ask": "fox", "who": "ann"})
    assert not pairs.recognises(file)
    reading = Reading(columns={"chosen": "good.file", "rejected": "bad", "prompt": "ask", "rater": "who"})
    source = Pairs(file, reading)
    assert said(source, paint) == [("fox", "a", True), ("fox", "b", False)]
    assert [one.rater for one in source] == ["ann", "ann"]


def test_pairs_as_datasets_writes_them(tmp_path: Path, paint: Paint) -> None:
    """Images inside, in shards; the same bytes are the same image, whatever their name."""
    features = datasets.Features({"prompt": datasets.Value("string")} | dict.fromkeys("xy", datasets.Image()))
    features["chosen"], features["rejected"] = features.pop("x"), features.pop("y")
    rows = [("fox", 0, 1), ("fox", 2, 0), ("fox", 2, 3)]
    cells = [
        {"prompt": p, "chosen": {"bytes": paint(a)}, "rejected": {"bytes": paint(b), "path": f"{n}.png"}}
        for n, (p, a, b) in enumerate(rows)
    ]
    whole = datasets.Dataset.from_list(cells, features=features)
    (tmp_path / "data").mkdir()
    for shard in range(2):
        name = f"train-{shard:05}-of-00002.parquet"
        whole.shard(2, shard, contiguous=True).to_parquet(tmp_path / "data" / name)
    assert pairs.recognises(tmp_path)
    source = Pairs(tmp_path)
    assert said(source, paint) == [("fox", "a", True), ("fox", "b", False), ("fox", "c", True), ("fox", "d", False)]
    assert (source.counts().intersections, source.counts().exclusive_win) == (1, 1)
    assert source.__length_hint__() == 6
    with refused("split-unknown", UsageError, naming="'test'"):
        Pairs(tmp_path, Reading(split="test"))


def test_what_else_a_pair_says(root: Path) -> None:
    more = {
        "user_id": 7,
        "chosen_model": "sd",
        "rejected_model": "sdxl",
        "rejected_seed": "12",
        "seed": 3,
        "source": "game",
        "created_at": "2025-06-01T12:00:00Z",
    }
    chosen, rejected = Pairs(write(root / "a.jsonl", PAIRS[0] | more))
    assert (chosen.where, rejected.where) == ("a.jsonl, line 1, chosen", "a.jsonl, line 1, rejected")
    assert (chosen.rater, chosen.model, chosen.seed, chosen.source) == ("7", "sd", 3, "game")
    assert (rejected.rater, rejected.model, rejected.seed, rejected.source) == ("7", "sdxl", 12, "game")
    assert chosen.created_at == datetime(2025, 6, 1, 12, tzinfo=UTC)
    assert chosen.pair is not None and chosen.pair == rejected.pair


def test_raters_of_an_image_that_several_people_judged(root: Path) -> None:
    raters = ("ann", "ben", "ann", "ann")
    rows = ({**row, "rater": who} for row, who in zip(PAIRS, raters, strict=True))
    found = list(Pairs(write(root / "a.jsonl", *rows)))
    assert [one.rater for one in found] == [None, "ann", "ben", "ann", "ann"]


def test_what_bytes_and_base64_and_names_make_known(root: Path, paint: Paint) -> None:
    """One image is one, wherever it is met: by its bytes, or by its name however it is written."""
    text = base64.b64encode(paint(0)).decode()
    rows = [
        {"prompt": "fox", "chosen": text, "rejected": "img/b.png"},
        {"prompt": "fox", "chosen": {"bytes": text, "path": None}, "rejected": "./img/b.png"},
        {"prompt": "fox", "chosen": "img/c.png", "rejected": "img\\b.png"},
        {"prompt": "fox", "chosen": {"bytes": None, "path": "img//c.png"}, "rejected": " img/b.png "},
        {"prompt": "fox", "chosen": f"data:image/png;base64,{text}", "rejected": "img/d.png"},
    ]
    source = Pairs(write(root / "a.jsonl", *rows))
    assert said(source, paint) == [
        ("fox", "a", True),
        ("fox", "b", False),
        ("fox", "c", True),
        ("fox", "d", False),
    ]


def test_an_image_itself_goes_before_its_name(root: Path, paint: Paint) -> None:
    cells = {"chosen": "img/b.png", "image_chosen": paint(0), "rejected_path": "img/b.png", "rejected": None}
    assert said(Pairs(write(root / "a.parquet", {"prompt": "fox", **cells})), paint) == [
        ("fox", "a", True),
        ("fox", "b", False),
    ]


def test_pairs_on_the_web_are_left_there(root: Path) -> None:
    file = write(root / "a.jsonl", PAIRS[0] | {"chosen": "https://example.org/a.png"})
    first, second = Pairs(file)
    assert first.liked and first.image is None and "use --allow-download" in str(first.problem)
    assert second.problem is None
    allowed, _ = Pairs(file, Reading(allow_download=True))
    assert allowed.image is not None and allowed.problem is None


def test_pairs_below_a_root(root: Path, tmp_path: Path, paint: Paint) -> None:
    """Whole paths, too; and what lies beside the table but not below the root is outside."""
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "x.png").write_bytes(paint(4))
    whole = str(root / "img" / "b.png")
    file = write(tmp_path / "tables" / "a.jsonl", PAIRS[0] | {"rejected": whole}, PAIRS[0] | {"chosen": "x.png"})
    a, b, missing, _ = Pairs(file, Reading(root=root))
    assert said([a, b], paint) == [("fox", "a", True), ("fox", "b", False)]
    assert unread(missing) == f"the file '{root}/x.png' does not exist; add it or remove the row"


def test_pairs_in_another_encoding(root: Path, paint: Paint) -> None:
    file = root / "a.csv"
    file.write_bytes("chosen;rejected;prompt\nimg/a.png;img/b.png;für\n".encode("cp1252"))
    assert pairs.recognises(file)
    assert said(Pairs(file, Reading(encoding="cp1252")), paint) == [("für", "a", True), ("für", "b", False)]
    with refused("text-wrong-encoding", naming=[file, "UTF-8"]):
        list(Pairs(file))


@pytest.mark.parametrize("kind", [Pairs, Rankings, Classes])
def test_what_cannot_be_meant(root: Path, kind: type[Pairs]) -> None:
    file = write(root / "a.jsonl", PAIRS[0])
    for reading, code, naming in (
        (Reading(columns={"prompt": "promt"}), "column-missing", [file, " promt;", "prompt, chosen, rejected."]),
        (Reading(columns={"picture": "x"}), "map-unknown-name", "'picture'"),
        (Reading(root=root / "none"), "root-missing", root / "none"),
        (Reading(encoding="cp12"), "encoding-unknown", "'cp12'"),
        (Reading(like_at=math.nan), "like-at-invalid", "nan"),
    ):
        with refused(code, UsageError, naming=naming):
            kind(file, reading)


def test_a_seed_and_a_time_never_cost_the_vote(root: Path, paint: Paint) -> None:
    row = PAIRS[0] | {"chosen_seed": "soon", "seed": 7, "created_at": "soon"}
    first, second = Pairs(write(root / "a.jsonl", row))
    assert (first.liked, second.liked, first.seed, second.seed, first.created_at) == (True, False, None, 7, None)
    assert (first.left_out, second.left_out) == ((("seed", "'soon'"), ("created_at", "'soon'")), ())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rejected": ""}, "it names no image for rejected; fill it in or remove the row"),
        ({"chosen": None}, "it names no image for chosen; fill it in or remove the row"),
        (
            {"user": ["ann"], "rater": ["ann"]},
            "rater ['ann'] is no text; name the part that is, as in --map rater=column.part",
        ),
    ],
)
def test_a_pair_that_cannot_be_used(root: Path, paint: Paint, changes: Row, words: str) -> None:
    file = write(root / "a.jsonl", PAIRS[0] | changes, PAIRS[2])
    source = Pairs(file)
    assert problems(source) == [("a.jsonl, line 1", words)]
    assert said(source, paint) == [("hare", "b", True), ("hare", "a", False)]
    assert (source.counts().unusable, source.counts().comparisons) == (1, 1)


def test_lines_that_are_no_objects(root: Path, paint: Paint) -> None:
    file = root / "a.jsonl"
    file.write_text(f"{json.dumps(PAIRS[0])}\n[1]\n{'[' * 5000}\n")
    source = Pairs(file)
    words = "it is not a JSON object of at most 64 MB; correct it or remove it"
    assert problems(source) == [("a.jsonl, line 2", words), ("a.jsonl, line 3", words)]
    assert len(said(source, paint)) == 2


def test_an_image_that_is_missing(root: Path, paint: Paint) -> None:
    """It was judged all the same: what it won against is a loser."""
    file = write(root / "a.jsonl", {**PAIRS[0], "chosen": "img/none.png"}, {**PAIRS[0], "chosen": "../a.png"})
    source = Pairs(file)
    missing, b, outside = source
    assert (missing.liked, missing.prompt) == (True, "fox")
    assert unread(missing) == f"the file '{root}/img/none.png' does not exist; add it or remove the row"
    assert (b.liked, b.problem) == (False, None)
    assert (outside.liked, outside.image) == (True, None)
    assert outside.problem is not None and "is outside the folder" in outside.problem
    assert source.counts().comparisons == 2


def test_an_image_that_goes_away(root: Path) -> None:
    chosen, _ = Pairs(write(root / "a.jsonl", PAIRS[0]))
    (root / "img" / "a.png").unlink()
    assert "does not exist" in unread(chosen)


def test_pairs_into_a_store(root: Path, store: Store) -> None:
    report = importers.import_likes(write(root / "a.jsonl", *PAIRS, {**PAIRS[0], "chosen": "x.png"}), store)
    assert (report.rows, report.likes, report.dislikes, report.unreadable) == (6, 3, 2, 1)


def test_a_limit_of_pairs(root: Path, paint: Paint) -> None:
    source = Pairs(write(root / "a.jsonl", PAIRS[0], {"prompt": "no images"}), Reading(limit=1))
    assert said(source, paint) == [("fox", "a", True), ("fox", "b", False)]
    assert (source.__length_hint__(), problems(source)) == (2, [])


def test_a_policy_that_is_none(root: Path) -> None:
    for kind in (Pairs, Rankings, Classes):
        with refused("pair-policy-unknown", naming="'win'"):
            kind(write(root / "a.jsonl", *PAIRS), Reading(policy="win"))  # type: ignore[arg-type]


# --- rankings

RANKED: Row = {
    "id": "005658-0040",
    "prompt": "fox",
    "generations": ["img/a.png", "img/b.png", "img/c.png", "img/d.png"],
    "ranking": [1, 3, 2, 3],
}


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv", "parquet"])
@pytest.mark.parametrize(("policy", "c"), [("w_l", None), ("wi_l", True), ("w_il", False)])
def test_rankings_as_imagereward_has_them(root: Path, paint: Paint, kind: str, policy: PairPolicy, c: bool) -> None:
    """a is before all others; c is behind a and before b and d, which tie."""
    file = write(root / f"test.{kind}", RANKED)
    assert rankings.recognises(file)
    source = Rankings(file, Reading(policy=policy))
    intermediate = [] if c is None else [("fox", "c", c)]
    assert said(source, paint) == [("fox", "a", True), ("fox", "b", False), *intermediate, ("fox", "d", False)]
    assert source.counts() == ComparisonCounts(
        policy=policy, comparisons=5, ties=1, exclusive_win=1, intersections=1, exclusive_lose=2
    )


def test_where_a_ranking_stands(root: Path) -> None:
    found = list(Rankings(write(root / "test.json", RANKED | {"model": "sd", "annotator": "ann"})))
    assert [one.where for one in found] == [f"test.json, row 1, image {number}" for number in (1, 2, 3, 4)]
    assert {(one.model, one.rater, one.source) for one in found} == {("sd", "ann", "test.json")}


@pytest.mark.parametrize("names", ["file_path", "image_path"])
def test_preferences_as_hpd_has_them(root: Path, paint: Paint, names: str) -> None:
    """Its train.json: 1 for the better of two; its images lie in train/."""
    (root / "img").rename(root / "train")
    rows = [
        {"prompt": "fox", names: ["a.png", "b.png"], "human_preference": [0, 1]},
        {"prompt": "fox", names: ["b.png", "c.png"], "human_preference": [1, 0]},
        {"prompt": "hare", names: ["a.png", "b.png"], "human_preference": [1, 0]},
    ]
    file = write(root / "train.json", *rows)
    assert rankings.recognises(file)
    source = Rankings(file)
    assert said(source, paint) == [
        ("fox", "a", False),
        ("fox", "b", True),
        ("fox", "c", False),
        ("hare", "a", True),
        ("hare", "b", False),
    ]
    assert (source.counts().comparisons, source.counts().intersections) == (3, 0)


def test_ranks_as_hpd_has_them(root: Path, paint: Paint) -> None:
    """Its test.json: averaged ranks, the lowest being the best, beside what each annotator said."""
    (root / "img").rename(root / "test")
    row = {
        "prompt": "fox",
        "image_path": ["a.png", "b.png", "c.png"],
        "rank": [2, 0, 1],
        "raw_annotations": [{"rank": [1, 0, 2], "user_hash": "0a"}, {"rank": [2, 0, 1], "user_hash": "0b"}],
    }
    file = write(root / "test.json", row)
    assert rankings.recognises(file)
    assert said(Rankings(file, Reading(policy="w_l")), paint) == [("fox", "a", False), ("fox", "b", True)]


@pytest.mark.parametrize(
    ("like_at", "labels"),
    [(None, [True, False, True, False]), (4, [True, False, False, False]), (2, [True, False, True, True])],
)
def test_ratings(root: Path, like_at: float | None, labels: list[bool]) -> None:
    """Compared with each other, or liked from `like_at` up: then every image counts, whatever the policy."""
    row = {"prompt": "fox", "images": RANKED["generations"], "ratings": [6.5, 1, 3, 2]}
    if like_at is None:
        row["ratings"] = [6.5, 1, 3, 1]
    file = write(root / "a.json", row)
    assert rankings.recognises(file)
    source = Rankings(file, Reading(like_at=like_at))
    assert [one.liked for one in source] == labels
    assert source.counts().comparisons == (5 if like_at is None else 0)


def test_ratings_beside_ranks(root: Path) -> None:
    """The ranks say more, until somebody says from where ratings are likes."""
    file = write(root / "a.jsonl", RANKED | {"ratings": [1, 7, 7, 7], "rater": "ann"})
    assert [one.liked for one in Rankings(file)] == [True, False, True, False]
    rated = list(Rankings(file, Reading(like_at=7, policy="w_l")))
    assert [(one.liked, one.rater) for one in rated] == [(False, "ann"), *[(True, "ann")] * 3]
    bare = write(root / "b.jsonl", RANKED)
    assert [one.liked for one in Rankings(bare, Reading(like_at=7))] == [True, False, True, False]


def test_ranks_count_first_and_what_does_not_count_need_not_be_right(root: Path) -> None:
    file = write(root / "a.jsonl", RANKED | {"preferences": "none", "ratings": 4.5})
    assert [one.liked for one in Rankings(file)] == [True, False, True, False]
    rated = Rankings(write(root / "b.jsonl", RANKED | {"ratings": [1, 2, 3, 4], "ranking": "x"}), Reading(like_at=3))
    assert [one.liked for one in rated] == [False, False, True, True]


def test_rankings_in_a_compressed_table(root: Path, paint: Paint) -> None:
    """HPD's layout: the images lie in a folder named after the table."""
    (root / "img").rename(root / "test")
    row = {"prompt": "fox", "images": ["a.png", "b.png"], "ranks": [1, 2]}
    (root / "test.json.gz").write_bytes(gzip.compress(json.dumps([row]).encode()))
    assert rankings.recognises(root / "test.json.gz")
    assert said(Rankings(root / "test.json.gz"), paint) == [("fox", "a", True), ("fox", "b", False)]


def test_an_image_in_several_rankings(root: Path, paint: Paint) -> None:
    rows = [
        {"prompt": "fox", "images": ["img/a.png", "img/b.png"], "ranks": [1, 2]},
        {"prompt": "fox", "images": ["img/b.png", "img/c.png", "img/b.png"], "ranks": [1, 2, 3]},
    ]
    source = Rankings(write(root / "a.jsonl", *rows))
    assert said(source, paint) == [("fox", "a", True), ("fox", "b", True), ("fox", "c", True)]
    assert source.counts() == ComparisonCounts(policy="wi_l", comparisons=3, alike=1, exclusive_win=1, intersections=2)


def test_rankings_without_their_images(tmp_path: Path) -> None:
    """What ImageReward's repository holds: the lists alone."""
    source = Rankings(write(tmp_path / "test.json", RANKED))
    found = list(source)
    assert [one.liked for one in found] == [True, False, True, False]
    assert unread(found[0]) == f"the file '{tmp_path}/img/a.png' does not exist; add it or remove the row"
    assert source.counts().comparisons == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ranking": [1, 2, 3]}, "it has 4 images and 3 of ranking; correct or remove the row"),
        ({"ranking": None}, "it has neither ranks, preferences nor ratings; fill one in or remove the row"),
        ({"ranking": 1}, "it has 4 images and 0 of ranking; correct or remove the row"),
        (
            {"ranking": [1, 2, 3, "first"]},
            "its ranking contains 'first', which is not a number; correct or remove the row",
        ),
        ({"ranking": [1, 2, 3, None]}, "its ranking contains None, which is not a number; correct or remove the row"),
        ({"ranking": [1, 2, 3, 10**400]}, "its ranking contains 1000"),
        ({"ranking": [1, 2, 3, "nan"]}, "its ranking contains 'nan', which is not a number; correct or remove the row"),
        ({"generations": []}, "it lists no images; list two or more, or remove the row"),
        ({"generations": "[oops"}, "it lists no images; list two or more, or remove the row"),
        ({"generations": ["img/a.png"], "ranking": [1]}, "it lists only one image"),
        ({"generations": ["img/a.png", None, "x", "y"]}, "it names no image for image 2; fill it in"),
        ({"generations": ["a"] * 101, "ranking": [1] * 101}, "it ranks 101 images at once, and the limit is 100"),
    ],
)
def test_a_ranking_that_cannot_be_used(root: Path, changes: Row, words: str) -> None:
    source = Rankings(write(root / "a.jsonl", RANKED | changes, {**RANKED, "prompt": "hare"}))
    bad, *rest = source
    assert bad.problem is not None and bad.problem.startswith(words) and len(bad.problem) < 400
    assert [one.liked for one in rest] == [True, False, True, False]
    assert source.counts().unusable == 1


# --- classes, as the authors' table has them

CLASSES: tuple[Row, ...] = (
    {"file_name": "img/a.png", "caption": "fox", "split": "exclusive_win"},
    {"file_name": "img/b.png", "caption": "fox", "split": "intersections"},
    {"file_name": "img/c.png", "caption": "hare", "split": "exclusive_lose"},
    {"file_name": "img/d.png", "caption": "", "split": "exclusive_lose"},
)


@pytest.mark.parametrize("names", [("file_name", "split"), ("file_path", "label")])
@pytest.mark.parametrize(("policy", "b"), [("w_l", None), ("wi_l", True), ("w_il", False)])
def test_the_table_of_the_authors(
    root: Path, paint: Paint, policy: PairPolicy, b: bool | None, names: tuple[str, str]
) -> None:
    image, split = names
    rows = ({image: row["file_name"], "caption": row["caption"], split: row["split"]} for row in CLASSES)
    file = write(root / "train_processed_v3.csv", *rows)
    assert classes.recognises(file)
    source = Classes(file, Reading(policy=policy))
    intermediate = [] if b is None else [("fox", "b", b)]
    assert said(source, paint) == [("fox", "a", True), *intermediate, ("hare", "c", False), (None, "d", False)]
    assert source.counts() == ComparisonCounts(policy=policy, exclusive_win=1, intersections=1, exclusive_lose=2)
    assert source.__length_hint__() == 4


def test_rows_without_a_class(root: Path) -> None:
    rows = [CLASSES[0], CLASSES[1] | {"split": "won"}, CLASSES[2] | {"file_name": ""}, CLASSES[3] | {"file_name": "x"}]
    source = Classes(write(root / "a.csv", *rows))
    *_, last = source
    classless = "its class is not exclusive_win, intersections or exclusive_lose; correct or remove the row"
    assert problems(source) == [
        ("a.csv, line 3", classless),
        ("a.csv, line 4", "it names no image; fill in file_name or remove the row"),
    ]
    assert (last.where, last.liked) == ("a.csv, line 5", False)
    assert unread(last) == f"the file '{root}/x' does not exist; add it or remove the row"
    assert source.counts().unusable == 1
    assert len(list(Classes(source.file, Reading(limit=2)))) == 2


def test_the_split_of_a_data_set_is_no_class(root: Path, paint: Paint) -> None:
    row = {"file_name": "img/a.png", "caption": "fox", "split": "train", "label": "exclusive_win"}
    file = write(root / "a.csv", row)
    assert classes.recognises(file)
    assert said(Classes(file), paint) == [("fox", "a", True)]


def test_classes_by_names_of_ones_own(root: Path, paint: Paint) -> None:
    file = write(root / "a.csv", {"file_name": "x.png", "pic": "img/a.png", "what": "exclusive_lose", "split": "train"})
    assert said(Classes(file, Reading(columns={"image": "pic", "class": "what"})), paint) == [(None, "a", False)]
    assert Classes(file, Reading(columns={"class": "what"}, limit=0)).__length_hint__() == 0


# --- who recognises what


def test_each_recognises_its_own_alone(root: Path) -> None:
    everybody = (pairs.recognises, rankings.recognises, classes.recognises, pickapic.recognises)
    tables = {
        "pairs.jsonl": PAIRS,
        "rankings.jsonl": (RANKED,),
        "classes.jsonl": CLASSES,
        "likes.jsonl": ({"file_name": "img/a.png", "prompt": "fox", "label": True},),
        "texts.jsonl": ({"prompt": "Why?", "chosen": "Because it is so.", "rejected": "Who knows?"},),
        "talks.jsonl": ({"chosen": [{"role": "user"}], "rejected": [{"role": "user"}]},),
        "numbers.jsonl": ({"images": [1, 2], "ranks": [1, 2]},),
        "uneven.jsonl": ({"images": ["a.png", "b.png"], "ranks": [1]},),
        "nothing.jsonl": ({},),
        "deep.jsonl": ({"images": "[" * 20_000, "ranks": "[" * 20_000},),
    }
    found = {name: [f(write(root / name, *rows)) for f in everybody] for name, rows in tables.items()}
    assert found.pop("pairs.jsonl") == [True, False, False, False]
    assert found.pop("rankings.jsonl") == [False, True, False, False]
    assert found.pop("classes.jsonl") == [False, False, True, False]
    assert not any(any(answers) for answers in found.values()), found
    assert not any(f(path) for f in everybody for path in (root, root / "none.csv", Path("a\0.json")))


# --- anything in any cell

# A row that all three could read, but for what is changed in it.
EVERYTHING: Row = {
    **RANKED,
    "chosen": "img/a.png",
    "rejected": {"bytes": None, "path": "img/b.png"},
    "file_name": "img/a.png",
    "split": "intersections",
    "ratings": [1, 2, 3, 4],
}
NAMES = sorted({*EVERYTHING, "rater", "seed", "model", "chosen_seed", "created_at", "source", "images", "ranks"})
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=6),
    st.sampled_from(["img/a.png", "img/b.png", "[1, 2]", "[", "exclusive_win", "1e999", "9" * 5000, "\ud800", "\0"]),
)
NUMBERS = st.one_of(st.integers(), st.floats(), st.booleans(), st.just(10**400))
CELLS = st.recursive(
    st.one_of(st.none(), TEXT, NUMBERS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["bytes", "path", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
)
ROWS = st.lists(st.dictionaries(st.sampled_from(NAMES), CELLS, max_size=4), min_size=1, max_size=3)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@example(rows=[{"chosen": {"bytes": "000000"}}], policy="w_l", like_at=None)
@example(rows=[{"chosen": None, "rater": "\ud800"}], policy="w_l", like_at=None)
@given(rows=ROWS, policy=st.sampled_from(get_args(PairPolicy)), like_at=st.sampled_from([None, 3.5]))
def test_anything_in_any_cell(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], policy: PairPolicy, like_at: float | None
) -> None:
    file = write(tmp_path_factory.mktemp("any") / "a.jsonl", *(EVERYTHING | row for row in rows))
    (file.parent / "img").mkdir()
    (file.parent / "img" / "a.png").write_bytes(b"a")
    for recognises in (pairs.recognises, rankings.recognises, classes.recognises):
        recognises(file)
    for kind in (Pairs, Rankings, Classes):
        source = kind(file, Reading(policy=policy, like_at=like_at))
        assert all(usable(one, {b"a", *packed(rows)}) for one in source)
        assert source.counts().unusable <= len(rows)


def packed(cell: object) -> Iterator[bytes]:
    """What the base64 texts anywhere in a cell hold: {"bytes": text} is an image inside its row."""
    if isinstance(cell, str):
        text = "".join(cell.split()).rstrip("=")
        with contextlib.suppress(ValueError):
            yield base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_")  # of either alphabet
    for inner in cell.values() if isinstance(cell, dict) else cell if isinstance(cell, list) else ():
        yield from packed(inner)


def usable(found: SourceRow, held: Collection[bytes]) -> bool:
    """Whether it is what an importer counts on: an image that can be asked for, and a label, or a problem."""
    if found.problem is not None:
        return found.image is None
    assert found.image is not None and found.liked is not None
    try:
        return found.image() in held
    except UnreadableImage:
        return True


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["jsonl", "csv", "parquet", "json"]), where=st.integers(0, 2000), data=st.binary(max_size=9)
)
def test_anything_in_any_byte(tmp_path_factory: pytest.TempPathFactory, kind: str, where: int, data: bytes) -> None:
    """A file that was good until something wrote over its middle: rows, problems, or one sentence."""
    file = write(tmp_path_factory.mktemp("any") / f"a.{kind}", EVERYTHING | {"rejected": "img/b.png"})
    bytes_of = file.read_bytes()
    where = min(where, len(bytes_of))
    file.write_bytes(bytes_of[:where] + data + bytes_of[where + len(data) :])
    for module, source in ((pairs, Pairs), (rankings, Rankings), (classes, Classes), (pickapic, pickapic.PickAPic)):
        module.recognises(file)
        try:
            assert all(one.problem is not None or one.liked is not None for one in source(file))
        except ThumbtuneError as error:
            assert str(file) in str(error)
