"""Many images by many scorers: values by hand, failures that stay where they are, work that is shared or resumed."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from refusals import refused

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.scorers.resolve import ScorerGroup
from thumbtune.evaluation.scorers.score_cache import ScoreCache
from thumbtune.evaluation.scorers.scoring import BATCH_SIZE, ImageScores, PromptedImage, Team, score_images
from thumbtune.files import file_sha256
from thumbtune.training.progress import quiet

Make = Callable[..., list[PromptedImage]]
Each = Callable[[Image.Image, str], float]


def grey(image: Image.Image) -> float:
    """The brightness of an image that is grey all over."""
    value = image.getpixel((0, 0))
    assert isinstance(value, tuple)
    return float(value[0])


@dataclass
class Spy:
    """A scorer that keeps what it was asked; it says an image's brightness, unless told otherwise."""

    id: str = "spy"
    revision: str = "1"
    preprocessing: str = "rgb/1"
    each: Each = lambda image, prompt: grey(image)
    asked: list[list[tuple[float, str]]] = field(default_factory=list)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> torch.Tensor:
        self.asked.append([(grey(image), prompt) for image, prompt in zip(images, prompts, strict=True)])
        values = [self.each(image, prompt) for image, prompt in zip(images, prompts, strict=True)]
        return torch.tensor(values, dtype=torch.float32)


class Joint(Spy):
    """Its scores depend on all images that it is shown together: other batches would show in the last bits."""

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> torch.Tensor:
        values = super().score(images, prompts)
        return values / 3 + values.sum() / 7


def group(*scorers: Spy) -> ScorerGroup:
    @contextmanager
    def ready() -> Iterator[Sequence[Any]]:
        yield scorers

    return ScorerGroup(tuple(scorer.id for scorer in scorers), ready)


@pytest.fixture
def make_images(tmp_path: Path) -> Make:
    """(values, prompts) -> images of one grey each, and of the prompts "p0", "p1", ..."""

    def make(values: Iterable[int], prompts: Sequence[str] | None = None) -> list[PromptedImage]:
        found = []
        for i, value in enumerate(values):
            path = tmp_path / f"{i}.png"
            Image.new("RGB", (4, 4), (value, value, value)).save(path)
            found.append(PromptedImage(path, file_sha256(path), prompts[i] if prompts else f"p{i}"))
        return found

    return make


def refuse(*bad: int, error: type[Exception] = ValueError, said: str = "too dark.") -> Each:
    def each(image: Image.Image, prompt: str) -> float:
        if grey(image) in bad:
            raise error(said)
        return grey(image)

    return each


def test_every_scorer_says_a_number_of_every_image_in_their_order(make_images: Make) -> None:
    images = make_images([5, 3, 200])
    length = Spy("length", "2", "words/1", lambda image, prompt: len(prompt) + grey(image) / 8)
    found = score_images(images, [group(Spy()), group(length, Spy("again"))], quiet)
    assert found == [
        ImageScores("spy", "1", "rgb/1", [5.0, 3.0, 200.0], {}),
        ImageScores("length", "2", "words/1", [2.625, 2.375, 27.0], {}),
        ImageScores("again", "1", "rgb/1", [5.0, 3.0, 200.0], {}),
    ]
    assert score_images([], [group(Spy())], quiet) == [ImageScores("spy", "1", "rgb/1", [], {})]
    assert score_images(images, [], quiet) == []


def test_images_come_in_batches_with_their_prompts_and_progress_sees_each(make_images: Make) -> None:
    spy, other, seen = Spy(), Spy("other"), []

    def progress(batches: Iterable[Any], text: str) -> Iterator[Any]:
        for batch in batches:
            seen.append((list(batch), text))
            yield batch

    score_images(make_images(range(2 * BATCH_SIZE + 1)), [group(spy, other)], progress)
    assert [len(asked) for asked in spy.asked] == [BATCH_SIZE, BATCH_SIZE, 1]
    assert [pair for asked in spy.asked for pair in asked] == [(i, f"p{i}") for i in range(2 * BATCH_SIZE + 1)]
    assert other.asked == spy.asked
    assert seen.pop(0) == ([], "Loading the scorers")
    assert [numbers for numbers, _ in seen] == [list(range(8)), list(range(8, 16)), [16]]
    assert {text for _, text in seen} == {"Scoring by spy, other"}


def test_a_backbone_is_gone_before_the_next_one_comes(make_images: Make) -> None:
    events: list[str] = []

    def noting(name: str) -> ScorerGroup:
        @contextmanager
        def ready() -> Iterator[Sequence[Any]]:
            events.append(f"{name} comes")
            yield [Spy(name, each=lambda image, prompt: events.append(name) or 0.0)]
            events.append(f"{name} goes")

        return ScorerGroup((name,), ready)

    score_images(make_images([1]), [noting("a"), noting("b")], quiet)
    assert events == ["a comes", "a", "a goes", "b comes", "b", "b goes"]


