"""Plan a study: which pairs a rater sees, in which order, and with which side on the left.

    pairs    both sides of a prompt and seed; evenly from all styles, and all prompts before a second seed of any
    left     each side equally often, overall, within each style, and among repeated pairs
    order    shuffled; a share of the pairs is repeated later with exchanged sides, never right after itself
    id       HMAC-SHA256 of prompt, seed and showing, with a secret derived from the study's seed and pairs

A `Study` contains the sides and stays with the experimenter. A `Questionnaire` is its part for raters: ids, words and
a question. Code that shows images to raters takes only the questionnaire.
"""

import hashlib
import hmac
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Literal, TypeVar

from thumbtune.errors import UsageError

SideLabel = Literal["a", "b"]
StoppingRule = Literal["all", "sequential"]  # after all pairs; or once a sequential test decides, see `sequential`
QUESTION = "Which image do you like better for this text?"
MAX_TRIALS = 50  # pairs for one rater, a few minutes' work
REPEAT_SHARE = 0.1
MAX_REPEAT_SHARE = 0.5
PAIRS_FOR_MIN_REPEATS = 10  # with this many pairs or more, at least MIN_REPEATS are repeated
MIN_REPEATS = 2
ID_LENGTH = 20  # hexadecimal digits: 80 bits

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two images of one prompt and seed. a, b: their files, relative to the duel's folder."""

    prompt: int
    words: str
    seed: int
    a: str
    b: str
    style: str | None = None


@dataclass(frozen=True, kw_only=True)
class StudyDesign:
    """The settings of a study.

    question: the question to raters
    a, b: names of the sides, for the experimenter
    trials: largest number of pairs for one rater, without repeats
    repeats: share of the pairs that are repeated
    seed: seed of every choice and of the ids; together with the duel it reveals the sides, so draw it from `secrets`
    stop: the rule by which the test ends, set before it begins
    """

    seed: int
    question: str = QUESTION
    a: str = "a"
    b: str = "b"
    trials: int = MAX_TRIALS
    repeats: float = REPEAT_SHARE
    stop: StoppingRule = "all"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One showing of a pair. repeats: the id of the first showing; None if this is the first."""

    id: str
    pair: Pair
    left: SideLabel
    repeats: str | None = None

    @property
    def files(self) -> tuple[str, str]:
        """Files of the images, left one first."""
        return (self.pair.a, self.pair.b) if self.left == "a" else (self.pair.b, self.pair.a)


@dataclass(frozen=True, kw_only=True)
class Questionnaire:
    """The part of a study for raters. trials: the id and words of each trial, in the order of showing."""

    study: str
    question: str
    trials: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study with its sides. id: the name of the study in answers; a, b: names of the sides; stop: its rule."""

    id: str
    question: str
    a: str
    b: str
    seed: int
    trials: tuple[Trial, ...]
    stop: StoppingRule = "all"

    @property
    def questionnaire(self) -> Questionnaire:
        """The part of the study for raters."""
        shown = tuple((trial.id, trial.pair.words) for trial in self.trials)
        return Questionnaire(study=self.id, question=self.question, trials=shown)

    @property
    def first_showings(self) -> tuple[Trial, ...]:
        """The trials that count; repeats only check the rater."""
        return tuple(trial for trial in self.trials if trial.repeats is None)


def plan_study(pairs: Sequence[Pair], design: StudyDesign) -> Study:
    """Return a study of these pairs; equal pairs and designs give equal studies.

    Raises:
        UsageError: there is no pair, a pair occurs twice, or the design is invalid.
    """
    _check(pairs, design)
    secret = hashlib.sha256(json.dumps([design.seed, [asdict(pair) for pair in pairs]]).encode()).digest()
    rng = random.Random(secret)
    chosen = _choose(pairs, design.trials, rng)
    left = _assign_left(chosen, rng)
    order = rng.sample(chosen, len(chosen))
    repeated = _choose_repeats(order, left, _repeat_count(len(order), design.repeats), rng)
    trials = [_trial(pair, left[pair], secret, None) for pair in order]
    half = len(order) - len(order) // 2
    again = []
    for pair in repeated:
        first = _trial(pair, left[pair], secret, None)
        again.append(_trial(pair, "b" if left[pair] == "a" else "a", secret, first.id))
    return Study(
        id=_id(secret, "study"),
        question=design.question.strip(),
        a=design.a,
        b=design.b,
        seed=design.seed,
        trials=(*trials[:half], *_mixed(trials[half:], again, rng)),
        stop=design.stop,
    )


def order_for(study: Study, rater: str) -> tuple[Trial, ...]:
    """Return the trials of a study in an order of the rater's own, which is the same each time.

    As in the plan, repeated pairs are first shown in the first half, and again in the second.
    """
    rng = random.Random(hashlib.sha256(json.dumps([study.id, study.seed, rater]).encode()).digest())
    again = [trial for trial in study.trials if trial.repeats is not None]
    repeated = {trial.repeats for trial in again}
    first = list(study.first_showings)
    rng.shuffle(first)
    first.sort(key=lambda trial: trial.id not in repeated)  # keeps the order among each kind
    half = len(first) - len(first) // 2
    early, later = first[:half], first[half:]
    rng.shuffle(early)
    rng.shuffle(again)
    return (*early, *_mixed(later, again, rng))


