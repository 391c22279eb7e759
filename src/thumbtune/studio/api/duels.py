"""Images of two runs on the same prompts and seeds, for a blind test of one against the other."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.store import jobs as rows
from thumbtune.files import write_text
from thumbtune.studio.api.jobs import JobView, Name, Plan, refuse_missing, refuse_unfinished, view_of
from thumbtune.studio.api.prompts import notes_on, prompts_of
from thumbtune.studio.jobs.commands import DUELS, PROMPTS_ENDING, checked_name, copied
from thumbtune.studio.jobs.work import place_of, queue_of, wake
from thumbtune.studio.people import Owner, Studio
from thumbtune.studio.site import Site

router = APIRouter(tags=["blind"])
SCORERS = "none"  # people judge
MAX_PROMPTS = 200
MAX_FOLDERS = 1000
RunName = Annotated[str, Query(max_length=64)]


class DuelRequest(BaseModel):
    """Images of two finished runs, of each prompt as many."""

    a: Name
    b: Name
    prompts: list[Annotated[str, Field(min_length=1, max_length=2000)]] = Field(min_length=1, max_length=MAX_PROMPTS)
    per_prompt: int = Field(default=2, ge=1, le=16)


class Prompts(BaseModel):
    """Prompts that one of two runs held out, and that neither was trained on."""

    prompts: list[str]


@router.get("/blind/prompts")
def prompts(site: Studio, person: Owner, a: RunName, b: RunName) -> Prompts:
    """Return prompts for a test of two runs: held out, and trained on by neither; none if a run does not tell."""
    from thumbtune.training.records import read_labels  # with pyarrow, which a start does not need

    place = place_of(site)
    held_out: dict[str, None] = {}
    trained: set[str] = set()
    for name in (a, b):
        refuse_missing(place, name)
        try:
            labels = read_labels(place.run(name), ("prompt", "held_out"))
        except ThumbtuneError:  # people write prompts then
            return Prompts(prompts=[])
        for row in labels:
            if row["held_out"]:
                held_out[row["prompt"]] = None
            else:
                trained.add(row["prompt"])
    return Prompts(prompts=[one for one in held_out if one.strip() and one not in trained][:MAX_PROMPTS])


@router.post("/jobs/duel", status_code=201)
def start(site: Studio, person: Owner, body: DuelRequest) -> JobView:
    """Generate the images of two runs; then a blind test can be made of them."""
    folder, arguments = _duel(site, body)
    with site.store.transaction():  # the job is there if its prompts are, and a name that is taken writes none
        job = rows.add_job(site.store, "duel", folder, arguments, queue_of(site).prepare)
        write_text(place_of(site).root / f"{folder}{PROMPTS_ENDING}", "\n".join(arguments["prompts"]) + "\n")
    wake(site)
    return view_of(site, job)


@router.post("/jobs/duel/check")
def check(site: Studio, person: Owner, body: DuelRequest) -> Plan:
    """Check what is to be generated, and return the command that does the same."""
    return Plan(command=copied("duel", *_duel(site, body), place_of(site)), notes=notes_on(body.prompts))


def _duel(site: Site, body: DuelRequest) -> tuple[str, dict[str, Any]]:
    """Return the folder and the arguments of a duel that can be made."""
    place = place_of(site)
    if body.a == body.b:
        raise UsageError("A run cannot be tested against itself; choose two runs.", code="blind-one-run")
    for name in (body.a, body.b):
        refuse_unfinished(place, name)
    wanted = prompts_of(body.prompts)
    stem = checked_name(f"{body.b[:25]}-against-{body.a[:25]}".rstrip("."))
    taken = {job.folder for job in rows.list_jobs(site.store)}
    paths = (f"{DUELS}/{stem}{'' if number == 1 else f'-{number}'}" for number in range(1, MAX_FOLDERS))
    folder = next(path for path in paths if path not in taken and not (place.root / path).exists())
    given = {"a": body.a, "b": body.b, "prompts": wanted, "per_prompt": body.per_prompt}
    return folder, {**given, "scorers": SCORERS}
