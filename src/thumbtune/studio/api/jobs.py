"""Jobs: generate, train and evaluate in processes of their own, stop and resume them, and watch them live."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.store import jobs as rows
from thumbtune.feedback.store.jobs import JobKind, JobState
from thumbtune.feedback.store.tables import Job
from thumbtune.runs.to_store import source_of
from thumbtune.studio.access import Person
from thumbtune.studio.api.shown import ShownImage, addresses_of
from thumbtune.studio.guard import is_still_in
from thumbtune.studio.jobs.commands import Place, copied
from thumbtune.studio.jobs.events import Cursor, Watched, events_after
from thumbtune.studio.jobs.files import JobFiles, tail
from thumbtune.studio.jobs.progress import bar_of, images_in
from thumbtune.studio.jobs.runs import run_in
from thumbtune.studio.jobs.wording import in_studio
from thumbtune.studio.jobs.work import place_of, queue_of, wake
from thumbtune.studio.people import Owner, Studio
from thumbtune.studio.site import Site

router = APIRouter(tags=["jobs"])
LOOK_SECONDS = 0.5  # between two looks at a job's files
ALIVE_SECONDS = 15.0  # between two signs of life on a quiet line
MAX_SHOWN = 12  # images of a generation
MAX_ID = 2**63 - 1
GENERATING = ("generate", "round")  # kinds of jobs that put images into the store
PRINTING = (*GENERATING, "compare")  # those that print the path of each image
JobId = Annotated[int, Path(ge=1, le=MAX_ID)]
Name = Annotated[str, Field(min_length=1, max_length=64, description="A folder below the studio's root, by its name.")]
Text = Annotated[str, Field(max_length=2000)]


class JobView(BaseModel):
    """A job as a page shows it.

    `done` of `total` images or steps; `doing` is its last line on progress, and `sentence` the last one that it said.
    """

    id: int
    kind: JobKind
    name: str
    about: str
    state: JobState
    stopping: bool
    doing: str | None
    sentence: str | None
    exit_code: int | None
    command: str
    done: int | None
    total: int | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class Plan(BaseModel):
    """A job before it starts: the command and the recipe that do the same, and lines on what it needs.

    A generation has no recipe. `notes` are to be told, and `questions` to be asked before it starts.
    """

    command: str
    recipe: str = ""
    lines: list[str] = []
    notes: list[str] = []
    questions: list[str] = []


@router.get("/jobs")
def jobs(site: Studio, person: Owner, kind: JobKind | None = None) -> list[JobView]:
    """Return the newest jobs, newest first."""
    return [view_of(site, job) for job in rows.list_jobs(site.store, kind=kind)]


@router.get("/jobs/{number}")
def job(site: Studio, person: Owner, number: JobId) -> JobView:
    """Return one job."""
    return view_of(site, rows.get_job(site.store, number))


@router.get("/jobs/{number}/images")
def made(site: Studio, person: Owner, number: JobId) -> list[ShownImage]:
    """Return the newest images that a generation put into the store."""
    row = rows.get_job(site.store, number)
    source = source_of(row.folder.rpartition("/")[2])
    found = rows.images_from(site.store, source, MAX_SHOWN) if row.kind in GENERATING else []
    return [ShownImage.model_validate(addresses_of(image)) for image in found]


@router.post("/jobs/{number}/stop")
def stop(site: Studio, person: Owner, number: JobId) -> JobView:
    """Stop a job as Ctrl-C does, once: what it made so far is kept, and it can be resumed."""
    stopped = rows.ask_to_stop(site.store, number)
    wake(site)
    return view_of(site, stopped)


@router.post("/jobs/{number}/save")
def save(site: Studio, person: Owner, number: JobId) -> JobView:
    """Save a checkpoint of a training now, as SIGUSR1 does; it goes on."""
    queue_of(site).save(number)
    return view_of(site, rows.get_job(site.store, number))


@router.post("/jobs/{number}/sample")
def sample(site: Studio, person: Owner, number: JobId) -> JobView:
    """Draw samples of a training after its next step, as SIGUSR2 does; it goes on, and its result is the same."""
    queue_of(site).sample(number)
    return view_of(site, rows.get_job(site.store, number))


@router.post("/jobs/{number}/resume")
def resume(site: Studio, person: Owner, number: JobId) -> JobView:
    """Let a stopped or failed job go on."""
    queue_of(site).refuse_elsewhere(number)
    waiting = rows.resume(site.store, number)
    wake(site)
    return view_of(site, waiting)


@router.get("/jobs/{number}/events", response_class=StreamingResponse)
async def events(
    request: Request,
    site: Studio,
    person: Owner,
    number: JobId,
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> StreamingResponse:
    """Watch a job: server-sent events `state`, `steps`, `log`, `samples`, `reset` and `end`.

    With Last-Event-ID they go on after that event, and none is lost or sent twice.
    """
    await run_in_threadpool(rows.get_job, site.store, number)
    stream = _stream(request, site, person, number, Cursor.of(last_event_id))
    return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def _stream(request: Request, site: Site, person: Person, number: int, cursor: Cursor) -> AsyncIterator[str]:
    quiet = 0.0
    yield "retry: 2000\n\n"
    while not await request.is_disconnected():
        try:
            if not is_still_in(site, request.headers, person):  # the link was ended meanwhile
                return
            found = await run_in_threadpool(lambda at=cursor: list(events_after(at, watched(site, number))))
        except ThumbtuneError:  # the database is away for a while
            return
        for event in found:
            cursor, quiet = event.cursor, 0.0
            yield event.text()
            if event.name == "end":
                return
        await asyncio.sleep(LOOK_SECONDS)
        quiet += LOOK_SECONDS
        if quiet >= ALIVE_SECONDS:
            quiet = 0.0
            yield ": alive\n\n"


def watched(site: Site, number: int) -> Watched:
    """Return a job as it stands, looked at before its files."""
    row = rows.get_job(site.store, number)
    run = place_of(site).root / row.folder if row.kind == "train" else None
    facts = view_of(site, row).model_dump(mode="json")
    state = f"{row.state}{'-stopping' if facts['stopping'] else ''}"
    return Watched(state=row.state, shown=state, facts=facts, log=queue_of(site).files(number).log, run=run)


def view_of(site: Site, row: Job) -> JobView:
    """Return a job for a page."""
    place, arguments = place_of(site), json.loads(row.arguments)
    done, total, doing, files = None, _total(place, row, arguments), None, queue_of(site).files(row.id)
    if row.kind in PRINTING and total is not None:
        done = min(total, _images_of(files))
    if row.state == "running":
        lines = reversed(tail(files.log, files.start_byte()))
        doing = next((line.strip() for line in lines if bar_of(line)), None)
    return JobView(
        id=row.id,
        kind=row.kind,  # type: ignore[arg-type]
        name=row.folder.partition("/")[2],
        about=", ".join(arguments.get("prompts") or ())[:200],
        state=row.state,  # type: ignore[arg-type]
        stopping=row.state == "running" and row.stop_asked_at is not None,
        doing=doing,
        sentence=None if row.sentence is None else in_studio(row.sentence),
        exit_code=row.exit_code,
        command=copied(row.kind, row.folder, arguments, place),  # type: ignore[arg-type]
        done=done,
        total=total,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def _total(place: Place, row: Job, arguments: dict[str, Any]) -> int | None:
    """Return the number of images or steps of a job; None where nobody knows it."""
    match row.kind:
        case "generate":
            return len(arguments["prompts"]) * arguments["per_prompt"]
        case "round":
            return planned(place, row.folder)
        case "compare":
            return arguments["images"]
        case "train":
            return arguments.get("steps")
    return None


def planned(place: Place, folder: str) -> int | None:
    """Return how many images a round has, once it has begun."""
    try:
        return len(json.loads((place.root / folder / "round.json").read_text(encoding="utf-8"))["images"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def refuse_missing(place: Place, name: str) -> None:
    """Refuse the name of a run that is not there.

    Raises:
        ThumbtuneError: it is not.
    """
    if not (place.run(name) / "recipe.yaml").is_file():
        raise ThumbtuneError(f"There is no run {name}; choose one of the list.", code="job-no-run")


def _images_of(files: JobFiles) -> int:
    """Return how many images the last start of a job has written."""
    try:
        log = files.log.stat()
    except OSError:
        return 0
    return _counted(files, files.start_byte(), log.st_size, log.st_mtime_ns)


@lru_cache(maxsize=rows.MAX_LISTED)
def _counted(files: JobFiles, start: int, size: int, changed: int) -> int:
    """Count images, once for each state of the log: a list of jobs asks again and again."""
    return sum(map(images_in, files.printed()))


def refuse_unfinished(place: Place, name: str) -> None:
    """Refuse a run that is not there, or still trains.

    Raises:
        ThumbtuneError: so it is.
    """
    refuse_missing(place, name)
    found = run_in(place.run(name))
    if found is None or not found.finished:
        raise ThumbtuneError(f"The run {name} has not finished; resume it first.", code="job-unfinished-run")


def added(site: Site, kind: JobKind, folder: str, arguments: dict[str, Any]) -> JobView:
    """Let a job wait for its turn, and return it."""
    job = rows.add_job(site.store, kind, folder, arguments, queue_of(site).prepare)
    wake(site)
    return view_of(site, job)
