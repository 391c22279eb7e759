"""The page of a run: read as a browser would, and checked for what people need to find on it."""

import json
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from made_run import NAMES, SIMULATED, VERDICT, write_run
from parsed_page import Page
from PIL import Image

import thumbtune
from thumbtune.errors import ThumbtuneError
from thumbtune.report.page import write_page
from thumbtune.report.templates import MINUS, _number, beside, change

HOSTILE = "<script>alert(1)</script>"


def small_run(folder: Path) -> Path:
    return write_run(folder / "inky", [*(f"a {name}" for name in NAMES[:3]), HOSTILE], [0, 1, 2])


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A small finished run; one prompt is hostile."""
    return small_run(tmp_path)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    """The page of that run as it is, written once."""
    return written(small_run(tmp_path_factory.mktemp("usual")))


def written(folder: Path) -> tuple[str, Page]:
    """The page of a run, as text and parsed; every tag that opens must close."""
    text = write_page(folder).read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    return text, page


@pytest.mark.slow
def test_the_verdict_comes_first_with_its_gates(usual: tuple[str, Page]) -> None:
    _, page = usual
    assert page.text.index(VERDICT) < page.text.index("The whole interval") < page.text.index("Each pair has one")
    marks = [item["class"] for item in page.named("li") if item.get("class") in ("passed", "failed")]
    assert marks == ["passed", "failed"]
    assert "faithfulness failed." in page.text


def test_a_simulated_person_is_called_simulated_before_anything_is_shown(usual: tuple[str, Page]) -> None:
    _, page = usual
    assert page.text.index("The person in this run is simulated:") < page.text.index("Each pair has one")
    assert SIMULATED in page.text


@pytest.mark.slow
def test_a_real_person_is_not_called_simulated(run_folder: Path) -> None:
    likes = json.loads((run_folder / "likes.json").read_text())
    (run_folder / "likes.json").write_text(json.dumps(likes | {"simulated": None}))
    _, page = written(run_folder)
    assert "simulated" not in page.text


def test_every_image_is_inside_the_page_and_described(usual: tuple[str, Page]) -> None:
    _, page = usual
    images = page.named("img")
    pairs = 4 * 3  # prompts x seeds, all in "Every prompt"; the grids show 6 gains, 6 of a sample, and every loss
    losses = len([tag for tag in page.named("button")]) - 12
    assert 0 <= losses <= 6 and len(images) == 2 * (pairs + 12 + losses) + 2 + 24  # the stage, and the examples
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in images)
    assert all(image["alt"] for image in images)
    assert "the bundled model: a cat, seed 2" in [image["alt"] for image in images]
    assert len(page.named("article")) == 4


def test_nothing_is_loaded_from_elsewhere(usual: tuple[str, Page]) -> None:
    text, page = usual
    assert not re.search(r"https?://", text)
    assert len(page.named("script")) == 1 and not page.named("link") + page.named("iframe")
    links = [value or "" for _, tag in page.tags for key, value in tag.items() if key in ("src", "href", "xlink:href")]
    assert all(link.startswith(("data:", "#")) for link in links)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", text))


def test_prompts_are_text_and_never_markup(usual: tuple[str, Page]) -> None:
    text, page = usual
    assert HOSTILE not in text
    assert HOSTILE in page.text
    assert f"the bundled model: {HOSTILE}, seed 0" in [image["alt"] for image in page.named("img")]


@pytest.mark.slow
def test_score_names_are_text_and_never_markup_in_charts(run_folder: Path) -> None:
    for name in ("result.json", "scores.csv"):
        path = run_folder / "evaluation" / name
        path.write_text(path.read_text().replace("line art", "<script>$x$</script>"))
    (run_folder / "evaluation" / "SHA256SUMS").unlink(missing_ok=True)
    text, _ = written(run_folder)
    assert text.count("<script>") == 1, "ours"


def test_charts_are_described_take_the_pages_colours_and_share_no_id(usual: tuple[str, Page]) -> None:
    text, page = usual
    charts = page.named("svg")
    assert len(charts) == 12
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert "line art 100" in (charts[0]["aria-label"] or "")
    ids = [tag["id"] for _, tag in page.tags if "id" in tag]
    assert len(ids) == len(set(ids))
    assert not re.search(r"(?:fill|stroke): #", text)


def test_what_a_training_did_not_measure_has_no_chart(run_folder: Path) -> None:
    rows = [json.loads(line) for line in (run_folder / "steps.jsonl").read_text().splitlines()]
    for row in rows:
        row |= {"beta": None, "gain": None, "saturation": None, "agreement": None, "synced": False}
    (run_folder / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, page = written(run_folder)
    assert len(page.named("svg")) == 8  # win-rates, two distributions, and five of the training
    assert "Median gain" not in page.text and "copied into the reference" not in page.text
    for words in (
        "dashed reference_point line",
        "reference_point from ",
        "disliked ones lose",
    ):  # sft and csft have neither
        assert words not in page.text
    assert "For sft and csft it is the denoising error" in page.text


def test_every_chart_of_the_training_has_a_sentence(usual: tuple[str, Page]) -> None:
    text, page = usual
    assert len(re.findall(r"</svg>\s*<figcaption>[^<]{20,}\.</figcaption>", text)) == 12
    for name in ("Agreement with held-out likes", "Median gain", "Saturated images", "Beta", "Learning rate"):
        assert f"<h3>{name}</h3>" in text
    assert "the policy was copied into the reference 1 time, which" in page.text


def ticks_of(text: str, name: str) -> list[float]:
    """The numbers beside the axis of a chart."""
    axis = re.split(r'id="[\w-]*ytick_1"', re.search(rf"<h3>{name}</h3>(.*?)</svg>", text, re.DOTALL)[1])[1]  # type: ignore[index]
    return [float(tick.replace("\N{MINUS SIGN}", "-")) for tick in re.findall(r"<text[^>]*>([^<]+)</text>", axis)]


@pytest.mark.slow
@pytest.mark.parametrize("value", [1.0, 0.0, 0.97, 0.5])
def test_the_axis_of_a_share_ends_where_shares_do(run_folder: Path, value: float) -> None:
    """A single agreement of 1 had an axis from 0.96 to 1.04."""
    rows = [json.loads(line) for line in (run_folder / "steps.jsonl").read_text().splitlines()]
    for row in rows:
        row |= {"agreement": value if row is rows[-1] else None, "saturation": value}
    (run_folder / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text, _ = written(run_folder)
    for name in ("Agreement with held-out likes", "Saturated images"):
        ticks = ticks_of(text, name)
        assert len(ticks) > 1 and min(ticks) >= 0 and max(ticks) <= 1
        assert min(ticks) - 0.1 <= value <= max(ticks) + 0.1


@pytest.mark.slow
def test_images_that_hardly_differ_are_told_under_the_verdict(run_folder: Path) -> None:
    result = run_folder / "evaluation" / "result.json"
    told = "The images of b hardly differ from those of a."
    result.write_text(json.dumps(json.loads(result.read_text()) | {"hardly_differ": told}))
    _, page = written(run_folder)
    assert page.text.index(VERDICT) < page.text.index(told) < page.text.index("Each pair has one")


@pytest.mark.slow
def test_held_out_likes_that_were_asked_alone_have_a_chart_in_place_of_agreement(run_folder: Path) -> None:
    rows = [json.loads(line) for line in (run_folder / "steps.jsonl").read_text().splitlines()]
    for row in rows:
        row |= {"agreement": None, "held_out_liked": row["agreement"] and row["agreement"] / 10}
    (run_folder / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text, _ = written(run_folder)
    assert "<h3>Held-out likes</h3>" in text and "<h3>Agreement with held-out likes</h3>" not in text
    assert len(re.findall(r"</svg>\s*<figcaption>[^<]{20,}\.</figcaption>", text)) == 12


@pytest.mark.slow
def test_a_training_that_a_guard_stopped_says_so_and_notes_on_the_likes_are_shown(run_folder: Path) -> None:
    sentence = "Training stopped at step 30: something; try another thing; lora/ holds the best checkpoint."
    (run_folder / "stopped.json").write_text(json.dumps({"step": 30, "best": 20, "sentence": sentence}))
    likes = json.loads((run_folder / "likes.json").read_text())
    (run_folder / "likes.json").write_text(json.dumps(likes | {"notes": ["3 of 9 images are <odd>."]}))
    _, page = written(run_folder)
    assert "A guard stopped this training at step 30, and its result is that of step 20." in page.text
    assert sentence in page.text and "3 of 9 images are <odd>." in page.text


def test_headings_and_tables_are_in_order(usual: tuple[str, Page]) -> None:
    _, page = usual
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert len(page.named("table")) == len(page.named("caption"))


def test_numbers_settings_and_the_command_are_there(usual: tuple[str, Page]) -> None:
    _, page = usual
    for words in (
        "objective.beta", "5000", "hardware.gpu", "thumbtune train RUN/recipe.yaml",
        "load_lora_weights('RUN/lora.safetensors')",
        "from_pretrained('bundled', dtype=torch.float32)", "4 · 0 · 0",
        "86%", "240 likes and 260 dislikes", "40 steps in 36 s", "1 image was left out of its step",
    ):  # fmt: skip
        assert words in page.text, words


@pytest.mark.slow
@pytest.mark.parametrize("place", ["mine", "runs/mine"])
def test_the_example_finds_the_lora_from_where_the_run_was_started(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    shutil.move(run_folder, tmp_path / place)
    monkeypatch.chdir(tmp_path)
    _, page = written(Path(place))
    found = re.search(r"load_lora_weights\('([^']*)'\)", page.text)
    assert found is not None and found[1] == f"{place}/lora.safetensors" and Path(found[1]).is_file()


@pytest.mark.slow
def test_the_example_of_the_model_card_is_that_of_the_page(run_folder: Path) -> None:
    (run_folder / "lora").mkdir()
    code = 'pipeline = DiffusionPipeline.from_pretrained("a/b")\npipeline("a <cat>", num_inference_steps=7)\n'
    (run_folder / "lora" / "README.md").write_text(f"# card\n\n```python\nno example\n```\n\n```python\n{code}```\n")
    _, page = written(run_folder)
    assert " ".join(code.split()) in page.text and "RUN/lora" in page.text and "no example" not in page.text
    assert "from_pretrained('bundled'" not in page.text


@pytest.mark.slow
def test_the_settings_are_those_of_the_evaluation_that_is_shown(run_folder: Path) -> None:
    verdict = run_folder / "evaluation" / "verdict.json"
    content = json.loads(verdict.read_text()) | {
        "settings": ["evaluate.scorers=mine.py:dark", "gates.min_diversity=0.2"]
    }
    verdict.write_text(json.dumps(content))
    for sums in run_folder.rglob("SHA256SUMS"):
        sums.unlink()
    _, page = written(run_folder)
    assert "evaluate.scorers mine.py:dark" in page.text and "gates.min_diversity 0.2" in page.text
    prompts = json.loads((run_folder / "evaluation" / "duel.json").read_text())["prompts"]["name"]
    assert f"evaluate.prompts {prompts}" in page.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "loaded"),
    [
        ("tiny-emoji-64", 'from_pretrained(files("thumbtune") / "bundled" / "tiny-emoji-64", dtype'),
        ("/home/ann/models/mine", "from_pretrained('mine', dtype"),
        ("name/of-the-hub", "from_pretrained('name/of-the-hub', dtype"),
    ],
)
def test_no_page_shows_a_folder_of_this_machine(run_folder: Path, model: str, loaded: str) -> None:
    (run_folder / "SHA256SUMS").unlink(missing_ok=True)
    (run_folder / "recipe.yaml").write_text(f"model: {model}\n")
    _, page = written(run_folder)
    assert loaded in page.text and str(Path(thumbtune.__file__).parent) not in page.text
    assert ("from importlib.resources import files" in page.text) == (model == "tiny-emoji-64")


def test_a_run_with_only_a_recipe_says_what_is_missing(run_folder: Path) -> None:
    for name in ("likes.json", "steps.jsonl", "environment.json", "lora.safetensors"):
        (run_folder / name).unlink()
    shutil.rmtree(run_folder / "evaluation")
    _, page = written(run_folder)
    assert "Not evaluated yet" in page.text
    for name in ("evaluation/result.json", "likes.json", "steps.jsonl", "environment.json"):
        assert f"{name} is missing" in page.text
    assert page.named("img") == []


@pytest.mark.slow
def test_missing_and_broken_images_are_counted(run_folder: Path) -> None:
    (run_folder / "evaluation" / "b" / "000-1.png").unlink()
    (run_folder / "evaluation" / "a" / "001-0.png").write_bytes(b"not an image")
    _, page = written(run_folder)
    assert "2 images could not be read" in page.text
    assert page.text.count("image missing") >= 2


@pytest.mark.slow
def test_images_from_outside_the_run_are_not_shown(run_folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(run_folder.parent / "private.png")
    likes = json.loads((run_folder / "likes.json").read_text())
    likes["examples"] = {"liked": ["../private.png", str(run_folder.parent / "private.png")], "disliked": []}
    (run_folder / "likes.json").write_text(json.dumps(likes))
    _, page = written(run_folder)
    assert page.text.count("contains no example images.") == 2


@pytest.mark.slow
def test_large_images_are_reduced(run_folder: Path) -> None:
    noise = Image.effect_noise((1024, 768), 80).convert("RGB")
    noise.save(run_folder / "evaluation" / "b" / "000-0.png")
    text, page = written(run_folder)
    assert any((image["src"] or "").startswith("data:image/jpeg") for image in page.named("img"))
    assert len(text) < 500_000


@pytest.mark.slow
def test_the_page_of_a_full_evaluation_stays_below_three_megabytes(tmp_path: Path) -> None:
    prompts = [f"{size} {name}" for size in ("a", "a small", "an old") for name in NAMES]
    page = write_page(write_run(tmp_path / "full", prompts, [0, 1, 2, 3], count=1000))
    assert page.stat().st_size < 3_000_000


@pytest.mark.slow
def test_a_crash_mid_line_keeps_the_steps_before(run_folder: Path) -> None:
    with (run_folder / "steps.jsonl").open("a") as steps:
        steps.write('{"step": 40, "lo')
    _, page = written(run_folder)
    assert "40 steps in" in page.text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("recipe.yaml", None),
        ("recipe.yaml", "- only\n- a list\n"),
        ("recipe.yaml", "a: [1\n"),
        ("likes.json", "{"),
        ("environment.json", "[]"),
        ("steps.jsonl", '{"step": 0\n{"step": 1}\n'),
        ("evaluation/result.json", "{}"),
        ("evaluation/duel.json", "[]"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(run_folder: Path, name: str, content: str | None) -> None:
    path = run_folder / name
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(ThumbtuneError) as refusal:
        write_page(run_folder)
    assert str(run_folder) in str(refusal.value)
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)
    assert not (run_folder / "report.html").exists()


@pytest.mark.slow
def test_matplotlib_is_not_loaded_until_a_chart_is_drawn() -> None:
    code = "import sys, thumbtune.report.page; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.18512, "0.185"),
        (5.2814, "5.28"),
        (-0.0324, "\N{MINUS SIGN}0.0324"),
        (1234.6, "1235"),
        (2.5e-9, "2.50e\N{MINUS SIGN}09"),
        (0.99996, "1.000"),
    ],
)
def test_numbers_keep_three_digits(value: float, text: str) -> None:
    assert _number(value) == text


def test_a_number_has_the_decimals_of_the_larger_one_beside_it() -> None:
    assert [beside(6.44e-6, 0.953), beside(0.953, 6.44e-6)] == ["0.000", "0.953"]
    assert [beside(-1e-9, 5.28), beside(0.0, 0.0), beside(2e-9, 1e-9)] == ["0.00", "0", f"2.00e{MINUS}09"]
    row = {"before": {"mean": 0.975}, "after": {"mean": 0.97}, "change": {"mean": -0.0049, "low": -0.02, "high": 6e-6}}
    assert [change(row, name) for name in row["change"]] == [f"{MINUS}0.0049", f"{MINUS}0.0200", "+0.0000"]
    tiny = {"before": {"mean": 0.9}, "after": {"mean": 0.9}, "change": {"mean": 1e-7, "low": -1e-6, "high": 6.4e-6}}
    assert [change(tiny, name) for name in tiny["change"]] == ["+0.0000"] * 3
