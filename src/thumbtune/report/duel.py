"""Write the page of a duel: verdict, win-rates, images, scores, styles, and all that is needed to repeat it."""

import csv
import json
import random
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError
from markupsafe import Markup

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.evaluation.prompts import SETS
from thumbtune.evaluation.standings import CHANCE, careful, decided
from thumbtune.files import write_text
from thumbtune.report import plots
from thumbtune.report.images import data_uri
from thumbtune.report.reading import flat, read_run
from thumbtune.report.templates import template
from thumbtune.report.training import training

PAGE = "report.html"
EACH = 6  # pairs in a grid
LARGE = 384  # pixels of an image: the stage shows it at 352
MAIN = "median"


@dataclass(frozen=True)
class Pair:
    """One prompt and seed, drawn by both sides; data URIs, None where an image cannot be read."""

    prompt: str
    seed: int
    before: str | None
    after: str | None
    scores: tuple[float, float] | None = None


@dataclass(frozen=True)
class DuelFolder:
    """What a duel's folder holds, as written; scores: scorer -> side -> (prompt, seed) -> number."""

    folder: Path
    duel: Mapping[str, Any]
    environment: Mapping[str, Any]
    result: Mapping[str, Any]
    verdict: Mapping[str, Any] | None
    images: Mapping[tuple[str, int, int], tuple[str, str]]  # side, prompt, seed -> file, words
    scores: Mapping[str, Mapping[str, Mapping[tuple[int, int], float]]]


def is_duel(folder: Path) -> bool:
    """Whether a folder is that of a duel."""
    return (folder / "duel.json").is_file()


def write_page(folder: Path) -> Path:
    """Write `report.html` into a duel's folder: one file that loads nothing from anywhere.

    Raises:
        UsageError: there is no finished duel.
        ThumbtuneError: a file cannot be understood, or the page cannot be written.
    """
    found = read_duel(folder)
    try:
        page = template("duel.html.j2").render(**_contents(found))
    except (KeyError, IndexError, TypeError, ValueError, UndefinedError) as error:
        raise ThumbtuneError(
            f"{folder} holds a duel in an unknown shape ({error}); repeat its command with this version of thumbtune."
        ) from error
    return write_text(folder / PAGE, page)


def read_duel(folder: Path) -> DuelFolder:
    """Read the text files of a duel.

    Raises:
        UsageError: there is no finished duel.
        ThumbtuneError: a file cannot be understood.
    """
    if not (folder / "result.json").is_file():
        raise UsageError(f"{folder} holds no finished duel; run `thumbtune duel` with --out {folder}.")
    try:
        images = {
            (row["side"], int(row["prompt"]), int(row["seed"])): (row["file"], row["words"])
            for row in _rows(folder / "images.csv")
        }
        scores: dict[str, dict[str, dict[tuple[int, int], float]]] = {}
        for row in _rows(folder / "scores.csv"):
            if row["score"]:
                place = (int(row["prompt"]), int(row["seed"]))
                scores.setdefault(row["scorer"], {}).setdefault(row["side"], {})[place] = float(row["score"])
        return DuelFolder(
            folder=folder,
            duel=_json(folder / "duel.json"),
            environment=_json(folder / "environment.json") if (folder / "environment.json").is_file() else {},
            result=_json(folder / "result.json"),
            verdict=_json(folder / "verdict.json") if (folder / "verdict.json").is_file() else None,
            images=images,
            scores=scores,
        )
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise ThumbtuneError(f"{folder} cannot be read as a duel ({error}); repeat its command.") from error


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _contents(found: DuelFolder) -> dict[str, Any]:
    """Everything that the template shows."""
    rows = [row | {"careful": careful(row) if row["prompts"] else None} for row in found.result["standings"]]
    main = next((one["id"] for one in found.result["scorers"]), None)
    grids = list(_grids(found, main))
    shown = [pair for _, _, pairs in grids for pair in pairs]
    whole = [pair for pair in shown if pair.before and pair.after]
    return {
        "result": found.result,
        "verdict": found.verdict,
        "headline": headline(found.result),
        "chart": _chart(rows),
        "overall": {
            estimand: [row for row in rows if row["style"] is None and row["estimand"] == estimand]
            for estimand in ("median", "pairwise")
        },
        "by_style": _by_style(rows),
        "main": main,
        "grids": grids,
        "stage": whole[0] if whole else None,
        "missing": len({(pair.prompt, pair.seed) for pair in shown}) - len({(p.prompt, p.seed) for p in whole}),
        "distributions": list(_distributions(found)),
        "training": _training(found),
        "command": _command(found),
        "duel": flat({key: value for key, value in found.duel.items() if key != "form"}),
        "scorers": [(one["id"], f"{one['revision']}, {one['preprocessing']}") for one in found.result["scorers"]],
        "environment": flat(found.environment),
    }


def headline(result: Mapping[str, Any]) -> str:
    """The verdict of a duel in a sentence: by how many scorers each side is better."""
    rows = [row for row in result["standings"] if (row["style"], row["estimand"]) == (None, MAIN) and row["prompts"]]
    if not rows:
        return "Nothing was scored on both sides."
    better = [row["scorer"] for row in rows if decided(row) and row["rate"] > CHANCE]
    worse = [row["scorer"] for row in rows if decided(row) and row["rate"] < CHANCE]
    if not better and not worse:
        names = _list([row["scorer"] for row in rows])
        return f"{result['b']} and {result['a']} win about as often, as far as these prompts tell, by {names}."
    said = []
    if better:
        said.append(f"{result['b']} is better by {_list(better)}")
    if worse:
        said.append(f"{result['a']} is better by {_list(worse)}")
    rest = len(rows) - len(better) - len(worse)
    return "; ".join(said) + (f"; {rest} of {len(rows)} scorers cannot tell." if rest else ".")


