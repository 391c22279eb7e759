"""A VAE of one's own, in each layout, and what a person says of a model whose files do not say it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from models.single_files import SD1, SD2, SDXL, networks, tensors_of, vae_key, write
from refusals import refused
from safetensors.torch import load_file, save_file

from thumbtune.duels.sides import side
from thumbtune.errors import UsageError
from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.model_options import ModelOptions
from thumbtune.models.pipeline_files import check_pipeline
from thumbtune.runs import build
from thumbtune.runs.family_defaults import family_of
from thumbtune.runs.python_api import load
from thumbtune.runs.recipe import read_recipe

Call = Callable[..., tuple[int, str, str]]
Pipeline = Callable[..., Path]


def original(vae: AutoencoderKL, prefix: str = "") -> dict[str, torch.Tensor]:
    blocks = len(vae.config["block_out_channels"])
    state = {vae_key(key, blocks): value for key, value in vae.state_dict().items()}
    return {
        prefix + key: value[:, :, None, None].contiguous() if "attn_1" in key and value.dim() == 2 else value
        for key, value in state.items()
    }


def decoded(vae: Any) -> torch.Tensor:
    return vae.decode(torch.ones(1, vae.config["latent_channels"], 4, 4), return_dict=False)[0]


@pytest.mark.parametrize("form", ["folder", "pipeline", "fp16", "file", "old file", "original", "checkpoint"])
def test_a_vae_of_each_form_takes_the_place_of_the_model_s_own(
    base: str, vae: AutoencoderKL, tmp_path: Path, form: str
) -> None:
    name = tmp_path / "mine"
    if form == "folder":
        vae.save_pretrained(name)
    elif form == "pipeline":
        vae.save_pretrained(name / "vae")
    elif form == "fp16":
        vae.save_pretrained(name, variant="fp16")
    else:
        name = tmp_path / "mine.safetensors"
        state = vae.state_dict() if "file" in form else original(vae, "first_stage_model." if "check" in form else "")
        if form == "old file":
            before = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
            for new, old in before.items():
                state = {key.replace(new, old): value for key, value in state.items()}
            assert any("proj_attn" in key for key in state)
        save_file(state, name)
    pipeline = load_pipeline(base, options=ModelOptions(vae=str(name)))
    assert torch.equal(decoded(pipeline.vae), decoded(vae))
    assert not pipeline.vae.training
    assert torch.equal(pipeline.unet.conv_in.weight, load_pipeline(base).unet.conv_in.weight)


@pytest.mark.parametrize(
    "what", ["missing", "lora", "channels", "scale", "other family", "levels", "pickle", "cut", "nan"]
)
def test_what_is_no_vae_for_the_model_is_one_sentence(base: str, vae: AutoencoderKL, tmp_path: Path, what: str) -> None:
    name = tmp_path / "mine.safetensors"
    code = "vae-misfit"
    if what == "lora":
        save_file({"unet.x.lora_A.weight": torch.ones(2)}, name)
    elif what == "channels":
        config = dict(vae.config) | {"latent_channels": 16}
        AutoencoderKL.from_config(config).save_pretrained(name := tmp_path / "mine")  # type: ignore[union-attr]
    elif what == "levels":
        channels = list(vae.config["block_out_channels"])
        levels = {"block_out_channels": [*channels, channels[-1]]}
        levels |= {"down_block_types": ["DownEncoderBlock2D"] * (len(channels) + 1)}
        levels |= {"up_block_types": ["UpDecoderBlock2D"] * (len(channels) + 1)}
        AutoencoderKL.from_config(dict(vae.config) | levels).save_pretrained(name := tmp_path / "mine")  # type: ignore[union-attr]
    elif what == "scale":
        config = dict(vae.config) | {"scaling_factor": 0.13025}
        AutoencoderKL.from_config(config).save_pretrained(name := tmp_path / "mine")  # type: ignore[union-attr]
    elif what == "other family":
        write(name, tensors_of(SDXL, networks(SDXL)))
    elif what == "pickle":
        (name := tmp_path / "mine.pt").write_bytes(b"")
        code = "weights-pickle"
    elif what == "cut":
        save_file(original(vae), name)
        name.write_bytes(name.read_bytes()[:-100])
        code = "side-misfit"
    elif what == "nan":
        state = original(vae)
        save_file({key: value * float("nan") for key, value in state.items()}, name)
    with refused(code, naming=[name]) as caught:
        load_pipeline(base, options=ModelOptions(vae=str(name)))
    assert "\n" not in str(caught.value)


def test_a_side_with_options_is_another_one(base: str, vae: AutoencoderKL, tmp_path: Path) -> None:
    vae.save_pretrained(tmp_path / "mine")
    options = ModelOptions(vae=str(tmp_path / "mine"))
    plain, one = side(base), side(base, options=options)
    assert plain.fingerprint == side(base, options=ModelOptions()).fingerprint != one.fingerprint
    file = next((tmp_path / "mine").glob("*.safetensors"))
    save_file({key: value + 1 for key, value in load_file(file).items()}, file)
    assert side(base, options=options).fingerprint != one.fingerprint


def test_prediction_and_terminal_noise_are_told_where_files_do_not_say_them(base: str) -> None:
    told = load_pipeline(base, options=ModelOptions(prediction="v", zero_terminal_snr=True))
    config = told.scheduler.config
    assert (config.prediction_type, config.rescale_betas_zero_snr) == ("v_prediction", True)
    assert config.timestep_spacing == "trailing"
    process: Any = adapter_of(told).process
    assert process.prediction == "v_prediction" and float(process.alphas_cumprod[-1]) == pytest.approx(0, abs=1e-8)
    assert load_pipeline(base, options=ModelOptions(prediction="epsilon")).scheduler.config.prediction_type == "epsilon"
    with refused("model-zero-snr", naming=base):
        load_pipeline(base, options=ModelOptions(zero_terminal_snr=True))


@pytest.mark.slow
def test_a_file_that_does_not_say_what_it_predicts_needs_the_option(tmp_path: Path) -> None:
    file = write(tmp_path / "a.safetensors", tensors_of(SD2, networks(SD2)))
    with refused("single-prediction", naming=[file, "prediction"]):
        load_pipeline(str(file))
    with refused("single-prediction"):
        check_pipeline(str(file))
    for option, predicts, size in (("v", "v_prediction", 768), ("epsilon", "epsilon", 512)):
        pipeline = load_pipeline(str(file), options=ModelOptions(prediction=option))
        assert pipeline.scheduler.config.prediction_type == predicts
        assert adapter_of(pipeline).size == size


def test_what_is_said_of_the_base_is_not_said_of_another_model(base: str, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "other")
    options = ModelOptions(prediction="v")
    other = side(str(tmp_path / "other"), base, options)
    assert other.fingerprint == side(base).fingerprint != side(base, base, options).fingerprint
    assert other.load is not None
    model: Any = other.load("cpu")
    assert model.process.prediction == "epsilon"


def test_the_base_is_loaded_with_its_options_however_its_path_is_written(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "linked").symlink_to(base)
    monkeypatch.chdir(Path(base).parent)
    options, short = ModelOptions(prediction="v"), Path(base).name
    wanted = side(base, base, options)
    for name in (f"{base}/", f"./{short}", f"{short}/.", str(tmp_path / "linked")):
        for one in (side(name, base, options), side(base, name, options)):
            assert (one.options, one.fingerprint) == (options, wanted.fingerprint), name
    bundled = str(build.BUNDLED / "tiny-emoji-64")
    for name, other in (("tiny-emoji-64", bundled), (bundled, "tiny-emoji-64")):
        assert side(name, other, options).options == options
    for other in ("some/model", "nowhere", "tiny-emoji-64"):
        assert side(base, other, options).options == ModelOptions()


@pytest.mark.slow
def test_a_single_file_is_loaded_with_the_options_of_the_base_that_it_is(tmp_path: Path) -> None:
    file = write(tmp_path / "a.safetensors", tensors_of(SD2, networks(SD2)))
    one = side(str(file), f"{tmp_path}/./{file.name}", ModelOptions(prediction="v"))
    assert one.load is not None
    assert one.load("cpu").pipeline.scheduler.config.prediction_type == "v_prediction"  # type: ignore[attr-defined]


def test_a_lora_of_a_base_that_does_not_say_what_it_predicts(tmp_path: Path) -> None:
    file = write(tmp_path / "a.safetensors", tensors_of(SD2, networks(SD2)))
    lora = tmp_path / "lora.safetensors"
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    save_file({f"{layer}.lora_A.weight": torch.ones(2, 64), f"{layer}.lora_B.weight": torch.ones(64, 2)}, lora)
    one = side(str(lora), str(file), ModelOptions(prediction="v"))
    assert one.check is not None
    one.check()


@pytest.mark.slow
def test_a_text_encoder_in_the_names_of_early_novelai(tmp_path: Path) -> None:
    tensors = tensors_of(SD1, networks(SD1))
    old = {key.replace("transformer.text_model.", "transformer."): value for key, value in tensors.items()}
    assert old.keys() != tensors.keys()
    now = load_pipeline(str(write(tmp_path / "now.safetensors", tensors, resolution="64x64")))
    before = load_pipeline(str(write(tmp_path / "before.safetensors", old, resolution="64x64")))
    for one, other in zip(now.text_encoder.parameters(), before.text_encoder.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("key", ["edm_mean", "edm_vpred.sigma_max"])
def test_an_edm_checkpoint_is_refused(tmp_path: Path, key: str) -> None:
    tensors = tensors_of(SDXL, networks(SDXL)) | {key: torch.zeros(1)}
    with refused("single-edm", naming="EDM"):
        check_pipeline(str(write(tmp_path / "a.safetensors", tensors)))


def test_an_edm_schedule_is_refused(base: str, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "edm")
    (tmp_path / "edm" / "scheduler" / "scheduler_config.json").write_text('{"_class_name": "EDMEulerScheduler"}')
    index = tmp_path / "edm" / "model_index.json"
    scheduler = json.loads(index.read_text())["scheduler"][1]
    index.write_text(index.read_text().replace(scheduler, "EDMEulerScheduler"))
    with refused("model-scheduler", naming="EDM"):
        adapter_of(load_pipeline(str(tmp_path / "edm")))


@pytest.mark.parametrize(("family", "name"), [(SD1, "SD 1.x"), (SD2, "SD 2.x"), (SDXL, "SDXL")])
def test_a_file_has_the_defaults_of_its_family(tmp_path: Path, family: str, name: str) -> None:
    file = write(tmp_path / "a.safetensors", tensors_of(family, networks(family)))
    assert family_of(str(file)) == name
    assert read_recipe(None, [f"model={file}"]).train.lr == 1e-4
    lora = tmp_path / "lora.safetensors"
    save_file({"unet.x.lora_A.weight": torch.ones(2)}, lora)
    assert family_of(str(lora)) is None


def test_a_run_has_its_own_options(call: Call, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("")
    for option in ("--run", "--model"):
        code, _, err = call("generate", "a cat", option, tmp_path / "run", "--prediction", "v")
        assert code == 2 and "--prediction" in err
    with refused("generate-run-options", UsageError):
        load(tmp_path / "run", "cpu", ModelOptions(vae="anywhere"))
    with refused("recipe-value", UsageError, naming="prediction"):
        read_recipe(None, ["prediction=noise"])
