"""What a store holds, in numbers: how balanced it is, how far its raters agree, what is there twice.

    kappa = (observed agreement - agreement by chance) / (1 - agreement by chance)

It is 1 where raters always agree, 0 where they agree as often as by chance, and below 0 where less often. Two raters'
chance follows from the share of likes of each (Cohen 1960); that of many, of whom each rates some of the images, from
the share of likes of all (Fleiss 1971, eq. 1 to 7, with the number of raters of each image in place of one number
for all; with equal numbers it is Fleiss's own).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, groupby
from typing import TYPE_CHECKING

from thumbtune.feedback.policies import POLICIES, Tally, labelled

if TYPE_CHECKING:
    from thumbtune.feedback.store.store import Opinion, Store

MOST_RATERS = 20  # that are named one by one, and compared with each other


@dataclass(frozen=True, kw_only=True)
class Rater:
    """How much one rater said, by their last words."""

    name: str
    likes: int
    dislikes: int


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two raters agree on the images that both rated; `kappa` is None where chance alone would agree."""

    one: str
    other: str
    images: int
    agreed: int
    kappa: float | None


@dataclass(frozen=True, kw_only=True)
class Balance:
    """What a label policy makes of the store."""

    policy: str
    likes: int
    dislikes: int
    undecided: int

    @property
    def liked_share(self) -> float | None:
        """Likes among likes and dislikes: the paper's gamma. None where there are neither."""
        rows = self.likes + self.dislikes
        return self.likes / rows if rows else None


@dataclass(kw_only=True)
class Stats:
    """All of it.

    images:      of one prompt each; `distinct_images` counts different bytes, `prompts` different prompts
    votes:         every row, undos, skips and repetitions among them; `opinions` are last words
    contradicted:  images that some raters like and others dislike
    shared:        images with at least two raters
    several:       images that lie under more than one prompt
    without:       images that nobody likes or dislikes
    fleiss:        the kappa of all raters; None where no image has two
    """

    images: int
    distinct_images: int
    prompts: int
    votes: int
    raters: list[Rater]
    all_raters: int
    opinions: int
    balances: list[Balance]
    contradicted: int
    shared: int
    several: int
    without: int
    fleiss: float | None
    pairs: list[Agreement] = field(default_factory=list)


def stats_of(store: "Store") -> Stats:
    """Count everything in one pass over the last words, one image's in memory at a time.

    Raises:
        ThumbtuneError: the store cannot be read.
    """
    counts, variety = store.counts(), store.variety()
    seen = _Pass(store.busiest(MOST_RATERS))
    for _, group in groupby(store.rows(), key=lambda opinion: opinion.image.id):
        seen.take(list(group))
    named = [Rater(name=name, likes=seen.likes[name], dislikes=seen.dislikes[name]) for name in seen.busiest]
    return Stats(
        images=counts.images,
        distinct_images=variety.distinct_images,
        prompts=variety.prompts,
        votes=counts.votes,
        raters=named,
        all_raters=len(seen.raters()),
        opinions=seen.likes.total() + seen.dislikes.total(),
        balances=[seen.balance(policy) for policy in POLICIES],
        contradicted=seen.contradicted,
        shared=seen.shared,
        several=variety.several,
        without=counts.images - seen.images,
        fleiss=seen.fleiss(),
        pairs=seen.agreements(),
    )


def cohen_kappa(table: Mapping[tuple[bool, bool], int]) -> float | None:
    """Cohen's kappa from how often the first rater said the one thing and the second the other.

    >>> cohen_kappa({(True, True): 20, (True, False): 5, (False, True): 10, (False, False): 15})
    0.4
    """
    n = sum(table.values())
    if not n:
        return None
    both, neither = table.get((True, True), 0), table.get((False, False), 0)
    one = (both + table.get((True, False), 0)) / n
    other = (both + table.get((False, True), 0)) / n
    return _kappa((both + neither) / n, one * other + (1 - one) * (1 - other))


def fleiss_kappa(rated: Iterable[tuple[int, int]]) -> float | None:
    """Fleiss's kappa from (likes, dislikes) of each image; those with fewer than two raters say nothing.

    >>> round(fleiss_kappa([(3, 0), (2, 1), (0, 3), (3, 0)]), 4)
    0.625
    """
    images = likes = all_thumbs = 0
    agreeing = 0.0
    for up, down in rated:
        n = up + down
        if n < 2:  # noqa: PLR2004 - agreement takes two
            continue
        images, likes, all_thumbs = images + 1, likes + up, all_thumbs + n
        agreeing += (up * (up - 1) + down * (down - 1)) / (n * (n - 1))
    if not images:
        return None
    share = likes / all_thumbs
    return _kappa(agreeing / images, share**2 + (1 - share) ** 2)


def _kappa(observed: float, chance: float) -> float | None:
    return None if chance >= 1 else round((observed - chance) / (1 - chance), 12)


class _Pass:
    """What one pass over the images adds up: a few numbers for each rater, however many images there are."""

    def __init__(self, busiest: Sequence[str]) -> None:
        self.busiest = list(busiest)
        self.likes: Counter[str] = Counter()
        self.dislikes: Counter[str] = Counter()
        self.images = self.contradicted = self.shared = 0
        self._thumbs: Counter[tuple[int, int]] = Counter()  # (likes, dislikes) of an image -> how many there are
        self._labels: dict[str, Counter[bool]] = {policy: Counter() for policy in POLICIES}
        self._undecided: dict[str, Tally] = {policy: Tally() for policy in POLICIES}
        self._tables: dict[tuple[str, str], Counter[tuple[bool, bool]]] = {}

    def take(self, said: "Sequence[Opinion]") -> None:
        """Count one image's last words."""
        thumbs = {opinion.rater: opinion.liked for opinion in said}
        for name, liked in thumbs.items():
            (self.likes if liked else self.dislikes)[name] += 1
        up = sum(thumbs.values())
        self.images += 1
        self.contradicted += 0 < up < len(thumbs)
        self.shared += len(thumbs) > 1
        self._thumbs[up, len(thumbs) - up] += 1
        for policy in POLICIES:
            for row in labelled(said, policy, self._undecided[policy]):
                self._labels[policy][row.liked] += 1
        for one, other in combinations(sorted(thumbs.keys() & set(self.busiest)), 2):
            self._tables.setdefault((one, other), Counter())[thumbs[one], thumbs[other]] += 1

    def raters(self) -> set[str]:
        """All who said something."""
        return self.likes.keys() | self.dislikes.keys()

    def balance(self, policy: str) -> Balance:
        """What a policy makes of all images."""
        labels = self._labels[policy]
        undecided = self._undecided[policy].undecided
        return Balance(policy=policy, likes=labels[True], dislikes=labels[False], undecided=undecided)

    def fleiss(self) -> float | None:
        """The kappa of all raters."""
        return fleiss_kappa(thumbs for thumbs, number in self._thumbs.items() for _ in range(number))

    def agreements(self) -> list[Agreement]:
        """Every two of the busiest who rated some image both."""
        found = []
        for (one, other), table in sorted(self._tables.items()):
            agreed = table[True, True] + table[False, False]
            kappa = cohen_kappa(table)
            found.append(Agreement(one=one, other=other, images=table.total(), agreed=agreed, kappa=kappa))
        return sorted(found, key=lambda each: -each.images)
