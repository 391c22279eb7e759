"""Gather the texts inside an image by name: of PNG, EXIF, XMP, IPTC and comments, in whatever encoding they are.

    parameters, prompt, ...  the text chunks of a PNG, with names in lower case
    comment                  EXIF's UserComment, a PNG's Comment, the comment of a JPEG or GIF
    prompt, workflow         EXIF's texts of the form "prompt: {...}", as ComfyUI and its packs write them
    description              EXIF's ImageDescription, XMP's dc:description, IPTC's caption

PNG's tEXt is latin-1 by the standard; some tools write UTF-8 there. Whatever is valid UTF-8 is read as UTF-8: text in
latin-1 with letters that happen to be valid UTF-8 would be a row of signs such as "Ã©".
"""

import re
from collections.abc import Iterator
from itertools import islice
from xml.etree import ElementTree

from PIL import Image, PngImagePlugin

from thumbtune.feedback.metadata.parameters import MAX_TEXT

Texts = list[tuple[str, str]]

EXIF_FOLDER, USER_COMMENT, XP_COMMENT = 0x8769, 0x9286, 0x9C9C
DESCRIPTION, SOFTWARE = 0x010E, 0x0131
EXIF_TEXTS = (0x0110, 0x010F, DESCRIPTION)  # camera, its maker, the image's title: ComfyUI uses them in this order
NAMED = ("prompt", "workflow", "extrametadata")
IPTC_RECORD, IPTC_CAPTION = 0x0404, b"\x1c\x02\x78"
XMP_NAMES = {
    "usercomment": "comment",
    "description": "description",
    "imagedescription": "description",
    "creatortool": "software",
    "parameters": "parameters",
    "prompt": "prompt",
    "workflow": "workflow",
}
# No word of a language in latin-1 has four letters beyond ASCII in a row; text in another encoding has.
FOREIGN = re.compile(rb"[\x80-\xff]{4}")
MAX_XMP, MAX_ALTERNATIVES = 1_000_000, 20  # bytes; elements in a text, one for each language
CUT_OFF = 3  # bytes of a character of UTF-8 that a limit has cut in two, at most


def texts_in(image: Image.Image) -> Texts:
    """Return the texts inside an opened image with their names, those of PNG first; the pixels are not decoded."""
    texts = [*_own_texts(image), *_exif_texts(image), *_xmp_texts(image), *_iptc_texts(image)]
    return [(name, text) for name, text in texts if text and len(text) <= MAX_TEXT]


