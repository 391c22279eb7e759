"""Guards on lists of numbers: each stops bad numbers at the right step, and none stops healthy ones."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from thumbtune.training import guards
from thumbtune.training.guards import WINDOW, Advice, Guards, best_step, chance_standard_error
from thumbtune.training.step import Step


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A step as guards read it; by default one of a healthy training."""

    step: int
    liked_log_ratio: float | None = 0.02
    disliked_log_ratio: float | None = -0.1
    policy_error: float | None = 0.2
    reference_error: float | None = 0.2
    beta: float | None = 100.0
    gain: float | None = 1.0
    saturation: float | None = 0.3
    skipped: int = 0
    synced: bool = False
    agreement: float | None = None
    held_out_liked: float | None = None


def stopped(steps: Sequence[Numbers], planned: int = 1000, standard_error: float = math.inf) -> tuple[int, str] | None:
    """Return the step at which a guard stops the training, and its sentence; None if none does."""
    guarding = Guards(planned_steps=planned, batch_size=8, standard_error=standard_error)
    for step in steps:
        if (sentence := guarding.check(step)) is not None:
            return step.step, sentence
    return None


def run(count: int, since: int = 1, **numbers: float | None) -> list[Numbers]:
    return [Numbers(step=step, **numbers) for step in range(since, since + count)]  # type: ignore[arg-type]


def test_a_training_that_goes_well_is_left_alone() -> None:
    assert stopped(run(300)) is None


def test_the_first_step_where_all_log_ratios_are_zero_is_no_failure() -> None:
    still = {"liked_log_ratio": 0.0, "disliked_log_ratio": 0.0, "gain": 0.0, "saturation": 0.0}
    assert stopped([*run(40, **still), *run(100, since=41)]) is None


# --- errors ---------------------------------------------------------------------------------------


def test_liked_images_with_twice_the_reference_s_error_three_times_in_a_row_are_a_collapse() -> None:
    bad = {"liked_log_ratio": -0.21, "disliked_log_ratio": -0.1}
    stop = stopped([*run(20), *run(9, since=21, **bad)])
    assert stop is not None and stop[0] == 23
    assert stop[1].startswith(
        "the model is forgetting how to generate images: its denoising error on liked images is 2.05 times the"
    )
    assert "a tenth of train.lr" in stop[1]
    assert stopped([*run(20), *run(2, since=21, **bad), *run(20, since=23)]) is None


def test_steps_without_a_liked_image_do_not_hide_a_collapse() -> None:
    steps = [Numbers(step=s, liked_log_ratio=None if s % 2 else -0.5, disliked_log_ratio=0.1) for s in range(1, 20)]
    stop = stopped(steps)
    assert stop is not None and stop[0] == 6 and "forgetting" in stop[1]


def test_disliked_images_that_take_the_liked_ones_along_are_the_runaway_of_diffusion_dpo() -> None:
    steps = [*run(30), *run(60, since=31, liked_log_ratio=-0.12, disliked_log_ratio=-0.9)]
    stop = stopped(steps)
    # by hand: with 0.02 before, the mean of ten falls below -0.5 * 0.2 when nine of ten are at -0.12
    assert stop is not None and stop[0] == 39
    assert stop[1].startswith("the denoising error rose to 5.1 times the reference's on disliked images, and to 1.53")
    assert "objective.disliked_weight" in stop[1]


def test_disliked_images_pushed_away_alone_are_what_was_asked_for() -> None:
    assert stopped(run(300, disliked_log_ratio=-0.8)) is None
    assert stopped(run(300, disliked_log_ratio=-2.0)) is None  # ten times, as the line-art demo does


def test_disliked_images_pushed_away_without_end_are_stopped_though_liked_ones_are_well() -> None:
    away = run(60, since=31, liked_log_ratio=0.02, disliked_log_ratio=-200.0)
    stop = stopped([*run(30), *away])
    # by hand: nine of -0.1 and one of -200 have a mean of -20.09, which is 100.45 times 0.2
    assert stop is not None and stop[0] == 31
    assert stop[1].startswith("the denoising error on disliked images rose to 101 times the reference's, without bound")
    assert "objective.disliked_weight" in stop[1]


