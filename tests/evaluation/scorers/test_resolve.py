"""Names of scorers and what they load: tastes, the bundled judge, one's own file, and published ones by backbone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.evaluation.scorers import faithfulness, resolve
from thumbtune.evaluation.scorers.function_scorers import (
    FunctionScorer,
    faithfulness_scorer,
    plugin_scorer,
    taste_scorer,
)
from thumbtune.evaluation.scorers.protocol import Scorer
from thumbtune.evaluation.scorers.published_files import Locations
from thumbtune.evaluation.scorers.published_scorers import PUBLISHED_SCORERS, PublishedScorer
from thumbtune.evaluation.scorers.resolve import LoadOptions, ScorerGroup, resolve_scorers
from thumbtune.evaluation.scorers.scoring import PromptedImage, score_images
from thumbtune.evaluation.scorers.tastes import TASTES
from thumbtune.files import file_sha256
from thumbtune.runs import build
from thumbtune.training.progress import quiet

JUDGE = build.BUNDLED / "judge"
OPTIONS = LoadOptions(JUDGE)
SIZES = "def score(images, prompts):\n    return [i.width + len(p) for i, p in zip(images, prompts, strict=True)]\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def colour(name: str, size: int = 8) -> Image.Image:
    return Image.new("RGB", (size, size), name)


def only(groups: Sequence[ScorerGroup]) -> Any:
    """The one scorer of the one group."""
    (group,) = groups
    with group.load() as (scorer,):
        return scorer


def test_each_name_has_its_place_once_and_redness_is_red() -> None:
    groups = resolve_scorers(["redness", "line-art", "red", faithfulness.NAME, "redness", faithfulness.NAME], OPTIONS)
    assert [group.names for group in groups] == [("red",), ("line-art",), (faithfulness.NAME,)]
    assert resolve_scorers([], OPTIONS) == []


def test_every_taste_is_a_scorer_of_the_image_alone() -> None:
    images = [colour("red"), colour("white"), colour("blue"), colour("black")]
    scorer = only(resolve_scorers(["redness"], OPTIONS))
    assert isinstance(scorer, Scorer) and (scorer.id, scorer.revision) == ("red", "1")
    assert scorer.score(images, ["a", "b", "c", "d"]).tolist() == pytest.approx([2 / 3, 0, -1 / 3, 0])
    for name, taste in TASTES.items():
        found = only(resolve_scorers([name], OPTIONS)).score(images, [""] * 4)
        assert found.tolist() == pytest.approx([taste.score(image) for image in images])
    assert taste_scorer("red").score([], []).shape == (0,)


@pytest.mark.parametrize("name", ["nobody", "Red", "clip", ""])
def test_a_name_that_nobody_has_lists_those_that_are_known(name: str) -> None:
    known = [*TASTES, faithfulness.NAME, *PUBLISHED_SCORERS, "my_file.py:score"]
    with refused("scorer-unknown", UsageError, naming=[repr(name), *known]):
        resolve_scorers(["red", name], OPTIONS)


# --- those of a backbone


def test_scorers_that_share_a_backbone_are_one_group() -> None:
    names = ["aesthetic-v1", "pickscore", "red", "clip-l14", "hpsv2.1", "aesthetic-v2", "hpsv2.0", "clip-l14"]
    assert [group.names for group in resolve_scorers(names, OPTIONS)] == [
        ("red",),
        ("aesthetic-v1", "clip-l14", "aesthetic-v2"),
        ("pickscore",),
        ("hpsv2.1",),
        ("hpsv2.0",),
    ]
    everybody = resolve_scorers(list(PUBLISHED_SCORERS), OPTIONS)
    assert sorted(name for group in everybody for name in group.names) == sorted(PUBLISHED_SCORERS)
    assert len(everybody) == len({entry.backbone.name for entry in PUBLISHED_SCORERS.values()})


def test_a_group_loads_its_own_scorers_and_only_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    @contextmanager
    def load_scorers(asked: Sequence[PublishedScorer], *means: Any) -> Iterator[list[str]]:
        calls.append(([entry.name for entry in asked], *means))
        yield [f"{entry.name} is loaded" for entry in asked]

    monkeypatch.setattr(resolve, "load_scorers", load_scorers)
    locations = Locations(offline=True)
    names = ["aesthetic-v1", "pickscore", "clip-l14"]
    first, second = resolve_scorers(names, LoadOptions(JUDGE, locations, "cuda:1", torch.float16))
    assert calls == []
    with first.load() as scorers:
        assert scorers == ["aesthetic-v1 is loaded", "clip-l14 is loaded"]
    with second.load() as scorers:
        assert scorers == ["pickscore is loaded"]
    how = (locations, "cuda:1", torch.float16)
    assert calls == [(["aesthetic-v1", "clip-l14"], *how), (["pickscore"], *how)]


# --- the bundled judge


def test_the_judge_says_what_it_says_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    images, prompts = [colour("red", 64), colour("yellow", 64)], ["a red apple", "the sun"]
    scorer = only(resolve_scorers([faithfulness.NAME], OPTIONS))
    found = scorer.score(images, prompts)
    assert (
        torch.equal(found, faithfulness.FaithfulnessJudge(JUDGE).score(images, prompts))
        and ((found >= 0) & (found <= 1)).all()
    )
    assert found.tolist() != scorer.score(images, prompts[::-1]).tolist()
    assert scorer.id == faithfulness.NAME and scorer.revision == file_sha256(JUDGE / "model.safetensors")[:12]


def test_the_judge_has_no_score_for_a_prompt_that_names_nothing_it_knows(tmp_path: Path) -> None:
    scorer = faithfulness_scorer(JUDGE)
    with refused("scorer-unknown-concept", naming="'a treaty'"):
        scorer.score([colour("red")] * 2, ["a bear", "a treaty"])
    images = []
    for i, prompt in enumerate(["a bear", "a treaty", "a ghost"]):
        colour("red", 8 + i).save(tmp_path / f"{i}.png")
        images.append(PromptedImage(tmp_path / f"{i}.png", str(i), prompt))
    (found,) = score_images(images, resolve_scorers([faithfulness.NAME], OPTIONS), quiet)
    assert found.failed == {
        1: "The bundled judge knows no concept in the prompt 'a treaty'; use it only for emoji prompts"
    }
    assert [value is None for value in found.values] == [False, True, False]
    with refused("scorer-failed-on-all", naming=["faithfulness", "1 images"]):
        score_images(images[1:2], resolve_scorers([faithfulness.NAME], OPTIONS), quiet)


# --- one's own


@pytest.mark.parametrize("name", ["my_file.py:score", "my_file:score"])
def test_a_function_in_a_file_is_a_scorer(here: Path, name: str) -> None:
    (here / "my_file.py").write_text(SIZES)
    scorer = only(resolve_scorers([name, name], OPTIONS))
    assert scorer.score([colour("red", 5), colour("red", 7)], ["abc", ""]).tolist() == [8.0, 7.0]
    assert isinstance(scorer, Scorer) and scorer.id == name
    assert scorer.revision == file_sha256(here / "my_file.py")[:12]
    (here / "my_file.py").write_text(SIZES + "# changed\n")
    assert only(resolve_scorers([name], OPTIONS)).revision != scorer.revision


@pytest.mark.parametrize(
    "given", ["[1, 2]", "(1.0, 2.0)", "np.array([1, 2])", "torch.tensor([1.0, 2.0], requires_grad=True).half()"]
)
def test_any_list_of_numbers_will_do(here: Path, given: str) -> None:
    (here / "mine.py").write_text(
        f"import numpy as np\nimport torch\ndef score(images, prompts):\n    return {given}\n"
    )
    found = plugin_scorer("mine:score").score([colour("red")] * 2, ["", ""])
    assert found.tolist() == [1.0, 2.0] and found.dtype == torch.float32 and not found.requires_grad


def test_a_file_is_run_once_and_before_anything_is_drawn(here: Path) -> None:
    (here / "mine.py").write_text("with open('ran', 'a') as file:\n    file.write('x')\n" + SIZES)
    (group,) = resolve_scorers(["mine:score"], OPTIONS)
    for _ in range(2):
        with group.load() as (scorer,):
            assert scorer.score([colour("red", 3)], ["a"]).tolist() == [4.0]
    assert (here / "ran").read_text() == "x"


@pytest.mark.parametrize(
    ("text", "code", "naming"),
    [
        ("nowhere.py:score", "", ["scorers", "nowhere.py"]),
        ("mine:score", "import nothing_at_all", ["mine.py", "ModuleNotFoundError"]),
        ("mine:score", "other = 1", ["mine.py", "'score'"]),
    ],
)
def test_a_file_that_cannot_be_loaded_is_one_sentence_at_once(
    here: Path, text: str, code: str, naming: list[str]
) -> None:
    (here / "mine.py").write_text(code)
    with pytest.raises(UsageError) as caught:
        resolve_scorers(["red", text], OPTIONS)
    assert "\n" not in str(caught.value) and all(value in str(caught.value) for value in naming)


@pytest.mark.parametrize(
    ("text", "code", "naming"),
    [("mine.py:score", "scorer-not-a-function", "mine.py:score"), ("mine:", "scorer-unknown", "'mine:'")],
)
def test_a_file_without_a_scorer_is_one_sentence_at_once(here: Path, text: str, code: str, naming: str) -> None:
    (here / "mine.py").write_text("score = 3")
    with refused(code, UsageError, naming=naming):
        resolve_scorers(["red", text], OPTIONS)


@pytest.mark.parametrize(
    ("given", "code", "naming"),
    [
        ("[1.0]", "scorer-wrong-count", ["(1,)", "2 images"]),
        ("1.0", "scorer-wrong-count", ["()", "2 images"]),
        ("[[1.0], [2.0]]", "scorer-wrong-count", ["(2, 1)", "2 images"]),
        ("None", "scorer-not-numbers", []),
        ("['a', 'b']", "scorer-not-numbers", []),
        ("[1.0, None]", "scorer-not-numbers", []),
        ("[[1.0], [2.0, 3.0]]", "scorer-not-numbers", []),
    ],
)
def test_what_is_no_number_for_each_image_is_one_sentence(here: Path, given: str, code: str, naming: list[str]) -> None:
    (here / "mine.py").write_text(f"def score(images, prompts):\n    return {given}\n")
    with refused(code, naming=["mine:score", *naming]):
        plugin_scorer("mine:score").score([colour("red")] * 2, ["", ""])


def test_a_function_that_fails_on_one_image_is_heard_on_the_others(here: Path) -> None:
    check = "    assert all(i.width != 9 for i in images), 'no nines'\n"
    (here / "mine.py").write_text(SIZES.replace("    return", check + "    return"))
    images = []
    for size in (8, 9, 10):
        colour("red", size).save(here / f"{size}.png")
        images.append(PromptedImage(here / f"{size}.png", str(size), "ab"))
    (found,) = score_images(images, resolve_scorers(["mine:score"], OPTIONS), quiet)
    assert found.values == [10.0, None, 12.0] and found.failed == {1: "AssertionError: no nines"}


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no memory is left"), MemoryError("no memory is left")])
def test_memory_that_runs_out_in_a_function_is_not_called_a_bad_list(error: Exception) -> None:
    """A batch that does not fit must stop the work, not leave its images without a score."""

    def read(images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float]:
        raise error

    scorer = FunctionScorer("mine", "1", read)
    with pytest.raises(type(error), match="no memory is left"):
        scorer.score([colour("red")], [""])
