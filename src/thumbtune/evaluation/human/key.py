"""The key of a study: the file that tells its sides, and stays with the experimenter."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thumbtune.errors import UsageError
from thumbtune.evaluation.human.plan import Pair, Study, Trial

FORM = 1  # of the key
LARGEST = 100_000_000  # bytes, of any file that is read here
KINDS: Mapping[str, tuple[type, ...]] = {
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
OF_STUDY = ("id", "question", "a", "b", "seed", "trials")
OF_TRIAL = ("id", "left", "repeats", "prompt", "words", "seed", "a", "b", "style")


def key_text(study: Study) -> str:
    """The key as JSON."""
    trials = [
        {"id": trial.id, "left": trial.left, "repeats": trial.repeats, **asdict(trial.pair)} for trial in study.trials
    ]
    what = {name: getattr(study, name) for name in OF_STUDY if name != "trials"}
    return json.dumps({"form": FORM, **what, "trials": trials}, indent=1)


def read_key(path: Path) -> Study:
    """The study of a key file.

    Raises:
        UsageError: it is none, or is damaged.
    """
    found = read_json(path, LARGEST, "give the key that `thumbtune human export` wrote")
    if not isinstance(found, dict) or "trials" not in found:
        raise UsageError(f"{path} is no key of a human test; give the key that `thumbtune human export` wrote.")
    if found.get("form") != FORM:
        raise UsageError(f"{path} is a key of another version ({found.get('form')!r}); read it with that Thumbtune.")
    study = _fields(path, found, OF_STUDY, "its beginning")
    trials = tuple(_trial(path, number, one) for number, one in enumerate(study.pop("trials"), start=1))
    ids = {trial.id for trial in trials}
    if not trials or len(ids) < len(trials) or not {t.repeats for t in trials} <= {None, *ids}:
        raise UsageError(f"{path} is damaged: its trials do not fit together; give the key as it was written.")
    return Study(**study, trials=trials)


def _trial(path: Path, number: int, found: Any) -> Trial:
    one = _fields(path, found, OF_TRIAL, f"trial {number}")
    if one["left"] not in ("a", "b"):
        raise UsageError(f"{path} is damaged at trial {number}: left is neither a nor b; give the key as it was.")
    told = {name: one.pop(name) for name in ("id", "left", "repeats")}
    return Trial(**told, pair=Pair(**one))


def _fields(path: Path, found: Any, names: tuple[str, ...], where: str) -> dict[str, Any]:
    """The fields of those names, each of its kind."""
    for name in names:
        if not isinstance(found, dict) or not isinstance(found.get(name), KINDS[name]):
            raise UsageError(f"{path} is damaged at {where}: {name} is not as written; give the key as it was.")
    return {name: found[name] for name in names}


def read_json(path: Path, largest: int, advice: str) -> Any:
    """What a JSON file holds.

    Args:
        largest: bytes; a larger file is not opened.
        advice: what to do if it cannot be read, for the sentence.

    Raises:
        UsageError: it is not there, too large, no JSON, or nested too deeply.
    """
    try:
        if (size := path.stat().st_size) > largest:
            raise UsageError(f"{path} has {size:,} bytes, more than the {largest:,} that one can have; {advice}.")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}); {advice}.") from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply to be read; {advice}.") from error
    except ValueError as error:
        raise UsageError(f"{path} is no JSON ({str(error)[:80]}); {advice}.") from error
