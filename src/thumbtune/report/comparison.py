"""The part of a page that compares two models: win-rates, images, scores, styles, and the command that repeats it."""

import random
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from thumbtune.errors import joined, plural
from thumbtune.evaluation.duel_folder import DuelFolder
from thumbtune.evaluation.prompts import PROMPT_SETS
from thumbtune.evaluation.standings import careful, decided, equal
from thumbtune.evaluation.win_rates import CHANCE
from thumbtune.feedback.enough import MIN_PROMPTS
from thumbtune.report import plots
from thumbtune.report.images import data_uri
from thumbtune.report.reading import flat

PAIRS_OF_GRID = 6
LARGEST_IMAGE = 384  # pixels: the stage shows it at 352
MAX_PAIRS_SHOWN = 400  # with more, a page shows a choice of them
MAIN = "median"
Place = tuple[int, int]  # prompt, seed


LEAST_CHANGE = 0.01  # of a score: nobody sees a smaller one, so it is neither a gain nor a loss


@dataclass(frozen=True)
class Pair:
    """One prompt and seed by both models: data URIs, None for an unreadable image."""

    prompt: str
    seed: int
    before: str | None
    after: str | None
    scores: tuple[float, float] | None = None


def comparison(found: DuelFolder) -> dict[str, Any]:
    """Return everything that the page shows of a duel."""
    rows = [row | {"careful": careful(row) if row["prompts"] else None} for row in found.result["standings"]]
    main = next((scorer["id"] for scorer in found.result["scorers"]), None)
    pairs = _pairs(found, main)
    grids = list(_grids(pairs, main))
    whole = [pair for _, _, shown in grids for pair in shown if pair.before and pair.after]
    verdict = found.verdict or {}
    return {
        **{name: found.result[name] for name in ("a", "b", "prompts", "per_prompt", "scorers", "sentences")},
        "verdict": found.verdict,
        "agreement": verdict.get("agreement"),
        "no_agreement": verdict.get("no_agreement"),
        "min_prompts": MIN_PROMPTS,
        "hardly_differ": found.result.get("hardly_differ"),
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
        "pairs": len(pairs),
        "every": _by_prompt(pairs) if len(pairs) <= MAX_PAIRS_SHOWN else [],
        "missing": sum((pair.before is None) + (pair.after is None) for pair in _shown(pairs, grids)),
        "distributions": list(_distributions(found)),
        "command": _command(found),
        "manifest": flat({key: value for key, value in found.manifest.items() if key != "form"}),
        "scorer_settings": [
            (scorer["id"], f"{scorer['revision']}, {scorer['preprocessing']}") for scorer in found.result["scorers"]
        ],
    }


def headline(result: Mapping[str, Any]) -> str:
    """Return a duel's result in a sentence: by how many scorers each side is better."""
    rows = [row for row in result["standings"] if (row["style"], row["estimand"]) == (None, MAIN) and row["prompts"]]
    if not rows:
        return "No prompt has scores for both models."
    better = [row["scorer"] for row in rows if decided(row) and row["rate"] > CHANCE]
    worse = [row["scorer"] for row in rows if decided(row) and row["rate"] < CHANCE]
    alike = [row["scorer"] for row in rows if equal(row)]
    if not better and not worse and not alike:
        return _no_answer(rows, result["a"], result["b"])
    parts = []
    if better:
        parts.append(f"{result['b']} is better by {joined(better)}")
    if worse:
        parts.append(f"{result['a']} is better by {joined(worse)}")
    if alike:
        parts.append(f"both are equally good by {joined(alike)}")
    rest = len(rows) - len(better) - len(worse) - len(alike)
    return "; ".join(parts) + (f"; {rest} of {len(rows)} scorers cannot tell." if rest else ".")


def _no_answer(rows: Sequence[Mapping[str, Any]], a: str, b: str) -> str:
    """Return a sentence on rows of which none decides: that is no evidence that the models are alike."""
    names, prompts = joined([row["scorer"] for row in rows]), max(row["distinct"] for row in rows)
    if prompts < MIN_PROMPTS:
        return f"{plural(prompts, 'prompt is', 'prompts are')} too few to tell {b} from {a} by {names}."
    return f"These {prompts} prompts are not enough evidence to tell {b} from {a} by {names}."


