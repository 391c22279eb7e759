"""Files of a run that something has damaged: one sentence with the file and what to do, whichever command reads it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from refusals import refused

from thumbtune.runs import run
from thumbtune.runs.recipe import read_recipe, write_recipe
from thumbtune.training import records

STEP = {
    **{"step": 1, "loss": 0.5, "liked_log_ratio": None, "disliked_log_ratio": 0.1, "reference_point": 0.0},
    **{"policy_error": 0.1, "reference_error": 0.1, "beta": 5.0, "gain": 0.1, "saturation": 0.0},
    **{"grad_norm": 1.0, "lr": 1e-4, "skipped": 0, "seconds": 0.5},
}
LINE = json.dumps(STEP)
NOT_UTF8, DEEP = b'{"step": 1, "sentence": "caf\xe9"}', b"[" * 50_000
DAMAGED: dict[str, list[bytes]] = {
    "stopped.json": [
        *(b"", b"{", b"null", b"[]", b"3", b"{}", NOT_UTF8, DEEP, b"\0\0\0", b"\xff\xfe", b'{"step": 1}'),
        *(b'{"step": null, "best": 1}', b'{"step": "1", "best": 1}', b'{"step": 1, "best": true}'),
        *(b'{"step": -1, "best": 1}', b'{"step": NaN, "best": 1}', b'{"step": ' + b"9" * 5000 + b', "best": 1}'),
        b'{"step": 2, "best": 1, "sentence": 5}',
    ],
    "likes.json": [
        *(b"", b"{", b"null", b"[]", NOT_UTF8[:-1], DEEP, b'{"notes": "one"}', b'{"notes": [1]}', b'{"mark": 3}'),
        *(b'{"contrasts": "no"}', b'{"examples": {"liked": "a"}}', b'{"likes": -1}', b'{"likes": "many"}'),
    ],
    "steps.jsonl": [
        *(b"{}\n", b"[]\n", b"null\n", b"3\n", b'{"step": "1"}\n', b'{"step": null}\n', b'{"step": NaN}\n', NOT_UTF8),
        *(b"garbage\n" + LINE.encode() + b"\n", LINE.encode() + b"\ngarbage\n", LINE.encode()[:50] + b"\n"),
        LINE.replace("0.5", '"half"', 1).encode() + b"\n",
        LINE.replace('"seconds": 0.5', '"seconds": NaN').encode() + b"\n",
        LINE.replace('"skipped": 0', '"skipped": -1').encode() + b"\n",
        DEEP + b"\n",
    ],
    "environment.json": [b"", b"[]", b"null", NOT_UTF8[:-1], DEEP],
}
READERS: dict[str, Callable[[Path], Any]] = {
    "stopped.json": records.read_stop,
    "likes.json": records.read_story,
    "steps.jsonl": records.read_step_rows,
    "environment.json": records.read_environment,
}


@pytest.mark.parametrize(("name", "content"), [(name, each) for name, all_ in DAMAGED.items() for each in all_])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with refused("run-file-unreadable", naming=tmp_path / name) as caught:
        READERS[name](tmp_path)
    assert len(str(caught.value)) < 500


def test_files_as_they_are_written_are_read(tmp_path: Path) -> None:
    assert records.read_stop(tmp_path) is records.read_story(tmp_path) is None
    assert records.read_environment(tmp_path) == {} and records.read_step_rows(tmp_path) == []
    (tmp_path / "stopped.json").write_text('{"step": 3, "best": 2, "folder": "lora", "sentence": "It stopped."}')
    assert records.read_stop(tmp_path) == {"step": 3, "best": 2, "folder": "lora", "sentence": "It stopped."}
    (tmp_path / "likes.json").write_text('{"mark": "good image", "contrasts": false, "more": 1}')
    assert records.read_story(tmp_path) == {"mark": "good image", "contrasts": False, "more": 1}
    broken = {**STEP, "loss": float("nan"), "grad_norm": None, "gain": float("inf")}  # what a bad training writes
    earlier = {"step": 3, "neutral": 0.5, "refreshed": True}
    (tmp_path / "steps.jsonl").write_text(
        "\n".join([LINE, json.dumps(broken), "", json.dumps(earlier), '{"step": 4, "lo'])
    )
    rows = records.read_step_rows(tmp_path)
    assert [row["step"] for row in rows] == [1, 1, 3] and rows[2]["reference_point"] == 0.5 and rows[2]["synced"]
    with refused("run-file-unreadable", naming=[tmp_path / "steps.jsonl", "step 3"]):
        records.read_steps(tmp_path)


def test_a_line_of_the_log_is_named_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "steps.jsonl").write_text(f'{LINE}\n\n{LINE}\n{{"step": 2, "loss": "low"}}\n{LINE}\n')
    with refused("run-file-unreadable", naming=["line 4", "loss"]):
        records.read_steps(tmp_path)


def test_a_csft_run_without_its_words_does_not_generate_without_them(tmp_path: Path) -> None:
    write_recipe(read_recipe(None, ["objective.name=csft"]), tmp_path / "recipe.yaml")
    with refused("run-file-missing", naming=[tmp_path / "likes.json", "csft"]):
        run.prompt_prefix_of(tmp_path)
    write_recipe(read_recipe(None), tmp_path / "recipe.yaml")
    assert run.prompt_prefix_of(tmp_path) is None


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def made(call: Call, settings: list[str], tmp_path: Path) -> Path:
    """A finished run, evaluated."""
    assert call("train", "--out", tmp_path / "run", *settings)[0] == 0
    assert call("evaluate", tmp_path / "run")[0] == 0
    return tmp_path / "run"


def _labels(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda file: parquet.write_table(change(parquet.read_table(file)), file)


BYTES = [b"", b"{", b"null", b"[]", b"\xff\xfe\0", b'{"form": 2, "a": null, "sides": null}']
CHANGES: list[tuple[str, Callable[[Path], object], tuple[str, ...]]] = [
    *(("evaluation/duel.json", lambda file, data=data: file.write_bytes(data), ("evaluate", "report"))
      for data in BYTES),
    *(("evaluation/result.json", lambda file, data=data: file.write_bytes(data), ("report", "human export"))
      for data in BYTES),
    *(("evaluation/verdict.json", lambda file, data=data: file.write_bytes(data), ("report",)) for data in BYTES),
    *(("evaluation/images.csv", lambda file, data=data: file.write_bytes(data), ("report", "human export"))
      for data in (b"\xff\xfe\0", b"side\na\n", b"a,b\0c\n")),
    *(("evaluation/scores.csv", lambda file, data=data: file.write_bytes(data), ("report",))
      for data in (b"\xff\xfe\0", b"side\na\n", b"a,b\0c\n")),
    ("likes.parquet", lambda file: file.write_bytes(b"PAR1" + b"\0" * 100 + b"PAR1"), ("evaluate", "verdict")),
    ("likes.parquet", lambda file: file.unlink(), ("evaluate",)),
    ("likes.parquet", _labels(lambda table: table.drop_columns("prompt")), ("evaluate",)),
    ("likes.parquet", _labels(lambda table: table.set_column(0, "held_out", table["prompt"])), ("evaluate",)),
    ("recipe.yaml", lambda file: file.write_bytes(b"seed: [1\n"), ("evaluate", "report", "generate")),
    ("recipe.yaml", lambda file: file.write_bytes(b"\xff\xfe\0"), ("evaluate", "report", "generate")),
    ("likes.json", lambda file: file.write_bytes(b"[]"), ("evaluate", "report", "generate", "duel")),
    ("steps.jsonl", lambda file: file.write_bytes(b"{}\n"), ("report",)),  # --resume restores it from a checkpoint
    ("stopped.json", lambda file: file.write_bytes(b"{}"), ("report", "train")),
]  # fmt: skip


def _words(command: str, folder: Path, tmp_path: Path) -> list[object]:
    red = ["--prompts", tmp_path / "p.txt", "--scorers", "red", "--per-prompt", 1, "--steps", 1]
    return {
        "human export": [
            "human",
            "export",
            folder / "evaluation",
            "--out",
            tmp_path / "h.html",
            "--key",
            tmp_path / "k",
        ],
        "generate": ["generate", "a cat", "--run", folder, "--seeds", 1, "--steps", 1, "--out", tmp_path / "images"],
        "train": ["train", "--resume", "--out", folder],
        "duel": ["duel", "tiny-emoji-64", folder, *red, "--out", tmp_path / "duel"],
    }.get(command, [command, folder])


@pytest.mark.slow
def test_every_command_names_the_damaged_file(call: Call, made: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a cat\na dog\n")
    shutil.copytree(made, tmp_path / "kept")
    for name, damage, commands in CHANGES:
        for command in commands:
            shutil.rmtree(made)
            shutil.copytree(tmp_path / "kept", made)
            damage(made / name)
            code, out, err = call(*_words(command, made, tmp_path))
            part = Path(name).name
            assert code in {1, 2}, (name, command, out, err)
            lines = [line for line in err.splitlines() if line.startswith("thumbtune:")]
            told = [line for line in lines if not line.startswith("thumbtune: Note:")]  # of a file that is gone
            assert len(told) == 1 and part in told[0] and "Unexpected" not in err, (name, command, err)
            assert not list(tmp_path.rglob("thumbtune-error-*"))
