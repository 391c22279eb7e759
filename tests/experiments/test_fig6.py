"""Figure 6: verdicts follow the samples, whichever way these fall; and the experiment itself at small size."""

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from thumbtune.experiments import fig6
from thumbtune.experiments.experiments import Order, perform
from thumbtune.experiments.fig6 import AVERSE, KT, NAMES, SEEKING, SMALL, RatedPlanes, claims_of
from thumbtune.experiments.toy_gaussians import Gaussian, measures
from thumbtune.training.progress import quiet

COUNT = 400
UP = Gaussian(0.3, 0.87, 0.003)  # in the disc of P_d, away from P_u
GONE = Gaussian(0.3, 1.4, 0.003)
WIDE = Gaussian(0.3, 0.77, 0.011)  # what SFT would draw: P_d, with no regard to P_u
AS_IN_THE_PAPER = {"sft": WIDE, AVERSE: GONE, "dpo": GONE, SEEKING: Gaussian(0.3, 0.75, 0.011), KT: UP}
OTHERWISE = {"sft": WIDE, AVERSE: UP, "dpo": UP, SEEKING: GONE, KT: WIDE}


def clouds(models: dict[str, Gaussian], seeds: int = 4) -> dict[str, Tensor]:
    def drawn(name: str, seed: int) -> Tensor:
        return models[name].sample(COUNT, torch.Generator().manual_seed(10 * seed + list(models).index(name)))

    return {name: torch.stack([drawn(name, seed) for seed in range(seeds)]) for name in models}


def test_all_five_claims_hold_of_samples_that_fall_as_the_paper_says() -> None:
    assert [claim.verdict for claim in claims_of(clouds(AS_IN_THE_PAPER))] == ["holds"] * 5


def test_none_holds_of_samples_that_fall_otherwise() -> None:
    assert [claim.verdict for claim in claims_of(clouds(OTHERWISE))] == ["does not hold"] * 5


def test_one_seed_decides_nothing() -> None:
    assert [claim.verdict for claim in claims_of(clouds(AS_IN_THE_PAPER, seeds=1))] == ["cannot be told"] * 5


def test_every_objective_sees_as_many_points_of_the_kinds_it_needs() -> None:
    planes = RatedPlanes([0], SMALL)
    likes = {name: next(planes.batches_for(name, SMALL)).liked for name in NAMES}
    assert {tuple(liked.shape) for liked in likes.values()} == {(1, SMALL.batch)}
    assert {name: int(liked.sum()) for name, liked in likes.items()} == {
        "sft": 32, AVERSE: 26, "dpo": 16, SEEKING: 26, KT: 26
    }  # fmt: skip
    assert next(planes.batches_for("dpo", SMALL)).partner is not None


@pytest.mark.slow
def test_kahneman_tversky_moves_samples_towards_the_desirable_and_away_from_the_undesirable() -> None:
    planes = RatedPlanes(range(2), SMALL)
    before = [measures(points) for points in planes.samples(COUNT)]
    after = [measures(points) for points in planes.tune_and_sample(KT, SMALL, (SMALL.steps,), COUNT)[SMALL.steps]]
    for old, new in zip(before, after, strict=True):
        assert new["displacement"] < 0.6 * old["displacement"]
        assert new["nearer P_u"] < 0.6 * old["nearer P_u"]
        assert new["log-density"] > old["log-density"] + 1


def test_a_seed_draws_the_same_whoever_is_beside_it() -> None:
    alone, beside = RatedPlanes([1], SMALL), RatedPlanes([0, 1], SMALL)
    assert torch.equal(alone.liked[0], beside.liked[1])
    assert torch.equal(next(alone.batches_for(KT, SMALL)).noise[0], next(beside.batches_for(KT, SMALL)).noise[1])
    assert torch.allclose(alone.samples(50)[0], beside.samples(50)[1], atol=1e-3)


@pytest.mark.slow
def test_equal_seeds_give_equal_files_and_the_table_has_every_measure(tmp_path: Path) -> None:
    pages = [perform("fig6", Order(folder=tmp_path / name, quick=True), quiet, lambda text: None) for name in "ab"]
    for name in ("figure.png", "figure.svg", "table.csv", "table.md", "page.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    rows = list(csv.DictReader((tmp_path / "a" / "table.csv").read_text().splitlines()))
    assert [row["model"] for row in rows] == ["P_d itself", "reference", *NAMES]
    for measure in ("log-density", "nearer P_u", "displacement"):
        for row in rows[1:]:
            assert float(row[f"{measure}, low"]) <= float(row[measure]) <= float(row[f"{measure}, high"])
    assert pages[0].read_text().count("→ **") == 5
    assert json.loads((tmp_path / "a" / "provenance.json").read_text())["quick"] is True


def test_sft_and_dpo_are_not_trained_again_where_nothing_changes_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def tune_and_sample(
        planes: RatedPlanes, name: str, setting: fig6.Setting, at: tuple[int, ...], count: int
    ) -> dict[int, Tensor]:
        asked.append(name)
        return {step: torch.rand(1, 20, 2, generator=torch.Generator().manual_seed(0)) for step in at}

    monkeypatch.setattr(RatedPlanes, "tune_and_sample", tune_and_sample)
    rows = fig6.verdicts_elsewhere(RatedPlanes([0], SMALL), quiet, lambda text: None, small=False)
    assert len(rows) == len(fig6.OTHER_BETAS) * len(fig6.OTHER_SHARES) * len(fig6.OTHER_STEPS)
    assert [asked.count(name) for name in NAMES] == [1, 9, 3, 9, 9]


def test_settings_that_are_the_same_for_a_claim_count_once_in_its_note() -> None:
    """By hand: two betas, three shares, two numbers of steps; claim 2 knows no share and holds at beta 1 alone."""
    rows = [
        {"beta": beta, "liked share": share, "steps": steps}
        | {f"claim {i}": "holds" if beta == 1 else "does not hold" for i in range(1, 6)}
        for beta in (1, 2)
        for share in (0.2, 0.5, 0.8)
        for steps in (10, 20)
    ]
    assert "holds: 6 of 12 (1), 2 of 4 (2), 6 of 12 (3), 6 of 12 (4), 6 of 12 (5)" in fig6.count_verdicts(rows)
