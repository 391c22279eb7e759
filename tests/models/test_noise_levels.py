"""Densities, shifts and weights of noise levels: equal to diffusers' functions, refused where they are not meant."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.training_utils import compute_density_for_timestep_sampling, compute_loss_weighting_for_sd3
from refusals import refused
from torch import Tensor

from thumbtune.models.densities import MODE_SCALES, logit_normal, mode
from thumbtune.models.noise_levels import NoiseLevels, elbo, snr_of, time_of, words_of
from thumbtune.models.plane import Plane
from thumbtune.models.process import DynamicShift, FlowProcess, VPProcess
from thumbtune.objective.kto import KTO
from thumbtune.runs import build
from thumbtune.runs.recipe import Recipe, read_recipe, recipe_text
from thumbtune.training.denoising import error
from thumbtune.training.trainer import train

LEVELS = torch.linspace(0.02, 0.98, 49)
VP = Plane().process


def theirs(scheme: str, **options: float) -> Tensor:
    """Two hundred thousand draws of diffusers, sorted."""
    generator = torch.Generator().manual_seed(0)
    return compute_density_for_timestep_sampling(scheme, 200_000, generator=generator, **options).sort().values  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "scheme"),
    [
        ({"density": "uniform"}, {"scheme": "none"}),
        ({}, {"scheme": "logit_normal", "logit_mean": 0.0, "logit_std": 1.0}),
        (
            {"logit_mean": 0.5, "logit_std": 0.6},
            {"scheme": "logit_normal", "logit_mean": 0.5, "logit_std": 0.6},
        ),
        (
            {"density": "logit-normal", "logit_mean": -1.0, "logit_std": 1.7},
            {"scheme": "logit_normal", "logit_mean": -1.0, "logit_std": 1.7},
        ),
        ({"density": "mode"}, {"scheme": "mode", "mode_scale": 1.29}),
        ({"density": "mode", "mode_scale": -0.5}, {"scheme": "mode", "mode_scale": -0.5}),
        ({"density": "mode", "mode_scale": 1.75}, {"scheme": "mode", "mode_scale": 1.75}),
    ],
)
def test_the_quantiles_of_a_density_are_those_of_diffusers(options: dict[str, Any], scheme: dict[str, Any]) -> None:
    process = NoiseLevels(**options).on(FlowProcess())
    ours = process.times(LEVELS) / 1000
    drawn = theirs(**scheme)
    expected = drawn[(LEVELS * (len(drawn) - 1)).round().long()]
    assert (ours - expected).abs().max() < 0.006  # 200,000 draws
    assert (ours.diff() > 0).all()  # so a bias above 1 is more noise


@pytest.mark.parametrize(("option", "scheme"), [("sigma-sqrt", "sigma_sqrt"), ("cosmap", "cosmap"), ("none", "none")])
def test_weights_are_those_of_diffusers(option: str, scheme: str) -> None:
    t = LEVELS * 1000
    expected = compute_loss_weighting_for_sd3(scheme, LEVELS)
    ours = NoiseLevels(weighting=option).on(FlowProcess()).weights(t)
    torch.testing.assert_close(torch.ones_like(t) if ours is None else ours, expected, rtol=1e-6, atol=0)


def test_a_scripts_table_of_sigmas_falls_so_its_mean_has_the_other_sign() -> None:
    """diffusers' scripts read `scheduler.sigmas[int(1000 u)]`, which the documentation says."""
    scheduler: Any = FlowMatchEulerDiscreteScheduler()
    assert scheduler.sigmas[0] == 1 and (scheduler.sigmas.diff() < 0).all()
    u = theirs("logit_normal", logit_mean=0.7, logit_std=1.0)
    read = scheduler.sigmas[(u * 1000).long()].sort().values
    ours = FlowProcess(logit_mean=-0.7).times(LEVELS) / 1000
    assert (ours - read[(LEVELS * (len(u) - 1)).round().long()]).abs().max() < 0.01