def test_liked_images_that_are_worse_for_good_are_noticed_before_they_are_worse_by_half() -> None:
    worse = {"liked_log_ratio": -0.45 * 0.2, "disliked_log_ratio": -0.2}
    stop = stopped([*run(20), *run(300, since=21, **worse)])
    # by hand: with 0.1 of the reference's error before, 37 of 50 at -0.45 have a mean of -0.307, 36 of -0.296
    assert stop is not None and stop[0] == 57
    assert stop[1].startswith("the denoising error rose to 1.87 times the reference's on disliked images, and to 1.31")
    assert stopped([*run(20), *run(30, since=21, **worse), *run(300, since=51)]) is None  # such a dip may come back
    quick = [replace(step, synced=step.step % 20 == 0) for step in run(200, liked_log_ratio=-0.07)]
    guarding = Guards(planned_steps=1000, batch_size=8, sync_every=20)
    assert not any(guarding.check(step) for step in quick)  # 20 steps are not for good


def test_liked_images_may_lose_a_little_for_a_while() -> None:
    dip = run(60, since=41, liked_log_ratio=-0.15 * 0.2)
    assert stopped([*run(40), *dip, *run(60, since=101)]) is None


def test_steps_too_large_lose_both_kinds_alike() -> None:
    stop = stopped(run(30, liked_log_ratio=-0.12, disliked_log_ratio=-0.05))
    assert (
        stop is not None and stop[0] == WINDOW and "no higher on disliked ones, so the steps are too large" in stop[1]
    )


def test_most_images_broken_is_said_and_some_are_not() -> None:
    stop = stopped(run(30, skipped=5))
    assert (
        stop is not None
        and stop[0] == WINDOW
        and stop[1].startswith("62% of the images of the last 10 steps had a NaN")
    )
    assert stopped(run(30, skipped=4)) is None


def test_weights_that_give_no_numbers_any_more_are_not_gone_back_to() -> None:
    broken = run(
        4, since=2, policy_error=None, reference_error=None, liked_log_ratio=None, disliked_log_ratio=None, skipped=8
    )
    assert best_step([*run(1), *broken], [0, 5]) == 0
    assert best_step([*run(1), *broken], [0, 1]) == 0  # the step after it was broken already
    assert best_step([*run(6), *run(2, since=7)], [0, 5]) == 5


# --- beta -----------------------------------------------------------------------------------------


def test_a_policy_that_moved_without_a_gain_has_too_low_a_beta() -> None:
    stop = stopped(run(30, gain=1e-4))
    assert stop is not None and stop[0] == WINDOW
    assert stop[1].startswith(
        "beta is too low: the log-ratio has reached 50% of the reference's error, and the gain is only 0."
    )
    assert "objective.beta=auto" in stop[1]
    assert stopped(run(30, gain=0.011)) is None


def test_a_policy_that_has_hardly_moved_may_have_small_gains() -> None:
    assert stopped(run(30, gain=1e-4, liked_log_ratio=0.005, disliked_log_ratio=-0.009)) is None


def test_objectives_without_gains_have_no_guard_of_beta() -> None:
    assert stopped([replace(step, gain=None, saturation=None) for step in run(100)]) is None


STIFF = {"beta": 250_000.0}  # times a reference error of 0.2: 50,000


def test_twenty_saturated_steps_of_a_far_too_high_beta_are_enough() -> None:
    stop = stopped([*run(5, saturation=0.0, **STIFF), *run(40, since=6, saturation=0.99, **STIFF)])
    assert stop is not None and stop[0] == 25
    assert (
        stop[1].startswith("beta is too high: a change of 2e-05 of")
        and "99% of the images of the last 20 steps" in stop[1]
    )
    assert "a lower objective.beta, or auto" in stop[1]
    assert stopped(run(300, saturation=0.98, **STIFF)) is None


def test_the_paper_s_beta_may_saturate_and_go_on_learning() -> None:
    # as the default recipe does from its 40th step on, with a dozen thumbs
    assert stopped(run(300, saturation=0.997, beta=5000.0)) is None


def test_the_policy_is_told_from_the_options_that_its_objective_has() -> None:
    away = run(30, liked_log_ratio=-0.15, disliked_log_ratio=-0.4)
    guarding = Guards(
        planned_steps=1000, batch_size=8, advice=Advice(stay_close="more of this", push_less="less of that")
    )
    stop = next(sentence for step in away if (sentence := guarding.check(step)) is not None)
    assert "with less of that, or with more of this" in stop and "objective." not in stop


