"""AlignProp: the gradient through kept steps is torch's own, earlier steps get none, and the best LoRA is kept."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from thumbtune import checksums
from thumbtune.experiments import alignprop_cells, demo
from thumbtune.experiments.alignprop import (
    Plan,
    batch_of,
    drawn_latents,
    passes_of,
    reward_of,
    sampled,
    train_by_reward,
)
from thumbtune.experiments.alignprop_cells import plan_of, reward_on
from thumbtune.experiments.experiments import Order, perform
from thumbtune.experiments.ground_cells import ground_cell
from thumbtune.experiments.grounds import GROUNDS
from thumbtune.models.drawing import draw
from thumbtune.models.protocol import Sampler
from thumbtune.runs.recipe import read_recipe
from thumbtune.training.progress import quiet
from thumbtune.training.trainer import Settings

PROMPTS, SEEDS = ["a cat", "a red fish"], [3, 4]
SAMPLER = Sampler(steps=2, guidance=2.0)


def brightness(pixels: Tensor, prompts: Sequence[str]) -> Tensor:
    return pixels.mean((1, 2, 3))


@pytest.fixture
def model(make_diffusion: Callable[..., Any], perturb: Callable[..., None]) -> Any:
    """A tiny Stable Diffusion whose LoRA is not zero, and which draws by DDIM as the bundled model does."""
    from diffusers import DDIMScheduler

    made = make_diffusion("epsilon")
    made.pipeline.scheduler = DDIMScheduler(
        timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=False, beta_schedule="scaled_linear"
    )
    perturb(made, by=0.05)
    return made


def gradients(model: Any, value: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(value, [weight for _, weight in model.trainable()]))


def reward_by_hand(model: Any, kept: int) -> Tensor:
    """The mean reward by the formula of DDIM (Song et al. 2021, eq. 12 with eta 0), and no checkpoint."""
    scheduler = model.pipeline.scheduler
    scheduler.set_timesteps(2)
    condition = model.embed(["", "", *PROMPTS])
    shape = model.latent_shape(model.size)
    x = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in SEEDS])
    alphas = scheduler.alphas_cumprod
    for place, t in enumerate(scheduler.timesteps):
        if place == 2 - kept:
            x = x.detach()
        without, prompted = model.predict(torch.cat([x, x]), t.expand(4), condition).chunk(2)
        noise = without + 2.0 * (prompted - without)
        now, then = alphas[t], alphas[t - 500] if t >= 500 else alphas[0]
        x = then.sqrt() * (x - (1 - now).sqrt() * noise) / now.sqrt() + (1 - then).sqrt() * noise
    return brightness(model.pixels(x).clamp(-1, 1), PROMPTS).mean()


@pytest.mark.parametrize("kept", [1, 2])
def test_the_gradient_is_torchs_own_through_the_kept_steps(model: Any, kept: int) -> None:
    own = reward_of(model, (PROMPTS, SEEDS), SAMPLER, kept, brightness).mean()
    expected = reward_by_hand(model, kept)
    torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-6)
    pairs = list(zip(gradients(model, own), gradients(model, expected), strict=True))
    assert max(float(wanted.abs().max()) for _, wanted in pairs) > 1e-5
    for found, wanted in pairs:
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)


def test_the_steps_before_are_constants() -> None:
    weights = torch.ones(3, requires_grad=True)  # one for each step
    start = torch.tensor([2.0])
    seen: list[bool] = []

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        seen.append(torch.is_grad_enabled())
        return weights[t] * x

    times = torch.tensor([2, 1, 0])
    end = sampled(denoise, lambda output, t, x: x + output, start, times, kept=1)
    (gradient,) = torch.autograd.grad(end.sum(), weights)
    # x doubles at each step: 2, 4, 8, and the last step adds weights[0] * 8
    assert end.item() == 16.0 and gradient.tolist() == [8.0, 0.0, 0.0]
    assert seen[:2] == [False, False] and all(seen[2:])


def test_it_draws_what_the_model_generates(model: Any) -> None:
    with torch.no_grad():
        torch.testing.assert_close(
            drawn_latents(model, PROMPTS, SEEDS, SAMPLER, 0), draw(model, PROMPTS, SEEDS, SAMPLER)
        )


def plan(**more: Any) -> Plan:
    given = {"train": PROMPTS, "held_out": (PROMPTS, SEEDS), "sampler": SAMPLER, "batch": 2, "seed": 0}
    return Plan(**(given | more))


def test_training_raises_the_reward_and_ends_with_the_weights_of_the_best_look(model: Any) -> None:
    found = train_by_reward(model, brightness, plan(every=2), Settings(steps=6, micro_batch=2, lr=1e-2))
    assert list(found.rewards) == [0, 2, 4, 6] and found.last == 6
    assert found.best == max(found.rewards, key=lambda step: found.rewards[step]) > 0
    with torch.no_grad():
        now = reward_of(model, (PROMPTS, SEEDS), SAMPLER, 0, brightness).mean().item()
    assert now == pytest.approx(found.rewards[found.best], abs=1e-6)


def test_training_stops_when_the_held_out_reward_does_not_rise(model: Any) -> None:
    before = [weight.detach().clone() for _, weight in model.trainable()]
    looks: list[None] = []

    def falls(pixels: Tensor, prompts: Sequence[str]) -> Tensor:
        if not pixels.requires_grad:  # a look at the held-out reward
            looks.append(None)
            return torch.full((len(pixels),), -float(len(looks)))
        return brightness(pixels, prompts)

    found = train_by_reward(model, falls, plan(every=1, patience=3), Settings(steps=9, micro_batch=2, lr=1e-2))
    assert (found.best, found.last) == (0, 3) and len(looks) == 4
    assert all(torch.equal(a, b) for a, (_, b) in zip(before, model.trainable(), strict=True))


def test_training_stops_where_the_held_out_reward_is_enough(model: Any) -> None:
    whole = train_by_reward(model, brightness, plan(every=1), Settings(steps=1, micro_batch=2, lr=1e-2))
    target = whole.rewards[1] + 1e-4  # it rises at each step
    found = train_by_reward(model, brightness, plan(every=1, enough=target), Settings(steps=9, micro_batch=2, lr=1e-2))
    assert found.last < 9 and found.last == found.best
    assert found.rewards[found.last] >= target > max(found.rewards[step] for step in range(found.last))


def test_batches_follow_from_seed_and_step() -> None:
    assert batch_of(plan(), 3) == batch_of(plan(), 3)
    assert batch_of(plan(), 3) != batch_of(plan(), 4) and batch_of(plan(seed=1), 3) != batch_of(plan(), 3)


def test_passes_are_counted_by_hand() -> None:
    # of 8 steps with guidance: 6 x 2 forward; 2 x 2 forward, again 2 x 2 forward, and 2 x 2 backward that count twice
    assert passes_of(Sampler(steps=8, guidance=3.0), kept=2) == 12 + 4 + 4 + 8


def test_held_out_prompts_are_rated_ones_that_are_not_trained_on() -> None:
    made = plan_of(ground_cell("soft-3d", "alignprop", 40), read_recipe(None))
    rated = {demo.prompt_of(concept) for concept in demo.concepts()["rated"]}
    held_out, seeds = made.held_out
    assert {*made.train} | {*held_out} == rated and not {*made.train} & {*held_out}
    assert len({*held_out}) == 4 and len({*seeds}) == len(held_out) == 16


def test_the_reward_is_the_small_networks_log_odds_of_what_is_wanted() -> None:
    from thumbtune.experiments.ground_labels import style_classifier

    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    prompts = [demo.prompt_of("red apple"), demo.prompt_of(demo.concepts()["rated"][0])]
    found = reward_on(GROUNDS["soft-3d"])(pixels, prompts)
    torch.testing.assert_close(found, style_classifier().log_odds_of_pixels(pixels, "soft 3d", "small"))
    assert not torch.allclose(found, style_classifier().log_odds_of_pixels(pixels, "soft 3d", "large"), atol=0.1)


def test_the_reward_of_each_image_is_by_the_style_that_its_prompt_wants() -> None:
    from thumbtune.experiments.ground_labels import style_classifier

    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    prompts = [demo.prompt_of("fox"), demo.prompt_of("key")]
    found = reward_on(GROUNDS["conditional"])(pixels, prompts)
    by_style = [style_classifier().log_odds_of_pixels(pixels, style, "small") for style in ("soft 3d", "flat")]
    torch.testing.assert_close(found, torch.stack([by_style[0][0], by_style[1][1]]))
    swapped = reward_on(GROUNDS["conditional"])(pixels, prompts[::-1])
    torch.testing.assert_close(swapped, torch.stack([by_style[1][0], by_style[0][1]]))
    assert not torch.allclose(found, swapped, atol=0.1)


def test_the_stopped_one_looks_twice_as_often_and_so_waits_half_as_long() -> None:
    cell, recipe = ground_cell("conditional", "alignprop", 40), read_recipe(None)
    assert (plan_of(cell, recipe).every, plan_of(cell, recipe, enough=5).every) == (20, 10)
    whole, stopped = alignprop_cells.facts_of(), alignprop_cells.facts_of(5)
    assert (whole["look_every"] * whole["patience"], stopped["look_every"] * stopped["patience"]) == (40, 20)


@pytest.mark.slow
def test_alignprop_end_to_end(tmp_path: Path) -> None:
    order = Order(folder=tmp_path, quick=True, ground="soft-3d", only=("alignprop",))
    assert "alignprop" in perform("beyond", order, quiet, print).read_text()
    stored = json.loads((tmp_path / "runs" / "alignprop-seed-40" / "row.json").read_text())["row"]
    # two steps of four images, each of 2 + 8 passes; the one held-out image is drawn twice with 4 passes
    assert stored["images"] == 8 and stored["passes"] == 8 * 10 + 2 * 4
    assert [*stored["rewards"]] == ["0", "2"] and stored["gap"] != 0
    assert (tmp_path / "runs" / "alignprop-seed-40" / "lora" / "pytorch_lora_weights.safetensors").exists()
    checksums.check(tmp_path / "runs" / "alignprop-seed-40")
