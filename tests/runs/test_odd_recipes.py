"""Recipes as people write them, and as nobody should: what is meant is read, and the rest is one sentence, at once."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.runs.other_names import our_name
from thumbtune.runs.python_api import recipe_from
from thumbtune.runs.recipe import read_recipe, recipe_options

Write = Callable[[str | bytes], Path]
WIDE = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(8)
)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def file(text: str | bytes) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return file


@pytest.mark.parametrize(
    ("text", "option", "value"),
    [
        ("train: {lr: 1e-4}", "train.lr", 1e-4),
        ("train: {weight_decay: 1E-2}", "train.weight_decay", 0.01),
        ("train: {lr: .5}", "train.lr", 0.5),
        ("objective: {beta: 5e3}", "objective.beta", 5000.0),
        ("train: {steps: 1e3}", "train.steps", 1000),
        ("train: {steps: 1_000}", "train.steps", 1000),
        ("train: {steps: '30'}", "train.steps", 30),
        ("seed: 012", "seed", 12),
        ("seed: 0o12", "seed", 10),
        ("seed: 0x1F", "seed", 31),
        ("seed: 18446744073709551615", "seed", 2**64 - 1),
        ("train: {guards: no}", "train.guards", False),
        ("train: {guards: On}", "train.guards", True),
        ("train: {precision: no}", "train.precision", "no"),
        ("likes: 2024-01-02", "likes", "2024-01-02"),
        ("likes: 0012", "likes", "0012"),
        ("model: 1e5", "model", "1e5"),
        ("model: on", "model", "on"),
        ("evaluate: {prompts: null}", "evaluate.prompts", None),
        ("evaluate: {scorers: [red, 'line-art']}", "evaluate.scorers", ["red", "line-art"]),
        ("train.steps: 7", "train.steps", 7),
        ("base: &b {steps: 9}\n".replace("base", "train"), "train.steps", 9),
        ("train: {<<: {steps: 3}, lr: 1e-4}", "train.steps", 3),
        ("\ufefftrain: {steps: 4}", "train.steps", 4),
        ("train: {steps: 5}\r\nseed: 1\r\n", "train.steps", 5),
        ("likes: caf\u00e9".encode("utf-16"), "likes", "caf\u00e9"),
        ("gates: {taste: red}", "evaluate.scorers", ["red"]),
    ],
)
@pytest.mark.filterwarnings("ignore::thumbtune.runs.renamed.RenamedOption")
def test_a_recipe_means_what_it_shows(write: Write, text: str | bytes, option: str, value: object) -> None:
    found: object = read_recipe(write(text))
    for part in option.split("."):
        found = getattr(found, part)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("train:\n  steps: 3\ntrain:\n  lr: 1e-4\n", "recipe-option-twice", ("'train'", "line 1", "line 3")),
        ("train:\n  steps: 3\n  lr: 1\n  steps: 4\n", "recipe-option-twice", ("'steps'", "line 2", "line 4")),
        ("{seed: 1, seed: 1}", "recipe-option-twice", ("'seed'", "line 1")),
        ("seed: 1\n'seed': 2\n", "recipe-option-twice", ("line 1", "line 2")),
        ("train: {steps: 3}\ntrain.steps: 4", "recipe-option-twice", ("train.steps",)),
        (WIDE + "seed: *i", "recipe-unreadable", ("10,000 values", "aliases")),
        (WIDE + "objective: {name: *h}", "recipe-unreadable", ("aliases",)),
        ("a: &a [*a]", "recipe-unreadable", ("contains itself",)),
        ("train: &t\n  steps: *t", "recipe-unreadable", ("line 1", "contains itself")),
        ("seed: " + "9" * 5000, "recipe-unreadable", ("5,000 digits",)),
        ("train: {lr: -" + "1" * 400 + "}", "recipe-unreadable", ("400 digits",)),
        ("seed: " + "9" * 30, "recipe-value", ("seed", "at most")),
        ("seed: 0x" + "f" * 30, "recipe-value", ("seed", "at most")),
        ("seed: " + "[" * 1000, "recipe-unreadable", ("nested", "line 1")),
        ("seed: " + "{a: " * 1000, "recipe-unreadable", ("nested",)),
        ("- " * 900 + "x", "recipe-unreadable", ("nested",)),
        ("train: {steps: 2020-99-99}", "recipe-value", ("train.steps", "'2020-99-99'")),
        ("train: {lr: 2020-01-01}", "recipe-value", ("train.lr", "'2020-01-01'")),
        ("seed: 2001-12-14t21:59:43.10-05:00", "recipe-value", ("seed", "2001-12-14t21:59:43.10-05:00")),
        ("train: {steps: 1:30}", "recipe-value", ("'1:30'",)),
        ("train: {lr: '0,0001'}", "recipe-value", ("0,0001", "comma")),
        ("train: {steps: yes}", "recipe-value", ("train.steps", "yes or no")),
        ("train: {lr: off}", "recipe-value", ("train.lr", "yes or no")),
        ("train: {steps: .inf}", "recipe-value", ("train.steps",)),
        ("train: 3", "recipe-value", ("train is 3", "options of its own")),
        ("objective: {beta: {a: 1}}", "recipe-value", ("objective.beta", "{'a': 1}")),
        ("likes:", "recipe-value", ("likes is empty",)),
        ("- a\n- b", "recipe-no-mapping", ("['a', 'b']", "`option: value`")),
        ("just words", "recipe-no-mapping", ("'just words'",)),
        ("a: [1, 2\nb: 3", "recipe-unreadable", ("line 2", "close the bracket", "begins on line 1")),
        ("train:\n\tsteps: 3", "recipe-unreadable", ("line 2, column 1", "spaces")),
        ("train:\n  steps: 3\n lr: 4", "recipe-unreadable", ("line 3, column 2", "same indentation")),
        ("likes: a: b", "recipe-unreadable", ("line 1, column 9", "quotes round")),
        ("model: 'x", "recipe-unreadable", ("close the quotation mark",)),
        ("a: 1\n---\nb: 2", "recipe-unreadable", ("line 2", "one document")),
        ("seed: *x", "recipe-unreadable", ("line 1", "'x'")),
        ("? [a, b]\n: 3", "recipe-unreadable", ("line 1", "as a name")),
        ("seed: !!python/object/apply:os.system ['true']", "recipe-unreadable", ("!!python", "remove the tag")),
        ("seed: !!set {1, 2}", "recipe-unreadable", ("!!set",)),
        ("model: !!binary aGk=", "recipe-unreadable", ("!!binary",)),
        ("seed: !!int x", "recipe-unreadable", ("'x'",)),
        ("train: {guards: !!bool maybe}", "recipe-unreadable", ("tag",)),
        ("model: a\0b", "recipe-unreadable", ("line 1", "x00")),
        ('model: "a\\0b"', "recipe-unreadable", ("line 1", "x00")),
        ('\nlikes: "\\ud800"', "recipe-unreadable", ("line 2", "ud800")),
        ("likes: caf\u00e9".encode("latin-1"), "recipe-unreadable", ("line 1", "save it as UTF-8")),
        (b"\xff\xfel\0i\0k", "recipe-unreadable", ("UTF-16",)),
        (b"\x1f\x8b\x08\0\0\0", "recipe-unreadable", ("UTF-8",)),
        ("learning_rate: 1e-4", "recipe-unknown-option", ("train.lr?",)),
        ("train: {max_steps: 3}", "recipe-unknown-option", ("train.steps?",)),
        ("train: {stesp: 3}", "recipe-unknown-option", ("train.steps?",)),
        ("output_dir: x", "recipe-unknown-option", ("--out",)),
        ("# " + "x" * 200_000, "recipe-unreadable", ("100,000",)),
        (b"x" * 2_000_000, "recipe-unreadable", ("1,000,000",)),
    ],
)
def test_what_is_no_recipe_is_one_sentence_at_once(
    write: Write, text: str | bytes, code: str, named: tuple[str, ...]
) -> None:
    begun = time.perf_counter()
    with refused(code, UsageError, naming=named) as caught:
        read_recipe(write(text))
    assert time.perf_counter() - begun < 5
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ("train.steps=2020-99-99", "recipe-value"),
        ("seed=" + "9" * 5000, "recipe-setting"),
        ("seed=" + "[" * 1000, "recipe-setting"),
        (f"seed={WIDE}", "recipe-setting"),
        ("seed={a: 1, a: 2}", "recipe-setting"),
        ("train.steps=yes", "recipe-value"),
        ("train.steps=", "recipe-value"),
        ("x" * 100_000 + "=3", "recipe-unknown-option"),
    ],
)
def test_a_setting_goes_through_the_same_door(setting: str, code: str) -> None:
    with refused(code, UsageError) as caught:
        read_recipe(None, [setting])
    assert len(str(caught.value)) < 2000


def test_a_setting_reads_words_and_numbers_as_a_file_does() -> None:
    recipe = read_recipe(None, ["seed=012", "train.lr=1e-4", "train.precision=no", "likes=2024", "model=nan"])
    assert (recipe.seed, recipe.train.lr, recipe.train.precision) == (12, 1e-4, "no")
    assert (recipe.likes, recipe.model) == ("2024", "nan")


def test_the_home_folder_may_be_written_as_a_tilde(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    text = "model: ~/m\nlikes: ~/l\nobjective: {name: ~/f:Mine, utility: ~/f.py:mine}\n"
    recipe = read_recipe(write(text + "evaluate: {prompts: ~/p.txt, scorers: '~/s.py:a, red', safety: ~/s.py:b}\n"))
    assert (recipe.model, recipe.likes) == (f"{tmp_path}/m", f"{tmp_path}/l")
    assert (recipe.objective.name, recipe.objective.utility) == (f"{tmp_path}/f:Mine", f"{tmp_path}/f.py:mine")
    assert recipe.evaluate.prompts == tmp_path / "p.txt"
    assert (recipe.evaluate.scorers, recipe.evaluate.safety) == ([f"{tmp_path}/s.py:a", "red"], f"{tmp_path}/s.py:b")
    assert read_recipe(Path("~/recipe.yaml")) == recipe
    assert read_recipe(None, ["likes=~/l"]).likes == recipe_from({"likes": "~/l"}).likes == f"{tmp_path}/l"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ann:hunter2@host/db",
        "postgresql://ann:hunter2@[::1",
        "postgresql://ann:hunt/er2@host",
        "postgresql://ann:hunter2 x@host",
        "https://ann:hunter2@example.org/m",
        "postgresql://ann@host/db?password=hunter2",
        "postgresql://ann@host/db?sslpassword=hunter2",
    ],
)
def test_no_message_shows_a_password(write: Write, address: str) -> None:
    for option in ("likes", "model", "evaluate.prompts", "seed"):
        file = write(f"{option}: '{address}'")
        for path, settings in ((file, None), (None, [f"{option}={address}"])):
            with pytest.raises(UsageError) as caught:
                read_recipe(path, settings)
            assert "hunt" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero"), tmp_path / "missing", Path("a\0b"), Path("x" * 5000)):
        with refused("recipe-unreadable", UsageError):
            read_recipe(path)


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="needs /dev/fd")
def test_a_recipe_may_come_from_another_command() -> None:
    read, written = os.pipe()
    os.write(written, b"seed: 5\n")
    os.close(written)
    assert read_recipe(Path(f"/dev/fd/{read}")).seed == 5
    os.close(read)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("--step", "train.steps"),
        ("--learning_rate", "train.lr"),
        ("--learning-rate", "train.lr"),
        ("--lr", "train.lr"),
        ("--max_steps", "train.steps"),
        ("--max_train_steps", "train.steps"),
        ("--batch_size", "train.batch"),
        ("--train_batch_size", "train.batch"),
        ("--beta", "objective.beta"),
        ("--output_dir", "--out"),
        ("--network_dim", "lora.rank"),
        ("--network_alpha", "lora.alpha"),
        ("--rank", "lora.rank"),
        ("--model", "model"),
        ("--pretrained_model_name_or_path", "model"),
        ("--seed", "seed"),
        ("--mixed_precision", "train.precision"),
        ("--train.steps", "train.steps"),
        ("--train_data_dir", "likes"),
        ("train.save_every", "train.checkpoint_every"),
        ("train.learning_rate", "train.lr"),
        ("--nonsense-of-all-kinds", None),
    ],
)
def test_the_names_of_other_trainers_are_known(name: str, ours: str | None) -> None:
    assert our_name(name, list(recipe_options())) == ours


def test_every_name_that_is_suggested_exists() -> None:
    from thumbtune.runs.other_names import OURS

    assert set(OURS.values()) - {"--out", "--resume"} <= set(recipe_options())
    assert not set(OURS) & set(recipe_options())
