"""Stable Diffusion: equal to its own pipeline, images of every kind, and sentences for what cannot be loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError
from PIL import Image, ImageCms
from refusals import refused

from thumbtune.models.families.stable_diffusion import StableDiffusion
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora import LoRA
from thumbtune.models.process import VPProcess
from thumbtune.models.protocol import Sampler

PREDICTIONS = ("epsilon", "v_prediction")


def noise(width: int = 16, height: int = 16, channels: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, (height, width, channels), dtype=np.uint8)


def encoded_alike(model: StableDiffusion, one: Image.Image, other: Image.Image) -> None:
    torch.testing.assert_close(model.encode([one]), model.encode([other]), rtol=0, atol=1e-6)


# --- equal to diffusers' own pipeline --------------------------------------------------------------


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_process_is_that_of_the_pipelines_scheduler(make_diffusion: Any, prediction: str) -> None:
    model = make_diffusion(prediction)
    assert isinstance(model.process, VPProcess)
    assert model.process.prediction == prediction
    torch.testing.assert_close(model.process.alphas_cumprod, model.pipeline.scheduler.alphas_cumprod, rtol=1e-4, atol=0)


def test_latents_are_those_of_the_pipelines_own_encoder(make_diffusion: Any) -> None:
    model, image = make_diffusion(), Image.fromarray(noise())
    vae = model.pipeline.vae
    pixels = model.pipeline.image_processor.preprocess(image)
    with torch.no_grad():
        expected = vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor
    torch.testing.assert_close(model.encode([image]), expected)


def test_conditions_are_those_of_the_pipelines_own_prompts(make_diffusion: Any) -> None:
    model, prompts = make_diffusion(), ["a cat", "more letters than there are places for them"]
    given, empty = model.pipeline.encode_prompt(prompts, "cpu", 1, True)
    torch.testing.assert_close(model.embed(prompts)["text"], given)
    torch.testing.assert_close(model.embed(["", ""])["text"], empty)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_fresh_lora_draws_what_the_bare_pipeline_draws(
    make_diffusion: Any, tiny_pipeline: Callable[[str], Path], prediction: str
) -> None:
    ours = make_diffusion(prediction).generate(["a cat", "dog"], [1, 2], Sampler(steps=4, guidance=3.0))
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    bare = load_pipeline(str(tiny_pipeline(prediction)))
    theirs = bare(["a cat", "dog"], num_inference_steps=4, guidance_scale=3.0, generator=generators).images
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_images_come_in_the_size_of_the_sampler(make_diffusion: Any) -> None:
    model = make_diffusion()
    assert model.size == 16
    assert model.generate(["a"], [1], Sampler(steps=1))[0].size == (16, 16)
    assert model.generate(["a"], [1], Sampler(steps=1, size=32))[0].size == (32, 32)


# --- images of every kind ------------------------------------------------------------------------


def test_transparent_images_are_laid_on_white(make_diffusion: Any) -> None:
    model, rgba = make_diffusion(), noise(channels=4)
    rgba[..., 3] = np.where(np.arange(16) < 8, 0, 255)
    on_white = np.where(rgba[..., 3:] == 0, 255, rgba[..., :3]).astype(np.uint8)
    encoded_alike(model, Image.fromarray(rgba), Image.fromarray(on_white))


def test_half_transparent_images_are_mixed_with_white(make_diffusion: Any) -> None:
    # black at alpha 51 / 255 = 0.2: 0.8 * 255 = 204
    black = Image.new("RGBA", (16, 16), (0, 0, 0, 51))
    encoded_alike(make_diffusion(), black, Image.new("RGB", (16, 16), (204, 204, 204)))


def test_a_palette_with_a_transparent_colour_is_laid_on_white(make_diffusion: Any) -> None:
    palette = Image.new("P", (16, 16), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(1, (0, 0, 16, 8))
    palette.info["transparency"] = 0
    expected = Image.new("RGB", (16, 16), "white")
    expected.paste((0, 0, 255), (0, 0, 16, 8))
    encoded_alike(make_diffusion(), palette, expected)


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "P", "YCbCr", "LA"])
def test_other_colour_modes_are_those_colours_in_rgb(make_diffusion: Any, mode: str) -> None:
    image = Image.fromarray(noise()).convert(mode)
    encoded_alike(make_diffusion(), image, image.convert("RGB"))


def test_sixteen_bits_are_the_same_image_as_eight(make_diffusion: Any) -> None:
    grey = noise(channels=1)[..., 0]
    sixteen = Image.fromarray(grey.astype(np.uint16) * 257)
    assert sixteen.mode == "I;16"
    encoded_alike(make_diffusion(), sixteen, Image.fromarray(grey))


def test_a_sixteen_bit_png_from_a_file_is_the_same_image_as_its_eight_bits(make_diffusion: Any, tmp_path: Path) -> None:
    grey = noise(channels=1)[..., 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as deep:
        encoded_alike(make_diffusion(), deep, Image.fromarray(grey))


def test_images_that_are_not_square_are_cropped_at_the_centre(make_diffusion: Any) -> None:
    wide = noise(24, 16)
    encoded_alike(make_diffusion(), Image.fromarray(wide), Image.fromarray(np.ascontiguousarray(wide[:, 4:20])))
    tall = noise(16, 30)
    encoded_alike(make_diffusion(), Image.fromarray(tall), Image.fromarray(np.ascontiguousarray(tall[7:23])))


def test_large_and_single_pixel_images_are_resized(make_diffusion: Any) -> None:
    model, red = make_diffusion(), Image.new("RGB", (16, 16), "red")
    for size in [(64, 64), (1, 1), (1, 9), (300, 7)]:
        encoded_alike(model, Image.new("RGB", size, "red"), red)


def test_a_colour_profile_does_not_get_in_the_way(make_diffusion: Any) -> None:
    image = Image.fromarray(noise())
    with_profile = image.copy()
    with_profile.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    encoded_alike(make_diffusion(), with_profile, image)


# --- the fingerprint -------------------------------------------------------------------------------


def changed_vae(model: StableDiffusion) -> None:
    with torch.no_grad():
        next(model.pipeline.vae.encoder.parameters()).view(-1)[0] += 1e-3


def changed_text_encoder(model: StableDiffusion) -> None:
    with torch.no_grad():
        next(model.pipeline.text_encoder.parameters()).view(-1)[0] += 1e-3


def changed_scale(model: StableDiffusion) -> None:
    model.pipeline.vae.register_to_config(scaling_factor=0.5)


def changed_places(model: StableDiffusion) -> None:
    model.pipeline.tokenizer.model_max_length = 6


def changed_size(model: StableDiffusion) -> None:
    model.size = 32


@pytest.mark.parametrize("change", [changed_vae, changed_text_encoder, changed_scale, changed_places, changed_size])
def test_whatever_changes_latents_or_embeddings_changes_the_fingerprint(
    make_diffusion: Any, change: Callable[[StableDiffusion], None]
) -> None:
    model = make_diffusion()
    mark, image = model.fingerprint(), Image.fromarray(noise())
    latents, text = model.encode([image]), model.embed(["a cat"])["text"]
    change(model)
    now, said = model.encode([image]), model.embed(["a cat"])["text"]
    assert now.shape != latents.shape or said.shape != text.shape or not (now.equal(latents) and said.equal(text))
    assert model.fingerprint() != mark


# --- what cannot be loaded -------------------------------------------------------------------------


@pytest.fixture
def copied(tiny_pipeline: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_pipeline("epsilon"), tmp_path / "model"))


def load_refused(name: str) -> None:
    with refused("model-unloadable", naming=repr(name)):
        load_pipeline(name)


def test_a_folder_that_is_not_there_gets_a_sentence(tmp_path: Path) -> None:
    load_refused(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (None, "the Hugging Face hub could not be reached"),
        (RepositoryNotFoundError, "the Hugging Face hub has none of that name"),
        (GatedRepoError, "has it behind a gate"),
    ],
)
def test_what_the_hub_says_is_told_in_few_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: type[RepositoryNotFoundError] | None, why: str
) -> None:
    """Through diffusers' own handling, with the hub's answer in place of the network's."""

    def model_info(*_: object, **__: object) -> None:
        answer: Any = SimpleNamespace(headers={}, status_code=401, request=None)
        raise OfflineModeIsEnabled("no network") if kind is None else kind("no", response=answer)

    monkeypatch.setattr("diffusers.pipelines.pipeline_utils.model_info", model_info)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with refused("model-unloadable", naming=["nobody/nothing", why]) as caught:
        load_pipeline("nobody/nothing")
    assert "snapshot" not in str(caught.value)


