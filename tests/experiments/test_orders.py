"""Which images to judge next: the orders choose different images of one pool, and equal votes are compared."""

import json
from pathlib import Path
from typing import Any

import pytest

from thumbtune.experiments import orders
from thumbtune.experiments.experiments import Order, perform
from thumbtune.experiments.ground_tables import SHARE
from thumbtune.experiments.orders import claims_of, name_of, savings, votes_needed
from thumbtune.experiments.orders_cells import least_certain, shuffled
from thumbtune.experiments.simulated_labels import PoolImage
from thumbtune.feedback.store.store import Store
from thumbtune.training.progress import quiet

POOL = [PoolImage(Path(f"{number}.png"), "a fox", number) for number in range(20)]


def test_the_least_certain_come_first_and_unmeasured_ones_last() -> None:
    values = {one.file.name: abs(place - 7.25) for place, one in enumerate(POOL)}
    del values["3.png"]
    assert [one.seed for one in least_certain(POOL, values)][:4] == [7, 8, 6, 9]
    assert least_certain(POOL, values)[-1].seed == 3


def test_a_random_order_is_one_of_the_seed_and_takes_each_image_once() -> None:
    assert shuffled(POOL, 1) == shuffled(POOL, 1) != shuffled(POOL, 2)
    assert sorted(one.seed for one in shuffled(POOL, 1)) == list(range(20))
    assert shuffled(POOL, 1) != POOL


def test_votes_needed_lie_on_the_straight_lines_of_a_curve() -> None:
    votes, shares = [10, 20, 40], [0.0, 0.5, 0.4]
    assert votes_needed(votes, shares, -1) == 10
    assert votes_needed(votes, shares, 0.25) == 15
    assert votes_needed(votes, shares, 0.5) == 20
    assert votes_needed(votes, shares, 0.6) is None


def rows_of(**shares: float) -> dict[str, list[dict[str, Any]]]:
    """Three seeds of each setting, whose shares differ by a little."""
    return {
        name_of(*_parts(key)): [
            {
                "seed": seed,
                SHARE: share + 0.001 * seed,
                "log_odds": share,
                "faithfulness": 0.9,
                "scores": {"judge": [0]},
            }
            for seed in (-1, 0, 1)
        ]
        for key, share in shares.items()
    }


def _parts(key: str) -> tuple[str, int]:
    name, _, count = key.partition("_")
    return name, int(count)


def test_savings_and_claims_compare_equal_votes() -> None:
    named = rows_of(first_10=0.0, random_20=0.2, random_40=0.4, uncertain_20=0.3, uncertain_40=0.5)
    told = savings(named, 10, (20, 40))
    assert [row["uncertain votes"] for row in told] == [20, 40]
    assert [row["random votes for as much"] for row in told] == ["30", "more than were tried"]
    found = {claim.statement: claim.verdict for claim in claims_of(named, (20, 40))}
    assert found == {
        "uncertain, 20 votes is better than random, 20 votes": "holds",
        "uncertain, 40 votes is better than random, 40 votes": "holds",
    }
    assert savings({}, 10, (20,)) == [] and claims_of({}, (20,)) == []


@pytest.mark.slow
def test_orders_end_to_end(tmp_path: Path) -> None:
    lines: list[str] = []
    order = Order(folder=tmp_path / "out", quick=True, ground="soft-3d")
    text = perform("orders", order, quiet, lines.append).read_text()
    assert "uncertain, 12 votes is better than random, 12 votes" in text and "Votes that the order saves" in text
    likes = tmp_path / "out" / "likes"

    def judged(name: str) -> set[str]:
        with Store.open(likes / f"soft-3d-{name}-seed-40" / "store") as store:
            counts = store.counts()
        assert counts.likes + counts.dislikes == int(name[-3:])
        metadata = (likes / f"soft-3d-{name}-seed-40" / "thumbs" / "metadata.jsonl").read_text()
        return {json.loads(line)["file_name"] for line in metadata.splitlines()}

    first, random, uncertain = (judged(name) for name in ("first-009", "random-012", "uncertain-012"))
    assert first < random and first < uncertain
    values = json.loads((likes / "soft-3d-first-009-seed-40" / "uncertainty.json").read_text())
    assert values.keys().isdisjoint(first) and len(values) == 9
    assert uncertain - first == set(sorted(values, key=lambda name: values[name])[:3])
    again: list[str] = []
    perform("orders", order, quiet, again.append)
    assert sum("finished before" in line for line in again) == len(orders.cells(order)) == 5
