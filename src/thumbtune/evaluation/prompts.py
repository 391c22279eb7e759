"""Sets of prompts: a file of any common kind, or a published set by its name.

    .txt         a prompt a line
    .json        a list of prompts, a list of objects, or an object of lists, whose keys are the styles
    .jsonl       an object a line
    .csv .tsv    a header, and a prompt a row

A prompt that comes twice is kept twice, as the published sets have it; the statistics count it once.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError, UsageError, reason
from thumbtune.evaluation.scorers.published import File, Places, fetch
from thumbtune.files import is_there, sha256

PROMPT_COLUMNS = ("prompt", "prompts", "caption", "text")
STYLE_COLUMNS = ("style", "category")
SHOWN = 60  # characters of a row in a sentence

Asked = tuple[str, str | None]  # a prompt and its style
Row = Mapping[str, Any]


@dataclass(frozen=True)
class PromptSet:
    """Prompts in their order. styles: one for each, or none at all.

    source: where it came from, for people
    cut_from: how many there were, of a set that was cut short
    """

    name: str
    prompts: tuple[str, ...]
    styles: tuple[str, ...] | None = None
    source: str = ""
    cut_from: int | None = None

    @property
    def whole(self) -> int:
        """How many prompts the set had before it was cut."""
        return self.cut_from or len(self.prompts)

    @property
    def sha256(self) -> str:
        """Changes with any prompt, style or their order."""
        return sha256(json.dumps([self.prompts, self.styles]).encode())

    def first(self, count: int) -> "PromptSet":
        """So many prompts from the beginning."""
        if count >= len(self.prompts):
            return self
        styles = self.styles and self.styles[:count]
        return PromptSet(self.name, self.prompts[:count], styles, self.source, self.whole)


@dataclass(frozen=True)
class Named:
    """A set with a name: files, each a style where there are several; a shipped one; a split of one on the hub."""

    what: str
    licence: str
    count: int
    files: tuple[File, ...] = ()
    here: Path | None = None
    hub: str | None = None
    split: str = ""


HPD = tuple(
    File(f"benchmark/{style}.json", "zhwang/HPDv2", kind="dataset")
    for style in ("anime", "concept-art", "paintings", "photo")
)
PARTI = File(
    "PartiPrompts.tsv",
    url="https://raw.githubusercontent.com/google-research/parti/main/PartiPrompts.tsv",
    sha256="fab29e41bb512a169b56acab4cf2a41dcb675e285df2efcde6640c7dd3c440eb",
)
GENEVAL = File(
    "generation_prompts.txt",
    url="https://raw.githubusercontent.com/djghosh13/geneval/main/prompts/generation_prompts.txt",
)
EMOJI = Path(__file__).parents[1] / "bundled" / "emoji.csv"
SETS = {
    "emoji": Named("what the bundled model draws, shipped", "as Thumbtune's", 48, here=EMOJI),
    "partiprompts": Named("PartiPrompts, in 12 categories", "Apache-2.0", 1632, (PARTI,)),
    "hpsv2": Named("the benchmark of HPS v2, in 4 styles", "Apache-2.0", 3200, HPD),
    "pickapic-v2-test": Named(
        "the test prompts of Pick-a-Pic v2; some are not safe for work",
        "MIT",
        500,
        hub="yuvalkirstain/pickapic_v2_no_images",
        split="test_unique",
    ),
    "geneval": Named("the prompts of GenEval", "MIT", 553, (GENEVAL,)),
    "drawbench": Named("DrawBench, in 11 categories", "none stated", 200, hub="sayakpaul/drawbench", split="train"),
}


def prompt_set(name: str, places: Places | None = None) -> PromptSet:
    """The set in a file, or the published set of that name.

    Raises:
        UsageError: there is neither such a file nor such a set, or the file holds no prompts.
        ThumbtuneError: a published set is not here and cannot be had.
    """
    if name in SETS:
        return _published(name, SETS[name], places or Places())
    file = Path(name)
    if not is_there(file):
        raise UsageError(
            f"There is no file {name} and no set of prompts of that name; give a file with a prompt a line, "
            f"or one of {', '.join(SETS)}."
        )
    return _whole(file.name, _read(file), str(file))


def _whole(name: str, asked: Iterable[Asked], source: str) -> PromptSet:
    """A set of what was read; styles only if every prompt has one."""
    found = [(" ".join(prompt.split()), style) for prompt, style in asked]
    found = [(prompt, style) for prompt, style in found if prompt]
    if not found:
        raise UsageError(f"{source} holds no prompts; write one a line, or name their column `prompt`.")
    torn = next((prompt for prompt, _ in found if any("\ud800" <= letter <= "\udfff" for letter in prompt)), None)
    if torn is not None:
        raise UsageError(f"{source} holds half a character in {ascii(torn)[:SHOWN]}; mend that prompt.")
    styles = tuple(style for _, style in found if style)
    return PromptSet(name, tuple(prompt for prompt, _ in found), styles if len(styles) == len(found) else None, source)


def _published(name: str, named: Named, places: Places) -> PromptSet:
    found = _as_published(name, named, places)
    if len(found.prompts) != named.count:
        raise ThumbtuneError(
            f"The prompts {name} are {len(found.prompts)} here, but {named.count} as published; fetch them again."
        )
    return found


def _as_published(name: str, named: Named, places: Places) -> PromptSet:
    if named.here is not None:
        return _whole(name, _read(named.here), name)
    if named.hub is not None:
        asked = list(_on_hub(name, named, places))
        return _whole(name, asked, f"{named.hub}, split {named.split}")
    several = len(named.files) > 1
    asked = [
        (prompt, Path(file.name).stem if several else style)
        for file in named.files
        for prompt, style in _read(fetch(file, places).path)
    ]
    return _whole(name, asked, ", ".join(str(file.repo or file.url) for file in named.files[:1]))


def _on_hub(name: str, named: Named, places: Places) -> Iterator[Asked]:
    """A split of a data set; in a folder of one's own it is NAME.jsonl."""
    local = places.local.expanduser() / f"{name}.jsonl" if places.local else None
    if local is not None and local.is_file():
        yield from _read(local)
        return
    if places.offline:
        raise ThumbtuneError(
            f"The prompts {name} are fetched from {named.hub}, and nothing is fetched offline; "
            f"name a folder that holds {name}.jsonl with --weights."
        )
    from datasets import load_dataset

    try:
        rows = load_dataset(str(named.hub), split=named.split)
    except Exception as error:  # of the network, of the hub, of the data set's own form
        raise ThumbtuneError(
            f"The prompts {name} could not be had from {named.hub} ({reason(error)}); "
            "look at the connection, or give a file of prompts."
        ) from error
    texts = rows.select_columns([c for c in rows.column_names if c.lower() in (*PROMPT_COLUMNS, *STYLE_COLUMNS)])
    yield from _of_rows(texts, str(named.hub))


