"""Label Studio's exports: JSON, JSON-MIN and CSV, with a thumb for each annotation.

JSON holds tasks, {"data": {...}, "annotations": [{"result": [...], "completed_by": ..., "was_cancelled": ...}]}. In
JSON-MIN and CSV each annotation is a row of its own, beside the cells of its task. Which cell is the image and which
the prompt follows from their names, as in any table (`columns`); `label` names the control that counts, where several
contradict each other. What is said of two images makes likes and dislikes as all comparisons do (`judgements`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path

from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.metadata.image_files import parameters_in_image
from thumbtune.feedback.metadata.parameters import NO_PARAMETERS
from thumbtune.feedback.reading.cells import first, moment_in, prompt_in, text_in, whole_number_in
from thumbtune.feedback.reading.columns import COLUMNS, Columns
from thumbtune.feedback.reading.image_roots import ImageRoot, check_root
from thumbtune.feedback.reading.record import Record, lowered_name, record_of
from thumbtune.feedback.reading.rows import count_rows, first_row, read_rows
from thumbtune.feedback.shown import listed, named, shown
from thumbtune.feedback.source import DEFAULT_READING, Reading, SourceRow
from thumbtune.feedback.sources.contrib.label_studio_answers import (
    SIDES,
    Answer,
    answers_in,
    answers_of_row,
    label_of,
)
from thumbtune.feedback.sources.contrib.label_studio_images import TaskImages, may_show
from thumbtune.feedback.sources.judgements import ComparedImage, JudgedImages, Judgement, unusable_judgement
from thumbtune.feedback.sources.preferences import ComparisonCounts

OF_A_ROW = {"annotator", "lead_time", "updated_at"}  # of which versions leave some out, beside "annotation_id"
ANNOTATIONS = ("annotations", "completions")  # the latter before version 1
CHOICES = ("choice", "choices", *COLUMNS["label"])  # what a control of choices is called, where nobody says
CANCELLED = "its annotator skipped it; annotate it in Label Studio, or remove it"
NO_TASK = "it is no task of Label Studio; export it again"
NO_ANSWER = "none of its columns ({columns}) says like or dislike; say which one does, as in --map label=opinion"
WHICH = "it shows {images}, and nothing says which of them is meant; say so, as in --map image={first}"
WHICH_SIDE = "it compares {images}, and nothing says which is left; call them left and right, or image1 and image2"
NO_SIDE = "it says neither left nor right is better; annotate it again or remove it"


def recognises(path: Path) -> bool:
    """Whether this is an export of Label Studio, by its first row. It never raises."""
    row = first_row(path) or {}
    is_task = isinstance(row.get("data"), Mapping) and any(isinstance(row.get(name), list) for name in ANNOTATIONS)
    return is_task or ("annotation_id" in row and bool(OF_A_ROW & set(row)))


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """What one person said of one task."""

    where: str
    data: Record
    answers: tuple[Answer, ...] = ()
    annotator: object = None
    when: Record
    cancelled: bool = False

    @property
    def selected(self) -> Answer | None:
        """What compares two images; the other answers are then about both of them."""
        return next((answer for answer in self.answers if answer.selected is not None), None)


class LabelStudio:
    """One export: first what was said of single images, then what comparisons say.

    Raises:
        UsageError: the root is no folder, or `columns` maps something that we do not know.
    """

    def __init__(self, path: Path, reading: Reading = DEFAULT_READING) -> None:
        self.file, self.reading = path, reading
        check_root(reading.root)
        self._label = lowered_name(reading.columns.get("label", ""))
        self._columns = Columns(reading.columns)
        self._images = TaskImages(ImageRoot(path.parent, reading.root), self._cells)
        self._judged = JudgedImages(self._judgements, replace(reading, limit=None))

    def counts(self) -> ComparisonCounts:
        """How many comparisons there are, and images of each class; it reads everything once."""
        return self._judged.counts()

    def __length_hint__(self) -> int:
        rows = count_rows(self.file)
        return rows if self.reading.limit is None else min(rows, self.reading.limit)

    def __iter__(self) -> Iterator[SourceRow]:
        return (found for found in self.with_unrated() if not found.unrated)

    def with_unrated(self) -> Iterator[SourceRow]:
        """The same, and the images of comparisons that decide nothing."""
        compared = False
        for annotation in self._annotations():
            if isinstance(annotation, SourceRow):
                yield annotation
            elif annotation.selected is not None and not annotation.cancelled:
                compared = True
            else:
                yield from self._thumbs(annotation)
        if compared:
            yield from self._judged.with_unrated()

    def _rows(self) -> Iterator[tuple[str, Record | None]]:
        rows = read_rows(self.file, encoding=self.reading.encoding)
        return islice(rows, self.reading.limit)

    def _cells(self) -> Iterator[object]:
        for _, row in self._rows():
            data = (row or {}).get("data")
            yield from (data if isinstance(data, Mapping) else row or {}).values()

    def _annotations(self) -> Iterator[Annotation | SourceRow]:
        for where, row in self._rows():
            if row is None or ("data" in row and not isinstance(row["data"], Mapping)):
                yield SourceRow(where=where, problem=NO_TASK)
            elif "data" in row:
                yield from _of_task(row, where)
            else:
                words = [self._label] if self._label else CHOICES
                answers = tuple(answers_of_row(row, words))
                yield Annotation(where=where, data=row, answers=answers, annotator=row.get("annotator"), when=row)

    def _thumbs(self, annotation: Annotation) -> Iterator[SourceRow]:
        """A like or dislike for each image that somebody answered about; one without, where nobody answered."""
        data, about = annotation.data, dict[str | None, list[Answer]]()
        for answer in annotation.answers:
            if not self._label or f"{self._label}.".startswith(f"{lowered_name(answer.name)}."):
                name = next((name for name in answer.about if may_show(data.get(name))), None)
                about.setdefault(name, []).append(answer)
        for name, each in (about or {None: []}).items():
            yield self._thumb(annotation, name, each)

    def _thumb(self, annotation: Annotation, name: str | None, answers: list[Answer]) -> SourceRow:
        liked, problem = label_of(answers, self.reading.like_at)
        if not answers and annotation.data is annotation.when:  # a row of JSON-MIN or CSV
            problem = NO_ANSWER.format(columns=listed(annotation.data))
        if annotation.cancelled:
            liked, problem = None, CANCELLED
        elif not answers and self.reading.label is not None:
            liked, problem = self.reading.label, None
        found = SourceRow(where=annotation.where, liked=liked, problem=problem, source=self.file.name)
        try:
            cell = annotation.data[name] if name else self._image_cell(annotation.data)
            found = replace(found, image=self._images.anywhere(cell, self.reading.allow_download))
            return self._described(found, annotation, cell)
        except (UnreadableImage, ValueError, RecursionError) as error:
            return replace(found, image=None, problem=CANCELLED if annotation.cancelled else str(error))

    def _described(self, found: SourceRow, annotation: Annotation, cell: object) -> SourceRow:
        """With all that the task, or the image, says beside the thumb.

        Raises:
            ValueError: a cell is filled with something else.
        """
        ours = self._columns.ours_in(annotation.data)
        prompt = prompt_in(ours)
        try:
            own = NO_PARAMETERS if prompt or found.liked is None else parameters_in_image(self._images.here(cell))
        except UnreadableImage:  # it is on the web
            own = NO_PARAMETERS
        seed = whole_number_in(ours, "seed")
        return replace(
            found,
            prompt=prompt or own.prompt,
            seed=own.seed if seed is None else seed,
            model=text_in(ours, "model") or own.model,
            source=text_in(ours, "source") or found.source,
            rater=_rater(annotation.annotator),
            created_at=_moment(annotation.when),
        )

    def _image_cell(self, data: Record) -> object:
        """The image of a task.

        Raises:
            UnreadableImage: it shows several.
        """
        cell = self._columns.ours_in(data)["image"]
        if "image" in self.reading.columns:
            return cell
        there = [name for name, cell in data.items() if may_show(cell)]
        if len(there) > 1:
            raise UnreadableImage(WHICH.format(images=listed(there), first=named(there[0])))
        return data[there[0]] if cell is None and there else cell

    def _judgements(self) -> Iterator[Judgement]:
        for annotation in self._annotations():
            if isinstance(annotation, Annotation) and annotation.selected is not None and not annotation.cancelled:
                try:
                    yield self._judgement(annotation, annotation.selected)
                except (UnreadableImage, ValueError, RecursionError) as error:
                    yield unusable_judgement(annotation.where, error, self.file.name)

    def _judgement(self, annotation: Annotation, answer: Answer) -> Judgement:
        """What one comparison says.

        Raises:
            ValueError: nothing says which image is which, or which is better.
        """
        if answer.selected not in SIDES:
            raise ValueError(NO_SIDE)
        ours = self._columns.ours_in(annotation.data)
        names = _sides(annotation.data, answer.about)
        return Judgement(
            where=annotation.where,
            prompt=prompt_in(ours),
            images=tuple(self._shown(annotation.data[name], side) for name, side in zip(names, SIDES, strict=True)),
            ranks=(0.0, 1.0) if answer.selected == SIDES[0] else (1.0, 0.0),
            rater=_rater(annotation.annotator),
            created_at=_moment(annotation.when),
            source=text_in(ours, "source") or self.file.name,
        )

    def _shown(self, cell: object, side: str) -> ComparedImage:
        try:
            image = self._images.anywhere(cell, self.reading.allow_download)
            return ComparedImage(name=str(cell), side=side, image=image)
        except UnreadableImage as error:
            return ComparedImage(name=str(cell), side=side, problem=str(error))


def _of_task(task: Record, where: str) -> Iterator[Annotation]:
    """Every annotation of a task in JSON; an empty one, where there is none."""
    data = record_of(task["data"].items())  # type: ignore[attr-defined]
    annotations = first(task, ANNOTATIONS)
    each = [one for one in annotations if isinstance(one, Mapping)] if isinstance(annotations, list) else []
    for number, one in enumerate(each, start=1):
        yield Annotation(
            where=f"{where}, annotation {shown(one.get('id', number))}",
            data=data,
            answers=tuple(answers_in(one.get("result"))),
            annotator=one.get("completed_by"),
            when=record_of(one.items()),
            cancelled=one.get("was_cancelled") is True,
        )
    if not each:
        yield Annotation(where=where, data=data, when={})


def _rater(annotator: object) -> str | None:
    """Who annotated, by address or number."""
    if isinstance(annotator, Mapping):
        annotator = annotator.get("email") or annotator.get("id")
    name = text_in({"annotator": annotator}, "annotator")
    return name if name is None or "@" in name else f"Label Studio user {name}"


def _moment(when: Record) -> datetime | None:
    """When it was last said."""
    return moment_in(when, "updated_at") or moment_in(when, "created_at")


def _sides(data: Record, about: tuple[str, ...]) -> tuple[str, str]:
    """The names of the cells that are left and right: those that the answer is about, or the only two images.

    A database may give a task's cells in any order, so only their names can tell.

    Raises:
        ValueError: they do not.
    """
    if len(about) == len(SIDES) and all(name in data for name in about):
        return about[0], about[1]
    there = sorted(name for name, cell in data.items() if may_show(cell))
    if len(there) == len(SIDES) and _are_a_pair(there):
        return there[0], there[1]
    raise ValueError(WHICH_SIDE.format(images=listed(there)))


def _are_a_pair(names: Iterable[str]) -> bool:
    """Whether sorted names are called left and right, or differ in their last letter alone, as in image1 and image2."""
    one, other = names
    return (one.replace("left", "right") == other and one != other) or (one[:-1] == other[:-1])
