"""The training table: its columns, its policies and its splits."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.feedback.likes import likes_of, split
from thumbtune.feedback.policies import Undecided, apply_policy
from thumbtune.feedback.store.store import Store
from thumbtune.files import sha256

Paint = Callable[..., bytes]


@pytest.fixture
def voted(store: Store, paint: Paint) -> Store:
    """Three raters: they like the fox 2 : 1, tie on the hare, and one of them dislikes the owl."""
    fox, hare, owl = (store.add_image(paint(i), name, seed=i) for i, name in enumerate(("fox", "hare", "owl")))
    noon = datetime(2025, 6, 1, 12, tzinfo=UTC)
    store.vote(owl, "dislike", rater="ann", created_at=noon)
    for rater, kind, weight in (("bob", "like", 1.0), ("ann", "like", 2.0), ("cyd", "dislike", 1.0)):
        store.vote(fox, kind, rater=rater, weight=weight, created_at=noon)
    store.vote(hare, "like", rater="ann")
    store.vote(hare, "dislike", rater="bob")
    return store


def test_columns_and_rows(voted: Store, paint: Paint) -> None:
    likes = likes_of(voted)
    expected = "image image_id prompt label weight grade rater seed model source created_at"
    assert likes.column_names == expected.split()
    assert isinstance(likes.features["image"], datasets.Image)
    row = likes[1]
    assert row["image"].size == (16, 16) and row["image_id"] == sha256(paint(2))
    assert (row["prompt"], row["label"], row["rater"], row["seed"], row["model"]) == (
        "owl",
        False,
        "ann",
        2,
        None,
    )
    assert row["created_at"] == datetime(2025, 6, 1, 12, tzinfo=UTC)


def test_grades_of_those_who_agree_are_averaged_and_others_are_none(store: Store, paint: Paint) -> None:
    fox, hare = (store.add_image(paint(i), name) for i, name in enumerate(("fox", "hare")))
    for rater, kind, grade in (
        ("ann", "like", 1.0),
        ("bob", "like", 0.5),
        ("cyd", "like", None),
        ("dan", "dislike", 0.0),
    ):
        store.vote(fox, kind, rater=rater, grade=grade)
    store.vote(hare, "dislike", rater="ann")
    assert list(likes_of(store)["grade"]) == [0.75, None]
    assert list(likes_of(store, "per-vote")["grade"]) == [1.0, 0.5, None, 0.0, None]


def test_images_stay_in_their_files(voted: Store, tmp_path: Path) -> None:
    cell = likes_of(voted).with_format("arrow")[0]["image"][0].as_py()
    assert cell["bytes"] is None and Path(cell["path"]).is_relative_to(tmp_path / "store")


def test_the_majority_decides_and_ties_are_left_out(voted: Store) -> None:
    likes = likes_of(voted)
    assert list(likes["prompt"]) == ["fox", "owl"] and list(likes["label"]) == [True, False]
    assert list(likes["rater"]) == ["majority of 3", "ann"] and list(likes["weight"]) == [1.5, 1.0]


def test_every_vote_can_have_a_row(voted: Store) -> None:
    likes = likes_of(voted, "per-vote")
    assert list(zip(likes["prompt"], likes["rater"], likes["label"], strict=True)) == [
        ("fox", "ann", True),
        ("fox", "bob", True),
        ("fox", "cyd", False),
        ("hare", "ann", True),
        ("hare", "bob", False),
        ("owl", "ann", False),
    ]
    assert likes.to_dict() == likes_of(voted, "per-vote").to_dict()


def labels(store: Store, policy: str) -> dict[str, bool]:
    likes = likes_of(store, policy)
    return dict(zip(likes["prompt"], likes["label"], strict=True))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("majority", {"fox": True, "owl": False}),
        ("unanimous", {"owl": False}),
        ("any-dislike", {"fox": False, "hare": False, "owl": False}),
        ("rater:bob", {"fox": True, "hare": False}),
    ],
)
def test_each_policy_labels_as_it_says(voted: Store, policy: str, expected: dict[str, bool]) -> None:
    assert labels(voted, policy) == expected


def test_what_has_no_label_is_counted(voted: Store) -> None:
    for policy, undecided in (("majority", 1), ("unanimous", 2), ("any-dislike", 0)):
        counter = Undecided()
        assert list(apply_policy(voted.labels(), policy, counter)) and counter.images == undecided


def test_the_table_is_mapped_from_a_file_until_somebody_votes(file_store: Store, paint: Paint) -> None:
    fox = file_store.add_image(paint(), "fox")
    vote = file_store.vote(fox, "like", rater="ann")
    tables = file_store.folder / "tables"  # type: ignore[operator]
    first = likes_of(file_store)
    (file,) = tables.iterdir()
    assert [Path(part["filename"]) for part in first.cache_files] == [file]
    made = file.stat().st_mtime_ns
    assert likes_of(file_store).to_dict() == first.to_dict() and file.stat().st_mtime_ns == made
    file_store.undo(vote, rater="ann")
    file_store.vote(fox, "dislike", rater="ann")
    assert likes_of(file_store)["label"][:] == [False]
    assert first["label"][:] == [True], "what is open stays as it was"
    (other,) = tables.iterdir()
    assert other != file


def test_an_unknown_policy(voted: Store) -> None:
    with refused(
        "policy-unknown", UsageError, naming=("'loudest'", "majority, unanimous, any-dislike, per-vote or rater:NAME")
    ):
        likes_of(voted, "loudest")  # type: ignore[arg-type]


def test_a_rater_whom_nobody_knows(voted: Store) -> None:
    with refused("rater-unknown", UsageError, naming=("dan", "ann, bob")):
        likes_of(voted, "rater:dan")


def test_an_empty_store_is_an_empty_table(store: Store) -> None:
    likes = likes_of(store)
    assert len(likes) == 0
    sides = split(likes)
    assert len(sides.train) == len(sides.held_out) == 0 and sides.train.features == likes.features


def test_the_numbers_of_a_table(voted: Store) -> None:
    likes = likes_of(voted, "per-vote")
    assert (len(likes), sum(likes["label"]), len(set(likes["prompt"]))) == (6, 3, 3)


def table_of(prompts: list[str]) -> datasets.Dataset:
    return datasets.Dataset.from_dict({"prompt": prompts, "label": [True] * len(prompts)})


@pytest.mark.slow
@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=30), st.floats(0, 0.99), st.integers(0, 9))
def test_a_split_shares_no_prompt_and_loses_none(prompts: list[str], share: float, seed: int) -> None:
    sides = split(table_of(prompts), share, seed)
    train, held_out = list(sides.train["prompt"]), list(sides.held_out["prompt"])
    assert not set(train) & set(held_out)
    assert sorted(train + held_out) == sorted(prompts)


@pytest.mark.slow
@given(st.lists(st.text(max_size=8), max_size=20), st.lists(st.text(max_size=8), max_size=20), st.integers(0, 9))
def test_new_likes_move_no_old_prompt(old: list[str], new: list[str], seed: int) -> None:
    before = set(split(table_of(old), seed=seed).held_out["prompt"])
    after = set(split(table_of(new + old), seed=seed).held_out["prompt"])
    assert before == after & set(old)


def test_the_share_is_held_out_on_average() -> None:
    prompts = table_of([f"prompt {number}" for number in range(5000)])
    held_out = split(prompts, 0.2).held_out
    assert len(held_out) / 5000 == pytest.approx(0.2, abs=0.02)  # three and a half standard deviations
    assert set(held_out["prompt"]) != set(split(prompts, 0.2, seed=1).held_out["prompt"])
    assert list(held_out["prompt"])[:3] == ["prompt 4", "prompt 8", "prompt 28"]  # the same on every machine


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, float("nan")])
def test_a_share_out_of_range(share: float) -> None:
    with refused("split-bad-share", naming=share):
        split(table_of(["a"]), share)


@pytest.mark.slow
def test_no_torch(folder: Path, tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from thumbtune.feedback import importers, likes
from thumbtune.feedback.store.store import Store
assert "datasets" not in sys.modules and "pyarrow" not in sys.modules, "slow to import"
with Store.open(Path(sys.argv[2])) as opened:
    importers.import_likes(Path(sys.argv[1]), opened)
    table = likes.likes_of(opened)
    table[0]["image"].load()
    likes.split(table)
    print(len(table))
assert "torch" not in sys.modules
"""
    arguments = [sys.executable, "-c", script, str(folder), str(tmp_path / "other")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


def test_the_same_words_stay_on_one_side_however_they_are_written() -> None:
    from datasets import Dataset

    ways = ["a cat", "A cat", "a  cat.", "A CAT!"]
    for seed in range(20):
        parts = split(Dataset.from_dict({"prompt": ways}), 0.5, seed)
        assert {len(parts.train), len(parts.held_out)} == {0, 4}
