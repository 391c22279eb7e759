"""Images of a folder, by prompt.

with metadata.jsonl     one object a line: file_name, and prompt, text or caption; each prompt takes its next images
without it              N images for each prompt, sorted by name with numbers by value
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from thumbtune.errors import UsageError, plural

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
METADATA = "metadata.jsonl"
PROMPT_KEYS = ("prompt", "text", "caption")


def list_images(folder: Path) -> list[Path]:
    """Return the images of a folder, sorted by name with numbers by value.

    Raises:
        UsageError: the folder contains no images.
    """
    images = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if not images:
        raise UsageError(
            f"{folder} contains no images ({', '.join(IMAGE_SUFFIXES)}), no run and no model; name another folder.",
            code="image-folder-empty",
        )
    return sorted(images, key=lambda path: (_sort_key(path.stem), path.name))


def source_files(folder: Path) -> list[Path]:
    """Return the files that decide which images belong to which prompt."""
    if (folder / METADATA).is_file():
        named = {folder / name for name, _ in _read_metadata(folder / METADATA)}
        return [folder / METADATA, *sorted(path for path in named if path.is_file())]
    return list_images(folder)


def _sort_key(name: str) -> list[tuple[int, str]]:
    parts: list[str] = [""]
    for letter in name:
        if parts[-1] and letter.isdecimal() != parts[-1][-1].isdecimal():
            parts.append("")
        parts[-1] += letter
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def images_by_prompt(folder: Path, prompts: Sequence[str], per_prompt: int) -> list[list[Path]]:
    """Return the images of each prompt: by metadata.jsonl, or `per_prompt` consecutive images in sorted order.

    Raises:
        UsageError: the number of images or the prompts do not match.
    """
    if (folder / METADATA).is_file():
        return _match_prompts(folder, prompts, per_prompt)
    images = list_images(folder)
    if len(images) != len(prompts) * per_prompt:
        raise UsageError(
            f"{folder} contains {plural(len(images), 'image')}, not {per_prompt} for each of {len(prompts)} prompts; "
            f"set --per-prompt, or add a {METADATA} with the prompt of each image.",
            code="image-folder-wrong-count",
        )
    return [images[start : start + per_prompt] for start in range(0, len(images), per_prompt)]


def _match_prompts(folder: Path, prompts: Sequence[str], per_prompt: int) -> list[list[Path]]:
    """Give each prompt its next images; a prompt may occur twice."""
    remaining: dict[str, list[Path]] = {}
    for name, prompt in _read_metadata(folder / METADATA):
        if not (folder / name).is_file() or not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise UsageError(
                f"{folder / METADATA} names {name}, which is not an image in {folder}; correct that line.",
                code="image-folder-missing-image",
            )
        remaining.setdefault(" ".join(prompt.split()), []).append(folder / name)
    images = []
    for prompt in prompts:
        own = remaining.get(prompt, [])
        if len(own) < per_prompt:
            raise UsageError(
                f"{folder} has {len(own)} images left for the prompt {prompt[:60]!r} but needs {per_prompt}; "
                "both models need the same prompts and the same number of images.",
                code="image-folder-too-few",
            )
        images.append([own.pop(0) for _ in range(per_prompt)])
    return images


def _read_metadata(table: Path) -> Iterator[tuple[str, str]]:
    try:
        for number, line in enumerate(table.read_text(encoding="utf-8-sig").split("\n"), start=1):
            row = json.loads(line) if line.strip() else None
            if row is not None:
                prompt = next((row[key] for key in PROMPT_KEYS if key in row), None)
                if not isinstance(row.get("file_name"), str) or not isinstance(prompt, str):
                    raise UsageError(
                        f"{table}, line {number} has no file_name or no prompt; write both.",
                        code="image-folder-metadata-row",
                    )
                yield row["file_name"], prompt
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(
            f"{table} cannot be read ({str(error)[:100]}); write one object with file_name and prompt on each line.",
            code="image-folder-metadata-unreadable",
        ) from error
