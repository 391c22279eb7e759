"""Simulated labels: by comparisons as in the paper's data, fewer of them, and some of them wrong."""

from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.experiments import demo, simulated_labels
from thumbtune.experiments.simulated_labels import (
    RULES,
    PoolImage,
    Rating,
    better_score,
    flip_labels,
    label_of_record,
    rate_pool,
    wins_and_losses,
)


def shade(value: int) -> Image.Image:
    """The darker the dot, the more a line-art person likes it."""
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).ellipse((12, 12, 52, 52), fill=(value, value, value))
    return image


@pytest.fixture
def pool(tmp_path: Path) -> list[PoolImage]:
    """Two prompts; of each, five images from black to grey."""
    found = []
    for k, value in enumerate((0, 40, 80, 120, 160)):
        for number, prompt in enumerate(("a dot", "a disc")):
            file = tmp_path / f"{number}-{k}.png"
            shade(value + number).save(file)
            found.append(PoolImage(file, prompt, 10 * k + number))
    return found


def test_everybody_meets_two_neighbours_on_each_side() -> None:
    # of six in a circle 0 meets 1, 2, 4, 5 and not 3
    assert wins_and_losses(range(6), better_score([5, 4, 3, 2, 1, 0])) == [
        (4, 0),
        (3, 1),
        (2, 2),
        (2, 2),
        (1, 3),
        (0, 4),
    ]


def test_equal_scores_decide_nothing() -> None:
    assert wins_and_losses(range(3), better_score([1.0, 1.0, 0.0])) == [(1, 0), (1, 0), (0, 2)]


@pytest.mark.parametrize(
    ("rule", "always", "sometimes", "never"),
    [
        ("win", True, False, False),
        ("win + intermediate", True, True, False),
        ("without intermediate", True, None, False),
    ],
)
def test_the_papers_three_policies(rule: str, always: bool, sometimes: bool | None, never: bool) -> None:
    assert [label_of_record(4, 0, rule), label_of_record(2, 2, rule), label_of_record(0, 4, rule)] == [
        always,
        sometimes,
        never,
    ]
    assert label_of_record(0, 0, rule) is None


def test_comparing_happens_within_a_prompt(pool: list[PoolImage]) -> None:
    likes = {name: liked for name, _, _, liked, _ in rate_pool(pool, "line-art", Rating(rule="win"), 0)}
    assert [name for name, liked in likes.items() if liked] == ["0-0.png", "1-0.png"]
    likes = {name: liked for name, _, _, liked, _ in rate_pool(pool, "line-art", Rating(rule="win + intermediate"), 0)}
    assert [name for name, liked in likes.items() if not liked] == ["0-4.png", "1-4.png"]
    kept = rate_pool(pool, "line-art", Rating(rule="without intermediate"), 0)
    assert [(name, liked) for name, _, _, liked, _ in kept] == [
        ("0-0.png", True), ("1-0.png", True), ("0-4.png", False), ("1-4.png", False)
    ]  # fmt: skip


def test_fewer_labels_are_the_beginning_of_more_and_too_many_are_refused(pool: list[PoolImage]) -> None:
    everything = rate_pool(pool, "line-art", Rating(rule="upper half"), 0)
    assert [t[0] for t in rate_pool(pool, "line-art", Rating(rule="upper half", count=3), 0)] == [
        t[0] for t in everything[:3]
    ]
    assert sum(liked for *_, liked, _ in everything) == 5
    with refused("rating-too-few-images", UsageError, naming=[11, 10]):
        rate_pool(pool, "line-art", Rating(count=11), 0)


def test_an_unknown_rule_lists_the_known_ones(pool: list[PoolImage]) -> None:
    with refused("rating-unknown-rule", UsageError, naming=["whim", ", ".join(RULES)]):
        rate_pool(pool, "line-art", Rating(rule="whim"), 0)


def test_the_share_of_wrong_labels_is_exact_nested_and_follows_from_the_seed(pool: list[PoolImage]) -> None:
    right = rate_pool(pool, "line-art", Rating(rule="upper half"), 0)

    def wrong(share: float, seed: int = 0) -> set[str]:
        pairs = zip(flip_labels(right, share, seed), right, strict=True)
        return {a[0] for a, b in pairs if a[3] != b[3]}

    assert len(wrong(0.2)) == 2
    assert len(wrong(0.4)) == 4
    assert wrong(0.2) < wrong(0.4)
    assert wrong(0.0) == set()
    assert wrong(0.4, seed=1) != wrong(0.4)


def test_no_pool_shares_a_seed_with_another_or_with_judged_images() -> None:
    concepts = len(demo.concepts()["rated"])
    last = simulated_labels.SEEDS_PER_CONCEPT * concepts
    assert last <= simulated_labels.SEEDS_PER_POOL
    judged = demo.FIRST_SEED + demo.SEEDS_PER_DEMO * 1000
    assert judged < simulated_labels.FIRST_SEED


def test_labels_go_through_the_importer_and_are_counted(tmp_path: Path, pool: list[PoolImage]) -> None:
    labels = rate_pool(pool, "line-art", Rating(rule="upper half"), 0)
    assert simulated_labels.import_labels(tmp_path / "likes", labels, "line-art") == (5, 5)
    assert simulated_labels.import_labels(tmp_path / "likes", labels, "line-art") == (5, 5)
