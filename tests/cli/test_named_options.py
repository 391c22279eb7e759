"""Options as people type them, the order of commands in --help, and the completion of shells."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from refusals import refused

from thumbtune.cli.app import app
from thumbtune.cli.order import PANEL_OF, PANELS
from thumbtune.cli.recipe_options import OPTIONS, with_named
from thumbtune.errors import UsageError
from thumbtune.runs.recipe import recipe_options

Call = Callable[..., tuple[int, str, str]]
VALUES = {
    **{"model": "sd", "likes": "mine", "steps": "200", "batch": "8", "lr": "1e-4", "rank": "8", "alpha": "4"},
    **{"objective": "bco", "beta": "5000", "size": "512", "precision": "bf16", "seed": "7"},
    **{"start": "mine.safetensors", "reference": "base"},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_by_its_own_name_is_that_of_set(call: Call, name: str) -> None:
    start = ["--set", "lora.start=other.safetensors"] if name == "reference" else []  # which it needs
    own = call("recipe", f"--{name}", VALUES[name], "--model", "tiny-emoji-64", *start)
    if name == "model":
        own = call("recipe", "--model", "tiny-emoji-64")
        assert own[1] == call("recipe")[1] != call("recipe", "flux")[1]
        return
    by_set = call("recipe", "--set", f"{OPTIONS[name]}={VALUES[name]}", *start)
    assert own == by_set and own[0] == 0 and own[1] != call("recipe")[1]


def test_an_option_in_both_ways_is_refused() -> None:
    with refused("option-given-twice", UsageError, naming=["--lr 1e-4", "train.lr=5e-5"]):
        with_named({"train.lr": "1e-4"}, ["seed=1", "train.lr=5e-5"])
    with refused("option-given-twice", UsageError, naming=["--steps 5"]):
        with_named({"train.steps": "5", "train.lr": None}, ["train.steps=5"])
    assert with_named({"train.lr": "1e-4", "seed": None}, ["train.steps=5"]) == ["train.lr=1e-4", "train.steps=5"]
    assert with_named({"train.lr": None}, None) is None


def test_an_option_goes_before_that_of_a_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("train:\n  steps: 9\n  lr: 3e-4\n")
    out = call("recipe", tmp_path / "mine.yaml", "--steps", 5)[1]
    assert "\n  steps: 5\n" in out and "\n  lr: 0.0003\n" in out


@pytest.mark.parametrize("words", ["--lr abc", "--lr -1", "--steps 0", "--objective none", "--beta maybe"])
def test_a_wrong_value_is_told_by_the_name_in_the_recipe(call: Call, words: str) -> None:
    code, out, err = call("recipe", *words.split())
    option = OPTIONS[words.split(maxsplit=1)[0].removeprefix("--")]
    assert code == 2 and not out and option in err and err.count("\n") == 1


def test_a_wrong_setting_is_not_blamed_on_the_file(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("train:\n  steps: 9\n")
    for words in (("--set", "train.lr=fast"), ("--lr", "fast")):
        code, _, err = call("recipe", file, *words)
        assert code == 2 and "The settings that were given: train.lr is 'fast', but should be a number." in err
    file.write_text("train:\n  steps: many\n")
    code, _, err = call("recipe", file, "--set", "train.lr=fast")
    assert code == 2 and f"{file}: train." in err and "settings that were given" not in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("evaluate runs/mine --prompt x.txt", "write --prompts x.txt, a file of prompts or the name of a set"),
        ("verdict runs/mine --prompt=x.txt", "write --prompts x.txt, a file"),
        ("evaluate runs/mine --seeds 2", "write --set evaluate.per_prompt=2 "),
        ("evaluate runs/mine --num-images-per-prompt 2", "write --set evaluate.per_prompt=2 "),
        ("generate cat --lora mine.safetensors", "`thumbtune merge LORA OUT --base MODEL`, and name that with --model"),
        ("train --seeds 2", "write --seed 2"),
    ],
)
def test_an_option_of_another_command_is_told_by_ours(call: Call, words: str, told: str) -> None:
    code, _, err = call(*words.split())
    assert code == 2 and "has no option --" in err and told in err


OTHERS = (
    "learning_rate=3e-4 per_device_train_batch_size=2 max_steps=5 network_dim=4 network_alpha=2 train_batch_size=2 "
)
OTHERS += "max_train_steps=5 pretrained_model_name_or_path=sd resolution=512 mixed_precision=no beta=5 output_dir=x "
OTHERS += "gradient_accumulation_steps=2"


@pytest.mark.parametrize("setting", OTHERS.split())
def test_names_of_other_trainers_lead_to_ours_in_a_recipe_and_behind_set(
    call: Call, tmp_path: Path, setting: str
) -> None:
    name, _, value = setting.partition("=")
    (tmp_path / "theirs.yaml").write_text(f"{name}: {value}\n")
    for words in (("recipe", tmp_path / "theirs.yaml"), ("recipe", "--set", setting)):
        code, _, err = call(*words)
        (ours,) = re.findall(r"did you mean ([\w.]+)\?|use the option --(out) of `thumbtune train`", err)
        assert code == 2 and ("".join(ours) in recipe_options() or ours[1] == "out")


def test_help_lists_the_commands_in_the_order_of_use(call: Call) -> None:
    code, out, _ = call("--help")
    listed = [word for word in re.findall(r"^\W*([a-z]+)  +[A-Z]", out, re.MULTILINE)]
    assert code == 0 and listed == list(PANEL_OF) and listed[:4] == ["generate", "import", "studio", "likes"]
    assert [out.index(panel) for panel in PANELS] == sorted(out.index(panel) for panel in PANELS)
    assert set(typer.main.get_command(app).commands) == set(PANEL_OF)  # type: ignore[attr-defined]


def test_help_of_train_tells_each_option(call: Call) -> None:
    out = " ".join(re.sub(r"[│╭╮╰╯─]", " ", call("train", "--help")[1]).split())
    for name, option in OPTIONS.items():
        assert f"--{name} VALUE" in out and f"In a recipe: {option}." in out


PROGRAM = "import sys; sys.argv[0] = 'thumbtune'; from thumbtune.cli import main; main()"


def completed(words: str, **environment: str) -> list[str]:
    typed = {"_THUMBTUNE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=os.environ | typed | environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.slow
def test_a_shell_completes_commands_and_options() -> None:
    assert completed("thumbtune tr") == ["train"]
    assert completed("thumbtune ") == list(PANEL_OF)
    assert completed("thumbtune train --l") == ["--likes", "--lr"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_installs_and_works_in_bash(tmp_path: Path) -> None:
    (tmp_path / "thumbtune").write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{PROGRAM}" "$@"\n')
    (tmp_path / "thumbtune").chmod(0o755)
    environment = os.environ | {"HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = "thumbtune --install-completion bash; . ~/.bashrc; complete -p thumbtune; COMP_WORDS=(thumbtune mer); "
    script += "COMP_CWORD=1; _thumbtune_completion thumbtune; echo ${COMPREPLY[@]}"
    done = subprocess.run(
        ["bash", "-c", script],
        env=environment | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split()[-1] == "merge", done.stdout + done.stderr
