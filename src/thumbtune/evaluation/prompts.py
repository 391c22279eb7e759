"""Sets of prompts: from a file of a common format, or a published set by its name.

    .txt         one prompt on each line
    .json        a list of prompts, a list of objects, or an object of lists whose keys are the styles or the columns
    .jsonl       one object on each line
    .csv .tsv    a header, then one prompt in each row

This is the one reader of files of prompts: of `duel`, of `evaluate.prompts` and of human studies. Text is UTF-8, or
UTF-16 or 32 with a byte order mark. A repeated prompt is kept, as in the published sets; the statistics count it once.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError, UsageError, reason
from thumbtune.evaluation.scorers.published_files import Locations, PublishedFile, fetch
from thumbtune.feedback.reading.texts import open_text
from thumbtune.files import is_there, sha256

PROMPT_COLUMNS = ("prompt", "prompts", "caption", "text")
STYLE_COLUMNS = ("style", "category")
MARK = "\ufeff"  # a byte order mark; files that were joined have one in the middle
MAX_SHOWN_CHARACTERS = 60  # of a row in an error
MAX_CHARACTERS = 100_000  # of a prompt; the limit of the csv module is one for the process, and other readers raise it

StyledPrompt = tuple[str, str | None]  # a prompt and its style


@dataclass(frozen=True)
class PromptSet:
    """Prompts in their order.

    styles: one for each prompt; None if a prompt has no style
    source: where the prompts came from, for people
    cut_from: number of prompts before the set was cut; None if it is whole
    """

    name: str
    prompts: tuple[str, ...]
    styles: tuple[str, ...] | None = None
    source: str = ""
    cut_from: int | None = None

    @property
    def whole(self) -> int:
        """Number of prompts before the set was cut."""
        return self.cut_from or len(self.prompts)

    @property
    def sha256(self) -> str:
        """Hash of the prompts, the styles and their order."""
        return sha256(json.dumps([self.prompts, self.styles]).encode())

    def first(self, count: int) -> "PromptSet":
        """Return the set with only its first `count` prompts."""
        if count >= len(self.prompts):
            return self
        styles = self.styles and self.styles[:count]
        return PromptSet(self.name, self.prompts[:count], styles, self.source, self.whole)


@dataclass(frozen=True)
class NamedPromptSet:
    """A set with a name: published files (if several, each is a style), a bundled file, or a split on the hub."""

    description: str
    licence: str
    count: int
    files: tuple[PublishedFile, ...] = ()
    bundled: Path | None = None
    hub: str | None = None
    split: str = ""


HPD = tuple(
    PublishedFile(f"benchmark/{style}.json", "zhwang/HPDv2", kind="dataset")
    for style in ("anime", "concept-art", "paintings", "photo")
)
PARTI = PublishedFile(
    "PartiPrompts.tsv",
    url="https://raw.githubusercontent.com/google-research/parti/main/PartiPrompts.tsv",
    sha256="fab29e41bb512a169b56acab4cf2a41dcb675e285df2efcde6640c7dd3c440eb",
)
GENEVAL = PublishedFile(
    "generation_prompts.txt",
    url="https://raw.githubusercontent.com/djghosh13/geneval/main/prompts/generation_prompts.txt",
)
EMOJI = Path(__file__).parents[1] / "bundled" / "emoji.csv"
PROMPT_SETS = {
    "emoji": NamedPromptSet("the concepts of the bundled model, bundled", "same as Thumbtune", 48, bundled=EMOJI),
    "partiprompts": NamedPromptSet("PartiPrompts, in 12 categories", "Apache-2.0", 1632, (PARTI,)),
    "hpsv2": NamedPromptSet("the benchmark of HPS v2, in 4 styles", "Apache-2.0", 3200, HPD),
    "pickapic-v2-test": NamedPromptSet(
        "the test prompts of Pick-a-Pic v2; some are not safe for work",
        "MIT",
        500,
        hub="yuvalkirstain/pickapic_v2_no_images",
        split="test_unique",
    ),
    "geneval": NamedPromptSet("the prompts of GenEval", "MIT", 553, (GENEVAL,)),
    "drawbench": NamedPromptSet(
        "DrawBench, in 11 categories", "none stated", 200, hub="sayakpaul/drawbench", split="train"
    ),
}


def load_prompt_set(name: str, locations: Locations | None = None) -> PromptSet:
    """Return the prompts of a file, or the published set of this name.

    Raises:
        UsageError: there is no such file or set, or the file contains no prompts.
        ThumbtuneError: a published set cannot be found or downloaded.
    """
    if name in PROMPT_SETS:
        return _published(name, PROMPT_SETS[name], locations or Locations())
    file = Path(name)
    if not is_there(file):
        raise UsageError(
            f"There is no file and no set of prompts {name}; give a file with one prompt on each line, "
            f"or one of {', '.join(PROMPT_SETS)}.",
            code="prompts-unknown",
        )
    return _make_set(file.name, _read(file), str(file))


def _make_set(name: str, rows: Iterable[StyledPrompt], source: str) -> PromptSet:
    """Return the set of these prompts; it has styles only if every prompt has one."""
    styled = [(" ".join(prompt.replace(MARK, "").split()), style) for prompt, style in rows]
    styled = [(prompt, style) for prompt, style in styled if prompt]
    if not styled:
        raise UsageError(
            f"{source} contains no prompts; write one on each line, or name their column `prompt`.",
            code="prompts-empty",
        )
    broken = next((prompt for prompt, _ in styled if any("\ud800" <= letter <= "\udfff" for letter in prompt)), None)
    if broken is not None:
        raise UsageError(
            f"{source} contains an incomplete character in {ascii(broken)[:MAX_SHOWN_CHARACTERS]}; correct that "
            "prompt.",
            code="prompts-half-character",
        )
    zero = next((prompt for prompt, _ in styled if "\0" in prompt), None)
    if zero is not None:
        raise UsageError(
            f"{source} contains a zero byte in {ascii(zero)[:MAX_SHOWN_CHARACTERS]}, so it is not text or was cut off; "
            "correct that prompt.",
            code="prompts-zero-byte",
        )
    styles = tuple(style for _, style in styled if style)
    prompts = tuple(prompt for prompt, _ in styled)
    return PromptSet(name, prompts, styles if len(styles) == len(styled) else None, source)


def _published(name: str, named: NamedPromptSet, locations: Locations) -> PromptSet:
    prompts = _read_published(name, named, locations)
    if len(prompts.prompts) != named.count:
        raise ThumbtuneError(
            f"The set {name} has {len(prompts.prompts)} prompts, but the published set has {named.count} prompts; "
            "download it again.",
            code="prompts-wrong-count",
        )
    return prompts


def _read_published(name: str, named: NamedPromptSet, locations: Locations) -> PromptSet:
    if named.bundled is not None:
        return _make_set(name, _read(named.bundled), name)
    if named.hub is not None:
        return _make_set(name, _from_hub(name, named, locations), f"{named.hub}, split {named.split}")
    several = len(named.files) > 1
    rows = [
        (prompt, Path(file.name).stem if several else style)
        for file in named.files
        for prompt, style in _read(fetch(file, locations).path)
    ]
    return _make_set(name, rows, ", ".join(str(file.repo or file.url) for file in named.files[:1]))


def _from_hub(name: str, named: NamedPromptSet, locations: Locations) -> Iterator[StyledPrompt]:
    """Yield a split of a data set on the hub, or NAME.jsonl of the local folder."""
    local = locations.local.expanduser() / f"{name}.jsonl" if locations.local else None
    if local is not None and local.is_file():
        yield from _read(local)
        return
    if locations.offline:
        raise ThumbtuneError(
            f"The prompts {name} must be downloaded from {named.hub}, which --offline forbids; "
            f"name a folder that contains {name}.jsonl with --weights.",
            code="prompts-offline",
        )
    from datasets import load_dataset

    try:
        rows = load_dataset(str(named.hub), split=named.split)
    except Exception as error:  # network errors, hub errors, errors of the format
        raise ThumbtuneError(
            f"The prompts {name} could not be downloaded from {named.hub} ({reason(error)}); "
            "check the connection, or give a file of prompts.",
            code="prompts-missing",
        ) from error
    texts = rows.select_columns([c for c in rows.column_names if c.lower() in (*PROMPT_COLUMNS, *STYLE_COLUMNS)])
    yield from _from_rows(texts, str(named.hub))


def _read(file: Path) -> list[StyledPrompt]:
    """Return the prompts of a file, read by its suffix.

    Raises:
        UsageError: the file cannot be read, or has another suffix.
    """
    readers: dict[str, Callable[[str, Path], Iterable[StyledPrompt]]] = {
        ".txt": lambda text, file: ((line, None) for line in text.split("\n")),
        ".json": lambda text, file: _from_json(json.loads(text), file),
        ".jsonl": lambda text, file: _from_rows(map(json.loads, filter(str.strip, text.split("\n"))), str(file)),
        ".csv": lambda text, file: _from_rows(csv.DictReader(io.StringIO(text, newline="")), str(file)),
        # PartiPrompts contains unclosed quotation marks, which have no meaning in a TSV
        ".tsv": lambda text, file: _from_rows(
            csv.DictReader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE), str(file)
        ),
    }
    if file.suffix.lower() not in readers:
        raise UsageError(f"{file} has an unknown suffix; use one of {', '.join(readers)}.", code="prompts-suffix")
    try:
        rows = list(readers[file.suffix.lower()](_text_of(file), file))
        if (longest := max((len(prompt) for prompt, _ in rows), default=0)) > MAX_CHARACTERS:
            raise ValueError(f"field larger than {MAX_CHARACTERS:,} characters: {longest:,}")
        return rows
    except ThumbtuneError as error:
        raise error if isinstance(error, UsageError) else UsageError(str(error), code="prompts-unreadable") from error
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        advice = "save it as UTF-8 text" if isinstance(error, UnicodeDecodeError) else "correct it"
        raise UsageError(
            f"{file} cannot be read as prompts ({str(error)[:120]}); {advice}.", code="prompts-unreadable"
        ) from error


def _text_of(file: Path) -> str:
    """Return a file's text, with each end of a line as one newline: those of Windows and of old Macs too."""
    with open_text(file) as text:
        return text.read().removeprefix(MARK).replace("\r\n", "\n").replace("\r", "\n")


