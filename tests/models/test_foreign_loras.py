"""LoRAs of other programs for transformers: whole as merged by hand, or refused with the count of what has no place."""

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_loras import FILES, merged, written
from foreign_loras import made as made_of
from safetensors.torch import save_file
from torch import Tensor, nn

from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora_files import find_lora
from thumbtune.models.lora_loading import put_on_pipeline
from thumbtune.models.lora_saving import DIFFUSERS_FILE
from thumbtune.models.lora_start import begin, files_of
from thumbtune.models.merging import merge

Pipeline = Callable[[str], Path]


@functools.cache
def loaded(base: str) -> Any:
    return load_pipeline(base)


def fresh(base: str) -> Any:
    return copy.deepcopy(loaded(base))


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


def same(network: nn.Module, before: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    after = weights_of(network)
    assert after.keys() == before.keys()
    for key, value in after.items():
        wanted = expected.get(key.removesuffix(".weight")) if key.endswith(".weight") else None
        torch.testing.assert_close(value, before[key] if wanted is None else wanted, rtol=0, atol=1e-6)
    assert min((value - before[f"{key}.weight"]).abs().max() for key, value in expected.items()) > 0.01


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_program_is_put_on_whole(name: str, tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    family, names, spelling, with_alpha = FILES[name]
    pipeline = fresh(base := str(tiny_pipeline(family)))
    network = pipeline.transformer
    before, layers = weights_of(network), made_of(network, names(network), with_alpha)
    save_file(written(layers, **spelling), tmp_path / "my.safetensors")
    expected = merged(network, layers)
    files = find_lora(tmp_path / "my.safetensors")
    assert files is not None
    placed = put_on_pipeline(pipeline, files, base)
    assert {module for _, module in placed} == expected.keys()
    assert merge(network) == len(expected)
    same(network, before, expected)


@pytest.mark.parametrize(
    "name", ["flux kohya", "z-image ComfyUI", "wan kohya", "krea2 ComfyUI with alpha", "pixart OneTrainer"]
)
def test_a_file_of_another_program_is_trained_on(
    name: str, tiny_pipeline: Pipeline, perturb: Any, tmp_path: Path
) -> None:
    family, names, spelling, with_alpha = FILES[name]
    pipeline = fresh(base := str(tiny_pipeline(family)))
    network = pipeline.transformer
    before, layers = weights_of(network), made_of(network, names(network), with_alpha)
    save_file(written(layers, **spelling), tmp_path / "my.safetensors")
    expected = merged(network, layers)
    model = adapter_of(pipeline, begin(pipeline, files_of(tmp_path / "my.safetensors"), base))
    model.save(tmp_path / "first")
    again = fresh(base)
    put_on_pipeline(again, files_of(tmp_path / "first" / DIFFUSERS_FILE), base)
    merge(again.transformer)
    same(again.transformer, before, expected)
    # and after training, the result is read as it was written
    perturb(model)
    model.save(tmp_path / "second")
    other = fresh(base)
    put_on_pipeline(other, files_of(tmp_path / "second" / DIFFUSERS_FILE), base)
    merge(other.transformer)
    merge(network)
    for key, value in other.transformer.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[key], rtol=0, atol=1e-6)
    assert max((value - network.state_dict()[f"{key}.weight"]).abs().max() for key, value in expected.items()) > 0.01