def test_defaults_leave_a_process_as_it_is_bit_for_bit() -> None:
    uniform = torch.rand(10_000, generator=torch.Generator().manual_seed(0))
    for process in (FlowProcess(), FlowProcess(shift=3.0), FlowProcess(density="uniform"), VP):
        assert NoiseLevels().on(process) is process and process.weights(process.times(uniform)) is None
    before = torch.sigmoid(math.sqrt(2) * torch.erfinv(2 * uniform.clamp(1e-4, 1 - 1e-4) - 1))
    assert torch.equal(FlowProcess().times(uniform), 1.0 * before / (1 + 0.0 * before) * 1000)
    assert torch.equal(logit_normal(uniform.clamp(1e-4, 1 - 1e-4), 0.0, 1.0), before)


@pytest.mark.parametrize("shift", [0.01, 0.5, 1.0, 3.0, 100.0])
@pytest.mark.parametrize(
    "options",
    [
        {"density": "uniform"},
        {"logit_mean": 10.0, "logit_std": 10.0},
        {"logit_mean": -10.0, "logit_std": 10.0},
        {"density": "mode", "mode_scale": MODE_SCALES[1]},
        {"density": "mode", "mode_scale": -1.0},
    ],
)
def test_levels_and_weights_stay_finite_at_the_ends(options: dict[str, Any], shift: float) -> None:
    ends = torch.tensor([0.0, 1e-9, 0.5, 1 - 2**-24])
    for weighting in ("sigma-sqrt", "cosmap", "elbo"):
        process = NoiseLevels(**options, shift=shift, weighting=weighting).on(FlowProcess())
        t, weights = process.times(ends), process.weights(process.times(ends))
        assert weights is not None and weights.isfinite().all() and (weights >= 0).all()
        assert (0 < t).all() and (t <= 1000).all()


def test_a_number_for_the_shift_replaces_that_of_the_scheduler_of_either_kind() -> None:
    half = torch.tensor([0.5])
    for scheduler in (3.0, DynamicShift(positions_per_token=4)):
        chosen = NoiseLevels(shift=2.0).on(FlowProcess(shift=scheduler))
        assert chosen.times(half) == pytest.approx(2 / 3 * 1000)
        kept = NoiseLevels(density="uniform").on(FlowProcess(shift=scheduler))
        assert isinstance(kept, FlowProcess) and kept.shift == scheduler


def test_the_bias_acts_before_the_density_and_the_shift_after_it() -> None:
    u, process = torch.tensor([0.3]), FlowProcess(logit_mean=0.4, logit_std=0.8, shift=3.0)
    middle = logit_normal(u ** (1 / 2), 0.4, 0.8)
    torch.testing.assert_close(process.times(u ** (1 / 2)), 1000 * 3 * middle / (1 + 2 * middle))
    assert float(mode(torch.tensor([0.5]))) == pytest.approx(0.5)


# --- models that are no rectified flow ------------------------------------------------------------

FLOW_ONLY = {
    "logit-normal": {"density": "logit-normal"},
    "mode": {"density": "mode"},
    "shift": {"shift": 3.0},
    "mean": {"logit_mean": 0.5},
    "deviation": {"logit_std": 0.5},
    "cosmap": {"weighting": "cosmap"},
    "sigma-sqrt": {"weighting": "sigma-sqrt"},
}


@pytest.mark.parametrize("options", FLOW_ONLY.values(), ids=list(FLOW_ONLY))
def test_other_processes_refuse_what_belongs_to_flow(
    options: dict[str, Any], make_diffusion: Callable[..., Any]
) -> None:
    model = make_diffusion("epsilon")
    with refused("timesteps-flow-only", naming=["train.", "timestep_bias"]):
        model.choose_noise_levels(NoiseLevels(**options))


