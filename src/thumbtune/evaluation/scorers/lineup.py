"""Names of scorers -> groups that are loaded one after another, those of one backbone together."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import torch

from thumbtune import plugins as own
from thumbtune.errors import UsageError
from thumbtune.evaluation.scorers import judge, plain
from thumbtune.evaluation.scorers.catalogue import ENTRIES, entries
from thumbtune.evaluation.scorers.loading import fetched, loaded
from thumbtune.evaluation.scorers.protocol import Scorer
from thumbtune.evaluation.scorers.published import Places
from thumbtune.evaluation.scorers.tastes import TASTES

ALIASES = {"redness": "red"}  # the paper's name for the taste


@dataclass(frozen=True)
class Means:
    """What loading needs. judge: the folder of the bundled judge."""

    judge: Path
    places: Places = field(default_factory=Places)
    device: str = "cpu"
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Group:
    """Scorers that are in memory together: `with group.ready() as scorers`. fetch: what they need."""

    names: tuple[str, ...]
    ready: Callable[[], AbstractContextManager[Sequence[Scorer]]]
    fetch: Callable[[], None] = lambda: None


def id_of(name: str) -> str:
    """What the scores of a scorer are called that was asked for by this name: a user's file without its folder."""
    return plain.id_of(name) if own.is_own(name) else ALIASES.get(name, name)


def lineup(names: Sequence[str], means: Means) -> list[Group]:
    """Groups in which the scorers of those names are loaded, each name once.

    Raises:
        UsageError: there is none of a name, or a user's file does not give one.
    """
    asked = list(dict.fromkeys(ALIASES.get(name, name) for name in names))
    ours = [name for name in asked if own.is_own(name) or name in TASTES or name == judge.NAME]
    strange = next((name for name in asked if name not in (*ours, *ENTRIES)), None)
    if strange is not None:
        known = ", ".join([*TASTES, judge.NAME, *ENTRIES])
        raise UsageError(f"There is no scorer {strange!r}; known are {known}, and your own as my_file.py:score.")
    ids = [id_of(name) for name in asked]
    twice = next((name for name, one in zip(asked, ids, strict=True) if ids.count(one) > 1), None)
    if twice is not None:
        raise UsageError(f"Two scorers are named {id_of(twice)}; rename one of the functions or files.")
    found = [Group((name,), _maker(name, means)) for name in ours]
    published = entries(name for name in asked if name in ENTRIES)
    for _, same in groupby(published, key=lambda entry: entry.backbone.name):
        group = list(same)
        found.append(
            Group(
                tuple(entry.name for entry in group),
                lambda group=group: loaded(group, means.places, means.device, means.dtype),
                lambda group=group: fetched(group, means.places),
            )
        )
    return found


def _maker(name: str, means: Means) -> Callable[[], AbstractContextManager[Sequence[Scorer]]]:
    """How a scorer that needs no published weights is made. A user's file runs now: it is wrong at once, or never."""
    made = plain.of_file(name) if own.is_own(name) else None

    @contextmanager
    def ready() -> Iterator[Sequence[Scorer]]:
        yield [made or (plain.of_taste(name) if name in TASTES else plain.of_judge(means.judge))]

    return ready
