"""The pages of the site before Zensical reads them: links, places, and a reference that leaves nothing out."""

import doctest
import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

import thumbtune
import thumbtune.models
import thumbtune.objective
from docs_site import command_reference, python_reference, recipe_reference
from docs_site.__main__ import write_sources
from docs_site.pages import DeadLink, relinked, site_path
from docs_site.prose import escaped, from_docstring
from thumbtune.cli.app import app
from thumbtune.runs.recipe import recipe_options

ROOT = Path(__file__).parents[1]
MODULES = ("command_reference", "notebook", "pages", "prose", "python_reference", "recipe_reference")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site-sources")
    write_sources(folder)
    return folder


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"docs_site.{name}")).failed == 0


def test_links_lead_to_pages_of_the_site(tmp_path: Path) -> None:
    (tmp_path / "docs" / "objectives").mkdir(parents=True)
    (tmp_path / "docs" / "results").mkdir()
    (tmp_path / "docs" / "lora.md").write_text("# The LoRA of a run\n")
    (tmp_path / "docs" / "objectives" / "README.md").write_text("# Objectives\n")
    (tmp_path / "README.md").write_text("# Front\n")

    def from_page(source: str, text: str) -> str:
        return relinked(text, source, tmp_path)[0]

    assert from_page("README.md", "[the LoRA](docs/lora.md#use)") == "[the LoRA](lora.md#use)"
    assert from_page("README.md", "[docs/lora.md](docs/lora.md)") == "[The LoRA of a run](lora.md)"
    assert from_page("docs/lora.md", "[rows](results), [it](objectives/README.md)") == (
        "[rows](results/index.md), [it](objectives/index.md)"
    )
    assert from_page("docs/objectives/README.md", "[lora.md](../lora.md)") == "[lora.md](../lora.md)"
    assert from_page("docs/objectives/README.md", "[home](../../README.md)") == "[home](../index.md)"
    for untouched in ("[a](https://arxiv.org/abs/1)", "[a](#use)", "`[a](no.md)`", "```\n[a](no.md)\n```\n"):
        assert from_page("docs/lora.md", untouched) == untouched
    assert relinked("[a](docs/lora.md) ![b](docs/results)", "README.md", tmp_path)[1] == {
        "docs/lora.md",
        "docs/results",
    }
    for dead in ("[a](no.md)", "![a](no.png)", "[a](../../outside)"):
        with pytest.raises(DeadLink, match=r"docs/lora\.md: .* is not in the repository"):
            from_page("docs/lora.md", dead)


def test_every_page_of_the_repository_is_in_the_navigation_once() -> None:
    def leaves(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [leaf for inner in (entry.values() if isinstance(entry, dict) else entry) for leaf in leaves(inner)]

    settings = tomllib.loads((ROOT / "docs_site" / "zensical.toml").read_text(encoding="utf-8"))
    listed = leaves(settings["project"]["nav"])
    assert len(listed) == len(set(listed))
    docs = {site_path(str(page.relative_to(ROOT))) for page in (ROOT / "docs").rglob("*.md")}
    assert docs <= set(listed)
    assert [*settings["project"]["nav"][1:][0]] == ["Tutorials"]


def test_the_navigation_names_only_pages_that_are_written(sources: Path) -> None:
    written = {str(page.relative_to(sources / "pages")) for page in (sources / "pages").rglob("*.md")}
    toml = (sources / "zensical.toml").read_text(encoding="utf-8")
    named = set(re.findall(r'"([\w./-]+\.md)"', toml))
    assert named <= written
    lists = {name for name in written if name.startswith("results/")}  # folders of rows, which their pages name
    assert written - named == lists and len(lists) >= 10


def test_the_front_page_is_the_readme(sources: Path) -> None:
    front = (sources / "pages" / "index.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    without_links = [re.sub(r"\[[^\]]*\]\([^)]*\)", "", text) for text in (front, readme)]
    assert without_links[0] == without_links[1]


def test_headings_lists_and_tables_begin_after_an_empty_line(sources: Path) -> None:
    """GitHub needs none, but the Markdown of the site takes them for a part of the paragraph before."""
    for page in (sources / "pages").rglob("*.md"):
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        assert not re.search(r"^\S.*\n#{1,6} ", text, re.MULTILINE), page
        assert not re.search(r"^(?![-|\s]|\d+\. ).+\n(- |\d+\. |\|)", text, re.MULTILINE), page
        assert not re.search(r"^ +(- |\d+\. )", text, re.MULTILINE), f"{page}: a list in a list"