def test_other_processes_have_uniform_times_and_the_weight_of_the_bound() -> None:
    uniform = torch.rand(100, generator=torch.Generator().manual_seed(0))
    chosen = NoiseLevels(density="uniform", weighting="elbo").on(VP)
    assert torch.equal(chosen.times(uniform), VP.times(uniform))
    weights = chosen.weights(chosen.times(uniform))
    assert weights is not None and torch.equal(weights, elbo(VP, VP.times(uniform)))


RECIPE_FAULTS = {
    "train.mode_scale=1.0": "train.timestep_density=mode",
    "train.mode_scale=0.5 train.timestep_density=uniform": "train.timestep_density=mode",
    "train.logit_mean=0.5 train.timestep_density=mode": "train.timestep_density=logit-normal",
    "train.logit_std=0.5 train.timestep_density=uniform": "train.timestep_density=logit-normal",
}


@pytest.mark.parametrize(("settings", "named"), RECIPE_FAULTS.items())
def test_a_density_refuses_the_numbers_of_another(settings: str, named: str) -> None:
    with refused("option-unused", naming=[named]):
        read_recipe(None, settings.split())


@pytest.mark.parametrize(
    "setting",
    [
        "train.timestep_shift=0",
        "train.timestep_shift=-1",
        "train.timestep_shift=1000",
        "train.timestep_shift=three",
        "train.timestep_shift=yes",
        "train.timestep_density=logitnormal",
        "train.timestep_weighting=min-snr",
        "train.logit_std=0",
        "train.mode_scale=2",
    ],
)
def test_other_values_are_refused(setting: str) -> None:
    with refused("recipe-value", naming=[setting.partition("=")[0]]):
        read_recipe(None, [setting])


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("weighting_scheme", "train.timestep_density"),
        ("timestep_sampling", "train.timestep_density"),
        ("discrete_flow_shift", "train.timestep_shift"),
        ("sigmoid_scale", "train.logit_std"),
        ("logit_mean", "train.logit_mean"),
    ],
)
def test_the_names_of_other_trainers_lead_to_ours(given: str, ours: str) -> None:
    with refused("recipe-unknown-option", naming=[ours]):
        read_recipe(None, [f"{given}=1"])


def test_a_recipe_reads_back_and_explains_each_option(tmp_path: Path) -> None:
    recipe = read_recipe(
        None, ["train.timestep_density=mode", "train.timestep_shift=2", "train.timestep_weighting=elbo"]
    )
    text = recipe_text(recipe)
    assert "timestep_shift: 2.0" in text and "# Weight of squared errors by noise level" in text
    (tmp_path / "recipe.yaml").write_text(text)
    assert read_recipe(tmp_path / "recipe.yaml") == recipe
    assert build.noise_levels_of(Recipe()) == NoiseLevels()


def test_a_model_is_refused_before_its_weights_are_read_and_a_flow_model_gets_its_levels(
    tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    for part in ("scheduler", "unet", "vae", "text_encoder", "tokenizer"):
        (bare / part).mkdir(parents=True)
    source = tiny_pipeline("epsilon")
    for file in source.rglob("*.json"):
        target = bare / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.read_text())
    for folder in ("unet", "vae", "text_encoder"):
        (bare / folder / "model.safetensors").write_bytes(b"not read")
        (bare / folder / "diffusion_pytorch_model.safetensors").write_bytes(b"not read")
    with refused("timesteps-flow-only", naming=["timestep_shift 3", str(bare)]):
        build.check_model(read_recipe(None, [f"model={bare}", "train.timestep_shift=3"]))
    settings = [f"model={tiny_pipeline('sd3')}", "train.timestep_density=mode", "train.timestep_weighting=cosmap"]
    recipe = read_recipe(None, settings)
    build.check_model(recipe)
    process = build.model_of(recipe, training=False).process
    assert isinstance(process, FlowProcess) and process.density == "mode" and process.shift == 3.0
    assert words_of(process) == "mode (scale 1.29), shifted by 3, weight cosmap"
    assert words_of(NoiseLevels(weighting="elbo").on(VP)) == "all 100 times equally often, weight elbo"
    assert words_of(VP, 3.0, [0.5, 1.0]) == (
        "all 100 times, high noise more often (timestep_bias 3), weight 1, dislikes only from 0.5 to 1 of the process"
    )
    assert words_of(FlowProcess(shift=3.0), 0.5) == (
        "logit-normal (mean 0, deviation 1), shifted by 3, low noise more often (timestep_bias 0.5), weight 1"
    )