def test_a_frequently_refreshed_reference_is_watched_all_the_same() -> None:
    away = [replace(step, synced=step.step % 5 == 0) for step in run(40, liked_log_ratio=-0.15)]
    guarding = Guards(planned_steps=1000, batch_size=8, sync_every=5)
    assert any(guarding.check(step) for step in away)
    broken = [replace(step, skipped=8, synced=step.step % 5 == 0) for step in run(40)]
    guarding = Guards(planned_steps=1000, batch_size=8, sync_every=5)
    assert any(guarding.check(step) for step in broken)


def test_the_best_step_counts_what_was_gained_over_earlier_references() -> None:
    # 0.03, then 0.02 more, then 0.01 more: the last is best, though its own log-ratio is the smallest
    gains = [0.03] * 20 + [0.02] * 20 + [0.01] * 20
    steps = [
        replace(step, liked_log_ratio=gain, synced=step.step % 20 == 0)
        for step, gain in zip(run(60), gains, strict=True)
    ]
    assert best_step(steps, [0, 20, 40, 60]) == 60


# --- nothing learnt -------------------------------------------------------------------------------


@pytest.mark.parametrize(("planned", "at"), [(400, 100), (80, 50), (51, 50), (50, None)])
def test_a_policy_that_still_is_the_reference_after_a_quarter_of_the_run_learns_nothing(
    planned: int, at: int | None
) -> None:
    stop = stopped(run(planned, liked_log_ratio=1e-8, disliked_log_ratio=0.0, gain=0.0), planned)
    assert (stop and stop[0]) == at
    assert stop is None or "its errors still equal the reference's; start a new run with a higher train.lr" in stop[1]


def test_a_policy_that_moved_once_is_not_idle() -> None:
    still = {"liked_log_ratio": 0.0, "disliked_log_ratio": 0.0, "gain": 0.0}
    assert stopped([*run(1), *run(200, since=2, **still)], 300) is None


def test_where_each_step_s_policy_becomes_the_reference_nobody_can_say_that_nothing_was_learnt() -> None:
    still = {"liked_log_ratio": 0.0, "disliked_log_ratio": 0.0, "gain": 0.0}
    steps = [replace(step, synced=True) for step in run(300, **still)]
    for every, silent in ((1, True), (2, False)):
        guarding = Guards(planned_steps=300, batch_size=8, sync_every=every)
        assert silent is not any(guarding.check(step) for step in steps)


# --- agreement ------------------------------------------------------------------------------------


def read(*readings: float | None) -> list[Numbers]:
    """Steps with an agreement every fifth."""
    return [Numbers(step=5 * i + j, agreement=value if j == 5 else None) for i, value in enumerate(readings)
            for j in range(1, 6)]  # fmt: skip


def test_the_deviation_is_that_of_mann_and_whitney() -> None:
    """Against all orders of three likes and four dislikes."""
    from itertools import combinations

    shares = []
    for places in combinations(range(7), 3):
        others = [place for place in range(7) if place not in places]
        shares.append(sum(a > b for a in places for b in others) / 12)
    mean = sum(shares) / len(shares)
    assert chance_standard_error(3, 4) == pytest.approx(math.sqrt(sum((s - mean) ** 2 for s in shares) / len(shares)))
    assert chance_standard_error(0, 9) == math.inf


def test_held_out_likes_told_the_wrong_way_round_twice_stop_the_training() -> None:
    stop = stopped(read(0.5, 0.15, 0.1), standard_error=0.1)
    assert stop is not None and stop[0] == 15
    assert (
        stop[1].startswith("agreement with held-out likes fell to 10%, below the 50% of chance")
        and "swapped" in stop[1]
    )


def test_one_bad_reading_or_few_prompts_prove_nothing() -> None:
    assert stopped(read(0.5, 0.1, 0.5, 0.1, 0.6, None, 0.7), standard_error=0.1) is None
    assert stopped(read(0.1, 0.0, 0.0, 0.0), standard_error=0.2) is None
    assert stopped(read(0.1, 0.0, 0.0, 0.0)) is None


