"""Resolve names of scorers to groups that are loaded one after another; scorers of one backbone share a group."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import torch

from thumbtune import plugins
from thumbtune.errors import UsageError
from thumbtune.evaluation.scorers import faithfulness, function_scorers
from thumbtune.evaluation.scorers.loading import fetch_weights, load_scorers
from thumbtune.evaluation.scorers.protocol import Scorer
from thumbtune.evaluation.scorers.published_files import Locations
from thumbtune.evaluation.scorers.published_scorers import PUBLISHED_SCORERS, find_published_scorers
from thumbtune.evaluation.scorers.style_scorers import STYLE_SCORERS, style_scorer
from thumbtune.evaluation.scorers.tastes import TASTES
from thumbtune.models.missing import BUNDLED

ALIASES = {"redness": "red"}  # the paper's name for the taste


@dataclass(frozen=True)
class LoadOptions:
    """How scorers are loaded. judge, styles: the folders of the bundled judge and of the style classifier."""

    judge: Path
    locations: Locations = field(default_factory=Locations)
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    styles: Path = BUNDLED / "style"


@dataclass(frozen=True)
class ScorerGroup:
    """Scorers that are in memory together: `with group.load() as scorers`. fetch: download their weights."""

    names: tuple[str, ...]
    load: Callable[[], AbstractContextManager[Sequence[Scorer]]]
    fetch: Callable[[], None] = lambda: None


def scorer_id(name: str) -> str:
    """Return the id under which the scores of this name are stored; a user's file loses its folder."""
    return function_scorers.plugin_id(name) if plugins.is_own(name) else ALIASES.get(name, name)


def resolve_scorers(names: Sequence[str], options: LoadOptions) -> list[ScorerGroup]:
    """Return the groups that load the scorers of these names, each scorer once.

    Raises:
        UsageError: a name is unknown, or a user's file does not define the scorer.
    """
    unique = list(dict.fromkeys(ALIASES.get(name, name) for name in names))
    bundled = {*TASTES, faithfulness.NAME, *STYLE_SCORERS}
    unpublished = [name for name in unique if plugins.is_own(name) or name in bundled]
    unknown = next((name for name in unique if name not in (*unpublished, *PUBLISHED_SCORERS)), None)
    if unknown is not None:
        known = ", ".join([*TASTES, faithfulness.NAME, *STYLE_SCORERS, *PUBLISHED_SCORERS])
        raise UsageError(
            f"There is no scorer {unknown!r}; use {known}, or your own as my_file.py:score.", code="scorer-unknown"
        )
    ids = [scorer_id(name) for name in unique]
    duplicate = next((id for id in ids if ids.count(id) > 1), None)
    if duplicate is not None:
        raise UsageError(
            f"Two scorers are named {duplicate}; rename one of the functions or files.", code="scorer-duplicate"
        )
    groups = [ScorerGroup((name,), _loader(name, options)) for name in unpublished]
    published = find_published_scorers(name for name in unique if name in PUBLISHED_SCORERS)
    for _, same in groupby(published, key=lambda scorer: scorer.backbone.name):
        group = list(same)
        groups.append(
            ScorerGroup(
                tuple(scorer.name for scorer in group),
                lambda group=group: load_scorers(group, options.locations, options.device, options.dtype),
                lambda group=group: fetch_weights(group, options.locations),
            )
        )
    return groups


def _loader(name: str, options: LoadOptions) -> Callable[[], AbstractContextManager[Sequence[Scorer]]]:
    """Return the loader of a scorer without published weights; a user's file runs now, so that errors come first."""
    plugin = function_scorers.plugin_scorer(name) if plugins.is_own(name) else None

    @contextmanager
    def load() -> Iterator[Sequence[Scorer]]:
        if plugin is not None:
            yield [plugin]
        elif name in TASTES:
            yield [function_scorers.taste_scorer(name)]
        elif name in STYLE_SCORERS:
            yield [style_scorer(name, options.styles)]
        else:
            yield [function_scorers.faithfulness_scorer(options.judge)]

    return load
