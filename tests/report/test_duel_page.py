"""The page of a duel: one file, verdict first, what gained and what lost, and the command that repeats it."""

import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, needs_chromium
from parsed_page import Page
from PIL import Image
from refusals import refused
from typer.testing import CliRunner

from thumbtune.cli.app import app
from thumbtune.duels.duel import A, B, run_duel
from thumbtune.duels.gallery import GalleryPlan
from thumbtune.errors import UsageError
from thumbtune.evaluation.prompts import PromptSet
from thumbtune.report.comparison import headline
from thumbtune.report.page import write_page

HOSTILE = "<script>alert(1)</script> & 'quotes' \"double\""
PROMPTS = PromptSet(
    "words.txt", ("a cat", HOSTILE, *(f"thing {i}" for i in range(14))), ("animals", *["things"] * 15), "words.txt"
)


def quiet(items: Iterable[Any], text: str) -> Iterable[Any]:
    return items


@pytest.fixture
def order(tmp_path: Path) -> GalleryPlan:
    """`b` is redder in all but the last prompt; the image of prompt i gains 10 i."""
    for side, more in (("grey", 0), ("redder", 1)):
        (tmp_path / side).mkdir()
        for i in range(16):
            red = 100 + more * (10 * i if i < 15 else -50)
            Image.new("RGB", (40, 40), (red, 100, 100)).save(tmp_path / side / f"{i}.png")
    return GalleryPlan(
        sides={A: str(tmp_path / "grey"), B: str(tmp_path / "redder")},
        prompts=PROMPTS,
        out=tmp_path / "duel",
        scorers=("red", "line-art"),
        per_prompt=1,
        cache=None,
    )


@pytest.fixture
def folder(order: GalleryPlan) -> Path:
    run_duel(order, quiet)
    return order.out


def page_of(folder: Path) -> Page:
    return Page(write_page(folder).read_text())


@pytest.mark.slow
def test_the_verdict_comes_first(folder: Path) -> None:
    page = page_of(folder)
    assert page.text.index("is better by red") < page.text.index("Win-rates and intervals")
    assert "1 of 2 scorers cannot tell" in page.text
    assert "The gates use the wider of two intervals" not in page.text, "there is no verdict yet"
    gates = [
        {"name": "gain in red", "answer": "passed", "sentence": "It won."},
        {"name": "faithfulness", "passed": False, "enough": True, "sentence": "It forgot."},  # as form 1 has it
        {"name": "diversity", "answer": "open", "sentence": "Who knows."},
    ]
    said = {"sentence": "Do not ship: faithfulness did not pass.", "gates": gates}
    (folder / "verdict.json").write_text(json.dumps(said))
    page = page_of(folder)
    assert page.text.index("Do not ship") < page.text.index("It forgot.") < page.text.index("Win-rates and intervals")
    assert "The gates use the wider of two intervals" in page.text
    assert [one["class"] for one in page.named("li")][:3] == ["passed", "failed", "open"]


def test_largest_gains_and_losses_are_in_order(folder: Path) -> None:
    page = page_of(folder)
    told = [one["data-caption"] for one in page.named("button")]
    gains = [f"thing {i}" for i in (12, 11, 10, 9, 8, 7)]  # prompts 14, 13, ... of 16
    assert [words.split(",")[0] for words in told[:6] if words] == gains
    assert str(told[6]).startswith("thing 13,")  # the one that lost
    assert len(told) == 6 + 1 + 6
    assert len(page.named("article")) == 16, "every prompt is there, too"


def test_nothing_is_loaded_from_elsewhere(folder: Path) -> None:
    text = write_page(folder).read_text()
    page = Page(text)
    sources = [
        one.get("src") or one.get("href") or "" for tag in ("img", "script", "link", "a") for one in page.named(tag)
    ]
    assert sources
    assert all(source == "" or source.startswith("data:image/") for source in sources)
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    assert "default-src 'none'" in text


def test_prompts_are_text_and_never_markup(folder: Path) -> None:
    text = write_page(folder).read_text()
    page = Page(text)
    assert len(page.named("script")) == 1
    assert HOSTILE not in text and HOSTILE in page.text


def test_every_image_is_described_and_charts_share_no_id(folder: Path) -> None:
    text = write_page(folder).read_text()
    assert all(one.get("alt") for one in Page(text).named("img"))
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_the_command_is_the_one_that_was_typed(folder: Path, order: GalleryPlan) -> None:
    code = re.search(r"<pre><code>(thumbtune duel.*?)</code>", write_page(folder).read_text(), re.DOTALL)
    assert code is not None
    words = shlex.split(code[1].replace("&#39;", "'"))
    assert words[2:4] == [order.sides[A], order.sides[B]]
    assert words[words.index("--scorers") + 1] == "red,line-art"
    assert words[words.index("--prompts") + 1] == "words.txt"
    assert not {"--weights", "--offline", "--paper-ci"} & set(words)


