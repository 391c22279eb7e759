"""Options of a training as keywords, for Python: `Config("runs/first", steps=200, lr=1e-4)`.

A keyword is an option of a recipe by the last part of its name (`lr` is train.lr), a whole section (`evaluate={"steps":
25}`), or the name that TRL has for the same thing. What TRL counts otherwise is refused with our option.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thumbtune.errors import UsageError
from thumbtune.runs.other_names import our_name
from thumbtune.runs.recipe import Recipe, parse_recipe, recipe_options
from thumbtune.runs.renamed import RENAMED

OF_TRL = {  # each means the same, in the same unit
    "max_steps": "train.steps",
    "learning_rate": "train.lr",
    "warmup_steps": "train.warmup",
    "desirable_weight": "objective.liked_weight",
    "undesirable_weight": "objective.disliked_weight",
    "save_steps": "train.checkpoint_every",
    "save_total_limit": "train.keep_checkpoints",
    "eval_steps": "train.validate_every",
}
NOT_HERE = {  # what is done here in place of an option of TRL
    "logging_steps": "each step is written to steps.jsonl and sent to the trackers of report_to",
    "logging_strategy": "each step is written to steps.jsonl and sent to the trackers of report_to",
    "remove_unused_columns": "columns that are not known are left out of the run, and of your data set nothing changes",
    "lr_scheduler_type": "the learning rate rises over warmup steps, stays, and falls over cooldown steps",
    "per_device_eval_batch_size": "held-out images go through the network micro_batch at once, as in training",
    "precompute_ref_log_probs": "noise_draws=N computes the reference's errors once, for N draws of noise an image",
}
PRECISIONS = ("bf16", "fp16")  # in TRL true or false
MIN_SPELLING = 0.85  # similarity of a misspelt name and the one that it stands for
SECTIONS = ("lora", "objective", "prompts", "train", "evaluate", "gates")
OF_TRAINER = {"model": "model", "likes": "feedback"}  # what the Trainer is given


class Config:
    """The options of a Trainer: the folder of its run, and any option of a recipe as a keyword.

    `Config("runs/first", steps=200, lr=1e-4, objective="dpo", lora={"rank": 8})`; of TRL's names max_steps,
    learning_rate, warmup_steps, desirable_weight, undesirable_weight, save_steps, save_total_limit, eval_steps, bf16
    and fp16 work too. `options` holds them by their names in a recipe.

    Raises:
        UsageError: there is no such option, or it is given twice.
    """

    def __init__(self, output_dir: str | Path = "runs/first", **options: Any) -> None:
        self.output_dir = Path(output_dir).expanduser()
        self.options: dict[str, Any] = {}
        for keyword, value in options.items():
            for name, own in _named(keyword, value):
                if name in self.options:
                    raise UsageError(
                        f"Config: {keyword} sets {name}, which is set already; leave one of them out.",
                        code="config-option-twice",
                    )
                self.options[name] = own

    def __repr__(self) -> str:
        told = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"Config({str(self.output_dir)!r}{told})"

    def recipe(self, **more: Any) -> Recipe:
        """Return the recipe of these options; `more` are the model and the likes.

        Raises:
            UsageError: a value is out of bounds, or an option has no use beside the others.
        """
        return parse_recipe({**self.options, **more}, "Config")


def _named(keyword: str, value: Any) -> list[tuple[str, Any]]:
    """Return the options that a keyword sets, by their dotted names, with their values.

    Raises:
        UsageError: there is no such option, or the Trainer takes it.
    """
    known = recipe_options()
    if keyword in OF_TRAINER:
        raise UsageError(
            f"Config: give {keyword} to the Trainer, as Trainer({OF_TRAINER[keyword]}=...).", code="config-of-trainer"
        )
    if keyword in SECTIONS and isinstance(value, Mapping):
        return [(_known(f"{keyword}.{name}", f"{keyword}={{{name!r}: ...}}"), own) for name, own in value.items()]
    if keyword == "objective":
        return [("objective.name", value)]
    if keyword in OF_TRL:
        return [(OF_TRL[keyword], value)]
    if keyword in PRECISIONS and isinstance(value, bool):
        return [("train.precision", keyword)] if value else []
    mine = next((name for name in known if name.rpartition(".")[2] == keyword), None)
    return [(mine or _known(keyword, keyword), value)]


def _known(name: str, as_written: str) -> str:
    """Return the name of an option as it is.

    Raises:
        UsageError: there is no such option; the sentence has the one that it may stand for.
    """
    known = recipe_options()
    if name in known or name in RENAMED:
        return name
    if name in NOT_HERE:
        raise UsageError(f"Config takes no {as_written}: {NOT_HERE[name]}.", code="config-not-here")
    if "." not in name and (close := difflib.get_close_matches(name, [*OF_TRL, *PRECISIONS], 1, MIN_SPELLING)):
        raise UsageError(
            f"Config takes no {as_written}; did you mean {close[0]}? `thumbtune recipe` lists all options.",
            code="recipe-unknown-option",
        )
    section, _, last = name.rpartition(".")
    near = our_name(name, list(known))
    if section and (near is None or near.startswith("-")):
        near = our_name(last, list(known))
    found = near is not None and not near.startswith("-")
    what = f"the nearest option is {near}" if found else "`thumbtune recipe` lists all options"
    raise UsageError(
        f"Config takes no {as_written}; {what}, and docs/trl.md has a table of TRL's names.",
        code="recipe-unknown-option",
    )
