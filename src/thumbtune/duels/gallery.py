"""Images of several sides for the same prompts and seeds, and their scores, kept in one folder.

duel.json        what is compared: sides, prompts, seeds, sampler     environment.json   versions and hardware
SIDE/            a side's images, PROMPT-SEED                        images.csv       their prompts and hashes
scores.csv       what each scorer says of each image

The same order goes on where an earlier one was broken off, and ends with the same bytes.
"""

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from thumbtune import distributed as processes
from thumbtune.duels.sides import Side, ready, side
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.evaluation.duel import Duel, draw_side
from thumbtune.evaluation.folder import images_of
from thumbtune.evaluation.prompts import PromptSet
from thumbtune.evaluation.scorers.lineup import Means, lineup
from thumbtune.evaluation.scorers.published import Places
from thumbtune.evaluation.scorers.score_cache import HOME, ScoreCache
from thumbtune.evaluation.scorers.scoring import PromptedImage, Scores, Team, score
from thumbtune.files import file_sha256, write_text, write_whole
from thumbtune.models.protocol import Sampler
from thumbtune.objective.baselines import marked
from thumbtune.runs import build, run
from thumbtune.training.batches import Progress

FORM = 1  # of the folder
AT_ONCE = 8  # images that are drawn together: part of what an image is


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked for.

    sides: the name of each, which is that of its folder, and what it stands for (see `sides`)
    scorers: see `evaluation.scorers.lineup`; none: images are drawn, and nobody is asked
    base: the model that a LoRA or a UNet belongs to
    """

    sides: Mapping[str, str]
    prompts: PromptSet
    out: Path
    scorers: tuple[str, ...]
    per_prompt: int = 4
    first_seed: int = 10_000
    sampler: Sampler = field(default_factory=Sampler)
    base: str | None = None
    places: Places = field(default_factory=Places)
    cache: Path | None = HOME


@dataclass(frozen=True)
class Place:
    """An image among the others: whose, of which prompt, with which seed."""

    side: str
    prompt: int
    seed: int
    image: PromptedImage


@dataclass(frozen=True)
class Gallery:
    """What was gathered: the images side by side, prompt by prompt, and what each scorer says of them."""

    order: Order
    places: list[Place]
    scores: list[Scores]

    def table(self, scorer: str, side: str) -> list[list[float]]:
        """A scorer's numbers for a side, [prompts, per_prompt]; not a number where it failed."""
        said = next(one for one in self.scores if one.id == scorer)
        found = [v for v, place in zip(said.values, self.places, strict=True) if place.side == side]
        numbers = [float("nan") if value is None else value for value in found]
        k = self.order.per_prompt
        return [numbers[start : start + k] for start in range(0, len(numbers), k)]

    def file(self, place: Place) -> str:
        """Its path inside the folder."""
        return place.image.path.relative_to(self.order.out).as_posix()


def gather(order: Order, progress: Progress) -> Gallery | None:
    """As `gathered`; None in a process that has others to write for it."""
    found, is_first = gathered(order, progress)
    return found if is_first else None


def gathered(order: Order, progress: Progress) -> tuple[Gallery, bool]:
    """Draw what is missing, then score it; the same in every process. And whether this is the one that writes.

    Raises:
        UsageError: a side, a scorer or a number of images is off, or the folder holds something else.
        ThumbtuneError: a model or a scorer cannot be loaded, or the disk is full.
    """
    state = processes.team()
    team = Team(state.process_index, state.num_processes)
    sides = {name: side(said, order.base) for name, said in order.sides.items()}
    means = Means(build.BUNDLED / "judge", order.places, str(state.device))
    groups = lineup(order.scorers, means)  # what can be wrong is so before anything is drawn
    looked_at: dict[Path, str] = {}
    if state.is_main_process:
        for one in sides.values():
            if one.folder is not None:
                images_of(one.folder, order.prompts.prompts, order.per_prompt)
        for group in groups:
            group.fetch()
        _claim(order, sides)
        looked_at = _refuse_others(order)
        _sweep(order)
    state.wait_for_everyone()
    with state.main_process_first():  # what is fetched or copied is so once
        files = {name: _files(order, name, one) for name, one in sides.items()}
    for name, one in sides.items():
        if one.painter is not None:
            _draw(order, name, one, progress, state, team)
    state.wait_for_everyone()
    places = _places(order, files, looked_at)
    scores = score([place.image for place in places], groups, progress, ScoreCache(order.cache), team)
    gallery = Gallery(order, places, scores)
    if state.is_main_process:
        _write(gallery)
    return gallery, state.is_main_process