def _columns_in(content: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the rows of an object that holds columns and not styles; None for an object of styles.

    >>> _columns_in({"prompt": ["a cat", "a dog"], "seed": [1, 2]})
    [{'prompt': 'a cat', 'seed': 1}, {'prompt': 'a dog', 'seed': 2}]
    """
    named = [key for key in content if key.lower() in PROMPT_COLUMNS]
    others = [cells for key, cells in content.items() if key not in named and key.lower() not in STYLE_COLUMNS]
    whole = all(isinstance(cells, list) for cells in content.values())
    if len(named) != 1 or not whole or any(isinstance(cell, str) for cells in others for cell in cells):
        return None
    if len({len(cells) for cells in content.values()}) != 1:
        return None
    return [dict(zip(content, cells, strict=True)) for cells in zip(*content.values(), strict=True)]


def _from_json(content: Any, file: Path) -> Iterator[StyledPrompt]:
    if isinstance(content, dict) and (rows := _columns_in(content)) is not None:
        yield from _from_rows(rows, str(file))
        return
    lists = content if isinstance(content, dict) else {None: content}
    for style, prompts in lists.items():
        if not isinstance(prompts, list):
            raise UsageError(
                f"{file} contains no list of prompts; write a list, or an object of lists by style.",
                code="prompts-no-list",
            )
        if prompts and all(isinstance(prompt, str) for prompt in prompts):
            yield from ((prompt, style) for prompt in prompts)
        else:
            yield from ((prompt, own or style) for prompt, own in _from_rows(prompts, str(file)))


def _from_rows(rows: Iterable[Any], source: str) -> Iterator[StyledPrompt]:
    """Yield the prompts of objects, by the names of their columns."""
    for number, row in enumerate(rows, start=1):
        cells = {str(key).lower(): cell for key, cell in row.items()} if isinstance(row, Mapping) else {}
        prompt = next((cells[name] for name in PROMPT_COLUMNS if name in cells), None)
        if not isinstance(prompt, str):
            raise UsageError(
                f"{source}, row {number}: {str(row)[:MAX_SHOWN_CHARACTERS]} has no text under `prompt`; give "
                "the column of prompts this name.",
                code="prompts-row-without-prompt",
            )
        style = next((cells[name] for name in STYLE_COLUMNS if cells.get(name)), None)
        yield prompt, str(style) if style else None