def test_agreement_that_was_there_and_went_is_learning_by_heart() -> None:
    stop = stopped(read(0.8, 0.95, 0.6, 0.58, 0.57), standard_error=0.1)
    assert stop is not None and stop[0] == 20
    assert stop[1].startswith("agreement with held-out likes fell from 95% to 58%, so the model is overfitting")
    assert stopped(read(0.8, 0.95, 0.7, 0.68, 0.66), standard_error=0.1) is None
    chance = stopped(read(0.8, 0.95, 0.49, 0.49), standard_error=0.1)  # no better than chance is not the opposite
    assert chance is not None and "fell from 95% to 49%, so the model is overfitting" in chance[1]


def read_liked(*readings: float | None) -> list[Numbers]:
    """As `read`, of an objective that does not set likes against dislikes."""
    return [replace(step, agreement=None, held_out_liked=step.agreement) for step in read(*readings)]


def test_held_out_likes_that_are_denoised_a_tenth_worse_twice_in_a_row_stop_the_training() -> None:
    stop = stopped(read_liked(0.05, -0.12, -0.13))
    assert stop is not None and stop[0] == 15
    assert stop[1].startswith("the denoising error on held-out liked images rose to 1.13 times the base model's")
    assert "fewer train.steps" in stop[1]
    assert stopped(read_liked(0.3, -0.2, 0.1, -0.2, 0.05, None, 0.1, -0.09, -0.09)) is None


def test_of_readings_of_held_out_likes_alone_the_best_step_is_that_of_the_highest() -> None:
    readings = {10: 0.1, 20: 0.3, 30: 0.2}
    steps = [Numbers(step=s, liked_log_ratio=0.01 * s, held_out_liked=readings.get(s)) for s in range(1, 31)]
    assert best_step(steps, [0, 10, 20, 30]) == 20
    assert best_step(steps, [0, 10, 30]) == 30
    falling = [replace(step, held_out_liked=step.held_out_liked and -step.held_out_liked) for step in steps]
    assert best_step(falling, [0, 10, 20, 30]) == 0


# --- after a refresh ------------------------------------------------------------------------------


def test_a_refresh_begins_every_window_anew() -> None:
    low = {"liked_log_ratio": -0.12, "disliked_log_ratio": -0.2}
    refreshed = Numbers(step=9, liked_log_ratio=-0.12, disliked_log_ratio=-0.2, synced=True)
    assert stopped([*run(8, **low), refreshed, *run(9, since=10, **low)]) is None
    stop = stopped([*run(8, **low), refreshed, *run(10, since=10, **low)])
    assert stop is not None and stop[0] == 19


# --- the best step --------------------------------------------------------------------------------


def test_of_equal_agreement_the_best_step_is_that_of_the_highest_liked_log_ratio() -> None:
    steps = [Numbers(step=s, liked_log_ratio=0.1 if s <= 40 else -0.3) for s in range(1, 61)]
    assert best_step(steps, [0, 20, 40, 60]) == 40  # equal at 20 and 40: the later one
    assert best_step(steps, [0, 60]) == 0


def test_nothing_is_better_than_the_beginning_where_all_got_worse() -> None:
    assert best_step(run(30, liked_log_ratio=-0.1), [0, 10, 20, 30]) == 0


def test_agreement_goes_before_log_ratios_as_far_as_it_can_tell() -> None:
    steps = [
        Numbers(step=s, liked_log_ratio=0.01 * s, agreement={10: 0.9, 20: 0.85, 30: 0.4}.get(s)) for s in range(1, 31)
    ]
    assert best_step(steps, [0, 10, 20, 30], standard_error=0.1) == 20
    assert best_step(steps, [0, 10, 20, 30], standard_error=0.01) == 10
    assert best_step(steps, [0, 10, 20, 30]) == 30


def test_weights_that_were_not_asked_count_by_the_next_reading_or_the_last() -> None:
    steps = [Numbers(step=s, liked_log_ratio=0.01 * s, agreement={10: 0.1, 20: 0.9}.get(s)) for s in range(1, 31)]
    assert best_step(steps, [0, 8], standard_error=0.1) == 0  # 8 is read at 10
    assert best_step(steps, [0, 8, 12], standard_error=0.1) == 12  # at 20
    assert best_step(steps, [0, 12, 28], standard_error=0.1) == 28  # nothing was read later than 20
    assert best_step(run(30), [0, 20], standard_error=0.1) == 20


