"""The header of a file of weights is read once in a command, and again when the file changes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from models.single_files import SD1, networks, tensors_of, write
from refusals import refused
from safetensors import safe_open
from safetensors.torch import save_file

from thumbtune.duels.sides import side
from thumbtune.models import weight_files
from thumbtune.models.pipeline_files import check_pipeline
from thumbtune.models.weight_files import keys_in, metadata_in
from thumbtune.runs.memory_estimate import estimate
from thumbtune.runs.recipe import read_recipe


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose headers are read, in their order."""
    names: list[str] = []

    def counting(file: Path, framework: str) -> Any:
        names.append(Path(file).name)
        return safe_open(file, framework)

    monkeypatch.setattr(weight_files, "safe_open", counting)
    return names


@pytest.mark.slow
@pytest.mark.parametrize("what", ["check", "recipe", "memory", "side", "vae", "keys"])
def test_a_header_is_read_once(tmp_path: Path, opened: list[str], what: str) -> None:
    file = write(tmp_path / "a.safetensors", tensors_of(SD1, networks(SD1)), resolution="64x64")
    uses: dict[str, Callable[[], object]] = {
        "check": lambda: check_pipeline(str(file)),
        "recipe": lambda: read_recipe(None, [f"model={file}"]),
        "memory": lambda: estimate(read_recipe(None, [f"model={file}", "train.size=64"]), micro_batch=1),
        "side": lambda: side(str(file)).check,
        "vae": lambda: side(str(file)),
        "keys": lambda: (keys_in(file), metadata_in(file), keys_in(file)),
    }
    uses[what]()
    uses[what]()
    assert opened == ["a.safetensors"]


def test_a_file_that_changed_is_read_again(tmp_path: Path, opened: list[str]) -> None:
    file = tmp_path / "a.safetensors"
    save_file({"one": torch.ones(2)}, file, {"made": "1"})
    first = keys_in(file)
    first["mine"] = (3,)  # what is returned is the caller's own
    assert keys_in(file) == {"one": (2,)}
    save_file({"two": torch.ones(2)}, file, {"made": "2"})
    os.utime(file, ns=(1, 1))
    assert keys_in(file) == {"two": (2,)} and metadata_in(file) == {"made": "2"}
    (tmp_path / "other").mkdir()
    save_file({"three": torch.ones(2)}, tmp_path / "other" / "a.safetensors")
    os.replace(tmp_path / "other" / "a.safetensors", file)
    os.utime(file, ns=(1, 1))
    assert keys_in(file) == {"three": (2,)} and metadata_in(file) == {}
    assert len(opened) == 3


def test_an_unreadable_file_is_refused_each_time_and_read_when_it_is_mended(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    for _ in range(2):
        with refused("weights-lfs-pointer", naming=file):
            keys_in(file)
    file.write_bytes(b"nothing of it")
    for _ in range(2):
        with refused("side-misfit", naming=file):
            keys_in(file)
    save_file({"one": torch.ones(2)}, file)
    assert keys_in(file) == {"one": (2,)}


def test_a_relative_name_is_that_of_the_folder_of_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_file({name: torch.ones(2)}, tmp_path / name / "a.safetensors")
        os.utime(tmp_path / name / "a.safetensors", ns=(1, 1))
        monkeypatch.chdir(tmp_path / name)
        assert keys_in(Path("a.safetensors")) == {name: (2,)}
