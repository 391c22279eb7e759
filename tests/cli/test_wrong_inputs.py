"""What newcomers typed, and the answer that helps."""

from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import refused

from thumbtune.duels.sides import side
from thumbtune.errors import UsageError
from thumbtune.models.protocol import Sampler
from thumbtune.runs.generate import generate_images

Call = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t", "a\0cat"])
def test_a_prompt_without_words_draws_nothing(call: Call, tmp_path: Path, prompt: str) -> None:
    with refused("generate-empty-prompt", UsageError):
        list(generate_images([("a cat", 0), (prompt, 0)], Sampler(), tmp_path / "images", lambda items, _: items))
    assert not (tmp_path / "images").exists()
    if "\0" not in prompt:
        code, out, err = call("generate", prompt, "--out", tmp_path / "images")
        assert code == 2 and not out and "write what the image should show" in err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("runs/frist", "runs/first"), ("tiny-emoji-46", "tiny-emoji-64"), ("my-lora.safetensor", "my-lora.safetensors")],
)
def test_a_mistyped_path_is_no_question_to_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, meant: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "first").mkdir(parents=True)
    (tmp_path / "my-lora.safetensors").touch()
    with refused("side-unknown", UsageError, naming=[typed, f"did you mean {meant}?"]):
        side(typed)


def test_a_recipe_that_is_a_list_or_broken_says_where(call: Call, tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- train\n")
    assert "lines of `option: value`" in call("train", tmp_path / "list.yaml")[2]
    (tmp_path / "broken.yaml").write_text("train:\n  steps: [1\n  lr: 3\n")
    code, _, err = call("train", tmp_path / "broken.yaml")
    assert code == 2 and "line 3" in err and "close the bracket" in err and err.count("\n") == 1
