"""The types of the files in a duel's folder, and one door for each kind of file: JSON of a type, a table of columns."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,  # of pydantic, which asks for it below Python 3.12
)

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypedDict

from thumbtune.documents import DocumentFault, brief, read_json
from thumbtune.spreadsheets import original

PLACE = ("prompt", "seed")  # of an image, in every table of a duel
WHOLE = re.compile(r"-?[0-9]{1,30}")
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]  # of a side: a folder inside that of the duel


class SideEntry(TypedDict):
    """A side of a manifest; form 1 calls its name `said`, and its prefix `mark`."""

    name: NotRequired[str | None]
    said: NotRequired[str | None]
    kind: NotRequired[str | None]
    fingerprint: NotRequired[str | None]
    prompt_prefix: NotRequired[str | None]
    prompt_encoding: NotRequired[dict[str, Any]]  # where it is not the usual one
    mark: NotRequired[str | None]


class Prompts(TypedDict):
    """The prompts of a manifest."""

    name: str
    count: Count
    of: NotRequired[Count]
    sha256: NotRequired[str]


class Seeds(TypedDict):
    """The seeds of a manifest."""

    first: int
    per_prompt: Annotated[int, Field(ge=1)]


class Sampling(TypedDict):
    """The sampler of a manifest."""

    steps: int
    guidance: float
    negative: NotRequired[str]


class Manifest(TypedDict):
    """duel.json: what is compared."""

    form: NotRequired[int]
    sides: dict[Name, SideEntry]
    base: NotRequired[str | None]
    prompts: Prompts
    source: NotRequired[str | None]
    seeds: Seeds
    sampler: Sampling


class Reach(TypedDict):
    """An interval."""

    low: float
    high: float


class EmptyRow(TypedDict):
    """A standing without scores of both sides."""

    scorer: str
    estimand: str
    style: str | None
    prompts: Count


class Row(EmptyRow):
    """A standing that was measured."""

    rate: float
    wins: Count
    ties: Count
    losses: Count
    distinct: Count
    bootstrap: Reach
    wilson: Reach
    sign_test: float
    holm: float | None
    more_prompts: NotRequired[int | None]


def _kind_of(row: Any) -> str:
    return "empty" if isinstance(row, dict) and row.get("prompts") == 0 else "row"


class ScorerEntry(TypedDict):
    """A scorer of a result."""

    id: str
    revision: str
    preprocessing: str
    failed: dict[str, str]


class Places(TypedDict):
    """Where weights came from."""

    local: NotRequired[str | None]
    offline: NotRequired[bool]


class Result(TypedDict):
    """result.json: win-rates."""

    a: str
    b: str
    prompts: Count
    per_prompt: Count
    tie: float
    paper_ci: bool
    scorer_names: NotRequired[list[str]]
    asked: NotRequired[list[str]]  # an earlier name of scorer_names
    scorers: list[ScorerEntry]
    sentences: list[str]
    standings: list[Annotated[Annotated[Row, Tag("row")] | Annotated[EmptyRow, Tag("empty")], Discriminator(_kind_of)]]
    places: NotRequired[Places]
    hardly_differ: NotRequired[str | None]  # a sentence, where the images of both sides look the same


class SideNames(TypedDict):
    """The part of result.json that names the sides."""

    a: str
    b: str


class GateEntry(TypedDict):
    """A gate of a verdict; form 1 says `passed` and `enough` in place of the answer."""

    name: str
    sentence: str
    answer: NotRequired[Literal["passed", "failed", "open"]]
    passed: NotRequired[bool]
    enough: NotRequired[bool]


class Verdict(TypedDict):
    """verdict.json: the decision on a run."""

    decision: NotRequired[str]
    sentence: str
    gates: list[GateEntry]
    settings: NotRequired[list[str]]
    agreement: NotRequired[dict[str, Any] | None]
    no_agreement: NotRequired[str | None]


def record(file: Path, kind: Any) -> Any:
    """Return the JSON of a file, checked against one of these types.

    Raises:
        DocumentFault: it cannot be read, or holds something else; the message begins with its name.
    """
    try:
        return read_json(file, kind)
    except DocumentFault as fault:
        raise DocumentFault(f"{file.name}: {fault}", fault.kind) from fault


def rows(file: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a table that has at least these columns, a cell for each, and whole numbers for its places.

    Raises:
        DocumentFault: it cannot be read, or lacks a column or a cell; the message begins with its name.
    """
    number = 1
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines)
            if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
                raise ValueError(f"it has no column {missing[0]}")
            for row in reader:
                number = reader.line_num
                if None in row.values():
                    raise ValueError("it is too short")
                if None in row:
                    raise ValueError("it is too long")
                for name in PLACE:
                    if not WHOLE.fullmatch(row[name]):
                        raise ValueError(f"{brief(row[name])!r} under {name} is not a whole number")
                yield {original(name): original(cell) for name, cell in row.items()}
    except (OSError, ValueError, csv.Error) as error:
        raise DocumentFault(f"{file.name}, line {number}: {error}", "shape") from error
