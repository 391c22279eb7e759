"""The rows in docs/results make the pages in docs/ again, and nothing is trained for it."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from thumbtune import __version__
from thumbtune.experiments import screen_cells, screen_rows, training_grid
from thumbtune.experiments.experiments import WITH_METHODS, Order, perform
from thumbtune.experiments.ground_cells import MARKS
from thumbtune.experiments.grounds import GROUNDS
from thumbtune.experiments.levels import TAKEN
from thumbtune.experiments.screen_methods import BY_DEFAULT
from thumbtune.experiments.seed_statistics import mean_text
from thumbtune.training.progress import quiet

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


def on_a_ground() -> list[str]:
    """The folders of rows that were measured on a ground."""
    files = sorted((DOCS / "results").glob("*/experiment.json"))
    return [file.parent.name for file in files if "ground" in json.loads(file.read_text())]


@pytest.mark.parametrize("folder", on_a_ground())
def test_a_page_on_a_ground_is_made_of_its_rows(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All seeds from the first on, and all methods that have rows; a page in docs/ has the same numbers."""

    def trained(*_: Any) -> None:
        raise AssertionError("a cell is missing")

    monkeypatch.setattr(training_grid, "trained", trained)
    shutil.copytree(DOCS / "results" / folder, tmp_path / folder)
    owner = json.loads((tmp_path / folder / "experiment.json").read_text())
    rows = [json.loads(file.read_text())["cell"] for file in (tmp_path / folder).glob("runs/*/row.json")]
    if {row["thumbtune"] for row in rows} != {__version__}:
        pytest.skip("the rows are of another version, which the command refuses")
    seeds = {row["seed"] for row in rows}
    assert seeds == set(range(min(seeds), max(seeds) + 1))
    methods = {row["columns"]["method"] for row in rows if "method" in row["columns"]} - set(MARKS)
    order = Order(
        folder=tmp_path / folder,
        ground=owner["ground"],
        seeds=len(seeds),
        first_seed=min(seeds),
        only=tuple(methods) if owner["experiment"] in WITH_METHODS else (),
    )
    page = perform(owner["experiment"], order, quiet, lambda line: None).read_text()
    assert "cannot be read" not in page
    if (kept := DOCS / f"{folder}.md").exists():
        made = page.replace("figure.png", f"{folder}.png").split("`table.csv` has all columns")[0]
        assert made.strip() in kept.read_text()


def share_of(ground: str, method: str) -> float:
    """The mean share of the headroom of a method over the eight seeds of `beyond`, from its rows."""
    runs = DOCS / "results" / f"beyond-{ground}" / "runs"

    def odds(name: str, seed: int) -> float:
        return json.loads((runs / f"{name}-seed-{seed}" / "row.json").read_text())["row"]["log_odds"]

    marks = [(odds("base", seed), odds("asked", seed), odds(method, seed)) for seed in range(40, 48)]
    return float(np.mean([(found - base) / (asked - base) for base, asked, found in marks]))


@pytest.mark.parametrize("method", ["lead", "auto-window"])
def test_what_the_docs_say_of_our_recipes_is_on_the_pages_of_their_rows(method: str) -> None:
    shares, table = [], (DOCS / "grounds.md").read_text()
    for ground in ("soft-3d", "conditional", "line-art-wrong"):
        page = (DOCS / f"beyond-{ground}.md").read_text()
        means = [f"{share_of(ground, name):.2f}" for name in ("paper", method)]
        verdict = re.search(rf"{method} is better than paper\*\* → \*\*(.+)\*\*", page)
        assert verdict
        faithful = re.search(r"faithfulness (\S+ \(\S+ to \S+\)), wins (.+?\))", page[verdict.end() :])
        assert faithful
        row = (
            f"| [{ground}](beyond-{ground}.md) | {' | '.join(means)} | {' | '.join(faithful.groups())} | {verdict[1]} |"
        )
        assert row in table
        shares.append(means)
    text = " ".join((DOCS.parent / "README.md").read_text().split())
    for place, goes in (
        *([(1, "goes {}, {} and {} of the way")] if method == "auto-window" else []),
        (0, "the paper's beta and liked share go {}, {} and {}."),
    ):
        assert goes.format(*(means[place] for means in shares)) in text


