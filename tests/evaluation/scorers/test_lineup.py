"""Names of scorers and what they load: tastes, the bundled judge, one's own file, and published ones by backbone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.evaluation.scorers import judge
from thumbtune.evaluation.scorers import lineup as lineups
from thumbtune.evaluation.scorers.catalogue import ENTRIES, Entry
from thumbtune.evaluation.scorers.lineup import Group, Means, lineup
from thumbtune.evaluation.scorers.plain import Plain, of_file, of_judge, of_taste
from thumbtune.evaluation.scorers.protocol import Scorer
from thumbtune.evaluation.scorers.published import Places
from thumbtune.evaluation.scorers.scoring import PromptedImage, score
from thumbtune.evaluation.scorers.tastes import TASTES
from thumbtune.files import file_sha256
from thumbtune.runs import build
from thumbtune.training.batches import quiet

JUDGE = build.BUNDLED / "judge"
MEANS = Means(JUDGE)
SIZES = "def score(images, prompts):\n    return [i.width + len(p) for i, p in zip(images, prompts, strict=True)]\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def colour(name: str, size: int = 8) -> Image.Image:
    return Image.new("RGB", (size, size), name)


def only(groups: Sequence[Group]) -> Any:
    """The one scorer of the one group."""
    (group,) = groups
    with group.ready() as (scorer,):
        return scorer


def test_each_name_has_its_place_once_and_redness_is_red() -> None:
    groups = lineup(["redness", "line-art", "red", judge.NAME, "redness", judge.NAME], MEANS)
    assert [group.names for group in groups] == [("red",), ("line-art",), (judge.NAME,)]
    assert lineup([], MEANS) == []


def test_every_taste_is_a_scorer_of_the_image_alone() -> None:
    images = [colour("red"), colour("white"), colour("blue"), colour("black")]
    scorer = only(lineup(["redness"], MEANS))
    assert isinstance(scorer, Scorer) and (scorer.id, scorer.revision) == ("red", "1")
    assert scorer.score(images, ["a", "b", "c", "d"]).tolist() == pytest.approx([2 / 3, 0, -1 / 3, 0])
    for name, taste in TASTES.items():
        found = only(lineup([name], MEANS)).score(images, [""] * 4)
        assert found.tolist() == pytest.approx([taste.score(image) for image in images])
    assert of_taste("red").score([], []).shape == (0,)


@pytest.mark.parametrize("name", ["nobody", "Red", "clip", ""])
def test_a_name_that_nobody_has_lists_those_that_are_known(name: str) -> None:
    with pytest.raises(UsageError, match=f"^There is no scorer {name!r}; known are ") as caught:
        lineup(["red", name], MEANS)
    for known in (*TASTES, judge.NAME, *ENTRIES, "my_file.py:score"):
        assert known in str(caught.value)


# --- those of a backbone


def test_scorers_that_share_a_backbone_are_one_group() -> None:
    names = ["aesthetic-v1", "pickscore", "red", "clip-l14", "hpsv2.1", "aesthetic-v2", "hpsv2.0", "clip-l14"]
    assert [group.names for group in lineup(names, MEANS)] == [
        ("red",),
        ("aesthetic-v1", "clip-l14", "aesthetic-v2"),
        ("pickscore",),
        ("hpsv2.1",),
        ("hpsv2.0",),
    ]
    everybody = lineup(list(ENTRIES), MEANS)
    assert sorted(name for group in everybody for name in group.names) == sorted(ENTRIES)
    assert len(everybody) == len({entry.backbone.name for entry in ENTRIES.values()})


def test_a_group_loads_its_own_scorers_and_only_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    @contextmanager
    def loaded(asked: Sequence[Entry], *means: Any) -> Iterator[list[str]]:
        calls.append(([entry.name for entry in asked], *means))
        yield [f"{entry.name} is loaded" for entry in asked]

    monkeypatch.setattr(lineups, "loaded", loaded)
    places = Places(offline=True)
    names = ["aesthetic-v1", "pickscore", "clip-l14"]
    first, second = lineup(names, Means(JUDGE, places, "cuda:1", torch.float16))
    assert calls == []
    with first.ready() as scorers:
        assert scorers == ["aesthetic-v1 is loaded", "clip-l14 is loaded"]
    with second.ready() as scorers:
        assert scorers == ["pickscore is loaded"]
    how = (places, "cuda:1", torch.float16)
    assert calls == [(["aesthetic-v1", "clip-l14"], *how), (["pickscore"], *how)]


# --- the bundled judge


def test_the_judge_says_what_it_says_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    images, prompts = [colour("red", 64), colour("yellow", 64)], ["a red apple", "the sun"]
    scorer = only(lineup([judge.NAME], MEANS))
    found = scorer.score(images, prompts)
    assert torch.equal(found, judge.Judge(JUDGE).score(images, prompts)) and ((found >= 0) & (found <= 1)).all()
    assert found.tolist() != scorer.score(images, prompts[::-1]).tolist()
    assert scorer.id == judge.NAME and scorer.revision == file_sha256(JUDGE / "model.safetensors")[:12]


def test_the_judge_has_no_score_for_a_prompt_that_names_nothing_it_knows(tmp_path: Path) -> None:
    scorer = of_judge(JUDGE)
    with pytest.raises(ThumbtuneError, match="knows nothing that 'a treaty' names; ask it about emoji"):
        scorer.score([colour("red")] * 2, ["a bear", "a treaty"])
    images = []
    for i, prompt in enumerate(["a bear", "a treaty", "a ghost"]):
        colour("red", 8 + i).save(tmp_path / f"{i}.png")
        images.append(PromptedImage(tmp_path / f"{i}.png", str(i), prompt))
    (found,) = score(images, lineup([judge.NAME], MEANS), quiet)
    assert found.failed == {1: "The bundled judge knows nothing that 'a treaty' names; ask it about emoji"}
    assert [value is None for value in found.values] == [False, True, False]
    with pytest.raises(ThumbtuneError, match="faithfulness scored none of the 1 images"):
        score(images[1:2], lineup([judge.NAME], MEANS), quiet)


# --- one's own


@pytest.mark.parametrize("name", ["my_file.py:score", "my_file:score"])
def test_a_function_in_a_file_is_a_scorer(here: Path, name: str) -> None:
    (here / "my_file.py").write_text(SIZES)
    scorer = only(lineup([name, name], MEANS))
    assert scorer.score([colour("red", 5), colour("red", 7)], ["abc", ""]).tolist() == [8.0, 7.0]
    assert isinstance(scorer, Scorer) and scorer.id == name
    assert scorer.revision == file_sha256(here / "my_file.py")[:12]
    (here / "my_file.py").write_text(SIZES + "# changed\n")
    assert only(lineup([name], MEANS)).revision != scorer.revision


@pytest.mark.parametrize(
    "given", ["[1, 2]", "(1.0, 2.0)", "np.array([1, 2])", "torch.tensor([1.0, 2.0], requires_grad=True).half()"]
)
def test_any_list_of_numbers_will_do(here: Path, given: str) -> None:
    (here / "mine.py").write_text(
        f"import numpy as np\nimport torch\ndef score(images, prompts):\n    return {given}\n"
    )
    found = of_file("mine:score").score([colour("red")] * 2, ["", ""])
    assert found.tolist() == [1.0, 2.0] and found.dtype == torch.float32 and not found.requires_grad


def test_a_file_is_run_once_and_before_anything_is_drawn(here: Path) -> None:
    (here / "mine.py").write_text("with open('ran', 'a') as file:\n    file.write('x')\n" + SIZES)
    (group,) = lineup(["mine:score"], MEANS)
    for _ in range(2):
        with group.ready() as (scorer,):
            assert scorer.score([colour("red", 3)], ["a"]).tolist() == [4.0]
    assert (here / "ran").read_text() == "x"


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("nowhere.py:score", "", "scorers: there is no file nowhere.py here"),
        ("mine:score", "import nothing_at_all", "mine.py does not run .ModuleNotFoundError"),
        ("mine:score", "other = 1", "mine.py has no 'score'"),
        ("mine.py:score", "score = 3", "scorers: mine.py:score is no function; write `def score"),
        ("mine:", "score = 3", "There is no scorer 'mine:'; known are .* and your own as my_file.py:score"),
    ],
)
def test_a_file_without_a_scorer_is_one_sentence_at_once(here: Path, text: str, code: str, says: str) -> None:
    (here / "mine.py").write_text(code)
    with pytest.raises(UsageError, match=says) as caught:
        lineup(["red", text], MEANS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("[1.0]", r"shape \(1,\) for 2 images; give one for each"),
        ("1.0", r"shape \(\) for 2 images"),
        ("[[1.0], [2.0]]", r"shape \(2, 1\) for 2 images"),
        ("None", "gave no list of numbers"),
        ("['a', 'b']", "gave no list of numbers"),
        ("[1.0, None]", "gave no list of numbers"),
        ("[[1.0], [2.0, 3.0]]", "gave no list of numbers"),
    ],
)
def test_what_is_no_number_for_each_image_is_one_sentence(here: Path, given: str, says: str) -> None:
    (here / "mine.py").write_text(f"def score(images, prompts):\n    return {given}\n")
    with pytest.raises(ThumbtuneError, match=f"^mine:score gave .*{says}|^mine:score {says}") as caught:
        of_file("mine:score").score([colour("red")] * 2, ["", ""])
    assert "\n" not in str(caught.value)


def test_a_function_that_fails_on_one_image_is_heard_on_the_others(here: Path) -> None:
    check = "    assert all(i.width != 9 for i in images), 'no nines'\n"
    (here / "mine.py").write_text(SIZES.replace("    return", check + "    return"))
    images = []
    for size in (8, 9, 10):
        colour("red", size).save(here / f"{size}.png")
        images.append(PromptedImage(here / f"{size}.png", str(size), "ab"))
    (found,) = score(images, lineup(["mine:score"], MEANS), quiet)
    assert found.values == [10.0, None, 12.0] and found.failed == {1: "AssertionError: no nines"}


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no memory is left"), MemoryError("no memory is left")])
def test_memory_that_runs_out_in_a_function_is_not_called_a_bad_list(error: Exception) -> None:
    """A batch that does not fit must stop the work, not leave its images without a score."""

    def read(images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float]:
        raise error

    scorer = Plain("mine", "1", read)
    with pytest.raises(type(error), match="no memory is left"):
        scorer.score([colour("red")], [""])
