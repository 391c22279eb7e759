"""The rows in docs/results make the pages in docs/ again, and nothing is trained for it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from thumbtune import __version__
from thumbtune.experiments import training_grid
from thumbtune.experiments.experiments import Order, perform
from thumbtune.training.batches import quiet

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("name", "trainings"), [("fig8", 33), ("noise", 30), ("few", 21)])
def test_a_page_is_made_of_its_rows(name: str, trainings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(*_: Any) -> None:
        raise AssertionError("a cell is missing")

    monkeypatch.setattr(training_grid, "trained", trained)
    shutil.copytree(DOCS / "results" / name, tmp_path / name, ignore=shutil.ignore_patterns("page.md", "figure.*"))
    rows = [json.loads(file.read_text())["cell"] for file in (tmp_path / name).glob("runs/*/row.json")]
    if {row["thumbtune"] for row in rows} != {__version__}:
        pytest.skip("the rows are of another version, which the command refuses")
    lines: list[str] = []
    page = perform(name, Order(folder=tmp_path / name), quiet, lines.append).read_text()
    assert len(lines) == len(rows) == trainings and all("finished before" in line for line in lines)
    made, kept = (text.replace("figure.png", f"{name}.png") for text in (page, (DOCS / f"{name}.md").read_text()))
    (made, notes), (kept, kept_notes) = (text.split("## Notes\n") for text in (made, kept))
    assert made.split("`table.csv` has all columns")[0].strip() == kept.strip()
    assert kept_notes.strip().startswith(notes.strip())
