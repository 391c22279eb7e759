"""A model that cannot be used gets the same sentence in training, in its forecast and in a duel, before any work."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from models.single_files import SD1, SD2, SDXL, networks, tensors_of
from refusals import refused
from safetensors.torch import load_file, save_file

from thumbtune import hub
from thumbtune.duels.sides import side
from thumbtune.errors import ThumbtuneError
from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora_start import check_start, files_of
from thumbtune.models.missing import BUNDLED
from thumbtune.models.model_options import ModelOptions, scheduler_with
from thumbtune.models.pipeline_files import check_pipeline, few_steps_note, index_of
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.protocol import Sampler
from thumbtune.runs.generate import Generator, generate_images
from thumbtune.runs.recipe import SHIPPED_RECIPES
from thumbtune.runs.text_length import cut_prompts
from thumbtune.training.progress import quiet

Call = Callable[..., tuple[int, str, str]]
LONG = "a cat " * 30


def write(file: Path, keys: list[str]) -> Path:
    save_file({key: torch.ones(2) for key in keys}, file)
    return file


def sentence_of(work: Callable[[], object]) -> str:
    with pytest.raises(ThumbtuneError) as caught:
        work()
    return str(caught.value)


WRONG = {
    "kohya.safetensors": (["lora_unet_x.lora_down.weight"], "is a LoRA and not a model"),
    "diffusers.safetensors": (["unet.x.lora_A.weight"], "is a LoRA and not a model"),
    "vae.safetensors": (["encoder.conv_in.weight", "decoder.conv_in.weight"], "is a VAE, and"),
    "unet.safetensors": (["down_blocks.0.x"], "is a UNet in diffusers' form, and"),
    "flux.safetensors": (["model.diffusion_model.double_blocks.0.x"], "is a FLUX checkpoint in one file, and"),
    "word.safetensors": (["emb_params"], "is a textual inversion, and"),
    "sd1.ckpt": (None, "is a pickled checkpoint"),
    "sd1.bin": (None, "is a pickle, which may run any code"),
    "sd1.PT": (None, "is a pickle, which may run any code"),
    "sd1.gguf": (None, "is a GGUF file"),
    "notes.txt": (None, "is not a model"),
}
BY_COMMAND = ("kohya.safetensors", "vae.safetensors", "sd1.ckpt")


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_no_model_is_named_alike_everywhere(call: Call, likes: Path, tmp_path: Path, name: str) -> None:
    keys, what = WRONG[name]
    file = tmp_path / name
    if keys is None:
        file.write_bytes(b"\x80\x02 a pickle, or something else that is long enough for a header")
    else:
        write(file, keys)
    told = sentence_of(lambda: check_pipeline(str(file)))
    assert told.startswith(f"{file} {what}"), told
    for work in (
        lambda: index_of(str(file)),
        lambda: cut_prompts(str(file), [LONG]),
        lambda: list(generate_images([(LONG, 0)], Sampler(), tmp_path / "i", quiet, Generator(model=str(file)))),
    ):
        assert sentence_of(work) == told
    assert few_steps_note(str(file)) is None
    if name not in BY_COMMAND:
        return
    for words in (
        ("train", "--dry-run", "--out", tmp_path / "run", "--set", f"likes={likes}", "--set", f"model={file}"),
        ("train", "--out", tmp_path / "run", "--set", f"likes={tmp_path / 'none'}", "--set", f"model={file}"),
        ("doctor", "--model", file),
    ):
        code, _, err = call(*words)
        assert code != 0 and told in err, err


# --- what is not there -----------------------------------------------------------------------------


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make every question to the hub, and every loading, fail."""

    def asked(*_: object, **__: object) -> Any:
        raise AssertionError("the hub was asked, or a model was loaded")

    for place in ("hub.is_reachable", "hub.cached_file", "runs.build.load_pipeline", "duels.sides.load_pipeline"):
        monkeypatch.setattr(f"thumbtune.{place}", asked)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", asked)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "x.txt").write_text("a cat\n")
    for name in ("mine.safetensors", "runs/mine.safetensors"):
        write(tmp_path / name, ["lora_unet_x.lora_down.weight"])


