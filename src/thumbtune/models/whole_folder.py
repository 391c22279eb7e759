"""Whether a folder in diffusers' layout is whole: each part that its index names is there, with all of its files.

diffusers names a missing part by the folder of the model alone, and a file that is cut off by no reason.
"""

import json
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError
from thumbtune.hub import CONFIG, INDEX
from thumbtune.models.family import SCHEDULER, SCHEDULER_CONFIG, Family
from thumbtune.models.fitting import pair
from thumbtune.models.weight_files import SAFETENSORS, keys_in


def check_whole(
    folder: Path, index: Mapping[str, Any], family: Family, variant: str | None = None, spared: Container[str] = ()
) -> None:
    """Refuse a folder that lacks what its index names; headers of weights alone are read.

    variant: of the weights that are loaded, such as fp16; None: plain ones
    spared:  the parts that come from elsewhere, such as a VAE of one's own

    Raises:
        ThumbtuneError: a part, its settings or a file of its weights is not there; or a file is cut off.
    """
    for part in (*family.networks, *family.tokenizers, SCHEDULER):
        if part in spared or not any(pair(index.get(part))):
            continue
        place = folder / part
        if not place.is_dir() or not any(place.iterdir()):
            raise _lacking(folder, part, f"there is no folder {place} with its files")
        if part == SCHEDULER and not (place / SCHEDULER_CONFIG).is_file():
            raise _lacking(folder, part, f"{place} has no {SCHEDULER_CONFIG}")
        if part in family.networks:
            _check_network(folder, part, variant)


def _check_network(folder: Path, part: str, variant: str | None) -> None:
    place = folder / part
    if not (place / CONFIG).is_file():
        raise _lacking(folder, part, f"{place} has no {CONFIG}")
    if not any(place.glob(f"*{SAFETENSORS}")):
        raise _lacking(folder, part, f"{place} has no file of weights in {SAFETENSORS}")
    # the list that names the files of one network's weights
    for shards in sorted(place.glob(f"*{SAFETENSORS}.index{f'.{variant}' if variant else ''}.json")):
        for name in _named_in(shards):
            if not (place / name).is_file():
                raise _lacking(folder, part, f"{shards.name} names {name}, which is not in {place}")
    for file in sorted(place.glob(f"*{SAFETENSORS}")):
        keys_in(file)


def _named_in(shards: Path) -> list[str]:
    """Return the names of the files in a list of shards; none of one that cannot be read, which loading refuses."""
    try:
        return sorted(set(json.loads(shards.read_text("utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _lacking(folder: Path, part: str, why: str) -> ThumbtuneError:
    return ThumbtuneError(
        f"The model {str(folder)!r} lacks its {part}, which {INDEX} names: {why}; get the whole model.",
        code="model-part-missing",
    )
