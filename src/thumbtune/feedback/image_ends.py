"""Find where the bytes of a PNG, JPEG or WebP end, so that a file that is also something else can be refused.

    PNG     chunks of length, name, data and checksum; the last one is IEND
    JPEG    segments that begin with FF and a marker; the last one is EOI, FF D9
    WebP    a RIFF, whose length stands at its beginning

What follows the end is not shown and not checked: a page, a program or an archive may stand there.
"""

PNG, RIFF, JPEG = b"\x89PNG\r\n\x1a\n", b"RIFF", b"\xff\xd8"
EOI, SOS = 0xD9, 0xDA
STANDALONE = (0x01, *range(0xD0, 0xD9))  # JPEG's markers without a length
STUFFED = (0x00, *range(0xD0, 0xD8))  # after FF, in the data of a scan: no marker


def image_end(data: bytes) -> int | None:
    """Return how many bytes of a file are its image; None if the end is missing, or it is of another format.

    >>> image_end(b"RIFF" + (8).to_bytes(4, "little") + b"WEBPabcd" + b"<html>")
    16
    """
    if data.startswith(PNG):
        return _png_end(data)
    if data.startswith(RIFF):
        size = 8 + int.from_bytes(data[4:8], "little")
        return size if size <= len(data) else None
    return _jpeg_end(data) if data.startswith(JPEG) else None


def _png_end(data: bytes) -> int | None:
    place = len(PNG)
    while place + 12 <= len(data):
        length, name = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        place += 12 + length
        if name == b"IEND":
            return place if place <= len(data) else None
    return None


def _jpeg_end(data: bytes) -> int | None:
    place = len(JPEG)
    while place + 2 <= len(data) and data[place] == 0xFF:  # noqa: PLR2004 - the byte before every marker
        marker = data[place + 1]
        if marker == EOI:
            return place + 2
        if marker == 0xFF:  # noqa: PLR2004 - filled up
            place += 1
        elif marker in STANDALONE:
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
            if marker == SOS:
                place = _after_scan(data, place)
    return None


def _after_scan(data: bytes, place: int) -> int:
    """Return where the marker after the data of a scan is; the end of the file if there is none."""
    while (place := data.find(b"\xff", place)) >= 0:
        if place + 1 < len(data) and data[place + 1] not in STUFFED:
            return place
        place += 2
    return len(data)
