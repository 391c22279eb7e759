"""A duel of two sides, kept in one folder: pictures, scores, what they come to, and all that is needed to repeat it.

duel.json        what is compared: sides, prompts, seeds, sampler     environment.json   versions and hardware
a/ b/            the pictures, PROMPT-SEED                             pictures.csv       their prompts and hashes
scores.csv       what each scorer says of each picture                 result.json        who wins how often
result.csv .tex  the same as tables                                    result.md          the same for people

The same command goes on where an earlier one was broken off, and ends with the same bytes.
"""

import csv
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from thumbtune import build, run
from thumbtune.baselines import marked
from thumbtune.batches import Progress
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.evaluation import tables
from thumbtune.evaluation.duel import Duel, draw_side
from thumbtune.evaluation.prompts import PromptSet
from thumbtune.evaluation.published import Places
from thumbtune.evaluation.score_cache import HOME, ScoreCache
from thumbtune.evaluation.scorers.lineup import Means, lineup
from thumbtune.evaluation.scoring import Picture, Scores, Team, score
from thumbtune.evaluation.standings import Told, sentence, standings
from thumbtune.files import file_sha256, write_text, write_whole
from thumbtune.models.protocol import Sampler
from thumbtune.sides import Side, pictures_of, ready, side

FORM = 1  # of the folder
AT_ONCE = 8  # pictures that are drawn together: part of what a picture is
SIDES = ("a", "b")
MAIN = "median"  # the estimand that is told in words: the paper's


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked for. `a` is the side to beat, and so stands for `before` in the tables."""

    a: str
    b: str
    prompts: PromptSet
    out: Path
    scorers: tuple[str, ...]
    per_prompt: int = 4
    first_seed: int = 10_000
    sampler: Sampler = field(default_factory=Sampler)
    base: str | None = None
    tie: float = 0.0
    places: Places = field(default_factory=Places)
    cache: Path | None = HOME


def contest(order: Order, progress: Progress) -> dict[str, Any]:
    """Draw what is missing, score it, count; write everything and return what result.json holds.

    Raises:
        UsageError: a side, a scorer or a number of pictures is off, or the folder holds another duel.
        ThumbtuneError: a model or a scorer cannot be loaded, or the disk is full.
    """
    from accelerate import Accelerator

    accelerator = Accelerator()
    team = Team(accelerator.process_index, accelerator.num_processes)
    sides = {name: side(said, order.base) for name, said in zip(SIDES, (order.a, order.b), strict=True)}
    means = Means(build.BUNDLED / "judge", order.places, str(accelerator.device), _precision(accelerator))
    groups = lineup(order.scorers, means)  # a name that nobody knows is refused before anything is drawn
    if not groups:
        raise UsageError("A duel needs a scorer; name some with --scorers, as `thumbtune scorers` lists them.")
    if accelerator.is_main_process:
        _claim(order, sides)
    accelerator.wait_for_everyone()
    with accelerator.main_process_first():  # what is fetched is fetched once
        files = {name: _files(order, name, one) for name, one in sides.items()}
    for name, one in sides.items():
        if one.painter is not None:
            _draw(order, name, one, progress, accelerator, team)
    accelerator.wait_for_everyone()
    pictures = _pictures(order, files)
    scores = score([picture for _, _, _, picture in pictures], groups, progress, ScoreCache(order.cache), team)
    result = _result(order, sides, pictures, scores)
    if accelerator.is_main_process:
        _write(order, pictures, scores, result)
    accelerator.wait_for_everyone()
    return result


def _precision(accelerator: Any) -> torch.dtype:
    """Halves on a GPU, where the published scorers were measured so; whole numbers on a CPU."""
    return torch.float16 if accelerator.device.type == "cuda" else torch.float32


def _claim(order: Order, sides: Mapping[str, Side]) -> None:
    """Make the folder this duel's, or see that it is already.

    Raises:
        UsageError: it is a file, or holds something else.
    """
    told = {name: {k: getattr(one, k) for k in ("said", "kind", "fingerprint", "mark")} for name, one in sides.items()}
    what = {
        "form": FORM,
        "a": told["a"],
        "b": told["b"],
        "base": order.base,
        "prompts": {"name": order.prompts.name, "count": len(order.prompts.prompts), "sha256": order.prompts.sha256},
        "source": order.prompts.source,
        "seeds": {"first": order.first_seed, "per_prompt": order.per_prompt},
        "sampler": asdict(order.sampler),
        "at_once": AT_ONCE,
    }
    manifest = order.out / "duel.json"
    if manifest.is_file():
        try:
            was = json.loads(manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ThumbtuneError(f"{manifest} cannot be read; choose another folder for this duel.") from error
        other = [name for name in what if was.get(name) != what[name]]
        if other:
            raise UsageError(
                f"{order.out} holds a duel with other {' and '.join(other)}; choose another folder with --out."
            )
        return
    if order.out.is_file() or (order.out.is_dir() and any(order.out.iterdir())):
        raise UsageError(f"{order.out} holds something else than a duel; choose another folder with --out.")
    write_text(order.out / "environment.json", json.dumps(run.environment(), indent=1))
    write_text(manifest, json.dumps(what, indent=1))


def _duel(order: Order, mark: str | None = None) -> Duel:
    prompts = [marked(prompt, mark) if mark else prompt for prompt in order.prompts.prompts]
    return Duel(
        folder=order.out,
        prompts=prompts,
        per_prompt=order.per_prompt,
        first_seed=order.first_seed,
        sampler=order.sampler,
    )


def _files(order: Order, name: str, one: Side) -> list[list[Path]]:
    """Where a side's pictures lie, or will; those of a folder are copied, so that the duel stays whole without it."""
    duel = _duel(order)
    numbers = range(len(order.prompts.prompts))
    if one.folder is None:
        return [[duel.path(name, p, seed) for seed in duel.seeds(p)] for p in numbers]
    found = []
    for p, theirs in enumerate(pictures_of(one, order.prompts.prompts, order.per_prompt)):
        ours = [duel.path(name, p, seed) for seed in duel.seeds(p)]
        ours = [path.with_suffix(their.suffix.lower()) for path, their in zip(ours, theirs, strict=True)]
        for path, their in zip(ours, theirs, strict=True):
            if not path.exists():
                write_whole(path, lambda partial, their=their: shutil.copyfile(their, partial))
        found.append(ours)
    return found


