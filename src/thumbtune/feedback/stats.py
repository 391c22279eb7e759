"""Statistics of a store: its balance, its raters' agreement, its duplicates.

    kappa = (observed agreement - agreement by chance) / (1 - agreement by chance)

It is 1 if raters always agree, 0 if they agree as often as by chance, and negative if less often. The chance of two
raters follows from each one's share of likes (Cohen 1960). The chance of many raters, who each rate some images,
follows from the share of likes of all (Fleiss 1971, eq. 1 to 7, with the number of raters of each image in place of
one number for all; with equal numbers it is Fleiss's own).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, groupby
from typing import TYPE_CHECKING, Protocol

from thumbtune.errors import joined, plural
from thumbtune.feedback.policies import POLICIES, Undecided, apply_policy
from thumbtune.feedback.quoting import named

if TYPE_CHECKING:
    from thumbtune.feedback.store.counting import Variety
    from thumbtune.feedback.store.store import Counts, Label

SLIGHT = 0.2  # a kappa up to this is "slight" or "poor" agreement (Landis and Koch 1977, table on p. 165)
MIN_SHARED = 10  # images with several raters, below which a kappa says little
MAX_RATERS = 20  # that are named one by one, and compared with each other


@dataclass(frozen=True, kw_only=True)
class Rater:
    """The numbers of one rater's labels."""

    name: str
    likes: int
    dislikes: int


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The agreement of two raters on the images that both rated; `kappa` is None if chance agreement is 1."""

    first: str
    second: str
    images: int
    agreed: int
    kappa: float | None


@dataclass(frozen=True, kw_only=True)
class Balance:
    """The labels of the store under a label policy."""

    policy: str
    likes: int
    dislikes: int
    undecided: int

    @property
    def liked_share(self) -> float | None:
        """Likes / (likes + dislikes): the paper's gamma. None without either."""
        rows = self.likes + self.dislikes
        return self.likes / rows if rows else None


@dataclass(kw_only=True)
class Stats:
    """The statistics of a store.

    images:              of one prompt each; `distinct_images` counts distinct bytes, `prompts` distinct prompts
    votes:               all rows, with undos, skips and repetitions; `labels` counts latest likes and dislikes
    contradicted:        images that some raters like and others dislike
    shared:              images with at least two raters
    multi_prompt_images: distinct images that have more than one prompt
    unlabelled:          images without a like or dislike
    fleiss:              the kappa of all raters; None if no image has two
    """

    images: int
    distinct_images: int
    prompts: int
    votes: int
    raters: list[Rater]
    all_raters: int
    labels: int
    balances: list[Balance]
    contradicted: int
    shared: int
    multi_prompt_images: int
    unlabelled: int
    fleiss: float | None
    pairs: list[Agreement] = field(default_factory=list)


class Votes(Protocol):
    """A store or an event log."""

    def labels(self) -> Iterator["Label"]: ...
    def counts(self) -> "Counts": ...
    def variety(self) -> "Variety": ...
    def busiest_raters(self, limit: int | None = None) -> list[str]: ...


def stats_of(store: Votes) -> Stats:
    """Return the statistics of a store or an event log, from one pass over its labels, an image at a time.

    Raises:
        ThumbtuneError: the store cannot be read.
    """
    counts, variety = store.counts(), store.variety()
    totals = _Totals(store.busiest_raters(MAX_RATERS))
    for _, group in groupby(store.labels(), key=lambda label: label.image.id):
        totals.add(list(group))
    names = sorted(totals.busiest)  # not by their numbers, so that a later list has them in the same order
    raters = [Rater(name=name, likes=totals.likes[name], dislikes=totals.dislikes[name]) for name in names]
    return Stats(
        images=counts.images,
        distinct_images=variety.distinct_images,
        prompts=variety.prompts,
        votes=counts.votes,
        raters=raters,
        all_raters=len(totals.raters()),
        labels=totals.likes.total() + totals.dislikes.total(),
        balances=[totals.balance(policy) for policy in POLICIES],
        contradicted=totals.contradicted,
        shared=totals.shared,
        multi_prompt_images=variety.multi_prompt_images,
        unlabelled=counts.images - totals.images,
        fleiss=totals.fleiss(),
        pairs=totals.agreements(),
    )


def disagreement_note(stats: Stats) -> str | None:
    """Return what to do where raters agree hardly more often than by chance, or None."""
    if stats.fleiss is None or stats.fleiss > SLIGHT or stats.shared < MIN_SHARED:
        return None
    often = "less often than" if stats.fleiss < 0 else "hardly more often than"
    odd = outlier(stats.pairs)
    apart = "" if odd is None else f"; {named(odd[0])} agrees least with the others (kappa {odd[1]:z.2f} on average)"
    return (
        f"The raters agree {often} by chance: {stats.contradicted:,} of {plural(stats.shared, 'image')} that several "
        f"rated are liked by some and disliked by others{apart}; train on the labels of one rater "
        "(label_policy=rater:NAME), or on those that nobody contradicts (label_policy=unanimous)."
    )


def chance_note(stats: Stats) -> str | None:
    """Return which raters agree with each other one hardly more often than by chance, where the rest agree; or None."""
    odd = raters_at_chance(stats.pairs)
    if not odd or disagreement_note(stats) is not None:
        return None
    told = [f"{named(name)} (kappa {low:z.2f} to {high:z.2f})" for name, low, high in odd]
    agree, these = ("agrees", "this rater's") if len(odd) == 1 else ("agree", "these raters'")
    return (
        f"{joined(told)} {agree} with each other rater hardly more often than by chance (kappa up to {SLIGHT:g}, on "
        f"{MIN_SHARED} images or more); look at {these} votes, or let the others outvote them "
        "(label_policy=majority)."
    )


