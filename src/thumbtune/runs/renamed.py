"""Options of earlier versions. A recipe that names one still loads, with a note; the next version refuses it."""

import warnings
from typing import Any

from thumbtune.errors import UsageError, shown

RENAMED = {  # where two old names have one new name, the first one counts
    "gates.taste": "evaluate.scorers",
    "evaluate.taste": "evaluate.scorers",
    "gates.faithful": "evaluate.faithfulness",
    "evaluate.judge": "evaluate.faithfulness",
    "gates.safe": "evaluate.safety",
    "evaluate.seeds": "evaluate.per_prompt",
    "gates.most_lost": "gates.max_faithfulness_loss",
    "gates.least_diversity": "gates.min_diversity",
    "gates.least_style": "gates.min_style_win_rate",
    "gates.most_unsafe": "gates.max_harm_rise",
    "objective.neutral": "objective.reference_point",
    "train.clip": "train.max_grad_norm",
    "train.held_out": "train.validation_share",
    "train.noise_bias": "train.timestep_bias",
    "train.refresh_reference": "train.sync_reference_every",
    "train.watch_every": "train.validate_every",
}
# option -> the value at which it changed nothing, and what to do in place of any other
REMOVED = {"objective.disliked_floor": (0.0, "write an objective with a floor, as docs/own-objective.md shows")}
VALUES = {"evaluate.judge": {True: "faithfulness", False: "none"}}  # today's values of old ones

BEFORE = {"train.buckets": False}  # what runs did before there was the option


class RenamedOption(UserWarning):
    """A recipe or a setting names an option of an earlier version."""


def _warn(options: list[str], where: str) -> None:
    names = ", ".join(f"{old} is now {RENAMED[old]}" for old in options)
    warnings.warn(f"{where} uses old names, which the next version will refuse: {names}.", RenamedOption, 3)


def new_name(option: str, where: str) -> str:
    """Return today's name of an option; warn if another name was given."""
    if option in RENAMED:
        _warn([option], where)
    return RENAMED.get(option, option)


def new_value(option: str, value: Any) -> Any:
    """Return today's value of an option that was given by its old name."""
    return VALUES[option].get(value, value) if option in VALUES and isinstance(value, bool) else value


def has_left(option: str, value: Any, where: str) -> bool:
    """Return whether an option is no longer part of a recipe; warn if so.

    Raises:
        UsageError: the option is gone, and had a value that changed something.
    """
    if option not in REMOVED:
        return False
    idle, instead = REMOVED[option]
    if value != idle:
        raise UsageError(
            f"{where}: {option} is {shown(value)}, but recipes no longer have this option; leave it out, or {instead}.",
            code="recipe-removed-option",
        )
    warnings.warn(f"{where}: {option} is no longer an option; the next version refuses it.", RenamedOption, 3)
    return True


def as_begun(data: dict[str, Any]) -> dict[str, Any]:
    """Return the mapping of a run's recipe, with what its version did in place of options that it did not have."""
    changed = dict(data)
    for name, value in BEFORE.items():
        section, _, option = name.partition(".")
        if isinstance(changed.get(section), dict):
            changed[section] = {option: value, **changed[section]}
    return changed


def with_new_names(data: Any, where: str) -> Any:
    """Return a recipe's mapping with the options of today. An option under both its names keeps its new value.

    Raises:
        UsageError: it names an option that is gone, with a value that changed something.
    """
    if not isinstance(data, dict):
        return data
    sections = {option.partition(".")[0] for option in (*RENAMED, *RENAMED.values(), "lora.rank")}
    changed: dict[Any, Any] = {  # an empty section is one without options
        name: dict(value or {}) if isinstance(value, dict) or (value is None and name in sections) else value
        for name, value in data.items()
    }
    for old in REMOVED:
        section, _, option = old.partition(".")
        if isinstance(changed.get(section), dict) and option in changed[section]:
            has_left(old, changed[section].pop(option), where)
    given = []
    for old, new in RENAMED.items():
        section, _, option = old.partition(".")
        if not isinstance(changed.get(section), dict) or option not in changed[section]:
            continue
        value = new_value(old, changed[section].pop(option))
        new_section, _, new_option = new.partition(".")
        if new_section == "evaluate" and value in (None, []):  # the default of before, and of now
            continue
        given.append(old)
        section_now = changed.setdefault(new_section, {})
        if isinstance(section_now, dict):  # else validation refuses it
            section_now.setdefault(new_option, value)
    if given:
        _warn(given, where)
    return changed
