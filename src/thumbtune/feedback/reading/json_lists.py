"""Read the items of a JSON list one by one, so that the list may be larger than the memory."""

import json
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TextIO

from thumbtune.errors import ThumbtuneError

CHUNK = 1 << 16  # characters that are read at a time
MAX_ITEM = 64_000_000  # characters of one item: an image of 48 MB as base64

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = "0123456789.eE+-"  # and "", at the end of a piece
_DECODER = json.JSONDecoder()


def is_list(text: TextIO) -> bool:
    """Return whether a list begins here. It consumes the beginning of the text."""
    return _Buffer(text).peek_token() == "["


def items_of(text: TextIO, file: Path) -> Iterator[object]:
    """Yield the items of a text that is one list; `file` is named in errors.

    Raises:
        ThumbtuneError: the text is no list, is damaged, or goes on after the list.
    """
    buffer = _Buffer(text)
    if buffer.take_token() != "[":
        raise ThumbtuneError(f"{file} is not a JSON list; export it again.", code="json-not-list")
    if buffer.peek_token() == "]":
        buffer.take_token()
    else:
        yield from _filled(buffer, file)
    if buffer.peek_token():
        raise ThumbtuneError(
            f"{file} contains text after its list; keep only the list, or save it as JSON lines (.jsonl).",
            code="json-after-list",
        )


def _filled(buffer: "_Buffer", file: Path) -> Iterator[object]:
    for number in count(1):
        try:
            item = buffer.take_item()
        except (ValueError, RecursionError) as error:
            raise ThumbtuneError(f"{file} is damaged at row {number}; export it again.", code="json-damaged") from error
        yield item
        token = buffer.take_token()
        if token == "]":
            return
        if token != ",":
            raise ThumbtuneError(f"{file} is damaged after row {number}; export it again.", code="json-damaged")


class _Buffer:
    """The part of a text that was read and not yet consumed: `piece` from `at` on."""

    def __init__(self, text: TextIO) -> None:
        self.text = text
        self.piece = ""
        self.at = 0

    def peek_token(self) -> str:
        """Return the next character that is no white space, or "" at the end."""
        self.at = _SPACE.match(self.piece, self.at).end()  # type: ignore[union-attr] - it matches nothing, too
        while self.at == len(self.piece) and self._read_on(CHUNK):
            self.at = _SPACE.match(self.piece, self.at).end()  # type: ignore[union-attr]
        return self.piece[self.at : self.at + 1]

    def take_token(self) -> str:
        """Return the same character and consume it."""
        token = self.peek_token()
        self.at += len(token)
        return token

    def take_item(self) -> object:
        """Return the next JSON value and consume it. Pieces double until the value is whole.

        Raises:
            ValueError: it is no JSON, or too long.
            RecursionError: it is nested too deeply.
        """
        self.peek_token()
        while True:
            try:
                item, end = _DECODER.raw_decode(self.piece, self.at)
            except ValueError:
                if not self._read_more():
                    raise
                continue
            # Of "[12.5]", a piece may end after "12": a number at the end of a piece may go on.
            cut = isinstance(item, (int, float)) and self.piece[end : end + 1] in _NUMBER
            if not (cut and self._read_more()):
                self.at = end
                return item

    def _read_more(self) -> bool:
        """Double the piece. Return whether there was more text and the limit is not reached."""
        left = len(self.piece) - self.at
        return left <= MAX_ITEM and self._read_on(max(CHUNK, left))

    def _read_on(self, characters: int) -> bool:
        more = self.text.read(characters)
        if more:
            self.piece, self.at = self.piece[self.at :] + more, 0
        return bool(more)
