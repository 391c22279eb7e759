"""Names of models that were distilled to draw in a few steps, and names that only look so."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from thumbtune.models.distilled_names import name_note, own_name, word_of
from thumbtune.models.pipeline_files import distilled_note

DISTILLED = {
    "stabilityai/sdxl-turbo": "turbo",
    "stabilityai/stable-diffusion-3.5-large-turbo": "turbo",
    "Tongyi-MAI/Z-Image-Turbo": "Turbo",
    "black-forest-labs/FLUX.1-schnell": "schnell",
    "ByteDance/SDXL-Lightning": "Lightning",
    "lightx2v/Qwen-Image-Lightning": "Lightning",
    "ByteDance/Hyper-SD": "Hyper",
    "SimianLuo/LCM_Dreamshaper_v7": "LCM",
    "tianweiy/DMD2": "DMD",
    "Efficient-Large-Model/Sana_Sprint_1.6B_1024px_diffusers": "Sprint",
    "Lightricks/LTX-Video-0.9.7-distilled": "distilled",
    "/models/dreamshaperXL_v21TurboDPMSDE.safetensors": "Turbo",
    "realvisxlV40_v40LightningBakedvae.safetensors": "Lightning",
    "sdxl_lightning_4step_unet.safetensors": "lightning",
    "some/flux-8-steps": "8-steps",
    "some/zimageturbo": None,
    "some/sdxlturbo": "turbo",
    "/home/me/.cache/huggingface/hub/models--stabilityai--sdxl-turbo/snapshots/" + 40 * "a": "turbo",
    "C:\\models\\sd-turbo\\": "turbo",
}
USUAL = [
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "some/turbofan-photos",
    "some/TurboFan",
    "some/turbocharged-cars",
    "some/turbo-charger",
    "lightning-ai/stable-diffusion",
    "/home/turbo/models/sd15",
    "some/lightning-bolts",
    "some/hyperrealism-xl",
    "some/hyper-realistic-photos",
    "some/flash-photography",
    "nyanko7/flux-dev-de-distill",
    "ostris/Z-Image-De-Turbo",
    "some/flux-undistilled",
    "some/my-model-2000steps",
    "some/epoch-4-step-100",
    "black-forest-labs/FLUX.1-dev",
    "Qwen/Qwen-Image",
    "some/alchemist",
    "some/schnelle-autos",
    "tiny-emoji-64",
]


@pytest.mark.parametrize(("name", "word"), [one for one in DISTILLED.items() if one[1]])
def test_a_distilled_model_is_named(name: str, word: str) -> None:
    assert word_of(own_name(name)) == word
    note = name_note(name)
    assert note is not None and repr(word) in note and name in note and "\n" not in note


@pytest.mark.parametrize("name", USUAL)
def test_other_names_are_not(name: str) -> None:
    assert word_of(own_name(name)) is None and name_note(name) is None


@pytest.mark.parametrize("file", ["model_index.json", "unet/config.json"])
def test_the_name_inside_a_model_s_files_counts_too(
    file: str, tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(tiny_pipeline("epsilon"), folder)
    assert distilled_note(str(folder)) is None
    config = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**config, "_name_or_path": "stabilityai/sd-turbo"}))
    note = distilled_note(str(folder))
    assert note is not None and "call it stabilityai/sd-turbo, which contains 'turbo'" in note and str(folder) in note


def test_a_folder_of_a_transformer_is_told_by_its_own_name(
    tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "sd3.5-large-turbo"
    folder.symlink_to(tiny_pipeline("sd3"))
    assert "'turbo'" in (distilled_note(str(folder)) or "")
    assert distilled_note(str(tiny_pipeline("sd3"))) is None
