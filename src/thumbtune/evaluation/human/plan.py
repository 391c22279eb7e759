"""Which pairs a person sees, in which order, and which side lies left: a study.

    pairs    of the same prompt and seed, a side each; evenly from all styles, a new prompt before a second seed
    left     each side equally often, overall and within each style, and so for the pairs that are shown again
    order    shuffled; a share of the pairs comes again later with its sides exchanged, never next to itself
    id       HMAC-SHA256 of prompt, seed and showing, with a secret that follows from the study's seed

A `Study` knows the sides and stays with the experimenter. A `Questionnaire` is what is left of it for raters: ids,
words and a question. Whatever shows images to raters takes the latter.
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

Side = Literal["a", "b"]
QUESTION = "Which image do you like better for this text?"
MOST_TRIALS = 50  # pairs for a person, a few minutes' work
REPEATS = 0.1  # share of the pairs that are shown again
MOST_REPEATS = 0.5
ENOUGH = 10  # pairs, from which on there are at least `LEAST_REPEATS`
LEAST_REPEATS = 2
ID_LENGTH = 20  # hexadecimal digits: 80 bits

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two images of one prompt and seed. a, b: their files, as the duel's folder has them."""

    prompt: int
    words: str
    seed: int
    a: str
    b: str
    style: str | None = None


@dataclass(frozen=True, kw_only=True)
class Design:
    """How a study is made.

    question: what raters are asked
    a, b: names of the sides, for the experimenter
    trials: at most so many pairs for a person, repeats not counted
    repeats: share of the pairs that are shown again
    seed: of every choice and of the ids; who knows it and the duel can tell the sides, so draw it from `secrets`
    """

    seed: int
    question: str = QUESTION
    a: str = "a"
    b: str = "b"
    trials: int = MOST_TRIALS
    repeats: float = REPEATS


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One showing of a pair. repeats: the id of its first showing, where this is the second."""

    id: str
    pair: Pair
    left: Side
    repeats: str | None = None

    @property
    def files(self) -> tuple[str, str]:
        """The images' files, the left one first."""
        return (self.pair.a, self.pair.b) if self.left == "a" else (self.pair.b, self.pair.a)


@dataclass(frozen=True, kw_only=True)
class Questionnaire:
    """What raters may know. trials: the id and the words of each, in the order of showing."""

    study: str
    question: str
    trials: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Study:
    """All of a study, sides included. id: by which answers name it; a, b: names of the sides."""

    id: str
    question: str
    a: str
    b: str
    seed: int
    trials: tuple[Trial, ...]

    @property
    def questionnaire(self) -> Questionnaire:
        """The part for raters."""
        shown = tuple((trial.id, trial.pair.words) for trial in self.trials)
        return Questionnaire(study=self.id, question=self.question, trials=shown)

    @property
    def first_showings(self) -> tuple[Trial, ...]:
        """The trials whose answers are counted."""
        return tuple(trial for trial in self.trials if trial.repeats is None)


def plan(pairs: Sequence[Pair], design: Design) -> Study:
    """A study of these pairs; the same pairs and design make the same one.

    Raises:
        UsageError: there is no pair, one comes twice, or the design cannot be followed.
    """
    _check(pairs, design)
    secret = hashlib.sha256(json.dumps([design.seed, [asdict(pair) for pair in pairs]]).encode()).digest()
    rng = random.Random(secret)
    chosen = _chosen(pairs, design.trials, rng)
    left = _sides(chosen, rng)
    order = rng.sample(chosen, len(chosen))
    again = _again(order, left, _repeats(len(order), design.repeats), rng)
    trials = [_trial(pair, left[pair], secret, None) for pair in order]
    half = len(order) - len(order) // 2
    later: list[Trial] = list(trials[half:])
    for pair in again:
        first = _trial(pair, left[pair], secret, None)
        trial = _trial(pair, "b" if left[pair] == "a" else "a", secret, first.id)
        later.insert(rng.randint(1, len(later)), trial)  # after one other at least
    return Study(
        id=_id(secret, "study"),
        question=design.question.strip(),
        a=design.a,
        b=design.b,
        seed=design.seed,
        trials=(*trials[:half], *later),
    )


