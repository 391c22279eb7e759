"""Claims and notes of pages on a ground, from rows that are made by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from thumbtune.experiments import draws, few_on_ground, noise_on_ground
from thumbtune.experiments.experiments import Order
from thumbtune.experiments.ground_cells import means_of
from thumbtune.experiments.ground_pages import GroundPage, cut_off_note, ground_result, seeds_note
from thumbtune.experiments.ground_tables import SHARE
from thumbtune.experiments.methods import LEAD, PAPER


def rows_of(cell: str, shares: Sequence[float], cut_off: int = 0, first: int = 40) -> list[dict[str, Any]]:
    """Return a row for each seed, with 4 images of which the rater's log-odds are cut off on some."""
    scores = {"rater": [6.0] * cut_off + [1.0] * (4 - cut_off), "faithfulness": [0.99] * 4}
    return [
        {"cell": cell, "method": cell, "seed": first + place, "status": "trained", SHARE: share}
        | means_of(scores | {"judge": [5 * share - 3] * 4})
        for place, share in enumerate(shares)
    ]


CLEAN, LESS, WORSE = [0.5, 0.51, 0.52], [0.45, 0.46, 0.47], [-0.5, -0.51, -0.52]


@pytest.mark.parametrize(
    ("clean", "wrong", "verdict"),
    [
        (CLEAN, LESS, "holds"),
        (CLEAN, [0.2, 0.21, 0.22], "does not hold"),
        (WORSE, [-0.1, -0.11, -0.12], "does not hold"),  # more than 0.8 times a loss is no gain that was kept
        ([0.5, -0.5, 0.1], [0.6, -0.2, 0.3], "cannot be told"),
    ],
)
def test_only_a_gain_can_be_kept(clean: list[float], wrong: list[float], verdict: str) -> None:
    named = {
        noise_on_ground.name_of(PAPER, share): rows_of(PAPER, shares) for share, shares in ((0, clean), (0.2, wrong))
    }
    assert noise_on_ground.claim_keeps(named, PAPER).verdict == verdict


@pytest.mark.parametrize(
    ("few", "verdict"),
    [
        ([0.45, 0.44, 0.48], "holds"),  # 0.05, 0.07 and 0.04 lower
        ([0.3, 0.31, 0.32], "does not hold"),
        ([0.2, 0.8, 0.5], "cannot be told"),
    ],
)
def test_few_draws_may_lose_a_tenth_of_the_headroom(few: list[float], verdict: str) -> None:
    named = {draws.name_of(count): rows_of("draws", shares) for count, shares in ((4, few), (0, CLEAN))}
    assert draws.claim_keeps(named, 4).verdict == verdict


def test_half_the_labels_are_compared_where_there_are_halves() -> None:
    def named(lead: Sequence[float], paper: Sequence[float]) -> dict[str, list[dict[str, Any]]]:
        return {
            few_on_ground.name_of(method, count): rows_of(method, shares)
            for method, shares in ((LEAD, lead), (PAPER, paper))
            for count in (24, 48)
        }

    def found(lead: Sequence[float], paper: Sequence[float], counts: Sequence[int]) -> str:
        return few_on_ground.claim_half_suffices(named(lead, paper), LEAD, counts).verdict

    assert found(CLEAN, LESS, (24, 48)) == "holds"
    assert found(WORSE, LESS, (24, 48)) == "does not hold"
    assert found([0.5, -0.5, 0.1], LESS, (24, 48)) == "cannot be told"
    assert found(CLEAN, LESS, (24,)) == "cannot be told"  # no number is half of another
    claim = few_on_ground.claim_half_suffices(named(CLEAN, LESS), LEAD, (24, 48))
    assert "best of 1 comparisons" in claim.criterion and "24 against 48: log-odds +0.25" in claim.evidence


def test_a_method_that_was_added_after_rows_were_seen_is_named() -> None:
    rows = [*rows_of(PAPER, CLEAN), *rows_of("alignprop", CLEAN), *rows_of("alignprop-stopped", CLEAN)]
    assert "But alignprop-stopped was added after the rows of seed 40 were seen" in seeds_note(rows)
    assert seeds_note(rows[:-3]).endswith("No setting was chosen on seeds from 40 on.")
    assert "But" not in seeds_note(rows_of("alignprop-stopped", CLEAN, first=41))


def test_the_page_counts_the_values_that_are_cut_off() -> None:
    named = {PAPER: rows_of(PAPER, CLEAN), "alignprop": rows_of("alignprop", CLEAN, cut_off=3)}
    note = cut_off_note(named, rows_of("base", [0.0, 0.0], cut_off=1))
    assert "25% of the images of the base model, and on 75% of alignprop, the most of all" in note


@pytest.mark.parametrize("pairs", [True, False])
def test_a_page_with_a_table_of_pairs_says_that_chance_gives_verdicts(pairs: bool) -> None:
    marks = [*rows_of("base", [0.0] * 3), *rows_of("asked", [1.0] * 3)]
    named = {PAPER: rows_of(PAPER, CLEAN), LEAD: rows_of(LEAD, LESS)}
    page = GroundPage(title="A page", figure=None, caption="", claims=(), pairs=pairs)
    order = Order(folder=Path(), ground="soft-3d")
    notes = ground_result(order, [*marks, *named[PAPER], *named[LEAD]], named, {"method": "method"}, page).notes
    assert any("of 40 claims between equal methods, about one looks true" in note for note in notes)
    assert any("arise by chance" in note for note in notes) is pairs
