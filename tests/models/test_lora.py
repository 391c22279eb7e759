"""LoRA: both files draw our images in programs that are not ours, and another rank is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusals import refused
from safetensors import safe_open
from safetensors.torch import load_file

from thumbtune.files import check_seal
from thumbtune.models import lora
from thumbtune.models.families.stable_diffusion import StableDiffusion
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora import DIFFUSERS_FILE, KOHYA_FILE
from thumbtune.models.protocol import Sampler

PREDICTIONS = ("epsilon", "v_prediction")
PROMPTS, SEEDS = ["a cat", "red dog"], [7, 8]

# a program that knows diffusers and nothing of ours: model folder, LoRA folder, file names ... -> images.npz
STRANGER = """
import sys, numpy, torch
from diffusers import StableDiffusionPipeline
model, folder, out, *names = sys.argv[1:]
found = {}
for name in names:
    pipeline = StableDiffusionPipeline.from_pretrained(model, safety_checker=None, requires_safety_checker=False)
    pipeline.load_lora_weights(folder, weight_name=name)
    generators = [torch.Generator().manual_seed(seed) for seed in (7, 8)]
    images = pipeline(["a cat", "red dog"], num_inference_steps=4, guidance_scale=3.0, generator=generators).images
    found[name] = numpy.stack([numpy.array(image) for image in images])
