"""Draws: which images are judged at which step. (Draws by thumb are tested with the batches, in test_batches.py.)"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refused

from thumbtune.models.plane import Plane, image_of_point
from thumbtune.models.protocol import Condition
from thumbtune.objective.baselines import CSFT, DPO
from thumbtune.training.batch import Batch
from thumbtune.training.batches import Batches
from thumbtune.training.cache import Cache
from thumbtune.training.encoded import Encoded
from thumbtune.training.sampling import ByPair, check_kinds, pairs_of
from thumbtune.training.trainer import Training, train

MakeBatches = Callable[..., Batches]
MakePlane = Callable[..., Plane]
MakeTraining = Callable[..., Training]

# prompt a: likes 0, 2 and dislike 1; b: like 3 and dislikes 4, 5; c has likes alone, d a dislike alone
PROMPTS = ["a", "a", "a", "b", "b", "b", "c", "c", "d"]
LIKED = [True, False, True, True, False, False, True, True, False]
POINTS = [(i / 8, (3 * i % 8) / 8) for i in range(9)]


def test_pairs_come_from_prompts_with_both_kinds_of_thumb() -> None:
    assert pairs_of(PROMPTS, torch.tensor(LIKED)) == [([0, 2], [1]), ([3], [4, 5])]
    with refused("likes-no-pairs", naming="none of the 2 prompts has both; rate more images"):
        pairs_of(["a", "a", "b"], torch.tensor([True, True, False]))


@pytest.mark.parametrize(
    ("liked", "named"),
    [
        ([True] * 3, ["3 likes and 0 dislikes", "add dislikes", "sft"]),
        ([False] * 2, ["0 likes and 2 dislikes", "add likes", "train.validation_share=0"]),
    ],
)
def test_pairs_of_one_kind_of_thumb_say_which_is_missing(liked: list[bool], named: list[str]) -> None:
    with refused("likes-no-pairs", naming=named):
        pairs_of(["a"] * len(liked), torch.tensor(liked))


@pytest.mark.parametrize(
    ("liked", "share", "code", "named"),
    [
        ([True, True], 0.8, "likes-no-dislikes", ["2 likes and 0 dislikes", 0.8, "sft", "train.validation_share=0"]),
        ([False], 0.8, "likes-no-likes", ["0 likes and 1 dislike", "train.validation_share=0"]),
        ([False], 1.0, "likes-no-likes", ["0 likes and 1 dislike", "train.validation_share=0"]),
    ],
)
def test_a_kind_of_label_that_is_missing_is_named_with_what_helps(
    liked: list[bool], share: float, code: str, named: list[object]
) -> None:
    with refused(code, naming=named) as caught:
        check_kinds(torch.tensor(liked), share)
    assert ("sft" in str(caught.value)) == any(liked)
    check_kinds(torch.tensor([True]), 1.0)
    check_kinds(torch.tensor([True, False]), 0.2)


def test_a_draw_is_pairs_of_a_liked_and_a_disliked_image_of_one_prompt() -> None:
    draw = ByPair(prompts=PROMPTS, liked=torch.tensor(LIKED), size=6)
    seen: Counter[tuple[int, int]] = Counter()
    for step in range(400):
        rows = draw.rows(step)
        assert len(rows) == 6
        for good, bad in zip(rows[::2], rows[1::2], strict=True):
            assert LIKED[good] and not LIKED[bad] and PROMPTS[good] == PROMPTS[bad]
            seen[good, bad] += 1
    # both prompts make one separate pair, so each of the four possible pairs comes one time in four: 300 of 1,200
    assert set(seen) == {(0, 1), (2, 1), (3, 4), (3, 5)}
    assert all(240 < times < 360 for times in seen.values()), seen
    assert draw.rows(7) == ByPair(prompts=PROMPTS, liked=torch.tensor(LIKED), size=6).rows(7) != draw.rows(8)


def test_one_dislike_beside_many_likes_comes_as_often_as_one_beside_one() -> None:
    prompts, liked = (
        ["a"] * 10 + ["b"] * 2 + ["c"] * 4,
        [True] * 9 + [False] + [True, False] + [True, True, False, False],
    )
    draw = ByPair(prompts=prompts, liked=torch.tensor(liked), size=8)
    seen = Counter(prompts[row] for step in range(500) for row in draw.rows(step)[::2])
    assert all(abs(seen[prompt] / 2000 - share) < 0.04 for prompt, share in [("a", 0.25), ("b", 0.25), ("c", 0.5)])


def test_an_odd_batch_of_pairs_is_refused(make_batches: MakeBatches) -> None:
    with refused("batch-odd", naming=["train.batch is 5", "make it 6"]):
        make_batches(Plane(), POINTS, LIKED, prompts=PROMPTS, size=5, paired=True)


def test_the_two_of_a_pair_share_noise_and_time_and_no_two_pairs_do(make_batches: MakeBatches) -> None:
    batches = make_batches(Plane(), POINTS, LIKED, prompts=PROMPTS, size=12, paired=True)
    batch = batches.batch(0)
    assert torch.equal(batch.noise[::2], batch.noise[1::2]) and torch.equal(batch.t[::2], batch.t[1::2])
    assert len({tuple(row) for row in batch.noise[::2].tolist()}) == 6  # though only four pairs exist
    assert batch.partner is not None and batch.partner.tolist() == [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10]
    part = batches.batch(0, 4, 8)
    assert torch.equal(part.noise, batch.noise[4:8]) and torch.equal(part.latents, batch.latents[4:8])


def test_of_a_broken_pair_neither_image_is_kept(make_batches: MakeBatches) -> None:
    batch = make_batches(Plane(), POINTS, LIKED, prompts=PROMPTS, size=8, paired=True).batch(0)
    keep = torch.tensor([True, True, False, True, True, True, True, True])
    whole = batch.whole(keep)
    assert whole.tolist() == [True, True, False, False, True, True, True, True]
    rest = batch.only(whole)
    assert len(rest) == 6 and rest.liked.tolist() == [True, False] * 3
    assert rest.partner is not None and rest.partner.tolist() == [1, 0, 3, 2, 5, 4]


def test_dpo_in_parts_has_the_gradient_of_the_whole_batch(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    def gradient_of(micro_batch: int) -> torch.Tensor:
        plane = make_plane(drift=0.1)
        training = make_training(plane, "zero", micro_batch=micro_batch)
        next(train(training, make_batches(plane, POINTS, LIKED, prompts=PROMPTS, size=8, paired=True), DPO(beta=50.0)))
        slots = training.optimizer.state_dict()["state"]
        return torch.cat([slots[i]["exp_avg"].flatten() for i in range(len(slots))])

    whole = gradient_of(8)
    assert whole.norm() > 0
    for micro_batch in (4, 3, 2, 1):  # odd ones are cut down to whole pairs, and never below one
        assert (gradient_of(micro_batch) - whole).norm() / whole.norm() < 1e-5, micro_batch


class HalfBroken(Batches):
    """The third image of a batch, the liked one of its second pair, has no latents."""

    def batch(self, step: int, start: int = 0, stop: int | None = None, mismatched: bool = False) -> Batch:
        made = super().batch(step, start, stop, mismatched)
        made.latents[torch.arange(start, start + len(made)) == 2] = float("nan")
        return made


class WithoutTheSecondPair(Batches):
    """The same batches with that pair's rows not there, its share of the mean being 0."""

    def batch(self, step: int, start: int = 0, stop: int | None = None, mismatched: bool = False) -> Batch:
        made = super().batch(step, start, stop, mismatched)
        return made.only((torch.arange(start, start + len(made)) // 2) != 1)


@pytest.mark.parametrize("micro_batch", [8, 4])
def test_a_half_broken_pair_is_left_out_as_a_whole(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining, micro_batch: int
) -> None:
    def gradient_of(kind: type[Batches]) -> tuple[torch.Tensor, int]:
        plane = make_plane(drift=0.1)
        made = make_batches(plane, POINTS, LIKED, prompts=PROMPTS, size=8, paired=True)
        batches = kind(encoded=made.encoded, process=made.process, size=8, paired=True)
        training = make_training(plane, "zero", micro_batch=micro_batch)
        step = next(train(training, batches, DPO(beta=50.0)))
        slots = training.optimizer.state_dict()["state"]
        return torch.cat([slots[i]["exp_avg"].flatten() for i in range(len(slots))]), step.skipped

    broken, skipped = gradient_of(HalfBroken)
    without, _ = gradient_of(WithoutTheSecondPair)
    assert skipped == 2
    assert (broken - without).norm() / without.norm() < 1e-5


@pytest.mark.slow
def test_dpo_moves_the_liked_side_of_each_pair_ahead(
    make_plane: MakePlane, make_batches: MakeBatches, make_training: MakeTraining
) -> None:
    plane = make_plane()
    training = make_training(plane, "zero", steps=80)
    batches = make_batches(plane, POINTS, LIKED, prompts=PROMPTS, size=16, paired=True)
    steps = list(train(training, batches, DPO(beta=50.0)))
    late = steps[-10:]
    margins = [(step.liked_log_ratio or 0) - (step.disliked_log_ratio or 0) for step in late]
    assert sum(margins) / len(margins) > 0.01
    assert sum(step.loss or 0 for step in late) < sum(step.loss or 0 for step in steps[:10])


class Telling(Plane):
    """A Plane whose condition is the prompt's first letter, as a number."""

    def embed(self, prompts: Sequence[str]) -> Condition:
        return {"text": torch.tensor([[float(ord(prompt[0])) if prompt else 0.0] for prompt in prompts])}


def test_prefixes_go_before_the_prompts_of_good_and_bad_images(make_likes: Callable[..., Any], tmp_path: Path) -> None:
    likes = make_likes([image_of_point(x, y) for x, y in POINTS], LIKED, PROMPTS)
    model, cache = Telling(), Cache(tmp_path / "cache")
    one, other = (
        Batches(
            encoded=Encoded(likes, model, cache, prefixes).fill(),
            process=model.process,
            size=40,
            liked_share=0.5,
            prompt_dropout=0.25,
        ).batch(3)
        for prefixes in (None, CSFT().prompt_prefixes)
    )
    assert torch.equal(one.noise, other.noise) and torch.equal(one.t, other.t)  # prefixes disturb no other randomness
    letters = [chr(int(letter)) for letter in other.condition["text"][:, 0]]
    dropped = one.condition["text"][:, 0] == 0
    assert 0 < dropped.sum() < 40
    for letter, liked, gone in zip(letters, other.liked.tolist(), dropped.tolist(), strict=True):
        assert letter == ("\0" if gone else "g" if liked else "b")


@pytest.mark.slow
def test_a_grade_is_the_chance_of_the_prefix_of_good_images(make_likes: Callable[..., Any], tmp_path: Path) -> None:
    likes = make_likes([image_of_point(x, y) for x, y in POINTS], LIKED, PROMPTS)
    likes = likes.remove_columns("grade").add_column("grade", [0.75, None, *[None] * 7])
    model = Telling()
    encoded = Encoded(likes, model, Cache(tmp_path / "cache"), CSFT().prompt_prefixes).fill()
    assert encoded.grade is not None
    assert encoded.grade.tolist() == [0.75, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0]
    batches = Batches(encoded=encoded, process=model.process, size=200, liked_share=0.5)
    rows, batch = batches.rows(0), batches.batch(0)
    assert batch.grade is not None and torch.equal(batch.grade, encoded.grade[rows])
    good = (batch.condition["text"][:, 0] == ord("g")).tolist()
    graded = [is_good for step in range(40) for is_good in _prefixes_of_first(batches, step)]
    assert all(is_good == LIKED[row] for row, is_good in zip(rows, good, strict=True) if row != 0)
    assert 0.70 < sum(graded) / len(graded) < 0.80  # some 800 of them


def _prefixes_of_first(batches: Batches, step: int) -> list[bool]:
    said = (batches.batch(step).condition["text"][:, 0] == ord("g")).tolist()
    return [good for row, good in zip(batches.rows(step), said, strict=True) if row == 0]
