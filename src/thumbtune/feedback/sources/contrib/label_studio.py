"""Read Label Studio's exports: JSON, JSON-MIN and CSV, with a label for each annotation.

JSON holds tasks, {"data": {...}, "annotations": [{"result": [...], "completed_by": ..., "was_cancelled": ...}]}. In
JSON-MIN and CSV each annotation is a row, beside the cells of its task. The names of cells show which is the image and
which the prompt, as in any table (`columns`); `label` names the control that counts, if several contradict each other.
Comparisons of two images become likes and dislikes as in all sources (`judgements`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.metadata.image_files import parameters_in_image
from thumbtune.feedback.metadata.parameters import NO_PARAMETERS
from thumbtune.feedback.quoting import listed, named, shown
from thumbtune.feedback.reading.cells import first, is_blank, prompt_in, text_in
from thumbtune.feedback.reading.columns import COLUMNS, Columns
from thumbtune.feedback.reading.columns_read import columns_read
from thumbtune.feedback.reading.details import Details
from thumbtune.feedback.reading.image_roots import ImageRoot, check_root
from thumbtune.feedback.reading.labels import ReadLabel, Scale, notes_of
from thumbtune.feedback.reading.own_words import OF_LABELS, check_meanings
from thumbtune.feedback.reading.record import Record, lowered_name, record_of
from thumbtune.feedback.reading.rows import count_rows, first_row, read_rows
from thumbtune.feedback.source import DEFAULT_READING, Reading, SourceRow
from thumbtune.feedback.sources.contrib.label_studio_answers import (
    SIDES,
    Answer,
    answers_in,
    answers_of_row,
    is_ranking,
    label_of,
)
from thumbtune.feedback.sources.contrib.label_studio_images import TaskImages, may_show
from thumbtune.feedback.sources.judgements import ComparedImage, JudgedImages, Judgement, unusable_judgement
from thumbtune.feedback.sources.preferences import ComparisonCounts

OF_A_ROW = {"annotator", "lead_time", "updated_at"}  # some versions lack some of these, beside "annotation_id"
ANNOTATIONS = ("annotations", "completions")  # the latter before version 1
CHOICES = ("choice", "choices", *COLUMNS["label"])  # usual names of a control of choices
CANCELLED = "its annotator skipped it; annotate it in Label Studio, or remove it"
NO_TASK = "it is no task of Label Studio; export it again"
NO_ANSWER = (
    "none of its columns ({columns}) contains likes and dislikes; name the column of labels, as in --map label=opinion"
)
WHICH = "it shows {images}, and it is unclear which of them was labelled; name that one, as in --map image={first}"
WHICH_SIDE = "it compares {images}, and it is unclear which is left; call them left and right, or image1 and image2"
RANKING = (
    "it ranks a list of items (Ranker), which is not read; compare two images (Pairwise) or rate them, or write a "
    "table with a list of images and a list of ranks in each row"
)
NO_SIDE = "it contains no choice of left or right; annotate it again or remove it"


def recognises(path: Path) -> bool:
    """Return whether this is an export of Label Studio, by its first row. It never raises."""
    row = first_row(path) or {}
    is_task = isinstance(row.get("data"), Mapping) and any(isinstance(row.get(name), list) for name in ANNOTATIONS)
    return is_task or ("annotation_id" in row and bool(OF_A_ROW & set(row)))


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """The answers of one person to one task."""

    where: str
    data: Record
    answers: tuple[Answer, ...] = ()
    annotator: object = None
    when: Record
    cancelled: bool = False
    ranks: bool = False

    @property
    def selected(self) -> Answer | None:
        """The answer that compares two images; the other answers are then about both."""
        return next((answer for answer in self.answers if answer.selected is not None), None)


class LabelStudio:
    """One export: first the labels of single images, then those from comparisons.

    Raises:
        UsageError: the root is no folder, or `columns` maps an unknown name.
    """

    def __init__(self, path: Path, reading: Reading = DEFAULT_READING) -> None:
        self.file, self.reading = path, reading
        check_root(reading.root)
        check_meanings(reading.words.values(), OF_LABELS, "a label")
        self._details = Details()
        self._label = lowered_name(reading.columns.get("label", ""))
        self._columns = Columns(reading.columns)
        self._images = TaskImages(ImageRoot(path.parent, reading.root), self._cells)
        self._judged = JudgedImages(self._judgements, replace(reading, limit=None))

    def described(self) -> list[str]:
        """Return which column was read as what."""
        scales = self.__dict__.get("_scales", {})  # none yet, if no row was read
        return columns_read(self._columns) + notes_of(scales)

    def counts(self) -> ComparisonCounts:
        """Count the comparisons, and the images of each class. It reads everything once."""
        return self._judged.counts()

    def __length_hint__(self) -> int:
        rows = count_rows(self.file)
        return rows if self.reading.limit is None else min(rows, self.reading.limit)

    def __iter__(self) -> Iterator[SourceRow]:
        return (row for row in self.with_unrated() if not row.unrated)

    def with_unrated(self) -> Iterator[SourceRow]:
        """Yield the rows and the images of comparisons that decide nothing."""
        compared = False
        for annotation in self._annotations():
            if isinstance(annotation, SourceRow):
                yield annotation
            elif annotation.ranks and not annotation.answers:
                yield SourceRow(where=annotation.where, problem=RANKING, source=self.file.name)
            elif annotation.selected is not None and not annotation.cancelled:
                compared = True
            else:
                yield from self._labels(annotation)
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

    def _labels(self, annotation: Annotation) -> Iterator[SourceRow]:
        """Yield a row for each image with an answer; one without a label if there is no answer."""
        data, about = annotation.data, dict[str | None, list[Answer]]()
        for answer in annotation.answers:
            if not self._label or f"{self._label}.".startswith(f"{lowered_name(answer.name)}."):
                name = next((name for name in answer.about if may_show(data.get(name))), None)
                about.setdefault(name, []).append(answer)
        for name, each in (about or {None: []}).items():
            yield self._labelled(annotation, name, each)

    def _labelled(self, annotation: Annotation, name: str | None, answers: list[Answer]) -> SourceRow:
        liked, problem, unread, skipped = label_of(answers, self.reading.like_at, self._scale_of)
        if not answers and annotation.data is annotation.when:  # a row of JSON-MIN or CSV
            problem = NO_ANSWER.format(columns=listed(annotation.data))
        if annotation.cancelled:
            liked, problem, unread, skipped = ReadLabel(problem=CANCELLED)
        elif not answers and self.reading.label is not None:
            liked, problem = self.reading.label, None
        row = SourceRow(
            where=annotation.where, liked=liked, problem=problem, source=self.file.name, unread=unread, unrated=skipped
        )
        try:
            cell = annotation.data[name] if name else self._image_cell(annotation.data)
            row = replace(row, image=self._images.anywhere(cell, self.reading.allow_download))
            return self._described(row, annotation, cell, [answer.name for answer in answers])
        except (UnreadableImage, ValueError, RecursionError) as error:
            return replace(row, image=None, problem=CANCELLED if annotation.cancelled else str(error))

    def _described(self, row: SourceRow, annotation: Annotation, cell: object, answers: Iterable[str]) -> SourceRow:
        """Return the row with the other fields of the task, or of the image.

        Raises:
            ValueError: a cell holds another type of value.
        """
        ours = self._columns.ours_in(annotation.data)
        prompt = prompt_in(ours)
        try:
            embedded = NO_PARAMETERS if prompt or row.liked is None else parameters_in_image(self._images.here(cell))
        except UnreadableImage:  # it is on the web
            embedded = NO_PARAMETERS
        times = {"seed": ours["seed"], "created_at": annotation.when.get("updated_at")}
        if is_blank(times["created_at"]):
            times["created_at"] = annotation.when.get("created_at")
        details, left_out = self._details.read(times, "seed", "created_at")
        for each in answers:
            self._columns.used["label"][each] = None
        return replace(
            row,
            prompt=prompt or embedded.prompt,
            syntax=embedded.syntax,
            seed=embedded.seed if details["seed"] is None else details["seed"],  # type: ignore[arg-type]
            model=text_in(ours, "model") or embedded.model,
            source=text_in(ours, "source") or row.source,
            rater=_rater(annotation.annotator),
            created_at=details["created_at"],  # type: ignore[arg-type]
            left_out=left_out,
        )

    @cached_property
    def _scales(self) -> dict[str, Scale]:
        """The meaning of the answers in each control, which depends on all of them."""
        scales: dict[str, Scale] = {}
        for annotation in self._annotations():
            for answer in annotation.answers if isinstance(annotation, Annotation) else ():
                for cell in answer.cells:
                    self._add_to(scales, answer.name).add(cell)
        return scales

    def _add_to(self, scales: dict[str, Scale], name: str) -> Scale:
        if name not in scales:
            scales[name] = Scale(self.reading.like_at, name, self.reading.words)
        return scales[name]

    def _scale_of(self, name: str) -> Scale:
        return self._add_to(self._scales, name)

    def _image_cell(self, data: Record) -> object:
        """Return the image of a task.

        Raises:
            UnreadableImage: the task shows several.
        """
        cell = self._columns.ours_in(data)["image"]
        if "image" in self.reading.columns:
            return cell
        names = [name for name, cell in data.items() if may_show(cell)]
        self._columns.used["image"] |= dict.fromkeys(names if cell is None else ())
        if len(names) > 1:
            raise UnreadableImage(WHICH.format(images=listed(names), first=named(names[0])))
        return data[names[0]] if cell is None and names else cell

    def _judgements(self) -> Iterator[Judgement]:
        for annotation in self._annotations():
            if isinstance(annotation, Annotation) and annotation.selected is not None and not annotation.cancelled:
                try:
                    yield self._judgement(annotation, annotation.selected)
                except (UnreadableImage, ValueError, RecursionError) as error:
                    yield unusable_judgement(annotation.where, error, self.file.name)

    def _judgement(self, annotation: Annotation, answer: Answer) -> Judgement:
        """Return the judgement in one comparison.

        Raises:
            ValueError: the sides of the images are unknown, or neither is better.
        """
        if answer.selected not in SIDES:
            raise ValueError(NO_SIDE)
        ours = self._columns.ours_in(annotation.data)
        names = _sides(annotation.data, answer.about)
        return Judgement(
            where=annotation.where,
            prompt=prompt_in(ours),
            images=tuple(self._image(annotation.data[name], side) for name, side in zip(names, SIDES, strict=True)),
            ranks=(0.0, 1.0) if answer.selected == SIDES[0] else (1.0, 0.0),
            rater=_rater(annotation.annotator),
            created_at=self._details.read(annotation.when, "created_at")[0]["created_at"],  # type: ignore[arg-type]
            source=text_in(ours, "source") or self.file.name,
        )

    def _image(self, cell: object, side: str) -> ComparedImage:
        try:
            image = self._images.anywhere(cell, self.reading.allow_download)
            return ComparedImage(name=str(cell), side=side, image=image)
        except UnreadableImage as error:
            return ComparedImage(name=str(cell), side=side, problem=str(error))


def _of_task(task: Record, where: str) -> Iterator[Annotation]:
    """Yield every annotation of a task in JSON; an empty one if there is none."""
    data = record_of(task["data"].items())  # type: ignore[attr-defined]
    annotations = first(task, ANNOTATIONS)
    objects = [each for each in annotations if isinstance(each, Mapping)] if isinstance(annotations, list) else []
    for number, one in enumerate(objects, start=1):
        yield Annotation(
            where=f"{where}, annotation {shown(one.get('id', number))}",
            data=data,
            answers=tuple(answers_in(one.get("result"))),
            annotator=one.get("completed_by"),
            when=record_of(one.items()),
            cancelled=one.get("was_cancelled") is True,
            ranks=is_ranking(one.get("result")),
        )
    if not objects:
        yield Annotation(where=where, data=data, when={})


def _rater(annotator: object) -> str | None:
    """Return the name of an annotator: the address, or the number."""
    if isinstance(annotator, Mapping):
        annotator = annotator.get("email") or annotator.get("id")
    name = text_in({"annotator": annotator}, "annotator")
    return name if name is None or "@" in name else f"Label Studio user {name}"


def _sides(data: Record, about: tuple[str, ...]) -> tuple[str, str]:
    """Return the names of the left and the right cell: those of the answer, or those of the only two images.

    A task may have its cells in any order, so only their names show the side.

    Raises:
        ValueError: the names do not show it.
    """
    if len(about) == len(SIDES) and all(name in data for name in about):
        return about[0], about[1]
    names = sorted(name for name, cell in data.items() if may_show(cell))
    if len(names) == len(SIDES) and _are_a_pair(names):
        return names[0], names[1]
    raise ValueError(WHICH_SIDE.format(images=listed(names)))


def _are_a_pair(names: Iterable[str]) -> bool:
    """Return whether two sorted names differ in left and right, or only in the last letter, as image1 and image2."""
    one, other = names
    return (one.replace("left", "right") == other and one != other) or (one[:-1] == other[:-1])