def _mixed(later: Sequence[Trial], again: Iterable[Trial], rng: random.Random) -> list[Trial]:
    """Return the second half of the trials with the repeats in it, none of them at its beginning."""
    mixed = list(later)
    for trial in again:
        mixed.insert(rng.randint(1, len(mixed)), trial)  # never right after the first showing
    return mixed


def _check(pairs: Sequence[Pair], design: StudyDesign) -> None:
    if not pairs:
        raise UsageError(
            "A human test needs at least one pair of images; give a duel with images.", code="human-no-pairs"
        )
    seen: set[tuple[int, int]] = set()
    for pair in pairs:
        if (pair.prompt, pair.seed) in seen:
            raise UsageError(
                f"Prompt {pair.prompt} with seed {pair.seed} occurs twice; give each pair once.",
                code="human-pair-twice",
            )
        seen.add((pair.prompt, pair.seed))
    if design.trials < 1:
        raise UsageError(f"A human test of {design.trials} trials is empty; give 1 or more.", code="human-no-trials")
    if not 0 <= design.repeats <= MAX_REPEAT_SHARE:
        raise UsageError(
            f"The share of repeats is {design.repeats}; give one between 0 and {MAX_REPEAT_SHARE}.",
            code="human-repeat-share",
        )
    if not design.question.strip():
        raise UsageError("The question to raters is empty; write one.", code="human-no-question")


def _choose(pairs: Iterable[Pair], most: int, rng: random.Random) -> list[Pair]:
    """Return at most `most` pairs, evenly from all styles; within a style, one pair of each prompt before a second."""
    styles: dict[str | None, dict[int, list[Pair]]] = {}
    for pair in pairs:
        styles.setdefault(pair.style, {}).setdefault(pair.prompt, []).append(pair)
    queues = []
    for prompts in styles.values():
        shuffled = [rng.sample(some, len(some)) for some in prompts.values()]
        rng.shuffle(shuffled)
        queues.append(_interleave(shuffled))
    rng.shuffle(queues)
    return _interleave(queues)[:most]


def _interleave(lists: Iterable[Sequence[T]]) -> list[T]:
    """Return the first item of each list, then the second of each, and so on."""
    return [item for row in zip_longest(*lists) for item in row if item is not None]


def _assign_left(pairs: Sequence[Pair], rng: random.Random) -> dict[Pair, SideLabel]:
    """Return each pair's left side: a and b once in each couple of a style, then in each couple of the odd pairs."""
    styles: dict[str | None, list[Pair]] = {}
    for pair in sorted(pairs, key=lambda pair: (pair.prompt, pair.seed)):  # so that couples share a prompt if possible
        styles.setdefault(pair.style, []).append(pair)
    couples = [couple for some in styles.values() for couple in _couples(some)]
    odd = [pair for couple in couples if len(couple) == 1 for pair in couple]
    rng.shuffle(odd)
    left: dict[Pair, SideLabel] = {}
    for couple in [*(couple for couple in couples if len(couple) > 1), *_couples(odd)]:
        sides: tuple[SideLabel, SideLabel] = ("a", "b") if rng.random() < 0.5 else ("b", "a")  # noqa: PLR2004 - a coin
        left.update(zip(couple, sides, strict=False))
    return left


def _couples(pairs: Sequence[Pair]) -> list[Sequence[Pair]]:
    """Return the pairs in couples; an odd last pair stays alone."""
    return [pairs[start : start + 2] for start in range(0, len(pairs), 2)]


def _repeat_count(trials: int, share: float) -> int:
    """Return the number of repeated pairs."""
    count = round(share * trials)
    return max(count, MIN_REPEATS) if share and trials >= PAIRS_FOR_MIN_REPEATS else count


def _choose_repeats(order: Sequence[Pair], left: dict[Pair, SideLabel], count: int, rng: random.Random) -> list[Pair]:
    """Return pairs of the first half to repeat in the second, balanced over the left sides as far as possible."""
    early = list(order[: len(order) - len(order) // 2])
    rng.shuffle(early)
    by_side = [[pair for pair in early if left[pair] == side] for side in ("a", "b")]
    rng.shuffle(by_side)
    return _interleave(by_side)[:count]


def _trial(pair: Pair, left: SideLabel, secret: bytes, repeats: str | None) -> Trial:
    name = f"{pair.prompt} {pair.seed} {'first' if repeats is None else 'again'}"
    return Trial(id=_id(secret, name), pair=pair, left=left, repeats=repeats)


def _id(secret: bytes, name: str) -> str:
    return hmac.new(secret, name.encode(), hashlib.sha256).hexdigest()[:ID_LENGTH]
