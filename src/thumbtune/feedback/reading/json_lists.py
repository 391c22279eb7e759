"""The items of a list in JSON, one by one, so that the list may be larger than the memory."""

import json
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TextIO

from thumbtune.errors import ThumbtuneError

CHUNK = 1 << 16  # characters that are read at once
LONGEST = 64_000_000  # characters of one item: an image of 48 MB as base64

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = "0123456789.eE+-"  # and "", the end of a piece
_DECODER = json.JSONDecoder()


def is_list(text: TextIO) -> bool:
    """Whether a list begins here. It takes the beginning of the text away."""
    return _Held(text).next_mark() == "["


def items_of(text: TextIO, file: Path) -> Iterator[object]:
    """The items of the list that is the whole text; `file` is for sentences.

    Raises:
        ThumbtuneError: it is no list, or damaged, or goes on after its end.
    """
    held = _Held(text)
    if held.take_mark() != "[":
        raise ThumbtuneError(f"{file} is no list in JSON; export it again.", code="json-not-list")
    if held.next_mark() == "]":
        held.take_mark()
    else:
        yield from _filled(held, file)
    if held.next_mark():
        raise ThumbtuneError(
            f"{file} goes on after its list; keep one list, or save it as JSON lines (.jsonl).", code="json-after-list"
        )


def _filled(held: "_Held", file: Path) -> Iterator[object]:
    for number in count(1):
        try:
            item = held.take_item()
        except (ValueError, RecursionError) as error:
            raise ThumbtuneError(f"{file} is damaged at row {number}; export it again.", code="json-damaged") from error
        yield item
        mark = held.take_mark()
        if mark == "]":
            return
        if mark != ",":
            raise ThumbtuneError(f"{file} is damaged after row {number}; export it again.", code="json-damaged")


class _Held:
    """What was read of a text and not yet used: from `at` on in `piece`, which is not cut after every item."""

    def __init__(self, text: TextIO) -> None:
        self.text = text
        self.piece = ""
        self.at = 0

    def next_mark(self) -> str:
        """The next character that is no white space; nothing at the end."""
        self.at = _SPACE.match(self.piece, self.at).end()  # type: ignore[union-attr] - it matches nothing, too
        while self.at == len(self.piece) and self._read_on(CHUNK):
            self.at = _SPACE.match(self.piece, self.at).end()  # type: ignore[union-attr]
        return self.piece[self.at : self.at + 1]

    def take_mark(self) -> str:
        """The same, which then is used."""
        mark = self.next_mark()
        self.at += len(mark)
        return mark

    def take_item(self) -> object:
        """One value of any kind. It is read in ever larger pieces until it is whole.

        Raises:
            ValueError: it is none, or too long.
            RecursionError: it is nested too deeply.
        """
        self.next_mark()
        while True:
            try:
                item, end = _DECODER.raw_decode(self.piece, self.at)
            except ValueError:
                if not self._read_more():
                    raise
                continue
            # Of "[12.5]", a piece may end after "12": what could be the middle of a number is not whole yet.
            cut = isinstance(item, (int, float)) and self.piece[end : end + 1] in _NUMBER
            if not (cut and self._read_more()):
                self.at = end
                return item

    def _read_more(self) -> bool:
        """Read as much again as is left; whether there was more, and the limit is not reached."""
        left = len(self.piece) - self.at
        return left <= LONGEST and self._read_on(max(CHUNK, left))

    def _read_on(self, characters: int) -> bool:
        more = self.text.read(characters)
        if more:
            self.piece, self.at = self.piece[self.at :] + more, 0
        return bool(more)
