"""The frame: names, folders, files; and Figure 9, whose numbers can be worked out by hand."""

import csv
import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from refusals import refused
from typer.testing import CliRunner

from thumbtune.cli import app as cli
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.evaluation.scorers.published_files import Locations
from thumbtune.experiments.experiments import EXPERIMENTS, Order, claim_folder, perform
from thumbtune.experiments.result_page import Claim, Result, markdown_of, write_result
from thumbtune.training.progress import quiet

FILES = {"experiment.json", "figure.png", "figure.svg", "table.csv", "table.md", "page.md", "provenance.json"}


def ignore(text: str) -> None:
    """Nobody listens."""


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "table.csv").read_text().splitlines()))


def fig9(folder: Path) -> Path:
    return perform("fig9", Order(folder=folder), quiet, ignore)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fig9") / "out"
    fig9(folder)
    return folder


# --- Figure 9


def test_the_utilities_of_figure_9_are_what_a_pocket_calculator_says(drawn: Path) -> None:
    rows = {float(row["gain"]): row for row in table(drawn)}
    by_hand = {
        # sigmoid(2) = 0.880797, log sigmoid(2) = -0.126928, log 2 = 0.693147
        ("kahneman-tversky", 2.0): (0.380797, 0.104994),
        ("loss-averse", 2.0): (0.566219, 0.119203),
        ("risk-seeking", 2.0): (2.126928 - 0.693147, 0.880797),
        ("kahneman-tversky", 0.0): (0.0, 0.25),
        ("loss-averse", 0.0): (0.0, 0.5),
        ("risk-seeking", -2.0): (0.126928 - 0.693147, 0.119203),
    }
    for (name, gain), (value, slope) in by_hand.items():
        assert float(rows[gain][f"{name}, value"]) == pytest.approx(value, abs=1e-6)
        assert float(rows[gain][f"{name}, slope"]) == pytest.approx(slope, abs=1e-6)


def test_the_shapes_that_the_paper_names_hold_and_would_not_hold_of_another_utility(
    drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thumbtune.experiments import fig9

    assert [claim.verdict for claim in fig9.claims()] == ["holds"] * 3
    swapped = {"kahneman-tversky": "loss-averse", "loss-averse": "risk-seeking", "risk-seeking": "kahneman-tversky"}
    others = {name: fig9.UTILITIES[other] for name, other in swapped.items()}
    monkeypatch.setattr(fig9, "UTILITIES", others)
    assert [claim.verdict for claim in fig9.claims()] == ["does not hold"] * 3


def test_all_files_are_written_and_a_second_call_writes_the_same(drawn: Path, tmp_path: Path) -> None:
    assert {file.name for file in drawn.iterdir()} == FILES
    fig9(tmp_path / "again")
    for name in FILES - {"provenance.json"}:
        assert (drawn / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    page = (drawn / "page.md").read_text()
    assert "![Figure 9: utilities and their slopes](figure.png)" in page
    assert "| gain |" in page
    assert (drawn / "table.md").read_text() in page
    assert json.loads((drawn / "provenance.json").read_text())["experiment"] == "fig9"


# --- names and folders


def test_an_unknown_name_lists_the_known_ones_in_one_sentence(tmp_path: Path) -> None:
    with refused("paper-unknown-name", UsageError, naming=["fig10", ", ".join(EXPERIMENTS)]):
        perform("fig10", Order(folder=tmp_path / "out"), quiet, ignore)
    assert not (tmp_path / "out").exists()


def test_the_command_names_every_experiment_and_knows_its_errors(tmp_path: Path) -> None:
    help_text = " ".join(CliRunner().invoke(cli.app, ["paper", "--help"]).stdout.replace("│", " ").split())
    assert all(name in help_text for name in EXPERIMENTS)
    done = CliRunner().invoke(cli.app, ["paper", "fig10", "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, UsageError)


def test_a_figure_without_randomness_refuses_seeds(tmp_path: Path) -> None:
    with refused("paper-no-seeds", UsageError, naming=["fig9", "--seeds"]):
        perform("fig9", Order(folder=tmp_path, seeds=3), quiet, ignore)


def test_a_folder_of_something_else_is_refused_and_left_as_it_was(tmp_path: Path, drawn: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with refused("paper-folder-foreign", UsageError, naming=[tmp_path, "--out"]):
        fig9(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]
    with refused("paper-folder-of-another", UsageError, naming=[drawn, "`thumbtune paper fig9`"]):
        claim_folder(drawn, "fig6", quick=False)
    with refused("paper-folder-of-another", UsageError, naming=[drawn, "`thumbtune paper fig9`"]):
        claim_folder(drawn, "fig9", quick=True)
    claim_folder(drawn, "fig9", quick=False)


def test_a_table_that_cannot_begin_leaves_no_folder(tmp_path: Path) -> None:
    places = Locations(local=tmp_path, offline=True)
    for name, is_left in (("new", False), ("old", True)):
        folder = tmp_path / name
        if is_left:
            folder.mkdir()
            (folder / "experiment.json").write_text('{"experiment": "table1", "quick": false}')
            (folder / "table.csv").write_text("")
        with pytest.raises(ThumbtuneError):
            perform("table1", Order(folder=folder, places=places), quiet, ignore)
        assert (folder / "experiment.json").exists() == is_left


def test_a_method_that_is_nearly_right_is_answered_with_the_right_one() -> None:
    order = Order(folder=Path(), only=("pape",))
    with refused("paper-no-method", UsageError, naming="did you mean paper?") as error:
        order.chosen(["paper", "sft", "auto"])
    assert "sft" not in str(error.value)
    with refused("paper-no-method", UsageError, naming="paper; sft"):
        Order(folder=Path(), only=("zzz",)).chosen(["paper", "sft"])


def test_a_damaged_mark_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text("[1]")
    with refused("paper-folder-damaged", UsageError, naming=tmp_path / "experiment.json"):
        claim_folder(tmp_path, "fig9", quick=False)


# --- files


def test_tables_keep_every_column_and_full_precision(tmp_path: Path) -> None:
    rows = [{"a": 1 / 3, "b": "x|y"}, {"a": None, "c": 2}]
    claim = Claim("It is so", "one is less than two.", "holds", "1 and 2.")
    figure = Figure()
    figure.subplots()
    page = write_result(Result(title="T", about="A.", figure=figure, caption="C.", rows=rows, claims=[claim]), tmp_path)
    assert (tmp_path / "table.csv").read_text() == f"a,b,c\n{1 / 3!r},x|y,\n,,2\n"
    assert (
        tmp_path / "table.md"
    ).read_text() == "| a | b | c |\n| --- | --- | --- |\n| 0.3333 | x/y |  |\n|  |  | 2 |\n"
    assert "1. **It is so** → **holds**." in page.read_text()
    assert float(table(tmp_path)[0]["a"]) == 1 / 3


def test_a_table_without_rows_is_an_empty_table() -> None:
    assert markdown_of([]) == "|  |\n|  |\n"
