"""The folders below the root, by signed ids: a request names no path, and only a folder that was listed."""

import base64
import hmac
import os
from dataclasses import dataclass
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.reading.walk import IMAGE_SUFFIXES
from thumbtune.feedback.store.store import is_store
from thumbtune.studio.site import Site

MAX_FOLDERS = 500
MAX_COUNTED = 1000  # images of a folder


@dataclass(frozen=True)
class Folder:
    """A folder: its id, its name, the images right in it (at most MAX_COUNTED), and its path for commands."""

    id: str
    name: str
    images: int
    relative: str


def folder_with(site: Site, name: str) -> Path:
    """Return the folder with an id; the root for an empty one.

    Raises:
        ThumbtuneError: nothing may be imported, the id is not ours, or the folder is gone or leads out of the root.
    """
    if site.root is None:
        raise ThumbtuneError(
            "No folder may be imported here; start the studio with --root FOLDER.", code="studio-no-root"
        )
    relative = _relative(site, name)
    try:
        folder = (site.root / relative).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        folder = None
    if folder is None or not folder.is_dir() or not folder.is_relative_to(site.root):
        raise ThumbtuneError("This folder is gone; choose it again.", code="studio-no-folder")
    return folder


def folders_in(site: Site, folder: Path) -> list[Folder]:
    """Return the folders in a folder that may be read, without hidden ones and stores, in order of name.

    Raises:
        ThumbtuneError: the folder may not be read.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise ThumbtuneError(
            f"{folder.name} could not be read ({error.strerror}); check its rights.", code="studio-folder-unreadable"
        ) from error
    return [found for name in names[:MAX_FOLDERS] if (found := _folder(site, folder / name)) is not None]


def folder_id(site: Site, folder: Path) -> str:
    """Return the id of a folder below the root, which `folder_with` takes."""
    assert site.root is not None
    return _id(site, folder.relative_to(site.root).as_posix())


def described(site: Site, folder: Path) -> Folder:
    """Return a folder as the API shows it."""
    assert site.root is not None
    relative = folder.relative_to(site.root).as_posix()
    return Folder(_id(site, relative), folder.name or str(folder), _images_in(folder), relative)


def _folder(site: Site, path: Path) -> Folder | None:
    """Return a folder that may be imported; None for a store, for one that cannot be read, and for a link out."""
    assert site.root is not None
    try:
        folder = path.resolve(strict=True)
        return described(site, folder) if folder.is_relative_to(site.root) and not is_store(folder) else None
    except (OSError, RuntimeError, ThumbtuneError):
        return None


def _images_in(folder: Path) -> int:
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            count += os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES
            if count == MAX_COUNTED:
                break
    return count


def _id(site: Site, relative: str) -> str:
    text = base64.urlsafe_b64encode(os.fsencode(relative)).decode("ascii").rstrip("=")
    return f"{text}.{site.access.mark_of(f'folder {relative!r}')}"


def _relative(site: Site, name: str) -> str:
    text, _, mark = name.partition(".")
    try:
        relative = os.fsdecode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) if name else "."
        is_ours = not name or hmac.compare_digest(mark, site.access.mark_of(f"folder {relative!r}"))
    except (ValueError, TypeError):
        is_ours, relative = False, ""
    if not is_ours:
        raise ThumbtuneError("This is no folder of the studio; choose one from its list.", code="studio-bad-folder")
    return relative
