"""The plainest place to find likes: folders like/ and dislike/."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.cells import IMAGE_COLUMNS, first, prompt_in
from thumbtune.feedback.pictures import UnreadablePicture, read_picture
from thumbtune.feedback.sources.found import AS_FOUND, Found, Reading
from thumbtune.feedback.sources.rows import METADATA_SUFFIXES, read_rows
from thumbtune.feedback.store import is_store

LIKE_FOLDERS = ("like", "liked", "likes", "good", "pos", "positive", "up")
DISLIKE_FOLDERS = ("dislike", "disliked", "dislikes", "bad", "neg", "negative", "down")
# All that somebody would call a picture is tried, so that one we cannot read is listed, not passed over.
PICTURE_SUFFIXES = frozenset(".png .jpg .jpeg .jfif .webp .gif .bmp .tif .tiff .heic .heif .avif .jxl .jp2".split())


def recognises(path: Path) -> bool:
    """Whether this is a folder in which some folder's name says like or dislike. It never raises."""
    try:
        return path.is_dir() and bool(opinion_folders(path))
    except ThumbtuneError:  # it is, and whoever opens it hears what is wrong
        return True
    except (OSError, ValueError):
        return False


def opinion_folders(root: Path) -> list[tuple[Path, bool]]:
    """The subfolders of `root` whose names say like or dislike, in order of name.

    A store of likes, by default in `likes`, is none of them: its pictures are liked and disliked ones.

    Raises:
        ThumbtuneError: a store lies among pictures, so that nobody can say what is meant.
    """
    named = [(folder, folder.name.lower()) for folder in sorted(root.iterdir()) if folder.is_dir()]
    named = [(folder, name in LIKE_FOLDERS) for folder, name in named if name in LIKE_FOLDERS + DISLIKE_FOLDERS]
    for folder, _ in named:
        if is_store(folder) and any(path.suffix.lower() in PICTURE_SUFFIXES for path in folder.iterdir()):
            raise ThumbtuneError(f"{folder} is a store of likes with other pictures beside it; move those elsewhere.")
    return [(folder, liked) for folder, liked in named if not is_store(folder)]


class LikeFolders:
    """`root/like/*.png` and `root/dislike/*.png`.

    The prompt of `a.png` is in `a.txt` beside it, or in a `metadata.jsonl` or `.csv` (file_name, prompt) in
    its folder or any folder above it up to `root`.
    """

    def __init__(self, root: Path, reading: Reading = AS_FOUND) -> None:
        self.root = root
        self.folders = opinion_folders(root)
        self.pictures = [(path, liked) for folder, liked in self.folders for path in _pictures_in(folder)]

    def __length_hint__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[Found]:
        listed = self._listed_prompts()
        for path, liked in self.pictures:
            where, image, problem = str(path.relative_to(self.root)), None, None
            prompt = listed.get(path)
            try:
                image, prompt = partial(read_picture, path), _sidecar(path) or prompt
            except UnreadablePicture as error:
                problem = str(error)
            yield Found(
                where=where,
                image=image,
                problem=problem,
                prompt=prompt,
                liked=liked,
                source=self.root.name or None,
            )

    def _listed_prompts(self) -> Mapping[Path, str]:
        """Prompts from metadata files, by picture; the file nearest to the picture wins."""
        prompts: dict[Path, str] = {}
        folders = {parent for path, _ in self.pictures for parent in path.parents if parent.is_relative_to(self.root)}
        for folder in sorted(folders, key=lambda folder: len(folder.parts)):
            for name in ("metadata.csv", "metadata.jsonl"):
                if (folder / name).is_file():
                    prompts.update(_prompts_of(folder / name))
        return prompts


def _pictures_in(folder: Path) -> list[Path]:
    """Every picture below a folder, but for what is hidden or in a store of likes."""
    files = [path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES]
    inside = {parent for path in files for parent in path.parents if parent.is_relative_to(folder)}
    stores = {parent for parent in inside if is_store(parent)}
    return sorted(path for path in files if not path.name.startswith(".") and stores.isdisjoint(path.parents))


def _sidecar(picture: Path) -> str | None:
    """The text beside a picture.

    Raises:
        UnreadablePicture: it is there and cannot be read.
    """
    file = picture.with_suffix(".txt")
    try:
        return file.read_text(encoding="utf-8-sig").strip() or None if file.is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadablePicture(f"its prompt in {file.name} is not UTF-8 text; save it as UTF-8") from error


def _prompts_of(file: Path) -> dict[Path, str]:
    rows = (row for _, row in read_rows(file) if row is not None)
    pairs = ((first(row, IMAGE_COLUMNS), prompt_in(row)) for row in rows)
    return {file.parent / name: prompt for name, prompt in pairs if isinstance(name, str) and prompt}


def nothing_here(path: Path) -> ThumbtuneError:
    """The sentence for a place without likes."""
    kinds = ", ".join(METADATA_SUFFIXES[:-1]) + f" or {METADATA_SUFFIXES[-1]}"
    return ThumbtuneError(
        f"{path} holds no like/ and dislike/ folders and no metadata{kinds}; put pictures into "
        f"{path / 'like'} and {path / 'dislike'}, or beside a metadata file with file_name, prompt and label."
    )
