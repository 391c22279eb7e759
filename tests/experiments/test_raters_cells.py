"""Two raters of opposite tastes: their labels in one store, and rows that judge each by their own style."""

from pathlib import Path
from typing import Any

import pytest
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.experiments import raters, raters_cells
from thumbtune.experiments.experiments import Order, check_options, perform
from thumbtune.experiments.ground_tables import SHARE, with_shares
from thumbtune.experiments.raters_cells import (
    MAJORITY,
    ONE_EACH,
    OWN,
    PER_VOTE,
    combined,
    judged_by_both,
    of_each,
    people_in,
    people_of,
    rater_cells,
    store_of_both,
)
from thumbtune.experiments.simulated_labels import PoolImage
from thumbtune.experiments.training_grid import Grid, settings_of
from thumbtune.feedback.policies import apply_policy
from thumbtune.feedback.store.store import Store
from thumbtune.training.progress import quiet


def row(cell: str, first: float, second: float, seed: int = 40, **more: Any) -> dict[str, Any]:
    """Two images, alike to each judge; the faithfulness is 0.9."""
    scores = {"judge": [first] * 2, "rater": [first + 1] * 2, "faithfulness": [0.9] * 2}
    scores |= {"judge of the second": [second] * 2, "rater of the second": [second + 3] * 2}
    return {"cell": cell, "seed": seed, "status": "trained", "scores": scores} | more


ROWS = [
    row("base", -4.0, -2.0),
    row("asked", 2.0, -5.0),
    row("asked-second", -5.0, 4.0),
    row(MAJORITY, -3.0, -1.0, likes=5, dislikes=50),
    row(PER_VOTE, -2.0, 0.0, likes=60, dislikes=130),
    row(OWN[0], 0.0, -6.0, likes=30, dislikes=66),
    row(OWN[1], -6.0, 2.0, likes=31, dislikes=65),
]


def test_each_is_judged_by_their_own_style_and_both_by_the_mean() -> None:
    found = {one["cell"]: one for one in with_shares(combined(ROWS))}
    # headroom: from the mean of -4 and -2 to that of 2 and 4, where each asks for their own
    assert (found["base"]["log_odds"], found["asked"]["log_odds"]) == (-3.0, 3.0)
    assert found[MAJORITY][SHARE] == pytest.approx(1 / 6) and found[PER_VOTE][SHARE] == pytest.approx(2 / 6)
    assert found[ONE_EACH]["log_odds"] == 1.0 and found[ONE_EACH][SHARE] == pytest.approx(4 / 6)
    assert found[ONE_EACH]["scores"]["judge"] == [0.0, 0.0, 2.0, 2.0]
    assert found[ONE_EACH]["gap"] == pytest.approx(2.0)  # the mean of 1 and 3
    assert (found[ONE_EACH]["likes"], found[ONE_EACH]["dislikes"]) == (61, 131)
    assert (found[MAJORITY]["likes"], found[MAJORITY]["dislikes"]) == (5, 50)


@pytest.mark.parametrize(("person", "own"), [(0, 4 / 6), (1, 4 / 6)])
def test_the_table_of_each_has_their_own_headroom(person: int, own: float) -> None:
    found = {one["cell"]: one[SHARE] for one in with_shares(of_each(ROWS, person)) if SHARE in one}
    assert found[ONE_EACH] == pytest.approx(own) and found[MAJORITY] == pytest.approx(1 / 6)


def test_a_training_that_failed_has_no_numbers() -> None:
    rows = [one for one in ROWS if one["cell"] != MAJORITY]
    rows.append({"cell": MAJORITY, "seed": 40, "status": "cannot be trained: no likes", "likes": 0, "dislikes": 50})
    found = {one["cell"]: one for one in with_shares(combined(rows))}
    assert found[MAJORITY]["status"] == "cannot be trained: no likes" and SHARE not in found[MAJORITY]
    assert "log_odds" in found[PER_VOTE]


def verdicts_of(rows: list[dict[str, Any]]) -> list[str]:
    shares = with_shares(combined(rows))
    named = {name: [one for one in shares if one["cell"] == name] for name in (MAJORITY, PER_VOTE, ONE_EACH)}
    return [claim.verdict for claim in raters.claims_of(named)]


