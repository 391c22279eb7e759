"""`evaluate.prompts` reads what `duel --prompts` reads, and never takes a prompt of the training."""

import json
from pathlib import Path
from typing import Any

import pytest
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.evaluation.prompts import load_prompt_set
from thumbtune.runs import build
from thumbtune.runs.recipe import Recipe, read_recipe

PROMPTS = ["a red apple", "a café", "a dog, asleep"]
TEXT = "\n".join(PROMPTS)
FILES: dict[str, bytes] = {
    "plain.txt": TEXT.encode(),
    "mark.txt": f"\ufeff{TEXT}".encode(),
    "windows.txt": TEXT.replace("\n", "\r\n").encode(),
    "utf16.txt": TEXT.encode("utf-16"),
    "spaces.txt": TEXT.replace(" ", "\u2028").encode(),
    "twice.txt": f"{TEXT}\n{TEXT}".encode(),
    "table.csv": ("prompt,style\n" + "\n".join(f'"{prompt}",x' for prompt in PROMPTS)).encode(),
    "table.tsv": ("style\tprompt\n" + "\n".join(f"x\t{prompt}" for prompt in PROMPTS)).encode(),
    "list.json": json.dumps(PROMPTS).encode(),
    "columns.json": json.dumps({"prompts": PROMPTS}).encode(),
    "rows.json": json.dumps([{"caption": prompt} for prompt in PROMPTS]).encode(),
    "rows.jsonl": "\n".join(json.dumps({"prompt": prompt}) for prompt in PROMPTS).encode(),
}


def recipe_with(file: Path | str) -> Recipe:
    return read_recipe(None, [f"evaluate.prompts={file}"])


@pytest.mark.parametrize("name", FILES)
def test_every_file_gives_the_prompts_that_a_duel_reads(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    found = build.judged_prompts(recipe_with(tmp_path / name), {"a fox"}, set())
    assert found == PROMPTS == list(dict.fromkeys(load_prompt_set(str(tmp_path / name)).prompts))


@pytest.mark.parametrize(
    "trained",
    ["a red apple", "A Red  Apple.", " a red apple!", "a\u00a0red apple", "a red\u200b apple", "\ufeffa red apple"],
)
@pytest.mark.parametrize("name", FILES)
def test_a_prompt_of_the_training_is_refused_however_it_is_written(tmp_path: Path, name: str, trained: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    with refused("evaluate-trained-prompts", UsageError, naming=[tmp_path / name, "1 prompts", "'a red apple'"]):
        build.judged_prompts(recipe_with(tmp_path / name), {trained}, set())


@pytest.mark.parametrize("trained", ["a cafe\u0301", "A CAFÉ"])
def test_accents_are_compared_as_the_text_encoder_reads_them(tmp_path: Path, trained: str) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    with refused("evaluate-trained-prompts", UsageError):
        build.judged_prompts(recipe_with(tmp_path / "a.txt"), {trained}, set())


@pytest.mark.parametrize(
    ("name", "what", "code"),
    [
        ("a.txt", b"a caf\xe9", "prompts-unreadable"),
        ("a.txt", b"", "prompts-empty"),
        ("a.txt", "a cat".encode("utf-16-le"), "prompts-unreadable"),
        ("a.csv", b"name\na cat\n", "prompts-row-without-prompt"),
        ("a.json", b"{", "prompts-unreadable"),
        ("a.yaml", b"a cat", "prompts-suffix"),
    ],
)
def test_what_a_duel_refuses_is_refused(tmp_path: Path, name: str, what: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(what)
    with refused(code, UsageError, naming=tmp_path / name):
        build.judged_prompts(recipe_with(tmp_path / name), set(), set())


def test_a_published_set_may_be_named(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(build.judged_prompts(recipe_with("emoji"), set(), set())) == 48