def test_a_lost_image_is_named_and_none_from_outside_is_shown(folder: Path, order: GalleryPlan) -> None:
    for image in (*(folder / A).glob("*.png"), *(folder / B).glob("*.png")):
        image.write_bytes(b"broken")
    page = page_of(folder)
    assert "images could not be read" in page.text
    assert not [one for one in page.named("img") if str(one.get("src")).startswith("data:")]
    (folder / "report.html").unlink()
    table = (folder / "images.csv").read_text()
    (folder / "images.csv").write_text(table.replace("a/0", f"{order.sides[A]}/0"))
    with refused("duel-unreadable", naming=[str(order.sides[A]), "lies outside"]):
        write_page(folder)
    assert not (folder / "report.html").exists()


def test_scores_that_failed_are_named(order: GalleryPlan, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def picky(images, prompts):\n"
        "    if any(prompt == 'a cat' for prompt in prompts):\n"
        "        raise ValueError('no cats')\n"
        "    return [0.0 for image in images]\n"
    )
    run_duel(replace(order, scorers=(f"{tmp_path / 'mine.py'}:picky",)), quiet)
    page = page_of(order.out)
    assert "has no score for 2 images; the first is a/000-" in page.text
    assert "no cats" in page.text
    assert "not enough evidence to tell" in page.text


def test_what_is_no_duel_or_broken_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_page(tmp_path)
    (folder / "result.json").write_text('{"standings": []}')
    with refused("duel-unreadable", naming=[folder, "result.json"]):
        write_page(folder)
    (folder / "result.json").write_text("{")
    with refused("duel-unreadable", naming=folder):
        write_page(folder)


def row(scorer: str, low: float, high: float) -> dict[str, Any]:
    reach = {"low": low, "high": high}
    return {
        **{"scorer": scorer, "style": None, "estimand": "median", "prompts": 20, "distinct": 20},
        **{"bootstrap": reach, "wilson": reach, "holm": 0.01, "rate": (low + high) / 2},
    }


@pytest.mark.parametrize(
    ("reaches", "expected"),
    [
        ([(0.6, 0.8)], "new is better by s0."),
        ([(0.6, 0.8), (0.2, 0.4)], "new is better by s0; old is better by s1."),
        (
            [(0.4, 0.6), (0.45, 0.55), (0.4, 0.7)],
            "both are equally good by s1; 2 of 3 scorers cannot tell.",
        ),
        ([(0.4, 0.6), (0.4, 0.7)], "These 20 prompts are not enough evidence to tell new from old by s0 and s1."),
        ([(0.6, 0.8), (0.7, 0.8), (0.4, 0.6)], "new is better by s0 and s1; 1 of 3 scorers cannot tell."),
        ([], "No prompt has scores for both models."),
    ],
)
def test_a_headline_counts_scorers(reaches: list[tuple[float, float]], expected: str) -> None:
    rows = [row(f"s{i}", *reach) for i, reach in enumerate(reaches)]
    assert headline({"standings": rows, "a": "old", "b": "new"}) == expected


@pytest.mark.parametrize(
    ("prompts", "told"),
    [
        (1, "1 prompt is too few to tell"),
        (2, "2 prompts are too few to tell"),
        (9, "9 prompts are too few"),
        (10, "These 10"),
    ],
)
def test_a_headline_of_too_few_prompts_claims_no_equality(prompts: int, told: str) -> None:
    rows = [row("s0", 0.4, 1.0) | {"prompts": prompts, "distinct": prompts, "holm": 0.5, "rate": 1.0}]
    sentence = headline({"standings": rows, "a": "old", "b": "new"})
    assert sentence.startswith(told) and "no difference" not in sentence


def test_the_command_line_draws_scores_and_writes_the_page(order: GalleryPlan, tmp_path: Path) -> None:
    (tmp_path / "words.csv").write_text("prompt,style\n" + "".join(f"thing {i},things\n" for i in range(16)))
    words = ["duel", order.sides[A], order.sides[B], "--prompts", str(tmp_path / "words.csv"), "--scorers", "red"]
    ran = CliRunner().invoke(app, [*words, "--per-prompt", "1", "--out", str(tmp_path / "out")])
    assert ran.exit_code == 0, ran.output
    assert "so redder is better by this scorer" in " ".join(ran.output.split()).replace(f"{tmp_path.name}/", "")
    assert (tmp_path / "out" / "report.html").is_file()
    (tmp_path / "out" / "report.html").unlink()
    assert CliRunner().invoke(app, ["report", str(tmp_path / "out")]).exit_code == 0
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("width", [390, 1100])
def test_a_browser_shows_it_without_a_complaint_and_the_slider_moves(folder: Path, tmp_path: Path, width: int) -> None:
    """Nor does it ask anybody for anything, nor is it wider than the window."""
    address = write_page(folder).as_uri()
    with Browser(tmp_path / "profile") as browser:
        page = browser.page(width, 800)
        page.open(address)
        page.value("cut.value = 80; cut.dispatchEvent(new Event('input'))")
        page.value("document.querySelectorAll('.choice')[6].click()")
        assert page.value("over.style.getPropertyValue('--cut')") == "80%"
        assert re.fullmatch(r"thing 13, seed \d+", page.value("document.getElementById('stage-caption').textContent"))
        assert [one for one in page.requests if not one.startswith("data:")] == [address]
        assert page.value("[innerWidth, document.documentElement.scrollWidth <= innerWidth]") == [width, True]
        assert page.complaints == []