# --- what fails


@pytest.mark.parametrize(
    ("error", "said", "reason"),
    [
        (ValueError, "too dark.", "ValueError: too dark"),
        (KeyError, "x", "KeyError: 'x'"),
        (ZeroDivisionError, "", "ZeroDivisionError"),
        (RuntimeError, "two\n  lines", "RuntimeError: two lines"),
        (ThumbtuneError, "It knows no such prompt.", "It knows no such prompt"),
        (ThumbtuneError, "", "ThumbtuneError"),
        (ValueError, "x" * 500, "ValueError: " + "x" * 160),
    ],
)
def test_one_image_that_fails_takes_no_other_along(
    make_images: Make, error: type[Exception], said: str, reason: str
) -> None:
    spy = Spy(each=refuse(3, error=error, said=said))
    (found,) = score_images(make_images(range(10)), [group(spy)], quiet)
    assert found.values == [0.0, 1.0, 2.0, None, *map(float, range(4, 10))]
    assert found.failed == {3: reason}
    assert [len(asked) for asked in spy.asked] == [8, *[1] * 8, 2], "only its batch is tried one by one"


def test_of_several_failures_each_has_its_own_place_and_scorer(make_images: Make) -> None:
    scorers = Spy("first", each=refuse(1, 12)), Spy("second", each=refuse(2, error=KeyError, said="x")), Spy("third")
    first, second, third = score_images(make_images(range(13)), [group(*scorers)], quiet)
    assert list(first.failed) == [1, 12] and [i for i, v in enumerate(first.values) if v is None] == [1, 12]
    assert second.failed == {2: "KeyError: 'x'"} and third.failed == {} and None not in third.values


@pytest.mark.parametrize(
    ("value", "reason"),
    [(float("nan"), "its score is nan"), (float("inf"), "its score is inf"), (-float("inf"), "its score is -inf")],
)
def test_what_is_no_finite_number_is_a_failure_and_is_not_remembered(
    make_images: Make, tmp_path: Path, value: float, reason: str
) -> None:
    images, cache = make_images([1, 2, 3]), ScoreCache(tmp_path / "scores.sqlite")
    bad = Spy(each=lambda image, prompt: value if grey(image) == 2 else grey(image))
    (found,) = score_images(images, [group(bad)], quiet, cache)
    assert found.values == [1.0, None, 3.0] and found.failed == {1: reason} and len(bad.asked) == 1
    (mended,) = score_images(images, [group(Spy())], quiet, cache)
    assert mended.values == [1.0, 2.0, 3.0] and mended.failed == {}


def test_a_scorer_that_fails_everywhere_is_named_with_its_first_reason(make_images: Make) -> None:
    spy = Spy("mine", each=lambda image, prompt: 1 / 0 if grey(image) else float("nan"))
    with refused("scorer-failed-on-all", naming=["mine", "10 images", "nan"]):
        score_images(make_images(range(10)), [group(Spy(), spy)], quiet)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
@pytest.mark.parametrize("alone", [False, True])
def test_memory_that_runs_out_is_no_image_s_fault(make_images: Make, error: type[Exception], alone: bool) -> None:
    def each(image: Image.Image, prompt: str) -> float:
        if alone and len(spy.asked) == 1:
            raise ValueError("the batch fails, then each is tried alone")
        raise error("no memory is left")

    spy = Spy(each=each)
    with pytest.raises(error, match="no memory is left"):
        score_images(make_images([1, 2]), [group(spy)], quiet)
    assert len(spy.asked) == 1 + alone


@pytest.mark.parametrize("what", [b"", b"no picture", None])
def test_a_file_that_is_no_image_is_named(make_images: Make, what: bytes | None) -> None:
    images = make_images([1, 2])
    path = images[1].path
    path.write_bytes(path.read_bytes()[:50] if what is None else what)
    for _ in ("damaged", "gone"):
        (found,) = score_images(images, [group(Spy())], quiet)
        assert found.values[0] is not None and found.values[1] is None, "the rest is kept"
        assert found.failed == {1: "it cannot be read as an image; replace it"}
        path.unlink(missing_ok=True)
    images[0].path.unlink()
    with refused("scorer-failed-on-all", naming=["2 images", "it cannot be read"]):
        score_images(images, [group(Spy())], quiet)


# --- what was scored before


def test_what_is_known_is_not_asked_again(make_images: Make, tmp_path: Path) -> None:
    images, cache, spy = make_images(range(11)), ScoreCache(tmp_path / "scores.sqlite"), Spy()
    first = score_images(images, [group(spy)], quiet, cache)
    for image in images:
        image.path.unlink()  # nor are the files opened
    assert score_images(images, [group(spy)], quiet, cache) == first and len(spy.asked) == 2


