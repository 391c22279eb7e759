"""Read a cell that holds an image or names one: bytes, base64 text, a file name, an address."""

import base64
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from thumbtune.feedback import images
from thumbtune.feedback.images import UnreadableImage, read_image
from thumbtune.feedback.quoting import shown
from thumbtune.feedback.reading import downloads
from thumbtune.feedback.reading.cells import is_blank
from thumbtune.feedback.reading.image_roots import MAX_FOUND_NAMES, ImageRoot, SharedName
from thumbtune.feedback.source import Bytes
from thumbtune.files import sha256

NO_NAME = "it names no image; fill in file_name or remove the row"
MIN_BASE64_LENGTH = 40  # characters: no image is shorter, and few names are longer

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
# How PNG, JPEG, GIF, WebP, BMP and TIFF begin in base64; a file name with a suffix has a dot, which base64 lacks.
_BASE64 = re.compile(r"(iVBORw0KGgo|/9j/|_9j_|R0lGOD|UklGR|Qk|SUkqA|TU0AK)[A-Za-z0-9+/_\s-]*={0,2}\s*")
_EXAMINED = 256  # characters


def is_image(cell: object) -> bool:
    """Return whether a cell holds an image itself, and does not only name one."""
    cell = unwrapped(cell)
    return (isinstance(cell, bytes) and bool(cell)) or (isinstance(cell, str) and (_is_data(cell) or _is_base64(cell)))


def is_web_address(cell: object) -> bool:
    """Return whether a cell names an image by a web address."""
    cell = unwrapped(cell)
    scheme = _SCHEME.match(cell.strip()) if isinstance(cell, str) and not is_image(cell) else None
    return scheme is not None and scheme[1].lower() != "file"


def unwrapped(cell: object) -> object:
    """Return the bytes or the path in a cell of `datasets`, {"bytes": ..., "path": ...}; any other cell unchanged."""
    if isinstance(cell, Mapping):
        data, name = cell.get("bytes"), cell.get("path")
        if isinstance(data, str) and data:  # JSON has no bytes
            return f"data:;base64,{data}"
        cell = data or name
    return bytes(cell) if isinstance(cell, bytearray | memoryview) else cell


def identity_of(cell: object) -> str | None:
    """Return what identifies the image in a cell: the hash of its bytes, or its name; None for a cell without image."""
    cell = unwrapped(cell)
    if isinstance(cell, bytes) and cell:
        return sha256(cell)
    if not isinstance(cell, str) or is_blank(cell):
        return None
    text = cell.strip()
    if _is_data(text):
        return text.partition(",")[2]
    return text if _is_base64(text) or _SCHEME.match(text) else PureWindowsPath(text).as_posix()  # ./a.png is a.png


def image_in(cell: object, place: ImageRoot, allow_download: bool = False) -> Bytes:
    """Return a function that reads the image's bytes, from the cell itself or from where it points.

    Raises:
        UnreadableImage: the cell is blank, or names a file that may not be read.
    """
    cell = unwrapped(cell)
    if isinstance(cell, bytes) and cell:
        return partial(_as_they_are, cell)
    if not isinstance(cell, str) or is_blank(cell):
        raise UnreadableImage(NO_NAME)
    text = cell.strip()
    if _is_data(text):
        return partial(_in_data_url, text)
    if _is_base64(text):
        return partial(_in_base64, text)
    scheme = _SCHEME.match(text)
    if scheme is None or scheme[1].lower() == "file":
        return partial(read_image, place.path_of(text))
    if (copied := _copied(text, scheme[1].lower(), place)) is not None:
        return partial(read_image, copied)
    return _on_the_web(text, scheme[1].lower(), allow_download)


class ImageCells:
    """The images in the cells of one table, as `image_in`; a name that tables repeat is looked up once."""

    def __init__(self, place: ImageRoot, allow_download: bool) -> None:
        self._place, self._allow_download = place, allow_download
        self._files: dict[str, Bytes] = {}

    def __call__(self, cell: object) -> Bytes:
        """Return a function that reads the image's bytes.

        Raises:
            UnreadableImage: as `image_in`.
        """
        is_text = type(cell) is str
        if is_text and (read := self._files.get(cell)) is not None:
            return read
        read = image_in(cell, self._place, self._allow_download)
        if is_text and self._place.has_found(cell.strip()):
            if len(self._files) >= MAX_FOUND_NAMES:
                self._files.clear()
            self._files[cell] = read
        return read


def file_of(read: Bytes) -> Path | None:
    """Return the file that a function of `image_in` reads; None if it reads something else."""
    return read.args[0] if isinstance(read, partial) and read.func is read_image else None


def _copied(address: str, scheme: str, place: ImageRoot) -> Path | None:
    """Return the copy below a given root of a file in a bucket, s3://bucket/img/0.png; None if there is none.

    Raises:
        SharedName: a file in another bucket or folder has this copy too.
    """
    if place.root is None or scheme in downloads.SCHEMES:
        return None
    try:
        parts = urlsplit(address)
        file = place.path_of(f"/{parts.netloc}{unquote(parts.path)}")
        return file if file.is_file() else None
    except SharedName:
        raise
    except (UnreadableImage, ValueError):
        return None


def _on_the_web(address: str, scheme: str, allow_download: bool) -> Bytes:
    if scheme not in downloads.SCHEMES:
        raise UnreadableImage(
            f"{shown(address)} is not an http address; download the image and give its path, or copy "
            "the bucket, and give the folder of the copy, as in --root copy"
        )
    if not allow_download:
        raise UnreadableImage(f"{shown(address)} is a URL; use --allow-download, or download it and give its path")
    return partial(downloads.download, address)


def _is_data(text: str) -> bool:
    return text[:_EXAMINED].lstrip()[:5].lower() == "data:"


def _is_base64(text: str) -> bool:
    return len(text) >= MIN_BASE64_LENGTH and _BASE64.fullmatch(text[:_EXAMINED].lstrip()) is not None


def _as_they_are(data: bytes) -> bytes:
    if len(data) > images.MAX_BYTES:
        raise UnreadableImage(f"it is larger than {images.MAX_BYTES // 1_000_000} MB; make it smaller")
    return data


def _in_data_url(url: str) -> bytes:
    head, comma, body = url.partition(",")
    if not comma:
        raise UnreadableImage("its data: URL contains no data; export it again")
    if head.strip().lower().endswith(";base64"):
        return _in_base64(body)
    return _as_they_are(unquote_to_bytes(body.encode("utf-8", "surrogatepass")))


def _in_base64(text: str) -> bytes:
    """Decode base64 of either alphabet, with or without padding and line breaks."""
    packed = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return _as_they_are(base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True))
    except ValueError as error:
        raise UnreadableImage("its base64 text is damaged; export it again") from error
