"""Tell a clip from an image by the name and the first bytes of its file, for counts of many files."""

from pathlib import Path

from thumbtune.videos import SUFFIXES

MOVING = (*SUFFIXES, ".m4v", ".3gp", ".gif", ".apng")
# of an extended WebP file: its first chunk, and the bit that says that it has frames (RFC 9649, section 2.7)
EXTENDED, FLAGS, ANIMATED = b"VP8X", 20, 0x02


def is_clip_file(path: Path) -> bool:
    """Return whether a file is a clip, as far as its ending and, of WebP, its head tell; no PNG is looked into."""
    if path.suffix.lower() != ".webp":
        return path.suffix.lower() in MOVING
    try:
        with path.open("rb") as file:
            head = file.read(FLAGS + 1)
    except OSError:
        return False
    return head[12:16] == EXTENDED and len(head) > FLAGS and bool(head[FLAGS] & ANIMATED)
