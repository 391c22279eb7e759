"""Every command and snippet of README.md and docs/ is true: parsed by the real command line, or run.

Sessions (`console`) of README.md and docs/first-lora.md, and most Python, run in other tests, which are named here.
What is left is run here, or parsed: commands with their options and values, options of recipes against their schema,
verbs of make, modules and files of Python.
"""

import ast
import importlib.util
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from thumbtune.cli.app import app
from thumbtune.cli.recipe_options import OPTIONS
from thumbtune.errors import UsageError
from thumbtune.evaluation.scorers.function_scorers import plugin_scorer
from thumbtune.runs.recipe import SHIPPED_RECIPES, read_recipe, recipe_options

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LANGUAGES = {"", "bash", "bibtex", "console", "python", "sh", "sql", "text"}  # sql: feedback/test_server_roles.py
# pages whose Python runs elsewhere: the test names the page
PYTHON_RUN_BY = {
    "README.md": "tests/test_readme.py",
    "docs/design.md": "tests/training/test_trainer.py",
    "docs/first-lora.md": "tests/test_first_lora.py",
    "docs/likes.md": "tests/runs/test_rounds.py",
    "docs/own-objective.md": "tests/runs/test_own.py",
    "docs/studio.md": "tests/studio/test_stress.py",
    "docs/trl.md": "tests/test_python_examples.py",
}
PYTHON_RUN_HERE = {"docs/evaluation.md"}
PYTHON_COMPILED = {"docs/families.md": "tests/models/test_experts.py"}  # Wan's weights; the test has them at tiny size
# programs that are not ours: nothing here can say what they take
OTHERS = {
    ".venv/bin/pre-commit",
    "docker",
    "export",
    "head",
    "ls",
    "mkdir",
    "pip",
    "printf",
    "source",
    "sqlite3",
    "ssh",
    "tensorboard",
    "torchrun",
    "wc",
}
SHELL_WORDS = {"set", "if", "then", "else", "fi"}
# a command that a sentence only names, such as `thumbtune duel`, may lack these
ONLY_NAMED = {"BadOptionUsage", "MissingParameter", "NoArgsIsHelpError"}
# what stands for a value of the reader's own
PLACEHOLDERS = {"MODEL": "tiny-emoji-64", "NAME": "tiny-emoji-64", "VALUE": "1", "N": "5", "FOLDER": "likes"}


