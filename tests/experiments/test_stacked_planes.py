"""Several planes at once learn what each would have learnt alone, by the trainer that trains everything else."""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any

import pytest
import torch
from torch import Tensor

from thumbtune.experiments.stacked_planes import StackedBatch, StackedPlanes, losses, paired, tune
from thumbtune.models.plane import Plane
from thumbtune.objective.baselines import BCO, DPO, SFT
from thumbtune.objective.kto import KTO, Judged
from thumbtune.objective.protocol import Objective
from thumbtune.objective.reference_point import REFERENCE_POINTS
from thumbtune.objective.utility import UTILITIES
from thumbtune.training.batches import Batches
from thumbtune.training.trainer import Settings, train

GENERATOR = torch.Generator().manual_seed(11)
POINTS = (0.5 + 0.2 * torch.randn(40, 2, generator=GENERATOR)).clamp(0, 1).tolist()
RIGHT = [x > 0.5 for x, _ in POINTS]
STEPS = 6
OBJECTIVES: dict[str, tuple[Objective, str]] = {
    **{name: (KTO(beta=5.0, utility=utility), "batch") for name, utility in UTILITIES.items()},
    "sft": (SFT(), "zero"),
    "bco": (BCO(beta=5.0), "balanced"),
    "dpo": (DPO(beta=5.0), "zero"),
}


def stacked(each: Sequence[Batches]) -> Iterator[StackedBatch]:
    for step in range(STEPS):
        parts = [batches.batch(step) for batches in each]
        tensors = (torch.stack([getattr(p, name) for p in parts]) for name in ("latents", "noise", "t", "liked"))
        yield StackedBatch(*tensors, parts[0].partner)


def flat(weights: Any) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in weights])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_planes_at_once_end_where_the_trainer_takes_each_alone(
    make_plane: Callable[..., Plane], make_batches: Callable[..., Batches], make_training: Callable[..., Any], name: str
) -> None:
    objective, reference_point = OBJECTIVES[name]
    settings = {"steps": STEPS, "lr": 1e-2, "warmup": 2, "max_grad_norm": 0.05, "weight_decay": 0.01}

    def planes() -> list[Plane]:
        return [make_plane(drift=0.03), make_plane(drift=0.06)]

    of = {"seed": 0, "paired": name == "dpo", "prompts": [""] * len(POINTS)}
    each = [make_batches(plane, POINTS, RIGHT, **of | {"seed": seed}) for seed, plane in enumerate(planes())]
    crowd = StackedPlanes(planes())
    crowd.frozen = {
        name: torch.stack([dict(p._frozen.named_parameters())[name] for p in planes()]) for name in crowd.weights
    }
    begun = [flat(plane.denoiser.parameters()) for plane in planes()]
    reference_points = [REFERENCE_POINTS[reference_point]() for _ in each]
    taken = list(tune(crowd, stacked(each), objective, reference_points, Settings(micro_batch=8, **settings)))
    assert taken == list(range(1, STEPS + 1))

    for row, (plane, batches) in enumerate(zip(planes(), each, strict=True)):
        training = make_training(plane, reference_point, **settings)
        norms = [step.grad_norm for step in train(training, batches, objective)]
        assert max(norms) > settings["max_grad_norm"], "clipping must matter, or the test does not see it"
        alone = flat(plane.denoiser.parameters())
        together = flat(weight[row] for weight in crowd.weights.values())
        moved = (alone - begun[row]).norm()
        assert moved > 0.1
        assert (together - alone).norm() < 1e-3 * moved


def pairs(count: int) -> StackedBatch:
    generator = torch.Generator().manual_seed(2)
    liked = torch.tensor([True] * count + [False] * count)[None].expand(2, -1)
    latents, noise = torch.randn(2, 2, 2 * count, 2, generator=generator)
    return paired(StackedBatch(latents, noise, torch.randint(0, 100, (2, 2 * count), generator=generator), liked))


def test_partners_share_noise_and_time_and_are_of_different_kinds() -> None:
    stack = pairs(3)
    assert stack.partner is not None
    assert stack.partner.tolist() == [3, 4, 5, 0, 1, 2]
    assert torch.equal(stack.noise[:, stack.partner], stack.noise)
    assert torch.equal(stack.t[:, stack.partner], stack.t)
    assert (stack.liked[:, stack.partner] != stack.liked).all()
    assert not torch.equal(stack.latents[:, stack.partner], stack.latents)


def test_dpo_in_a_crowd_is_dpo_on_each_plane(make_plane: Callable[..., Plane]) -> None:
    stack = pairs(4)
    crowd = StackedPlanes([make_plane(), make_plane()])
    with torch.no_grad():
        for weight in crowd.weights.values():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(5)))
    found = losses(crowd, stack, DPO(beta=7.0), [REFERENCE_POINTS["zero"]() for _ in range(2)])
    policy, reference = crowd.error(crowd.weights, stack), crowd.error(crowd.frozen, stack)
    for row in range(2):
        judged = Judged(
            policy_error=policy[row],
            reference_error=reference[row],
            liked=stack.liked[row],
            weight=torch.ones(8),
            reference_point=torch.tensor(0.0),
            partner=stack.partner,
        )
        alone = DPO(beta=7.0)(judged)
        assert alone.std() > 0.01
        assert torch.allclose(found[row], alone, atol=1e-6)


def test_restart_goes_back_to_the_reference_and_seeds_do_not_meet(make_plane: Callable[..., Plane]) -> None:
    crowd = StackedPlanes([make_plane(), make_plane()])
    stack = pairs(4)
    settings = Settings(steps=3, micro_batch=8, lr=1e-2)
    list(tune(crowd, repeat(stack), SFT(), [REFERENCE_POINTS["zero"]() for _ in range(2)], settings))
    moved = crowd.samples(5, 10, [1, 2])
    crowd.restart()
    kept = crowd.samples(5, 10, [1, 2])
    assert (moved - kept).abs().max() > 1e-3
    alone = StackedPlanes([make_plane()]).samples(5, 10, [2])
    assert torch.allclose(kept[1], alone[0], atol=1e-6)
