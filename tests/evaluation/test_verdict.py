"""Verdicts: what counts as evidence, and what does not."""

import numpy as np

from thumbtune.evaluation.statistics import compare
from thumbtune.evaluation.verdict import agreement_gate, faithfulness_gate, taste_gate, verdict

EVEN = np.full((24, 4), 0.9)


def test_a_model_that_did_not_change_is_not_said_to_be_better() -> None:
    assert verdict([faithfulness_gate(compare(EVEN, EVEN))])["improved"] is False
    assert "no evidence either way" in verdict([])["sentence"]


def test_a_clear_gain_without_loss_passes() -> None:
    said = verdict([taste_gate(compare(EVEN, EVEN + 0.1)), faithfulness_gate(compare(EVEN, EVEN))])
    assert said["improved"] is True


def test_a_gain_paid_with_faithfulness_names_what_failed() -> None:
    said = verdict([taste_gate(compare(EVEN, EVEN + 0.1)), faithfulness_gate(compare(EVEN, EVEN * 0.94))])
    assert said == {
        "improved": False,
        "sentence": "Tuning is not shown to have helped: faithfulness did not pass.",
    }


def test_one_prompt_is_never_enough_however_clear_it_looks() -> None:
    assert not taste_gate(compare([[0.0, 0.0, 0.0, 0.0]], [[1.0, 1.0, 1.0, -1.0]])).passed


def test_a_faithfulness_of_nothing_cannot_be_kept() -> None:
    assert not faithfulness_gate(compare(EVEN * 0, EVEN * 0)).passed


def test_a_loss_that_may_be_too_large_cannot_be_told() -> None:
    uneven = EVEN.copy()
    uneven[: len(EVEN) // 4] *= 0.85  # 3.75 % lost, by a quarter of the prompts
    gate = faithfulness_gate(compare(EVEN, uneven))
    assert (gate.passed, gate.enough) == (False, False)


def test_agreement_over_few_prompts_does_not_pass() -> None:
    few = {"auc": 1.0, "low": 1.0, "high": 1.0, "images": 40, "liked": 20, "prompts": 4}
    assert not agreement_gate(few).passed
    assert "10 prompts are needed" in agreement_gate(few).sentence
    assert agreement_gate(few | {"prompts": 12}).passed


def test_held_out_thumbs_do_not_judge_what_never_set_likes_against_dislikes() -> None:
    told = {"auc": 0.1, "low": 0.0, "high": 0.2, "images": 120, "liked": 60, "prompts": 40}
    assert agreement_gate(told).enough and not agreement_gate(told).passed
    gate = agreement_gate(told, contrasts=False)
    assert not gate.enough and not gate.passed and "name a taste" in gate.sentence
    assert "too little to tell" in verdict([gate])["sentence"]