def text_of(data: bytes) -> str | None:
    """Decode bytes that name no encoding: UTF-8, otherwise latin-1; None for bytes of another encoding."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end == len(data) and len(data) - error.start <= CUT_OFF and error.reason == "unexpected end of data":
            return data[: error.start].decode("utf-8")
    if FOREIGN.search(data):
        return None
    # Windows' bytes 128 to 159 are letters and quotes; in latin-1 they are control characters, which no prompt has.
    return data.decode("cp1252") if not set(data) & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else data.decode("latin-1")


def _mended(text: str) -> str:
    """Decode a text again that Pillow has read as latin-1; "" if its encoding is unknown."""
    if text.isascii():
        return text
    try:
        return text_of(text.encode("latin-1")) or ""
    except UnicodeEncodeError:  # it was read as something else
        return text


def _own_texts(image: Image.Image) -> Iterator[tuple[str, str]]:
    """Yield the text chunks of a PNG, and the comment of a GIF or JPEG."""
    for name, value in image.info.items():
        if isinstance(value, PngImagePlugin.iTXt):
            yield str(name).lower(), str(value)
        elif isinstance(value, str) and len(value) <= MAX_TEXT:
            yield str(name).lower(), _mended(value)
        elif name == "comment" and isinstance(value, bytes):
            yield "comment", comment_text(value, "<") or ""


def _exif_texts(image: Image.Image) -> Iterator[tuple[str, str]]:
    """Yield the texts of EXIF."""
    if "exif" not in image.info and not (image.format == "TIFF"):  # for a PNG Pillow would decode the pixels
        return
    exif = image.getexif()
    order = exif.endian or "<"
    folder = exif.get_ifd(EXIF_FOLDER)
    for comment in (folder.get(USER_COMMENT), exif.get(USER_COMMENT)):
        if isinstance(comment, bytes):
            yield "comment", comment_text(comment, order) or ""
        elif isinstance(comment, str):
            yield "comment", _mended(comment)
    for tag in EXIF_TEXTS:
        name, colon, text = _mended(str(exif.get(tag, ""))).partition(":")
        if colon and name.strip().lower() in NAMED:
            yield name.strip().lower(), text.strip()
    if exif.get(DESCRIPTION):
        yield "description", _mended(str(exif[DESCRIPTION]))
    if isinstance(note := exif.get(XP_COMMENT), (bytes, tuple)):
        yield "comment", bytes(note).decode("utf-16-le", "ignore").rstrip("\0")
    if exif.get(SOFTWARE):
        yield "software", _mended(str(exif[SOFTWARE]))


def comment_text(comment: bytes, order: str) -> str | None:
    """Decode a comment whose first eight bytes name its encoding; "UNICODE" is UTF-16 of either byte order."""
    kind, text = comment[:8].upper(), comment[8:]
    if kind == b"JIS\0\0\0\0\0":
        return _in_japanese(text)
    if kind not in (b"UNICODE\0", b"ASCII\0\0\0", b"\0" * 8):
        kind, text = b"", comment
    if kind == b"" and text.count(0) * 3 > len(text):  # UTF-16 without a name
        kind = b"UNICODE\0"
    if kind != b"UNICODE\0":
        return text_of(text.rstrip(b"\0"))
    if text[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return text.decode("utf-16", "replace")
    # Almost all generators write their settings in Latin letters, whose upper bytes are zero.
    upper, lower = text[::2].count(0), text[1::2].count(0)
    if not upper and not lower and (utf8 := _utf8(text)) is not None:
        return utf8
    big = upper > lower if upper != lower else order == ">"
    return text.decode("utf-16-be" if big else "utf-16-le", "replace")


def _utf8(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _in_japanese(data: bytes) -> str | None:
    for encoding in ("iso2022_jp", "utf-8", "euc_jp", "shift_jis"):
        try:
            return data.rstrip(b"\0").decode(encoding)
        except UnicodeDecodeError:
            continue
    return None


def _xmp_texts(image: Image.Image) -> Iterator[tuple[str, str]]:
    """Yield the texts of XMP that may hold a prompt, from elements or attributes, without their namespaces."""
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    data = packet.encode("utf-8", "ignore") if isinstance(packet, str) else packet
    # A declaration could define entities that grow without end; XMP has none.
    if not isinstance(data, bytes) or len(data) > MAX_XMP or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        return
    try:
        root = ElementTree.fromstring(data[data.index(b"<") :].rstrip(b"\0 \r\n"))
    except (ElementTree.ParseError, ValueError, LookupError):
        return
    for element in root.iter():
        name = XMP_NAMES.get(_local(element.tag))
        if name is not None:
            inner = islice(element.iter(), MAX_ALTERNATIVES)
            values = [each.text for each in inner if _local(each.tag) == "li"] or [element.text]
            yield name, (values[0] or "").strip()
        for attribute, value in element.attrib.items():
            if _local(attribute) in XMP_NAMES:
                yield XMP_NAMES[_local(attribute)], value.strip()


def _local(name: object) -> str:
    """Return the name of an element or attribute without its namespace; "" for RDF's own, such as rdf:Description."""
    space, _, local = str(name).rpartition("}")
    return local.lower() if local == "li" or not space.endswith("rdf-syntax-ns#") else ""


def _iptc_texts(image: Image.Image) -> Iterator[tuple[str, str]]:
    """Yield the caption in IPTC's part of a JPEG."""
    blocks = image.info.get("photoshop")
    data = blocks.get(IPTC_RECORD) if isinstance(blocks, dict) else None
    start = data.find(IPTC_CAPTION) if isinstance(data, bytes) else -1
    if isinstance(data, bytes) and start >= 0:
        length = int.from_bytes(data[start + 3 : start + 5], "big")
        yield "description", text_of(data[start + 5 : start + 5 + length]) or ""