def test_runs_of_before_have_the_defaults(tmp_path: Path) -> None:
    whole = Recipe().model_dump(mode="json")
    for name in ("timestep_density", "logit_mean", "logit_std", "mode_scale", "timestep_shift", "timestep_weighting"):
        del whole["train"][name]
    (tmp_path / "recipe.yaml").write_text(json.dumps(whole))
    assert read_recipe(tmp_path / "recipe.yaml") == Recipe()


# --- what a weight does ---------------------------------------------------------------------------


def test_equal_signal_to_noise_is_the_same_sigma() -> None:
    for process in (FlowProcess(), VP):
        for sigma in (0.1, 0.5, 0.9):
            t = torch.tensor([time_of(process, sigma)])
            ratio = float(snr_of(process, t)) / ((1 - sigma) / sigma) ** 2
            assert ratio == pytest.approx(1, abs=0.05)  # the plane has 100 times


def test_a_weight_is_a_beta_for_each_noise_level(
    make_plane: Callable[..., Plane], make_batches: Callable[..., Any]
) -> None:
    from accelerate import Accelerator

    plane, points = make_plane(), [(0.2, 0.3), (0.8, 0.4), (0.5, 0.9), (0.4, 0.1)]
    batch = make_batches(plane, points, [True, False, True, False]).batch(0)
    plain = error(plane, batch, Accelerator(cpu=True))
    chosen = NoiseLevels(weighting="elbo").on(plane.process)
    assert isinstance(chosen, VPProcess)
    plane.process = chosen
    weighted = error(plane, batch, Accelerator(cpu=True))
    torch.testing.assert_close(weighted, plain * elbo(VP, batch.t), rtol=1e-6, atol=0)
    assert len(elbo(VP, batch.t).unique()) > 1
    # the utility takes beta * weight * log-ratio: with one noise level, a weight w is a beta of w * beta
    from thumbtune.objective.kto import Judged

    def loss(beta: float, factor: float) -> Tensor:
        judged = Judged(
            policy_error=0.9 * factor * plain,
            reference_error=factor * plain,
            liked=batch.liked,
            weight=batch.weight,
            reference_point=torch.tensor(0.0),
        )
        return KTO(beta=beta)(judged)

    torch.testing.assert_close(loss(2.0, 3.0), loss(6.0, 1.0), rtol=1e-6, atol=0)
    assert not torch.allclose(loss(2.0, 3.0), 3 * loss(2.0, 1.0), rtol=1e-2)


def test_a_weight_of_one_level_trains_as_its_beta_does(
    make_plane: Callable[..., Plane], make_batches: Callable[..., Any], make_training: Callable[..., Any]
) -> None:
    def trained(weight: float | None, beta: float) -> list[float | None]:
        plane = make_plane()
        if weight is not None:
            from dataclasses import replace

            plane.process = replace(plane.process, weighting=lambda process, t: torch.full(t.shape, weight))
        points = [(0.2 + 0.05 * i, 0.3 + 0.04 * i) for i in range(8)]
        batches = make_batches(plane, points, [True, False] * 4)
        training = make_training(plane, steps=5, lr=1e-3)
        return [step.gain for step in train(training, batches, KTO(beta=beta))]

    assert trained(4.0, 10.0) == pytest.approx(trained(None, 40.0), rel=1e-4, abs=1e-7)
