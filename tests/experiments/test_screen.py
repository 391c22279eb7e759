"""The screen: cells by the product's own parts, rows that are kept and refused, claims by hand, a quick run."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.experiments import screen_cells
from thumbtune.experiments.experiments import Order, perform
from thumbtune.experiments.methods import LEAD_SETTINGS, METHODS
from thumbtune.experiments.screen import SHARE, better, claim_betas, pairs_table, standing, with_shares
from thumbtune.experiments.screen_base import ERROR_SAMPLES, EVALUATION, POOL, Sizes, base_of, draw, errors_of
from thumbtune.experiments.screen_cells import Screen, ScreenCell, batches_of, cells_of, row_of
from thumbtune.experiments.screen_methods import BUNDLED_ERROR, BY_DEFAULT, KNOWN, methods_of, objective_of, recipe_of
from thumbtune.experiments.screen_rows import file_of, run_cells
from thumbtune.experiments.vector_model import VectorModel
from thumbtune.experiments.vector_world import SIZE, is_liked, measures, rated
from thumbtune.training.cache import Cache
from thumbtune.training.progress import quiet

SIZES = Sizes(pretraining=100, per_prompt=8, samples=480)
MEASURES = ("like", "sound", "style", "attribute", "spread")


def make_screen(folder: Path) -> Screen:
    return Screen(folder=folder, cache=Cache(folder / "cache"), sizes=SIZES, is_quick=True)


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Screen:
    return make_screen(tmp_path_factory.mktemp("screen"))


def cell(name: str, seed: int = 40) -> ScreenCell:
    return ScreenCell(name=name, seed=seed, method=KNOWN.get(name))


def without_time(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "train_seconds"}


# --- methods


def test_a_method_has_the_settings_that_it_has_on_a_ground() -> None:
    lead = recipe_of(KNOWN["lead"], 41)
    assert KNOWN["lead"].settings == METHODS["lead"].settings == LEAD_SETTINGS
    assert (lead.objective.name, lead.objective.beta, lead.seed) == ("kto", 250, 41)
    assert (lead.train.timestep_bias, lead.train.liked_share) == (3, 0.5)
    assert (lead.train.steps, lead.train.batch, lead.train.weights) == (200, 32, "full")
    assert recipe_of(KNOWN["lead-dislikes-above-half"], 41).train.disliked_timesteps == [0.5, 1]


def test_every_known_method_is_a_recipe_and_the_default_ones_are_known() -> None:
    for name, method in KNOWN.items():
        assert objective_of(recipe_of(method, 40), 0.25) is not None, name
    assert list(methods_of(Order(folder=Path()))) == list(BY_DEFAULT)
    for other in ("alignprop", "kto-three-rounds", "dpo-pairs", "kto-graded", "kto-top-tenth"):
        assert other not in KNOWN and other in METHODS
    with refused("paper-no-method", UsageError, naming=["alignprop", "lead"]):
        methods_of(Order(folder=Path(), only=("alignprop",)))
    assert list(methods_of(Order(folder=Path(), only=("kto-1000-bias-2-share-0.65",)))) == [
        "kto-1000-bias-2-share-0.65"
    ]


def test_a_number_of_beta_is_in_units_of_the_error_and_nothing_else_changes() -> None:
    def of(name: str) -> Any:
        return objective_of(recipe_of(KNOWN[name], 40), 0.25)

    assert pytest.approx(119.34 / 8, abs=0.01) == 1000 * BUNDLED_ERROR  # the sum of the eighths is 0.11934
    assert of("paper").beta == pytest.approx(5000 * 0.0149175 / 0.25, rel=1e-4)
    assert of("bco").beta == pytest.approx(250 * 0.0149175 / 0.25, rel=1e-4)
    assert of("dpo").beta == pytest.approx(500 * 0.0149175 / 0.25, rel=1e-4)
    assert of("relative-10-bias-1-share-0.5").beta == 10
    assert of("auto").beta == 1  # `Auto` replaces it before the first loss
    assert of("nft-0.5-bias-1-share-0.5").mix == 0.5
    same = objective_of(recipe_of(KNOWN["paper"], 40), BUNDLED_ERROR)
    assert same == replace(of("paper"), beta=5000.0)


# --- cells


@pytest.mark.slow
def test_batches_have_the_options_of_the_recipe(screen: Screen) -> None:
    def batches(name: str) -> Any:
        recipe = recipe_of(KNOWN[name], 40)
        return batches_of(screen, VectorModel(screen.base.weights), recipe, objective_of(recipe, 0.25))

    lead, sft, dpo, csft = map(batches, ("lead", "sft", "dpo", "csft"))
    assert (lead.size, lead.liked_share, lead.timestep_bias, lead.paired) == (32, 0.5, 3, False)
    assert sft.liked_share == 1 and bool(sft.batch(0).liked.all())
    pair = dpo.batch(0)
    assert pair.liked.tolist() == [True, False] * 16 and torch.equal(pair.noise[::2], pair.noise[1::2])
    told = csft.batch(3)
    given = told.condition["text"].any(1)
    assert torch.equal(told.condition["text"][given, -1] > 0, told.liked[given])
    window = batches("lead-dislikes-above-half")
    assert min(t for step in range(3) for t in window.batch(step).t[~window.batch(step).liked].tolist()) >= 500


def test_the_labels_of_a_pool_are_the_persons_and_the_latents_are_the_samples(screen: Screen) -> None:
    likes = screen.pool(40)
    prompts = torch.tensor([int(text.removeprefix("prompt ")) for text in likes["prompt"]])
    assert prompts.tolist() == [k for k in rated().tolist() for _ in range(SIZES.per_prompt)]
    samples = draw(VectorModel(screen.base.weights), prompts, POOL, ("pool", 40))
    recipe = recipe_of(KNOWN["lead"], 40)
    encoded = batches_of(screen, VectorModel(screen.base.weights), recipe, objective_of(recipe, 0.25)).encoded
    assert (encoded.latents(range(len(likes))) - samples.clamp(-16, 16)).abs().max() < 1e-5
    agree = (torch.tensor(likes["label"]) == is_liked(samples, prompts)).double().mean()
    assert 0.7 < float(agree) < 0.95  # noisy
    assert likes["label"] != screen.pool(41)["label"]


@pytest.mark.slow
def test_equal_seeds_give_equal_rows_and_other_seeds_give_others(screen: Screen) -> None:
    again = make_screen(screen.folder)
    for name in ("base", "asked", "lead", "dpo"):
        assert without_time(row_of(screen, cell(name))) == without_time(row_of(again, cell(name))), name
    assert row_of(screen, cell("lead", 41))["like"] != row_of(screen, cell("lead", 40))["like"]


@pytest.mark.parametrize("name", ["paper", "csft", "dpo"])
def test_a_method_without_steps_scores_as_the_base(name: str, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    made = screen_cells.build.settings_of
    monkeypatch.setattr(screen_cells.build, "settings_of", lambda recipe: replace(made(recipe), steps=0))
    base, row = row_of(screen, cell("base")), row_of(screen, cell(name))
    assert {measure: row[measure] for measure in MEASURES} == {measure: base[measure] for measure in MEASURES}
    assert row["likes"] + row["dislikes"] == 24 * SIZES.per_prompt


def test_a_training_that_diverges_is_a_result(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    made = screen_cells.build.settings_of
    monkeypatch.setattr(screen_cells.build, "settings_of", lambda recipe: replace(made(recipe), steps=40, lr=1e30))
    row = row_of(screen, cell("sft"))
    assert row["status"].startswith("diverged: ") and "like" not in row


# --- the base


@pytest.mark.slow
def test_the_base_is_trained_once_and_again_if_it_is_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sizes = replace(SIZES, pretraining=20)
    trained: list[str] = []

    def counted(items: Any, what: str) -> Any:
        trained.append(what)
        return items

    first, second = (base_of(tmp_path, sizes, counted) for _ in range(2))
    assert first.hash == second.hash and first.errors == second.errors and trained == ["Training the base"]
    (file,) = tmp_path.glob("base-*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert base_of(tmp_path, sizes, counted).hash == first.hash and len(trained) == 2
    assert "was damaged" in caplog.text
    assert base_of(tmp_path, replace(sizes, pretraining=21), counted).hash != first.hash and len(trained) == 3


def test_the_error_of_a_model_that_predicts_nothing_is_the_variance_of_the_noise() -> None:
    model = VectorModel()
    with torch.no_grad():
        for _, weight in model.trainable():
            weight.zero_()
    errors = errors_of(model)
    assert errors.tolist() == pytest.approx([1.0] * 8, abs=5 * (2 / (ERROR_SAMPLES / 8 * SIZE)) ** 0.5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Screen:
    folder = tmp_path_factory.mktemp("whole")
    return Screen(folder=folder, cache=Cache(folder / "cache"))


@pytest.mark.slow
def test_the_base_is_sound_and_as_diverse_as_the_truth(whole: Screen) -> None:
    prompts = rated(False).repeat(200)
    found = measures(draw(VectorModel(whole.base.weights), prompts, EVALUATION, ("samples", 0)), prompts)
    assert found.sound > 0.94 and found.spread == pytest.approx(1, abs=0.08)
    assert found.like == pytest.approx(0.13, abs=0.03)


@pytest.mark.slow
def test_training_on_likes_draws_more_of_what_is_liked_at_prompts_that_nobody_rated(whole: Screen) -> None:
    base, sft = row_of(whole, cell("base")), row_of(whole, cell("sft"))
    assert sft["like"] > base["like"] + 0.15
    assert sft["attribute"] > base["attribute"] + 0.2 and sft["style"] > base["style"] + 0.1


# --- rows


@pytest.fixture(scope="module")
def finished(screen: Screen) -> list[ScreenCell]:
    """Cells whose rows are in the screen's folder."""
    cells = cells_of({"sft": KNOWN["sft"]}, [40])
    run_cells(screen, cells, lambda line: None)
    return cells


