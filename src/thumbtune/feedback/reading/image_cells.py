"""A cell that holds an image or says where one is: bytes, base64 text, a name, an address."""

import base64
import re
from collections.abc import Mapping
from functools import partial
from pathlib import PureWindowsPath
from urllib.parse import unquote_to_bytes

from thumbtune.feedback import images
from thumbtune.feedback.images import UnreadableImage, read_image
from thumbtune.feedback.reading import downloads
from thumbtune.feedback.reading.cells import is_blank
from thumbtune.feedback.reading.places import Place
from thumbtune.feedback.shown import shown
from thumbtune.feedback.source import Bytes
from thumbtune.files import sha256

NAMELESS = "it names no image; fill in file_name or remove the row"
SHORTEST_BASE64 = 40  # characters: no image is shorter, and few names are longer

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
# How PNG, JPEG, GIF, WebP, BMP and TIFF begin in base64, before characters that names of files with an ending lack.
_BASE64 = re.compile(r"(iVBORw0KGgo|/9j/|_9j_|R0lGOD|UklGR|Qk|SUkqA|TU0AK)[A-Za-z0-9+/_\s-]*={0,2}\s*")
_LOOKED_AT = 256  # characters


def is_image(cell: object) -> bool:
    """Whether a cell holds an image itself, and does not only name one."""
    cell = unwrapped(cell)
    return (isinstance(cell, bytes) and bool(cell)) or (isinstance(cell, str) and (_is_data(cell) or _is_base64(cell)))


def is_on_the_web(cell: object) -> bool:
    """Whether a cell names an image by an address that would have to be followed."""
    cell = unwrapped(cell)
    scheme = _SCHEME.match(cell.strip()) if isinstance(cell, str) and not is_image(cell) else None
    return scheme is not None and scheme[1].lower() != "file"


def unwrapped(cell: object) -> object:
    """What a cell of `datasets` has in it, {"bytes": ..., "path": ...}; any other cell as it is."""
    if isinstance(cell, Mapping):
        held, name = cell.get("bytes"), cell.get("path")
        if isinstance(held, str) and held:  # JSON knows no bytes
            return f"data:;base64,{held}"
        cell = held or name
    return bytes(cell) if isinstance(cell, bytearray | memoryview) else cell


def known_by(cell: object) -> str | None:
    """What tells the image in a cell from others where it is met again: its bytes, or how it is named; or None."""
    cell = unwrapped(cell)
    if isinstance(cell, bytes) and cell:
        return sha256(cell)
    if not isinstance(cell, str) or is_blank(cell):
        return None
    text = cell.strip()
    if _is_data(text):
        return text.partition(",")[2]
    return text if _is_base64(text) or _SCHEME.match(text) else PureWindowsPath(text).as_posix()  # ./a.png is a.png


def image_in(cell: object, place: Place, allow_download: bool = False) -> Bytes:
    """What reads the image's bytes, from the cell itself or from where it says.

    Raises:
        UnreadableImage: the cell is empty, or names nothing that may be read.
    """
    cell = unwrapped(cell)
    if isinstance(cell, bytes) and cell:
        return partial(_as_they_are, cell)
    if not isinstance(cell, str) or is_blank(cell):
        raise UnreadableImage(NAMELESS)
    text = cell.strip()
    if _is_data(text):
        return partial(_in_data_url, text)
    if _is_base64(text):
        return partial(_in_base64, text)
    scheme = _SCHEME.match(text)
    if scheme is None or scheme[1].lower() == "file":
        return partial(read_image, place.path_of(text))
    return _on_the_web(text, scheme[1].lower(), allow_download)


def _on_the_web(address: str, scheme: str, allow_download: bool) -> Bytes:
    if scheme not in downloads.SCHEMES:
        raise UnreadableImage(f"{shown(address)} is no http address; download the image and name the file")
    if not allow_download:
        raise UnreadableImage(f"{shown(address)} is on the web; say --allow-download, or download it and name the file")
    return partial(downloads.download, address)


def _is_data(text: str) -> bool:
    return text[:_LOOKED_AT].lstrip()[:5].lower() == "data:"


def _is_base64(text: str) -> bool:
    return len(text) >= SHORTEST_BASE64 and _BASE64.fullmatch(text[:_LOOKED_AT].lstrip()) is not None


def _as_they_are(data: bytes) -> bytes:
    if len(data) > images.MAX_BYTES:
        raise UnreadableImage(f"it is larger than {images.MAX_BYTES // 1_000_000} MB; make it smaller")
    return data


def _in_data_url(url: str) -> bytes:
    head, comma, body = url.partition(",")
    if not comma:
        raise UnreadableImage("its data: URL holds no data; export it again")
    if head.strip().lower().endswith(";base64"):
        return _in_base64(body)
    return _as_they_are(unquote_to_bytes(body.encode("utf-8", "surrogatepass")))


def _in_base64(text: str) -> bytes:
    """Bytes from base64, of either alphabet, with or without the padding and line breaks."""
    packed = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return _as_they_are(base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True))
    except ValueError as error:
        raise UnreadableImage("its base64 text is damaged; export it again") from error