@pytest.mark.parametrize("change", ["revision", "preprocessing", "id", "prompt", "picture"])
def test_a_score_of_anything_else_is_another_score(make_images: Make, tmp_path: Path, change: str) -> None:
    cache = ScoreCache(tmp_path / "scores.sqlite")
    score_images(make_images([1, 2], ["a", "b"]), [group(Spy())], quiet, cache)
    new = Spy(**({change: "other"} if change in ("revision", "preprocessing", "id") else {}))
    new.each = lambda image, prompt: 100.0 + grey(image)
    images = make_images([1, 7] if change == "picture" else [1, 2], ["a", "c" if change == "prompt" else "b"])
    (found,) = score_images(images, [group(new)], quiet, cache)
    both = change in ("revision", "preprocessing", "id")
    assert found.values == [101.0 if both else 1.0, 107.0 if change == "picture" else 102.0]


def test_equal_images_of_equal_prompts_have_equal_scores(make_images: Make, tmp_path: Path) -> None:
    images = make_images([9, 4, 9, *range(20, 30), 9], ["a", "b", "a", *"cdefghijkl", "a"])
    cache, again = ScoreCache(tmp_path / "scores.sqlite"), Joint()
    (found,) = score_images(images, [group(Joint())], quiet, cache)
    assert found.values[0] == found.values[2] == found.values[13]
    assert score_images(images, [group(again)], quiet, cache) == [found] and not again.asked


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4, 5])
def test_work_that_was_broken_off_ends_with_the_same_bits(make_images: Make, tmp_path: Path, after: int) -> None:
    """Three batches through two scorers, broken off after so many calls."""
    images = make_images(range(0, 40, 2))
    whole = score_images(images, [group(Joint("one"), Joint("two"))], quiet, ScoreCache(tmp_path / "whole.sqlite"))
    calls: list[int] = []

    class Stopped(Joint):
        def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> torch.Tensor:
            if len(calls) == after:
                raise KeyboardInterrupt
            calls.append(1)
            return super().score(images, prompts)

    cache = ScoreCache(tmp_path / "broken.sqlite")
    with pytest.raises(KeyboardInterrupt):
        score_images(images, [group(Stopped("one"), Stopped("two"))], quiet, cache)
    one, two = Joint("one"), Joint("two")
    assert score_images(images, [group(one, two)], quiet, cache) == whole
    assert len(one.asked) + len(two.asked) == 6 - after, "what was remembered is not asked again"


def test_a_failure_is_tried_again_and_the_others_keep_their_bits(make_images: Make, tmp_path: Path) -> None:
    images, cache = make_images(range(1, 7)), ScoreCache(tmp_path / "scores.sqlite")
    (first,) = score_images(images, [group(Joint(each=refuse(3)))], quiet, cache)
    assert first.failed == {2: "ValueError: too dark"} and first.values[0] == pytest.approx(1 / 3 + 1 / 7)
    (second,) = score_images(images, [group(Joint())], quiet, cache)
    assert second.failed == {} and second.values[:2] + second.values[3:] == first.values[:2] + first.values[3:]
    assert second.values[2] == pytest.approx(3 / 3 + 21 / 7), "in its batch, which no longer fails"


# --- several processes


@dataclass(frozen=True)
class Together(Team):
    """A process of two, which are threads here."""

    lists: dict[int, list[Any]] = field(default_factory=dict)
    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(2, timeout=60))

    def gather(self, found: list[Any]) -> list[Any]:
        self.lists[self.index] = found
        self.barrier.wait()
        everything = [row for i in range(self.count) for row in self.lists[i]]
        self.barrier.wait()
        return everything


@pytest.mark.parametrize("count", [1, 5, BATCH_SIZE + 1, 4 * BATCH_SIZE + 3])
def test_two_processes_share_the_batches_and_both_get_all_scores(make_images: Make, count: int) -> None:
    images = make_images(range(count))
    alone = score_images(images, [group(Joint("a", each=refuse(4)), Joint("b")), group(Spy("c"))], quiet)
    first = Together(0, 2)
    teams = (first, Together(1, 2, first.lists, first.barrier))
    results: dict[int, list[ImageScores]] = {}
    asked: dict[int, list[float]] = {}

    def work(team: Together) -> None:
        spies = Joint("a", each=refuse(4)), Joint("b"), Spy("c")
        results[team.index] = score_images(images, [group(*spies[:2]), group(spies[2])], quiet, team=team)
        asked[team.index] = [value for batch in spies[2].asked for value, _ in batch]

    threads = [threading.Thread(target=work, args=(team,)) for team in teams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {0: alone, 1: alone}
    assert sorted(asked[0] + asked[1]) == list(range(count)), "each image is looked at by one of them"
    assert count <= BATCH_SIZE or 0 < len(asked[1]) <= len(asked[0])


def test_a_team_of_one_keeps_what_it_found() -> None:
    rows = [(0, 1, 0.5, "")]
    assert Team().gather(rows) is rows
