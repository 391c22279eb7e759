"""Images of a run's checkpoints side by side, or of its LoRA at several strengths: the same prompts and seeds."""

from pathlib import Path as File
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.responses import FileResponse

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.studio.api.jobs import JobView, Name, Plan, added, refuse_missing
from thumbtune.studio.api.prompts import notes_on, prompts_of
from thumbtune.studio.jobs.commands import RUNS, copied
from thumbtune.studio.jobs.progress import sample_prompts
from thumbtune.studio.jobs.runs import run_in
from thumbtune.studio.jobs.work import place_of
from thumbtune.studio.people import Owner, Studio
from thumbtune.studio.site import Site

router = APIRouter(tags=["runs"])
FOLDER = "compared"  # in the folder of a run
MAX_IMAGES = 400
MAX_STRENGTH = 10.0
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}  # a name follows from all that decides the image
RunName = Annotated[str, Path(max_length=64)]
ImageName = Annotated[str, Path(pattern=r"^[0-9a-f]{32}\.(png|webp)$")]
Step = Annotated[int, Field(ge=1, le=10**9)]
Strength = Annotated[float, Field(ge=-MAX_STRENGTH, le=MAX_STRENGTH, allow_inf_nan=False)]


class GridRequest(BaseModel):
    """Images of prompts and seeds, in a column each: of base, checkpoints and result, or of the LoRA's strengths.

    With strengths, `checkpoints` names at most one: the LoRA that they are of; none: the result's.
    """

    run: Name
    prompts: list[Annotated[str, Field(min_length=1, max_length=2000)]] = Field(min_length=1, max_length=50)
    seeds: int = Field(default=1, ge=1, le=16)
    seed: int = Field(default=0, ge=0, le=2**31)
    checkpoints: list[Step] = Field(default=[], max_length=50)
    strengths: list[Strength] = Field(default=[], max_length=12)


class GridRow(BaseModel):
    """A prompt and a seed, and the name of the image in each column; None where it is not made yet."""

    prompt: str
    seed: int
    images: list[str | None]


class Grid(BaseModel):
    """What of a run can be compared, and its newest grid.

    checkpoints: the steps that are kept; prompts: some to begin with
    """

    run: str
    finished: bool
    checkpoints: list[int]
    prompts: list[str]
    columns: list[str]
    rows: list[GridRow]


@router.get("/runs/{name}/grid")
def grid(site: Studio, person: Owner, name: RunName) -> Grid:
    """Return the newest grid of a run, as far as its images are made, and what can be compared."""
    from thumbtune.studio.jobs.grids import read_grid

    folder = _run(site, name)
    found = run_in(folder)
    told = read_grid(folder / FOLDER)
    return Grid(
        run=name,
        finished=found is not None and found.finished,
        checkpoints=kept(folder),
        prompts=sample_prompts(folder),
        columns=told.columns,
        rows=[GridRow(prompt=row.prompt, seed=row.seed, images=row.images) for row in told.rows],
    )


@router.get("/runs/{name}/grid/{image}", response_class=FileResponse)
def grid_image(site: Studio, person: Owner, name: RunName, image: ImageName) -> FileResponse:
    """Return an image of a grid."""
    file = _run(site, name) / FOLDER / image
    if not file.is_file() or file.is_symlink():
        raise ThumbtuneError(f"The run {name} has no such image; compare it again.", code="run-not-compared")
    return FileResponse(file, headers=FOREVER)


@router.post("/jobs/compare", status_code=201)
def compare(site: Studio, person: Owner, body: GridRequest) -> JobView:
    """Generate the images of a grid that are not there yet."""
    return added(site, "compare", *_grid(site, body))


@router.post("/jobs/compare/check")
def check(site: Studio, person: Owner, body: GridRequest) -> Plan:
    """Check what is to be compared, and return the command that does the same."""
    return Plan(command=copied("compare", *_grid(site, body), place_of(site)), notes=notes_on(body.prompts))


def kept(folder: File) -> list[int]:
    """Return the steps of a run's checkpoints, but for that before its first step."""
    names = (one.name.removeprefix("step-") for one in (folder / "checkpoints").glob("step-*"))
    return sorted(int(name) for name in names if name.isdecimal() and int(name))


def _run(site: Site, name: str) -> File:
    place = place_of(site)
    refuse_missing(place, name)
    return place.run(name)


def _grid(site: Site, body: GridRequest) -> tuple[str, dict[str, Any]]:
    """Return the folder and the arguments of a grid that can be made."""
    folder = _run(site, body.run)
    found = run_in(folder)
    is_finished = found is not None and found.finished
    there = kept(folder)
    if gone := [step for step in body.checkpoints if step not in there]:
        raise ThumbtuneError(
            f"The run {body.run} has kept no checkpoint of step {gone[0]}; load the page again.",
            code="compare-no-checkpoint",
        )
    if body.strengths and (len(body.checkpoints) > 1 or not (body.checkpoints or is_finished)):
        raise UsageError(
            "Strengths are those of one LoRA; choose one checkpoint, or the result.", code="compare-one-lora"
        )
    if not body.strengths and not body.checkpoints and not is_finished:
        raise UsageError("There is nothing to compare yet; choose a checkpoint.", code="compare-nothing")
    arguments = body.model_dump()
    arguments["prompts"] = prompts_of(body.prompts)
    arguments["checkpoints"] = sorted(set(body.checkpoints))
    arguments["strengths"] = list(dict.fromkeys(body.strengths))
    columns = len(arguments["strengths"]) or 1 + len(arguments["checkpoints"]) + is_finished
    arguments["images"] = columns * body.seeds * len(arguments["prompts"])
    if arguments["images"] > MAX_IMAGES:
        raise UsageError(
            f"These are {arguments['images']:,} images, and a grid has at most {MAX_IMAGES}; leave some out.",
            code="compare-too-many",
        )
    return f"{RUNS}/{body.run}/{FOLDER}", arguments
