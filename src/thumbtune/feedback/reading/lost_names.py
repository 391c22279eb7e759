"""Find the file that a name means where no file has this very name: names of other machines, and other spellings.

    C:\\me\\pics\\sub\\0.png, /home/me/pics/sub/0.png     the longest end of it that exists: sub/0.png
    a%20b.png                    percent-encoded, as in addresses
    ünï.png                      composed or decomposed accents, and upper or lower case, if only one file fits
    craiyon/p01                  without an ending, if only one image has this name

Names with `..` are not searched for, and no link is followed out of the folder. If two names with other beginnings mean
one file, C:\\run1\\images\\0.png and C:\\run2\\images\\0.png, neither is found: nobody can say whose image it is.
"""

import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote

from thumbtune.feedback.reading.walk import IMAGE_SUFFIXES

MAX_LISTINGS = 256  # folders whose names are in memory
MAX_PARTS = 64  # of a path


class SharedEnd(ValueError):
    """Two names of another machine end alike, and only one file here has this end."""


@dataclass(frozen=True)
class LostNames:
    """The search for files below some folders, in this order.

    shortens: whether relative names are cut too
    survey:   looks for all names of the table, so that the first of two names of one file is refused too; it returns
              False if it cannot do so yet
    """

    bases: Sequence[Path]
    shortens: bool = False
    survey: Callable[[], bool] | None = None
    _listings: dict[Path, dict[str, list[str]]] = field(default_factory=dict)
    _claims: dict[str, int] = field(default_factory=dict)  # a file -> the hash of the beginning that its name lost
    _shared: set[str] = field(default_factory=set)  # files that two names mean
    _surveys: list[bool] = field(default_factory=list)  # whether each is done: none, or one

    def find(self, name: str) -> Path | None:
        """Return the file that a name means, with links not yet followed; None if there is none.

        Raises:
            SharedEnd: another name with another beginning was found to mean it.
        """
        for spelled in dict.fromkeys((name, unquote(name))):
            path = PureWindowsPath(spelled)  # understands both kinds of slash, and drive letters, on every system
            parts = path.parts[1:] if path.anchor else path.parts
            if not parts or ".." in parts or len(parts) > MAX_PARTS or "\0" in spelled:
                continue
            for dropped in self._numbers_of_dropped_parts(path, len(parts)):
                for base in self.bases:
                    if (found := self._below(base, parts[dropped:])) is not None:
                        self._claim(str(found), path, parts[:dropped])
                        return found
        return None

    def _numbers_of_dropped_parts(self, path: PureWindowsPath, parts: int) -> Iterator[int]:
        yield from () if path.anchor else (0,)
        if path.anchor or self.shortens:
            least = 2 if path.drive.startswith("\\\\") else 1  # a share on a network, whose files are others' too
            yield from range(0 if path.anchor else 1, parts - least + 1)

    def _claim(self, found: str, path: PureWindowsPath, dropped: Sequence[str]) -> None:
        """Refuse a file that two names of images in different folders mean."""
        if not path.anchor and not dropped:
            return
        if self.survey is not None and not self._surveys:
            self._surveys.append(False)
            if not self.survey():
                self._surveys.clear()
                return
            self._surveys[:] = [True]
        beginning = "/".join((path.anchor, *dropped))
        claim = hash(beginning.casefold() if path.drive else beginning)
        if self._claims.setdefault(found, claim) != claim:
            self._shared.add(found)
        if found in self._shared and False not in self._surveys:
            raise SharedEnd(Path(found).name)

    def _below(self, base: Path, parts: Sequence[str]) -> Path | None:
        path = base
        for place, part in enumerate(parts, start=1):
            names = self._names_in(path)
            found = _one_of(names.get(_key(part), ()), part)
            if found is None and place == len(parts):
                found = _one_of([each for each in names.get(f"{_key(part)}.", ()) if _is_image(each)], part)
            if found is None:
                return None
            path = path / found
        return path if path.is_file() else None

    def _names_in(self, folder: Path) -> dict[str, list[str]]:
        """Return the names in a folder by their key, and by that of their stem with a dot behind it."""
        if folder not in self._listings:
            if len(self._listings) >= MAX_LISTINGS:
                self._listings.clear()
            names: dict[str, list[str]] = {}
            try:
                listed = sorted(os.listdir(folder))
            except OSError:  # it is no folder, or may not be read
                listed = []
            for name in listed:
                names.setdefault(_key(name), []).append(name)
                names.setdefault(f"{_key(os.path.splitext(name)[0])}.", []).append(name)
            self._listings[folder] = names
        return self._listings[folder]


def _one_of(names: Sequence[str], wanted: str) -> str | None:
    """Return the only one of some names; of several, the one that differs least from the wanted name."""
    if len(names) > 1:
        composed = [
            name for name in names if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", wanted)
        ]
        names = [wanted] if wanted in names else composed
    return names[0] if len(names) == 1 else None


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
