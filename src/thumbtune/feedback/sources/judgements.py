"""Likes out of judgements: rows that show several images of a prompt and say which are better than which.

What one row says of an image is not what all rows together say of it, so everything is gone through twice: first to
tally who won, for which the images themselves are not needed, then to hand out each image once with its label.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import combinations, islice

from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.reading.image_cells import image_in, known_by
from thumbtune.feedback.reading.places import Place
from thumbtune.feedback.source import Bytes, Reading, SourceRow
from thumbtune.feedback.sources.preferences import Comparison, Counts, Labels, Outcome, labels_under
from thumbtune.feedback.sources.tally import Reason, Tally

NO_IMAGE = "it names no image for {side}; fill it in or remove the row"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One of the images that were shown together.

    name: what it is recognised by when it is shown again for the same prompt
    side: where in its row it stands, in words
    """

    name: str
    side: str
    image: Bytes | None = None
    problem: str | None = None
    model: str | None = None
    seed: int | None = None


def shown_in(cell: object, side: str, place: Place, allow_download: bool = False) -> Shown:
    """The image in a table's cell. One that is named and may not be read was judged all the same.

    Raises:
        UnreadableImage: there is none.
    """
    name = known_by(cell)
    if name is None:
        raise UnreadableImage(NO_IMAGE.format(side=side))
    try:
        return Shown(name=name, side=side, image=image_in(cell, place, allow_download))
    except UnreadableImage as error:
        return Shown(name=name, side=side, problem=str(error))


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One row: images of a prompt, and what somebody said of them.

    ranks:    as many as images; a lower one is better, equal ones tie
    thumbs:   as many as images, where each was judged by itself; then they are not compared
    left_out: why it says nothing, where that is as it should be
    problem:  why it cannot be used
    """

    where: str
    prompt: str | None = None
    images: tuple[Shown, ...] = ()
    ranks: tuple[float, ...] = ()
    thumbs: tuple[bool, ...] = ()
    rater: str | None = None
    created_at: datetime | None = None
    source: str | None = None
    left_out: Reason | None = None
    problem: str | None = None

    def comparisons(self) -> Iterator[Comparison]:
        """Each image with each other."""
        for (a, rank_a), (b, rank_b) in combinations(zip(self.images, self.ranks, strict=True), 2):
            outcome: Outcome = "a" if rank_a < rank_b else "b" if rank_b < rank_a else "tie"
            yield Comparison(prompt=self.prompt or "", a=a.name, b=b.name, outcome=outcome, user=self.rater)


Rows = Callable[[], Iterator[Judgement]]


MOST_WORDS = 300  # characters of a sentence that repeats a cell, which may hold a whole image
TOO_DEEP = "a cell of it is nested too deeply; mend or remove the row"


def unusable(where: str, error: Exception, source: str | None = None) -> Judgement:
    """The judgement that a row is, once reading it raised `error`."""
    words = TOO_DEEP if isinstance(error, RecursionError) else str(error)
    if len(words) > MOST_WORDS:
        words = f"{words[: MOST_WORDS // 2]} ... {words[-MOST_WORDS // 2 :]}"
    return Judgement(where=where, problem=words, source=source)


class Unpaired:
    """The likes and dislikes in judgements: one for each image and prompt, where it is first met.

    A label is what all comparisons of an image add up to. Its rater is the one person who decided them, or nobody
    (None) where several did: it is then the word of none of them, and whoever imports it gives it a name. So
    comparisons that belong together are to be imported together.

    rows:   every judgement, in the same order each time
    sketch: the same without their images, where that is quicker to read
    """

    def __init__(self, rows: Rows, reading: Reading, sketch: Rows | None = None) -> None:
        self.rows = rows
        self.sketch = sketch or rows
        self.reading = reading
        self.labels = labels_under(reading.policy)
        self._counts: Counts | None = None

    def counts(self) -> Counts:
        """How many comparisons there are, and images of each class. It reads everything once, unless that was done."""
        if self._counts is None:
            with self._tallied() as tally:
                return tally.counts(self.reading.policy)
        return self._counts

    def __iter__(self) -> Iterator[SourceRow]:
        return (found for found in self.with_unrated() if not found.unrated)

    def with_unrated(self) -> Iterator[SourceRow]:
        """The same, and the images that the policy leaves out."""
        with self._tallied() as tally:
            for judgement in islice(self.rows(), self.reading.limit):
                yield from _founds(judgement, tally, self.labels)

    @contextmanager
    def _tallied(self) -> Iterator[Tally]:
        with Tally() as tally:
            for judgement in islice(self.sketch(), self.reading.limit):
                _add(judgement, tally)
            self._counts = tally.counts(self.reading.policy)
            yield tally


def _add(judgement: Judgement, tally: Tally) -> None:
    if judgement.problem is not None:
        tally.leave_out("unusable")
    elif judgement.left_out is not None:
        tally.leave_out(judgement.left_out)
    elif not judgement.thumbs:
        for comparison in judgement.comparisons():
            tally.add(comparison, judgement.created_at)


def _founds(judgement: Judgement, tally: Tally, labels: Labels) -> Iterator[SourceRow]:
    """What one row adds: its problem, or those of its images that no row before it has shown."""
    if judgement.problem is not None:
        yield SourceRow(where=judgement.where, problem=judgement.problem, source=judgement.source)
        return
    if judgement.thumbs:
        for shown, liked in zip(judgement.images, judgement.thumbs, strict=True):
            yield _found(judgement, shown, liked, judgement.rater, judgement.created_at)
        return
    for shown in judgement.images:
        standing = tally.take(judgement.prompt or "", shown.name)
        if standing is not None:
            liked = labels[standing.split] if standing.split else None
            found = _found(judgement, shown, liked, standing.user, standing.judged_at)
            yield replace(found, pair=standing.pair, unrated=liked is None)


def _found(
    judgement: Judgement, shown: Shown, liked: bool | None, rater: str | None, when: datetime | None
) -> SourceRow:
    return SourceRow(
        where=f"{judgement.where}, {shown.side}",
        image=shown.image,
        prompt=judgement.prompt,
        liked=liked,
        problem=shown.problem,
        rater=rater,
        seed=shown.seed,
        model=shown.model,
        source=judgement.source,
        created_at=when,
    )