# --- what they share ------------------------------------------------------------------------------


def test_a_guard_that_was_shown_the_log_goes_on_as_if_never_stopped() -> None:
    steps = [*run(30), *run(60, since=31, liked_log_ratio=-0.12, disliked_log_ratio=-0.9)]
    again = Guards(planned_steps=1000, batch_size=8)
    for step in steps[:35]:
        assert again.check(step) is None
    spoke = next(step.step for step in steps[35:] if again.check(step) is not None)
    assert spoke == 39


def test_a_step_of_the_trainer_can_be_watched() -> None:
    assert set(Numbers.__dataclass_fields__) <= set(Step.__dataclass_fields__)


SENTENCES: list[Callable[[], tuple[int, str] | None]] = [
    lambda: stopped(run(30, skipped=8)),
    lambda: stopped(run(30, liked_log_ratio=-1.0)),
    lambda: stopped(run(30, liked_log_ratio=-0.12, disliked_log_ratio=-0.9)),
    lambda: stopped(run(30, liked_log_ratio=-0.12, disliked_log_ratio=-0.05)),
    lambda: stopped(run(30, gain=0.0)),
    lambda: stopped(run(30, saturation=1.0, **STIFF)),
    lambda: stopped(run(300, liked_log_ratio=0.0, disliked_log_ratio=0.0), 200),
    lambda: stopped(read(0.0, 0.0), standard_error=0.1),
    lambda: stopped(read(1.0, 0.6, 0.6), standard_error=0.1),
    lambda: stopped(run(30, disliked_log_ratio=-30.0)),
    lambda: stopped(read_liked(-0.2, -0.2)),
]


@pytest.mark.parametrize("make", SENTENCES)
def test_a_guard_says_what_happened_and_what_to_try_without_an_end(make: Callable[[], tuple[int, str] | None]) -> None:
    stop = make()
    assert stop is not None
    assert ";" in stop[1] and "\n" not in stop[1] and ". " not in stop[1] and not stop[1].endswith(".")


def test_every_guard_is_described_where_the_file_begins() -> None:
    for guard in guards._GUARDS:
        assert f"    {guard.__name__.removeprefix('_')} " in (guards.__doc__ or "")


# --- without log-ratios ---------------------------------------------------------------------------


UNMEASURED: dict[str, Any] = {
    "liked_log_ratio": None,
    "disliked_log_ratio": None,
    "reference_error": None,
    "beta": None,
    "gain": None,
}


def validated(step: int, value: float) -> Numbers:
    return Numbers(step=step, held_out_liked=value, **UNMEASURED)


def test_without_log_ratios_one_validation_shows_a_collapse() -> None:
    steps = [*run(24, **UNMEASURED), validated(25, -1.2)]
    stop = stopped(steps)
    assert stop is not None and stop[0] == 25
    assert "forgetting how to generate images" in stop[1] and "held-out liked images is 2.2 times the base" in stop[1]
    assert stopped([*run(24, **UNMEASURED), validated(25, -0.99)]) is None


def test_without_log_ratios_only_a_validation_shows_that_nothing_is_learnt() -> None:
    quiet = run(60, **UNMEASURED)
    assert stopped(quiet, planned=200) is None
    stop = stopped([*quiet, validated(61, 0.0)], planned=200)
    assert stop is not None and stop[0] == 61 and "learnt nothing" in stop[1]
    moved = [*run(24, **UNMEASURED), validated(25, 0.01), *run(35, since=26, **UNMEASURED), validated(61, 0.0)]
    assert stopped(moved, planned=200) is None


def test_without_log_ratios_the_policy_s_errors_show_whether_weights_give_numbers() -> None:
    sound = [validated(step, 0.1 * step) for step in range(1, 5)]
    assert best_step(sound, [0, 2, 3]) == 3
    broken = [*sound[:3], replace(validated(4, 0.4), policy_error=None, held_out_liked=None)]
    assert best_step(broken, [0, 2, 3]) == 2  # the step after 3 had no finite error
