"""The key of a study: the file that tells the sides apart. The experimenter keeps it from raters."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from thumbtune import documents
from thumbtune.errors import UsageError, shown
from thumbtune.evaluation.human.plan import Pair, StoppingRule, Study, Trial

KEY_VERSION = 1
MAX_KEY_BYTES = 100_000_000
FIELD_TYPES: Mapping[str, tuple[type, ...]] = {
    "id": (str,),
    "question": (str,),
    "a": (str,),
    "b": (str,),
    "seed": (int,),
    "trials": (list,),
    "left": (str,),
    "repeats": (str, type(None)),
    "prompt": (int,),
    "words": (str,),
    "style": (str, type(None)),
}
STUDY_FIELDS = ("id", "question", "a", "b", "seed", "trials")
TRIAL_FIELDS = ("id", "left", "repeats", "prompt", "words", "seed", "a", "b", "style")


def format_key(study: Study) -> str:
    """Return the key as JSON."""
    trials = [
        {"id": trial.id, "left": trial.left, "repeats": trial.repeats, **asdict(trial.pair)} for trial in study.trials
    ]
    fields = {name: getattr(study, name) for name in STUDY_FIELDS if name != "trials"}
    return json.dumps({"form": KEY_VERSION, **fields, "stop": study.stop, "trials": trials}, indent=1)


def read_key(path: Path) -> Study:
    """Return the study of a key file.

    Raises:
        UsageError: the file is not a key, or is damaged.
    """
    content = read_json(path, MAX_KEY_BYTES, "give the key that `thumbtune human export` wrote")
    if not isinstance(content, dict) or "trials" not in content:
        raise UsageError(
            f"{path} is not the key of a human test; give the key that `thumbtune human export` wrote.",
            code="human-not-a-key",
        )
    if content.get("form") != KEY_VERSION:
        raise UsageError(
            f"{path} is a key of version {shown(content.get('form'))}; read it with the Thumbtune that wrote it.",
            code="human-key-version",
        )
    study = _read_fields(path, content, STUDY_FIELDS, "its beginning")
    trials = tuple(_read_trial(path, number, trial) for number, trial in enumerate(study.pop("trials"), start=1))
    ids = {trial.id for trial in trials}
    if not trials or len(ids) < len(trials) or not {trial.repeats for trial in trials} <= {None, *ids}:
        raise UsageError(
            f"{path} is damaged: its trials are inconsistent; give the unchanged key.", code="human-key-trials"
        )
    stop = content.get("stop", "all")  # keys of before have none
    if stop not in get_args(StoppingRule):
        raise UsageError(
            f"{path} is damaged at its beginning: there is no stopping rule {shown(stop)}; give the unchanged key.",
            code="human-key-field",
        )
    return Study(**study, trials=trials, stop=stop)


def _read_trial(path: Path, number: int, content: Any) -> Trial:
    fields = _read_fields(path, content, TRIAL_FIELDS, f"trial {number}")
    if fields["left"] not in ("a", "b"):
        raise UsageError(
            f"{path} is damaged at trial {number}: left is neither a nor b; give the unchanged key.",
            code="human-key-field",
        )
    own = {name: fields.pop(name) for name in ("id", "left", "repeats")}
    return Trial(**own, pair=Pair(**fields))


def _read_fields(path: Path, content: Any, names: tuple[str, ...], where: str) -> dict[str, Any]:
    """Return the fields of these names after checking their types; yes and no are no numbers."""
    for name in names:
        if not isinstance(content, dict) or name not in content or type(content[name]) not in FIELD_TYPES[name]:
            raise UsageError(
                f"{path} is damaged at {where}: {name} is missing or has another type; give the unchanged key.",
                code="human-key-field",
            )
    return {name: content[name] for name in names}


def read_json(path: Path, max_bytes: int, advice: str) -> Any:
    """Return the content of a JSON file.

    Args:
        max_bytes: a larger file is not opened.
        advice: what to do if the file cannot be read, for the error.

    Raises:
        UsageError: the file is missing, too large, not JSON, or nested too deeply.
    """
    try:
        return documents.read_json(path, max_bytes=max_bytes)
    except documents.DocumentFault as fault:
        if fault.kind == "size":
            raise UsageError(f"{path} cannot be read ({fault}); {advice}.", code="json-too-large") from fault
        if fault.kind in {"missing", "unreadable"}:
            raise UsageError(f"{path} cannot be read ({fault}); {advice}.", code="json-unreadable") from fault
        raise UsageError(f"{path} cannot be read ({fault}); {advice}.", code="json-invalid") from fault
