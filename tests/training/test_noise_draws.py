"""Noise draws that repeat: each image's are the same at every step, and the reference denoises each of them once."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from thumbtune.models.plane import Plane
from thumbtune.objective import DPO, KTO, Objective
from thumbtune.training import checkpoint
from thumbtune.training.batch import Batch
from thumbtune.training.batches import Batches
from thumbtune.training.reference_errors import ReferenceErrors
from thumbtune.training.step import Step
from thumbtune.training.trainer import Training, train

POINTS = [(i / 11, (i * 5 % 12) / 11) for i in range(12)]
LIKED = [x > 0.5 for x, _ in POINTS]
PAIRED = [f"point {i // 2}" for i in range(12)]
SIDES = [i % 2 == 0 for i in range(12)]
DRAWS = 4
BROKEN = 3

MakeBatches = Callable[..., Batches]
Start = Callable[..., tuple[Training, Batches]]


class Counting(Plane):
    """A Plane that counts the images that its reference denoises."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.is_reference = False

    @contextmanager
    def reference(self) -> Iterator[None]:
        self.is_reference = True
        with super().reference():
            yield
        self.is_reference = False

    def predict(self, noisy: Tensor, t: Tensor, condition: Any) -> Tensor:
        self.asked += len(t) if self.is_reference else 0
        return super().predict(noisy, t, condition)


@pytest.fixture
def start(make_plane: Any, make_batches: MakeBatches, make_training: Any) -> Start:
    """Options of the training -> a training on a Counting plane whose reference is a little off, and its batches."""

    def make(draws: int = DRAWS, **settings: Any) -> tuple[Training, Batches]:
        plane = make_plane(Counting, drift=0.03)
        chosen = {"steps": 12, "micro_batch": 4, **settings}
        return make_training(plane, **chosen), make_batches(plane, POINTS, LIKED, noise_draws=draws, prompt_dropout=0.3)

    return make


def rows_of(batches: Batches, steps: int) -> Iterator[tuple[int, int, tuple[Tensor, ...]]]:
    """Yield the like, the draw, and the tensors of every row of the first steps."""
    for step in range(steps):
        batch = batches.batch(step)
        assert batch.draw is not None
        for row, draw, *tensors in zip(
            batches.rows(step), batch.draw.tolist(), batch.latents, batch.noise, batch.t, strict=True
        ):
            yield row, draw, tuple(tensors)


def losses(training: Training, batches: Batches, objective: Objective | None = None, upto: int = 12) -> list[Step]:
    steps = []
    for step in train(training, batches, objective or KTO(beta=3.0)):
        steps.append(step)
        if step.step == upto:
            break
    return steps


def test_an_image_has_as_many_draws_as_asked_for_and_equal_numbers_are_equal_rows(make_batches: MakeBatches) -> None:
    batches = make_batches(Plane(), POINTS, LIKED, noise_draws=DRAWS)
    of_draw: dict[int, tuple[Tensor, ...]] = {}
    of_image: dict[int, set[int]] = defaultdict(set)
    for row, draw, tensors in rows_of(batches, 80):
        of_image[row].add(draw)
        known = of_draw.setdefault(draw, tensors)
        assert all(torch.equal(a, b) for a, b in zip(known, tensors, strict=True))
    assert {len(draws) for draws in of_image.values()} == {DRAWS}
    noises = [tensors[1] for tensors in of_draw.values()]
    assert len({tuple(noise.flatten().tolist()) for noise in noises}) == len(of_draw) == DRAWS * len(POINTS)


def test_the_draws_of_an_image_lie_one_in_each_equal_part_of_the_noise_levels(make_batches: MakeBatches) -> None:
    plane = Plane()
    batches = make_batches(plane, POINTS, LIKED, noise_draws=DRAWS)
    ends = [float(plane.process.times(torch.tensor([k / DRAWS]), torch.tensor([1]))[0]) for k in range(DRAWS)]
    parts: dict[int, set[int]] = defaultdict(set)
    for row, draw, (*_, t) in rows_of(batches, 80):
        part = sum(float(t) >= end for end in ends) - 1
        assert part == draw % DRAWS
        parts[row].add(part)
    assert all(found == set(range(DRAWS)) for found in parts.values())


def test_without_draws_every_step_has_new_noise(make_batches: MakeBatches) -> None:
    batches = make_batches(Plane(), POINTS, LIKED)
    noises = [tuple(noise.flatten().tolist()) for step in range(20) for noise in batches.batch(step).noise]
    assert len(set(noises)) == len(noises)
    assert batches.batch(0).draw is None


def test_a_row_is_the_same_however_the_batch_is_cut(make_batches: MakeBatches) -> None:
    batches = make_batches(Plane(), POINTS, LIKED, noise_draws=DRAWS, prompt_dropout=0.4)
    whole, half = batches.batch(5), batches.batch(5, 4)
    assert whole.draw is not None and half.draw is not None
    assert torch.equal(whole.noise[4:], half.noise) and torch.equal(whole.draw[4:], half.draw)  # type: ignore[index]


