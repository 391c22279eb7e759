"""Runs through the command line, on a real pipeline at tiny size: the story, resuming, and bad input."""

import errno
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import load_file

from thumbtune import __version__
from thumbtune.cli import train as cli
from thumbtune.models.families.stable_diffusion import StableDiffusion
from thumbtune.runs import build
from thumbtune.runs.recipe import read_recipe
from thumbtune.runs.run import recipe_in
from thumbtune.runs.tuning import tune
from thumbtune.training import checkpoint
from thumbtune.training.progress import quiet

Call = Callable[..., tuple[int, str, str]]


def steps_of(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_from_thumbs_to_a_report(call: Call, settings: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, out, err = call("train", "--out", run, *settings)
    assert code == 0, err
    assert [row["step"] for row in steps_of(run)] == [1, 2, 3, 4, 5, 6]
    assert {f.name for f in (run / "lora").iterdir()} == {
        "pytorch_lora_weights.safetensors",
        "kohya.safetensors",
        "README.md",
    }

    code, out, err = call("evaluate", run)
    assert code == 0, err
    result = json.loads((run / "evaluation" / "result.json").read_text())
    assert result["scorer_names"] == ["red"]  # the judge knows no "thing 1", and so is not asked
    verdict = json.loads((run / "evaluation" / "verdict.json").read_text())
    assert verdict["sentence"] in out
    assert 0 <= verdict["agreement"]["low"] <= verdict["agreement"]["auc"] <= verdict["agreement"]["high"] <= 1
    assert verdict["sentence"].split(".")[0] in (run / "report.html").read_text()

    code, out, err = call(
        "generate", "thing 1", "--run", run, "--out", tmp_path / "pictures", "--seeds", 2, "--steps", 2
    )
    assert code == 0, err
    assert sorted(p.name for p in (tmp_path / "pictures").glob("*.png")) == ["thing-1-0.png", "thing-1-1.png"]


@pytest.mark.slow
def test_all_weights_can_be_trained_and_the_result_is_a_network_for_diffusers(
    call: Call, settings: list[str], tmp_path: Path
) -> None:
    run, full = tmp_path / "run", ["--set", "train.weights=full"]
    code, out, err = call("train", "--out", run, *settings, *full, "--dry-run")
    trained, total = (
        word.replace(",", "") for word in re.search(r"([\d,]+) of ([\d,]+) weights trained", out).groups()
    )
    assert code == 0 and trained == total, err
    code, out, err = call("train", "--out", run, *settings, *full)
    assert code == 0, err
    assert f"The result is in {run / 'unet'}" in out and not (run / "lora").exists()
    code, out, err = call("evaluate", run)
    assert code == 0, err
    assert json.loads((run / "evaluation" / "verdict.json").read_text())["agreement"] is not None
    page = (run / "report.html").read_text()
    assert "UNet2DConditionModel.from_pretrained" in page and "load_lora_weights" not in page
    code, out, err = call("generate", "thing 1", "--run", run, "--out", tmp_path / "p", "--seeds", 1, "--steps", 2)
    assert code == 0, err

    # whichever way the weights went, going on with the other kind is another run
    code, _, err = call("train", "--out", run, "--resume", *settings, "--set", "train.weights=lora")
    assert code == 2 and "started with train.weights = full, not lora" in err


@pytest.mark.slow
def test_full_training_resumes_exactly_and_keeps_few_checkpoints(
    call: Call, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = ["--set", "train.weights=full", "--set", "train.keep_checkpoints=1", "--set", "train.sync_reference_every=3"]
    full += ["--set", "train.checkpoint_every=1", "--set", "train.validate_every=2"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert call("train", "--out", whole, *settings, *full)[0] == 0
    say = cli.say

    def press_ctrl_c(text: str) -> None:
        say(text)
        if "step 1 " in text:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(cli, "say", press_ctrl_c)
    assert call("train", "--out", broken, *settings, *full)[0] == 130
    monkeypatch.setattr(cli, "say", say)
    recipe = read_recipe(None, [word for word in [*settings, *full] if word != "--set"])
    refreshed = iter(tune(recipe, broken, quiet, resume=True))
    assert [next(refreshed).step for _ in range(3)] == [2, 3, 4]  # past the new reference
    refreshed.close()
    code, _, err = call("train", "--out", broken, "--resume", *settings, *full)
    assert code == 0, err
    assert steps_of(broken) == steps_of(whole)
    one, other = (load_file(run / "unet" / "diffusion_pytorch_model.safetensors") for run in (broken, whole))
    assert all(torch.equal(one[key], other[key]) for key in one)
    kept = checkpoint.steps_in(whole)
    assert kept[-1] == 6 and len(kept) <= 2


def test_a_dry_run_says_what_would_happen_and_writes_nothing(call: Call, settings: list[str], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call("train", "--out", tmp_path / "run", "--dry-run", *settings)
    assert code == 0, err
    assert "6 steps of 4 images: 24 images" in out
    assert not (tmp_path / "run").exists()
    assert sorted(tmp_path.rglob("*")) == before


def test_ctrl_c_saves_a_checkpoint_and_resume_ends_where_an_unbroken_run_ends(
    call: Call,
    shared_settings: list[str],
    trained_at: Callable[[Path], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, broken = trained_at(tmp_path / "whole"), tmp_path / "broken"

    say = cli.say

    def press_ctrl_c(text: str) -> None:
        say(text)
        if "step 1 " in text:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(cli, "say", press_ctrl_c)
    code, _, err = call("train", "--out", broken, *shared_settings)
    assert code == 130
    assert "a checkpoint was saved" in err
    stopped = checkpoint.latest(broken)
    assert stopped is not None
    assert not (broken / "lora").exists()

    monkeypatch.setattr(cli, "say", say)
    code, _, err = call("train", "--out", broken, *shared_settings)
    assert code == 2
    assert "--resume" in err
    code, _, err = call("train", "--out", broken, "--resume", *shared_settings)
    assert code == 0, err
    assert steps_of(broken) == steps_of(whole)
    for file in ("pytorch_lora_weights.safetensors", "kohya.safetensors"):
        # tensors, not bytes: safetensors writes the entries of its metadata in no fixed order
        one, other = load_file(broken / "lora" / file), load_file(whole / "lora" / file)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_resuming_with_another_recipe_is_refused(
    call: Call, shared_settings: list[str], trained_at: Callable[[Path], Path], tmp_path: Path
) -> None:
    code, _, err = call(
        "train", "--out", trained_at(tmp_path / "run"), "--resume", *shared_settings, "--set", "train.lr=0.5"
    )
    assert code == 2
    assert "train.lr" in err


@pytest.mark.slow
def test_only_likes_are_refused_by_kto_and_taken_by_sft(
    call: Call, small: list[str], thumbs: Path, tmp_path: Path, tiny_pipeline: Callable[[str], Path]
) -> None:
    for path in (thumbs / "dislike").iterdir():
        path.unlink()
    assert call("import", thumbs, "--likes", tmp_path / "likes")[0] == 0
    options = [f"likes={tmp_path / 'likes'}", f"model={tiny_pipeline('epsilon')}", *small]
    words = [word for option in options for word in ("--set", option)]
    code, _, err = call("train", "--out", tmp_path / "run", *words)
    assert code == 1
    assert "0 dislikes" in err and "sft" in err
    assert not (tmp_path / "run").exists()
    code, _, err = call("train", "--out", tmp_path / "run", *words, "--set", "objective.name=sft")
    assert code == 0, err


@pytest.fixture
def paired(call: Call, likes: Path, thumbs: Path, tmp_path: Path) -> Path:
    """A store in which every prompt has a liked and a disliked image, but for one."""
    for path in (thumbs / "dislike").glob("blue-0.*"):
        path.unlink()
    assert call("import", thumbs, "--likes", tmp_path / "paired")[0] == 0
    return tmp_path / "paired"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dpo", "csft"])
def test_dpo_and_csft_train_and_are_judged(
    call: Call, paired: Path, settings: list[str], tmp_path: Path, name: str
) -> None:
    run = tmp_path / "run"
    words = [*settings, "--set", f"likes={paired}", "--set", f"objective.name={name}"]
    code, out, err = call("train", "--dry-run", "--out", run, *words)
    assert code == 0, err
    assert ("pairs from " in out) == (name == "dpo")
    code, out, err = call("train", "--out", run, *words)
    assert code == 0, err
    assert ('Begin every prompt with "good image, "' in out) == (name == "csft")
    losses = [json.loads(line)["loss"] for line in (run / "steps.jsonl").read_text().splitlines()]
    assert len(losses) == 6 and (losses[0] == pytest.approx(math.log(2), abs=1e-5)) == (name == "dpo")
    code, _, err = call("evaluate", run)
    assert code == 0, err
    prefix = "good image" if name == "csft" else None
    assert json.loads((run / "evaluation" / "duel.json").read_text())["sides"]["b"]["prompt_prefix"] == prefix
    assert call("report", run)[0] == 0
    assert ("good image, thing" in (run / "report.html").read_text()) == (name == "csft")


def test_dpo_without_a_pair_says_what_is_missing(
    call: Call, likes: Path, settings: list[str], thumbs: Path, tmp_path: Path
) -> None:
    for path in (thumbs / "dislike").glob("*.txt"):
        path.write_text(f"other {path.stem}")
    assert call("import", thumbs, "--likes", tmp_path / "unpaired")[0] == 0
    words = [*settings, "--set", f"likes={tmp_path / 'unpaired'}", "--set", "objective.name=dpo"]
    code, _, err = call("train", "--out", tmp_path / "run", *words)
    assert code == 1
    assert "none of the" in err and "prompts has both" in err and "choose kto" in err
    assert not (tmp_path / "run").exists()


def test_a_missing_model_is_one_sentence(call: Call, likes: Path, tmp_path: Path) -> None:
    words = ["--set", f"likes={likes}", "--set", f"model={tmp_path / 'nowhere'}"]
    code, _, err = call("train", "--out", tmp_path / "run", *words)
    assert code == 1
    assert "There is no file or folder" in err and "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_no_likes_say_how_to_get_some(call: Call, tmp_path: Path) -> None:
    code, _, err = call("train", "--out", tmp_path / "run", "--set", f"likes={tmp_path / 'none'}")
    assert code == 1
    assert "thumbtune import" in err
    assert not (tmp_path / "none").exists()


def test_an_empty_folder_is_one_sentence_and_makes_no_store(call: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = call("import", tmp_path / "empty", "--likes", tmp_path / "likes")
    assert code == 1
    assert str(tmp_path / "empty") in err and "Traceback" not in err
    assert not (tmp_path / "likes").exists()


def test_a_corrupt_image_and_a_row_without_prompt_are_named_and_skipped(
    call: Call, thumbs: Path, tmp_path: Path
) -> None:
    (thumbs / "like" / "red-1.png").write_bytes((thumbs / "like" / "red-1.png").read_bytes()[:40])
    (thumbs / "like" / "red-2.txt").unlink()
    code, out, err = call("import", thumbs, "--likes", tmp_path / "likes")
    assert code == 0
    assert "8 likes, 10 dislikes" in out and "1 without a prompt, 1 unreadable" in out
    assert "red-1.png" in err and "red-2.png" in err


@pytest.mark.slow
def test_a_full_disk_stops_training_with_a_sentence_and_keeps_what_was_saved(
    call: Call, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, run = checkpoint.save_file, tmp_path / "run"

    def full(tensors: Any, path: Path, *rest: Any) -> None:
        if "step-000004" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path, *rest)

    monkeypatch.setattr(checkpoint, "save_file", full)
    code, _, err = call("train", "--out", run, *settings)
    assert code == 1
    assert "No space left on device" in err and "--resume" in err
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["step-000000", "step-000002"]
    assert not (run / "lora").exists()
    monkeypatch.setattr(checkpoint, "save_file", real)
    assert call("train", "--out", run, "--resume", *settings)[0] == 0
    assert [row["step"] for row in steps_of(run)] == [1, 2, 3, 4, 5, 6]


def test_unknown_keys_exit_with_2(call: Call, tmp_path: Path) -> None:
    code, _, err = call("train", "--out", tmp_path / "run", "--set", "train.stepz=3")
    assert code == 2
    assert "did you mean train.steps?" in err


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_a_folder_that_is_no_run_is_named(call: Call, tmp_path: Path, command: str) -> None:
    code, _, err = call(command, tmp_path)
    assert code in (1, 2)
    assert str(tmp_path) in err and "Traceback" not in err


@pytest.mark.slow
def test_a_real_ctrl_c_in_a_real_process_exits_with_130(settings: list[str], tmp_path: Path) -> None:
    words = [*settings, "--set", "train.steps=4000", "--set", "train.checkpoint_every=4000"]
    command = [sys.executable, "-m", "thumbtune.cli.app", "train", "--out", str(tmp_path / "run"), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "step 25 " in line:
                process.send_signal(signal.SIGINT)
                break
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "a checkpoint was saved" in err
    assert checkpoint.latest(tmp_path / "run") is not None


@pytest.mark.slow
def test_a_finished_run_that_is_resumed_tells_that_the_likes_have_changed_and_keeps_its_own(
    call: Call, settings: list[str], thumbs: Path, likes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thumbtune.cli import app

    run = tmp_path / "run"
    assert call("train", "--out", run, *settings)[0] == 0
    before = (run / "likes.parquet").read_bytes()
    Image.new("RGB", (16, 16), "green").save(thumbs / "like" / "green.png")
    (thumbs / "like" / "green.txt").write_text("thing 1")
    assert call("import", thumbs, "--likes", likes)[0] == 0
    told = f"Note: The likes in {likes} have changed since {run} began (1 label is new); this run does not contain them"
    for dry in ((), ("--dry-run",)):
        monkeypatch.setattr(app, "_shown", set())  # a process prints each note once
        code, _, err = call("train", "--out", run, "--resume", *dry, *settings)
        assert code == 0 and err.count(told) == 1 and "Flattening" not in err, err
        assert (run / "likes.parquet").read_bytes() == before


def test_prompts_that_training_saw_are_refused(call: Call, trained_at: Callable[[Path], Path], tmp_path: Path) -> None:
    run, file = trained_at(tmp_path / "run"), tmp_path / "prompts.txt"
    file.write_text("".join(f"thing {i}\n" for i in range(10)))
    code, _, err = call("evaluate", run, "--set", f"evaluate.prompts={file}")
    assert code == 2
    assert "prompts of the training" in err


def test_evaluating_with_another_training_recipe_is_refused(
    call: Call, trained_at: Callable[[Path], Path], tmp_path: Path
) -> None:
    code, _, err = call("evaluate", trained_at(tmp_path / "run"), "--set", "seed=1")
    assert code == 2
    assert "seed" in err


def test_an_import_that_only_counts_or_fails_leaves_no_store(call: Call, thumbs: Path, tmp_path: Path) -> None:
    code, out, _ = call("import", thumbs, "--likes", tmp_path / "likes", "--dry-run")
    assert code == 0
    assert [line.split() for line in out.splitlines()][3:5] == [["likes", "10"], ["dislikes", "10"]]
    assert not (tmp_path / "likes").exists()
    for path in thumbs.rglob("*.txt"):
        path.unlink()
    assert call("import", thumbs, "--likes", tmp_path / "likes")[0] == 1
    assert not (tmp_path / "likes").exists()


@pytest.mark.slow
def test_a_held_out_image_that_training_saw_under_another_prompt_is_not_asked_about(
    call: Call, thumbs: Path, likes: Path, settings: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    call("train", "--out", run, *settings)
    assert call("evaluate", run)[0] == 0
    asked = json.loads((run / "evaluation" / "verdict.json").read_text())["agreement"]["images"]

    recipe = recipe_in(run)
    parts = build.split_of(recipe)
    # every trained image again, under the prompts that are held out
    again = tmp_path / "again"
    for row, prompt in zip(parts.train, parts.held_out["prompt"], strict=False):
        path = again / ("like" if row["label"] else "dislike") / f"{row['image_id'][:8]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((likes / "images" / row["image_id"][:2] / f"{row['image_id']}.png").read_bytes())
        path.with_suffix(".txt").write_text(prompt)
    assert call("import", again, "--likes", likes)[0] == 0
    more = build.split_of(recipe)
    assert len(more.held_out) > len(parts.held_out) and len(more.train) == len(parts.train)
    assert call("evaluate", run)[0] == 0
    assert json.loads((run / "evaluation" / "verdict.json").read_text())["agreement"]["images"] == asked


def test_prompts_that_differ_in_a_mark_alone_get_an_image_each(
    call: Call, tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    model = tiny_pipeline("epsilon")
    prompts = ["a cat!", "a cat?", "a dog"]
    code, _, err = call("generate", *prompts, "--model", model, "--seeds", 1, "--steps", 1, "--out", tmp_path / "out")
    assert code == 0, err
    names = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert len(names) == 3 and names[-1] == "a-dog-0.png"


def test_a_second_precision_in_one_process_is_one_sentence(call: Call, settings: list[str], tmp_path: Path) -> None:
    """Accelerate keeps one for the life of a process."""
    Accelerator(cpu=True)
    code, _, err = call("train", "--out", tmp_path / "run", *settings, "--set", "train.precision=bf16")
    assert code == 2
    assert err.strip().splitlines()[-1].startswith("thumbtune: train.precision: bf16 cannot be used here")
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_all_weights_are_trained_and_judged_in_half_precision(
    settings: list[str], apart: Callable[..., None], tmp_path: Path
) -> None:
    """In a process of its own: the reference is then kept in bf16, which only autocast may ask."""
    run = tmp_path / "run"
    full = ["weights=full", "precision=bf16", "sync_reference_every=3", "keep_checkpoints=1", "lr=1e-3"]
    chosen = [*settings, *(word for option in full for word in ("--set", f"train.{option}"))]
    program = 'run, *words = sys.argv[1:]\ncommand("train", "--out", run, *words)\ncommand("evaluate", run)'
    apart(program, run, *chosen)
    first = steps_of(run)[0]
    assert first["policy_error"] == first["reference_error"]
    assert steps_of(run)[-1]["policy_error"] != steps_of(run)[-1]["reference_error"]
    assert json.loads((run / "evaluation" / "verdict.json").read_text())["agreement"] is not None


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU can work in fp16")
def test_half_precision_without_a_gpu_is_refused(settings: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "thumbtune.cli.app", "train", "--out", str(tmp_path / "run"), *settings]
    command += ["--set", "train.precision=fp16"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("thumbtune: train.precision: fp16 needs a GPU")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_that_ran_out_of_memory_goes_on_with_smaller_parts(
    call: Call,
    shared_settings: list[str],
    trained_at: Callable[[Path], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, run = trained_at(tmp_path / "whole"), tmp_path / "run"
    predict = StableDiffusion.predict

    def full(self: StableDiffusion, noisy: Any, *rest: Any) -> Any:
        if torch.is_grad_enabled() and len(noisy) > 1 and (run / "steps.jsonl").read_text().count("\n") == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return predict(self, noisy, *rest)

    monkeypatch.setattr(StableDiffusion, "predict", full)
    code, _, err = call("train", "--out", run, *shared_settings)
    assert code == 1
    assert "Memory ran out at step 3, with 2 images at once" in err and "--resume" in err
    smaller = ["--set", "train.micro_batch=1", "--set", "train.gradient_checkpointing=true"]
    code, _, err = call("train", "--out", run, *shared_settings, *smaller, "--resume")
    assert code == 0, err
    assert recipe_in(run).train.micro_batch == 1
    for one, two in zip(steps_of(whole), steps_of(run), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
    assert build.model_of(recipe_in(run)).network.is_gradient_checkpointing


@pytest.mark.slow
def test_weights_that_were_being_updated_when_memory_ran_out_are_not_saved(
    call: Call, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, step = tmp_path / "run", torch.optim.AdamW.step

    def torn(self: torch.optim.AdamW, *rest: Any) -> Any:
        if (run / "steps.jsonl").read_text().count("\n") == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return step(self, *rest)

    monkeypatch.setattr(torch.optim.AdamW, "step", torn)
    code, _, err = call("train", "--out", run, *settings)
    assert code == 1 and "Memory ran out in the update of step 4" in err and "train.weights=lora" in err
    newest = checkpoint.latest(run)
    assert (
        newest is not None and json.loads((newest / "state.json").read_text())["step"] == 2
    )  # not 3: it was under way


def test_memory_that_runs_out_elsewhere_is_one_sentence_too(
    call: Call, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(StableDiffusion, "encode", full)
    code, _, err = call("train", "--out", tmp_path / "run", *settings)
    assert code == 1
    assert err.strip().splitlines()[-1].startswith("thumbtune: Memory ran out (CUDA out of memory.")


def test_the_installed_command_says_its_version() -> None:
    command = Path(sys.executable).with_name("thumbtune")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"thumbtune {__version__}\n"