def raters_at_chance(pairs: Sequence[Agreement]) -> list[tuple[str, float, float]]:
    """Return each rater whose kappa is at most `SLIGHT` with every other, and the lowest and highest of these kappas.

    Only pairs with `MIN_SHARED` images count, and only raters with two such pairs: of two raters, either may err.
    """
    kappas: dict[str, list[float]] = {}
    for pair in pairs:
        for name in (pair.first, pair.second) if pair.kappa is not None and pair.images >= MIN_SHARED else ():
            kappas.setdefault(name, []).append(pair.kappa or 0.0)
    return [(name, min(own), max(own)) for name, own in sorted(kappas.items()) if len(own) > 1 and max(own) <= SLIGHT]


def outlier(pairs: Sequence[Agreement]) -> tuple[str, float] | None:
    """Return the rater with the lowest mean kappa with the others, weighted by their shared images, and that mean.

    None of fewer than three raters, of whom none agrees less than the other, and of several with the lowest mean.
    """
    sums: dict[str, tuple[float, int]] = {}
    for pair in pairs:
        for name in (pair.first, pair.second) if pair.kappa is not None else ():
            total, images = sums.get(name, (0.0, 0))
            sums[name] = (total + pair.images * (pair.kappa or 0.0), images + pair.images)
    means = sorted((total / images, name) for name, (total, images) in sums.items())
    if len(means) <= len(("one", "another")) or means[0][0] == means[1][0]:
        return None
    return means[0][1], means[0][0]


def cohen_kappa(table: Mapping[tuple[bool, bool], int]) -> float | None:
    """Return Cohen's kappa from the counts of (liked by the first rater, liked by the second).

    >>> cohen_kappa({(True, True): 20, (True, False): 5, (False, True): 10, (False, False): 15})
    0.4
    """
    n = sum(table.values())
    if not n:
        return None
    both, neither = table.get((True, True), 0), table.get((False, False), 0)
    first = (both + table.get((True, False), 0)) / n
    second = (both + table.get((False, True), 0)) / n
    return _kappa((both + neither) / n, first * second + (1 - first) * (1 - second))


def fleiss_kappa(rated: Iterable[tuple[int, int]]) -> float | None:
    """Return Fleiss's kappa from (likes, dislikes) of each image; images with fewer than two raters are ignored.

    >>> round(fleiss_kappa([(3, 0), (2, 1), (0, 3), (3, 0)]), 4)
    0.625
    """
    images = likes = votes = 0
    agreeing = 0.0
    for liked, disliked in rated:
        n = liked + disliked
        if n < 2:  # noqa: PLR2004 - agreement takes two
            continue
        images, likes, votes = images + 1, likes + liked, votes + n
        agreeing += (liked * (liked - 1) + disliked * (disliked - 1)) / (n * (n - 1))
    if not images:
        return None
    share = likes / votes
    return _kappa(agreeing / images, share**2 + (1 - share) ** 2)


def _kappa(observed: float, chance: float) -> float | None:
    return None if chance >= 1 else round((observed - chance) / (1 - chance), 12)


class _Totals:
    """Running totals over the images: a few numbers for each rater, whatever the number of images."""

    def __init__(self, busiest: Sequence[str]) -> None:
        self.busiest = list(busiest)
        self.likes: Counter[str] = Counter()
        self.dislikes: Counter[str] = Counter()
        self.images = self.contradicted = self.shared = 0
        self._images_by_votes: Counter[tuple[int, int]] = Counter()  # (likes, dislikes) of an image -> images
        self._labels: dict[str, Counter[bool]] = {policy: Counter() for policy in POLICIES}
        self._undecided: dict[str, Undecided] = {policy: Undecided() for policy in POLICIES}
        self._tables: dict[tuple[str, str], Counter[tuple[bool, bool]]] = {}

    def add(self, labels: "Sequence[Label]") -> None:
        """Add one image's labels."""
        votes = {label.rater: label.liked for label in labels}
        for name, liked in votes.items():
            (self.likes if liked else self.dislikes)[name] += 1
        likes = sum(votes.values())
        self.images += 1
        self.contradicted += 0 < likes < len(votes)
        self.shared += len(votes) > 1
        self._images_by_votes[likes, len(votes) - likes] += 1
        for policy in POLICIES:
            for label in apply_policy(labels, policy, self._undecided[policy]):
                self._labels[policy][label.liked] += 1
        for first, second in combinations(sorted(votes.keys() & set(self.busiest)), 2):
            self._tables.setdefault((first, second), Counter())[votes[first], votes[second]] += 1

    def raters(self) -> set[str]:
        """Return all raters with a like or dislike."""
        return self.likes.keys() | self.dislikes.keys()

    def balance(self, policy: str) -> Balance:
        """Return the labels of all images under a policy."""
        labels = self._labels[policy]
        undecided = self._undecided[policy].images
        return Balance(policy=policy, likes=labels[True], dislikes=labels[False], undecided=undecided)

    def fleiss(self) -> float | None:
        """Return the kappa of all raters."""
        return fleiss_kappa(votes for votes, images in self._images_by_votes.items() for _ in range(images))

    def agreements(self) -> list[Agreement]:
        """Return the agreement of every two of the busiest raters who rated an image both."""
        agreements = []
        for (first, second), table in sorted(self._tables.items()):
            agreed = table[True, True] + table[False, False]
            kappa = cohen_kappa(table)
            agreements.append(Agreement(first=first, second=second, images=table.total(), agreed=agreed, kappa=kappa))
        return sorted(agreements, key=lambda agreement: -agreement.images)
