"""LoRA files of any trainer: found in a folder, read whole, and refused where a duel would judge another LoRA.

The scale of a layer is alpha / rank, or alpha / sqrt(rank) of rsLoRA. The alpha is, in this order, the layer's own
tensor, PEFT's settings (adapter_config.json, or what diffusers keeps in the file), or else the rank.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from thumbtune.errors import ThumbtuneError, reason
from thumbtune.models.lora import DIFFUSERS_FILE, SECOND_FILE
from thumbtune.models.lora_names import PARTS, TRANSFORMER, TRANSFORMER_2
from thumbtune.models.weight_files import (
    PICKLES,
    SAFETENSORS,
    keys_in,
    kind_of,
    metadata_in,
    other_method,
    refuse_as_lora,
    refuse_other_file,
)

PEFT_FILE, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
PICKLED_LORAS = ("pytorch_lora_weights", "adapter_model")
PEFT_KEYS = "base_model.model."
DIFFUSERS_SETTINGS = "lora_adapter_metadata"
PEFT_ALPHA = 8  # PEFT's default; used where its settings name no alpha
# ways to begin a LoRA that also change the weights of the base, which the file does not hold
CHANGED_BASES = ("pissa", "olora", "corda", "loftq", "lora_ga")
MAX_NAMED = 3

Settings = Mapping[str, Any]  # of PEFT


@dataclass(frozen=True)
class LoraFiles:
    """Where a LoRA lies: one file of weights for both networks, or one for each.

    weights: a part of the pipeline, or "" for all of it, and the file
    """

    weights: Mapping[str, Path]

    @property
    def all(self) -> list[Path]:
        """Return every file that decides what the LoRA does."""
        configs = (file.with_name(PEFT_CONFIG) for file in self.weights.values() if file.name == PEFT_FILE)
        return sorted([*self.weights.values(), *(config for config in configs if config.is_file())])


@dataclass(frozen=True, kw_only=True)
class ReadLora:
    """The tensors of a LoRA under the names of its files, in float32, and PEFT's settings of each network."""

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Settings] = field(default_factory=dict)

    def scale(self, part: str, module: str, rank: int, alpha: Tensor | None) -> float:
        """Return the number that the product of a layer's matrices is multiplied by."""
        settings = self.settings.get(part, {})
        number = alpha.item() if alpha is not None else settings.get("lora_alpha", rank)
        if alpha is None and settings.get("alpha_pattern"):
            from peft.utils.other import get_pattern_key

            own = get_pattern_key(list(settings["alpha_pattern"]), module)
            number = settings["alpha_pattern"].get(own, number)
        return float(number) / (math.sqrt(rank) if settings.get("use_rslora") else rank)


def is_lora_folder(path: Path) -> bool:
    """Return whether a folder holds the file of a LoRA as diffusers or PEFT names it."""
    return any((path / name).is_file() for name in (DIFFUSERS_FILE, PEFT_FILE))


def find_lora(path: Path) -> LoraFiles | None:
    """Return the LoRA that a file or a folder is; None for a folder that holds none.

    Raises:
        ThumbtuneError: it is in a form that is not read, or there are several and it is open which one is meant.
    """
    if path.is_file():
        refuse_other_file(path)
        return LoraFiles({"": path}) if path.suffix.lower() == SAFETENSORS else None
    if (path / DIFFUSERS_FILE).is_file() and (path / SECOND_FILE).is_file():
        return LoraFiles({TRANSFORMER: path / DIFFUSERS_FILE, TRANSFORMER_2: path / SECOND_FILE})
    for name in (DIFFUSERS_FILE, PEFT_FILE):
        if (path / name).is_file():
            return LoraFiles({"": path / name})
    parts = {part: path / part / PEFT_FILE for part in PARTS if (path / part / PEFT_FILE).is_file()}
    if parts:
        return LoraFiles(parts)
    files = sorted(file for file in path.glob("*") if file.is_file() and not file.name.startswith("."))
    found = [file for file in files if file.suffix.lower() == SAFETENSORS]
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:MAX_NAMED])
        raise ThumbtuneError(
            f"{path} contains {len(found)} files of weights ({names}{', ...' if len(found) > MAX_NAMED else ''}); name "
            "one of them.",
            code="lora-several-files",
        )
    if found:
        return LoraFiles({"": found[0]})
    for file in files:
        if file.suffix.lower() in PICKLES and file.stem in PICKLED_LORAS:
            refuse_other_file(file)
    return None


