"""Ranks and alphas that differ from layer to layer, in each form that trainers have for them, merged by hand."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from test_lora_files import CONVS, LINEAR, WORDS, dotted, kohya, make, same

__all__ = ["make"]  # a fixture

ALL = [*LINEAR, *CONVS]


def rank(i: int) -> int:
    return 1 + i % 3


def alpha(i: int) -> float:
    return 0.5 + 0.75 * i


def test_kohya_with_an_alpha_and_a_rank_of_each_layer(make: Any, base: str, tmp_path: Path) -> None:
    layers = make(ALL, WORDS, rank=rank, alpha=alpha)
    save_file(kohya(layers), tmp_path / "my.safetensors")
    same(base, tmp_path / "my.safetensors", layers)


def test_kohya_with_an_alpha_of_some_layers_alone(make: Any, base: str, tmp_path: Path) -> None:
    layers = make(ALL, rank=rank, alpha=lambda i: alpha(i) if i % 2 else None)
    save_file(kohya(layers), tmp_path / "my.safetensors")
    same(base, tmp_path / "my.safetensors", layers)


def test_kohya_with_dora_of_some_layers_alone(make: Any, base: str, tmp_path: Path) -> None:
    layers = make(ALL, rank=rank, alpha=alpha, dora=lambda i: i % 2 == 0)
    save_file(kohya(layers), tmp_path / "my.safetensors")
    same(base, tmp_path / "my.safetensors", layers)


def test_diffusers_with_patterns_in_its_header(make: Any, base: str, tmp_path: Path) -> None:
    layers = make(ALL, rank=rank, alpha=alpha)
    tensors = {k: v for k, v in dotted(layers, ".lora_A.weight", ".lora_B.weight").items() if not k.endswith("alpha")}
    names = [name for _, name in layers]
    settings = {
        "unet.r": 1,
        "unet.lora_alpha": 0.5,
        "unet.rank_pattern": {name: rank(i) for i, name in enumerate(names)},
        "unet.alpha_pattern": {name: alpha(i) for i, name in enumerate(names)},
    }
    save_file(tensors, tmp_path / "my.safetensors", {"lora_adapter_metadata": json.dumps(settings)})
    same(base, tmp_path / "my.safetensors", layers)


def test_a_header_of_sd_scripts_changes_no_strength(make: Any, base: str, tmp_path: Path) -> None:
    """`ss_network_alpha` is for people: the layers' own alphas count, and without one the scale is 1."""
    layers = make(ALL, rank=rank)
    header = {"ss_network_alpha": "64", "ss_network_dim": "2", "ss_network_args": '{"conv_alpha": 8}'}
    save_file(kohya(layers), tmp_path / "my.safetensors", header)
    same(base, tmp_path / "my.safetensors", layers)
