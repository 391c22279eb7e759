"""Is a model named as one that was distilled to draw in a few steps? A name is no proof, so this gives a note."""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

# words that such models have in their names, after the name was cut at signs, at digits and at capitals
WORDS = {"turbo", "schnell", "lightning", "lcm", "dmd", "distill", "distilled", "distillation", "sprint", "tcd"}
# a word that names such a model only beside another one: Hyper-SD, Flash-SD3
BESIDE = {"hyper": {"sd", "sdxl", "flux", "xl"}, "flash": {"sd", "sdxl", "pixart"}}
UNDONE = {"un", "de", "non", "no", "not", "undistilled", "dedistilled", "dedistill", "deturbo"}  # Z-Image-De-Turbo
COMPOUNDS = re.compile(
    r"turbo[-_ ]?(fan|jet|prop|charg|shaft|machin|pump)\w*|lightning[-_ ]?(bolt|strike|rod)\w*", re.I
)
FEW_STEPS = re.compile(
    r"(?<![0-9])(?<!epoch)(?<!epoch[-_ ])([1-9]|1[0-6])[-_ ]?steps?(?![a-z])", re.I
)  # not the 2000 steps of a training
JOINED = re.compile(r"(sdxl|sd|xl|image|flux|wan|sana|qwen)(turbo|lightning|schnell|lcm|sprint)")
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
SUBFOLDERS = {"unet", "transformer", "vae", "scheduler", "snapshots", "main", "diffusers", "model", "checkpoint"}
CACHED = re.compile(r"models--[^/]*?--([^/]+)")  # a folder of the hub's cache
COMMIT = re.compile(r"[0-9a-f]{40}")


def own_name(name: str) -> str:
    """Return the part of a hub id, path or file that is the model's own name.

    >>> own_name("stabilityai/sdxl-turbo"), own_name("/home/turbo/mine.safetensors"), own_name("../sdxl-turbo/unet")
    ('sdxl-turbo', 'mine', 'sdxl-turbo')
    """
    plain = name.replace("\\", "/").rstrip("/")
    if (cached := CACHED.search(plain)) is not None:
        return cached[1]
    parts = [part for part in PurePosixPath(plain).parts if part not in ("/", "..", ".")]
    while len(parts) > 1 and (parts[-1].lower() in SUBFOLDERS or COMMIT.fullmatch(parts[-1])):
        parts.pop()
    last = parts[-1] if parts else ""
    return re.sub(r"\.(safetensors|ckpt|pt|pth|bin|gguf)$", "", last, flags=re.I)


def word_of(name: str) -> str | None:
    """Return what in a name tells of few steps, as it is written; None if nothing does.

    >>> word_of("FLUX.1-schnell"), word_of("SDXL-Lightning"), word_of("turbofan"), word_of("flux-dev-de-distill")
    ('schnell', 'Lightning', None, None)
    """
    plain = COMPOUNDS.sub(" ", name)
    parts = PART.findall(plain)
    low = [part.lower() for part in parts]
    if UNDONE & {*low, re.sub(r"[^a-z]", "", plain.lower())}:
        return None
    for place, part in enumerate(low):
        others = {low[near] for near in (place - 1, place + 1) if 0 <= near < len(low)}
        if part in WORDS or others & BESIDE.get(part, set()):
            return parts[place]
        if (joined := JOINED.fullmatch(part)) is not None:
            return parts[place][len(joined[1]) :]
    few = FEW_STEPS.search(plain)
    return None if few is None else few[0]


def names_in(configs: Iterable[Mapping[str, Any] | None]) -> list[str]:
    """Return the names that settings were saved with (`_name_or_path`)."""
    found = ((config or {}).get("_name_or_path") for config in configs)
    return [name for name in found if isinstance(name, str) and name]


def name_note(model: str, others: Iterable[str] = ()) -> str | None:
    """Return a sentence on a model that is named as one for few steps; None for any other one.

    others: by which its files call it
    """
    for name in (model, *others):
        if (word := word_of(own_name(name))) is not None:
            whose = f"The name of the model {model}" if name == model else f"The files of {model} call it {name}, which"
            return (
                f"{whose} contains {word!r}, as do names of models that were distilled to draw in a few steps; "
                "training makes such a model forget how, so if it is one, "
                "train the model that it was made from, and use "
                "the LoRA on both."
            )
    return None