def test_a_claim_needs_the_seeds_to_agree() -> None:
    seeds = [{**one, "seed": seed} for seed in (1, 2, 3) for one in ROWS]
    assert verdicts_of(seeds) == ["holds", "holds"]
    # in seed 3 one LoRA of the majority gains more than one each, and that of all votes gains less than it does
    other = [row(MAJORITY, 1.0, 3.0, seed=3) if (one["cell"], one["seed"]) == (MAJORITY, 3) else one for one in seeds]
    assert verdicts_of(other) == ["cannot be told", "holds"]


def test_people_want_opposite_styles_and_other_grounds_have_no_second() -> None:
    first, second = people_of("soft-3d")
    assert (first.wanted("frog"), second.wanted("frog")) == ("soft 3d", "flat")
    with refused("raters-no-second", UsageError, naming="conditional"):
        people_of("conditional")


@pytest.mark.parametrize("name", ["raters", "rounds"])
def test_they_need_a_ground(name: str, tmp_path: Path) -> None:
    with refused("paper-needs-ground", UsageError, naming=name):
        check_options(name, Order(folder=tmp_path))


def test_cells_have_names_of_folders_and_store_the_second_person() -> None:
    cells = rater_cells("soft-3d", 40)
    assert [cell.name for cell in cells if " " in cell.name] == []
    stored = settings_of(Grid(Order(folder=Path(), ground="soft-3d"), quiet, print), cells[-1])["facts"]
    assert (stored["each"], stored["second_noise"], stored["second"]["styles"]) == (96, 1_000_000, ["flat"])


def test_a_run_tells_whose_labels_it_has() -> None:
    told = {cell.name: people_in(cell) for cell in rater_cells("soft-3d", 40)}
    assert "soft 3d" in told[OWN[0]] and "flat" not in told[OWN[0]]
    assert "flat" in told[OWN[1]] and "soft 3d" not in told[OWN[1]]
    assert told[MAJORITY] == told[PER_VOTE] and all(style in told[MAJORITY] for style in ("soft 3d", "flat"))


def test_both_rate_the_same_images_with_errors_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    pool = [PoolImage(tmp_path / f"{i}.png", "a frog", i) for i in range(40)]
    for place, one in enumerate(pool):
        Image.new("RGB", (8, 8), (place, 0, 0)).save(one.file)
    monkeypatch.setattr(raters_cells, "pool_of", lambda lab, cell: pool)
    monkeypatch.setattr(
        raters_cells.ground_labels, "log_odds", lambda ground, images, prompts, network: [0.0] * len(images)
    )
    lab, cells = Grid(Order(folder=tmp_path / "out"), quiet, print), rater_cells("soft-3d", 40)
    store_of_both(lab, cells[-2])
    (tmp_path / "out" / "likes" / "soft-3d-both-seed-40" / raters_cells.DONE).unlink()  # as after a stop in between
    with Store.open(store_of_both(lab, cells[-1])) as store:
        votes: dict[str, list[bool]] = {}
        for label in store.labels():
            votes.setdefault(label.rater, []).append(label.liked)
        assert votes.keys() == {"simulated:soft-3d", "simulated:flat"}
        assert [len(of_rater) for of_rater in votes.values()] == [40, 40]
        assert votes["simulated:soft-3d"] != votes["simulated:flat"]  # the same odds, and other errors
        agreed = sum(a == b for a, b in zip(*votes.values(), strict=True))
        counts = [len(list(apply_policy(store.labels(), policy))) for policy in ("majority", "per-vote")]
        assert counts == [agreed, 80]
        policies = [setting for cell in cells[-2:] for setting in cell.settings if "label_policy" in setting]
        assert policies == ["label_policy=rater:simulated:soft-3d", "label_policy=rater:simulated:flat"]


@pytest.mark.slow
def test_raters_end_to_end(tmp_path: Path) -> None:
    order = Order(folder=tmp_path / "out", quick=True, ground="soft-3d")
    text = perform("raters", order, quiet, print).read_text()
    assert "one each is better than majority" in text and "share of headroom, flat" in text
    marks = [cell for cell in rater_cells("soft-3d", 40) if cell.name == "base"]
    scores = judged_by_both(Grid(order, quiet, print), marks[0])["scores"]
    assert [*scores] == ["judge", "rater", "faithfulness", "judge of the second", "rater of the second"]
    assert scores["judge"] != scores["judge of the second"]
