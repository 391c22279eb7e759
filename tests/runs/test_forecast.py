"""What a training will need: equal to what a real one takes, refused where there is too little, and said beforehand."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from thumbtune.errors import ThumbtuneError
from thumbtune.runs import build, forecast, time_and_disk
from thumbtune.runs.memory_estimate import Estimate, estimate
from thumbtune.runs.recipe import Recipe, read_recipe
from thumbtune.training.live_memory import LiveMemory

Call = Callable[..., tuple[int, str, str]]
Pipeline = Callable[..., Path]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"


def real_step(recipe: Recipe, count: int) -> tuple[int, int, int]:
    """The bytes of the networks, of what the optimiser keeps, and the peak of the second of two real steps."""
    model = build.model_of(recipe)
    image = Image.new("RGB", (64, 64))
    with LiveMemory() as memory:
        for part in model.pipeline.components.values():
            if isinstance(part, nn.Module):
                for weight in part.parameters():
                    memory.count(weight)
        networks = memory.now
        with model.reference():  # of all weights, that is a copy
            for _, weight in model.trainable():
                memory.count(weight)
        copied = memory.now - networks
        trained = [weight for _, weight in model.trainable()]
        optimizer = torch.optim.AdamW(trained)
        latents = model.encode([image] * count)
        condition = model.embed(["a"] * count) | model.image_condition([image] * count)
        t = torch.zeros(count)

        def step() -> None:
            noisy = latents + latents
            with torch.no_grad(), model.reference():
                reference = (model.predict(noisy, t, condition) - latents).pow(2).flatten(1).mean(1)
            error = (model.predict(noisy, t, condition) - latents).pow(2).flatten(1).mean(1)
            (error - reference).sigmoid().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        before = memory.now - copied
        step()
        kept = memory.now - before
        memory.begin_peak()
        step()
        return networks, kept, memory.peak


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["lora", "full"])
@pytest.mark.parametrize("kind", ["epsilon", "xl-epsilon"])
def test_the_estimate_is_what_a_real_training_takes(tiny_pipeline: Pipeline, kind: str, weights: str) -> None:
    base = tiny_pipeline(kind)
    recipe = read_recipe(None, [f"model={base}", f"train.weights={weights}", "train.precision=no"])
    found = estimate(recipe, micro_batch=3)
    assert found is not None
    networks, kept, peak = real_step(recipe, 3)
    assert sum(found.networks.values()) == pytest.approx(networks, rel=0.001)  # and some bytes of buffers
    assert found.optimiser == pytest.approx(kept, rel=0.02)
    assert found.step == pytest.approx(peak, rel=0.05)


def made(step: int, *, encode: int = 0, generate: int = 0) -> Estimate:
    return Estimate(
        networks={"unet": step // 2}, optimiser=0, step=step, micro_batch=1, encode=encode, generate=generate, at_once=8
    )


def test_what_is_needed_is_the_most_of_training_with_the_process_itself() -> None:
    one = forecast.Forecast(estimate=made(1000, encode=2000, generate=9000), beside=50, room=2149)
    assert one.needed == 2000 * 1.05 + 50
    assert not one.fits
    assert forecast.Forecast(estimate=made(1000, encode=2000), beside=50, room=2150).fits


def test_a_sample_needs_memory_where_the_system_would_end_the_process() -> None:
    one = replace(made(1000), samples=3000)
    here = forecast.Forecast(estimate=one, beside=50, room=3200, on_cpu=True)
    assert here.needed == 3000 * 1.05 + 50
    assert replace(here, processes=2).needed == 3000 * 1.05 + 50 + 1000 * 1.05 + 50, "one of them draws"
    assert replace(here, on_cpu=False).needed == 1000 * 1.05 + 50, "a GPU raises an error, and training goes on"
    (line,) = (line for line in forecast.memory_lines(here) if "a sample" in line)
    assert line.endswith("; a sample between two steps 0 MiB")


def test_the_bound_counts_samples_of_any_size(tiny_pipeline: Pipeline) -> None:
    """A training whose bound is small is not estimated, so the bound must hold the samples too."""
    words = [f"model={tiny_pipeline('epsilon')}", "train.micro_batch=1"]
    bound = forecast.bytes_at_most(read_recipe(None, words))
    samples = forecast.bytes_at_most(read_recipe(None, [*words, "train.sample_every=5"]))
    large = forecast.bytes_at_most(read_recipe(None, [*words, "train.sample_every=5", "evaluate.size=512"]))
    wide = forecast.bytes_at_most(read_recipe(None, [*words, "train.sample_every=5", "evaluate.size=512x64"]))
    assert bound <= samples < large == wide < float("inf")
    assert forecast.bytes_at_most(read_recipe(None, [*words, "evaluate.size=512"])) == bound


def test_samples_are_left_out_where_they_alone_are_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "of_process", lambda: 0)
    monkeypatch.setattr(forecast, "room_of", lambda device: 100)
    samples = {True: 200}  # by whether there are any

    def found(recipe: Recipe, micro_batch: int) -> Estimate:
        step = 60 if recipe.train.gradient_checkpointing else 90
        return replace(made(step), samples=samples.get(bool(recipe.train.sample_every), 0))

    monkeypatch.setattr(forecast, "estimate", found)
    recipe = read_recipe(None, ["train.sample_every=5", "train.gradient_checkpointing=false"])
    settings, other = forecast.settings_that_fit(recipe) or ([], None)
    assert settings == ["train.sample_every=0"] and other is not None and other.needed < 100
    monkeypatch.setattr(forecast, "room_of", lambda device: 80)
    assert (forecast.settings_that_fit(recipe) or ([], None))[0] == [
        "train.sample_every=0",
        "train.gradient_checkpointing=true",
    ]


def priced(recipe: Recipe, micro_batch: int) -> Estimate:
    """Ten bytes for all weights and two for a LoRA, for each image four bytes, or one with checkpointing."""
    train = recipe.train
    return made((10 if train.weights == "full" else 2) + micro_batch * (1 if train.gradient_checkpointing else 4))


@pytest.mark.parametrize("extra", [["--dry-run"], []])
def test_too_little_memory_is_refused_with_settings_that_fit(
    call: Call, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: list[str]
) -> None:
    monkeypatch.setattr(forecast, "estimate", priced)
    monkeypatch.setattr(forecast, "KEPT", forecast.GIB)
    monkeypatch.setattr(forecast, "SMALL", 0)
    monkeypatch.setattr(forecast, "of_process", lambda: forecast.GIB)
    words = ["train", "--out", tmp_path / "run", *settings, *extra, "--set", "train.weights=full"]
    words += ["--set", "train.lr=1e-7", "--set", "train.micro_batch=2", "--set", "train.batch=2"]
    checkpointing, one, lora = "train.gradient_checkpointing=true", "train.micro_batch=1", "train.weights=lora"
    for room, changes, needs in (  # 1 + 10 + 2 * 4 GiB
        (18, [checkpointing], 13),
        (12, [checkpointing, one], 12),
        (11, [checkpointing, one, lora], 4),  # and not the optimiser, which was tried before
    ):
        monkeypatch.setattr(forecast, "room_of", lambda device, room=room: room * forecast.GIB)
        code, out, err = call(*words)
        asked = " ".join(f"--set {change}" for change in changes)
        assert code == 1 and f"needs 19.0 GiB of memory, and this machine has {room}.0 GiB" in err
        assert err.endswith(f"; with {asked} it needs {needs}.0 GiB.\n") and err.count("\n") == 1
        assert ("memory      " in out) == bool(extra)
        assert not (tmp_path / "run").exists() and not (tmp_path / "cache").exists()
    monkeypatch.setattr(forecast, "room_of", lambda device: forecast.GIB)
    code, _, err = call(*words)
    assert code == 1 and "take another device, or a smaller model" in err


@pytest.mark.parametrize(
    ("own", "size", "room", "needs", "changes"),
    [
        (64, 1024, 40, 18, ["train.size=256"]),  # 2 + (size / 64)^2 GiB; 66 with 512, 258 with 1024
        (64, 200, 5, 3, ["train.size=64"]),
        (64, 100, 2, None, []),
        (1024, 2048, 100, 66, ["train.size=512"]),  # below the model's own
        (1024, None, 100, 66, ["train.size=512"]),
    ],
)
def test_a_smaller_size_is_tried_last(
    own: int,
    size: int | None,
    room: int,
    needs: int | None,
    changes: list[str],
    tiny_pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def priced_by_size(recipe: Recipe, micro_batch: int) -> Estimate:
        return made(2 + ((recipe.train.size or own) // 64) ** 2)

    monkeypatch.setattr(forecast, "estimate", priced_by_size)
    monkeypatch.setattr(forecast, "KEPT", forecast.GIB)
    monkeypatch.setattr(forecast, "own_side", lambda base, factor: own)
    monkeypatch.setattr(forecast, "of_process", lambda: 0)
    monkeypatch.setattr(forecast, "room_of", lambda device: room * forecast.GIB)
    chosen = [f"model={tiny_pipeline('epsilon')}", *([] if size is None else [f"train.size={size}"])]
    found = forecast.settings_that_fit(read_recipe(None, chosen))
    if needs is None:
        assert found is None
    else:
        assert found is not None and (found[0], found[1].needed) == (changes, needs * forecast.GIB)


def test_a_smaller_size_is_tried_with_other_changes(tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def both(recipe: Recipe, micro_batch: int) -> Estimate:
        return made((recipe.train.size or 64) // 64 * (1 if recipe.train.gradient_checkpointing else 4))

    monkeypatch.setattr(forecast, "estimate", both)
    monkeypatch.setattr(forecast, "KEPT", forecast.GIB)
    monkeypatch.setattr(forecast, "own_side", lambda base, factor: 64)
    monkeypatch.setattr(forecast, "of_process", lambda: 0)
    monkeypatch.setattr(forecast, "room_of", lambda device: 3 * forecast.GIB)
    found = forecast.settings_that_fit(read_recipe(None, [f"model={tiny_pipeline('epsilon')}", "train.size=256"]))
    assert found is not None and found[0] == ["train.size=128", "train.gradient_checkpointing=true"]


def test_what_saves_memory_is_offered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = read_recipe(
        None, ["model=owner/stable-diffusion-v1-5", "train.precision=no"]
    )  # with checkpointing, one image at once
    assert not list(forecast.savers_of(recipe))  # on a CPU
    gpu = SimpleNamespace(device=torch.device("cuda"), num_processes=1)
    monkeypatch.setattr(forecast, "team", lambda: gpu)
    blocks = ("train.blocks_to_swap", "all")
    assert list(forecast.savers_of(recipe)) == [("train.precision", "bf16"), ("train.quantize_base", "int8"), blocks]
    for own in ("train.quantize_base=nf4", "lora.dora=true"):
        other = read_recipe(None, ["model=owner/stable-diffusion-v1-5", "train.precision=no", own])
        assert list(forecast.savers_of(other)) == [("train.precision", "bf16"), blocks]
    other = read_recipe(None, ["model=owner/stable-diffusion-v1-5", "train.precision=bf16", "train.blocks_to_swap=all"])
    assert list(forecast.savers_of(other)) == [("train.quantize_base", "int8")]
    monkeypatch.setattr(forecast, "find_spec", lambda name: None)
    full = read_recipe(None, ["model=owner/stable-diffusion-v1-5", "train.precision=bf16", "train.weights=full"])
    assert [name for name, _ in forecast.savers_of(full)] == ["train.weights"]
    monkeypatch.setattr(forecast, "find_spec", lambda name: name)
    assert [name for name, _ in forecast.savers_of(full)] == ["train.optimizer", "train.weights"]


def test_pairs_need_two_images_at_once() -> None:
    recipe = read_recipe(None, ["objective.name=dpo", "train.micro_batch=8", "train.gradient_checkpointing=true"])
    assert list(forecast.savers_of(recipe)) == [("train.micro_batch", 2)]
    assert not list(forecast.savers_of(forecast.changed(recipe, "train.micro_batch", 2)))


def test_several_processes_have_a_share_of_the_batch_each(monkeypatch: pytest.MonkeyPatch) -> None:
    four = SimpleNamespace(device=torch.device("cpu"), num_processes=4)
    monkeypatch.setattr(forecast, "team", lambda: four)
    assert forecast.least_micro_batch(read_recipe(None, ["train.micro_batch=32", "train.batch=32"])) == 8


def test_the_images_that_fit_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = read_recipe(None, ["model=owner/stable-diffusion-v1-5", "train.batch=32"])
    monkeypatch.setattr(forecast, "estimate", lambda recipe, micro_batch: made(1000 + 100 * micro_batch))
    for room, count in ((1155, 1), (1365, 2), (2730, 16), (4410, 32)):  # 1.05 * (1000 + 100 images)
        one = forecast.Forecast(estimate=made(1100), beside=0, room=room)
        assert forecast.images_that_fit(recipe, one) == count


def test_a_small_model_is_trained_without_an_estimate(tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = read_recipe(None, [f"model={tiny_pipeline('epsilon')}"])

    def never(*args: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(forecast, "forecast_of", never)
    monkeypatch.setattr(forecast, "room_of", lambda device: 8 * forecast.GIB)
    forecast.check_memory(recipe)
    forecast.check_memory(read_recipe(None, ["model=tiny-emoji-64"]))
    for large in ("train.size=2048", "lora.rank=200000", "lora.start=a.safetensors"):
        with pytest.raises(AssertionError):
            forecast.check_memory(read_recipe(None, [f"model={tiny_pipeline('epsilon')}", large]))
    images = ["train.batch=100000", "train.micro_batch=100000"]
    with pytest.raises(AssertionError):
        forecast.check_memory(read_recipe(None, [f"model={tiny_pipeline('epsilon')}", *images]))
    monkeypatch.setattr(forecast, "room_of", lambda device: 1000)
    with pytest.raises(AssertionError):
        forecast.check_memory(recipe)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["epsilon", "xl-epsilon"])
@pytest.mark.parametrize("options", [[], ["train.weights=full"], ["train.size=64", "lora.rank=128"]])
def test_the_bound_of_a_small_training_is_above_its_estimate(
    tiny_pipeline: Pipeline, kind: str, options: list[str]
) -> None:
    for batch in (1, 8):
        numbers = [f"train.batch={batch}", f"train.micro_batch={batch}", "train.precision=no"]
        recipe = read_recipe(None, [f"model={tiny_pipeline(kind)}", *numbers, *options])
        found = estimate(recipe)
        assert found is not None
        assert max(found.step, found.encode, found.load) < forecast.bytes_at_most(recipe)


@pytest.mark.slow
def test_the_bound_counts_the_parts_of_the_family_alone(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    for kind in ("epsilon", "xl-epsilon"):
        base = tmp_path / kind
        shutil.copytree(tiny_pipeline(kind), base)
        recipe = read_recipe(None, [f"model={base}"])
        bound = forecast.bytes_at_most(recipe)
        assert bound < float("inf")
        shutil.copytree(base / "unet", base / "safety_checker")  # loading leaves it out
        (base / "v1-5-pruned.safetensors").write_text(POINTER)
        (base / "unet" / "older").mkdir()
        (base / "unet" / "older" / "cut.safetensors").write_bytes(b"cut off")
        assert forecast.bytes_at_most(recipe) == bound
        forecast.check_memory(recipe)
        for file, text in (("unpulled", POINTER), ("cut", "cut off")):  # beside the weights, or in their place
            (base / "unet" / f"{file}.safetensors").write_text(text)
            assert forecast.bytes_at_most(recipe) == float("inf")
            forecast.check_memory(recipe)
            (base / "unet" / f"{file}.safetensors").unlink()
        (base / "text_encoder" / "model.safetensors").unlink()
        assert forecast.bytes_at_most(recipe) == float("inf")


def test_a_model_of_unknown_shapes_is_estimated(tmp_path: Path) -> None:
    assert forecast.bytes_at_most(read_recipe(None, ["model=owner/stable-diffusion-v1-5"])) == float("inf")
    (tmp_path / "one.safetensors").touch()
    assert forecast.bytes_at_most(read_recipe(None, [f"model={tmp_path / 'one.safetensors'}"])) == float("inf")


def test_a_cpu_adds_loading_and_holes_and_counts_every_process() -> None:
    one = replace(made(1000, encode=900), load=2000, converted=300, heap=100)
    gpu = forecast.Forecast(estimate=one, beside=50, room=1100)
    assert gpu.needed == 1000 * 1.05 + 50 and gpu.fits
    assert "loading 0 MiB, in the memory of the machine" in forecast.memory_lines(gpu)
    cpu = forecast.Forecast(estimate=one, beside=50, room=2050, on_cpu=True, holes=200)
    assert (cpu.needed, cpu.pages) == (2000 + 50, 300)
    assert cpu.fits  # the files' own pages can be given back
    assert not forecast.Forecast(estimate=one, beside=50, room=2049, on_cpu=True, holes=200).fits
    holes = forecast.Forecast(estimate=one, beside=50, room=9000, on_cpu=True, holes=2000)
    assert holes.needed == 3000 * 1.05 + 50
    two = forecast.Forecast(estimate=one, beside=50, room=6399, on_cpu=True, holes=2000, processes=2)
    assert two.needed == 2 * holes.needed and not two.fits
    assert "with 2 processes on this machine, training takes" in forecast.memory_lines(two)[-1]


@pytest.mark.parametrize(
    ("load", "converted", "step", "needed", "pages", "fits"),
    [
        (13, 6, 4, 13, 6, True),  # loading with the pages would not fit, and need not
        (17, 6, 4, 17, 6, False),
        (9, 3, 11, 11, 1, True),  # a step takes a part of what the pages took
        (9, 1, 11, 11, 0, True),
        (9, 3, 17, 17, 0, False),
        (13, 0, 4, 13, 0, True),
    ],
)
def test_the_number_that_decides_is_the_one_that_is_told(
    load: int, converted: int, step: int, needed: int, pages: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "KEPT", 1)
    one = replace(made(step * forecast.GIB), load=load * forecast.GIB, converted=converted * forecast.GIB)
    found = forecast.Forecast(estimate=one, beside=0, room=16 * forecast.GIB, on_cpu=True)
    assert (found.needed, found.pages) == (needed * forecast.GIB, pages * forecast.GIB)
    assert found.fits is fits
    apart = f", and up to {pages}.0 GiB of pages that can be given back" if pages else ""
    lines = forecast.memory_lines(found)
    assert lines[-1] == f"with the process itself, training takes {needed}.0 GiB of 16.0 GiB{apart}"
    assert lines[-2].startswith(f"loading {load}.0 GiB; holes ")
    monkeypatch.setattr(forecast, "settings_that_fit", lambda recipe: None)
    recipe = read_recipe(None, ["model=owner/stable-diffusion-v1-5"])
    if fits:
        forecast.refuse_too_large(recipe, found)
    else:
        with pytest.raises(ThumbtuneError, match=rf"needs {needed}\.0 GiB of memory, and this machine has 16\.0 GiB"):
            forecast.refuse_too_large(recipe, found)


def test_processes_on_one_cpu_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    state = SimpleNamespace(device=torch.device("cpu"), num_processes=4)
    monkeypatch.setattr(forecast, "team", lambda: state)
    monkeypatch.setattr(forecast, "estimate", lambda recipe, micro_batch: made(1000))
    monkeypatch.setattr(forecast, "of_process", lambda: 50)
    recipe = read_recipe(None, ["model=owner/stable-diffusion-v1-5", "train.batch=4"])
    for local, processes in ((None, 4), ("2", 2)):  # the others are on another machine
        if local is not None:
            monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
        found = forecast.forecast_of(recipe)
        assert found is not None and found.needed == processes * (1000 * 1.05 + 50)
    state.device = torch.device("cuda")  # each has its own
    monkeypatch.setattr(forecast, "room_of", lambda device: 2000)
    found = forecast.forecast_of(recipe)
    assert found is not None and found.needed == 1000 * 1.05 + forecast.DRIVER


@pytest.mark.slow
@pytest.mark.parametrize(("checkpointing", "times"), [("true", 2), ("false", 1)])
def test_holes_are_those_of_small_activations(tiny_pipeline: Pipeline, checkpointing: str, times: int) -> None:
    options = [f"train.gradient_checkpointing={checkpointing}", "train.precision=no"]
    base = tiny_pipeline("epsilon")
    on_disk = sum(file.stat().st_size for file in base.rglob("*.safetensors"))  # in float32
    for weights in ("lora", "full"):
        recipe = read_recipe(None, [f"model={base}", *options, f"train.weights={weights}"])
        found = forecast.forecast_of(recipe)
        assert found is not None and 0 < found.estimate.heap < found.estimate.step
        assert found.holes == times * found.estimate.heap
        assert found.estimate.load == pytest.approx(on_disk, rel=0.1)
        assert found.estimate.converted == 0


def test_the_least_images_at_once() -> None:
    assert forecast.least_micro_batch(read_recipe(None, ["train.micro_batch=auto"])) == 1
    assert forecast.least_micro_batch(read_recipe(None, ["train.micro_batch=auto", "objective.name=dpo"])) == 2
    assert forecast.least_micro_batch(read_recipe(None, ["train.micro_batch=32", "train.batch=8"])) == 8


def test_bytes_of_checkpoints_by_hand() -> None:
    recipe, of_1000 = read_recipe(None, ["train.steps=500", "train.checkpoint_every=50"]), [torch.zeros(10, 100)]
    assert time_and_disk.bytes_of_checkpoint(recipe, of_1000) == 12_000  # the weight and two moments
    assert time_and_disk.number_of_checkpoints(recipe) == 11  # with the first, for the guards
    kept = read_recipe(None, ["train.steps=500", "train.keep_checkpoints=2", "train.ema=0.9", "train.guards=false"])
    assert time_and_disk.bytes_of_checkpoint(kept, of_1000) == 16_000
    assert time_and_disk.number_of_checkpoints(kept) == 2
    small = read_recipe(None, ["train.optimizer=adamw-8bit"])
    large = torch.zeros(1000, 1000)  # a moment takes one byte, and its scales four for each 256
    assert time_and_disk.bytes_of_checkpoint(small, [large]) == 6_000_000 + 2 * 4 * 3907
    assert time_and_disk.bytes_of_checkpoint(small, of_1000) == 12_000  # which stays in float32
    assert time_and_disk.bytes_of_checkpoint(small, [large, *of_1000, *of_1000]) == 6_031_256 + 24_000


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "adamw-8bit"])
def test_the_forecast_of_disk_is_what_a_run_writes(
    call: Call, settings: list[str], tmp_path: Path, optimizer: str
) -> None:
    if optimizer == "adamw-8bit":
        pytest.importorskip("bitsandbytes")
        settings = [*settings, "--set", f"train.optimizer={optimizer}", "--set", "lora.rank=256"]
        settings += ["--set", "train.guards=false"]  # whose first checkpoint has no moments yet
    run = tmp_path / "run"
    options = read_recipe(None, [word for word in settings if "=" in word])
    assert call("train", "--out", run, *settings)[0] == 0
    model = build.model_of(options)
    trained = [weight for _, weight in model.trainable()]
    folders = [path for path in (run / "checkpoints").iterdir() if path.is_dir()]
    written = sum(file.stat().st_size for folder in folders for file in folder.rglob("*.safetensors"))
    assert len(folders) == time_and_disk.number_of_checkpoints(options)
    assert written == pytest.approx(len(folders) * time_and_disk.bytes_of_checkpoint(options, trained), rel=0.1)


def test_a_measured_step_counts_all_parts(tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = read_recipe(None, [f"model={tiny_pipeline('epsilon')}", "train.batch=8", "train.precision=no"])
    model, calls = build.model_of(recipe), []
    before = {name: weight.clone() for name, weight in model.trainable()}
    predict = model.predict

    def counted(noisy: torch.Tensor, *rest: Any) -> torch.Tensor:
        calls.append(len(noisy))
        return predict(noisy, *rest)

    monkeypatch.setattr(type(model), "predict", lambda self, *all_of_it: counted(*all_of_it))
    clock = iter(range(100))
    monkeypatch.setattr(time_and_disk.time, "perf_counter", lambda: next(clock))
    seconds = time_and_disk.seconds_of_step(model, recipe, 2, build.training_accelerator_of(recipe))
    # each part lasts one tick, and there are four; the policy is looked at once more, for the reference point of all
    assert (seconds, calls) == (4.0, [2] * 6)
    assert all(weight.equal(before[name]) and weight.grad is None for name, weight in model.trainable())


@pytest.mark.slow
def test_doctor_tells_what_a_model_needs(call: Call, tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    code, out, err = call("doctor", "--model", tiny_pipeline("epsilon"), "--set", "train.batch=4")
    assert code == 0, err
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "16 x 16 pixels" in lines["model"] and "networks" in lines["memory"] and "a step of 4" in lines["time"]
    assert "checkpoints of" in lines["disk"] and "GiB free" in lines["disk"]
    assert call("doctor", "--set", "train.batch=4")[0] == 2
    inpainting = tmp_path / "inpainting"
    inpainting.mkdir()
    (inpainting / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusion3Pipeline"}))
    code, _, err = call("doctor", "--model", inpainting)
    assert code == 1 and "StableDiffusion3Pipeline" in err
