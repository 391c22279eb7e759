"""Comparisons in pairs: the class of each image, the three policies, and the tally that holds a million of them."""

import sqlite3
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.source import PairPolicy
from thumbtune.feedback.sources.preferences import (
    IMAGE_CLASSES,
    LABELS,
    Comparison,
    ComparisonCounts,
    ComparisonResult,
    ImageClass,
    class_of,
    labels_under,
)
from thumbtune.feedback.sources.tally import Standing, Tally, key_of

Image = tuple[str, str]
NOON = datetime(2023, 4, 5, 12, tzinfo=UTC)


def compared(a: str, b: str, result: ComparisonResult, user: str | None = None, prompt: str = "fox") -> Comparison:
    return Comparison(prompt=prompt, a=a, b=b, result=result, user=user)


def standings(*comparisons: Comparison) -> dict[str, Standing | None]:
    """Of all images of the prompt fox."""
    with Tally() as tally:
        for comparison in comparisons:
            tally.add(comparison)
        names = sorted({name for one in comparisons for name in (one.a, one.b)})
        return {name: tally.take("fox", name) for name in names}


# --- classes and policies


@pytest.mark.parametrize(
    ("wins", "losses", "split"),
    [
        (1, 0, "exclusive_win"),
        (7, 0, "exclusive_win"),
        (1, 1, "intersections"),
        (1, 9, "intersections"),
        (0, 1, "exclusive_lose"),
        (0, 0, None),
    ],
)
def test_the_class_of_an_image(wins: int, losses: int, split: ImageClass | None) -> None:
    assert class_of(wins, losses) == split


@pytest.mark.parametrize(
    ("policy", "labels"),
    [
        ("w_l", [True, None, False]),  # intermediate images dropped
        ("wi_l", [True, True, False]),  # intermediate images liked: the paper's
        ("w_il", [True, False, False]),  # intermediate images disliked
    ],
)
def test_the_policies_of_the_authors(policy: PairPolicy, labels: list[bool | None]) -> None:
    assert [labels_under(policy)[split] for split in ("exclusive_win", "intersections", "exclusive_lose")] == labels


def test_every_policy_labels_every_class() -> None:
    assert tuple(LABELS) == get_args(PairPolicy)
    assert all(set(labels) == set(IMAGE_CLASSES) for labels in LABELS.values())


def test_another_policy() -> None:
    with refused("pair-policy-unknown", naming=["'gt_label_w_l'", "w_l, wi_l, w_il"]):
        labels_under("gt_label_w_l")  # type: ignore[arg-type]


def test_counts_by_hand() -> None:
    of_each = {"exclusive_win": 4, "intersections": 3, "exclusive_lose": 9, "only_tied": 2}
    w_l, wi_l, w_il = (ComparisonCounts(policy=policy, **of_each) for policy in get_args(PairPolicy))  # type: ignore[arg-type]
    assert [(each.likes, each.dislikes, each.left_out) for each in (w_l, wi_l, w_il)] == [
        (4, 9, 5),
        (7, 9, 2),
        (4, 12, 2),
    ]
    assert (w_l.liked_share, wi_l.liked_share, w_il.liked_share) == (4 / 13, 7 / 16, 0.25)
    assert ComparisonCounts(policy="wi_l", only_tied=1).liked_share is None


def test_the_share_of_likes_in_the_paper() -> None:
    """237,530 desirable and 690,538 undesirable images, 928,068 together: 26 % are liked."""
    paper = ComparisonCounts(policy="wi_l", exclusive_win=200_000, intersections=37_530, exclusive_lose=690_538)
    assert (paper.likes, paper.dislikes, paper.likes + paper.dislikes) == (237_530, 690_538, 928_068)
    assert paper.liked_share == pytest.approx(0.26, abs=0.005)


# --- the tally


def test_a_tally_by_hand() -> None:
    found = standings(
        compared("a", "b", "a"),
        compared("a", "c", "b"),
        compared("c", "d", "tie"),
        compared("e", "d", "tie"),
        compared("e", "d", "tie"),
    )
    splits = {name: standing.image_class for name, standing in found.items() if standing}
    assert splits == {"a": "intersections", "b": "exclusive_lose", "c": "exclusive_win", "d": None, "e": None}
    assert [(one.wins, one.losses, one.ties) for one in found.values() if one] == [
        (1, 1, 0),
        (0, 1, 0),
        (1, 0, 1),
        (0, 0, 3),
        (0, 0, 2),
    ]


