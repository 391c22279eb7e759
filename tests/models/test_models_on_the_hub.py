"""Models on the hub, from a cache as the hub's client writes it, without a connection."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from refusals import refused

from thumbtune import hub
from thumbtune.models.loading import load_pipeline
from thumbtune.models.without_weights import pipeline_without_weights
from thumbtune.runs.memory_estimate import estimate
from thumbtune.runs.recipe import read_recipe

Pipeline = Callable[..., Path]
NAME = "somebody/some-model"


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Path]]:
    """Put a folder into an empty cache as the newest commit of NAME; return its place there."""
    from huggingface_hub import constants

    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.setattr(constants, name, str(tmp_path / "hub"))
        monkeypatch.setenv(name, str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(folder: Path) -> Path:
        repository = tmp_path / "hub" / f"models--{NAME.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("c0ffee")
        shutil.copytree(folder, repository / "snapshots" / "c0ffee")
        return repository / "snapshots" / "c0ffee"

    yield put


def renamed(folder: Path, variant: str) -> None:
    for file in list(folder.rglob("*.safetensors")):
        file.rename(file.with_name(file.name.replace(".safetensors", f".{variant}.safetensors")))


@pytest.mark.parametrize("kind", ["epsilon", "xl-epsilon"])
def test_a_model_that_has_only_fp16_weights(tiny_pipeline: Pipeline, cached: Callable[[Path], Path], kind: str) -> None:
    folder = tiny_pipeline(kind)
    renamed(cached(folder), "fp16")
    own, plain = load_pipeline(NAME), load_pipeline(str(folder))
    for one, other in zip(own.unet.parameters(), plain.unet.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_model_that_has_both_is_loaded_from_plain_weights(
    tiny_pipeline: Pipeline, cached: Callable[[Path], Path]
) -> None:
    snapshot = cached(tiny_pipeline("epsilon"))
    (snapshot / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"")
    assert load_pipeline(NAME).unet.dtype == torch.float32


def test_pickles_on_the_hub_are_refused_before_they_are_downloaded(
    tiny_pipeline: Pipeline, cached: Callable[[Path], Path]
) -> None:
    snapshot = cached(tiny_pipeline("epsilon"))
    (snapshot / "unet" / "diffusion_pytorch_model.safetensors").rename(
        snapshot / "unet" / "diffusion_pytorch_model.bin"
    )
    with refused("model-bin-only", naming=[NAME, "diffusion_pytorch_model.bin"]):
        load_pipeline(NAME)


def test_the_hub_lists_files_before_the_cache_does(
    tiny_pipeline: Pipeline, cached: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(tiny_pipeline("epsilon"))
    assert "unet/config.json" in (hub.files_of(NAME) or [])
    monkeypatch.setattr(hub, "is_reachable", lambda: True)
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda self, name: [f"{name}.txt"])
    assert hub.files_of(NAME) == [f"{NAME}.txt"]
    assert hub.files_of("nobody/nothing") == ["nobody/nothing.txt"]


@pytest.mark.parametrize("name", ["nobody/nothing", "no model", "a/b/c", "https://huggingface.co/a/b"])
def test_a_name_that_is_nowhere_has_no_files(cached: Callable[[Path], Path], name: str) -> None:
    assert hub.files_of(name) is None and hub.settings_of(name) is None


def test_memory_is_known_before_the_weights_are_downloaded(
    tiny_pipeline: Pipeline, cached: Callable[[Path], Path]
) -> None:
    folder = tiny_pipeline("epsilon")
    whole = estimate(read_recipe(None, [f"model={folder}"]), micro_batch=2)
    snapshot = cached(folder)
    for file in snapshot.rglob("*.safetensors"):
        file.unlink()
    assert estimate(read_recipe(None, [f"model={NAME}"]), micro_batch=2) == whole
    (snapshot / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    with refused("model-other-family", naming=[NAME, "FluxPipeline"]):
        pipeline_without_weights(NAME)