def read_lora(files: LoraFiles) -> ReadLora:
    """Return the tensors and the settings of a LoRA.

    Raises:
        ThumbtuneError: a file is unreadable, is no LoRA, holds NaN or infinite values, or lacks its settings.
    """
    tensors: dict[str, Tensor] = {}
    settings: dict[str, Settings] = {}
    for part, file in files.weights.items():
        keys = keys_in(file)
        config = _peft_config(file)
        refuse_as_lora(file, kind_of(keys))
        settings |= {own: config for own in ((part,) if part else PARTS)} if config is not None else {}
        if config is None:
            _refuse_without_settings(file, list(keys))
            told = _diffusers_settings(file)
            settings |= {part: told.get(TRANSFORMER, {})} if part == TRANSFORMER_2 else told
        prefix = f"{part}." if part else ""
        # diffusers has a file of its own for a second transformer, with the names of the first
        tensors |= {
            prefix + key.removeprefix(PEFT_KEYS).removeprefix(f"{TRANSFORMER}." if part else ""): value
            for key, value in _values(file).items()
        }
    for own in settings.values():
        _check_settings(next(iter(files.weights.values())), own)
    return ReadLora(tensors=tensors, settings=settings)


def _values(file: Path) -> dict[str, Tensor]:
    """Return a file's tensors in float32, all of them finite."""
    try:
        with safe_open(file, "pt") as opened:
            stored = {key: opened.get_tensor(key) for key in opened.keys()}
    except Exception as error:  # safetensors and torch raise errors of any type for damaged files
        raise ThumbtuneError(
            f"{file} is not a readable safetensors file ({reason(error)}); get the file again.", code="side-misfit"
        ) from error
    for key, value in stored.items():
        if not value.is_floating_point() and not key.endswith(".alpha"):
            raise ThumbtuneError(
                f"{file} stores {key} as {str(value.dtype).removeprefix('torch.')}, and a LoRA is read in float32, "
                "float16 or bfloat16; save it in one of these.",
                code="lora-quantised",
            )
    values = {key: value.float() for key, value in stored.items()}
    broken = [key for key, value in values.items() if not torch.isfinite(value).all()]
    if broken:
        raise ThumbtuneError(
            f"{file} holds NaN or infinite values in {len(broken)} of {len(values)} tensors ({_listed(broken)}), so "
            "every image would be black; use an earlier save of this LoRA.",
            code="lora-not-finite",
        )
    return values


def _listed(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")


def _peft_config(file: Path) -> Settings | None:
    """Return the settings beside a file of PEFT; None for another file, or if there are none."""
    config = file.with_name(PEFT_CONFIG)
    if file.name != PEFT_FILE or not config.is_file():
        return None
    return {"lora_alpha": PEFT_ALPHA, **_object(config, config.read_bytes())}


def _refuse_without_settings(file: Path, keys: list[str]) -> None:
    if any(key.startswith(PEFT_KEYS) for key in keys) and not any(key.endswith(".alpha") for key in keys):
        raise ThumbtuneError(
            f"{file} is a LoRA of PEFT, and its alpha stands in {PEFT_CONFIG}, which is missing; put that file beside "
            f"it, and name the file {PEFT_FILE}.",
            code="lora-no-settings",
        )


def _diffusers_settings(file: Path) -> dict[str, Settings]:
    """Return what diffusers keeps of PEFT's settings inside a file, by network."""
    text = metadata_in(file).get(DIFFUSERS_SETTINGS)
    if text is None:
        return {}
    stored = _object(file, text)
    parts = {}
    for part in PARTS:
        own = {key.removeprefix(f"{part}."): value for key, value in stored.items() if key.startswith(f"{part}.")}
        if own:
            parts[part] = own
    return parts


def _object(file: Path, text: str | bytes) -> Settings:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad_settings(file, reason(error)) from error
    if not isinstance(value, dict):
        raise _bad_settings(file, "they are no object")
    return value


def _bad_settings(file: Path, why: str) -> ThumbtuneError:
    return ThumbtuneError(
        f"The LoRA settings in {file} cannot be read ({why}); get the file again.", code="lora-bad-settings"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_settings(file: Path, settings: Settings) -> None:
    """Refuse settings of another method, of a LoRA whose base was changed too, and alphas that are no numbers."""
    kind = settings.get("peft_type", "LORA")
    if kind != "LORA":
        raise other_method(file, kind)
    begun = settings.get("init_lora_weights")
    if isinstance(begun, str) and begun.lower().startswith(CHANGED_BASES):
        raise ThumbtuneError(
            f"{file} began as {begun}, which also changes the weights of its base, and the file lacks that change; "
            "save it as a plain LoRA, which PEFT does with `path_initial_model_for_weight_conversion`.",
            code="lora-changed-base",
        )
    pattern = settings.get("alpha_pattern") or {}
    alphas = [settings.get("lora_alpha", 1.0), *(pattern.values() if isinstance(pattern, dict) else [pattern])]
    if not all(map(_is_number, alphas)):
        raise _bad_settings(file, "an alpha is no number")
