"""The house stands as docs/design.md draws it: floors, small files, sentences, doors that open at once."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "thumbtune"
FILES = sorted(PACKAGE.rglob("*.py"))
MATHEMATICS = (
    *sorted(f"objective/{file.stem}" for file in (PACKAGE / "objective").glob("*.py")),
    *("models/process", "training/ema", "training/guards", "training/sampling"),
)
WITHOUT_TORCH = (
    "thumbtune",
    "thumbtune.cli.app",
    "thumbtune.runs.recipe",
    "thumbtune.errors",
    "thumbtune.files",
    "thumbtune.experiments.experiments",
    "thumbtune.feedback.store.store",
    "thumbtune.feedback.importers",
    "thumbtune.studio.app",
    "thumbtune.studio.serving",
)
LINT = """
from importlinter.cli import lint_imports
sys.exit(lint_imports(no_cache=True, no_logo=True))"""
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc"}
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def module_of(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def name_of(file: Path) -> str:
    return str(file.relative_to(PACKAGE))


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def python(code: str, where: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter that finds `thumbtune` in `where`/src."""
    program = f"import sys; sys.path.insert(0, {str(where / 'src')!r})\n{code}"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)


# --- arrows


def test_arrows_only_point_down() -> None:
    done = python(LINT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("objective/kto.py", "import thumbtune.training.trainer", "Arrows only point down"),
        ("files.py", "from thumbtune import cli", "Arrows only point down"),
        ("objective/utility.py", "import numpy", "The mathematics imports torch and shape types only"),
        ("objective/saturation.py", "import scipy", "The mathematics imports torch and shape types only"),
        ("feedback/store/votes.py", "def late():\n    import torch", "The store of likes knows no torch"),
        (
            "models/plane.py",
            "from thumbtune.models.families import stable_diffusion",
            "Families of models know nothing of each other",
        ),
        ("training/trainer.py", "from thumbtune.runs.recipe import Recipe", "Recipes stop at the composition root"),
        (
            "feedback/sources/table.py",
            "from thumbtune.feedback.sources.contrib import tar_stream",
            "Rare formats stay behind the list of kinds",
        ),
        ("newcomer.py", "", "Arrows only point down"),
    ],
)
def test_the_contracts_catch(tmp_path: Path, file: str, line: str, contract: str) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    code_only = shutil.ignore_patterns("bundled", "__pycache__", ".*")
    copied = shutil.copytree(PACKAGE, tmp_path / "src" / "thumbtune", ignore=code_only)
    with (copied / file).open("a", encoding="utf-8") as end:
        end.write(f"\n\n{line}\n")
    done = python(LINT, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert any(line.startswith(f"{contract} BROKEN") for line in done.stdout.splitlines()), done.stdout


@pytest.mark.parametrize("module", MATHEMATICS)
def test_the_mathematics_imports_only_torch_and_shape_types(module: str) -> None:
    """Stricter than the contract, which can only forbid what it names."""
    allowed = {"torch", "jaxtyping", "thumbtune", *sys.stdlib_module_names}
    assert {package.split(".")[0] for package in imported(tree(PACKAGE / f"{module}.py"))} <= allowed


def imported(code: ast.AST) -> Iterator[str]:
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where an arrow points"
            yield node.module or ""


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_name_the_package(file: Path) -> None:
    assert all(imported(tree(file)))


# each module in a process of its own, which begins with the libraries that take seconds and with none of our modules
IMPORT_ALONE = """
import importlib, os, sys, traceback
def try_each(modules, show):
    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException:
            if show:
                traceback.print_exc()
                os._exit(1)
modules = {modules!r}
reading, writing = os.pipe()
if not os.fork():
    os.close(reading)
    try_each(modules, False)
    own = {{module.partition(".")[0] for module in modules}}
    libraries = [name for name in sys.modules if name.partition(".")[0] not in own]
    os.write(writing, "\\n".join(libraries).encode())
    os._exit(0)
os.close(writing)
with os.fdopen(reading) as libraries:
    try_each(libraries.read().splitlines(), False)
for module in modules:
    child = os.fork()
    if not child:
        try_each([module], True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(module, flush=True)
"""


def alone(modules: Sequence[str], where: Path = ROOT) -> tuple[list[str], str]:
    """Return the modules that do not import alone, and why."""
    done = python(IMPORT_ALONE.format(modules=modules), where)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


@pytest.mark.slow
def test_every_module_imports_alone() -> None:
    failed, why = alone([module_of(file) for file in FILES if "migrations" not in file.parts])
    assert not failed, why


def test_a_module_that_does_not_import_alone_is_named(tmp_path: Path) -> None:
    package = tmp_path / "src" / "circle"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "first.py").write_text("from circle.second import B\nA = 1\n")
    (package / "second.py").write_text("from circle.first import A\nB = 2\n")
    (package / "third.py").write_text("C = 3\n")
    failed, why = alone(["circle.first", "circle.third", "circle.nowhere"], tmp_path)
    assert failed == ["circle.first", "circle.nowhere"] and "circular import" in why


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_these_modules_import_alone_and_without_torch(module: str) -> None:
    done = python(f"import {module}, sys; print('torch' in sys.modules)")
    assert done.stdout.strip() == "False", done.stdout + done.stderr


