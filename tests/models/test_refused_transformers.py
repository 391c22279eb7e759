"""Transformers that cannot be tuned are refused by their settings, before a weight is read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refused

from thumbtune.models.families import ADAPTERS, adapter_of
from thumbtune.models.family import OWN_FAMILIES
from thumbtune.models.loading import load_pipeline
from thumbtune.models.model_options import ModelOptions
from thumbtune.models.pipeline_files import check_pipeline, units_of
from thumbtune.models.without_weights import pipeline_without_weights
from thumbtune.runs.text_length import cut_prompts

Tiny = Callable[[str], Path]


@pytest.fixture
def copied(tiny_pipeline: Tiny, tmp_path: Path) -> Callable[..., Path]:
    """(name, file, ...) -> a tiny pipeline with other settings in a file, and a transformer without weights."""

    def copy(name: str, file: str, **changed: Any) -> Path:
        folder = tmp_path / name
        shutil.copytree(tiny_pipeline(name), folder)
        next((folder / "transformer").glob("*.safetensors")).write_bytes(b"not read")
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))
        return folder

    return copy


@pytest.mark.parametrize("name", ["klein", "krea2"])
def test_what_its_index_says_is_distilled(name: str, copied: Callable[..., Path]) -> None:
    folder = copied(name, "model_index.json", is_distilled=True)
    for load in (check_pipeline, load_pipeline):
        with refused("model-distilled", naming="is_distilled"):
            load(str(folder))


def test_flux_schnell(copied: Callable[..., Path]) -> None:
    folder = copied("flux", "transformer/config.json", guidance_embeds=False)
    check_pipeline(str(folder))  # its noise levels shift
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps(json.loads(scheduler.read_text()) | {"use_dynamic_shifting": False, "shift": 1.0}))
    with refused("model-distilled", naming="FLUX.1-schnell"):
        check_pipeline(str(folder))


@pytest.mark.parametrize(
    ("name", "channels"), [("flux", 384), ("sd3", 33), ("wan", 36), ("klein", 32), ("sana", 5), ("ltx", 129)]
)
def test_one_that_takes_more_than_latents(name: str, channels: int, copied: Callable[..., Path]) -> None:
    folder = copied(name, "transformer/config.json", in_channels=channels)
    with refused("model-channels", naming=f"takes {channels} channels"):
        check_pipeline(str(folder))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("flux", {"_class_name": "FluxFillPipeline"}),
        ("flux", {"_class_name": "FluxKontextPipeline"}),
        ("sana", {"_class_name": "SanaSprintPipeline"}),
        ("wan", {"_class_name": "WanImageToVideoPipeline"}),
        ("wan", {"transformer_2": ["diffusers", "WanVACETransformer3DModel"]}),
        ("flux", {"transformer_2": ["diffusers", "FluxTransformer2DModel"]}),
        ("ltx", {"_class_name": "LTXImageToVideoPipeline"}),
        ("ltx", {"_class_name": "LTXConditionPipeline"}),
        ("ltx", {"_class_name": "LTX2Pipeline"}),
        ("sd3", {"_class_name": "HunyuanDiTPipeline"}),
        ("flux", {"text_encoder_2": ["transformers", "UMT5EncoderModel"]}),
    ],
)
def test_another_family_or_task(name: str, changed: dict[str, Any], copied: Callable[..., Path]) -> None:
    with refused("model-other-family", naming=OWN_FAMILIES):
        check_pipeline(str(copied(name, "model_index.json", **changed)))


@pytest.mark.parametrize(
    "changed", [{"timestep_conditioning": True}, {"decoder_inject_noise": [True, True, True, False]}]
)
def test_one_whose_vae_decodes_with_random_numbers(changed: dict[str, Any], copied: Callable[..., Path]) -> None:
    folder = copied("ltx", "vae/config.json", **changed)
    for load in (check_pipeline, load_pipeline):
        with refused("model-random-vae", naming=next(iter(changed))):
            load(str(folder))


def test_one_without_its_text_encoder(copied: Callable[..., Path]) -> None:
    with refused("model-other-family", naming="without text_encoder_2"):
        check_pipeline(str(copied("flux", "model_index.json", text_encoder_2=[None, None])))


def test_sd3_may_lack_its_t5(copied: Callable[..., Path]) -> None:
    absent = {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    check_pipeline(str(copied("sd3", "model_index.json", **absent)))


def test_the_sentence_names_every_family() -> None:
    for adapter in ADAPTERS:
        assert adapter.family.name.removeprefix("Stable Diffusion ") in OWN_FAMILIES


UNITS = {
    "flux": (8, 8),
    "ltx": (4, 32),
    "wan": (8, 8),
    "lumina2": (16, 16),
    "sana": (2, 32),
    "klein": (8, 8),
    "epsilon": (2, 8),
}


@pytest.mark.parametrize(("name", "units"), UNITS.items())
def test_the_units_of_sizes_are_told_before_loading(name: str, units: tuple[int, int], tiny_pipeline: Tiny) -> None:
    assert units_of(str(tiny_pipeline(name))) == units


def test_a_model_that_was_saved_without_its_optional_encoder_is_loaded(
    tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    pipeline = load_pipeline(str(tiny_pipeline("sd3")))
    pipeline.register_modules(text_encoder_3=None, tokenizer_3=None)
    pipeline.save_pretrained(tmp_path / "model")
    model = adapter_of(load_pipeline(str(tmp_path / "model")))
    text = model.embed(["a cat"])["text"]
    assert text.shape == (1, 8 + 256, 40) and not text[:, 8:].any()  # zeros, as in the pipeline


@pytest.mark.parametrize("name", ["sd3", "sana", "wan", "z-image"])
@pytest.mark.parametrize("options", [{"prediction": "v"}, {"zero_terminal_snr": True}])
def test_a_flow_model_has_no_other_prediction_or_schedule(
    name: str, options: dict[str, Any], tiny_pipeline: Callable[[str], Path]
) -> None:
    with refused("model-flow-options"):
        load_pipeline(str(tiny_pipeline(name)), options=ModelOptions(**options))


def test_long_prompts_of_a_model_without_its_optional_encoder_are_cut_as_clip_cuts_them(
    tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    pipeline = load_pipeline(str(tiny_pipeline("sd3")))
    pipeline.register_modules(text_encoder_3=None, tokenizer_3=None)
    pipeline.save_pretrained(tmp_path / "model")
    long = "a " * 300
    assert cut_prompts(str(tmp_path / "model"), ["a cat", long]).cut == (long,)


def test_of_a_processor_the_tokenizer_alone_is_loaded(tiny_pipeline: Callable[[str], Path], tmp_path: Path) -> None:
    plain = str(tiny_pipeline("flux2"))
    folder = Path(shutil.copytree(plain, tmp_path / "model"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"tokenizer": ["transformers", "PixtralProcessor"]}))
    found, expected = (adapter_of(load_pipeline(name)).embed(["a cat"]) for name in (str(folder), plain))
    assert torch.equal(found["text"], expected["text"])
    counted = pipeline_without_weights(str(folder))
    assert counted is not None and counted.tokenizer.get_vocab()
