"""What the README prints is true: its Python runs, its commands and options exist, its map names real files."""

import doctest
import importlib
import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
import typer

from benchmarks.demo import row
from thumbtune.cli.app import app
from thumbtune.objective.reference_point import REFERENCE_POINTS
from thumbtune.runs.recipe import OBJECTIVES
from thumbtune.training.step import Step

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.slow
def test_the_objective_example_prints_what_the_readme_says() -> None:
    code = next(block for block in blocks("python") if "KTO(beta=100.0)" in block)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("tensor([0.2689, 0.2689]")


@pytest.mark.parametrize(
    "line", [line for block in blocks("sh") for line in block.splitlines() if line[:9] == "thumbtune"]
)
def test_every_command_line_of_the_readme_parses(line: str) -> None:
    words = line.partition("#")[0].replace('"', "").split()[1:]
    command = COMMANDS[words[0]]
    if hasattr(command, "commands") and len(words) > 1:
        command = command.commands[words[1]]
    known = {option for parameter in command.params for option in parameter.opts}
    for word in words[1:]:
        if word.startswith("--"):
            assert word in known, f"{line}: {words[0]} has no {word}"


def test_the_readme_names_every_command() -> None:
    for name in COMMANDS:
        assert re.search(rf"thumbtune {name}\b|{name}\.py", README), name


def test_every_verb_of_the_readme_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for verb in set(re.findall(r"make ([a-z-]+)", README)):
        assert f"\n{verb}:" in makefile, verb


def test_the_file_map_names_every_module_and_nothing_else() -> None:
    design = (ROOT / "docs" / "design.md").read_text()
    (tree,) = re.findall(r"```\n(src/thumbtune/\n.*?)```", design, flags=re.DOTALL)
    package = ROOT / "src" / "thumbtune"
    real = {p.name for p in package.glob("*.py")} | {p.name for p in package.iterdir() if p.is_dir()}
    for name in real - {"__init__.py", "__pycache__"}:
        assert name in tree, f"the map lacks {name}"
    for name in re.findall(r"\b([a-z_]+\.py)\b", tree):
        assert (package / name).exists(), f"the map names {name}, which is not there"


PAGES = sorted((ROOT / "docs" / "objectives").glob("*.md"))
EXAMPLES = [
    "objective.utility",
    "objective.kto",
    "objective.baselines",
    "objective.nft",
    "objective.reference_point",
    "models.process",
    "models.window",
    "models.missing",
    "evaluation.scorers.faithfulness",
    "feedback.policies",
    "models.prompt_encoding",
    "models.prompt_syntax",
    "training.batches",
    "training.sampling",
    "runs.values",
    "plugins",
    "uploads",
    "runs.run",
    "feedback.metadata.generated",
    "runs.bundled_words",
    "cli.progress",
]


def test_every_objective_has_a_page_whose_examples_are_true() -> None:
    pages = {page.stem for page in PAGES} - {"README"}
    assert pages == set(OBJECTIVES)
    for page in PAGES:
        result = doctest.testfile(str(page), module_relative=False)
        assert result.failed == 0 and (result.attempted > 0 or page.stem == "README"), page.name


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_in_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"thumbtune.{name}"), extraglobs={"torch": torch}).failed == 0


def test_the_pages_on_objectives_name_every_number_of_a_step_and_every_reference_point() -> None:
    page = (ROOT / "docs" / "objectives" / "README.md").read_text()
    for name in {field.name for field in fields(Step)} - {"step"} | REFERENCE_POINTS.keys():
        assert f"`{name}`" in page, name


def test_links_between_pages_lead_somewhere() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        for target in re.findall(r"\]\(((?!http)[^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_no_page_has_a_placeholder() -> None:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    assert not [page.name for page in pages if "@@" in page.read_text(encoding="utf-8")]


def test_images_of_the_readme_are_there() -> None:
    for target in re.findall(r"\]\(((?!http)[^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_table_of_the_readme_is_what_the_benchmark_measured() -> None:
    files = [ROOT / "benchmarks" / f"demo-{taste}.json" for taste in ("line-art", "red")]
    rows = [row(measured) for file in files for measured in json.loads(file.read_text())["runs"]]
    table = [line for line in README.splitlines() if line.startswith(("| line-art", "| red"))]
    assert table == rows


@pytest.mark.parametrize("taste", ["style-soft-3d", "red"])
def test_the_table_of_the_flow_model_is_what_the_benchmark_measured(taste: str) -> None:
    page = (ROOT / "docs" / "flow-models.md").read_text(encoding="utf-8")
    rows = [row(one) for one in json.loads((ROOT / "benchmarks" / f"demo-flow-{taste}.json").read_text())["runs"]]
    assert [line for line in page.splitlines() if line.startswith(f"| {taste} ")] == rows
