"""The command of a job, such as `thumbtune generate` or `train`, with its words, and the same for people to copy.

A job's arguments are JSON, and become words of a command line without a shell. Every folder follows from a name, below
the studio's root.
"""

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune.errors import UsageError
from thumbtune.feedback.store.database import is_address, name_of, url_of
from thumbtune.feedback.store.jobs import JobKind
from thumbtune.feedback.store.tables import Job

RUNS, IMAGES, EXPORTS, DUELS = "runs", "images", "exports", "duels"
PROMPTS_ENDING = ".txt"  # of the file of a duel's prompts, beside its folder
FRESH = "fresh.txt"  # the fresh prompts of a round, beside its images
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Place:
    """Where commands run: the studio's root, and its store as commands name it."""

    root: Path
    likes: str

    @property
    def store(self) -> str:
        """The store for `--likes`, seen from the root; an address has no password."""
        if is_address(self.likes):
            return name_of(self.likes)
        where = Path(self.likes).absolute()
        return os.path.relpath(where, self.root) if where.is_relative_to(self.root) else str(where)

    def environment(self) -> dict[str, str]:
        """Return the variables that a command needs besides: other users may read the words of a command, not these."""
        password = url_of(self.likes).password if is_address(self.likes) else None
        return {} if password is None else {"PGPASSWORD": str(password)}

    def run(self, name: str) -> Path:
        """Return the folder of a run.

        Raises:
            UsageError: the name is no name of a folder.
        """
        return self.root / RUNS / checked_name(name)


def checked_name(name: str) -> str:
    """Return the name of a run or of a set of images.

    Raises:
        UsageError: it is no name of a folder, or leads elsewhere.
    """
    if not NAME.fullmatch(name) or name.endswith("."):
        raise UsageError(
            f"{name[:64]!r} cannot be a name; use letters, digits, hyphens, dots and underscores, at most 64.",
            code="job-bad-name",
        )
    return name


def checked_model(model: str, place: Place) -> str:
    """Return what a request names as a model: the bundled one, a hub id, or a folder or file below the root.

    Raises:
        UsageError: it leads out of the root.
    """
    path = Path(model)
    inside = not path.is_absolute() and ".." not in path.parts and not model.startswith("~")
    if inside and "\\" not in model and model.isprintable() and model.strip():
        there = place.root / path
        if NAME.fullmatch(model) or HUB_ID.fullmatch(model) or there.exists():
            if not there.exists() or there.resolve().is_relative_to(place.root.resolve()):
                return model
    raise UsageError(
        f"{model[:64]!r} is no model that the studio may load; name a hub id, or a folder or file below its root.",
        code="job-bad-model",
    )


def words_of(job: Job, place: Place) -> list[str]:
    """Return the words of a job's command, without the program; a run that began goes on from its checkpoint."""
    arguments = json.loads(job.arguments)
    begun = job.kind == "train" and (place.root / job.folder / "recipe.yaml").exists()
    return words(job.kind, job.folder, arguments, place.store, begun)  # type: ignore[arg-type]


