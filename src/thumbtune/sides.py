"""A side of a duel: whatever draws pictures, or a folder of pictures that are there already.

a run's folder, or one of its checkpoints       the model that it tuned, with what it learnt
a .safetensors file, or a folder with a LoRA    the base model with it; in the form of diffusers or of kohya
a diffusers folder, a hub id, tiny-emoji-64     that pipeline
any other folder                                its pictures
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune import build, run
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.files import file_sha256, sha256
from thumbtune.models import lora
from thumbtune.models.stable_diffusion import StableDiffusion, load_pipeline

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
CHECKPOINT = "weights.safetensors"
TABLE = "metadata.jsonl"


@dataclass(frozen=True)
class Side:
    """One of two that are compared.

    said: as it was named
    kind: run, checkpoint, lora, model or pictures
    fingerprint: another one where the weights, or the pictures, are others; a hub id stands for itself
    mark: what goes before its prompts
    folder: of pictures, where they are there already
    painter: device -> the model, where they are not
    """

    said: str
    kind: str
    fingerprint: str
    mark: str | None = None
    folder: Path | None = None
    painter: Callable[[Any], StableDiffusion] | None = None


def side(said: str, base: str | None = None) -> Side:
    """What a name stands for. Nothing is loaded yet.

    Args:
        said: a folder, a file, a hub id or the name of a bundled model.
        base: the model that a LoRA belongs to.

    Raises:
        UsageError: it is none of all that, or a LoRA without a base.
    """
    path = Path(said)
    if (path / "recipe.yaml").is_file():
        return _run(said, path)
    if (path / CHECKPOINT).is_file() and (path.parent.parent / "recipe.yaml").is_file():
        return _checkpoint(said, path)
    weights = path / lora.DIFFUSERS_FILE if path.is_dir() else path
    if weights.suffix == ".safetensors" and weights.is_file():
        return _lora(said, weights, base)
    if path.is_dir() and not (path / "model_index.json").is_file():
        return Side(said, "pictures", _of_files(_pictures_in(path)), folder=path)
    if path.is_file() or (not path.exists() and said.startswith((".", "/", "~"))):
        raise UsageError(f"{said} is no run, no LoRA, no model and no folder of pictures; name one of these.")
    here = Path(build.model_path(said))
    print_ = _of_files(sorted(here.rglob("*.safetensors"))) if here.is_dir() else said
    return Side(said, "model", print_, painter=lambda device: StableDiffusion(load_pipeline(str(here))).to(device))


def _run(said: str, folder: Path) -> Side:
    recipe = run.recipe_in(folder)
    result = folder / build.result_of(recipe)
    if not result.is_file():
        raise ThumbtuneError(f"{folder} has not finished training; continue it with --resume, or name a checkpoint.")
    fingerprint = sha256(f"{recipe.model} {file_sha256(result)}".encode())
    return Side(
        said, "run", fingerprint, run.mark_of(folder), painter=lambda device: run.trained_model(recipe, folder, device)
    )


def _checkpoint(said: str, folder: Path) -> Side:
    owner = folder.parent.parent
    recipe = run.recipe_in(owner)

    def painter(device: Any) -> StableDiffusion:
        from safetensors.torch import load_file

        model = build.model_of(recipe, training=False)
        weights = load_file(folder / CHECKPOINT)
        for name, parameter in model.trainable():
            parameter.data.copy_(weights[name])
        return model.to(device)

    fingerprint = sha256(f"{recipe.model} {file_sha256(folder / CHECKPOINT)}".encode())
    return Side(said, "checkpoint", fingerprint, run.mark_of(owner), painter=painter)


def _lora(said: str, weights: Path, base: str | None) -> Side:
    if base is None:
        raise UsageError(f"{said} is a LoRA; name the model that it belongs to with --base.")

    def painter(device: Any) -> StableDiffusion:
        pipeline = load_pipeline(build.model_path(base))
        try:
            pipeline.load_lora_weights(str(weights.parent), weight_name=weights.name)
        except Exception as error:  # of keys, of shapes, of the file itself: diffusers raises a dozen kinds
            raise ThumbtuneError(
                f"{weights} is no LoRA for {base} ({str(error).splitlines()[0][:120]}); name its own base."
            ) from error
        return StableDiffusion(pipeline).to(device)

    return Side(said, "lora", sha256(f"{base} {file_sha256(weights)}".encode()), painter=painter)


def _pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their names, numbers by their size.

    Raises:
        UsageError: there is none.
    """
    found = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.is_file()]
    if not found:
        raise UsageError(f"{folder} holds no pictures ({', '.join(PICTURES)}), no run and no model; name another.")
    return sorted(found, key=lambda path: _natural(path.stem))


def _natural(name: str) -> list[tuple[int, str]]:
    parts: list[str] = [""]
    for letter in name:
        if parts[-1] and letter.isdecimal() != parts[-1][-1].isdecimal():
            parts.append("")
        parts[-1] += letter
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _of_files(files: Sequence[Path]) -> str:
    return sha256(json.dumps([(file.name, file_sha256(file)) for file in files]).encode())


def pictures_of(side: Side, prompts: Sequence[str], per_prompt: int) -> list[list[Path]]:
    """The pictures of a folder for each prompt: by its metadata.jsonl, or so many after another in their order.

    Raises:
        UsageError: their number, or their prompts, are others.
    """
    assert side.folder is not None
    if (side.folder / TABLE).is_file():
        return _by_prompt(side.folder, prompts, per_prompt)
    found = _pictures_in(side.folder)
    if len(found) != len(prompts) * per_prompt:
        raise UsageError(
            f"{side.folder} holds {len(found)} pictures, not {per_prompt} for each of {len(prompts)} prompts; "
            f"set --per-prompt, or add a {TABLE} that says which belongs to which."
        )
    return [found[start : start + per_prompt] for start in range(0, len(found), per_prompt)]


def _by_prompt(folder: Path, prompts: Sequence[str], per_prompt: int) -> list[list[Path]]:
    """Each prompt takes the next pictures of its words: a prompt may come twice."""
    waiting: dict[str, list[Path]] = {}
    for name, prompt in _rows(folder / TABLE):
        if not (folder / name).is_file() or not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{folder / TABLE} names {name}, which is no picture in {folder}; mend it.")
        waiting.setdefault(" ".join(prompt.split()), []).append(folder / name)
    found = []
    for prompt in prompts:
        mine = waiting.get(prompt, [])
        if len(mine) < per_prompt:
            raise UsageError(
                f"{folder} has {len(mine)} pictures left for {prompt[:60]!r}, and {per_prompt} are asked for; both "
                "sides need the same prompts and as many pictures."
            )
        found.append([mine.pop(0) for _ in range(per_prompt)])
    return found


def _rows(table: Path) -> Iterator[tuple[str, str]]:
    try:
        for number, line in enumerate(table.read_text(encoding="utf-8-sig").splitlines(), start=1):
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


@contextmanager
def ready(side: Side, device: Any) -> Iterator[StableDiffusion]:
    """The side's model in memory, for as long as the block lasts."""
    import gc

    assert side.painter is not None
    model = side.painter(device)
    try:
        yield model
    finally:
        del model
        gc.collect()
