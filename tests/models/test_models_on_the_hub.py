"""Models on the hub, from a cache as the hub's client writes it, without a connection."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from refusals import refused

from thumbtune import hub
from thumbtune.duels.sides import side
from thumbtune.models.loading import load_pipeline
from thumbtune.models.model_options import ModelOptions
from thumbtune.models.pipeline_files import few_steps_note
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


@pytest.mark.slow
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


@pytest.fixture
def no_net(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """No connection: each try of one is noted, and takes as long as it would."""
    import socket

    tries: list[object] = []

    def refuse(address: object, *_: object, **__: object) -> None:
        tries.append(address)
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: refuse(host))
    hub._answers.cache_clear()
    return tries


@pytest.mark.parametrize("offline", [True, False], ids=["HF_HUB_OFFLINE", "no net"])
def test_without_a_connection_the_hub_is_asked_once_at_most(
    tiny_pipeline: Pipeline,
    cached: Callable[[Path], Path],
    no_net: list[object],
    monkeypatch: pytest.MonkeyPatch,
    offline: bool,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("thumbtune.hub.getproxies", dict)
    cached(tiny_pipeline("epsilon"))
    assert side(NAME).fingerprint == f"{NAME}@c0ffee"
    assert side(f"unet:{NAME}", "tiny-emoji-64").kind == "unet"
    options = ModelOptions(vae=NAME)
    assert f"vae={NAME}@c0ffee " in options.identity()
    assert load_pipeline(NAME, options=options).unet.config["sample_size"] == 8
    for name in ("nobody/nothing", "unet:nobody/nothing"):
        with refused("model-missing", naming=["nobody/nothing", "the hub cannot be reached"]):
            side(name, "tiny-emoji-64")
    with refused("vae-misfit", naming="nobody/nothing"):
        load_pipeline(NAME, options=ModelOptions(vae="nobody/nothing"))
    assert len(no_net) == (0 if offline else 1), no_net
    hub._answers.cache_clear()


@pytest.mark.parametrize("place", ["", "vae"])
def test_a_vae_on_the_hub_is_known_by_its_commit(
    tiny_pipeline: Pipeline, cached: Callable[[Path], Path], tmp_path: Path, place: str
) -> None:
    shutil.copytree(tiny_pipeline("epsilon") / "vae", tmp_path / "mine" / place)
    snapshot = cached(tmp_path / "mine")
    base = str(tiny_pipeline("epsilon"))
    one = side(base, options=ModelOptions(vae=NAME)).fingerprint
    snapshot.rename(snapshot.with_name("decaf"))
    (snapshot.parent.parent / "refs" / "main").write_text("decaf")
    assert f"vae={NAME}@decaf " in ModelOptions(vae=NAME).identity()
    assert side(base, options=ModelOptions(vae=NAME)).fingerprint != one
    assert load_pipeline(base, options=ModelOptions(vae=NAME)).vae.config["latent_channels"] == 4


@pytest.mark.parametrize(
    ("file", "entries", "code", "says"),
    [
        ("unet/config.json", {"time_cond_proj_dim": 256}, "model-distilled", "few steps"),
        ("unet/config.json", {"in_channels": 9}, "model-channels", "inpainting"),
        ("unet/config.json", {"attention_type": "gated"}, "model-other-condition", "attention_type"),
        ("unet/config.json", {"encoder_hid_dim_type": "ip_image_proj"}, "model-other-condition", "encoder_hid"),
        ("unet/config.json", {"cross_attention_dim": 32}, "model-text-width", "32"),
        ("vae/config.json", {"in_channels": 6, "out_channels": 6}, "model-channels", "6 channels"),
        ("model_index.json", {"unet": ["diffusers", "UNet3DConditionModel"]}, "model-other-family", "UNet3D"),
        ("model_index.json", {"controlnet": ["diffusers", "ControlNetModel"]}, "model-other-family", "controlnet"),
        (
            "model_index.json",
            {"motion_adapter": ["diffusers", "MotionAdapter"]},
            "model-other-family",
            "motion_adapter",
        ),
        ("model_index.json", {"vocoder": ["transformers", "SpeechT5HifiGan"]}, "model-other-family", "vocoder"),
        ("model_index.json", {"unet": [None, None]}, "model-other-family", "without unet"),
        ("model_index.json", {"text_encoder": [None, None]}, "model-other-family", "without text_encoder"),
        ("model_index.json", {"vae": [None, None]}, "model-unloadable", "vae=NAME"),
    ],
)
def test_what_settings_tell_is_refused_before_weights_are_downloaded(
    tiny_pipeline: Pipeline, cached: Callable[[Path], Path], file: str, entries: dict[str, object], code: str, says: str
) -> None:
    snapshot = cached(tiny_pipeline("epsilon"))
    for weights in snapshot.rglob("*.safetensors"):
        weights.unlink()
    settings = snapshot / file
    settings.write_text(json.dumps(json.loads(settings.read_text()) | entries))
    one = side(NAME)
    assert one.check is not None
    for refuse in (lambda: load_pipeline(NAME), lambda: pipeline_without_weights(NAME), one.check):
        with refused(code, naming=[NAME, says]):
            refuse()


def test_a_hub_id_of_a_part_alone_is_named_as_that(tiny_pipeline: Pipeline, cached: Callable[[Path], Path]) -> None:
    cached(tiny_pipeline("epsilon") / "unet")
    with refused("model-part-alone", naming=[NAME, "UNet2DConditionModel"]):
        load_pipeline(NAME)


def test_a_scheduler_for_few_steps_is_noted_of_a_hub_id(
    tiny_pipeline: Pipeline, cached: Callable[[Path], Path]
) -> None:
    snapshot = cached(tiny_pipeline("xl-epsilon"))
    assert few_steps_note(NAME) is None
    settings = snapshot / "scheduler" / "scheduler_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"timestep_spacing": "trailing"}))
    assert "timestep_spacing is trailing" in (few_steps_note(NAME) or "")


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ({"time_cond_proj_dim": 256}, "model-distilled"),
        ({"in_channels": 9}, "model-channels"),
        ({"class_embed_type": "projection"}, "model-other-condition"),
    ],
)
def test_a_unet_on_the_hub_is_refused_before_its_weights_are_downloaded(
    tiny_pipeline: Pipeline,
    cached: Callable[[Path], Path],
    entries: dict[str, object],
    code: str,
) -> None:
    snapshot, base = cached(tiny_pipeline("epsilon")), str(tiny_pipeline("epsilon"))
    settings = snapshot / "unet" / "config.json"
    one = side(f"unet:{NAME}", base)
    assert one.check is not None
    one.check()
    settings.write_text(json.dumps(json.loads(settings.read_text()) | entries))
    with refused(code, naming=f"unet:{NAME}"):
        one.check()
