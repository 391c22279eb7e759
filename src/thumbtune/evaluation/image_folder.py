"""Images of a folder, by prompt.

with metadata      each prompt takes its next images; `folder_metadata` lists where prompts may stand
without it         N images for each prompt, sorted by name with numbers by value

A prompt with marks of a tool, such as (red:1.3), and the same prompt without them are one, unless both are asked for.
"""

from collections.abc import Sequence
from pathlib import Path

from thumbtune.errors import UsageError, plural
from thumbtune.evaluation.folder_metadata import (
    IMAGE_SUFFIXES,
    METADATA,
    PromptedFiles,
    prompted_files,
    refuse_other_tables,
)
from thumbtune.feedback.prompts import plain_prompt


def list_images(folder: Path) -> list[Path]:
    """Return the images of a folder, sorted by name with numbers by value; those of its only subfolder with images.

    Raises:
        UsageError: the folder contains no images, or several of its subfolders do.
    """
    images = _images_in(folder)
    if not images:
        deeper = [below for below in sorted(folder.iterdir()) if _is_open_folder(below) and _images_in(below)]
        if len(deeper) > 1:
            names = ", ".join(below.name for below in deeper[:3])
            raise UsageError(
                f"{folder} has images in {len(deeper)} folders ({names}{', ...' if len(deeper) > 3 else ''}); name one "  # noqa: PLR2004
                f"of them, or add a {METADATA} with the prompt of each image.",
                code="image-folder-several",
            )
        images = _images_in(deeper[0]) if deeper else []
    if not images:
        raise UsageError(
            f"{folder} contains no images (such as .png or .jpg), no run and no model; name another folder.",
            code="image-folder-empty",
        )
    return sorted(images, key=lambda path: (_sort_key(path.stem), path.name))


def _is_open_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".")


def _images_in(folder: Path) -> list[Path]:
    """Return a folder's own images; macOS puts a hidden ._a.png beside each a.png of an archive."""
    return [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]


def source_files(folder: Path) -> tuple[list[Path], bool]:
    """Return the files that decide which images belong to which prompt, and whether only the order of names decides."""
    found = prompted_files(folder)
    if found is None:
        return list_images(folder), True
    images = sorted({path for path, _, _ in found.images})
    return [*([found.table] if found.table else []), *images, *found.others], False


def _sort_key(name: str) -> list[tuple[int, str]]:
    parts: list[str] = [""]
    for letter in name:
        if parts[-1] and letter.isdecimal() != parts[-1][-1].isdecimal():
            parts.append("")
        parts[-1] += letter
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def images_by_prompt(folder: Path, prompts: Sequence[str], per_prompt: int) -> list[list[Path]]:
    """Return the images of each prompt: by their metadata, or `per_prompt` consecutive images in sorted order.

    Raises:
        UsageError: the number of images or the prompts do not match.
    """
    found = prompted_files(folder)
    if found is not None:
        return _match_prompts(folder, found, prompts, per_prompt)
    images = list_images(folder)
    refuse_other_tables(folder, images)
    if len(images) != len(prompts) * per_prompt:
        raise UsageError(
            f"{folder} contains {plural(len(images), 'image')}, not {per_prompt} for each of {len(prompts)} prompts; "
            f"set --per-prompt, or add a {METADATA} with the prompt of each image.",
            code="image-folder-wrong-count",
        )
    return [images[start : start + per_prompt] for start in range(0, len(images), per_prompt)]


def _match_prompts(folder: Path, found: PromptedFiles, prompts: Sequence[str], per_prompt: int) -> list[list[Path]]:
    """Give each prompt its next images; a prompt may occur twice."""
    order = found.images
    if found.table is None:
        order = sorted(order, key=lambda each: (str(each[0].parent), _sort_key(each[0].stem), each[0].name))
    wanted = {_one_line(prompt) for prompt in prompts}
    by_words: dict[str, str] = {}
    for prompt in prompts:
        by_words.setdefault(_words(prompt), _one_line(prompt))
    remaining: dict[str, list[Path]] = {}
    for path, written, words in order:  # an image belongs to one prompt: as it is written, or else by its words
        own = next((text for text in (_one_line(written), _one_line(words)) if text in wanted), None)
        own = own or by_words.get(_words(words))
        if own is not None:
            remaining.setdefault(own, []).append(path)
    images = []
    for prompt in prompts:
        left = remaining.get(_one_line(prompt), [])
        if len(left) < per_prompt:
            raise UsageError(
                f"{folder} has {len(left)} images left for the prompt {prompt[:60]!r} by {found.place}, but needs "
                f"{per_prompt}; both models need the same prompts and the same number of images.",
                code="image-folder-too-few",
            )
        images.append([left.pop(0) for _ in range(per_prompt)])
    return images


def _one_line(prompt: str) -> str:
    return " ".join(prompt.split())


def _words(prompt: str) -> str:
    return _one_line(plain_prompt(prompt)[0])