def test_a_draw_says_whether_the_prompt_is_dropped(make_batches: MakeBatches) -> None:
    class Told(Plane):
        def embed(self, prompts: Any) -> Any:
            return {"text": torch.tensor([[float(len(prompt))] for prompt in prompts])}

    batches = make_batches(Told(), POINTS, LIKED, noise_draws=DRAWS, prompt_dropout=0.5)
    of_draw: dict[int, set[float]] = defaultdict(set)
    for step in range(60):
        batch = batches.batch(step)
        assert batch.draw is not None
        for draw, text in zip(batch.draw.tolist(), batch.condition["text"][:, 0].tolist(), strict=True):
            of_draw[draw].add(text)
    assert {len(texts) for texts in of_draw.values()} == {1}
    assert {text for texts in of_draw.values() for text in texts} >= {0.0, 7.0}  # "" and "point 1"


def test_both_of_a_pair_have_one_noise_and_a_number_each(make_batches: MakeBatches) -> None:
    batches = make_batches(Plane(), POINTS, SIDES, prompts=PAIRED, noise_draws=DRAWS, paired=True)
    for step in range(10):
        batch = batches.batch(step)
        assert isinstance(batch.noise, Tensor) and batch.draw is not None
        assert torch.equal(batch.noise[::2], batch.noise[1::2]) and torch.equal(batch.t[::2], batch.t[1::2])
        assert (batch.draw[::2] != batch.draw[1::2]).all()


@pytest.mark.slow
def test_the_reference_denoises_each_draw_once(start: Start) -> None:
    training, batches = start()
    losses(training, batches)
    seen = {draw for _, draw, _ in rows_of(batches, 12)}
    assert training.model.asked == len(seen) == len(training.reference_errors) < 12 * batches.size
    fresh, new = start(draws=0)
    losses(fresh, new)
    assert fresh.model.asked == 12 * new.size and len(fresh.reference_errors) == 0


@pytest.mark.slow
@pytest.mark.parametrize("objective", [KTO(beta=3.0), DPO(beta=3.0)], ids=["kto", "dpo"])
def test_the_steps_are_those_of_a_reference_that_is_asked_each_time(
    make_plane: Any,
    make_batches: MakeBatches,
    make_training: Any,
    monkeypatch: pytest.MonkeyPatch,
    objective: Objective,
) -> None:
    paired = "pairs" in objective.needs

    def trained() -> list[Step]:
        plane = make_plane(Counting, drift=0.03)
        options = {"prompts": PAIRED, "paired": True} if paired else {}
        batches = make_batches(plane, POINTS, SIDES, noise_draws=DRAWS, **options)
        return losses(make_training(plane, micro_batch=4, steps=12), batches, objective)

    kept = trained()
    of = ReferenceErrors.of

    def forgetful(self: ReferenceErrors, *args: Any, **options: Any) -> Any:
        self.forget()
        return of(self, *args, **options)

    monkeypatch.setattr(ReferenceErrors, "of", forgetful)
    asked = trained()
    assert [s.loss for s in kept] == pytest.approx([s.loss for s in asked], rel=1e-6)
    assert [s.grad_norm for s in kept] == pytest.approx([s.grad_norm for s in asked], rel=1e-5)


def test_ten_steps_are_five_and_five_after_a_resume(start: Start, tmp_path: Path) -> None:
    def told(steps: list[Step]) -> list[dict[str, Any]]:
        return [{name: value for name, value in step.as_dict().items() if name != "seconds"} for step in steps]

    through, batches = start()
    whole = told(losses(through, batches, upto=10))
    first, batches = start()
    early = told(losses(first, batches, upto=5))
    folder = checkpoint.save(first, tmp_path)
    second, batches = start()
    checkpoint.restore(second, folder)
    before = len(second.reference_errors)
    late = told(losses(second, batches, upto=10))
    assert early + late == whole
    assert second.model.asked == len(second.reference_errors) - before  # nothing known was computed again


def test_a_checkpoint_without_errors_is_read(start: Start, tmp_path: Path) -> None:
    training, batches = start(draws=0)
    losses(training, batches, upto=3)
    folder = checkpoint.save(training, tmp_path)
    assert not (folder / "reference_errors.safetensors").exists()
    again, _ = start()
    checkpoint.restore(again, folder)
    assert (again.step, len(again.reference_errors)) == (3, 0)


def test_a_synced_reference_forgets_its_errors(start: Start) -> None:
    training, batches = start(sync_reference_every=6)
    losses(training, batches, upto=6)
    assert len(training.reference_errors) == 0
    steps = losses(training, batches, upto=7)
    assert steps[0].liked_log_ratio == pytest.approx(0, abs=1e-6)  # policy and reference are equal again


def test_an_error_that_is_not_finite_is_not_kept(start: Start) -> None:
    training, batches = start()
    batch = batches.batch(0)
    assert isinstance(batch.latents, Tensor) and batch.draw is not None
    latents = batch.latents.clone()
    latents[BROKEN] = torch.nan
    broken = Batch(latents, batch.condition, batch.noise, batch.t, batch.liked, batch.weight, draw=batch.draw)
    errors = training.reference_errors.of(training.model, broken, training.accelerator).error
    assert errors.isnan().tolist() == [place == BROKEN for place in range(len(batch))]
    assert len(training.reference_errors) == len(set(batch.draw.tolist())) - 1