# --- doors


HEAVY = ("torch", "numpy", "PIL", "sqlalchemy", "alembic", "pyarrow", "duckdb", "fastapi", "matplotlib")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line, and name the heavy libraries that it loaded on the last line of standard error."""
    code = f"""
import atexit, sys
atexit.register(lambda: print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr))
from thumbtune.cli.app import main
sys.argv = ["thumbtune", *{arguments!r}]
main()"""
    return python(code)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("train", "--help"), ("demo", "--help"), ("paper", "--help")]
)
def test_help_needs_no_heavy_library(arguments: tuple[str, ...]) -> None:
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    assert "thumbtune" in done.stdout.lower()
    assert done.stderr.splitlines()[-1] == "[]"


# --- size


def test_the_objective_is_read_on_the_first_screens() -> None:
    lines = len((PACKAGE / "objective" / "kto.py").read_text(encoding="utf-8").splitlines())
    assert lines < 120


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_files_and_functions_are_short(file: Path) -> None:
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= 400, f"{lines} lines"
    functions = [node for node in ast.walk(tree(file)) if isinstance(node, Function)]
    lengths = {f.name: (f.end_lineno or f.lineno) - f.lineno + 1 for f in functions}
    assert not {name: length for name, length in lengths.items() if length > 50}


# --- habits


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_file_is_a_drawer(file: Path) -> None:
    assert file.stem not in DRAWERS


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_file_can_run_code_that_it_reads(file: Path) -> None:
    """safetensors, JSON and Arrow only: whoever sends a checkpoint sends numbers.

    Scorers are published as pickles: one file reads those, as tensors alone.
    """
    code = tree(file)
    assert not UNSAFE & set(imported(code))
    calls = [node for node in ast.walk(code) if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"]
    safe = {id(node.func) for node in calls if "weights_only=True" in map(ast.unparse, node.keywords)}
    assert not safe or name_of(file) == "evaluation/scorers/weights.py"
    for node in ast.walk(code):
        if isinstance(node, ast.Attribute) and id(node) not in safe:
            assert ast.unparse(node) not in {"torch.load", "torch.save", "yaml.load", "yaml.unsafe_load"}
        if isinstance(node, ast.keyword) and node.arg in {"allow_pickle", "trust_remote_code"}:
            assert ast.unparse(node.value) == "False"
        if isinstance(node, ast.ImportFrom) and node.module == "torch":
            assert not {"load", "save"} & {alias.name for alias in node.names}


def is_protocol(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).split("[")[0].endswith("Protocol") for base in node.bases)


@cache
def protocol_methods() -> frozenset[str]:
    """What any Protocol of the package asks for, or the base of all families: its docstring is there, once."""
    classes = [node for file in FILES for node in ast.walk(tree(file)) if isinstance(node, ast.ClassDef)]
    protocols = [method for one in classes if is_protocol(one) for method in one.body]
    (base,) = (node for node in classes if node.name == "LatentDiffusion")
    said = [method for method in base.body if isinstance(method, ast.FunctionDef) and ast.get_docstring(method)]
    return frozenset(method.name for method in [*protocols, *said] if isinstance(method, ast.FunctionDef))


def public(code: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    """Definitions that others may use, methods too; what is defined inside a function is nobody else's."""
    for node in code.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_everything_public_says_what_it_is(file: Path) -> None:
    code = tree(file)
    assert ast.get_docstring(code), "the module"
    silent = [node for node in public(code) if not ast.get_docstring(node)]
    assert not [f"line {node.lineno}: {node.name}" for node in silent if node.name not in protocol_methods()]


def test_each_dependency_is_listed_once_and_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [project["project"]["dependencies"], *project["dependency-groups"].values()]
    names = [re.split(r"[^A-Za-z0-9-]", wanted)[0] for group in groups for wanted in group]
    assert len(names) == len(set(names))
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0] for line in constraints if line and not line.startswith("#")}
    assert set(names) <= pinned
    assert "torchvision" not in pinned | set(names)