def _check(pairs: Sequence[Pair], design: Design) -> None:
    if not pairs:
        raise UsageError("A human test needs at least one pair of images; give a duel that has some.")
    seen: set[tuple[int, int]] = set()
    for pair in pairs:
        if (pair.prompt, pair.seed) in seen:
            raise UsageError(f"Prompt {pair.prompt} with seed {pair.seed} comes twice; give each pair once.")
        seen.add((pair.prompt, pair.seed))
    if design.trials < 1:
        raise UsageError(f"A human test of {design.trials} trials asks nothing; give 1 or more.")
    if not 0 <= design.repeats <= MOST_REPEATS:
        raise UsageError(f"The share of repeats is {design.repeats}; give one between 0 and {MOST_REPEATS}.")
    if not design.question.strip():
        raise UsageError("The question is empty; write what raters are asked.")


def _chosen(pairs: Iterable[Pair], most: int, rng: random.Random) -> list[Pair]:
    """Evenly from all styles; within a style a pair of every prompt before a second one of any."""
    styles: dict[str | None, dict[int, list[Pair]]] = {}
    for pair in pairs:
        styles.setdefault(pair.style, {}).setdefault(pair.prompt, []).append(pair)
    queues = []
    for prompts in styles.values():
        shuffled = [rng.sample(some, len(some)) for some in prompts.values()]
        rng.shuffle(shuffled)
        queues.append(_in_turn(shuffled))
    rng.shuffle(queues)
    return _in_turn(queues)[:most]


def _in_turn(lists: Iterable[Sequence[T]]) -> list[T]:
    """The first of each, then the second of each, and so on."""
    return [item for row in zip_longest(*lists) for item in row if item is not None]


def _sides(pairs: Sequence[Pair], rng: random.Random) -> dict[Pair, Side]:
    """Which side lies left: by twos of a style, one each; what is left over of the styles is put into twos again."""
    styles: dict[str | None, list[Pair]] = {}
    for pair in sorted(pairs, key=lambda pair: (pair.prompt, pair.seed)):  # so that twos are of one prompt if possible
        styles.setdefault(pair.style, []).append(pair)
    twos = [two for some in styles.values() for two in _twos(some)]
    odd = [pair for two in twos if len(two) == 1 for pair in two]
    rng.shuffle(odd)
    left: dict[Pair, Side] = {}
    for two in [*(two for two in twos if len(two) > 1), *_twos(odd)]:
        sides: tuple[Side, Side] = ("a", "b") if rng.random() < 0.5 else ("b", "a")  # noqa: PLR2004 - a coin
        left.update(zip(two, sides, strict=False))
    return left


def _twos(pairs: Sequence[Pair]) -> list[Sequence[Pair]]:
    """Two by two, the last alone where their number is odd."""
    return [pairs[start : start + 2] for start in range(0, len(pairs), 2)]


def _repeats(trials: int, share: float) -> int:
    """How many pairs are shown again."""
    count = round(share * trials)
    return max(count, LEAST_REPEATS) if share and trials >= ENOUGH else count


def _again(order: Sequence[Pair], left: dict[Pair, Side], count: int, rng: random.Random) -> list[Pair]:
    """Pairs of the first half, which are shown again in the second; of both sides alike where these allow it."""
    early = list(order[: len(order) - len(order) // 2])
    rng.shuffle(early)
    by_side = [[pair for pair in early if left[pair] == side] for side in ("a", "b")]
    rng.shuffle(by_side)
    return _in_turn(by_side)[:count]


def _trial(pair: Pair, left: Side, secret: bytes, repeats: str | None) -> Trial:
    name = f"{pair.prompt} {pair.seed} {'first' if repeats is None else 'again'}"
    return Trial(id=_id(secret, name), pair=pair, left=left, repeats=repeats)


def _id(secret: bytes, name: str) -> str:
    return hmac.new(secret, name.encode(), hashlib.sha256).hexdigest()[:ID_LENGTH]