def _draw(order: Order, name: str, one: Side, progress: Progress, accelerator: Any, team: Team) -> None:
    """A side's missing pictures. Its model is loaded only if there are any."""
    duel = _duel(order, one.mark)
    if all(duel.path(name, p, seed).exists() for p in range(len(duel.prompts)) for seed in duel.seeds(p)):
        return
    with ready(one, accelerator.device) as model:
        draw_side(duel, name, model.generate, progress, AT_ONCE, (team.index, team.count))


Place = tuple[str, int, int, Picture]  # side, prompt, seed


def _pictures(order: Order, files: Mapping[str, list[list[Path]]]) -> list[Place]:
    """All pictures with their hashes; those of `a` first, prompt by prompt."""
    duel = _duel(order)
    return [
        (name, p, seed, Picture(path, file_sha256(path), prompt))
        for name in SIDES
        for p, prompt in enumerate(order.prompts.prompts)
        for seed, path in zip(duel.seeds(p), files[name][p], strict=True)
    ]


def _tables(order: Order, pictures: Sequence[Place], one: Scores) -> Told:
    """A scorer's numbers as [prompts, seeds] for both sides."""
    per_side = len(order.prompts.prompts) * order.per_prompt
    values = [float("nan") if value is None else value for value in one.values]
    rows = [values[start : start + order.per_prompt] for start in range(0, len(pictures), order.per_prompt)]
    return Told(rows[: per_side // order.per_prompt], rows[per_side // order.per_prompt :])


def _result(order: Order, sides: Mapping[str, Side], pictures: Sequence[Place], scores: Sequence[Scores]) -> Any:
    told = {one.id: _tables(order, pictures, one) for one in scores}
    rows = standings(told, order.prompts.prompts, order.prompts.styles, order.tie)
    names = _names(sides)
    return {
        "a": names[0],
        "b": names[1],
        "prompts": len(order.prompts.prompts),
        "per_prompt": order.per_prompt,
        "tie": order.tie,
        "scorers": [
            {
                "id": one.id,
                "revision": one.revision,
                "preprocessing": one.preprocessing,
                "failed": {pictures[i][3].path.relative_to(order.out).as_posix(): why for i, why in one.failed.items()},
            }
            for one in scores
        ],
        "standings": rows,
        "sentences": [sentence(row, *names) for row in rows if (row["style"], row["estimand"]) == (None, MAIN)],
    }


def _names(sides: Mapping[str, Side]) -> tuple[str, str]:
    """What people read: the last part of each name, or the whole where these are the same."""
    said = [sides[name].said.rstrip("/") for name in SIDES]
    short = [text.rpartition("/")[2] for text in said]
    if short[0] == short[1]:
        short = said if said[0] != said[1] else [f"{said[0]} (a)", f"{said[1]} (b)"]
    return short[0], short[1]


def _write(order: Order, pictures: Sequence[Place], scores: Sequence[Scores], result: Mapping[str, Any]) -> None:
    """Everything that is not a picture; result.json last: where it is, all is."""
    listed = [
        (name, p, seed, one.path.relative_to(order.out).as_posix(), one.sha256, one.prompt)
        for name, p, seed, one in pictures
    ]
    write_text(order.out / "pictures.csv", _csv(("side", "prompt", "seed", "file", "sha256", "words"), listed))
    said = [
        (one.id, *pictures[i][:3], "" if value is None else repr(value))
        for one in scores
        for i, value in enumerate(one.values)
    ]
    write_text(order.out / "scores.csv", _csv(("scorer", "side", "prompt", "seed", "score"), said))
    overall = [row for row in result["standings"] if row["style"] is None]
    write_text(order.out / "result.csv", tables.as_csv(result["standings"]))
    write_text(order.out / "result.tex", tables.latex(row for row in overall if row["estimand"] == "median"))
    write_text(order.out / "result.md", "\n".join(_page(order, result)))
    write_text(order.out / "result.json", json.dumps(result, indent=1))


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


TITLES = {
    "median": "Medians of each prompt's pictures, as in the paper",
    "pairwise": "Pairs of pictures of the same prompt and seed",
}


def _page(order: Order, result: Mapping[str, Any]) -> Iterator[str]:
    """result.md, line by line."""
    yield f"# {result['b']} against {result['a']}\n"
    yield f"{result['prompts']} prompts ({order.prompts.name}), {result['per_prompt']} pictures each on both sides.\n"
    yield from (f"- {line}" for line in result["sentences"])
    for estimand, title in TITLES.items():
        yield f"\n## {title}\n"
        for style in dict.fromkeys(row["style"] for row in result["standings"]):
            rows = [row for row in result["standings"] if (row["style"], row["estimand"]) == (style, estimand)]
            if style is not None:
                yield f"### {style}\n"
            yield tables.markdown(rows)
    yield (
        "Ties count half. The interval draws whole prompts, equal ones together, each style for itself; for medians "
        "the wider one of it and Wilson's with n = prompts. p: exact sign test over prompts, corrected for the number "
        "of scorers. `result.csv` has every number, and the interval as the paper computes it."
    )
    for one in result["scorers"]:
        if one["failed"]:
            first, why = next(iter(one["failed"].items()))
            yield f"\n{one['id']} has no score for {len(one['failed'])} pictures, the first {first}: {why}."