def test_the_table_of_ten_methods_has_the_numbers_of_its_page() -> None:
    page = (DOCS / "beyond-soft-3d.md").read_text()
    table = page.split("## Table")[1].split("\n## ", maxsplit=1)[0]
    head, _, *measured = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    section = (DOCS / "grounds.md").read_text().split("## Ten methods on soft-3d")[1].split("\n## ", maxsplit=1)[0]
    columns, _, *said = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    names = [name.replace("share of the headroom", "share of headroom") for name in columns]
    digits = {"faithfulness": 3}
    assert len(said) == len(measured) == 10
    for row, cells in zip(measured, said, strict=True):
        means = [float(row[head.index(name)].split(" ")[0]) for name in names[1:]]
        texts = [f"{mean:.{digits.get(name, 2)}f}" for name, mean in zip(names[1:], means, strict=True)]
        assert cells == [f"`{row[0]}`", *texts]
    for verdict in re.findall(r"F\(\d+, \d+\) = \d+\.\d", section):
        assert verdict in page
    below = page.split("## Every pair")[1].splitlines()
    pairs = [line.strip("| ").split(" | ") for line in below if line.startswith("|") and "% to" in line]
    better = {(a, b) for a, b, *_, verdict in pairs if verdict == "better"}
    better |= {(b, a) for a, b, *_, verdict in pairs if verdict == "worse"}
    others = {row[0] for row in measured} - {"lead", "alignprop-stopped"}
    assert {("lead", other) for other in others} <= better
    assert {other for a, other in better if a == "auto-window"} == others - {"auto-window", "dpo-three-rounds"}
    assert {other for a, other in better if a == "paper"} == {"sft", "csft", "bco"}
    assert not {("dpo", "paper"), ("auto", "paper")} & better


def numbers_on(page: str) -> dict[str, tuple[str, str]]:
    """Setting -> its share of the headroom and its faithfulness, of the table of a page of one seed."""
    table = page.split("## Table")[1].split("\n## ", maxsplit=1)[0]
    head, _, *rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    places = head.index("share of headroom"), head.index("faithfulness")
    return {row[0]: (f"{float(row[places[0]]):.2f}", f"{float(row[places[1]]):.3f}") for row in rows}


def two_seeds_of(ground: str, setting: str) -> str:
    """Shares of the headroom and faithfulness of a setting on seeds 10 and 11, from its rows."""
    runs = DOCS / "results" / f"shortlist-{ground}" / "runs"

    def row(name: str, seed: int) -> dict[str, Any]:
        return json.loads((runs / f"{name}-seed-{seed}" / "row.json").read_text())["row"]

    shares = []
    for seed in (10, 11):
        low, high, found = (row(name, seed)["log_odds"] for name in ("base", "asked", setting))
        shares.append(f"{(found - low) / (high - low):.2f}")
    faithful = [f"{row(setting, seed)['faithfulness']:.3f}" for seed in (10, 11)]
    return f"{' and '.join(shares)}, {' and '.join(faithful)}"