@pytest.mark.usefixtures("no_hub")
def test_a_bundled_model_may_be_meant(call: Call) -> None:
    told = "There is no file or folder 'tiny-emoji-46' here; did you mean tiny-emoji-64?"
    assert told in sentence_of(lambda: check_pipeline("tiny-emoji-46"))
    code, _, err = call("generate", "a cat", "--model", "tiny-emoji-46")
    assert code != 0 and told in err


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mien.safetensors", "mine.safetensors"),
        ("runs/mien.safetensors", "runs/mine.safetensors"),
        ("runs/other.ckpt", None),
        ("./nowhere", None),
        ("a/b/c", None),
        ("runs/x.yaml", None),
    ],
)
@pytest.mark.usefixtures("no_hub")
def test_a_path_to_nothing_is_told_before_any_loading(call: Call, name: str, meant: str | None) -> None:
    told = f"here is no file or folder {name!r} here; {f'did you mean {meant}?' if meant else 'name a'}"
    assert not hub.is_hub_id(name)
    for work in (lambda: check_pipeline(name), lambda: index_of(name)):
        assert told in sentence_of(work)
    assert told in sentence_of(lambda: check_pipeline(str(BUNDLED / "tiny-emoji-64"), ModelOptions(vae=name)))
    with refused("lora-start-missing", naming=told.replace("./", "")):  # a Path begins without it
        files_of(Path(name))
    for words in (
        ("train", "--dry-run", "--set", f"model={name}"),
        ("train", "--set", f"vae={name}"),
        ("train", "--set", f"lora.start={name}", "--set", "model=tiny-emoji-64"),
        ("doctor", "--model", name),
        ("doctor", "--model", "tiny-emoji-64", "--set", f"lora.start={name}"),
        ("generate", "a cat", "--model", name),
        ("generate", "a cat", "--vae", name),
        ("merge", name, "out.safetensors"),
        ("merge", "mine.safetensors", "out.safetensors", "--base", name),
        ("duel", name, "tiny-emoji-64", "--prompts", "x.txt", "--scorers", "red"),
    ):
        code, _, err = call(*words)
        assert code != 0 and told.replace("./", "") in err.replace("./", ""), (words, err)


def test_a_vae_on_a_hub_that_cannot_be_reached_is_one_plain_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from thumbtune.models.own_vae import load_vae
    from thumbtune.models.vae_settings import OwnVae, published

    monkeypatch.setattr("thumbtune.hub.is_reachable", lambda: False)
    with refused("vae-misfit", naming=["nobody/nothing", "the Hugging Face hub could not be reached"]) as caught:
        load_vae("nobody/nothing", OwnVae(published(0.18215)), torch.float32)
    assert "snapshot" not in str(caught.value)


# --- the way out of a pickle -----------------------------------------------------------------------


@pytest.mark.parametrize("nested", [True, False], ids=["state_dict", "plain"])
@pytest.mark.parametrize(("ending", "family"), [(".bin", SD1), (".ckpt", SDXL), (".pt", SD1)])
def test_the_way_to_convert_a_pickle_gives_a_model_and_writes_over_nothing(
    tmp_path: Path, ending: str, family: str, nested: bool
) -> None:
    file, other = tmp_path / f"it's{ending}", tmp_path / "it's.safetensors"
    tensors = tensors_of(family, networks(family))
    key = next(iter(tensors))
    shared = {key: tensors[key], "model_ema.same": tensors[key]}  # save_file alone refuses shared memory
    torch.save({"state_dict": tensors | shared, "global_step": 7} if nested else tensors | shared, file)
    other.write_bytes(b"mine")
    told = sentence_of(lambda: check_pipeline(str(file)))
    exec(told.split("`")[1], {})
    assert other.read_bytes() == b"mine"
    made = load_file(tmp_path / "it's-2.safetensors")
    assert set(made) == {*tensors, "model_ema.same"}
    assert all(value.equal(tensors[name]) for name, value in made.items() if name in tensors)
    assert check_pipeline(str(tmp_path / "it's-2.safetensors")) is None
    exec(sentence_of(lambda: check_pipeline(str(file))).split("`")[1], {})
    assert (tmp_path / "it's-3.safetensors").is_file()


