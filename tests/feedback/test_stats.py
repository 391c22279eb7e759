"""Statistics of a store: kappa by hand and by counting pairs, all else on a store of known votes."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbtune.feedback.stats import (
    Agreement,
    Balance,
    Rater,
    chance_note,
    cohen_kappa,
    disagreement_note,
    fleiss_kappa,
    outlier,
    raters_at_chance,
    stats_of,
)
from thumbtune.feedback.store.store import Store

Paint = Callable[..., bytes]
VOTES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


def test_cohen_by_hand() -> None:
    # 85 % alike; 45 % and 50 % liked: by chance 0.45 * 0.5 + 0.55 * 0.5 = 0.5, so (0.85 - 0.5) / 0.5
    table = {(True, True): 40, (True, False): 5, (False, True): 10, (False, False): 45}
    assert cohen_kappa(table) == pytest.approx(0.7)
    assert cohen_kappa({(True, True): 3, (False, False): 2}) == 1
    assert cohen_kappa({(True, False): 1, (False, True): 1}) == -1
    assert cohen_kappa({(True, True): 3}) is None, "who only likes agrees by chance"
    assert cohen_kappa({}) is None


def test_fleiss_by_hand() -> None:
    # agreement of the images: 1, then (1 * 0 + 2 * 1) / 6 = 1/3 three times; 7 of 12 votes are likes
    chance = (7 / 12) ** 2 + (5 / 12) ** 2
    assert fleiss_kappa([(3, 0), (1, 2), (1, 2), (2, 1)]) == pytest.approx(
        ((1 + 1 / 3 * 3) / 4 - chance) / (1 - chance)
    )
    assert fleiss_kappa([(1, 0), (0, 1)]) is None, "nobody rated what another rated"
    assert fleiss_kappa([(2, 0), (5, 0)]) is None
    assert fleiss_kappa([(2, 0), (0, 2), (1, 0)]) == 1


@given(VOTES)
def test_fleiss_is_at_most_one_and_knows_no_sides(rated: list[tuple[int, int]]) -> None:
    kappa = fleiss_kappa(rated)
    assert kappa == fleiss_kappa([(down, up) for up, down in reversed(rated)])
    if kappa is not None:
        assert kappa <= 1
        assert (kappa == 1) == all(up == 0 or down == 0 for up, down in rated if up + down > 1)


@given(VOTES)
def test_fleiss_counts_pairs_of_raters(rated: list[tuple[int, int]]) -> None:
    shared = [[True] * up + [False] * down for up, down in rated if up + down > 1]
    if not shared or len({liked for votes in shared for liked in votes}) == 1:
        assert fleiss_kappa(rated) is None
        return
    alike = [[a == b for a, b in itertools.permutations(votes, 2)] for votes in shared]
    observed = sum(sum(each) / len(each) for each in alike) / len(alike)
    everybody = [liked for votes in shared for liked in votes]
    share = sum(everybody) / len(everybody)
    chance = share**2 + (1 - share) ** 2
    assert fleiss_kappa(rated) == pytest.approx((observed - chance) / (1 - chance))


def test_everything_about_a_store(store: Store, paint: Paint) -> None:
    fox, hare, bear = (store.add_image(paint(i), name) for i, name in enumerate(("fox", "hare", "bear")))
    same = store.add_image(paint(0), "vixen")  # the fox's image under another prompt
    for image, likes, dislikes in ((fox, "abc", ""), (hare, "a", "bc"), (bear, "a", "b"), (same, "", "")):
        for rater in likes:
            store.vote(image, "like", rater=rater)
        for rater in dislikes:
            store.vote(image, "dislike", rater=rater)
    store.vote(fox, "like", rater="a")  # repeats the vote
    store.vote(same, "skip", rater="a")
    found = stats_of(store)
    assert (found.images, found.distinct_images, found.prompts, found.multi_prompt_images, found.unlabelled) == (
        4,
        3,
        4,
        1,
        1,
    )
    assert (found.votes, found.labels, found.all_raters) == (10, 8, 3)
    assert (found.shared, found.contradicted) == (3, 2)
    assert found.raters == [
        Rater(name="a", likes=3, dislikes=0),
        Rater(name="b", likes=1, dislikes=2),
        Rater(name="c", likes=1, dislikes=1),
    ]
    assert found.balances == [
        Balance(policy="majority", likes=1, dislikes=1, undecided=1),
        Balance(policy="unanimous", likes=1, dislikes=0, undecided=2),
        Balance(policy="any-dislike", likes=1, dislikes=2, undecided=0),
        Balance(policy="per-vote", likes=5, dislikes=3, undecided=0),
    ]
    assert [balance.liked_share for balance in found.balances] == pytest.approx([1 / 2, 1, 1 / 3, 5 / 8])
    assert found.fleiss == fleiss_kappa([(3, 0), (1, 2), (1, 1)])
    assert found.pairs == [
        Agreement(first="a", second="b", images=3, agreed=1, kappa=0),
        Agreement(first="a", second="c", images=2, agreed=1, kappa=0),
        Agreement(first="b", second="c", images=2, agreed=2, kappa=1),
    ]


def test_a_crowd_is_counted_and_only_the_busiest_are_named(store: Store, paint: Paint) -> None:
    image = store.add_image(paint(), "fox")
    for number in range(30):
        store.vote(image, "like" if number % 3 else "dislike", rater=f"r{number:02}")
    other = store.add_image(paint(1), "hare")
    store.vote(other, "like", rater="r29")
    found = stats_of(store)
    assert found.all_raters == 30
    names = [rater.name for rater in found.raters]
    assert "r29" in names and names == sorted(names)
    assert len(found.raters) == 20
    assert len(found.pairs) == 20 * 19 / 2


def test_an_empty_store(store: Store) -> None:
    found = stats_of(store)
    assert (found.images, found.labels, found.fleiss, found.pairs, found.raters) == (0, 0, None, [], [])
    assert found.balances[0].liked_share is None


@pytest.mark.parametrize(
    ("alike", "apart", "words"),
    [
        (10, 0, None),  # always alike
        (4, 6, "less often than by chance: 6 of 10 images"),  # kappa 0.4 - 0.5 over 0.5 with half of likes
        (6, 6, "hardly more often than by chance: 6 of 12 images"),  # kappa 0
        (7, 3, None),  # kappa 0.4
        (4, 5, None),  # nine images say little
    ],
)
def test_raters_who_contradict_each_other_are_told(
    store: Store, paint: Paint, alike: int, apart: int, words: str | None
) -> None:
    for number in range(alike + apart):
        for rater in ("ann", "bob"):
            liked = (number % 2 == 0) == (rater == "ann" or number < alike)
            image = store.add_image(paint(number), "fox")
            store.vote(image, "like" if liked else "dislike", rater=rater)
    numbers = stats_of(store)
    note = disagreement_note(numbers)
    assert (note is None) if words is None else (note is not None and words in note and "unanimous" in note)


def test_the_rater_who_agrees_least_is_named(store: Store, paint: Paint) -> None:
    for number in range(12):
        image = store.add_image(paint(number), "fox")
        for rater in ("ann", "bob", "cyd"):
            liked = (number % 2 == 0) != (rater == "bob")
            store.vote(image, "like" if liked else "dislike", rater=rater)
    note = disagreement_note(stats_of(store))
    assert note is not None and "; bob agrees least with the others (kappa -1.00 on average); train on" in note


def test_a_rater_at_chance_is_named_beside_raters_who_agree(store: Store, paint: Paint) -> None:
    """Ann, bob and dan agree always; cyd likes half of what they like, and half of the rest."""
    for number in range(12):
        image = store.add_image(paint(number), "fox")
        for rater in ("ann", "bob", "cyd", "dan"):
            liked = number // 2 % 2 == 0 if rater == "cyd" else number % 2 == 0
            store.vote(image, "like" if liked else "dislike", rater=rater)
    numbers = stats_of(store)
    assert disagreement_note(numbers) is None and raters_at_chance(numbers.pairs) == [("cyd", 0, 0)]
    note = chance_note(numbers)
    assert note is not None and note.startswith("cyd (kappa 0.00 to 0.00) agrees with each other rater hardly more")


def test_a_pair_and_a_few_images_name_no_rater() -> None:
    few = [Agreement(first="a", second=other, images=9, agreed=4, kappa=0.0) for other in "bc"]
    assert raters_at_chance(few) == []
    assert raters_at_chance([Agreement(first="a", second="b", images=50, agreed=25, kappa=0.0)]) == []


def test_the_mean_kappa_is_weighted_by_images_and_needs_three_raters() -> None:
    def pair(first: str, second: str, images: int, kappa: float | None) -> Agreement:
        return Agreement(first=first, second=second, images=images, agreed=0, kappa=kappa)

    # ann: (10 * 0.5 + 30 * 0.1) / 40, bob: (10 * 0.5 + 10 * 0.3) / 20, cyd: (30 * 0.1 + 10 * 0.3) / 40
    pairs = [pair("ann", "bob", 10, 0.5), pair("ann", "cyd", 30, 0.1), pair("bob", "cyd", 10, 0.3)]
    assert outlier(pairs) == ("cyd", pytest.approx(0.15))
    assert outlier(pairs[:1]) is None and outlier([]) is None
    assert outlier([pair("ann", "bob", 5, 0.2), pair("ann", "cyd", 5, 0.2), pair("bob", "cyd", 5, 0.2)]) is None
    assert outlier([*pairs, pair("dan", "ann", 5, None)]) == ("cyd", pytest.approx(0.15))
