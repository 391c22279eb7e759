"""Rows for others: without free text and paths, and images without what programs and cameras wrote into them.

    kept      image, prompt, prompt_syntax, label, rater (a pseudonym), weight, grade, pair, seed, model (its name),
              created_at, ids
    left out  reason, source, the folders of a model's path, and all text, EXIF and XMP inside an image

The pixels stay: a PNG loses chunks, and any other image that has metadata becomes a PNG of its pixels, upright by EXIF.
"""

import io
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from PIL import Image

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.exporters.rows import Row
from thumbtune.files import sha256
from thumbtune.images import rgb

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DRAWN = (  # the chunks of a PNG that its pixels or their colours need
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"bKGD"),
    *(b"acTL", b"fcTL", b"fdAT"),
)
WRITTEN = ("exif", "xmp", "comment", "photoshop", "XML:com.adobe.xmp", "parameters")  # in Pillow's `info`


def bare(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield rows without free text, paths and metadata; rows of one image follow each other.

    Raises:
        ThumbtuneError: an animation has metadata that cannot be taken out of it.
    """
    name, data, own = None, b"", ""
    for row in rows:
        if row.name != name:
            name, (data, own) = row.name, _image(row)
        cells = {**row.cells, "reason": None, "source": None, "image_id": sha256(data)}
        cells["model"] = _named(cells["model"])
        yield replace(row, cells=cells, image=data, name=own)


def _image(row: Row) -> tuple[bytes, str]:
    data = without_metadata(row.image, row.name)
    suffix = PurePosixPath(row.name).suffix if data is row.image else ".png"
    return data, f"{sha256(data)}{suffix}"


def _named(model: object) -> object:
    """Return the name of a model without the folders of this machine; an id of the hub stays whole."""
    if not model:
        return model
    text = str(model)
    is_path = Path(text).exists() or os.path.isabs(text) or text.startswith((".", "~")) or "\\" in text
    is_path = is_path or text.count("/") > 1
    return os.path.basename(text.replace("\\", "/").rstrip("/")) if is_path else model


def without_metadata(data: bytes, name: str = "an image") -> bytes:
    """Return the bytes of an image without text, EXIF and XMP; the same object if there is nothing to take out.

    Raises:
        ThumbtuneError: it is an animation, other than a PNG, with metadata.
    """
    if data.startswith(SIGNATURE):
        return _bare_png(data)
    with Image.open(io.BytesIO(data)) as image:
        has_text = any(image.info.get(key) for key in WRITTEN) or bool(len(image.getexif()))
        if not has_text:
            return data
        if getattr(image, "n_frames", 1) > 1:
            raise ThumbtuneError(
                f"The animation {name} has metadata, which cannot be taken out of it; write it again without, or push "
                "everything with --with-text.",
                code="export-metadata",
            )
        into = io.BytesIO()
        rgb(image).save(into, "PNG", icc_profile=image.info.get("icc_profile"))
    return into.getvalue()


def _bare_png(data: bytes) -> bytes:
    """Return a PNG with the chunks that it is drawn from alone; one turned by EXIF is turned for good."""
    chunks = list(_chunks(data))
    if all(kind in DRAWN for kind, _ in chunks):
        return data
    if any(kind == b"eXIf" for kind, _ in chunks):
        with Image.open(io.BytesIO(data)) as image:
            if getattr(image, "n_frames", 1) == 1 and image.getexif().get(0x0112, 1) != 1:  # the orientation
                into = io.BytesIO()
                rgb(image).save(into, "PNG")
                return into.getvalue()
    return SIGNATURE + b"".join(_chunk(kind, body) for kind, body in chunks if kind in DRAWN)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and the body of each chunk up to the end of the image; what follows it is no part of it."""
    place, kind = len(SIGNATURE), b""
    while kind != b"IEND" and place + 8 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        yield kind, data[place + 8 : place + 8 + length]
        place += 12 + length


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