def _claim(order: Order, sides: Mapping[str, Side]) -> None:
    """Make the folder this order's, or see that it is already.

    Raises:
        UsageError: it is a file, or holds something else.
    """
    told = ("said", "kind", "fingerprint", "mark")
    prompts = order.prompts
    what = {
        "form": FORM,
        "sides": {name: {key: getattr(one, key) for key in told} for name, one in sides.items()},
        "base": order.base,
        "prompts": {
            "name": prompts.name,
            "count": len(prompts.prompts),
            "of": prompts.whole,
            "sha256": prompts.sha256,
        },
        "source": prompts.source,
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
        other = [name for name in what if _identity(name, was.get(name)) != _identity(name, what[name])]
        if _spoken_for(order.out, was, what, other):
            raise UsageError(
                f"{order.out} holds a duel with other {' and '.join(other)}; choose another folder with --out."
            )
        if other:
            _forget(order.out)
    elif order.out.is_file() or (order.out.is_dir() and any(order.out.iterdir())):
        raise UsageError(f"{order.out} holds something else than a duel; choose another folder with --out.")
    write_text(manifest, json.dumps(what, indent=1))  # first: from now on the folder is this order's
    if not (environment := order.out / "environment.json").is_file():
        write_text(environment, json.dumps(run.environment(), indent=1))


def _identity(name: str, value: Any) -> Any:
    """What of an entry decides the images: not how a path was spelt; a base is in its sides' fingerprints."""
    if name in {"source", "base"}:
        return None
    if not isinstance(value, Mapping):
        return value
    if name == "sides":
        return {side: {**one, "said": None} for side, one in value.items()}
    return {**value, "name": None, "of": None} if name == "prompts" else value


def _spoken_for(out: Path, was: Mapping[str, Any], now: Mapping[str, Any], other: Sequence[str]) -> bool:
    """Whether there are images of what is asked for no more; a name that was mistyped leaves none."""
    before, after = (_identity("sides", told.get("sides", {})) for told in (was, now))
    changed = [name for name in before if other != ["sides"] or before[name] != after.get(name)]
    return bool(other) and any(path.is_file() for name in changed for path in (out / name).glob("*"))


def _forget(out: Path) -> None:
    """Take away what was counted of a side that is not asked about any more."""
    for name in ("images.csv", "scores.csv", "verdict.json", "report.html", "environment.json"):
        (out / name).unlink(missing_ok=True)
    for file in out.glob("result.*"):
        file.unlink()


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
    """Where a side's images lie, or will; those of a folder are copied, so that the duel stays whole without it."""
    duel = _duel(order)
    numbers = range(len(order.prompts.prompts))
    if one.folder is None:
        return [[duel.path(name, p, seed) for seed in duel.seeds(p)] for p in numbers]
    found = []
    for p, theirs in enumerate(images_of(one.folder, order.prompts.prompts, order.per_prompt)):
        ours = [duel.path(name, p, seed) for seed in duel.seeds(p)]
        ours = [path.with_suffix(their.suffix.lower()) for path, their in zip(ours, theirs, strict=True)]
        for path, their in zip(ours, theirs, strict=True):
            if not path.exists():
                write_whole(path, lambda partial, their=their: shutil.copyfile(their, partial))
        found.append(ours)
    return found


def _draw(order: Order, name: str, one: Side, progress: Progress, state: Any, team: Team) -> None:
    """A side's missing images. Its model is loaded only if there are any."""
    duel = _duel(order, one.mark)
    if all(duel.path(name, p, seed).exists() for p in range(len(duel.prompts)) for seed in duel.seeds(p)):
        return
    with ready(one, state.device) as model:
        draw_side(duel, name, model.generate, progress, AT_ONCE, (team.index, team.count))


def _places(order: Order, files: Mapping[str, list[list[Path]]], known: Mapping[Path, str]) -> list[Place]:
    """All images with their hashes, of which some are known, side by side and prompt by prompt."""
    duel = _duel(order)
    return [
        Place(name, p, seed, PromptedImage(path, known.get(path) or file_sha256(path), prompt))
        for name in order.sides
        for p, prompt in enumerate(order.prompts.prompts)
        for seed, path in zip(duel.seeds(p), files[name][p], strict=True)
    ]


def _refuse_others(order: Order) -> dict[Path, str]:
    """Images that were scored before are the same still, or are gone, and are drawn again; the hashes of the former.

    Raises:
        ThumbtuneError: one is another now, or the list of them is damaged.
    """
    table = order.out / "images.csv"
    if not table.is_file():
        return {}
    try:
        with table.open(encoding="utf-8", newline="") as lines:
            known = {row["file"]: row["sha256"] for row in csv.DictReader(lines)}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise ThumbtuneError(f"{table} cannot be read ({error}); delete it, and it is written again.") from error
    there = {path: digest for name, digest in known.items() if (path := order.out / name).is_file()}
    for path, digest in there.items():
        if file_sha256(path) != digest:
            raise ThumbtuneError(
                f"{path} is another image than the one that was scored; delete it, and it is made again."
            )
    return there


def _sweep(order: Order) -> None:
    """Take away what a kill left half-written."""
    for folder in (order.out, *(order.out / name for name in order.sides)):
        for left in folder.glob(".*.partial"):
            left.unlink(missing_ok=True)


def _write(gallery: Gallery) -> None:
    """The lists of images and of scores."""
    styles = gallery.order.prompts.styles
    listed = [
        (
            *(place.side, place.prompt, place.seed, gallery.file(place), place.image.sha256, place.image.prompt),
            styles[place.prompt] if styles else "",
        )
        for place in gallery.places
    ]
    head = ("side", "prompt", "seed", "file", "sha256", "words", "style")
    write_text(gallery.order.out / "images.csv", _csv(head, listed))
    said = [
        (one.id, place.side, place.prompt, place.seed, "" if value is None else repr(value))
        for one in gallery.scores
        for place, value in zip(gallery.places, one.values, strict=True)
    ]
    write_text(gallery.order.out / "scores.csv", _csv(("scorer", "side", "prompt", "seed", "score"), said))


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