def _chart(rows: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Return the win-rates of medians over all prompts as a chart."""
    overall = [row for row in rows if (row["style"], row["estimand"]) == (None, MAIN) and row["prompts"]]
    return Markup(plots.win_rates(overall)) if overall else None


def _by_style(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    styles = dict.fromkeys(row["style"] for row in rows if row["style"] is not None)
    if len(styles) < len(("one", "another")):  # a single style is the same as all prompts
        return []
    return [(s, [row for row in rows if row["style"] == s and row["estimand"] == MAIN]) for s in styles]


def _pairs(found: DuelFolder, main: str | None) -> dict[Place, Pair]:
    """Return every pair by prompt and seed, in order. Images are read only where the page shows them."""
    scores = found.scores.get(main or "", {})
    before, after = scores.get("a", {}), scores.get("b", {})
    places = sorted({(prompt, seed) for _, prompt, seed in found.images})
    shown = set(places) if len(places) <= MAX_PAIRS_SHOWN else set(_chosen(places, before, after))
    pairs = {}
    for place in places:
        rows = [found.images.get((side, *place)) for side in ("a", "b")]
        words = next(row["words"] for row in rows if row is not None)
        uris = [_uri(found.folder, row["file"]) if row and place in shown else None for row in rows]
        known = (before[place], after[place]) if place in before and place in after else None
        pairs[place] = Pair(words, place[1], uris[0], uris[1], known)
    return pairs


def _chosen(places: Sequence[Place], before: Mapping[Place, float], after: Mapping[Place, float]) -> list[Place]:
    gains, losses, sample = _choices(places, {p: after[p] - before[p] for p in places if p in before and p in after})
    return [*gains, *losses, *sample]


def _choices(places: Sequence[Place], changes: Mapping[Place, float]) -> tuple[list[Place], list[Place], list[Place]]:
    """Return the places of the largest gains, of the largest losses, and of a random sample."""
    spread = max(map(abs, changes.values()), default=0.0)
    least = LEAST_CHANGE * min(1.0, spread)  # of a scorer with a narrow scale, a share of the largest change
    ranked = sorted((change, place) for place, change in changes.items() if abs(change) >= least)
    gains = [place for change, place in reversed(ranked) if change > 0][:PAIRS_OF_GRID]
    losses = [place for change, place in ranked if change < 0][:PAIRS_OF_GRID]
    return gains, losses, sorted(random.Random(0).sample(places, min(PAIRS_OF_GRID, len(places))))


def _grids(pairs: Mapping[Place, Pair], main: str | None) -> Iterator[tuple[str, str, list[Pair]]]:
    """Yield the largest gains, the largest losses and a random sample: title, sentence, pairs."""
    changes = {place: pair.scores[1] - pair.scores[0] for place, pair in pairs.items() if pair.scores}
    gains, losses, sample = _choices(list(pairs), changes)
    for title, about, places in (
        ("Largest gains", f"The {len(gains)} pairs that gained most by {main}.", gains),
        ("Largest losses", f"The {len(losses)} pairs that lost most by {main}.", losses),
        ("A random sample", "Chosen without looking at any score.", sample),
    ):
        if places:
            yield title, about, [pairs[place] for place in places]


def _by_prompt(pairs: Mapping[Place, Pair]) -> list[tuple[str, list[Pair]]]:
    prompts: dict[int, list[Pair]] = {}
    for (prompt, _), pair in pairs.items():
        prompts.setdefault(prompt, []).append(pair)
    return [(of_prompt[0].prompt, of_prompt) for of_prompt in prompts.values()]


def _shown(pairs: Mapping[Place, Pair], grids: Sequence[tuple[str, str, list[Pair]]]) -> list[Pair]:
    """Return the pairs that the page shows, each once."""
    if len(pairs) <= MAX_PAIRS_SHOWN:
        return list(pairs.values())
    return list({(pair.prompt, pair.seed): pair for _, _, shown in grids for pair in shown}.values())


def _uri(folder: Path, name: str) -> str | None:
    """Return an image of the folder as a data URI. A page is passed on, so it shows nothing from elsewhere."""
    path = (folder / name).resolve()
    return data_uri(path, LARGEST_IMAGE) if name and path.is_relative_to(folder.resolve()) else None


def _distributions(found: DuelFolder) -> Iterator[tuple[str, Markup]]:
    for name, sides in found.scores.items():
        before, after = ([*sides.get(side, {}).values()] for side in ("a", "b"))
        if before and after:
            yield name, Markup(plots.distributions(before, after, name))


def _command(found: DuelFolder) -> str:
    """Return the command that repeats the duel, or the verdict with its changed options."""
    manifest, a, b = found.manifest, *(found.manifest["sides"][side]["name"] for side in ("a", "b"))
    prompts = manifest["prompts"]
    limit = ("--limit", prompts["count"]) if prompts["count"] < prompts.get("of", 0) else ()
    source = prompts["name"] if prompts["name"] in PROMPT_SETS else manifest["source"]
    if found.verdict is not None:
        words = ["thumbtune", "verdict", b, "--against", a, *(("--prompts", source) if source else ()), *limit]
        words += [*_weights(found), *(w for s in found.verdict.get("settings", ()) for w in ("--set", s))]
        return shlex.join(map(str, [*words, "--out", found.folder]))
    words = [
        *("thumbtune", "duel", a, b, "--prompts", source, *limit, "--scorers", ",".join(found.result["scorer_names"])),
        *("--per-prompt", manifest["seeds"]["per_prompt"], "--first-seed", manifest["seeds"]["first"]),
        *("--steps", manifest["sampler"]["steps"], "--guidance", manifest["sampler"]["guidance"]),
        *_size(manifest["sampler"].get("size")),
        *_reading(manifest),
        *(("--base", manifest["base"]) if manifest["base"] else ()),
        *(("--tie", found.result["tie"]) if found.result["tie"] else ()),
        *(("--paper-ci",) if found.result["paper_ci"] else ()),
        *_weights(found),
    ]
    return shlex.join(map(str, [*words, "--out", found.folder]))


def _size(size: int | list[int] | None) -> list[Any]:
    """Return the option that gives the size of the images, width first; nothing for the model's own."""
    if size is None:
        return []
    return ["--size", size if isinstance(size, int) else f"{size[1]}x{size[0]}"]


def _reading(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options that say how prompts are read, of sides that do not say it themselves, and what is avoided."""
    others = [side for side in manifest["sides"].values() if side["kind"] not in ("run", "checkpoint")]
    encoding = next((side["prompt_encoding"] for side in others if "prompt_encoding" in side), {})
    for option, value in encoding.items():
        if value is not None:
            yield from (f"--{option.replace('_', '-')}", value)
    if negative := manifest["sampler"].get("negative"):
        yield from ("--negative", negative)


def _weights(found: DuelFolder) -> list[str]:
    """Return the options that say where weights and prompts came from, if not from where they are published."""
    places = found.result.get("places", {})
    local = ["--weights", places["local"]] if places.get("local") else []
    return [*local, *(["--offline"] if places.get("offline") else [])]
