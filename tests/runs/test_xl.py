"""SDXL from likes to a verdict: notes, training, resume, files, images, held-out rewards and a duel."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import load_file

import thumbtune
from thumbtune.models.pipeline_files import few_steps_note
from thumbtune.models.protocol import Sampler
from thumbtune.runs.text_length import cut_prompts

Call = Callable[..., tuple[int, str, str]]
LONG = "abcdef"  # 6 letters and two marks fill the 8 places


def edit(file: Path, **options: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | options))


@pytest.fixture
def folder(tiny_pipeline: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_pipeline("xl-epsilon"), tmp_path / "model"))


def test_a_prompt_is_cut_if_either_encoder_cuts_it_and_equal_if_both_do(folder: Path) -> None:
    prompts = [f"{LONG}gx", f"{LONG}gy", LONG, "ab"]
    cut = cut_prompts(str(folder), prompts)
    assert (cut.length, cut.cut, dict(cut.same_as)) == (8, tuple(prompts[:2]), {prompts[1]: prompts[0]})
    folder = Path(shutil.copytree(folder, folder.with_name("other")))  # loaded tokenizers are kept by their folder
    edit(folder / "tokenizer_2" / "tokenizer_config.json", model_max_length=5)
    shorter = cut_prompts(str(folder), prompts)
    assert (shorter.length, shorter.cut) == (5, tuple(prompts[:3]))  # the second encoder cuts six letters
    assert dict(shorter.same_as) == {prompts[1]: prompts[0]}  # the first one still tells the third from them
    folder = Path(shutil.copytree(folder, folder.with_name("third")))
    edit(folder / "model_index.json", _class_name="StableDiffusionPipeline")
    assert cut_prompts(str(folder), prompts).length == 8  # SD 1.x has one tokenizer


@pytest.mark.parametrize(
    ("options", "noted"),
    [
        ({"timestep_spacing": "leading"}, None),
        ({"timestep_spacing": "trailing"}, "trailing"),
        ({"timestep_spacing": "trailing", "rescale_betas_zero_snr": True}, None),
        ({"_class_name": "LCMScheduler", "timestep_spacing": "leading"}, "LCMScheduler"),
    ],
)
def test_a_model_for_a_few_steps_is_noted(folder: Path, options: dict[str, Any], noted: str | None) -> None:
    edit(folder / "scheduler" / "scheduler_config.json", **options)
    note = few_steps_note(str(folder))
    assert note is None if noted is None else note is not None and noted in note and "Turbo" in note
    edit(folder / "model_index.json", _class_name="StableDiffusionPipeline")
    assert few_steps_note(str(folder)) is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["xl-epsilon", "xl-v_prediction"])
def test_from_likes_to_a_verdict(
    call: Call, small: list[str], likes: Path, tiny_pipeline: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    model, run = tiny_pipeline(kind), tmp_path / "run"
    chosen = [f"likes={likes}", f"model={model}", *small, "train.lr=1e-2"]
    chosen += ["evaluate.steps=2", "evaluate.per_prompt=2", "evaluate.scorers=red"]
    options = [word for option in chosen for word in ("--set", option)]
    code, out, err = call("train", "--out", run, *options, "--dry-run")
    assert code == 0 and "weights trained" in out and not run.exists(), err
    assert call("train", "--out", run, *options)[0] == 0

    half = tmp_path / "half"
    settings = {option.split("=")[0]: option.split("=", 1)[1] for option in chosen}
    for step in thumbtune.train([f"{name}={value}" for name, value in settings.items()], half):
        if step.step == 3:
            break
    assert call("train", "--out", half, "--resume")[0] == 0
    name = "pytorch_lora_weights.safetensors"
    whole, resumed = (load_file(folder / "lora" / name) for folder in (run, half))
    assert whole.keys() == resumed.keys() and all(torch.equal(value, resumed[key]) for key, value in whole.items())

    tuned, base = thumbtune.load(run, "cpu"), thumbtune.load(model, "cpu")
    (ours,) = tuned.generate(["thing"], [3], Sampler(steps=2))
    assert ours.tobytes() != base.generate(["thing"], [3], Sampler(steps=2))[0].tobytes()
    fresh: Any = StableDiffusionXLPipeline.from_pretrained(model, add_watermarker=False)
    fresh.load_lora_weights(run / "lora", weight_name=name)
    drawn = fresh("thing", num_inference_steps=2, guidance_scale=3.0, generator=torch.Generator().manual_seed(3))
    assert max(abs(a - b) for a, b in zip(ours.tobytes(), drawn.images[0].tobytes(), strict=True)) <= 1
    code, _, err = call("generate", "thing", "--run", run, "--out", tmp_path / "images")
    assert code == 0, err
    with Image.open(next((tmp_path / "images").glob("*.png"))) as image:
        assert image.size == (16, 16)

    code, _, err = call("evaluate", run)
    verdict = json.loads((run / "evaluation" / "verdict.json").read_text())
    assert verdict["decision"] in ("ship", "do not ship", "not enough evidence"), err
    (tmp_path / "prompts.txt").write_text("".join(f"thing {i}\n" for i in range(10)))
    asked = ["--prompts", tmp_path / "prompts.txt", "--scorers", "red", "--out", tmp_path / "duel"]
    code, out, err = call("duel", model, run / "lora" / "kohya.safetensors", "--base", model, *asked)
    assert "Traceback" not in err and (tmp_path / "duel" / "duel.json").is_file(), (code, out, err)
