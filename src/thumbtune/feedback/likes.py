"""The table that training reads: one row per picture and thumb, as a Hugging Face `datasets.Dataset`.

Its columns follow the ecosystem's "unpaired preference" convention (image, prompt, label), with whatever else
is known. Pictures stay in their files: a row is decoded when it is read.
"""

from __future__ import (
    annotations,
)  # `datasets` takes a second to import, so only functions that need it do so

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.store import Opinion, Store

if TYPE_CHECKING:
    from datasets import Dataset, Features

Policy = Literal["majority", "per-vote"]
POLICIES = ("majority", "per-vote")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Two tables that share no prompt."""

    train: Dataset
    held_out: Dataset


@dataclass(frozen=True, kw_only=True)
class Description:
    """How much a table holds."""

    n: int
    likes: int
    dislikes: int
    prompts: int


def likes_of(store: Store, policy: Policy = "majority") -> Dataset:
    """The last words in the store as a table, in the order in which the pictures came.

    Args:
        store: where the votes are.
        policy: `majority` gives one row per picture, with the label that most raters give it and the mean
            weight and grade of those raters (a tie gives no row); `per-vote` gives one row per picture and rater.

    Raises:
        ThumbtuneError: there is no such policy, or the store cannot be read.
    """
    from datasets import Dataset

    if policy not in POLICIES:
        raise ThumbtuneError(f"there is no policy {policy!r} for likes; choose {' or '.join(POLICIES)}.")
    opinions = store.rows() if policy == "per-vote" else _majority(store.rows())
    features = likes_features()
    columns: dict[str, list[object]] = {name: [] for name in features}
    for opinion in opinions:
        for name, value in _row(opinion, store).items():
            columns[name].append(value)
    return Dataset.from_dict(columns, features=features)


def likes_features() -> Features:
    """The columns of the table and their types."""
    from datasets import Features, Image, Value

    return Features(
        {
            "image": Image(),
            "image_id": Value("string"),
            "prompt": Value("string"),
            "label": Value("bool"),
            "weight": Value("float32"),
            "grade": Value("float32"),
            "rater": Value("string"),
            "seed": Value("int64"),
            "model": Value("string"),
            "source": Value("string"),
            "created_at": Value("timestamp[us, tz=UTC]"),
        }
    )


def _row(opinion: Opinion, store: Store) -> dict[str, object]:
    picture = opinion.picture
    return {
        "image": str(store.path_of(picture).absolute()),
        "image_id": picture.sha256,
        "prompt": picture.prompt,
        "label": opinion.liked,
        "weight": opinion.weight,
        "grade": opinion.grade,
        "rater": opinion.rater,
        "seed": picture.seed,
        "model": picture.model,
        "source": picture.source,
        "created_at": opinion.created_at,
    }


def _majority(opinions: Iterable[Opinion]) -> Iterator[Opinion]:
    """One opinion per picture. `Store.rows` keeps a picture's opinions together."""
    for _, group in groupby(opinions, key=lambda opinion: opinion.picture.id):
        said = list(group)
        likes = [opinion for opinion in said if opinion.liked]
        dislikes = [opinion for opinion in said if not opinion.liked]
        if len(likes) != len(dislikes):
            yield _together(max(likes, dislikes, key=len), raters=len(said))


def _together(winners: Sequence[Opinion], raters: int) -> Opinion:
    """What those who agree say as one."""
    last = max(winners, key=lambda opinion: opinion.created_at)
    grades = [opinion.grade for opinion in winners if opinion.grade is not None]
    return Opinion(
        picture=last.picture,
        rater=last.rater if raters == 1 else f"majority of {raters}",
        liked=last.liked,
        weight=sum(opinion.weight for opinion in winners) / len(winners),
        grade=sum(grades) / len(grades) if grades else None,
        reason=last.reason,
        created_at=last.created_at,
    )


def split(likes: Dataset, held_out: float = 0.2, seed: int = 0) -> Split:
    """Set prompts aside for evaluation. A prompt's side depends on the prompt and the seed alone.

    So new likes never move an old prompt across, and the share held out is `held_out` only on average.

    Raises:
        ThumbtuneError: `held_out` is not a share.
    """
    if not 0 <= held_out < 1:
        raise ThumbtuneError(
            f"held_out is the share of prompts set aside and lies from 0 up to 1, not at {held_out}; try 0.2."
        )
    sides: tuple[list[int], list[int]] = ([], [])
    for index, prompt in enumerate(_column(likes, "prompt")):
        sides[_fraction(f"{seed}:{_alike(str(prompt))}") < held_out].append(index)
    return Split(train=likes.select(sides[0]), held_out=likes.select(sides[1]))


def _alike(prompt: str) -> str:
    """A prompt without what does not change it: "A cat." and "a  cat" must not lie on different sides."""
    return " ".join(prompt.casefold().split()).rstrip(" .!")


def _fraction(text: str) -> float:
    """A number in [0, 1) that is as good as random and always the same for the same text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def describe(likes: Dataset) -> Description:
    """Count rows, likes, dislikes and different prompts."""
    labels = _column(likes, "label")
    liked = sum(bool(label) for label in labels)
    prompts = len(set(_column(likes, "prompt")))
    return Description(n=len(labels), likes=liked, dislikes=len(labels) - liked, prompts=prompts)


def _column(likes: Dataset, name: str) -> list[object]:
    """One column as a list, without touching the pictures beside it."""
    return likes.select_columns([name]).with_format(None)[:][name]