@pytest.fixture
def kept(screen: Screen, finished: list[ScreenCell], tmp_path: Path) -> tuple[Screen, list[ScreenCell]]:
    """A copy of the folder with the base and finished rows."""
    shutil.copytree(screen.folder, tmp_path / "kept", ignore=shutil.ignore_patterns("cache"))
    return make_screen(tmp_path / "kept"), finished


def test_finished_rows_train_nothing_and_need_no_base(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, cells = kept
    for file in mine.folder.glob("base-*"):
        file.unlink()

    def trained(*_: Any) -> None:
        raise AssertionError("something is trained")

    monkeypatch.setattr(screen_cells, "base_of", trained)
    lines: list[str] = []
    rows = run_cells(mine, cells, lines.append)
    assert [row["cell"] for row in rows] == ["base", "asked", "sft"]
    assert len(lines) == 3 and all("finished before" in line for line in lines)


def test_rows_of_other_settings_and_damaged_ones_are_refused(kept: Any) -> None:
    mine, cells = kept
    file = file_of(mine, cells[2])
    stored = json.loads(file.read_text())
    other = {**stored, "cell": {**stored["cell"], "recipe": {**stored["cell"]["recipe"], "seed": 41}}}
    for changed in (other, {**stored, "cell": {**stored["cell"], "thumbtune": "0.0.1"}}):
        file.write_text(json.dumps(changed))
        with refused("screen-row-differs", UsageError, naming=file):
            run_cells(mine, cells, lambda line: None)
    file.write_text("{")
    with refused("screen-row-damaged", UsageError, naming=file):
        run_cells(mine, cells, lambda line: None)
    del stored["cell"]["recipe"]["train"]["flip"]  # a row from before an option existed
    file.write_text(json.dumps(stored))
    assert len(run_cells(mine, cells, lambda line: None)) == 3


def test_rows_of_two_bases_are_refused(kept: Any) -> None:
    mine, cells = kept
    file = file_of(mine, cells[2])
    file.write_text(json.dumps({**json.loads(file.read_text()), "base": "0" * 16}))
    with refused("screen-base-differs", UsageError, naming=mine.folder):
        run_cells(mine, cells, lambda line: None)
    for other in cells[:2]:
        file_of(mine, other).unlink()
    with refused("screen-base-differs", UsageError, naming=mine.folder):
        run_cells(mine, cells, lambda line: None)
    assert not file_of(mine, cells[0]).exists()


# --- the page


def rows(name: str, likes: list[float], sound: list[float]) -> list[dict[str, Any]]:
    return [
        {"cell": name, "method": name, "seed": seed, "status": "trained", "like": like, "sound": share}
        for seed, (like, share) in enumerate(zip(likes, sound, strict=True))
    ]


GONE = [{"cell": "gone", "method": "gone", "seed": seed, "status": "diverged: at step 3"} for seed in range(3)]


def test_shares_of_the_headroom_by_hand() -> None:
    marks = rows("base", [0.1, 0.2], [1, 1]) + rows("asked", [0.9, 1.0], [1, 1])
    found = with_shares([*marks, *rows("a", [0.5, 0.2], [1, 1]), GONE[0]])
    assert [row.get(SHARE) for row in found] == [0, 0, 1, 1, pytest.approx(0.5), 0, None]


def test_better_by_hand() -> None:
    low = rows("low", [0.30, 0.31, 0.32], [0.95, 0.95, 0.95])
    high = rows("high", [0.40, 0.42, 0.44], [0.94, 0.94, 0.94])
    broken = rows("broken", [0.40, 0.42, 0.44], [0.90, 0.90, 0.90])
    assert better(high, low) is True and better(low, high) is False  # a hundredth less sound is within the margin
    assert better(broken, low) is False and standing(broken, low) == "gains, at a cost"
    assert standing(low, broken) == "loses, and is sounder"
    assert standing(high, GONE) == "better" and standing(GONE, high) == "worse"
    assert standing(GONE, GONE) == standing(high[:1], low[:1]) == "cannot be told"
    both = {"a": with_shares([*rows("base", [0, 0, 0], [1] * 3), *rows("asked", [1, 1, 1], [1] * 3), *high])[6:]}
    both["b"] = [row | {SHARE: row["like"]} for row in low]
    (pair,) = pairs_table(both)
    assert (pair["verdict"], pair["seeds"], pair["sound"][:6]) == ("better", 3, "-0.010")


def test_the_claim_about_betas_follows_the_rows() -> None:
    low, high = ([row | {SHARE: row["like"]} for row in rows("x", likes, [1] * 3)] for likes in ([3, 4, 5], [1, 2, 2]))
    assert claim_betas({"kto-60": low, "paper": high}).verdict == "holds"
    assert claim_betas({"kto-60": high, "paper": low}).verdict == "does not hold"
    assert claim_betas({"kto-60": low[:1], "paper": high[:1]}).verdict == "cannot be told"


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("quick") / "out"
    order = Order(folder=folder, quick=True, only=("paper", "kto-60", "lead"))
    perform("screen", order, quiet, lambda line: None)
    yield folder


@pytest.mark.slow
def test_a_quick_run_writes_its_page_and_a_second_one_the_same(quick_run: Path) -> None:
    page = (quick_run / "page.md").read_text()
    first = {name: (quick_run / name).read_bytes() for name in ("page.md", "table.csv", "figure.png")}
    order = Order(folder=quick_run, quick=True, only=("paper", "kto-60", "lead"))
    perform("screen", order, quiet, lambda line: None)
    assert {name: (quick_run / name).read_bytes() for name in first} == first
    assert page.index("A quick run") < page.index("A screen for ideas, no judge of settings") < page.index("## Claims")
    assert page.count("→ **") == 4  # F, betas, two methods against the paper's
    assert len(list(quick_run.glob("runs/*/row.json"))) == 10  # two seeds of three methods and two marks


@pytest.mark.slow
def test_a_quick_run_of_all_methods(tmp_path: Path) -> None:
    page = perform("screen", Order(folder=tmp_path / "out", quick=True, seeds=1), quiet, lambda line: None).read_text()
    assert all(f"| {name} |" in page for name in BY_DEFAULT)