def test_an_empty_folder_gets_a_sentence(tmp_path: Path) -> None:
    load_refused(str(tmp_path))


def test_a_folder_that_lacks_a_part_gets_a_sentence(copied: Path) -> None:
    shutil.rmtree(copied / "vae")
    load_refused(str(copied))


def test_weights_that_are_cut_off_get_a_sentence(copied: Path) -> None:
    (file,) = (copied / "unet").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:2000])
    with refused("side-misfit", naming=file):
        load_pipeline(str(copied))


def test_an_index_that_is_not_json_gets_a_sentence(copied: Path) -> None:
    (copied / "model_index.json").write_text("{")
    load_refused(str(copied))


def test_a_schedule_that_is_not_known_gets_a_sentence(copied: Path) -> None:
    file = copied / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prediction_type": "flow"}))
    with refused("model-scheduler", naming="'flow'"):
        StableDiffusion(load_pipeline(str(copied)))


def test_a_model_to_draw_with_has_nothing_to_train_or_save(
    tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    bare = StableDiffusion(load_pipeline(str(tiny_pipeline("epsilon"))))
    for ask in (bare.trainable, bare.reference, lambda: bare.save(tmp_path)):
        with refused("model-not-trainable"):
            ask()


@pytest.mark.slow
def test_gradient_checkpointing_gives_the_same_gradient_and_keeps_less(
    tiny_pipeline: Callable[[str], Path], perturb: Callable[..., None]
) -> None:
    gradients, kept = [], []
    for checkpointing in (False, True):
        model = StableDiffusion(load_pipeline(str(tiny_pipeline("epsilon"))), LoRA(rank=4), 0, checkpointing)
        perturb(model)
        noisy, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([10, 500])
        saved: list[int] = []

        def count(tensor: torch.Tensor, saved: list[int] = saved) -> torch.Tensor:
            saved.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            loss = model.predict(noisy, t, model.embed(["a", "b"])).pow(2).mean()
        kept.append(sum(saved))
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for _, p in model.trainable()]))
    assert gradients[0].norm() > 0
    assert torch.allclose(*gradients, rtol=1e-5, atol=1e-8)
    assert kept[1] < kept[0] / 2
