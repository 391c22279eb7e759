"""Turn judgements into likes: rows with several images of a prompt, and which of them are better.

The label of an image follows from all its rows. So the rows are read twice: first to tally the wins, without the
images, then to yield each image once with its label.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import combinations, islice

from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.reading.image_cells import identity_of, image_in
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.feedback.source import Bytes, LeftOut, Reading, SourceRow
from thumbtune.feedback.sources.preferences import Comparison, ComparisonCounts, ComparisonResult, Labels, labels_under
from thumbtune.feedback.sources.tally import LeftOutReason, Tally

NO_IMAGE = "it names no image for {side}; fill it in or remove the row"


@dataclass(frozen=True, kw_only=True)
class ComparedImage:
    """One of the images that were shown together.

    name: identifies it in other rows of the same prompt
    side: its place in the row, in words
    """

    name: str
    side: str
    image: Bytes | None = None
    problem: str | None = None
    model: str | None = None
    seed: int | None = None
    cells_left_out: tuple[LeftOut, ...] = ()


def compared_image(cell: object, side: str, place: ImageRoot, allow_download: bool = False) -> ComparedImage:
    """Return the image in a table's cell. One that cannot be read still counts as compared.

    Raises:
        UnreadableImage: the cell is blank.
    """
    name = identity_of(cell)
    if name is None:
        raise UnreadableImage(NO_IMAGE.format(side=side))
    try:
        return ComparedImage(name=name, side=side, image=image_in(cell, place, allow_download))
    except UnreadableImage as error:
        return ComparedImage(name=name, side=side, problem=str(error))


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One row: images of a prompt, and how somebody ranked or labelled them.

    ranks:    one per image; a lower rank is better, equal ranks tie
    labels:   one per image, if each was judged by itself; then the images are not compared
    left_out: why it compares nothing, if that is no error
    problem:  why it cannot be used
    cells_left_out: cells beside the judgement that were not read, such as a time
    """

    where: str
    prompt: str | None = None
    images: tuple[ComparedImage, ...] = ()
    ranks: tuple[float, ...] = ()
    labels: tuple[bool, ...] = ()
    rater: str | None = None
    created_at: datetime | None = None
    source: str | None = None
    left_out: LeftOutReason | None = None
    problem: str | None = None
    cells_left_out: tuple[LeftOut, ...] = ()

    def comparisons(self) -> Iterator[Comparison]:
        """Yield the comparison of each two images."""
        for (a, rank_a), (b, rank_b) in combinations(zip(self.images, self.ranks, strict=True), 2):
            result: ComparisonResult = "a" if rank_a < rank_b else "b" if rank_b < rank_a else "tie"
            yield Comparison(prompt=self.prompt or "", a=a.name, b=b.name, result=result, user=self.rater)


ReadJudgements = Callable[[], Iterator[Judgement]]


MAX_PROBLEM_LENGTH = 300  # characters; a problem repeats a cell, which may hold a whole image
TOO_DEEP = "one of its cells is nested too deeply; correct or remove the row"


def unusable_judgement(where: str, error: Exception, source: str | None = None) -> Judgement:
    """Return the judgement of a row whose reading raised `error`."""
    words = TOO_DEEP if isinstance(error, RecursionError) else str(error)
    if len(words) > MAX_PROBLEM_LENGTH:
        words = f"{words[: MAX_PROBLEM_LENGTH // 2]} ... {words[-MAX_PROBLEM_LENGTH // 2 :]}"
    return Judgement(where=where, problem=words, source=source)


class JudgedImages:
    """The likes and dislikes in judgements: one for each image and prompt, at its first row.

    The label of an image follows from all its comparisons. Its rater is the person who decided them; None if several
    did, and then the importer names a rater. So comparisons of the same images are to be imported together.

    rows:   reads every judgement, in the same order each time
    sketch: reads the same without images, if that is quicker
    """

    def __init__(self, rows: ReadJudgements, reading: Reading, sketch: ReadJudgements | None = None) -> None:
        self.rows = rows
        self.sketch = sketch or rows
        self.reading = reading
        self.labels = labels_under(reading.policy)
        self._counts: ComparisonCounts | None = None

    def counts(self) -> ComparisonCounts:
        """Count the comparisons, and the images of each class. It reads everything once, if nobody did before."""
        if self._counts is None:
            with self._tallied() as tally:
                return tally.counts(self.reading.policy)
        return self._counts

    def __iter__(self) -> Iterator[SourceRow]:
        return (row for row in self.with_unrated() if not row.unrated)

    def with_unrated(self) -> Iterator[SourceRow]:
        """Yield the rows and the images that the policy leaves out."""
        with self._tallied() as tally:
            for judgement in islice(self.rows(), self.reading.limit):
                yield from _rows_of(judgement, tally, self.labels)

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
    elif not judgement.labels:
        for comparison in judgement.comparisons():
            tally.add(comparison, judgement.created_at)


def _rows_of(judgement: Judgement, tally: Tally, labels: Labels) -> Iterator[SourceRow]:
    """Yield the rows of a judgement: its problem, or those of its images that no judgement before it has shown."""
    if judgement.problem is not None:
        yield SourceRow(where=judgement.where, problem=judgement.problem, source=judgement.source)
        return
    if judgement.labels:
        for shown, liked in zip(judgement.images, judgement.labels, strict=True):
            yield _row(judgement, shown, liked, judgement.rater, judgement.created_at)
        return
    for shown in judgement.images:
        standing = tally.take(judgement.prompt or "", shown.name)
        if standing is not None:
            liked = labels[standing.image_class] if standing.image_class else None
            row = _row(judgement, shown, liked, standing.user, standing.judged_at)
            yield replace(row, pair=standing.pair, unrated=liked is None)


def _row(
    judgement: Judgement, shown: ComparedImage, liked: bool | None, rater: str | None, when: datetime | None
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
        left_out=shown.cells_left_out + (judgement.cells_left_out if shown is judgement.images[0] else ()),
    )