def test_an_image_is_taken_once() -> None:
    with Tally() as tally:
        tally.add(compared("a", "b", "b"))
        assert tally.take("fox", "a") is not None
        assert tally.take("fox", "a") is None
        assert tally.take("hare", "b") is None, "no comparison for this prompt"
        assert tally.take("fox", "b") is not None


def test_one_image_under_two_prompts_is_two() -> None:
    with Tally() as tally:
        tally.add(compared("a", "b", "a", prompt="fox"))
        tally.add(compared("a", "b", "b", prompt="hare"))
        both = [tally.take(prompt, "a") for prompt in ("fox", "hare")]
    assert [one.image_class for one in both if one] == ["exclusive_win", "exclusive_lose"]


def test_prompt_and_name_do_not_run_into_each_other() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")
    assert key_of("1:a", "b") != key_of("", "1:ab")
    assert len({key_of("fox", name) for name in ("a\ud800", "a\udfff", "a")}) == 3, "half characters too"


@pytest.mark.parametrize(
    ("users", "rater"),
    [
        (("ann", "ann"), "ann"),
        (("ann", "ben"), None),
        (("ann", None), None),
        ((None, "ann"), None),
        ((None, None), None),
    ],
)
def test_the_one_who_decided_all_comparisons_of_an_image(users: tuple[str | None, ...], rater: str | None) -> None:
    comparisons = [compared("a", f"b{n}", "a", user) for n, user in enumerate(users)]
    found = standings(*comparisons, compared("a", "z", "tie", "cat"))
    assert found["a"] is not None and found["a"].user == rater, "a tie decides nothing, whoever says it"


def test_images_that_met_each_other_alone_are_a_pair() -> None:
    found = standings(
        compared("a", "b", "a"),
        compared("b", "a", "a"),
        compared("c", "d", "a"),
        compared("c", "e", "a"),
        compared("b", "e", "tie"),
    )
    pairs = {name: standing.pair for name, standing in found.items() if standing}
    assert pairs["a"] is not None and pairs["a"] == pairs["b"]
    assert [pairs[name] for name in "cde"] == [None, None, None]
    other = standings(compared("b", "a", "b"))
    assert other["a"] is not None and other["a"].pair == pairs["a"], "the same on every pass"


def test_when_an_image_was_last_judged() -> None:
    tokyo = timezone(timedelta(hours=9))
    with Tally() as tally:
        tally.add(compared("a", "b", "a"), NOON)
        tally.add(compared("a", "c", "a"), datetime(2023, 4, 5, 20, 59, tzinfo=tokyo))  # 11:59 in UTC
        tally.add(compared("d", "b", "a"))
        last = [tally.take("fox", name) for name in "abcd"]
    assert [one.judged_at for one in last if one] == [NOON, NOON, NOON - timedelta(minutes=1), None]


def test_counts_of_a_tally() -> None:
    with Tally() as tally:
        assert tally.counts("wi_l") == ComparisonCounts(policy="wi_l")
        for pair, result in (("ab", "a"), ("ac", "b"), ("cd", "tie"), ("ed", "tie"), ("aa", "a")):
            tally.add(compared(*pair, result))  # type: ignore[arg-type]
        tally.leave_out("unlabelled")
        tally.leave_out("unusable")
        tally.take("fox", "a")
        counts = tally.counts("w_il")
    assert counts == ComparisonCounts(
        policy="w_il",
        comparisons=2,
        ties=2,
        unlabelled=1,
        alike=1,
        unusable=1,
        exclusive_win=1,
        intersections=1,
        exclusive_lose=1,
        only_tied=2,
    )


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    with Tally() as tally:
        tally.add(compared("a", "b", "a"))
        (pages,) = tally._images.execute("PRAGMA page_count").fetchone()
        tally._images.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(ThumbtuneError, match=r"temporary file \(.*full\); free space on that disk"):
            for number in range(1000):
                tally.add(compared("a", f"b{number}", "a"))