def test_a_folder_of_rows_lists_every_file_and_has_it(sources: Path) -> None:
    folder = sources / "pages" / "results" / "few"
    page = (folder / "index.md").read_text(encoding="utf-8")
    files = [path.relative_to(ROOT / "docs/results/few") for path in (ROOT / "docs/results/few").rglob("*.json")]
    assert files
    for file in files:
        assert f"[{file}]({file})" in page
        assert (folder / file).read_bytes() == (ROOT / "docs/results/few" / file).read_bytes()


def test_every_option_of_the_recipe_has_its_default_and_its_line() -> None:
    page = recipe_reference.page()
    headings = re.findall(r"^### (\S+) \{ #(\S+) \}\n\n(Default: .+)\n\{ \.facts \}\n\n(.+)$", page, re.MULTILINE)
    assert [name for name, *_ in headings] == [anchor for _, anchor, *_ in headings]
    assert {name for name, *_ in headings} == recipe_options().keys()
    told = {name: (facts, line) for name, _, facts, line in headings}
    for name, field in recipe_options().items():
        assert told[name][1] == escaped(field.description), name
    assert told["lora.rank"][0] == "Default: `16` · an integer, at least 1"
    assert told["evaluate.scorers"][0] == "Default: `[]` · a list"
    assert told["vae"][0] == "Default: not set · text"
    assert told["gates.max_faithfulness_loss"][0] == "Default: `0.05` · a number, at least 0, below 1"


def test_every_command_has_every_option_with_its_help() -> None:
    page = command_reference.page()
    count = 0

    def check(command: Any, name: str) -> None:
        nonlocal count
        _, found, rest = page.partition(f"\n### thumbtune {name} {{ #{name.replace(' ', '-')} }}\n")
        assert found, name
        section = rest.partition("\n### ")[0]
        assert escaped(command.help) in section
        for each, inner in getattr(command, "commands", {}).items():
            check(inner, f"{name} {each}")
        for parameter in command.params if not hasattr(command, "commands") else []:
            assert escaped(parameter.help or "") in section, (name, parameter.name)
            assert not parameter.opts[0].startswith("-") or f"`{parameter.opts[0]}" in section, (name, parameter.name)
            count += 1

    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        check(command, name)
    assert count > 100


def test_every_name_for_users_is_in_the_python_reference() -> None:
    pages = python_reference.pages()
    for name, module in {
        "python": thumbtune,
        "python-objective": thumbtune.objective,
        "python-models": thumbtune.models,
    }.items():
        for each in module.__all__:
            assert each == "__version__" or f"## {each} {{ #{module.__name__}.{each} }}" in pages[name], each
    assert "evaluate_run(" in pages["python-evaluation"]
    everything = "".join(pages.values())
    assert " at 0x" not in everything and "<function" not in everything and "<class" not in everything


def test_signatures_are_written_as_in_python() -> None:
    assert python_reference.signature("loss_averse", thumbtune.objective.loss_averse) == (
        "loss_averse(gain: Float[Tensor, '*shape']) -> Float[Tensor, '*shape']"
    )
    assert python_reference.signature("PromptPrefixes", thumbtune.objective.PromptPrefixes) == (
        "PromptPrefixes(good: str, bad: str)"
    )
    assert "    utility: Callable[[Float[Tensor, '*shape']], Float[Tensor, '*shape']] = kahneman_tversky,\n" in (
        python_reference.signature("KTO", thumbtune.objective.KTO)
    )


def test_a_docstring_becomes_paragraphs_definitions_and_examples() -> None:
    text = """Return a*b: the product.

        first:  one number, which
                goes on
        second: another one

        >>> 1 + 1
        2

        name     text of columns
        another  more

            x = a * b

        Raises:
            UsageError: it is not a number.
    """
    assert from_docstring(text) == "\n\n".join(
        [
            r"Return a\*b: the product.",
            "`first`\n:   one number, which goes on",
            "`second`\n:   another one",
            "```pycon\n>>> 1 + 1\n2\n```",
            "`name`\n:   text of columns",
            "`another`\n:   more",
            "```text\nx = a * b\n```",
            "**Raises**",
            "`UsageError`\n:   it is not a number.",
        ]
    )