@dataclass(frozen=True)
class Line:
    """A command of a page: of a block, or one that a sentence names."""

    page: str
    text: str
    is_whole: bool

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[str]:
    return [body for language, body in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def shell_lines(page: Path) -> Iterator[str]:
    """Yield each command of the `sh` and `console` blocks, its lines joined."""
    for body in blocks(page, "sh"):
        yield from re.sub(r"\\\n\s*", "", body).splitlines()
    for body in blocks(page, "console"):
        for line in re.sub(r"\\\n\s*", "", body).splitlines():
            if line.startswith("$ "):
                yield line[2:]


def inline_lines(page: Path) -> Iterator[str]:
    """Yield each whole command that stands in a sentence: `thumbtune evaluate RUN`."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for code in re.findall(r"`([^`]+)`", text):
        line = " ".join(code.split())
        if line.startswith(("thumbtune ", "python ", "make ")) and "..." not in line and "[" not in line:
            yield line


def commands() -> list[Line]:
    """Every command of every page, once, without its comment; what pipes, `&&` and `;` join is separate."""
    found = {}
    for page in PAGES:
        lines = [(line, True) for line in shell_lines(page)] + [(line, False) for line in inline_lines(page)]
        for line, is_whole in lines:
            for part in re.split(r"\s(?:&&|\|)\s|;\s", re.sub(r"(^|\s+)#.*", "", line)):
                if part.strip() and not is_of_the_shell(part.strip()):
                    found[Line(name_of(page), part.strip(), is_whole)] = None
    return list(found)


def is_of_the_shell(part: str) -> bool:
    """Whether a part of a script starts no program."""
    return part.split(maxsplit=1)[0] in SHELL_WORDS or re.match(r"\w+=", part) is not None


COMMANDS = commands()
OURS = [line for line in COMMANDS if line.text.startswith("thumbtune ")]


def words_of(line: str) -> list[str]:
    return shlex.split(line)


def parse(words: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the command that the words name, and the values of its arguments and options; raise if they are wrong."""
    command: Any = typer.main.get_command(app)
    name, context = "thumbtune", None
    while True:
        context = command.make_context(name, words, parent=context)
        if not hasattr(command, "resolve_command"):
            return name, context.params
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        if not rest:  # a group that is a command too, such as `thumbtune scorers`
            return name, context.params
        name, command, words = command.resolve_command(context, rest)


def recipe_of(command: str, values: dict[str, Any]) -> Any:
    """Return the recipe that a command's settings make; a file of the reader's own stands for the defaults."""
    settings = list(values.get("settings") or [])
    if command == "train":
        settings += [f"{option}={values[name]}" for name, option in OPTIONS.items() if values.get(name)]
    settings = [re.sub(r"(?<==)[A-Z]+$", lambda match: PLACEHOLDERS.get(match[0], match[0]), one) for one in settings]
    named = str(values.get("recipe") or "")
    return read_recipe(Path(named) if (SHIPPED_RECIPES / f"{named}.yaml").is_file() else None, settings)


def test_every_block_is_in_a_language_that_is_checked() -> None:
    for page in PAGES:
        languages = {language for language, _ in BLOCK.findall(page.read_text(encoding="utf-8"))}
        assert languages <= LANGUAGES, page
        for body in blocks(page, "", "text"):
            assert not re.search(r"^\s*(\$ |>>> |thumbtune |python |pip )", body, re.MULTILINE), f"{page}: {body}"


def test_scripts_for_other_machines_are_whole() -> None:
    scripts = [body for page in PAGES for body in blocks(page, "bash")]
    for body in scripts:
        assert subprocess.run(["bash", "-n"], check=False, input=body, text=True, capture_output=True).stderr == ""
    assert scripts


def test_there_are_commands_of_many_pages() -> None:
    assert len(OURS) > 150 and len({line.page for line in OURS}) > 20


def test_every_program_is_known() -> None:
    programs = {words_of(line.text)[0] for line in COMMANDS}
    assert programs <= OTHERS | {"thumbtune", "python", "make", "pytest"}


@pytest.mark.parametrize("line", OURS, ids=str)
def test_a_command_parses_with_its_options_and_their_values(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    try:
        command, values = parse(words_of(line.text)[1:])
    except Exception as error:  # typer's own errors have no public home
        if line.is_whole or type(error).__name__ not in ONLY_NAMED:
            raise
        return
    if "settings" in values:
        recipe_of(command, values)


@pytest.mark.parametrize(
    "wrong",
    [
        "thumbtune trian",
        "thumbtune train --no-such-option",
        "thumbtune likes no-such-command",
        "thumbtune generate a --seeds many",
        "thumbtune duel A B",
        "thumbtune paper",
        "thumbtune generate a --seeds 0",
    ],
)
def test_a_wrong_command_does_not_parse(wrong: str) -> None:
    with pytest.raises(Exception, match=r"."):
        parse(words_of(wrong)[1:])


@pytest.mark.parametrize(
    "wrong", ["--set train.stepz=3", "--set train.steps=many", "--set objective.name=kta", "--beta none", "--rank 0"]
)
def test_a_wrong_setting_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError):
        recipe_of(*parse(words_of(f"thumbtune train {wrong}")[1:]))


def named_settings() -> list[Line]:
    """Every `--set option=value`, and every `section.option=value`, that a sentence names without a command."""
    sections = "|".join({name.partition(".")[0] for name in recipe_options() if "." in name})
    found = {}
    for page in PAGES:
        sentences = BLOCK.sub("", page.read_text(encoding="utf-8")).replace("OPTION=VALUE", "")
        for code in re.findall(r"`([^`]+)`", sentences):
            for text in re.findall(rf"(?:^|(?<=--set ))((?:(?:{sections})\.\w+|(?<=--set )\w+)=[^\s.]\S*)", code):
                found[Line(name_of(page), text, False)] = None
    return list(found)


@pytest.mark.parametrize("line", named_settings(), ids=str)
def test_a_setting_that_a_sentence_names_is_taken(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if line.text.endswith("=X"):  # any value
        assert line.text.removesuffix("=X") in recipe_options()
        return
    try:
        recipe_of("train", {"settings": [line.text]})
    except UsageError as error:
        assert error.code == "option-unused"  # name and value are right; the sentence leaves out what else is set


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.text.startswith("make ")], ids=str)
def test_a_verb_of_make_exists(line: Line) -> None:
    verb, *rest = words_of(line.text)[1:]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"\n{verb}:" in makefile
    for word in rest:
        assert re.search(rf"^{word.partition('=')[0]} \?=", makefile, re.MULTILINE), word


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.text.split()[0] in {"python", "pytest"}], ids=str)
def test_a_module_or_a_file_of_python_exists(line: Line) -> None:
    words = words_of(line.text)[1:]
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]) is not None
    files = [word for word in words if word.endswith(".py")]
    assert words[0] == "-m" or files
    assert not [file for file in files if not (ROOT / file).is_file()]


