"""The demo's simulated people, and the whole story at small size."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from refusals import refused
from safetensors.torch import load_file

from thumbtune.errors import UsageError
from thumbtune.evaluation.duel_folder import read_images
from thumbtune.evaluation.scorers.style_scorers import STYLE_SCORERS
from thumbtune.evaluation.scorers.tastes import TASTES
from thumbtune.experiments.demo import (
    PEOPLE,
    concepts,
    demo,
    get_person,
    likes_line_art,
    likes_red,
    likes_soft_3d,
    prompt_of,
    style_classifier,
)
from thumbtune.training.progress import quiet

ROOT = Path(__file__).parents[2]


def drawing(ink: str) -> Image.Image:
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).ellipse((12, 12, 52, 52), fill=ink)
    return image


def test_the_person_who_likes_line_art_likes_black_ink_and_nothing_else() -> None:
    assert [liked for *_, liked, _ in likes_line_art("a.png", drawing("black"), "a dot", 3)] == [True]
    assert [liked for *_, liked, _ in likes_line_art("a.png", drawing("orange"), "a dot", 3)] == [False]
    assert [liked for *_, liked, _ in likes_line_art("a.png", Image.new("RGB", (64, 64), "white"), "a dot", 3)] == [
        False
    ]


def test_the_person_who_likes_red_likes_the_reddened_copy_and_dislikes_the_original() -> None:
    image = drawing("green")
    labels = list(likes_red("a.png", image, "a dot", 3))
    assert [(name, liked) for name, _, _, liked, _ in labels] == [("red-a.png", True), ("a.png", False)]
    assert np.array_equal(np.asarray(labels[1][1]), np.asarray(image))
    assert TASTES["red"].score(labels[0][1]) > TASTES["red"].score(image) + 0.1


@pytest.mark.parametrize(("odds", "liked"), [(0.1, True), (0.0, False), (-3.0, False)])
def test_the_person_who_likes_soft_3d_goes_by_the_small_network(
    odds: float, liked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def log_odds(images: list[Image.Image], style: str, network: str) -> torch.Tensor:
        assert (len(images), style, network) == (1, "soft 3d", "small")
        return torch.tensor([odds])

    monkeypatch.setattr(style_classifier(), "log_odds", log_odds)
    assert [liked for *_, liked, _ in likes_soft_3d("a.png", drawing("red"), "a dot", 3)] == [liked]


def test_every_person_is_judged_by_a_bundled_scorer_and_another_taste_is_refused() -> None:
    assert PEOPLE.keys() <= {*TASTES, *STYLE_SCORERS}
    with refused("demo-no-taste", UsageError, naming=["'../red'", "line-art, red, style-soft-3d"]):
        get_person("../red")


@pytest.mark.parametrize(("concept", "prompt"), [("octopus", "an octopus"), ("red apple", "a red apple")])
def test_prompts_have_their_article(concept: str, prompt: str) -> None:
    assert prompt_of(concept) == prompt


@pytest.mark.slow
def test_the_whole_demo_at_small_size_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ["train.steps=3", "train.batch=4", "train.micro_batch=4", "evaluate.per_prompt=1", "evaluate.steps=2"]
    monkeypatch.setattr("thumbtune.experiments.demo.PER_PROMPT", 2)
    lines: list[str] = []
    page = demo(tmp_path / "red", "red", 0, quiet, lines.append, small)
    assert "simulated" in page.read_text()
    images = read_images(tmp_path / "red" / "run" / "evaluation")
    prompts = [row["words"] for row in images if row["side"] == "b"]
    assert prompts == [prompt_of(concept) for concept in concepts()["unrated"]]
    rated = {prompt_of(concept) for concept in concepts()["rated"]}
    assert not rated & set(prompts)
    lora = load_file(tmp_path / "red" / "run" / "lora" / "kohya.safetensors")

    run, shown = tmp_path / "red" / "run", tmp_path / "shown.png"
    subprocess.run([sys.executable, "-m", "benchmarks.picture", run, shown], cwd=ROOT, check=True)
    with Image.open(shown) as picture:  # two bands of twelve prompts, before above after
        tile = np.asarray(picture.crop((66, 16, 66 + 76, 16 + 76)).convert("RGB"), np.float64)
    with Image.open(run / "evaluation" / "a" / "000-1000000.png") as first:
        enlarged = np.asarray(first.convert("RGB").resize((76, 76), Image.Resampling.LANCZOS), np.float64)
    assert np.array_equal(tile, enlarged)

    again = demo(tmp_path / "red", "red", 0, quiet, lines.append, small)
    assert again == page
    same = load_file(tmp_path / "red" / "run" / "lora" / "kohya.safetensors")
    assert all(torch.equal(lora[key], same[key]) for key in lora)

    before = (tmp_path / "red" / "run" / "likes.json").read_text()
    with pytest.raises(UsageError, match=r"train\.steps"):
        demo(tmp_path / "red", "red", 0, quiet, lines.append, [*small, "train.steps=4"])
    assert (tmp_path / "red" / "run" / "likes.json").read_text() == before