def _read(file: Path) -> list[Asked]:
    """What a file holds, by its ending.

    Raises:
        UsageError: it cannot be read, or is of another kind.
    """
    readers: dict[str, Callable[[str, Path], Iterable[Asked]]] = {
        ".txt": lambda text, file: ((line, None) for line in text.split("\n")),
        ".json": lambda text, file: _of_json(json.loads(text), file),
        ".jsonl": lambda text, file: _of_rows(map(json.loads, filter(str.strip, text.split("\n"))), str(file)),
        ".csv": lambda text, file: _of_rows(csv.DictReader(io.StringIO(text, newline="")), str(file)),
        # PartiPrompts has quotation marks that open and never close: in a TSV they mean nothing
        ".tsv": lambda text, file: _of_rows(
            csv.DictReader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE), str(file)
        ),
    }
    if file.suffix.lower() not in readers:
        raise UsageError(f"{file} is no file of prompts; give one of {', '.join(readers)}.")
    try:
        return list(readers[file.suffix.lower()](file.read_text(encoding="utf-8-sig"), file))
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        advice = "save it as UTF-8 text" if isinstance(error, UnicodeDecodeError) else "mend it"
        raise UsageError(f"{file} cannot be read as prompts ({str(error)[:120]}); {advice}.") from error


def _of_json(found: Any, file: Path) -> Iterator[Asked]:
    lists = found if isinstance(found, dict) else {None: found}
    for style, prompts in lists.items():
        if not isinstance(prompts, list):
            raise UsageError(f"{file} holds no list of prompts; write a list, or an object of lists by style.")
        if prompts and all(isinstance(prompt, str) for prompt in prompts):
            yield from ((prompt, style) for prompt in prompts)
        else:
            yield from ((prompt, own or style) for prompt, own in _of_rows(prompts, str(file)))


def _of_rows(rows: Iterable[Any], source: str) -> Iterator[Asked]:
    """Prompts of objects, by the names of their columns."""
    for number, row in enumerate(rows, start=1):
        cells = {str(key).lower(): cell for key, cell in row.items()} if isinstance(row, Mapping) else {}
        prompt = next((cells[name] for name in PROMPT_COLUMNS if name in cells), None)
        if not isinstance(prompt, str):
            raise UsageError(
                f"{source}, row {number}: {str(row)[:SHOWN]} has no text under `prompt`; name the column so."
            )
        style = next((cells[name] for name in STYLE_COLUMNS if cells.get(name)), None)
        yield prompt, str(style) if style else None