# --- what can be done with it ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["my.safetensors", "folder/pytorch_lora_weights.safetensors", "peft/adapter_model.safetensors"]
)
def test_a_lora_as_a_model_names_all_that_takes_a_lora(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    write(file, ["unet.x.lora_A.weight"])
    for model in {file, file if file.parent == tmp_path else file.parent}:
        with refused("weights-lora-as-model", naming=[f"lora.start={model} ", f"thumbtune merge {model} OUT", "duel"]):
            check_pipeline(str(model))


def test_a_run_as_a_model_names_options_that_every_command_has(call: Call, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("model: tiny-emoji-64\n")
    for words in (("doctor", "--model", tmp_path), ("train", "--dry-run", "--set", f"model={tmp_path}")):
        code, _, err = call(*words)
        assert code != 0 and "--run" not in err, err
        assert f"thumbtune merge {tmp_path} FOLDER" in err and f"lora.start={tmp_path}" in err


def test_a_model_as_a_lora_is_told_as_a_model(tiny_pipeline: Callable[[str], Path], tmp_path: Path) -> None:
    whole = write(tmp_path / "sd.safetensors", ["model.diffusion_model.x", "cond_stage_model.x"])
    for name in (Path("tiny-emoji-64"), BUNDLED / "tiny-emoji-64", tiny_pipeline("epsilon")):
        with refused("lora-start-missing", naming=[f"{name} is a whole model and not a LoRA", f"model={name}"]):
            files_of(name)
    with refused("weights-single", naming=f"{whole} is a whole checkpoint in one file and not a LoRA"):
        check_start(whole)
    with refused("vae-misfit", naming="there is no file or folder 'tiny-emoji-64' here; name a folder"):
        check_pipeline(str(BUNDLED / "tiny-emoji-64"), ModelOptions(vae="tiny-emoji-64"))


# --- the names of options, and offline ways --------------------------------------------------------


def test_an_option_is_named_as_in_a_recipe_and_on_the_command_line(tmp_path: Path) -> None:
    model = load_pipeline(str(BUNDLED / "tiny-emoji-64"))
    with refused("prompts-clip-skip", naming=["prompts.clip_skip is 9 (--clip-skip)"]):
        adapter_of(model).read_prompts(PromptEncoding(clip_skip=9))
    snr = ["prediction=v (--prediction v)", "zero_terminal_snr (--zero-terminal-snr)"]
    with refused("model-zero-snr", naming=snr):
        scheduler_with(model.scheduler, ModelOptions(zero_terminal_snr=True), "tiny-emoji-64")
    save_file(
        {key: value.clone() for key, value in tensors_of(SD2, networks(SD2)).items()}, tmp_path / "sd2.safetensors"
    )
    with refused("single-prediction", naming=["prediction=NAME (--prediction NAME), v or epsilon"]):
        check_pipeline(str(tmp_path / "sd2.safetensors"))


def test_without_the_hub_a_file_is_named_as_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thumbtune.hub.is_reachable", lambda: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for work in (load_pipeline, side):
        assert "a whole checkpoint in " in sentence_of(lambda work=work: work("nobody/nothing"))


@pytest.mark.parametrize("command", ["train", "recipe"])
def test_the_help_names_every_shipped_recipe(command: str) -> None:
    from thumbtune.cli.train import recipe_, train

    argument = inspect.signature({"train": train, "recipe": recipe_}[command]).parameters["recipe"]
    help_of = get_args(argument.annotation)[1].help
    for file in SHIPPED_RECIPES.glob("*.yaml"):
        assert file.stem in re.findall(r"[\w-]+", help_of)


@pytest.mark.slow
@pytest.mark.parametrize("vae", ["file", "folder", "checkpoint"])
def test_a_scaling_that_no_file_says_is_noted_once(tmp_path: Path, caplog: pytest.LogCaptureFixture, vae: str) -> None:
    model, other = tmp_path / "sd1.safetensors", tmp_path / "other.safetensors"
    parts = networks(SD1)
    for file in (model, other):
        save_file(tensors_of(SD1, parts), file)
    parts["vae"].save_pretrained(tmp_path / "vae")
    alone = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    name = {"file": alone, "folder": tmp_path / "vae", "checkpoint": other}[vae]
    for _ in range(2):
        load_pipeline(str(model), options=ModelOptions(vae=str(name)))
    noted = [record.getMessage() for record in caplog.records if "scaled" in record.getMessage()]
    assert len(noted) == (vae == "file")
    if noted:
        assert str(alone) in noted[0] and str(model) in noted[0] and "0.18215" in noted[0]
