"""Read samples of WebDataset, the files of one stem in an archive, as rows of a table."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from thumbtune.feedback.images import MAX_BYTES
from thumbtune.feedback.quoting import named
from thumbtune.feedback.reading.columns import Columns
from thumbtune.feedback.reading.record import Record, lowered_name
from thumbtune.feedback.reading.walk import IMAGE_SUFFIXES
from thumbtune.feedback.sources.contrib.tar_stream import BLOCK, Member, TarStream
from thumbtune.feedback.sources.samples import flattened

TEXT_SUFFIXES = ("json", "txt", "cls", "text", "caption", "prompt", "label")
MAX_TEXT_BYTES = 2_000_000  # of a sample; as Python objects, JSON may take fifty times as much
MAX_SUFFIX_LENGTH = 100  # characters; a longer suffix is no name of a column
MAX_SHOWN_STEM = 200  # characters of a stem


def text_suffixes(columns: Columns) -> frozenset[str]:
    """Return the suffixes of the files that hold text: the usual ones, and those that are mapped to a column."""
    mapped = (name.removeprefix(".") for name in columns.mapped.values())
    outer = {name[:end] for name in mapped for end in (*(dot.start() for dot in re.finditer(r"\.", name)), None)}
    return frozenset({*TEXT_SUFFIXES, *outer})


class UnusableSample(Exception):
    """This sample cannot be used; the message is the reason."""


@dataclass
class Sample:
    """The files of one stem that are read, by suffix, and the problem with them."""

    stem: str
    images: dict[str, bytes] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    problem: str | None = None
    _bytes_of_images: int = 0
    _bytes_of_texts: int = 0

    @property
    def shown(self) -> str:
        """The stem in characters that any terminal can print."""
        return "".join(letter if letter.isprintable() else "?" for letter in self.stem[:MAX_SHOWN_STEM])

    @property
    def matters(self) -> bool:
        """Whether the sample has an image, a text or a problem: one of arrays or films alone is skipped."""
        return bool(self.images or self.texts or self.problem)

    def row(self) -> Record:
        """Return the sample as a row.

        Raises:
            UnusableSample: it has a problem.
        """
        if self.problem is not None:
            raise UnusableSample(self.problem)
        texts = {suffix: _text_of(data, suffix) for suffix, data in self.texts.items()}
        cells = {suffix: _object_of(text) if suffix == "json" else text for suffix, text in texts.items()}
        return flattened({**self.images, **cells})

    def image(self) -> bytes:
        """Return the only image: of `png` and `mask.png`, the one with the short suffix.

        Raises:
            UnusableSample: there is no image, or several.
        """
        plain = [suffix for suffix in self.images if "." not in suffix] or list(self.images)
        if not plain:
            raise UnusableSample("it has no image; pack one right beside its other files, or remove the sample")
        if len(plain) > 1:
            names = " and ".join(f".{named(suffix)}" for suffix in plain[:5])
            raise UnusableSample(f"it has several images ({names}); name the one to use: --map image={named(plain[0])}")
        return self.images[plain[0]]

    def take(self, member: Member, suffix: str, is_image: bool) -> bool:
        """Return whether to read a file of the sample. If not, the reason becomes its `problem`."""
        why = _unusable(member)
        if why is None and (suffix in self.images or suffix in self.texts):
            why = "is there twice; keep one"
        if why is None and not self._has_room(member.size, is_image):
            limit = (MAX_BYTES if is_image else MAX_TEXT_BYTES) // 1_000_000
            why = f"makes its {'images' if is_image else 'texts'} larger than {limit} MB; make them smaller"
        if why is not None:
            self.problem = self.problem or f"its .{named(suffix)} {why}"
        return why is None

    def _has_room(self, size: int, is_image: bool) -> bool:
        """Count a file's bytes, and at least a block, so that a million empty files are refused."""
        if is_image:
            self._bytes_of_images += max(size, BLOCK)
            return self._bytes_of_images <= MAX_BYTES
        self._bytes_of_texts += max(size, BLOCK)
        return self._bytes_of_texts <= MAX_TEXT_BYTES


def _unusable(member: Member) -> str | None:
    if member.name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", member.name):
        return "has a name that leads out of the archive; pack it under a plain name"
    return None if member.plain else "is a link or a device and no file; pack the file itself"


def samples_of(stream: TarStream, texts: frozenset[str], with_images: bool) -> Iterator[Sample]:
    """Yield the samples: neighbouring files of one stem."""
    sample = Sample("")
    for member in stream:
        folder, _, name = member.name.rpartition("/")
        base, dot, suffix = name.partition(".")
        if member.folder or not base or not dot or len(suffix) > MAX_SUFFIX_LENGTH:
            continue
        stem = f"{folder}/{base}" if folder else base
        if sample.stem != stem:
            if sample.matters:
                yield sample
            sample = Sample(stem)
        suffix = lowered_name(suffix)
        is_image = f".{suffix.rpartition('.')[2]}" in IMAGE_SUFFIXES
        if (is_image or suffix in texts) and sample.take(member, suffix, is_image):
            data = stream.read() if with_images or not is_image else b""
            (sample.images if is_image else sample.texts)[suffix] = data
    if sample.matters:
        yield sample


def _object_of(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnusableSample("its .json is not JSON; correct it") from error
    if not isinstance(value, dict):
        raise UnusableSample("its .json is not a JSON object; correct it")
    return value


def _text_of(data: bytes, suffix: str) -> str:
    try:
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise UnusableSample(f"its .{named(suffix)} is not UTF-8 text; save it as UTF-8") from error
