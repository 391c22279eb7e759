"""Wan 2.2 A14B: two networks, each for times of its own, with a LoRA each, in training, files and drawing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusals import refused
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from thumbtune.errors import UsageError
from thumbtune.models.experts import Experts
from thumbtune.models.families import adapter_of
from thumbtune.models.full import Full
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora_files import find_lora
from thumbtune.models.lora_loading import place, put_on_pipeline
from thumbtune.models.lora_saving import DIFFUSERS_FILE, SECOND_FILE
from thumbtune.models.pipeline_files import check_pipeline
from thumbtune.models.protocol import Sampler
from thumbtune.models.without_weights import networks_without_weights, pipeline_without_weights

Tiny = Callable[[str], Path]
Make = Callable[..., Any]
NAME, SECOND = "wan-experts", "transformer_2"
MIXED = (990.0, 40.0, 875.0, 874.5)


def answer(model: Any, times: tuple[float, ...] = MIXED) -> Tensor:
    noisy = torch.randn(len(times), 4, 8, 8, generator=torch.Generator().manual_seed(5))
    out: Tensor = model.predict(noisy, torch.tensor(times), model.embed(["a cat", "red dog", "", "x"][: len(times)]))
    return out


def gradients(model: Any) -> dict[str, Tensor | None]:
    return {name: weight.grad for name, weight in model.trainable()}


class TimesTwo(torch.nn.Module):
    """A network that multiplies its rows with a number, and tells how many it was given."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by, self.rows = torch.nn.Parameter(torch.tensor(by)), []

    def forward(self, hidden_states: Tensor, timestep: Tensor, return_dict: bool) -> tuple[Tensor]:
        assert not return_dict and len(hidden_states) == len(timestep)
        self.rows.append(len(hidden_states))
        return (hidden_states * self.by,)


@pytest.mark.parametrize("tokens", [0, 3])
def test_each_row_goes_through_the_network_of_its_time(tokens: int) -> None:
    high, low = TimesTwo(2.0), TimesTwo(3.0)
    both = Experts({"high": high, "low": low}, 875.0)

    def of(*times: float) -> list[float]:
        t = torch.tensor(times)
        t = t[:, None].expand(-1, tokens) if tokens else t
        (out,) = both(hidden_states=torch.ones(len(times), 1), timestep=t, return_dict=False)
        return out.flatten().tolist()

    assert of(875, 874.9, 999, 0) == [2, 3, 2, 3] and (high.rows, low.rows) == ([2], [2])
    assert of(0, 900, 1, 2) == [3, 2, 3, 3] and (high.rows[1:], low.rows[1:]) == ([1], [3])
    assert of(1000, 875) == [2, 2] and of(10) == [3]
    assert (high.rows[2:], low.rows[2:]) == ([2], [1])  # a network without a row is not asked


@pytest.mark.slow
def test_rows_of_a_mixed_batch_are_those_of_each_alone(make_diffusion: Make, perturb: Make) -> None:
    model = make_diffusion(NAME)
    perturb(model)
    together = answer(model)
    for place_, network in ((0, "transformer"), (1, SECOND), (2, "transformer"), (3, SECOND)):
        alone = model.networks[network](
            hidden_states=torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(5))[place_][None, :, None],
            timestep=torch.tensor([MIXED[place_]]),
            encoder_hidden_states=model.embed(["a cat", "red dog", "", "x"])["text"][place_][None],
            return_dict=False,
        )[0]
        torch.testing.assert_close(together[place_], alone[0, :, 0], rtol=0, atol=1e-5)


def test_a_batch_trains_the_networks_of_its_times_alone(make_diffusion: Make, perturb: Make) -> None:
    model = make_diffusion(NAME)
    perturb(model)
    first = {name for name, _ in model.trainable() if not name.startswith(f"{SECOND}.")}
    second = {name.removeprefix(f"{SECOND}.") for name, _ in model.trainable()} - first
    assert not second and len(list(model.trainable())) == 2 * len(first)  # both have the same layers
    for times, of_first, of_second in ((MIXED, True, True), ((999.0, 875.0), True, False), ((5.0, 874.0), False, True)):
        answer(model, times).pow(2).sum().backward()
        for name, gradient in gradients(model).items():
            wanted = of_second if name.startswith(SECOND) else of_first
            assert (gradient is not None and gradient.abs().max() > 0) == wanted, (name, times)
        for _, weight in model.trainable():
            weight.grad = None


def test_the_networks_begin_with_different_numbers(make_diffusion: Make) -> None:
    weights = dict(make_diffusion(NAME).trainable())
    name = next(name for name in weights if "lora_A" in name)
    assert not torch.equal(weights[name], weights[f"{SECOND}.{name}"])
    alone = dict(make_diffusion("wan").trainable())
    assert torch.equal(weights[name], alone[name])  # the first as in a model of one network


