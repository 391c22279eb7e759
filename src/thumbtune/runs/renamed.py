"""Options that had another name in an earlier version: a recipe of before loads, and a note says the new name."""

import warnings
from typing import Any

RENAMED = {
    "objective.neutral": "objective.reference_point",
    "train.clip": "train.max_grad_norm",
    "train.held_out": "train.validation_share",
    "train.noise_bias": "train.timestep_bias",
    "train.refresh_reference": "train.sync_reference_every",
    "train.watch_every": "train.validate_every",
}


class RenamedOption(UserWarning):
    """A recipe or a setting uses the name that an option had before."""


def new_name(option: str, where: str) -> str:
    """Return today's name of an option; warn if it is not the name that was given."""
    new = RENAMED.get(option, option)
    if new != option:
        warnings.warn(f"{where}: {option} is called {new} now; the next version reads only that.", RenamedOption, 2)
    return new


def with_new_names(data: Any, where: str) -> Any:
    """Return a recipe's mapping with today's names of its options. A name given both ways keeps its new value."""
    if not isinstance(data, dict):
        return data
    changed = {name: dict(value) if isinstance(value, dict) else value for name, value in data.items()}
    for old in RENAMED:
        section, _, option = old.rpartition(".")
        if isinstance(changed.get(section), dict) and option in changed[section]:
            new_section, _, new_option = new_name(old, where).rpartition(".")
            value = changed[section].pop(option)
            changed.setdefault(new_section, {}).setdefault(new_option, value)
    return changed
