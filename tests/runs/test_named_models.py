"""A model that cannot be used gets the same sentence in training, in its forecast and in a duel, before any work."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from thumbtune.errors import ThumbtuneError
from thumbtune.models.pipeline_files import check_pipeline, few_steps_note, index_of
from thumbtune.models.protocol import Sampler
from thumbtune.runs.generate import Generator, generate_images
from thumbtune.runs.text_length import cut_prompts

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
        lambda: list(generate_images([(LONG, 0)], Sampler(), tmp_path / "i", None, Generator(model=str(file)))),  # type: ignore[arg-type]
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