@pytest.mark.slow
def test_diffusers_draws_our_images_with_the_two_files(
    tiny_pipeline: Tiny, make_diffusion: Make, perturb: Make, tmp_path: Path
) -> None:
    model = make_diffusion(NAME, rank=4, alpha=1.5)
    perturb(model, by=0.5)
    model.save(tmp_path)
    pipeline = load_pipeline(str(tiny_pipeline(NAME)))
    base = adapter_of(load_pipeline(str(tiny_pipeline(NAME))))
    pipeline.load_lora_weights(tmp_path, weight_name=DIFFUSERS_FILE)
    pipeline.load_lora_weights(tmp_path, weight_name=SECOND_FILE, load_into_transformer_2=True)
    other = adapter_of(pipeline)
    sampler = Sampler(steps=4, guidance=3.0, size=16)
    ours, theirs, untuned = (one.generate(["a cat", "red dog"], [3, 14], sampler) for one in (model, other, base))
    for image, their, plain in zip(ours, theirs, untuned, strict=True):
        assert np.abs(np.array(image).astype(int) - np.array(their)).max() <= 1
        assert np.abs(np.array(image).astype(int) - np.array(plain)).max() > 3
    with torch.no_grad():
        torch.testing.assert_close(answer(other), answer(model), rtol=0, atol=1e-4)
        difference = (answer(base) - answer(model)).abs().flatten(1).amax(1)
    assert (difference > 0.01).all()  # at times of both networks


