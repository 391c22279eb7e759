"""A folder of images that are there already: which of them belong to which prompt.

metadata.jsonl      an object a line: file_name, and prompt, text or caption; a prompt takes the next ones of its words
without it          so many images for each prompt, in the order of their names, numbers by their size
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from thumbtune.errors import UsageError, plural

IMAGES = (".png", ".jpg", ".jpeg", ".webp")
TABLE = "metadata.jsonl"


def images_in(folder: Path) -> list[Path]:
    """The images of a folder in the order of their names, numbers by their size.

    Raises:
        UsageError: there is none.
    """
    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGES and path.is_file()]
    if not found:
        raise UsageError(f"{folder} holds no images ({', '.join(IMAGES)}), no run and no model; name another.")
    return sorted(found, key=lambda path: (_natural(path.stem), path.name))


def sources(folder: Path) -> list[Path]:
    """What a folder's images for its prompts depend on."""
    if (folder / TABLE).is_file():
        named = {folder / name for name, _ in _rows(folder / TABLE)}
        return [folder / TABLE, *sorted(path for path in named if path.is_file())]
    return images_in(folder)


def _natural(name: str) -> list[tuple[int, str]]:
    parts: list[str] = [""]
    for letter in name:
        if parts[-1] and letter.isdecimal() != parts[-1][-1].isdecimal():
            parts.append("")
        parts[-1] += letter
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def images_of(folder: Path, prompts: Sequence[str], per_prompt: int) -> list[list[Path]]:
    """The images of a folder for each prompt: by its metadata.jsonl, or so many after another in their order.

    Raises:
        UsageError: their number, or their prompts, are others.
    """
    if (folder / TABLE).is_file():
        return _by_prompt(folder, prompts, per_prompt)
    found = images_in(folder)
    if len(found) != len(prompts) * per_prompt:
        raise UsageError(
            f"{folder} holds {plural(len(found), 'image')}, not {per_prompt} for each of {len(prompts)} prompts; "
            f"set --per-prompt, or add a {TABLE} that says which belongs to which."
        )
    return [found[start : start + per_prompt] for start in range(0, len(found), per_prompt)]


def _by_prompt(folder: Path, prompts: Sequence[str], per_prompt: int) -> list[list[Path]]:
    """Each prompt takes the next images of its words: a prompt may come twice."""
    waiting: dict[str, list[Path]] = {}
    for name, prompt in _rows(folder / TABLE):
        if not (folder / name).is_file() or not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{folder / TABLE} names {name}, which is no image in {folder}; mend it.")
        waiting.setdefault(" ".join(prompt.split()), []).append(folder / name)
    found = []
    for prompt in prompts:
        mine = waiting.get(prompt, [])
        if len(mine) < per_prompt:
            raise UsageError(
                f"{folder} has {len(mine)} images left for {prompt[:60]!r}, and {per_prompt} are asked for; both "
                "sides need the same prompts and as many images."
            )
        found.append([mine.pop(0) for _ in range(per_prompt)])
    return found


def _rows(table: Path) -> Iterator[tuple[str, str]]:
    try:
        for number, line in enumerate(table.read_text(encoding="utf-8-sig").split("\n"), start=1):
            row = json.loads(line) if line.strip() else None
            if row is not None:
                prompt = next((row[key] for key in ("prompt", "text", "caption") if key in row), None)
                if not isinstance(row.get("file_name"), str) or not isinstance(prompt, str):
                    raise UsageError(f"{table}, line {number} has no file_name and prompt; write both.")
                yield row["file_name"], prompt
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(
            f"{table} cannot be read ({str(error)[:100]}); write an object with file_name a line."
        ) from error