assert "thumbtune" not in sys.modules
numpy.savez(out, **found)
"""


def drawn(model: StableDiffusion) -> np.ndarray[Any, Any]:
    images = model.generate(PROMPTS, SEEDS, Sampler(steps=4, guidance=3.0))
    return np.stack([np.array(image) for image in images]).astype(int)


@pytest.mark.slow
@pytest.mark.parametrize("prediction", ["epsilon", pytest.param("v_prediction", marks=pytest.mark.slow)])
def test_both_files_draw_our_images_in_a_new_process_that_knows_only_diffusers(
    make_diffusion: Any, perturb: Any, tiny_pipeline: Callable[[str], Path], tmp_path: Path, prediction: str
) -> None:
    model = make_diffusion(prediction, rank=4, alpha=8.0)
    base = drawn(model)
    perturb(model)
    ours = drawn(model)
    assert np.abs(ours - base).max() > 20
    model.save(tmp_path)
    out = tmp_path / "pictures.npz"
    files = (str(tiny_pipeline(prediction)), str(tmp_path), str(out), DIFFUSERS_FILE, KOHYA_FILE)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, *files], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    images = np.load(out)
    for name in (DIFFUSERS_FILE, KOHYA_FILE):
        assert np.abs(images[name].astype(int) - ours).max() <= 1, name


def test_alpha_over_rank_scales_the_update(make_diffusion: Any, perturb: Any) -> None:
    """Twice the alpha is twice the B matrices."""
    answers = []
    for alpha, factor in ((4.0, 2.0), (8.0, 1.0)):
        model = make_diffusion(rank=4, alpha=alpha)
        perturb(model)
        with torch.no_grad():
            for name, weight in model.trainable():
                if "lora_B" in name:
                    weight.mul_(factor)
        answers.append(drawn(model))
    assert np.abs(answers[0] - answers[1]).max() <= 1


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_kohya_file_is_diffusers_own_conversion_with_our_alpha(
    make_diffusion: Any, perturb: Any, tmp_path: Path, prediction: str
) -> None:
    from diffusers.utils import convert_state_dict_to_kohya

    model = make_diffusion(prediction, rank=4, alpha=8.0)
    perturb(model)
    model.save(tmp_path)
    ours = load_file(tmp_path / KOHYA_FILE)
    peft = {f"unet.{name}": value for name, value in lora.tensors_of(model.pipeline.unet).items()}
    theirs = convert_state_dict_to_kohya(peft)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if name.endswith(".alpha"):
            assert value.item() == 8.0  # diffusers writes the rank here, whatever the alpha was
        else:
            assert torch.equal(value, theirs[name]), name


def test_every_kohya_layer_has_its_two_matrices_and_its_alpha(make_diffusion: Any, tmp_path: Path) -> None:
    make_diffusion(rank=4, alpha=2.5).save(tmp_path)
    tensors = load_file(tmp_path / KOHYA_FILE)
    layers = {name.split(".")[0] for name in tensors}
    assert len(tensors) == 3 * len(layers)
    for layer in layers:
        assert layer.startswith("lora_unet_") and "." not in layer
        assert tensors[f"{layer}.lora_down.weight"].shape[0] == tensors[f"{layer}.lora_up.weight"].shape[1] == 4
        assert tensors[f"{layer}.alpha"].item() == 2.5 and tensors[f"{layer}.alpha"].shape == ()
    with safe_open(tmp_path / KOHYA_FILE, "pt") as file:
        metadata = file.metadata()
    told = {"ss_network_module", "ss_network_dim", "ss_network_alpha", "sshs_model_hash", "modelspec.hash_sha256"}
    assert metadata.keys() == {"format", "sha256"} | told and metadata["format"] == "pt"
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("4", "2.5")
    assert check_seal(tmp_path / KOHYA_FILE)


def test_the_diffusers_file_says_its_rank_and_alpha(make_diffusion: Any, perturb: Any, tmp_path: Path) -> None:
    """The alpha of the training stands for people; the one that programs use is the rank, since B is multiplied."""
    model = make_diffusion(rank=4, alpha=8.0)
    perturb(model)
    model.save(tmp_path)
    with safe_open(tmp_path / DIFFUSERS_FILE, "pt") as file:
        header = file.metadata()
    metadata = json.loads(header["lora_adapter_metadata"])
    assert metadata["unet.r"] == 4 and metadata["unet.lora_alpha"] == 4 and metadata["unet.alpha_pattern"] == {}
    assert header["ss_network_alpha"] == "8.0"
    stored = load_file(tmp_path / DIFFUSERS_FILE)
    for name, value in lora.tensors_of(model.network).items():
        assert torch.equal(stored[f"unet.{name}"], value * (2 if "lora_B" in name else 1)), name
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([DIFFUSERS_FILE, KOHYA_FILE])


def test_the_attention_projections_and_nothing_else_are_trained(make_diffusion: Any) -> None:
    model = make_diffusion(rank=4)
    layers = {name.split(".lora_")[0] for name, _ in model.trainable()}
    unet = model.pipeline.unet
    wanted = {n for n, _ in unet.named_modules() if n.endswith(("to_q", "to_k", "to_v", "to_out.0")) and "attn" in n}
    assert layers == wanted
    assert {tuple(w.shape)[0 if "lora_A" in n else 1] for n, w in model.trainable()} == {4}


def test_a_lora_starts_at_no_change_from_its_seed_alone(make_diffusion: Any) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first = dict(make_diffusion(seed=1).trainable())
    assert torch.equal(torch.rand(3), expected)  # the global generator is as it was
    same, other = (dict(make_diffusion(seed=seed).trainable()) for seed in (1, 2))
    for name, weight in first.items():
        assert torch.equal(weight, same[name])
        assert not weight.any() if "lora_B" in name else not torch.equal(weight, other[name])


def load_refused(model: StableDiffusion, folder: Path, code: str) -> None:
    before = {name: weight.detach().clone() for name, weight in model.trainable()}
    with refused(code, naming=folder / DIFFUSERS_FILE):
        model.load(folder)
    assert all(torch.equal(weight, before[name]) for name, weight in model.trainable())


def test_a_lora_of_another_rank_is_refused(make_diffusion: Any, perturb: Any, tmp_path: Path) -> None:
    model = make_diffusion(rank=4)
    perturb(model)
    model.save(tmp_path)
    load_refused(make_diffusion(rank=2), tmp_path, "result-other-network")


@pytest.mark.slow
def test_a_lora_of_another_alpha_is_refused(make_diffusion: Any, perturb: Any, tmp_path: Path) -> None:
    """Its matrices fit, but the same matrices with another alpha are another model."""
    model = make_diffusion(rank=4, alpha=8.0)
    perturb(model)
    model.save(tmp_path)
    load_refused(make_diffusion(rank=4, alpha=4.0), tmp_path, "result-other-alpha")


def test_a_lora_file_that_is_missing_or_cut_off_is_refused(make_diffusion: Any, tmp_path: Path) -> None:
    model = make_diffusion()
    load_refused(model, tmp_path, "result-unreadable")
    model.save(tmp_path)
    file = tmp_path / DIFFUSERS_FILE
    file.write_bytes(file.read_bytes()[:-4])
    load_refused(model, tmp_path, "result-unreadable")


def test_a_full_disk_keeps_the_lora_that_was_there(
    make_diffusion: Any, perturb: Any, tmp_path: Path, tiny_pipeline: Callable[[str], Path]
) -> None:
    resource = pytest.importorskip("resource")
    model = make_diffusion()
    model.save(tmp_path)
    kept = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    perturb(model)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with refused("file-unwritable", naming=tmp_path):
            model.save(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == kept


def test_a_pipeline_in_half_precision_trains_its_lora_in_float32(tiny_pipeline: Callable[[str], Path]) -> None:
    half = load_pipeline(str(tiny_pipeline("epsilon")), torch.bfloat16)
    model = StableDiffusion(half, lora.LoRA(rank=4))
    assert half.unet.conv_in.weight.dtype == torch.bfloat16
    assert {weight.dtype for _, weight in model.trainable()} == {torch.float32}


def test_equal_weights_make_equal_files(make_diffusion: Any, perturb: Any, tmp_path: Path) -> None:
    """A side is known by the bytes of its LoRA, and the writer of safetensors shuffles its metadata."""
    model = make_diffusion("epsilon", rank=4, alpha=8.0)
    perturb(model)
    for number in range(8):
        model.save(tmp_path / str(number))
    for name in (DIFFUSERS_FILE, KOHYA_FILE):
        assert len({(tmp_path / str(number) / name).read_bytes() for number in range(8)}) == 1
        with safe_open(tmp_path / "0" / name, "pt") as opened:
            assert opened.metadata()["format"] == "pt"
