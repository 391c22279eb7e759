"""What nobody put into words: one line, an exit code, and a file with the traceback."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[BaseException], None]:
    """Let `thumbtune recipe` raise an error; the current folder is an empty one."""
    from thumbtune.runs import recipe

    monkeypatch.chdir(tmp_path)

    def let(error: BaseException) -> None:
        def raising(*_: Any) -> None:
            raise error

        monkeypatch.setattr(recipe, "read_recipe", raising)

    return let


@pytest.mark.parametrize(
    "error",
    [
        TypeError("'NoneType' object is not subscriptable"),
        KeyError("side"),
        RecursionError("maximum recursion depth exceeded"),
        AssertionError(),
        ZeroDivisionError("division by zero\nand a second line"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        OSError("We couldn't connect to the hub\nand so on"),
        RuntimeError("x" * 10_000),
        ExceptionGroup("several", [ValueError("one")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_other_error_is_one_line_and_a_file(
    call: Call, failing: Callable[[BaseException], None], tmp_path: Path, error: Exception
) -> None:
    failing(error)
    code, out, err = call("recipe")
    (file,) = tmp_path.glob("thumbtune-error-*.txt")
    assert (code, out) == (70, "")
    assert err.count("\n") == 1 and "Traceback" not in err and len(err) < 500
    assert err.startswith("thumbtune: Unexpected error") and type(error).__name__ in err and str(file) in err
    text = file.read_text()
    assert "Traceback (most recent call last)" in text and "thumbtune recipe" in text and type(error).__name__ in text


def test_the_file_lies_in_the_run_that_the_command_names(
    call: Call, failing: Callable[[BaseException], None], tmp_path: Path
) -> None:
    failing(ValueError("bad"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").touch()
    assert call("train", "--out", tmp_path / "run")[0] == 70
    assert list((tmp_path / "run").glob("thumbtune-error-*.txt")) and not list(tmp_path.glob("thumbtune-error-*"))


def test_a_folder_that_cannot_be_written_is_passed_over(
    call: Call, failing: Callable[[BaseException], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    failing(ValueError("bad"))
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    code, _, err = call("recipe")
    assert code == 70 and "temporary" in err and list((tmp_path / "temporary").iterdir())


def test_neither_the_line_nor_the_file_holds_a_password(
    call: Call, failing: Callable[[BaseException], None], tmp_path: Path
) -> None:
    failing(ValueError("cannot open postgresql://ann:hunter2@host/db and ann:hunter2@host"))
    code, _, err = call("recipe", "--set", "likes=postgresql://ann:hunter2@[::1")
    (file,) = tmp_path.glob("thumbtune-error-*.txt")
    assert code == 70 and "hunter2" not in err and "hunter2" not in file.read_text()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "Memory ran out"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory"),
            "micro_batch",
        ),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "Memory ran out"),
        (OSError(errno.ENOSPC, "No space left on device", "x/y.png"), "no space left for x/y.png; make room"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "no space left; make room"),
        (PermissionError(errno.EACCES, "Permission denied", "x/y"), "x/y cannot be used (Permission denied)"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), "x cannot be used"),
    ],
)
def test_the_machine_s_own_limits_have_a_sentence(
    call: Call, failing: Callable[[BaseException], None], tmp_path: Path, error: Exception, said: str
) -> None:
    failing(error)
    code, _, err = call("recipe")
    assert code == 1 and said in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_reader_that_has_gone_is_no_failure(
    call: Call, failing: Callable[[BaseException], None], tmp_path: Path
) -> None:
    failing(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    code, out, err = call("recipe")
    assert code == 1 and not out and not err and not list(tmp_path.iterdir())


def test_ctrl_c_is_as_it_was(call: Call, failing: Callable[[BaseException], None]) -> None:
    failing(KeyboardInterrupt())
    assert call("recipe") == (130, "", "thumbtune: Stopped; what was saved before is whole.\n")


def test_the_traceback_is_shown_on_demand(
    call: Call, failing: Callable[[BaseException], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(KeyError("side"))
    monkeypatch.setenv("THUMBTUNE_DEBUG", "1")
    with pytest.raises(KeyError, match="side"):
        call("recipe")
    assert not list(tmp_path.iterdir())


def test_python_raises_as_ever(failing: Callable[[BaseException], None]) -> None:
    from thumbtune.runs import recipe

    failing(KeyError("side"))
    with pytest.raises(KeyError):
        recipe.read_recipe(None)


def test_a_closed_pipe_and_an_ascii_terminal_make_no_noise(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from thumbtune.cli import main; main()"]
    shell = f"{subprocess.list2cmdline(command)} recipe | head -n 1"
    done = subprocess.run(shell, shell=True, capture_output=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith(b"# The base model") and not done.stderr
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code = "from thumbtune.cli.failures import prepare_streams as p; p(); print('caf\\u00e9 \\udcff')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    assert done.stdout == b"caf\\xe9 \\udcff\n" and not done.stderr


def test_the_home_folder_is_found_behind_an_equals_sign_too(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("seed: 7")
    assert "seed: 7" in call("recipe", "~/mine.yaml")[1]
    assert str(tmp_path / "nothing") in call("human", "export", "~/nothing")[2]
    assert str(tmp_path / "no") in call("duel", "a", "b", "--prompts=~/no.txt", "--scorers", "red")[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train --step 5", "write --steps 5."),
        ("train --learning_rate=1e-4", "write --lr 1e-4."),
        ("train --max_steps 9 --seed 3", "write --steps 9."),
        ("train --max_train_steps=9", "write --steps 9."),
        ("train --batch_size", "write --batch VALUE."),
        ("train --per_device_train_batch_size 4", "write --batch 4."),
        ("train --train_batch_size 4", "write --batch 4."),
        ("train --gradient_accumulation_steps 4", "--set train.micro_batch=4"),
        ("train --output_dir there", "--out there"),
        ("train --network-dim 8", "write --rank 8."),
        ("train --network_alpha 8", "write --alpha 8."),
        ("train --pretrained_model_name_or_path sd --dry-run", "write --model sd."),
        ("train --resolution 512", "write --size 512."),
        ("train --mixed_precision bf16", "write --precision bf16."),
        ("train --warmup 5", "--set train.warmup=5"),
        ("train --resume_from_checkpoint latest", "write --resume"),
        ("recipe --beta_dpo 5000", "write --beta 5000."),
        ("evaluate run --num_inference_steps 9", "--set evaluate.steps=9"),
    ],
)
def test_an_option_of_another_trainer_names_ours(call: Call, words: str, said: str) -> None:
    code, _, err = call(*words.split())
    assert code == 2 and said in err and err.count("\n") == 1


@pytest.mark.parametrize("words", ["train --nonsense", "evaluate run --learning_rate 1", "train -z", "recipe --out x"])
def test_an_option_that_is_none_of_ours_is_refused_as_before(call: Call, words: str) -> None:
    code, _, err = call(*words.split())
    assert code == 2 and "No such option" in err
