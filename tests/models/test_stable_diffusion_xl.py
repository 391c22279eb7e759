"""SDXL: equal to its own pipeline, the sizes of each image, precision, what is refused, and its LoRA in diffusers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from models.single_files import unet_keys
from PIL import Image
from refusals import refused
from safetensors.torch import load_file

from thumbtune.models.families import ADAPTERS, FAMILIES, adapter_of, family_of
from thumbtune.models.families.stable_diffusion_xl import StableDiffusionXL, time_ids
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora import DIFFUSERS_FILE, KOHYA_FILE
from thumbtune.models.pipeline_files import check_pipeline
from thumbtune.models.protocol import PipelineModel, Sampler
from thumbtune.models.without_weights import networks_without_weights

KINDS = ("xl-epsilon", "xl-v_prediction")
PROMPTS = ["a cat", "more letters than there are places for them"]
SQUARE = Image.new("RGB", (16, 16), "red")


@pytest.fixture
def folder(tiny_pipeline: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_pipeline("xl-epsilon"), tmp_path / "model"))


def edit(file: Path, **options: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | options))


def noise(number: int = 1, height: int = 16, width: int = 16) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


# --- equal to diffusers' own pipeline --------------------------------------------------------------


def first_call(pipeline: Any, **options: Any) -> tuple[Any, Any, Any]:
    """The arguments and the output of the UNet in the first step of a guided drawing."""
    seen: list[Any] = []

    def keep(_: Any, args: Any, kwargs: Any, output: Any) -> None:
        seen.append((args, kwargs, output[0]))

    handle = pipeline.unet.register_forward_hook(keep, with_kwargs=True)
    generators = [torch.Generator().manual_seed(i) for i in range(len(PROMPTS))]
    pipeline(PROMPTS, num_inference_steps=2, guidance_scale=3.0, generator=generators, **options)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_both_predictions_are_those_of_the_pipelines_own_call(make_diffusion: Any, kind: str, zeros: bool) -> None:
    model = make_diffusion(kind)
    model.pipeline.register_to_config(force_zeros_for_empty_prompt=zeros)
    (noisy, t), asked, answered = first_call(model.pipeline)
    own = model.image_condition([SQUARE] * 2)
    with torch.no_grad():
        for half, prompts in ((slice(2, 4), PROMPTS), (slice(0, 2), ["", ""])):
            condition = model.embed(prompts) | own
            ours = model.predict(noisy[half], t.expand(2), condition)
            torch.testing.assert_close(ours, answered[half], rtol=0, atol=1e-5)
            torch.testing.assert_close(condition["text"], asked["encoder_hidden_states"][half], rtol=0, atol=1e-5)
            torch.testing.assert_close(
                condition["pooled"], asked["added_cond_kwargs"]["text_embeds"][half], rtol=0, atol=1e-5
            )
    assert bool(model.embed([""])["text"].any()) is not zeros


def test_prompt_and_sizes_both_move_the_prediction(make_diffusion: Any) -> None:
    model = make_diffusion("xl-epsilon")
    start, t = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([500])
    with torch.no_grad():
        answers = [
            model.predict(start, t, model.embed([prompt]) | model.image_condition([image]))
            for prompt, image in (("a cat", SQUARE), ("dog", SQUARE), ("a cat", noise(1, 20, 48)))
        ]
    assert all((answers[0] - other).abs().max() > 1e-4 for other in answers[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_lora_draws_what_the_bare_pipeline_draws(
    make_diffusion: Any, tiny_pipeline: Callable[[str], Path], kind: str
) -> None:
    ours = make_diffusion(kind).generate(["a cat", ""], [1, 2], Sampler(steps=3, guidance=3.0))
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    bare: Any = StableDiffusionXLPipeline.from_pretrained(tiny_pipeline(kind), add_watermarker=False)
    theirs = bare(["a cat", ""], num_inference_steps=3, guidance_scale=3.0, generator=generators).images
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_process_is_the_schedulers_and_finite_at_every_time(make_diffusion: Any, kind: str) -> None:
    model = make_diffusion(kind)
    process, theirs = model.process, model.pipeline.scheduler.alphas_cumprod
    torch.testing.assert_close(process.alphas_cumprod, theirs, rtol=1e-4, atol=1e-6)
    assert process.prediction == kind.removeprefix("xl-")
    if kind == "xl-v_prediction":
        assert process.alphas_cumprod[-1] < 1e-6
    clean, mess = model.encode([noise()]), torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    for t in (0, 500, 999):
        noisy = process.noised(clean, mess, torch.tensor([t]))
        target = process.target(clean, mess, torch.tensor([t]))
        assert noisy.isfinite().all() and target.isfinite().all()
    if kind == "xl-v_prediction":  # the last step is pure noise, and its target the negative of the image
        torch.testing.assert_close(noisy, mess, rtol=0, atol=1e-2)
        torch.testing.assert_close(target, -clean, rtol=0, atol=1e-2)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers with new numpy
def test_the_process_of_an_euler_scheduler_with_a_last_step_of_noise_is_its_own() -> None:
    from diffusers import EulerDiscreteScheduler

    from thumbtune.models.process import VPProcess
    from thumbtune.models.schedulers import process_of

    schedule: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    theirs = EulerDiscreteScheduler(**schedule, prediction_type="v_prediction", rescale_betas_zero_snr=True)
    ours = process_of(theirs.config)
    assert isinstance(ours, VPProcess) and ours.prediction == "v_prediction"
    torch.testing.assert_close(ours.alphas_cumprod, theirs.alphas_cumprod, rtol=1e-4, atol=1e-6)


def test_latents_that_a_vae_shifts_by_channel_are_scaled_and_drawn_so(make_diffusion: Any) -> None:
    model = make_diffusion("xl-epsilon")
    plain = model.encode([noise()])
    mean, deviation = [0.5, -1.0, 0.25, 2.0], [2.0, 0.5, 1.0, 4.0]
    model.pipeline.vae.register_to_config(latents_mean=mean, latents_std=deviation)
    expected = (plain / 0.13025 - torch.tensor(mean).view(1, 4, 1, 1)) * 0.13025
    torch.testing.assert_close(model.encode([noise()]), expected / torch.tensor(deviation).view(1, 4, 1, 1))
    theirs = model.pipeline(["a"], num_inference_steps=1, generator=[torch.Generator().manual_seed(4)])
    assert (
        np.abs(np.array(model.generate(["a"], [4], Sampler(steps=1, guidance=5.0))[0], int) - theirs.images[0]).max()
        <= 1
    )


# --- the sizes of an image -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("original", "target", "expected"),
    [
        ((1024, 1024), (1024, 1024), (1024, 1024, 0, 0, 1024, 1024)),
        ((512, 512), (1024, 1024), (512, 512, 0, 0, 1024, 1024)),
        ((1000, 2000), (500, 500), (1000, 2000, 0, 250, 500, 500)),
        ((2000, 1000), (500, 500), (2000, 1000, 250, 0, 500, 500)),
        ((768, 512), (768, 512), (768, 512, 0, 0, 768, 512)),
        ((600, 1200), (300, 400), (600, 1200, 0, 100, 300, 400)),
        ((1, 4096), (1024, 1024), (1, 4096, 0, 2096640, 1024, 1024)),
    ],
)
def test_the_six_numbers_are_original_crop_and_target(original: Any, target: Any, expected: Any) -> None:
    assert time_ids(original, target) == expected


def test_an_image_is_measured_upright(make_diffusion: Any, tmp_path: Path) -> None:
    model, exif = make_diffusion("xl-epsilon"), Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    noise(1, 20, 40).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        assert model.image_condition([turned])["time_ids"].tolist() == [[40, 20, 8, 0, 16, 16]]


@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_an_image_that_loses_its_prompt_keeps_its_sizes(make_diffusion: Any, tmp_path: Path, dropout: float) -> None:
    from datasets import Dataset
    from datasets import Image as Picture

    from thumbtune.training.batches import Batches
    from thumbtune.training.cache import Cache
    from thumbtune.training.encoded import Encoded

    sizes = [(16, 16), (40, 20), (20, 40), (30, 30)]
    pictures = [noise(i, *size) for i, size in enumerate(sizes)]
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i}.png")
    rows = {
        "image_id": [str(i) for i in range(4)],
        "prompt": ["a", "b", "c", "d"],
        "label": [True, False, True, False],
        "weight": [1.0] * 4,
        "image": [{"path": None, "bytes": (tmp_path / f"{i}.png").read_bytes()} for i in range(4)],
    }
    model = make_diffusion("xl-epsilon")
    encoded = Encoded(Dataset.from_dict(rows).cast_column("image", Picture()), model, Cache(tmp_path / "cache")).fill()
    batches = Batches(encoded=encoded, process=model.process, size=8, liked_share=0.5, prompt_dropout=dropout, seed=3)
    batch, chosen = batches.batch(0), batches.rows(0)
    expected = model.image_condition([pictures[i] for i in chosen])["time_ids"]
    assert torch.equal(batch.condition["time_ids"], expected) and len(set(map(tuple, expected.tolist()))) > 1
    assert (
        bool(batch.condition["text"].any()) is (dropout == 0) and bool(batch.condition["pooled"].any()) is not dropout
    )
    assert torch.equal(batches.batch(0, mismatched=True).condition["time_ids"], expected)
    assert torch.equal(batches.batch(0, 2, 5).condition["time_ids"], expected[2:5])


# --- precision -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_vae_is_in_float32_in_a_pipeline_of_half_precision(
    tiny_pipeline: Callable[[str], Path], dtype: torch.dtype
) -> None:
    pipeline = load_pipeline(str(tiny_pipeline("xl-epsilon")), dtype)
    assert (pipeline.unet.dtype, pipeline.text_encoder_2.dtype, pipeline.vae.dtype) == (dtype, dtype, torch.float32)
    pipeline.vae.to(dtype)
    model = adapter_of(pipeline)
    assert pipeline.vae.dtype == torch.float32
    assert model.encode([noise()]).dtype == torch.float32
    assert model.generate(["a"], [1], Sampler(steps=1))[0].size == (16, 16)


# --- files -----------------------------------------------------------------------------------------


def test_a_family_is_known_by_the_pipelines_name(tiny_pipeline: Callable[[str], Path]) -> None:
    names = {
        "StableDiffusionXLPipeline": "StableDiffusionXLPipeline",
        "StableDiffusionXLImg2ImgPipeline": "StableDiffusionXLPipeline",
        "StableDiffusionPipeline": "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline": "StableDiffusionPipeline",
        "LatentPipeline": "StableDiffusionPipeline",
        None: "StableDiffusionPipeline",
    }
    assert {name: family_of(name).pipeline for name in names} == names
    assert len({adapter.family.name for adapter in ADAPTERS}) == len(ADAPTERS) == len(FAMILIES)
    model = adapter_of(load_pipeline(str(tiny_pipeline("xl-epsilon"))))
    assert isinstance(model, StableDiffusionXL) and isinstance(model, PipelineModel)


@pytest.mark.parametrize("parts", [["unet"], ["text_encoder_2"], ["unet", "vae", "text_encoder", "text_encoder_2"]])
def test_variants_of_every_part_are_found(folder: Path, parts: list[str]) -> None:
    for part in parts:
        (file,) = (folder / part).glob("*.safetensors")
        file.rename(file.with_suffix(".fp16.safetensors"))
    assert check_pipeline(str(folder)) == "fp16"
    assert load_pipeline(str(folder)).text_encoder_2.dtype == torch.float32


def test_a_second_encoder_in_a_pickle_is_named(folder: Path) -> None:
    (folder / "text_encoder_2" / "model.safetensors").rename(folder / "text_encoder_2" / "pytorch_model.bin")
    with refused("model-bin-only", naming="text_encoder_2"):
        check_pipeline(str(folder))


@pytest.mark.parametrize(
    ("file", "options", "code", "naming"),
    [
        ("model_index.json", {"requires_aesthetics_score": True}, "model-refiner", "refiner"),
        ("model_index.json", {"text_encoder": [None, None]}, "model-refiner", "refiner"),
        ("model_index.json", {"text_encoder_2": [None, None]}, "model-other-family", "without text_encoder_2"),
        ("model_index.json", {"text_encoder_2": ["transformers", "T5EncoderModel"]}, "model-other-family", "T5"),
        ("model_index.json", {"_class_name": "StableDiffusionPipeline"}, "model-other-family", "text_encoder_2"),
        ("unet/config.json", {"in_channels": 9}, "model-channels", "inpainting"),
        ("unet/config.json", {"in_channels": 8}, "model-channels", "InstructPix2Pix"),
        ("unet/config.json", {"time_cond_proj_dim": 256}, "model-distilled", "few steps"),
        ("unet/config.json", {"projection_class_embeddings_input_dim": 5 * 8 + 12}, "model-text-width", "refiner"),
        ("unet/config.json", {"cross_attention_dim": 16}, "model-text-width", "16 + 24"),
        ("unet/config.json", {"addition_embed_type": None}, "model-other-family", "text_time"),
        ("text_encoder_2/config.json", {"hidden_size": 20}, "model-text-width", "16 + 20"),
        ("text_encoder_2/config.json", {"projection_dim": 16}, "model-text-width", "6 sizes of 8"),
    ],
)
def test_what_is_no_base_model_is_one_sentence(
    folder: Path, file: str, options: dict[str, Any], code: str, naming: str
) -> None:
    edit(folder / file, **options)
    for ask in (check_pipeline, load_pipeline, networks_without_weights):
        with refused(code, naming=[repr(str(folder)), naming]):
            ask(str(folder))


def test_the_networks_without_weights_have_the_shapes_of_the_loaded_ones(folder: Path) -> None:
    networks, pipeline = networks_without_weights(str(folder)), load_pipeline(str(folder))
    assert networks is not None and list(networks) == ["unet", "text_encoder", "text_encoder_2"]
    for part, network in networks.items():
        loaded = getattr(pipeline, part)
        shapes = {name: (weight.shape, weight.device.type) for name, weight in network.named_parameters()}
        assert shapes == {name: (weight.shape, "meta") for name, weight in loaded.named_parameters()}


# --- LoRA ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [DIFFUSERS_FILE, KOHYA_FILE])
def test_a_lora_predicts_the_same_in_a_fresh_pipeline_of_diffusers(
    make_diffusion: Any, tiny_pipeline: Callable[[str], Path], perturb: Any, tmp_path: Path, kind: str, name: str
) -> None:
    model = make_diffusion(kind)
    perturb(model)
    model.save(tmp_path)
    fresh: Any = StableDiffusionXLPipeline.from_pretrained(tiny_pipeline(kind), add_watermarker=False)
    condition = model.embed(PROMPTS) | model.image_condition([SQUARE, noise(1, 40, 20)])
    start, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([100, 999])
    added = {"text_embeds": condition["pooled"], "time_ids": condition["time_ids"]}
    with torch.no_grad():
        ours = model.predict(start, t, condition)
        before = fresh.unet(start, t, condition["text"], added_cond_kwargs=added).sample
        fresh.load_lora_weights(tmp_path, weight_name=name)
        theirs = fresh.unet(start, t, condition["text"], added_cond_kwargs=added).sample
    assert (ours - before).abs().max() > 0.01
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)


def test_kohyas_names_are_the_original_ones_with_every_alpha(make_diffusion: Any, tmp_path: Path) -> None:
    model = make_diffusion("xl-epsilon")
    model.save(tmp_path)
    tensors = load_file(tmp_path / KOHYA_FILE)
    layers = {key.split(".")[0] for key in tensors}
    config = model.pipeline.unet.config
    unet = type(model.pipeline.unet).from_config(config)
    names = unet_keys([f"{name}.weight" for name, _ in unet.named_modules()], config["layers_per_block"])
    assert layers <= {f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}" for name in names.values()}
    assert {"_".join(layer.split("_")[2:4]) for layer in layers} == {"input_blocks", "middle_block", "output_blocks"}
    assert len(tensors) == 3 * len(layers)
    assert {float(tensors[f"{layer}.alpha"]) for layer in layers} == {8.0}


def test_another_lora_of_sdxl_is_not_said_to_be_of_another_family(
    tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    """Its names are those of SDXL, and so is the base: it is another SDXL."""
    from safetensors.torch import save_file

    from thumbtune.models.lora_files import find_lora
    from thumbtune.models.lora_loading import place

    layer = "lora_unet_input_blocks_99_1_proj_in"
    save_file({f"{layer}.lora_{way}.weight": torch.zeros(2, 2) for way in ("up", "down")}, tmp_path / "a.safetensors")
    networks, files = networks_without_weights(str(tiny_pipeline("xl-epsilon"))), find_lora(tmp_path / "a.safetensors")
    assert networks is not None and files is not None
    with refused("side-misfit", naming="input_blocks_99"):
        place(networks, files, "base")
    with refused("lora-other-family", naming="Stable Diffusion XL"):
        place({name: one for name, one in networks.items() if name != "text_encoder_2"}, files, "base")


def test_a_lora_of_both_text_encoders_is_put_on_both(make_diffusion: Any, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from thumbtune.models.lora_files import find_lora
    from thumbtune.models.lora_loading import put_on_pipeline

    model = make_diffusion("xl-epsilon")
    before = model.embed(["a cat"])
    tensors, random = {}, torch.Generator().manual_seed(1)
    for number, width in ((1, 16), (2, 24)):
        layer = f"lora_te{number}_text_model_encoder_layers_0_self_attn_q_proj"
        tensors[f"{layer}.lora_down.weight"] = torch.randn(2, width, generator=random)
        tensors[f"{layer}.lora_up.weight"] = torch.randn(width, 2, generator=random)
    save_file(tensors, tmp_path / "text.safetensors")
    files = find_lora(tmp_path / "text.safetensors")
    assert files is not None
    placed = put_on_pipeline(model.pipeline, files, "base")
    assert {part for part, _ in placed} == {"text_encoder", "text_encoder_2"}
    after = model.embed(["a cat"])
    moved = (after["text"] - before["text"]).abs().amax((0, 1))
    assert moved[:16].max() > 1e-3 and moved[16:].max() > 1e-3 and (after["pooled"] - before["pooled"]).any()