def test_python_of_every_page_runs_in_a_test() -> None:
    plain = {name_of(page) for page in PAGES if [body for body in blocks(page, "python") if ">>>" not in body]}
    assert plain == PYTHON_RUN_BY.keys() | PYTHON_RUN_HERE | PYTHON_COMPILED.keys()
    for page, test in PYTHON_RUN_BY.items():
        text = (ROOT / test).read_text(encoding="utf-8")
        assert f'"{Path(page).name}"' in text and re.search(r"`{3}python|blocks\(\"python\"", text), test
    examples = {page.parent.name for page in PAGES if [body for body in blocks(page, "python") if ">>>" in body]}
    assert examples == {"objectives"}  # tests/test_docs.py runs them


def test_python_that_needs_a_large_model_compiles_and_a_test_makes_its_calls() -> None:
    for page, test in PYTHON_COMPILED.items():
        calls = {
            (node.func.attr, each.arg)
            for body in blocks(ROOT / page, "python")
            for node in ast.walk(ast.parse(body))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            for each in node.keywords
        }
        assert calls
        tested = (ROOT / test).read_text(encoding="utf-8")
        for function, keyword in calls:
            assert re.search(rf"\.{function}\([^)]*\b{keyword}=", tested), (page, function, keyword)


def test_a_scorer_of_ones_own_scores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (code,) = blocks(ROOT / "docs" / "evaluation.md", "python")
    (tmp_path / "my_file.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    (named,) = re.findall(r"named as --scorers (\S+)", code)
    images = [Image.new("RGB", (2, 3)), Image.new("RGB", (4, 1))]
    assert list(plugin_scorer(named).score(images, ["a", "b"])) == [1.5, 0.25]


@pytest.mark.parametrize("code", [0, 3, 4])
def test_the_nightly_script_begins_goes_on_and_ends_with_the_verdict(tmp_path: Path, code: int) -> None:
    (script,) = (block for block in blocks(ROOT / "docs" / "evaluation.md", "sh") if "nightly.sh" in block)
    program = tmp_path / "thumbtune"
    log = tmp_path / "log"
    made = 'if [ "$1" = train ]; then mkdir -p night; touch night/recipe.yaml; fi'
    ends = f'if [ "$1" = verdict ]; then exit {code}; fi; if [ "$1" = import ]; then test -f votes.csv; fi'
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\n{made}\n{ends}\n', encoding="utf-8")
    program.chmod(0o755)

    def night() -> tuple[int, list[str]]:
        log.unlink(missing_ok=True)
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(["sh", "-c", script, "sh", "night"], cwd=tmp_path, env=environment, check=False)
        return done.returncode, log.read_text(encoding="utf-8").splitlines()

    imported = "import votes.csv --likes likes"
    assert night() == (1, [imported])  # nothing to import: no training
    (tmp_path / "votes.csv").touch()
    trained = ["train recipe.yaml --likes likes --out night", "train --out night --resume"]
    for train in trained:
        assert night() == (code, [imported, train, "verdict night --json"])
