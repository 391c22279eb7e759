"""The labels of a ground's person beside likes and dislikes: one to five stars, and the top tenth of a score."""

import json
import math
from pathlib import Path

import pytest
from refusals import refused

from thumbtune.experiments import ground_labels, simulated_labels
from thumbtune.experiments.ground_labels import STARS, grades_of
from thumbtune.experiments.grounds import GROUNDS
from thumbtune.experiments.methods import METHODS, method_cell
from thumbtune.experiments.noisy_rater import feeling, likes, stars, uniform
from thumbtune.experiments.simulated_labels import PoolImage, Rating, import_labels, rate_pool, top_tenth
from thumbtune.feedback.store.store import Store

GROUND = GROUNDS["soft-3d"]
KEYS = [f"image {i}" for i in range(400)]


@pytest.mark.parametrize("tau", [None, 2.0])
@pytest.mark.parametrize("odds", [-7.0, -1.0, 0.0, 0.5, 3.0])
def test_an_image_is_liked_just_where_the_feeling_is_above_0(odds: float, tau: float | None) -> None:
    for key in KEYS:
        assert likes(odds, tau, 1, key) == (feeling(odds, tau, 1, key) > 0)


def test_stars_cut_the_feeling_by_hand() -> None:
    cases = zip((-5.0, -1.0, 0.0, 1.0, 2.0), range(1, 6), strict=True)
    assert all(stars(odds, None, 0, "x") == count for odds, count in cases)
    u = uniform(1, "x")
    v = 3.0 / 2.0 - math.log(u / (1 - u))
    assert stars(3.0, 2.0, 1, "x") == 1 + sum(v > cut for cut in (-1.5, -0.5, 0.5, 1.5))


def test_stars_are_as_frequent_as_the_logistic_noise_says() -> None:
    counts = [stars(1.0, 2.0, 7, key) for key in KEYS]
    chance = 1 / (1 + math.exp(1.5 - 0.5))  # of five stars: v > 1.5, where v = 0.5 + logistic noise
    assert abs(counts.count(5) / len(KEYS) - chance) < 4 * math.sqrt(chance * (1 - chance) / len(KEYS))


def test_the_top_tenth_is_above_the_90th_percentile() -> None:
    assert sum(top_tenth([float(i) for i in range(192)])) == 20  # the percentile is 171.9
    assert not any(top_tenth([1.0] * 10))


def pool_of(folder: Path, count: int) -> list[PoolImage]:
    from PIL import Image

    found = []
    for i in range(count):
        Image.new("RGB", (64, 64), (i, 0, 0)).save(folder / f"{i}.png")
        found.append(PoolImage(folder / f"{i}.png", "a red apple", i))
    return found


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[PoolImage]:
    """Twenty images, whose log-odds are given: -5, -4.5, ... 4.5."""
    monkeypatch.setattr(
        ground_labels,
        "log_odds",
        lambda ground, images, prompts, network: [image.getpixel((0, 0))[0] / 2 - 5 for image in images],
    )
    return pool_of(tmp_path, 20)


def test_four_and_five_stars_are_likes_and_grades_are_fourths(pool: list[PoolImage]) -> None:
    rating = Rating(rule=STARS)
    labels = {name: liked for name, _, _, liked, _ in ground_labels.rate_pool(pool, GROUND, rating, 3)}
    grades = grades_of(pool, GROUND, rating, 3)
    assert grades.keys() == labels.keys() and {*grades.values()} <= {0.0, 0.25, 0.5, 0.75, 1.0}
    assert all(liked == (grades[name] >= 0.75) for name, liked in labels.items())
    assert len({*grades.values()}) >= 4


def test_a_label_that_is_turned_has_the_opposite_grade(pool: list[PoolImage]) -> None:
    right, wrong = (grades_of(pool, GROUND, Rating(rule=STARS, flipped=share), 3) for share in (0.0, 1.0))
    assert all(wrong[name] == 1 - grade for name, grade in right.items())


def test_other_rules_have_no_grades_and_top_tenth_likes_two_of_twenty(pool: list[PoolImage]) -> None:
    rating = Rating(rule="top tenth")
    assert grades_of(pool, GROUND, rating, 3) == {}
    labels = ground_labels.rate_pool(pool, GROUND, rating, 3)
    assert [name for name, _, _, liked, _ in labels if liked] == ["18.png", "19.png"]


def test_persons_without_a_ground_give_no_stars(pool: list[PoolImage]) -> None:
    with refused("rating-unknown-rule", naming=STARS):
        rate_pool(pool, "line-art", Rating(rule=STARS), 0)


def test_grades_reach_the_store(pool: list[PoolImage], tmp_path: Path) -> None:
    labels = ground_labels.rate_pool(pool, GROUND, Rating(rule=STARS), 3)
    grades = grades_of(pool, GROUND, Rating(rule=STARS), 3)
    import_labels(tmp_path / "likes", labels, "soft-3d", grades)
    rows = [json.loads(line) for line in (tmp_path / "likes" / "thumbs" / "metadata.jsonl").read_text().splitlines()]
    assert {row["file_name"]: row["grade"] for row in rows} == grades
    with Store.open(tmp_path / "likes" / "store") as store:
        assert sorted(label.grade or 0.0 for label in store.labels()) == sorted(grades.values())


def test_labels_without_grades_are_written_as_before(pool: list[PoolImage], tmp_path: Path) -> None:
    labels = ground_labels.rate_pool(pool, GROUND, Rating(), 3)
    lines = list(simulated_labels._lines(tmp_path, labels, "soft-3d", {}))
    assert [*json.loads(lines[0])] == ["file_name", "prompt", "label", "rater", "seed", "model"]


@pytest.mark.parametrize(("name", "rule"), [("kto-graded", STARS), ("kto-top-tenth", "top tenth"), ("lead", "person")])
def test_a_method_says_how_the_pool_is_labelled(name: str, rule: str) -> None:
    cell = method_cell("line-art-wrong", name, 40, METHODS[name])
    assert cell.rating == Rating(rule=rule, flipped=0.2)
