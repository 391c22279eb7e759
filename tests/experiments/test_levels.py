"""Where over the noise levels a tuning acts: the curves, the claims on rows made by hand, and a quick run."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.experiments import levels, levels_cells
from thumbtune.experiments.experiments import Order, check_options, perform
from thumbtune.experiments.levels import ABOVE, BELOW, BIAS, DISLIKES, LEAD, NEITHER, PAPER, TAKEN
from thumbtune.experiments.methods import method_cells
from thumbtune.experiments.noise_curves import LEVELS, curves_of, measure_curves
from thumbtune.runs.recipe import parse_recipe, with_settings
from thumbtune.training.progress import quiet


def test_curves_by_hand() -> None:
    reference, policy = torch.tensor([[1.0, 3.0], [0.1, 0.1]]), torch.tensor([[0.5, 3.5], [0.1, 0.2]])
    curves = curves_of(reference, policy, torch.tensor([[0.2, 0.6], [0.0, 0.1]]))
    assert curves.log_ratios.tolist() == [pytest.approx([0.25, -0.25]), pytest.approx([0.0, -1.0])]
    assert curves.moved.tolist() == pytest.approx([0.2, 0.5])
    assert curves.margin(torch.tensor([True, False])).tolist() == pytest.approx([0.5, 1.0])
    assert all(math.isnan(value) for value in curves.margin(torch.tensor([True, True])).tolist())


class Scaled:
    """A model whose policy predicts the noise times a factor, and whose reference predicts nothing."""

    def __init__(self, process: Any, factor: float) -> None:
        self.process, self.factor, self.is_reference = process, factor, False

    def embed(self, prompts: Any) -> dict[str, torch.Tensor]:
        return {"text": torch.zeros(len(prompts), 1)}

    def predict(self, noisy: torch.Tensor, t: torch.Tensor, condition: Any) -> torch.Tensor:
        assert len(condition["text"]) == len(noisy)
        # the images are zero, so a noisy image is the noise times its spread
        spread = (1 - self.process.alphas_cumprod[t]).sqrt().reshape(-1, 1, 1)
        return torch.zeros_like(noisy) if self.is_reference else self.factor * noisy / spread

    def reference(self) -> Any:
        from contextlib import contextmanager

        @contextmanager
        def inside() -> Any:
            self.is_reference = True
            yield
            self.is_reference = False

        return inside()


def test_a_policy_that_finds_a_part_of_the_noise_has_the_curves_of_its_formula() -> None:
    from thumbtune.models.process import VPProcess

    process = VPProcess(torch.linspace(0.999, 0.01, 1000))
    curves = measure_curves(Scaled(process, 0.5), torch.zeros(40, 3, 5), ["a"] * 40, seed=0)  # type: ignore[arg-type]
    # errors: reference |noise|^2, policy |noise / 2|^2, so 3/4 of it is gone; the distance is |noise / 2|^2
    assert curves.log_ratios.shape == (len(LEVELS), 40)
    assert curves.log_ratios.mean(1).tolist() == pytest.approx([0.75] * len(LEVELS), abs=1e-5)
    assert curves.moved.tolist() == pytest.approx([0.25] * len(LEVELS), abs=1e-5)
    again, other = (
        measure_curves(Scaled(process, 0.5), torch.zeros(40, 3, 5), ["a"] * 40, seed)  # type: ignore[arg-type]
        for seed in (0, 1)
    )
    assert torch.equal(again.log_ratios, curves.log_ratios) and not torch.equal(other.log_ratios, curves.log_ratios)


def row(name: str, seed: int, log_odds: float, high: float = 0.0, low: float = 0.0) -> dict[str, Any]:
    margins = {"margin_high": high, "margin_low": low}
    return {"cell": name, "seed": seed, "log_odds": log_odds, levels.SHARE: log_odds / 4, **margins}


def named_of(*rows: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    named: dict[str, list[dict[str, Any]]] = {}
    for one in rows:
        named.setdefault(one["cell"], []).append(one)
    return named


def test_the_interaction_is_what_both_levers_add_beyond_their_sum() -> None:
    values = {LEAD: 3.0, BIAS: 1.0, DISLIKES: 0.5, NEITHER: 0.75}
    named = named_of(*(row(name, seed, value + seed) for seed in (1, 2, 3) for name, value in values.items()))
    assert levels.interaction(named) == pytest.approx([2.25] * 3)
    claim = levels.claim_levers_interact(named)
    assert claim.verdict == "holds" and "with the bias +2.00" in claim.evidence and "without -0.25" in claim.evidence
    for one in named[LEAD]:
        one["log_odds"] -= 3.0
    assert levels.claim_levers_interact(named).verdict == "does not hold"


def test_seeds_that_lack_a_setting_are_left_out_of_the_interaction() -> None:
    named = named_of(*(row(name, seed, 1.0) for seed in (1, 2) for name in (LEAD, BIAS, DISLIKES, NEITHER)))
    named[BIAS].pop()
    assert levels.interaction(named) == [0.0]


def test_the_margin_is_compared_at_high_noise() -> None:
    rows = [row(LEAD, seed, 1, high=0.2 + seed / 100, low=0.1) for seed in (1, 2, 3)]
    rows += [row(PAPER, seed, 1, high=0.1, low=0.3) for seed in (1, 2, 3)]
    claim = levels.claim_margin(named_of(*rows))
    assert claim.verdict == "holds" and "lower half -0.2" in claim.evidence
    swapped = [{**one, "cell": PAPER if one["cell"] == LEAD else LEAD} for one in rows]
    assert levels.claim_margin(named_of(*swapped)).verdict == "does not hold"


def test_a_correlation_forgets_what_a_whole_seed_has() -> None:
    rows = [row(name, seed, value + 100 * seed, high=value / 7 - seed, low=-value) for seed in (1, 2)
            for name, value in ((PAPER, 1.0), (LEAD, 2.5), (ABOVE, 2.0))]  # fmt: skip
    named = named_of(*rows)
    assert levels.correlation(named, "margin_high") == pytest.approx(1)
    assert levels.correlation(named, "margin_low") == pytest.approx(-1)
    assert "+1.00" in levels.correlation_note(named) and "-1.00" in levels.correlation_note(named)
    assert levels.correlation(named_of(row(PAPER, 1, 1.0)), "margin_high") is None
    assert levels.correlation({PAPER: [{"cell": PAPER, "seed": 1}]}, "margin_high") is None


def test_settings_are_recipes_that_differ_by_the_two_levers_and_the_window() -> None:
    recipes = {name: parse_recipe(with_settings({}, list(one.settings)), name) for name, one in TAKEN.items()}
    four = {name: (recipes[name].train.timestep_bias, recipes[name].train.liked_share) for name in recipes}
    assert (four[NEITHER], four[BIAS], four[DISLIKES], four[LEAD]) == ((1, 0.8), (3, 0.8), (1, 0.5), (3, 0.5))
    assert {recipes[name].objective.beta for name in recipes if name != PAPER} == {250}
    windows = {name: tuple(recipes[name].train.disliked_timesteps) for name in recipes}
    assert (windows[ABOVE], windows[BELOW], windows[LEAD]) == ((0.5, 1), (0, 0.5), (0, 1))
    cells = method_cells(Order(folder=Path(), ground="soft-3d"), range(40, 41), TAKEN)
    assert [cell.name for cell in cells if " " in cell.name] == [] and cells[-1].facts == levels_cells.FACTS


def test_it_needs_a_ground() -> None:
    with refused("paper-needs-ground", UsageError, naming="levels"):
        check_options("levels", Order(folder=Path()))


@pytest.mark.slow
def test_a_quick_run_measures_and_a_second_one_keeps(tmp_path: Path) -> None:
    order = Order(folder=tmp_path / "out", quick=True, ground="soft-3d", only=(PAPER, LEAD))
    page = perform("levels", order, quiet, lambda line: None)
    row = json.loads((order.folder / "runs" / "lead-seed-40" / "row.json").read_text())["row"]
    assert len(row["levels"]["moved"]) == len(LEVELS) and min(row["levels"]["moved"]) > 0
    assert row["moved_high"] == pytest.approx(sum(row["levels"]["moved"][4:]) / 4, abs=1e-4)
    images = sorted((order.folder / "pools" / "unrated-seed-40").iterdir())
    assert len(images) == 6 * levels_cells.PER_PROMPT
    lines: list[str] = []
    assert perform("levels", order, quiet, lines.append) == page
    assert sum("finished before" in line for line in lines) == 4
