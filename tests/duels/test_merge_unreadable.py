"""What no program could read from one file is not written as one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from models.single_files import SD1, SD2, SDXL, networks, tensors_of, write
from refusals import refused

from thumbtune.duels.merge import merge
from thumbtune.models.merging import refuse_unreadable
from thumbtune.models.single_file import plan_of

Pipeline = Callable[[str], Path]


@pytest.mark.parametrize("kind", ["epsilon", "xl-epsilon"])
def test_a_vocabulary_that_is_not_clip_s(kind: str, tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    with refused("merge-unreadable", naming=["tokens", "49,408", f"the folder {tmp_path / 'plain'} instead"]):
        merge(str(tiny_pipeline(kind)), tmp_path / "plain.safetensors")
    assert not list(tmp_path.iterdir())
    merge(str(tiny_pipeline(kind)), tmp_path / "plain")
    assert (tmp_path / "plain" / "model_index.json").is_file()


def test_the_bundled_model(tmp_path: Path) -> None:
    with refused("merge-unreadable", naming="knows 2,048 tokens"):
        merge("tiny-emoji-64", tmp_path / "plain.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("family", [SD1, SD2, SDXL])
def test_what_can_be_read_is_not_refused(family: str, tmp_path: Path) -> None:
    tensors = tensors_of(family, networks(family))
    refuse_unreadable(tmp_path / "a.safetensors", tensors)
    assert plan_of(write(tmp_path / "a.safetensors", tensors)).has_vae
    without = {name: value for name, value in tensors.items() if "input_blocks.1.0.out_layers.3.weight" not in name}
    with refused("merge-unreadable", naming="without a UNet"):
        refuse_unreadable(tmp_path / "b.safetensors", without | {"more": torch.zeros(1)})