def test_the_table_of_the_search_has_the_numbers_of_its_pages() -> None:
    pages = [numbers_on((DOCS / f"search-{g}.md").read_text()) for g in GROUNDS]
    section = (DOCS / "grounds.md").read_text().split("## The search, as far as it went")[1].split("\n## ")[0]
    tables = [
        [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| `")]
        for part in section.split("on a second seed")
    ]
    assert [len(table) > 4 for table in tables] == [True, True]
    for setting, *cells in tables[0]:
        assert [tuple(cell.split(", ")) for cell in cells] == [page[setting.strip("`")] for page in pages]
    for setting, *cells in tables[1]:
        assert cells == [two_seeds_of(ground, setting.strip("`")) for ground in GROUNDS]


def test_what_the_docs_say_of_the_window_is_in_its_rows() -> None:
    said, shares, gains = (DOCS / "grounds.md").read_text(), {"lead": [], "lead-window": []}, []
    for ground in GROUNDS:
        files = (DOCS / "results" / f"window-{ground}" / "runs").glob("*/row.json")
        stored = [json.loads(file.read_text()) for file in files]
        odds = {(one["cell"]["name"], one["cell"]["seed"]): one["row"]["log_odds"] for one in stored}
        for name, means in shares.items():
            of = [
                (odds[name, seed] - odds["base", seed]) / (odds["asked", seed] - odds["base", seed])
                for seed in (40, 41, 42)
            ]
            means.append(f"{np.mean(of):.2f}")
        gains.append(mean_text([odds["lead-window", seed] - odds["lead", seed] for seed in (40, 41, 42)], "+.2f"))
    text = " ".join(said.split())
    assert "shares of {}, {} and {}, ".format(*shares["lead-window"]) in text
    assert "the lead has {}, {} and {} on the same seeds".format(*shares["lead"]) in text
    assert gains[0] == "-0.53 (-0.65 to -0.40)" and "-0.53 log-odds, -0.65 to -0.40" in text


def test_the_table_of_levels_has_the_numbers_of_its_page() -> None:
    page = (DOCS / "levels-soft-3d.md").read_text()
    section = (DOCS / "grounds.md").read_text().split("## Which parts work")[1].split("\n## ", maxsplit=1)[0]
    shares = dict(re.findall(r"\(`(\S+)`\) \| (\S+ \(\S+ to \S+\)) \|", section))
    assert len(shares) == 6
    for setting, share in shares.items():
        cell = re.search(rf"^\| {setting} \| 4 \| 0 \| (\S+) \((\S+) to (\S+)\) ", page, flags=re.M)
        assert cell
        mean, low, high = (f"{float(number):.2f}" for number in cell.groups())
        assert f"{mean} ({low} to {high})" == share
    note = page.split("correlates with", maxsplit=1)[1].split("\n", maxsplit=1)[0]
    found = re.findall(r"(?:by|and) ([+-]\d\.\d\d)", note)
    assert len(found) == 4 and all(number in section for number in found)
    for difference, said in (
        ("+1.70 (+0.38 to +3.03)", "+1.70 log-odds, +0.38"),
        ("+2.40 (+1.51 to +3.30)", "+2.40, +1.51"),
    ):
        assert difference in page and f"{said} to {difference.split(' to ')[1]}" in section


@pytest.mark.slow
def test_the_page_of_the_screen_is_made_of_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(*_: Any) -> None:
        raise AssertionError("a cell is missing")

    monkeypatch.setattr(screen_rows, "row_of", trained)
    monkeypatch.setattr(screen_cells, "base_of", trained)
    shutil.copytree(DOCS / "results" / "screen", tmp_path / "screen")
    rows = [json.loads(file.read_text())["cell"] for file in (tmp_path / "screen").glob("runs/*/row.json")]
    if {row["thumbtune"] for row in rows} != {__version__}:
        pytest.skip("the rows are of another version, which the command refuses")
    page = perform("screen", Order(folder=tmp_path / "screen"), quiet, lambda line: None).read_text()
    first, rest = page.replace("figure.png", "screen.png").split("`table.csv` has all columns")
    kept = (DOCS / "screen.md").read_text()
    assert kept.startswith(first.strip()) and kept.strip().endswith(rest.split("\n", maxsplit=1)[1].strip())
    assert len(rows) == 8 * (2 + len(BY_DEFAULT))
    found = re.search(r"Measured: F\(16, 112\) = (\S+),", page)
    assert found and f"(F = {found[1]} over 17 methods and 8 seeds)" in (DOCS / "grounds.md").read_text()


def test_the_table_of_the_screen_beside_a_ground_has_the_numbers_of_both_pages() -> None:
    section = (DOCS / "screen.md").read_text().split("## Beside the ground soft-3d")[1].split("\n## ", maxsplit=1)[0]
    rows = dict(re.findall(r"^\| `(\S+)` \| (.+) \|$", section, flags=re.M))
    pages = [(DOCS / f"{name}.md").read_text() for name in ("screen", "levels-soft-3d")]

    def share(page: str, name: str) -> str:
        cell = re.search(rf"^\| {name} \| [48] \| 0 \| (\S+) ", page, flags=re.M)
        assert cell
        return f"{float(cell[1]):.2f}"

    assert list(rows) == list(TAKEN)
    assert rows == {name: " | ".join(share(page, name) for page in pages) for name in TAKEN}
    columns = [[float(cells.split(" | ")[place]) for cells in rows.values()] for place in (0, 1)]
    assert f"rank correlation of {spearmanr(*columns).statistic:.2f}" in section


def test_what_the_docs_say_of_rounds_is_on_the_page_of_its_rows() -> None:
    page = (DOCS / "rounds-soft-3d.md").read_text()
    section = (DOCS / "grounds.md").read_text().split("## Rounds of labels")[1].split("\n## ", maxsplit=1)[0]
    rows = re.findall(r"^\| `([a-z-]+)`, [^|]+ \| (\S+ \(\S+ to \S+\)) \| (\S+) \|", section, flags=re.M)
    assert len(rows) == 4
    for name, share, faithful in rows:
        cell = re.search(rf"^\| {name} \| 5 \| 0 \| (.+)$", page, flags=re.M)
        assert cell and cell[1].startswith(f"{share} |") and f"| {faithful} (" in cell[1]
    text = " ".join(section.split())
    assert "log-odds +0.28 (-0.70 to +1.27)" in page and "+0.28 log-odds (-0.70 to +1.27)" in text
    assert "log-odds +1.04 (-1.29 to +3.37)" in page and "+1.04 (-1.29 to +3.37)" in text
    assert "-0.0093 (-0.0256 to +0.0071)" in page and "-0.0093 of faithfulness (-0.0256 to +0.0071)" in text
    assert page.count("cannot be told**") == 2


def test_what_the_docs_say_of_few_labels_is_on_the_page_of_its_rows() -> None:
    page = (DOCS / "few-soft-3d.md").read_text()
    section = (DOCS / "grounds.md").read_text().split("## Few labels")[1].split("\n## ", maxsplit=1)[0]
    rows = re.findall(r"^\| (\d+) \| (.+) \| (\S+) \| (.+) \| (\S+) \|$", section, flags=re.M)
    assert [int(count) for count, *_ in rows] == [24, 48, 96, 192, 384]
    for count, *cells in rows:
        for method, share, faithful in (("paper", *cells[:2]), ("auto-window", *cells[2:])):
            cell = re.search(rf"^\| {method} \| {count} \| 8 \| 0 \| (.+)$", page, flags=re.M)
            assert cell and cell[1].startswith(f"{share} |") and f"| {faithful} (" in cell[1]
    text = " ".join(section.split())
    assert "192 against 384: log-odds +2.04 (+1.50 to +2.57)" in page and "+2.04 log-odds (+1.50 to +2.57)" in text
    assert "faithfulness +0.0019 (-0.0053 to +0.0092), wins 75.9% (68.2% to 83.6%)" in page
    assert "log-odds +0.58 (+0.14 to +1.02)" in page and "log-odds +0.18 (-0.72 to +1.07)" in page
    assert "-0.112 (-0.268 to 0.044)" in page and page.count("**holds**") == 2


def _is_share_of(cell: str, page: str, beginning: str, seeds: int = 5) -> bool:
    """Return whether a cell of the docs has the share of a page's row and its interval, to two digits."""
    row = re.search(rf"^\| {beginning} \| {seeds} \| 0 \| (\S+) \((\S+) to (\S+)\)", page, flags=re.M)
    told = re.fullmatch(r"(\S+) \((\S+) to (\S+)\)", cell)
    assert row and told, (cell, beginning)
    return all(
        abs(float(one) - float(other)) <= 0.00501 for one, other in zip(row.groups(), told.groups(), strict=True)
    )


def test_what_the_docs_say_of_wrong_labels_is_on_the_page_of_its_rows() -> None:
    page = (DOCS / "noise-soft-3d.md").read_text()
    section = (DOCS / "grounds.md").read_text().split("## Wrong labels")[1].split("\n## ", maxsplit=1)[0]
    rows = re.findall(r"^\| (\d+)% \| (.+) \| (.+) \| (.*)\|$", section, flags=re.M)
    assert [int(percent) for percent, *_ in rows] == [0, 10, 20, 30, 40]
    for percent, paper, ours, wins in rows:
        share = f"{int(percent) / 100:g}"
        assert _is_share_of(paper, page, rf"paper \| {share}") and _is_share_of(ours, page, rf"auto-window \| {share}")
        if wins:
            assert re.search(rf"At {percent}%: [^%]+wins {re.escape(wins.strip())} of the paired images", page)
    verdicts = re.findall(r"^\d\. \*\*(.+)\*\* → \*\*(.+)\*\*", page, flags=re.M)
    assert [verdict for _, verdict in verdicts] == ["holds", "does not hold", "cannot be told"]
    assert "+0.061 (-0.208 to +0.330); 91% of it is kept" in page and "91% of its gain" in section
    assert "; 17% of it is kept" in page and "keeps 17%" in section
    assert "F(9, 36) = 16.9" in section


def test_what_the_docs_say_of_uncertain_images_is_on_the_page_of_its_rows() -> None:
    page = (DOCS / "orders-soft-3d.md").read_text()
    section = (DOCS / "grounds.md").read_text().split("## Uncertain images first")[1].split("\n## ", maxsplit=1)[0]
    rows = re.findall(r"^\| (\d+) \| (.+) \| (\S+) \| (.*)\| (\S*) ?\|$", section, flags=re.M)
    assert [int(votes) for votes, *_ in rows] == [48, 96, 192]
    for votes, *cells in rows:
        names = ("first" if votes == "48" else "random", "uncertain")
        for name, share, faithful in zip(names, cells[::2], cells[1::2], strict=True):
            if share.strip():
                assert _is_share_of(share.strip(), page, rf"{name} \| {votes}")
                assert re.search(rf"^\| {name} \| {votes} \| .*\| {re.escape(faithful)} \(", page, flags=re.M)
    assert page.count("→ **cannot be told**") == 2
    assert "+1.01 (-0.75 to +2.77)" in page and "+1.01 log-odds, -0.75 to +2.77" in section
    assert "log-odds +0.66 (-0.03 to +1.36)" in page and "+0.66, -0.03 to +1.36" in section


def test_what_the_docs_say_of_noise_draws_is_on_the_page_of_its_rows() -> None:
    page = (DOCS / "draws-soft-3d.md").read_text()
    section = (DOCS / "grounds.md").read_text().split("## Noise draws that repeat")[1].split("\n## ", maxsplit=1)[0]
    rows = re.findall(r"^\| (\d+|new noise) \| (.+\)) \| (.*)\| (.*)\|$", section, flags=re.M)
    assert [name for name, *_ in rows] == ["1", "2", "4", "16", "new noise"]
    for name, share, against, faithful in rows:
        assert _is_share_of(share, page, "0" if name == "new noise" else name)
        if against.strip():
            claim = page.split(f"**{name} draw")[1].split("\n\n", maxsplit=1)[0]
            assert f"share of the headroom {against.strip()}, faithfulness {faithful.strip()}, wins" in claim
    assert page.count("→ **cannot be told**") == 4


def test_what_the_docs_say_of_two_people_is_on_the_page_of_its_rows() -> None:
    page = (DOCS / "raters-soft-3d.md").read_text()
    section = (DOCS / "grounds.md").read_text().split("## Two people of opposite tastes")[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (?:one LoRA, `)?([\w -]+)`? \| (.+\)) \| (.+) \| (.+) \|$", section, flags=re.M)
    names = {"majority": "majority", "per-vote": "per-vote", "a LoRA for each person": "one each"}
    assert [name for name, *_ in rows] == list(names)
    for name, both, first, second in rows:
        assert _is_share_of(both, page, names[name], seeds=8)
        assert f"| {names[name]} | {first} | {second} |" in page.split("## Each person")[1]
    better, unsure = (page.split(f"**one each is better than {other}**")[1] for other in ("majority", "per-vote"))
    assert better.startswith(" → **holds**") and "log-odds +0.81 (+0.34 to +1.28)" in better.split("\n\n")[0]
    assert unsure.startswith(" → **cannot be told**") and "log-odds +0.33 (-0.05 to +0.72)" in unsure.split("\n\n")[0]
    assert "F(2, 14) = 7.4, p = 0.006" in section