def test_the_files_of_each_network(make_diffusion: Make, perturb: Make, tmp_path: Path) -> None:
    from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_wan_lora_to_diffusers

    model = make_diffusion(NAME, rank=4, alpha=1.5)
    perturb(model)
    model.save(tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {DIFFUSERS_FILE, SECOND_FILE, "comfyui_high_noise.safetensors", "comfyui_low_noise.safetensors"}
    trained = dict(model.trainable())
    for file, word, start in ((DIFFUSERS_FILE, "high", ""), (SECOND_FILE, "low", f"{SECOND}.")):
        plain = load_file(tmp_path / file)
        native = load_file(tmp_path / f"comfyui_{word}_noise.safetensors")
        assert all(key.startswith("diffusion_model.blocks.") for key in native)
        back = _convert_non_diffusers_wan_lora_to_diffusers(dict(native))
        assert back.keys() == plain.keys() and all(torch.equal(value, plain[key]) for key, value in back.items())
        for key, value in plain.items():
            own = trained[start + key.removeprefix("transformer.").replace(".weight", ".default.weight")]
            torch.testing.assert_close(value, own.detach() * (1.5 / 4 if "lora_B" in key else 1), rtol=0, atol=1e-7)
        with safe_open(tmp_path / file, "pt") as opened:
            assert opened.metadata()["ss_network_alpha"] == "1.5"


def test_the_folder_is_one_lora_for_duels(
    tiny_pipeline: Tiny, make_diffusion: Make, perturb: Make, tmp_path: Path
) -> None:
    model = make_diffusion(NAME, rank=4, alpha=1.5)
    perturb(model)
    model.save(tmp_path)
    files = find_lora(tmp_path)
    assert files is not None and list(files.weights) == ["transformer", SECOND]
    pipeline = load_pipeline(str(tiny_pipeline(NAME)))
    placed = put_on_pipeline(pipeline, files, NAME)
    assert len(placed) == len(list(model.trainable())) / 2
    with torch.no_grad():
        torch.testing.assert_close(answer(adapter_of(pipeline)), answer(model), rtol=0, atol=1e-5)
    networks = networks_without_weights(str(tiny_pipeline(NAME)))
    assert networks is not None and place(networks, files, NAME).keys() == placed.keys()
    alone = networks_without_weights(str(tiny_pipeline("wan")))
    assert alone is not None and SECOND not in alone
    with refused("side-misfit", naming=["pytorch_lora_weights_2", "second network"]):
        place(alone, files, "wan")


@pytest.mark.parametrize("told_by", ["header", "name"])
@pytest.mark.parametrize("file", [DIFFUSERS_FILE, SECOND_FILE, "comfyui_high_noise", "comfyui_low_noise"])
def test_one_of_the_files_is_put_on_its_own_network(
    file: str, told_by: str, tiny_pipeline: Tiny, make_diffusion: Make, perturb: Make, tmp_path: Path
) -> None:
    model = make_diffusion(NAME, rank=2, alpha=1.0)
    perturb(model)
    model.save(tmp_path)
    saved = (tmp_path / file).with_suffix(".safetensors")
    is_second = file in (SECOND_FILE, "comfyui_low_noise")
    with safe_open(saved, "pt") as opened:
        assert opened.metadata()["thumbtune.network"] == ("low_noise" if is_second else "high_noise")
    if told_by == "header":
        named = saved.rename(tmp_path / "renamed.safetensors")
    else:
        named = tmp_path / "of_before" / saved.name
        named.parent.mkdir()
        save_file(load_file(saved), named)  # without a header
    pipeline = load_pipeline(str(tiny_pipeline(NAME)))
    files = find_lora(named)
    assert files is not None
    placed = put_on_pipeline(pipeline, files, NAME)
    assert {part for part, _ in placed} == {SECOND if is_second else "transformer"}
    with torch.no_grad():
        base, both, one = (answer(each) for each in (make_diffusion(NAME), model, adapter_of(pipeline)))
    for row, time in enumerate(MIXED):
        of_this = (time < 875) == is_second
        torch.testing.assert_close(one[row], (both if of_this else base)[row], rtol=0, atol=1e-5)
    assert (base - both).abs().flatten(1).amax(1).min() > 1e-3


def test_a_file_that_tells_no_network_is_for_the_first_and_a_note_says_it(
    tiny_pipeline: Tiny, make_diffusion: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_diffusion(NAME, rank=2, alpha=1.0).save(tmp_path)
    mine = tmp_path / "mine" / "mine.safetensors"
    mine.parent.mkdir()
    save_file(load_file(tmp_path / SECOND_FILE), mine)
    networks = networks_without_weights(str(tiny_pipeline(NAME)))
    files = find_lora(mine)
    assert networks is not None and files is not None
    assert {part for part, _ in place(networks, files, NAME)} == {"transformer"}
    (said,) = caplog.messages
    assert str(mine) in said and "high_noise" in said and "_low_noise" in said
    caplog.clear()
    tensors = {key.replace("transformer.", f"{SECOND}.", 1): value for key, value in load_file(mine).items()}
    save_file(tensors, mine)  # which tells it by the names of its layers
    assert {part for part, _ in place(networks, files, NAME)} == {SECOND} and not caplog.messages
    alone = networks_without_weights(str(tiny_pipeline("wan")))
    named = find_lora(tmp_path / SECOND_FILE)
    assert alone is not None and named is not None
    assert {part for part, _ in place(alone, named, "wan")} == {"transformer"} and not caplog.messages


def test_the_synced_reference_is_kept_for_both(make_diffusion: Make, perturb: Make) -> None:
    model, other = make_diffusion(NAME), make_diffusion(NAME)
    perturb(model)
    model.freeze_reference()
    state = model.reference_state()
    assert state.keys() == {name for name, _ in model.trainable()}
    other.restore_reference(state)
    with torch.no_grad(), other.reference():
        assert torch.equal(answer(other), answer(model))


def test_only_a_new_lora_trains_both(tiny_pipeline: Tiny) -> None:
    with refused("model-experts-tuning", UsageError, naming=["transformer", SECOND]):
        adapter_of(load_pipeline(str(tiny_pipeline(NAME))), Full())


def test_both_networks_are_counted_without_weights(tiny_pipeline: Tiny) -> None:
    pipeline = pipeline_without_weights(str(tiny_pipeline(NAME)))
    assert pipeline is not None and pipeline.config.boundary_ratio == 0.875
    assert sum(1 for _ in pipeline.transformer.parameters()) == sum(1 for _ in pipeline.transformer_2.parameters())
    one = pipeline_without_weights(str(tiny_pipeline("wan")))
    assert one is not None and one.transformer_2 is None


@pytest.mark.parametrize(
    ("name", "changed", "lacks"),
    [
        (NAME, {"boundary_ratio": None}, "without boundary_ratio"),
        (NAME, {SECOND: [None, None]}, f"without {SECOND}"),
        ("wan", {"boundary_ratio": 0.9}, f"without {SECOND}"),
        ("wan", {SECOND: ["diffusers", "WanTransformer3DModel"]}, "without boundary_ratio"),
    ],
)
def test_one_without_the_other_is_refused(
    name: str, changed: dict[str, Any], lacks: str, tiny_pipeline: Tiny, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_pipeline(name), folder)
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | changed))
    for load in (check_pipeline, load_pipeline):
        with refused("model-expert-missing", naming=lacks):
            load(str(folder))


def test_the_second_network_must_fit_too(tiny_pipeline: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_pipeline(NAME), folder)
    settings = folder / SECOND / "config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"in_channels": 36}))
    with refused("model-channels", naming="takes 36 channels"):
        check_pipeline(str(folder))
