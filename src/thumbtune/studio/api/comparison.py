"""The images of an evaluated run beside those of its base, and what its gates say."""

from functools import lru_cache
from pathlib import Path as File
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel
from starlette.responses import FileResponse

from thumbtune.errors import ThumbtuneError
from thumbtune.studio.jobs.work import place_of
from thumbtune.studio.people import Owner, Studio
from thumbtune.studio.site import Site

if TYPE_CHECKING:
    from thumbtune.evaluation.duel_folder import DuelFolder

router = APIRouter(tags=["runs"])
FOLDER = "evaluation"
RunName = Annotated[str, Path(max_length=64)]
Number = Annotated[int, Path(ge=0, lt=2**63)]
Side = Literal["a", "b"]
HOUR = {"cache-control": "private, max-age=3600"}  # an evaluation that is made again writes other images


class Pair(BaseModel):
    """The images of both sides for a prompt and a seed: whose score is higher, by scorer."""

    prompt: int
    seed: int
    words: str
    scores: dict[str, tuple[float, float]]


class Gate(BaseModel):
    """A condition of the verdict: passed, failed, or open where there is too little evidence."""

    name: str
    answer: str
    sentence: str


class Comparison(BaseModel):
    """A run (b) against its base (a)."""

    base: str
    run: str
    decision: str
    sentence: str
    gates: list[Gate]
    pairs: list[Pair]


@router.get("/runs/{name}/comparison")
def comparison(site: Studio, person: Owner, name: RunName) -> Comparison:
    """Return the pairs of images of an evaluated run, and its verdict."""
    duel = _duel(site, name)
    verdict = duel.verdict or {"sentence": "No verdict was asked for.", "gates": []}
    places = sorted({(prompt, seed) for _, prompt, seed in duel.images})
    return Comparison(
        base=duel.manifest["sides"]["a"]["name"],
        run=duel.manifest["sides"]["b"]["name"],
        decision=verdict.get("decision", ""),
        sentence=verdict["sentence"],
        gates=[Gate(name=gate["name"], answer=gate["answer"], sentence=gate["sentence"]) for gate in verdict["gates"]],
        pairs=[_pair(duel, *place) for place in places if all((side, *place) in duel.images for side in "ab")],
    )


@router.get("/runs/{name}/comparison/{side}/{prompt}/{seed}", response_class=FileResponse)
def compared(site: Studio, person: Owner, name: RunName, side: Side, prompt: Number, seed: Number) -> FileResponse:
    """Return the image of a side for a prompt and a seed."""
    duel = _duel(site, name)
    row = duel.images.get((side, prompt, seed))
    file = None if row is None else duel.folder / row["file"]  # inside its side, as the list was checked
    if file is None or not file.is_file():
        raise ThumbtuneError(
            f"The evaluation of {name} has no such image; evaluate the run again.", code="run-not-evaluated"
        )
    return FileResponse(file, headers=HOUR)


def _duel(site: Site, name: str) -> "DuelFolder":
    from thumbtune.evaluation.duel_folder import is_duel  # at the first request

    folder = place_of(site).run(name) / FOLDER
    if not is_duel(folder):
        raise ThumbtuneError(f"The run {name} has no evaluation yet; evaluate it.", code="run-not-evaluated")
    return _read(folder, tuple((file.name, *_size_and_time(file)) for file in sorted(folder.glob("*.*"))))


@lru_cache(maxsize=4)
def _read(folder: File, files: tuple[object, ...]) -> "DuelFolder":
    """Return the duel in a folder, read once for all of its images; `files` tells whether it has changed."""
    from thumbtune.evaluation.duel_folder import read_duel

    return read_duel(folder)


def _size_and_time(file: File) -> tuple[int, int]:
    try:
        stat = file.stat()
    except FileNotFoundError:  # while it is written again
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _pair(duel: "DuelFolder", prompt: int, seed: int) -> Pair:
    place = (prompt, seed)
    scores = {
        scorer: (sides["a"][place], sides["b"][place])
        for scorer, sides in duel.scores.items()
        if all(place in sides.get(side, {}) for side in "ab")
    }
    return Pair(prompt=prompt, seed=seed, words=duel.images["a", prompt, seed]["words"], scores=scores)