def words(kind: JobKind, folder: str, arguments: Mapping[str, Any], store: str, resume: bool = False) -> list[str]:
    """Return the words of a command.

    >>> words("train", "runs/first", {"settings": {"train.steps": 4}}, "likes")
    ['train', '--out', 'runs/first', '--likes', 'likes', '--set', 'train.steps=4']
    >>> words("generate", "images/a", {"prompts": ["a fox"], "per_prompt": 2, "seed": 5}, "likes")
    ['generate', '--out', 'images/a', '--likes', 'likes', '--seeds', '2', '--first-seed', '5', '--', 'a fox']
    >>> words("evaluate", "runs/first", {}, "likes")
    ['evaluate', 'runs/first']
    >>> words("round", "images/a", {"run": "first", "per_prompt": 2, "limit": None, "prompts": []}, "likes")
    ['round', 'runs/first', '--out', 'images/a', '--likes', 'likes', '--per-prompt', '2']
    >>> words("merge", "exports/first", {"run": "first", "half": True}, "likes")
    ['merge', 'runs/first', 'exports/first', '--fp16']
    >>> given = {"run": "first", "prompts": ["a fox"], "seeds": 1, "seed": 0, "checkpoints": [20], "strengths": []}
    >>> words("compare", "runs/first/compared", given, "likes")
    ['compare', 'runs/first', '--seeds', '1', '--first-seed', '0', '--checkpoint', '20', '--', 'a fox']
    >>> words("compare", "runs/first/compared", {**given, "checkpoints": []}, "likes")[6:8]  # none, and not all
    ['--checkpoint', '0']
    >>> " ".join(words("duel", "duels/x", {"a": "first", "b": "second", "per_prompt": 2, "scorers": "none"}, "likes"))
    'duel runs/first runs/second --out duels/x --prompts duels/x.txt --scorers none --per-prompt 2'
    """
    run = f"{RUNS}/{arguments.get('run')}"
    match kind:
        case "train":
            made = ["train", *_of_train(folder, arguments, store, resume)]
        case "generate":
            made = ["generate", "--out", folder, "--likes", store, *_of_generation(arguments)]
        case "round":
            made = ["round", run, "--out", folder, "--likes", store, *_of_round(folder, arguments)]
        case "merge":
            made = ["merge", run, folder, *(["--fp16"] if arguments["half"] else [])]
        case "compare":
            made = ["compare", run, *_of_comparison(arguments)]
        case "duel":
            made = ["duel", *_of_duel(folder, arguments)]
        case "export":
            made = ["likes", "export", folder, "--likes", store, *_of_export(arguments)]
        case "evaluate":
            made = ["evaluate", folder]
    return made


def _of_train(folder: str, arguments: Mapping[str, Any], store: str, resume: bool) -> list[str]:
    if resume:
        return ["--out", folder, "--resume"]
    given = [word for name, value in arguments["settings"].items() for word in ("--set", f"{name}={_text(value)}")]
    recipe = [arguments["recipe"]] if arguments.get("recipe") else []
    return [*recipe, "--out", folder, "--likes", store, *given]


def _of_generation(arguments: Mapping[str, Any]) -> list[str]:
    options = {
        "--run": arguments.get("run") and f"{RUNS}/{arguments['run']}",
        "--model": arguments.get("model"),
        "--steps": arguments.get("steps"),
        "--guidance": arguments.get("guidance"),
        "--size": arguments.get("size"),
        "--negative": arguments.get("negative"),
    }
    given = [word for name, value in options.items() if value not in (None, "") for word in (name, str(value))]
    counts = ["--seeds", str(arguments["per_prompt"]), "--first-seed", str(arguments["seed"])]
    return [*counts, *given, "--", *arguments["prompts"]]


def _of_comparison(arguments: Mapping[str, Any]) -> list[str]:
    steps = [word for step in arguments["checkpoints"] or [0] for word in ("--checkpoint", str(step))]
    strengths = [word for value in arguments["strengths"] for word in ("--strength", f"{value:g}")]
    counts = ["--seeds", str(arguments["seeds"]), "--first-seed", str(arguments["seed"])]
    return [*counts, *steps, *strengths, "--", *arguments["prompts"]]


def _of_duel(folder: str, arguments: Mapping[str, Any]) -> list[str]:
    sides = [f"{RUNS}/{arguments[side]}" for side in ("a", "b")]
    given = ["--prompts", f"{folder}{PROMPTS_ENDING}", "--scorers", arguments["scorers"]]
    return [*sides, "--out", folder, *given, "--per-prompt", str(arguments["per_prompt"])]


def _of_export(arguments: Mapping[str, Any]) -> list[str]:
    policy = [] if arguments["policy"] is None else ["--policy", arguments["policy"]]
    return ["--as", arguments["form"], *policy, *(["--names"] if arguments["names"] else [])]


def _of_round(folder: str, arguments: Mapping[str, Any]) -> list[str]:
    given = ["--per-prompt", str(arguments["per_prompt"])]
    given += [] if arguments["limit"] is None else ["--limit", str(arguments["limit"])]
    return [*given, *(["--prompts", f"{folder}/{FRESH}"] if arguments["prompts"] else [])]


def _text(value: Any) -> str:
    """Return a value as --set reads it: YAML, of which JSON is a part; words as they are."""
    return value if isinstance(value, str) else json.dumps(value)


def copied(kind: JobKind, folder: str, arguments: Mapping[str, Any], place: Place) -> str:
    """Return the command for people, to be run in the studio's root."""
    return shlex.join(["thumbtune", *words(kind, folder, arguments, place.store)])
