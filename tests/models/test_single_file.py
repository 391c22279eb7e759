"""A checkpoint in one file, in the original layout, is the same model as the networks that were written into it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models.single_files import SD1, SD2, SDXL, networks, tensors_of, write
from PIL import Image
from refusals import refused

from thumbtune.models import single_file
from thumbtune.models.clip_tokens import clip_tokenizer
from thumbtune.models.families.stable_diffusion import StableDiffusion
from thumbtune.models.loading import load_pipeline
from thumbtune.models.pipeline_files import check_pipeline
from thumbtune.models.protocol import Sampler

SIZE = {"resolution": "64x64"}
PREDICTS = {SD1: "epsilon", SD2: "v", SDXL: "epsilon"}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be asked of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("half", [False, True], ids=["float32", "fp16"])
@pytest.mark.parametrize("family", [SD1, SD2, SDXL])
def test_every_weight_of_each_family_comes_back_in_its_place(tmp_path: Path, family: str, half: bool) -> None:
    made = networks(family)
    tensors = tensors_of(family, made)
    kept = {key: weight.half() if half else weight for key, weight in tensors.items()}
    kept["model_ema.decay"] = torch.zeros(1)
    pipeline = single_file.load(write(tmp_path / "a.safetensors", kept, prediction_type=PREDICTS[family], **SIZE))
    for part, network in made.items():
        found = getattr(pipeline, part).state_dict()
        wanted = network.state_dict()
        assert set(found) == set(wanted)
        for key, weight in wanted.items():
            assert found[key].dtype == torch.float32
            assert torch.equal(found[key], weight.half().float() if half else weight), key
    assert pipeline.scheduler.config.prediction_type == ("v_prediction" if family == SD2 else "epsilon")


@pytest.mark.slow
@pytest.mark.parametrize("family", [SD1, SD2, SDXL])
@torch.no_grad()
def test_predictions_latents_and_embeddings_are_equal(tmp_path: Path, family: str) -> None:
    made = networks(family)
    file = write(tmp_path / "a.safetensors", tensors_of(family, made), prediction_type=PREDICTS[family], **SIZE)
    pipeline = single_file.load(file)
    tokens = pipeline.tokenizer(["a red apple"], padding="max_length", return_tensors="pt").input_ids
    told: dict[str, Any] = {}
    for part in ("text_encoder", "text_encoder_2")[: 2 if family == SDXL else 1]:
        ours, theirs = getattr(pipeline, part)(tokens), made[part](tokens)
        assert torch.equal(ours.last_hidden_state, theirs.last_hidden_state)
        if part == "text_encoder_2":
            assert torch.equal(ours.text_embeds, theirs.text_embeds)
            told = {"text_embeds": torch.randn(1, 48), "time_ids": torch.ones(1, 6)}
    noisy, text = torch.randn(1, 4, 32, 32), torch.randn(1, 77, 192 if family == SDXL else 64)
    both = [
        unet(noisy, 7, text, added_cond_kwargs=told, return_dict=False)[0] for unet in (pipeline.unet, made["unet"])
    ]
    assert torch.equal(*both)
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    assert torch.equal(pipeline.vae.encode(image).latent_dist.mean, made["vae"].encode(image).latent_dist.mean)
    assert pipeline.vae.config.scaling_factor == made["vae"].config["scaling_factor"]


@pytest.mark.slow
@pytest.mark.parametrize("family", [SD1, SD2])
def test_a_file_is_a_model_that_embeds_encodes_and_generates(tmp_path: Path, family: str) -> None:
    tensors = tensors_of(family, networks(family))
    file = write(tmp_path / "a.safetensors", tensors, prediction_type=PREDICTS[family], **SIZE)
    model = StableDiffusion(load_pipeline(str(file)))
    assert model.size == 64
    assert model.encode([Image.new("RGB", (64, 64))]).shape == (1, 4, 32, 32)
    assert model.embed(["a cat"])["text"].shape == (1, 77, 64)
    image = model.generate(["a cat"], [0], Sampler(steps=2, guidance=1.0))[0]
    assert np.array(image).shape == (64, 64, 3)


def test_published_ids_of_a_prompt() -> None:
    tokenizer = clip_tokenizer()
    assert len(tokenizer) == 49_408
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert clip_tokenizer("!")("a cat", padding="max_length").input_ids[3:6] == [49407, 0, 0]


@pytest.mark.parametrize(
    ("family", "extra", "metadata", "beside", "predicts", "zero"),
    [
        (SD1, (), {}, None, "epsilon", False),
        (SD1, ("v_pred",), {}, None, "v_prediction", False),
        (SD1, ("v_pred", "ztsnr"), {}, None, "v_prediction", True),
        (SD1, (), {}, "v", "v_prediction", False),
        (SD2, (), {"prediction_type": "epsilon"}, None, "epsilon", False),
        (SD2, (), {}, "v", "v_prediction", False),
        (SD2, (), {}, "eps", "epsilon", False),
        (SDXL, ("v_pred", "ztsnr"), {}, None, "v_prediction", True),
    ],
)
def test_what_a_file_predicts(
    tmp_path: Path, family: str, extra: Any, metadata: Any, beside: str | None, predicts: str, zero: bool
) -> None:
    tensors = tensors_of(family, networks(family)) | {key: torch.zeros(1) for key in extra}
    file = write(tmp_path / "a.safetensors", tensors, **metadata)
    if beside:
        file.with_suffix(".yaml").write_text(f"model:\n  params:\n    parameterization: {beside}\n")
    scheduler = single_file.plan_of(file).configs["scheduler"]
    assert scheduler["prediction_type"] == predicts
    assert bool(scheduler.get("rescale_betas_zero_snr")) == zero


def test_an_sd_2_file_that_does_not_say_what_it_predicts(tmp_path: Path) -> None:
    file = write(tmp_path / "a.safetensors", tensors_of(SD2, networks(SD2)))
    with refused("single-prediction", naming=["a.yaml", "parameterization"]):
        check_pipeline(str(file))
    file.with_suffix(".yaml").write_text("[]")
    with refused("single-settings", naming=["a.yaml"]):
        check_pipeline(str(file))


@pytest.mark.parametrize(
    ("prefix", "missing"),
    [("first_stage_model.", "a VAE"), ("cond_stage_model.", "a text encoder"), ("first_stage_model.encoder", "a VAE")],
)
def test_a_part_that_is_missing_is_named(tmp_path: Path, prefix: str, missing: str) -> None:
    tensors = tensors_of(SD1, networks(SD1))
    kept = {key: weight for key, weight in tensors.items() if not key.startswith(prefix)}
    with refused("single-part-missing", naming=[missing]):
        check_pipeline(str(write(tmp_path / "a.safetensors", kept)))


def test_other_files_are_refused_by_what_they_are(tmp_path: Path) -> None:
    tensors = tensors_of(SD1, networks(SD1))
    first = "model.diffusion_model.input_blocks.0.0.weight"
    for channels, task in ((9, "inpainting"), (8, "edits")):
        wide = tensors | {first: torch.zeros(32, channels, 3, 3)}
        with refused("model-channels", naming=[task]):
            check_pipeline(str(write(tmp_path / "a.safetensors", wide)))
    words = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    fewer = tensors | {words: torch.zeros(100, 64)}
    with refused("single-vocabulary", naming=["100"]):
        check_pipeline(str(write(tmp_path / "a.safetensors", fewer)))
    lacking = {key: weight for key, weight in tensors.items() if not key.endswith("middle_block.1.norm.weight")}
    file = write(tmp_path / "a.safetensors", lacking)
    with refused("single-unreadable", naming="missing"):
        single_file.load(file)


@pytest.mark.slow
@pytest.mark.parametrize("family", [SD1, SD2, SDXL])
def test_a_single_file_goes_from_likes_to_verdict(
    tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    monkeypatch.chdir(tmp_path)
    told = SIZE | {"prediction_type": PREDICTS[family]}
    file = write(tmp_path / "my.safetensors", tensors_of(family, networks(family)), **told)
    for label, colour in (("like", "red"), ("dislike", "blue")):
        for prompt in ("a cat", "an apple"):
            folder = tmp_path / f"{label} {prompt}"
            folder.mkdir()
            for number in range(2):
                image = Image.new("RGB", (64, 64), colour)
                image.putpixel((0, 0), (number, len(prompt), 0))
                image.save(folder / f"{number}.png")
            assert call("import", folder, "--label", label, "--prompt", prompt)[0] == 0
    options = ["train.steps=2", "train.batch=2", "train.micro_batch=2", "lora.rank=2"]
    words = [word for option in (f"model={file}", *options) for word in ("--set", option)]
    code, _, err = call("train", *words, "--out", "run")
    assert code == 0, err
    (tmp_path / "prompts.txt").write_text("a dog\na pear\n")
    judging = ["evaluate.scorers=red", "evaluate.prompts=prompts.txt", "evaluate.steps=2", "evaluate.per_prompt=1"]
    code, _, err = call("verdict", "run", *(word for option in judging for word in ("--set", option)))
    assert code in (0, 3, 4), err
    verdict = json.loads((tmp_path / "run" / "evaluation" / "verdict.json").read_text())
    assert verdict["against"].endswith("my.safetensors")
    duel = ("duel", file, "run", "--prompts", "prompts.txt", "--per-prompt", "1", "--steps", "2", "--scorers", "red")
    code, _, err = call(*duel, "--out", "duel")
    assert code == 0, err
    assert (tmp_path / "duel" / "result.json").is_file()