def _list(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _chart(rows: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Win-rates of medians, over all prompts."""
    found = {
        row["scorer"]: {
            "win_rate": row["rate"],
            "win_rate_wilson": row["wilson"],
            "win_rate_bootstrap": row["bootstrap"],
        }
        for row in rows
        if (row["style"], row["estimand"]) == (None, MAIN) and row["prompts"]
    }
    return Markup(plots.win_rates(found, set(found))) if found else None


def _by_style(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    styles = dict.fromkeys(row["style"] for row in rows if row["style"] is not None)
    if len(styles) < len(("one", "another")):  # of a single one all is said already
        return []
    return [(s, [row for row in rows if row["style"] == s and row["estimand"] == MAIN]) for s in styles]


def _grids(found: DuelFolder, main: str | None) -> Iterator[tuple[str, str, list[Pair]]]:
    """Largest gains, largest losses, and pairs drawn by lot."""
    places = sorted({(prompt, seed) for _, prompt, seed in found.images})
    told = found.scores.get(main or "", {})
    before, after = told.get("a", {}), told.get("b", {})
    moved = sorted((after[p] - before[p], p) for p in places if p in before and p in after)
    gains = [place for change, place in reversed(moved) if change > 0][:EACH]
    losses = [place for change, place in moved if change < 0][:EACH]
    lot = random.Random(0).sample(places, min(EACH, len(places)))
    for title, about, chosen in (
        ("Largest gains", f"The {len(gains)} pairs that gained most by {main}.", gains),
        ("Largest losses", f"The {len(losses)} pairs that lost most by {main}.", losses),
        ("Drawn by lot", "No score had a say in which.", sorted(lot)),
    ):
        if chosen:
            yield title, about, [_pair(found, place, before, after) for place in chosen]


def _pair(found: DuelFolder, place: tuple[int, int], before: Mapping[Any, float], after: Mapping[Any, float]) -> Pair:
    one, other = (found.images.get((side, *place), ("", ""))[0] for side in ("a", "b"))
    words = found.images[next(key for key in found.images if key[1:] == place)][1]
    scores = (before[place], after[place]) if place in before and place in after else None
    return Pair(words, place[1], _uri(found.folder, one), _uri(found.folder, other), scores)


def _uri(folder: Path, name: str) -> str | None:
    """A page is passed on, so it shows nothing from outside its folder."""
    path = (folder / name).resolve()
    return data_uri(path, LARGE) if name and path.is_relative_to(folder.resolve()) else None


def _distributions(found: DuelFolder) -> Iterator[tuple[str, Markup]]:
    for name, sides in found.scores.items():
        before, after = ([*sides.get(side, {}).values()] for side in ("a", "b"))
        if before and after:
            yield name, Markup(plots.distributions(before, after, name))


def _training(found: DuelFolder) -> dict[str, Any] | None:
    """The curves of `b`, where it is a run that is still there."""
    side = found.duel["sides"]["b"]
    if side["kind"] != "run" or not Path(side["said"]).is_dir():
        return None
    return training(read_run(Path(side["said"])).steps)


def _command(found: DuelFolder) -> str:
    """What to type to repeat it; of a verdict, with the gates of the run's recipe."""
    duel = found.duel
    cut = duel["prompts"]["count"] < duel["prompts"].get("of", 0)
    limit = ("--limit", duel["prompts"]["count"]) if cut else ()
    named = duel["prompts"]["name"] if duel["prompts"]["name"] in SETS else duel["source"]
    if found.verdict is not None:
        words = [*("thumbtune", "verdict", duel["sides"]["b"]["said"], "--against", duel["sides"]["a"]["said"])]
        words += [*(("--prompts", named) if named else ()), *limit, *_weights(found)]
        words += [word for setting in found.verdict.get("settings", ()) for word in ("--set", setting)]
        words += ["--out", str(found.folder)]
        return shlex.join(map(str, words))
    words = [
        *("thumbtune", "duel", duel["sides"]["a"]["said"], duel["sides"]["b"]["said"]),
        *("--prompts", named),
        *limit,
        *("--scorers", ",".join(found.result["asked"])),
        *("--per-prompt", duel["seeds"]["per_prompt"], "--first-seed", duel["seeds"]["first"]),
        *("--steps", duel["sampler"]["steps"], "--guidance", duel["sampler"]["guidance"]),
        *(("--base", duel["base"]) if duel["base"] else ()),
        *(("--tie", found.result["tie"]) if found.result["tie"] else ()),
        *(("--paper-ci",) if found.result["paper_ci"] else ()),
        *_weights(found),
        *("--out", found.folder),
    ]
    return shlex.join(map(str, words))


def _weights(found: DuelFolder) -> list[str]:
    """Where weights and prompts came from, if not from where they are published."""
    places = found.result.get("places", {})
    local = ["--weights", places["local"]] if places.get("local") else []
    return [*local, *(["--offline"] if places.get("offline") else [])]