def test_the_tally_is_gone_once_it_is_closed() -> None:
    with Tally() as tally:
        pass
    with pytest.raises(ThumbtuneError, match="closed"):
        tally.add(compared("a", "b", "a"))
    with pytest.raises(sqlite3.ProgrammingError):
        tally._images.execute("SELECT 1")


def test_images_are_on_disk_and_not_in_memory() -> None:
    with Tally() as tally:
        tally.add(compared("first", "second", "a"))
        tracemalloc.start()
        try:
            for number in range(3000):
                tally.add(compared(f"{number:032}", f"{number + 1:032}", "a"))
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert tally.counts("wi_l").intersections == 2999
    assert grown < 50_000, "3,000 names alone are 240,000 bytes"


# --- whatever is compared

COMPARISONS = st.lists(
    st.builds(
        Comparison,
        prompt=st.sampled_from(["fox", "hare"]),
        a=st.sampled_from("abcde"),
        b=st.sampled_from("abcde"),
        result=st.sampled_from(get_args(ComparisonResult)),
        user=st.sampled_from([None, "ann", "ben"]),
    ),
    max_size=25,
)


def by_brute_force(comparisons: list[Comparison]) -> dict[Image, tuple[int, int]]:
    """Wins and losses of every image that was compared with another."""
    found: dict[Image, tuple[int, int]] = {}
    for one in comparisons:
        if one.a != one.b:
            for name, side in ((one.a, "a"), (one.b, "b")):
                wins, losses = found.get((one.prompt, name), (0, 0))
                found[one.prompt, name] = (
                    wins + (one.result == side),
                    losses + (one.result not in ("tie", side)),
                )
    return found


def tallied(comparisons: list[Comparison]) -> Tally:
    tally = Tally()
    for comparison in comparisons:
        tally.add(comparison)
    return tally


@given(COMPARISONS)
def test_a_tally_agrees_with_brute_force(comparisons: list[Comparison]) -> None:
    expected = by_brute_force(comparisons)
    with tallied(comparisons) as tally:
        counts = tally.counts("wi_l")
        found = {(prompt, name): tally.take(prompt, name) for prompt in ("fox", "hare") for name in "abcde"}
    assert {image: (one.wins, one.losses) for image, one in found.items() if one} == expected
    splits = [class_of(*score) for score in expected.values()]
    assert [getattr(counts, split) for split in IMAGE_CLASSES] == [splits.count(split) for split in IMAGE_CLASSES]
    assert counts.only_tied == splits.count(None)
    assert counts.comparisons + counts.ties + counts.alike == len(comparisons)


@given(COMPARISONS)
def test_how_the_policies_relate(comparisons: list[Comparison]) -> None:
    liked: dict[PairPolicy, set[Image]] = {}
    disliked: dict[PairPolicy, set[Image]] = {}
    expected = by_brute_force(comparisons)
    for policy in get_args(PairPolicy):
        with tallied(comparisons) as tally:
            taken = {image: tally.take(*image) for image in expected}
            counts = tally.counts(policy)
        labels = {
            image: labels_under(policy)[one.image_class] for image, one in taken.items() if one and one.image_class
        }
        liked[policy] = {image for image, label in labels.items() if label is True}
        disliked[policy] = {image for image, label in labels.items() if label is False}
        assert (counts.likes, counts.dislikes) == (len(liked[policy]), len(disliked[policy]))
        assert counts.likes + counts.dislikes + counts.left_out == len(expected)
        assert not liked[policy] & disliked[policy]
    assert liked["w_l"] == liked["w_il"]
    assert disliked["w_l"] == disliked["wi_l"]
    assert liked["wi_l"] | disliked["wi_l"] == liked["w_il"] | disliked["w_il"]
    assert liked["wi_l"] - liked["w_il"] == disliked["w_il"] - disliked["wi_l"], "the intermediate ones"
    assert liked["wi_l"] == {image for image, (wins, _) in expected.items() if wins}, "preferred at least once"
    assert disliked["w_il"] == {image for image, (_, losses) in expected.items() if losses}


@given(COMPARISONS)
def test_the_order_of_comparisons_does_not_matter(comparisons: list[Comparison]) -> None:
    with tallied(comparisons) as forth, tallied(comparisons[::-1]) as back:
        assert forth.counts("wi_l") == back.counts("wi_l")
        for image in by_brute_force(comparisons):
            assert forth.take(*image) == back.take(*image)
