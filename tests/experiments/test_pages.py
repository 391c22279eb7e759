"""docs/paper.md is true: its commands parse, it names every experiment, its verdicts are those of the page."""

import re
from pathlib import Path

import typer

from thumbtune.cli.app import app
from thumbtune.experiments import fig6
from thumbtune.experiments.experiments import EXPERIMENTS

DOCS = Path(__file__).parents[2] / "docs"
PAPER, PAGE = (DOCS / "paper.md").read_text(), (DOCS / "fig6.md").read_text()


def test_the_commands_parse_and_name_every_experiment() -> None:
    block, recipe, tables = re.findall(r"```sh\n(.*?)```", PAPER, flags=re.DOTALL)
    assert {line.split()[1] for line in recipe.splitlines()} == {"recipe", "train", "evaluate"}
    options = {o for p in typer.main.get_command(app).commands["paper"].params for o in p.opts}  # type: ignore[attr-defined]
    lines = [line.partition("#")[0].split() for line in (block + tables).splitlines()]
    assert all(words[:2] == ["thumbtune", "paper"] for words in lines)
    assert {words[2] for words in lines} == EXPERIMENTS.keys()
    assert {word for words in lines for word in words if word.startswith("--")} <= options


def test_the_verdicts_are_those_of_the_measured_page() -> None:
    claims = re.findall(r"^\d\. \*\*(.+?)\*\* → \*\*(.+?)\*\*\.$", PAGE, flags=re.MULTILINE)
    assert len(claims) == 5
    for number, (says, verdict) in enumerate(claims, start=1):
        assert f"| {number} | {says} | {verdict} |" in PAPER


def test_the_measured_page_is_of_the_settings_that_the_code_has() -> None:
    main = fig6.MAIN
    assert f"beta {main.beta:g}, {main.steps} steps of {main.batch} points, AdamW at {main.lr:g}" in PAGE
    assert f"{fig6.SEEDS} small diffusion models" in PAGE
    count = len(fig6.OTHER_BETAS) * len(fig6.OTHER_SHARES) * len(fig6.OTHER_STEPS)
    assert len(re.findall(r"^\| [\d.]+ \| [\d.]+ \| \d+ \|", PAGE, flags=re.MULTILINE)) == count


def test_the_measured_page_and_the_summary_count_as_the_code_does() -> None:
    names, *rows = [
        line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| (beta|[\d.]+) \|", line)
    ]
    note = fig6.count_verdicts([dict(zip(names, row, strict=True)) for row in rows])
    assert f"- {note}" in PAGE
    for number, (held, of) in enumerate(re.findall(r"(\d+) of (\d+) \(", note), start=1):
        assert re.search(rf"^\| {number} \|.*\| {held} of {of} \|$", PAPER, flags=re.MULTILINE)


def test_links_and_images_are_there() -> None:
    for page in (PAPER, PAGE):
        for target in re.findall(r"\]\(((?!http)[^)#]+)\)", page):
            assert (DOCS / target).exists(), target
