"""docs/paper.md is true: its commands parse, it names every experiment, its verdicts are those of the page."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from thumbtune.cli.app import app
from thumbtune.experiments import beyond, fig6, fig7, search
from thumbtune.experiments.experiments import EXPERIMENTS, Order
from thumbtune.experiments.grid_summary import MEASURES
from thumbtune.experiments.result_page import Result
from thumbtune.experiments.toy_gaussians import DESIRABLE
from thumbtune.training.progress import quiet

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


# --- pages whose rows are not kept: their sentences are those of the code


def a_course(taste: str, seed: int) -> dict[str, Any]:
    steps = fig7.steps_with_images(fig7.steps_of(taste), fig7.steps_of(taste) // fig7.QUARTERS)
    course = [{"step": step, "taste": 0.1 + 0.01 * seed, "faithfulness": 0.9} for step in steps]
    return {"taste": taste, "seed": seed, "status": "trained", "course": course}


def a_row(seed: int, **columns: str) -> dict[str, Any]:
    scores = {"named line art": [0.0, 1.0], "faithfulness": [0.5, 0.6]}
    return {"seed": seed, "status": "trained", "scores": scores, **columns} | dict.fromkeys(MEASURES, 0.5)


ROWS = {
    fig7: [a_course(taste, seed) for taste in fig7.TASTES for seed in range(3)],
    search: [a_row(seed, setting=name) for name in search.SETTINGS for seed in range(2)],
    beyond: [a_row(seed, method=name) for name in beyond.METHODS for seed in range(3)],
}


def result_of(module: Any, monkeypatch: pytest.MonkeyPatch) -> Result:
    """Return the result of an experiment from invented rows."""
    monkeypatch.setattr(module, "plot", lambda *_: None)
    if module is fig6:
        clouds = {name: DESIRABLE.sample(50, torch.Generator().manual_seed(1)).expand(2, -1, -1) for name in fig6.NAMES}
        return fig6._result(fig6.MAIN, fig6.SEEDS, clouds, [])
    monkeypatch.setattr(module, "run_grid", lambda *_: ROWS[module])
    return module.make(Order(folder=Path()), quiet, lambda line: None)


@pytest.mark.parametrize(("name", "module"), [("fig6", fig6), ("fig7", fig7), ("search", search), ("beyond", beyond)])
def test_a_page_has_the_sentences_of_the_code(name: str, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page, result = (DOCS / f"{name}.md").read_text(), result_of(module, monkeypatch)
    sentences = [f"# {result.title}\n", result.about, f"*{result.caption}*", *result.more_tables]
    sentences += [sentence for claim in result.claims for sentence in (f"**{claim.statement}**", claim.criterion)]
    sentences += [f"- {note}\n" for note in result.notes[module is fig6 :]]  # the first of fig6 counts settings
    for sentence in sentences:
        assert sentence in page
