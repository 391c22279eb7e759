"""Read answers in Label Studio: choices in words, ratings, and which of two images is better.

type              value                     says
choices           {"choices": ["Like"]}     like or dislike, in the words of `reading.vocabulary` or one's own
rating, number    {"rating": 4}             a like from `like_at` up
pairwise          {"selected": "left"}      the left one is better
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from thumbtune.feedback.quoting import named, shown
from thumbtune.feedback.reading.labels import ReadLabel, Scale, mapping_of, number_of, stars_of, word_of
from thumbtune.feedback.reading.record import Record, lowered_name

NUMBERS = ("rating", "number")
SIDES = ("left", "right")
NO_LABEL = "its annotation is neither a like nor a dislike; annotate it again or remove it"
NEITHER = "its {name} {cell} is neither like nor dislike; give its meaning, as in --map-label {mapping}"
A_RATING = (
    "its {name} {cell} is a rating, not a label; give the lowest rating that is a like, as in --like-at {like_from:g}"
)
BOTH = "it is a like by {likes} and a dislike by {dislikes}; name the one that counts, as in --map label={likes}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer in one control, and the names of the cells it is about; `selected` is the better one of two."""

    name: str
    about: tuple[str, ...] = ()
    cells: tuple[object, ...] = ()
    selected: str | None = None


ScaleOf = Callable[[str], Scale]  # from the name of a control to the meaning of all its answers


def is_ranking(result: object) -> bool:
    """Return whether the `result` of an annotation ranks a list of items, with the tag Ranker."""
    items = [item for item in result if isinstance(item, Mapping)] if isinstance(result, list) else []
    values = [item.get("value") for item in items]
    return any(item.get("type") == "ranker" for item in items) or any(
        isinstance(value, Mapping) and "ranker" in value for value in values
    )


def answers_in(result: object) -> Iterator[Answer]:
    """Yield the answers in the `result` of an annotation, without its drawings and texts."""
    for item in result if isinstance(result, list) else []:
        if isinstance(item, Mapping):
            name, about = item.get("from_name"), item.get("to_name")
            names = about.split(",") if isinstance(about, str) else about if isinstance(about, list) else []
            names = tuple(lowered_name(each) for each in names if isinstance(each, str))
            yield from _answer(name if isinstance(name, str) else "answer", names, item.get("value"))


def answers_of_row(row: Record, words: Iterable[str]) -> Iterator[Answer]:
    """Yield the answers in a row of JSON-MIN or CSV: objects in any column, and words in the columns `words`."""
    words = set(words)
    for name, cell in row.items():
        for item in _list_in(cell):
            if isinstance(item, Mapping):
                yield from _answer(name, (), item)
            elif name in words and isinstance(item, str | int | float) and str(item).strip():
                yield Answer(name=name, cells=(item,))


def label_of(answers: Iterable[Answer], like_at: float | None, scale_of: ScaleOf) -> ReadLabel:
    """Return the label of some answers."""
    names: dict[bool, str] = {}
    none = ReadLabel(problem=NO_LABEL)
    for answer in answers:
        for cell in answer.cells:
            label = _label_of(answer.name, cell, like_at, scale_of)
            if label.liked is not None:
                names.setdefault(label.liked, answer.name)
            elif none.problem == NO_LABEL and (label.problem or label.skipped):
                none = label
    if len(names) > 1:
        return ReadLabel(problem=BOTH.format(likes=named(names[True]), dislikes=named(names[False])))
    return ReadLabel(next(iter(names))) if names else none


def _answer(name: str, about: tuple[str, ...], value: object) -> Iterator[Answer]:
    if not isinstance(value, Mapping):
        return
    choices = value.get("choices")
    cells = tuple(choices) if isinstance(choices, list) else () if choices is None else (choices,)
    cells += tuple(value[key] for key in NUMBERS if value.get(key) is not None)
    selected = value.get("selected")
    if cells or isinstance(selected, str):
        yield Answer(name=name, about=about, cells=cells, selected=selected if isinstance(selected, str) else None)


def _label_of(name: str, cell: object, like_at: float | None, scale_of: ScaleOf) -> ReadLabel:
    if (liked := word_of(cell)) is not None and not scale_of(name).own:
        return ReadLabel(liked)
    if scale_of(name).skips(cell):
        return ReadLabel(skipped=True)
    stars, number = (None, None) if isinstance(cell, bool) else (stars_of(cell), number_of(cell))
    rating = number if stars is None else stars
    is_rating = rating is not None and not isinstance(cell, str)
    liked = (None if like_at is None else rating >= like_at) if is_rating else scale_of(name).liked(cell)  # type: ignore[operator]
    if liked is not None:
        return ReadLabel(liked)
    if rating is not None:
        return ReadLabel(
            problem=A_RATING.format(name=named(name), cell=shown(cell), like_from=scale_of(name).ratings.like_from())
        )
    problem = NEITHER.format(name=named(name), cell=shown(cell), mapping=mapping_of(cell))
    return ReadLabel(problem=problem, unread=cell if isinstance(cell, str) else None)


def _list_in(cell: object) -> list[object]:
    """Return the items of a cell, which in CSV is the JSON of a list."""
    if isinstance(cell, str) and cell.lstrip()[:1] in ("[", "{"):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return [cell]
    return cell if isinstance(cell, list) else [cell]
