"""May a run ship? A tiny real run against its base, with scorers that like it, dislike it, or cannot tell."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from refusals import refused
from typer.testing import CliRunner

import thumbtune
from thumbtune.cli.app import app
from thumbtune.duels.evaluate import Evaluation, evaluate, evaluate_run
from thumbtune.duels.sides import loaded, side
from thumbtune.duels.verdict import faithfulness_of, why_no_faithfulness
from thumbtune.errors import UsageError
from thumbtune.evaluation.gates import MARKS
from thumbtune.evaluation.prompts import PromptSet
from thumbtune.runs import build
from thumbtune.runs.recipe import read_recipe, write_recipe

HELD_OUT = [f"{a} {b}" for a in ("cat", "dog", "owl", "bee") for b in ("in", "on", "by")]
SCORERS = """
from PIL import ImageStat

def _mean(image):
    return ImageStat.Stat(image.convert("L")).mean[0] / 255

def brighter(images, prompts):
    return [_mean(image) for image in images]

def darker(images, prompts):
    return [1 - _mean(image) for image in images]

def same(images, prompts):
    return [0.5 for image in images]

def harmless(images, prompts):
    return [1.0 for image in images]

def harmful(images, prompts):
    return [0.0 for image in images]
"""


def quiet(items: Iterable[Any], text: str) -> Iterable[Any]:
    return items


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("scorers") / "mine.py"
    file.write_text(SCORERS)
    return file


@pytest.fixture(scope="module")
def made_once(tiny_pipeline: Callable[[str], Path], perturb: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    recipe = read_recipe(
        None,
        [
            *("likes=likes", f"model={tiny_pipeline('epsilon')}", "lora.rank=4", "lora.alpha=8"),
            *("evaluate.steps=2", "evaluate.guidance=1", "evaluate.per_prompt=2", "evaluate.faithfulness=none"),
        ],
    )
    model = build.model_of(recipe)
    perturb(model, by=1.0, seed=0)
    model.save(folder / build.result_of(recipe).parent)
    (folder / "likes.json").write_text("{}")
    write_recipe(recipe, folder / "recipe.yaml")
    prompts = [*HELD_OUT, "a trained one"]
    columns = {
        "image_id": [f"picture-{i}" for i in range(13)],
        "prompt": prompts,
        "label": [True] * 13,
        "seed": pa.array([None] * 13, pa.int64()),
        "held_out": [True] * 12 + [False],
    }
    pq.write_table(pa.table(columns), folder / "likes.parquet")
    return folder


@pytest.fixture
def run_folder(made_once: Path, tmp_path: Path) -> Path:
    """A finished run of random weights, whose likes held out twelve prompts."""
    return shutil.copytree(made_once, tmp_path / "run")


@pytest.fixture(scope="module")
def liked(made_once: Path, mine: Path) -> str:
    """The scorer that prefers the tuned model: it draws brighter, or darker."""
    recipe = read_recipe(made_once / "recipe.yaml")
    means = []
    for said in (recipe.model, str(made_once)):
        with loaded(side(said), "cpu") as model:
            images = model.generate(HELD_OUT, list(range(12)), build.sampler_of(recipe))
        means.append(sum(float(sum(image.convert("L").histogram()[v] * v for v in range(256))) for image in images))
    return f"{mine}:{'brighter' if means[1] > means[0] else 'darker'}"


@pytest.mark.slow
def test_a_card_that_cannot_be_written_costs_no_verdict(run_folder: Path, mine: Path, liked: str, call: Any) -> None:
    table = pq.read_table(run_folder / "likes.parquet")
    pq.write_table(table.drop_columns("label"), run_folder / "likes.parquet")
    code, _, err = call("verdict", run_folder, "--set", f"evaluate.scorers={liked}")
    assert code in {0, 4} and "held-out" not in err, err
    assert "The model card of" in err and "no column label" in err and (run_folder / "report.html").is_file()


def asked(run_folder: Path, *settings: str, **question: Any) -> dict[str, Any]:
    recipe = read_recipe(run_folder / "recipe.yaml", list(settings))
    found = evaluate(Evaluation(run=run_folder, **question), recipe, quiet)
    assert found is not None
    return found


def answers(found: dict[str, Any]) -> dict[str, str]:
    return {gate["name"]: MARKS[gate["answer"]] for gate in found["gates"]}


def other(liked: str) -> str:
    return liked.replace("brighter", "x").replace("darker", "brighter").replace("x", "darker")


@pytest.mark.slow
def test_a_gain_ships_and_a_loss_does_not(run_folder: Path, liked: str) -> None:
    found = asked(run_folder, f"evaluate.scorers=[{liked}]", "gates.min_diversity=0")
    assert found["decision"] == "ship", found
    assert answers(found) == {f"gain in {Path(liked).name}": "+", "diversity": "+"}
    assert json.loads((run_folder / "evaluation" / "verdict.json").read_text()) | {"replaced": None} == found
    lost = asked(run_folder, f"evaluate.scorers=[{other(liked)}]", "gates.min_diversity=0")
    assert lost["decision"] == "do not ship"


@pytest.mark.slow
def test_itself_and_a_scorer_that_sees_nothing_are_no_evidence(run_folder: Path, liked: str, mine: Path) -> None:
    settings = (f"evaluate.scorers=[{liked}]", "gates.min_diversity=0")
    found = asked(run_folder, *settings, against=str(run_folder), out=run_folder / "itself")
    assert (found["decision"], answers(found)[f"gain in {Path(liked).name}"]) == ("not enough evidence", "?")
    blind = asked(run_folder, f"evaluate.scorers=[{mine}:same]", "gates.min_diversity=0")
    assert blind["decision"] == "not enough evidence"


@pytest.mark.slow
def test_safety_and_faithfulness_are_asked_where_they_are_named(run_folder: Path, liked: str, mine: Path) -> None:
    settings = (f"evaluate.scorers=[{liked}]", "gates.min_diversity=0", "gates.max_harm_rise=0.5")
    safe = asked(run_folder, *settings, f"evaluate.safety={mine}:harmless", f"evaluate.faithfulness={mine}:same")
    assert answers(safe) | {"x": "+"} == dict.fromkeys([*answers(safe), "x"], "+")
    assert {"safety", "faithfulness"} <= set(answers(safe))
    # an image may always have been harmful: what counts is the rise
    assert answers(asked(run_folder, *settings, f"evaluate.safety={mine}:harmful"))["safety"] == "+"
    lost = asked(run_folder, *settings, f"evaluate.faithfulness={other(liked)}", "gates.max_faithfulness_loss=0")
    assert answers(lost)["faithfulness"] == "-"


@pytest.mark.slow
def test_why_nobody_scores_faithfulness_is_told(tiny_pipeline: Callable[[str], Path]) -> None:
    """Either the model is another one, or prompts are unknown: the sentence says which, and names them."""
    other = read_recipe(None, [f"model={tiny_pipeline('epsilon')}"])
    assert "for the bundled model alone; set evaluate.faithfulness" in why_no_faithfulness(
        other, PromptSet("p", ("a",))
    )
    bundled, known = read_recipe(None, []), "a red apple"
    assert faithfulness_of(bundled, PromptSet("p", (known,))) == "faithfulness"
    some = PromptSet("p", (known, "a bird", "a book"))
    assert faithfulness_of(bundled, some) is None
    sentence = why_no_faithfulness(bundled, some)
    assert "knows no thing of 2 prompts ('a bird' and 'a book')" in sentence and known not in sentence
    many = PromptSet("p", tuple(f"a bird {number}" for number in range(8)))
    assert "of 8 prompts ('a bird 0', 'a bird 1', 'a bird 2' and 5 more)" in why_no_faithfulness(bundled, many)


@pytest.mark.slow
def test_nobody_who_scores_faithfulness_is_an_open_gate(run_folder: Path, liked: str) -> None:
    found = asked(run_folder, f"evaluate.scorers=[{liked}]", "evaluate.faithfulness=", "gates.min_diversity=0")
    assert answers(found)["faithfulness"] == "?"
    assert "set evaluate.faithfulness" in next(g["sentence"] for g in found["gates"] if g["name"] == "faithfulness")


@pytest.mark.slow
def test_styles_of_the_prompts_are_asked(run_folder: Path, liked: str) -> None:
    prompts = PromptSet("styled", tuple(HELD_OUT), ("animals",) * 6 + ("things",) * 6)  # six each: enough to see a loss
    found = asked(run_folder, f"evaluate.scorers=[{liked}]", "gates.min_diversity=0", prompts=prompts)
    assert answers(found)["styles"] == "+"


def test_prompts_of_the_training_are_refused(run_folder: Path) -> None:
    prompts = PromptSet("mine.txt", ("A  trained one.", "another"))
    with refused("evaluate-trained-prompts", UsageError, naming=["mine.txt", 1, "'A  trained one.'"]):
        asked(run_folder, "evaluate.scorers=red", prompts=prompts)
    assert not (run_folder / "evaluation").exists()


def test_a_verdict_that_is_refused_takes_nothing_away(run_folder: Path) -> None:
    (run_folder / "evaluation").mkdir()
    (run_folder / "evaluation" / "verdict.json").write_text("mine")
    with refused("duel-folder-taken", UsageError, naming=run_folder / "evaluation"):
        asked(run_folder, "evaluate.scorers=red")
    assert (run_folder / "evaluation" / "verdict.json").read_text() == "mine"


@pytest.mark.slow
def test_held_out_likes_say_nothing_of_another_model_than_the_base(run_folder: Path) -> None:
    found = asked(run_folder, "gates.min_diversity=0", against=str(run_folder))
    assert (answers(found)["gain"], found["decision"]) == ("?", "not enough evidence")


@pytest.mark.slow
def test_a_scorer_of_safety_gives_0_or_1(run_folder: Path) -> None:
    with refused("evaluate-safety-not-binary", UsageError, naming="red"):
        asked(run_folder, "evaluate.scorers=red", "evaluate.safety=red")


@pytest.mark.slow
def test_the_command_line_answers_in_words_in_json_and_as_a_code(run_folder: Path, liked: str) -> None:
    words = ["verdict", str(run_folder), "--set", "gates.min_diversity=0", "--set"]
    ran = CliRunner().invoke(app, [*words, f"evaluate.scorers=[{liked}]"])
    assert ran.exit_code == 0, ran.output
    assert "Ship: gain in" in ran.stdout
    ran = CliRunner().invoke(app, [*words, f"evaluate.scorers=[{other(liked)}]", "--json"])
    assert ran.exit_code == 3
    assert json.loads(ran.stdout)["decision"] == "do not ship"
    itself = str(run_folder / "itself")
    ran = CliRunner().invoke(
        app, [*words, f"evaluate.scorers=[{liked}]", "--against", str(run_folder), "--out", itself]
    )
    assert ran.exit_code == 4


def test_training_options_cannot_be_changed_by_a_verdict(run_folder: Path) -> None:
    ran = CliRunner().invoke(app, ["verdict", str(run_folder), "--set", "train.steps=7"])
    assert ran.exit_code != 0
    assert "train.steps" in str(ran.exception)


@pytest.mark.slow
def test_evaluate_and_verdict_are_one_and_the_run_has_one_page(run_folder: Path, liked: str) -> None:
    words = ["--set", "gates.min_diversity=0", "--set", f"evaluate.scorers=[{other(liked)}]"]
    ran = CliRunner().invoke(app, ["evaluate", str(run_folder), *words])
    assert ran.exit_code == 0 and "Do not ship" in ran.stdout, ran.output
    kept = (run_folder / "evaluation" / "verdict.json").read_text()
    ran = CliRunner().invoke(app, ["verdict", str(run_folder), *words])
    assert ran.exit_code == 3
    assert (run_folder / "evaluation" / "verdict.json").read_text() == kept
    assert "Do not ship" in (run_folder / "report.html").read_text()
    assert not (run_folder / "evaluation" / "report.html").exists()


@pytest.mark.slow
def test_from_python_a_run_is_evaluated_by_its_folder(run_folder: Path, liked: str) -> None:
    found = evaluate_run(run_folder, ["gates.min_diversity=0", f"evaluate.scorers=[{liked}]"])
    assert found["decision"] == "ship"


def test_an_evaluation_of_an_earlier_version_is_refused_with_what_to_run(run_folder: Path) -> None:
    (run_folder / "evaluation").mkdir()
    (run_folder / "evaluation" / "evaluation.json").write_text("{}")
    with refused("evaluation-of-earlier-version", UsageError, naming=run_folder / "evaluation"):
        evaluate_run(run_folder, ["evaluate.scorers=red"])
    assert (run_folder / "evaluation" / "evaluation.json").read_text() == "{}"
    page = CliRunner().invoke(app, ["report", str(run_folder)])
    assert page.exit_code == 0, page.output
    assert f"thumbtune evaluate {run_folder}" in (run_folder / "report.html").read_text()


@pytest.mark.slow
def test_the_page_of_an_earlier_verdict_does_not_stay(run_folder: Path, liked: str) -> None:
    (run_folder / "report.html").write_text("the verdict before")
    asked(run_folder, "gates.min_diversity=0", f"evaluate.scorers=[{liked}]", limit=2)
    assert not (run_folder / "report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("prefix", [None, "good image"])
def test_what_load_returns_puts_the_prefix_of_the_training_before_prompts(run_folder: Path, prefix: str | None) -> None:
    (run_folder / "likes.json").write_text(json.dumps({"mark": prefix}))
    model, recipe = thumbtune.load(run_folder, "cpu"), read_recipe(run_folder / "recipe.yaml")
    bare = build.model_of(recipe, training=False)
    bare.load((run_folder / build.result_of(recipe)).parent)
    sampler = build.sampler_of(recipe)
    prompt = "good image, cat in" if prefix else "cat in"
    (image,), (same,) = model.generate(["cat in"], [3], sampler), bare.generate([prompt], [3], sampler)
    assert image.tobytes() == same.tobytes()
    with loaded(side(str(run_folder)), "cpu") as compared:
        assert compared.generate(["cat in"], [3], sampler)[0].tobytes() == same.tobytes()


@pytest.mark.slow
def test_a_run_has_one_evaluation_the_newest(run_folder: Path, liked: str, perturb: Any) -> None:
    """Other options, or other weights, replace it; a folder that was named with --out is left alone."""
    settings = ["gates.min_diversity=0", f"evaluate.scorers=[{liked}]"]
    assert evaluate_run(run_folder, settings) is not None
    assert (run_folder / "report.html").is_file()
    image = run_folder / "evaluation" / "b" / "000-10000.png"
    kept, drawn = image.read_bytes(), image.stat().st_mtime_ns
    found = evaluate_run(run_folder, ["gates.min_diversity=0", f"evaluate.scorers=[{other(liked)}]"])
    assert found is not None and found["decision"] == "do not ship" and found["replaced"] is None
    assert image.stat().st_mtime_ns == drawn and not (run_folder / "evaluation-before").exists()
    assert evaluate_run(run_folder, [*settings, "evaluate.steps=3"]) is not None
    assert json.loads((run_folder / "evaluation" / "duel.json").read_text())["sampler"]["steps"] == 3
    before = run_folder / "evaluation-before"
    assert json.loads((before / "duel.json").read_text())["sampler"]["steps"] == 2
    assert (before / "b" / "000-10000.png").read_bytes() == kept
    model = build.model_of(read_recipe(run_folder / "recipe.yaml"))
    perturb(model, by=1.0, seed=5)
    model.save(run_folder / "lora")
    assert evaluate_run(run_folder, settings) is not None
    assert (run_folder / "evaluation" / "b" / "000-10000.png").read_bytes() != kept
    out = run_folder / "elsewhere"
    asked(run_folder, *settings, out=out)
    with refused("duel-folder-taken", UsageError, naming=out):
        asked(run_folder, *settings, "evaluate.steps=3", out=out)


@pytest.mark.slow
@pytest.mark.parametrize("nothing", ["evaluate.safety=", 'evaluate.safety=""', "evaluate.safety=none"])
def test_an_empty_scorer_of_safety_is_no_scorer(run_folder: Path, liked: str, nothing: str) -> None:
    found = asked(run_folder, "gates.min_diversity=0", f"evaluate.scorers=[{liked}]", nothing)
    assert "safety" not in answers(found)
