"""What a newcomer finds on Home: the doctor's findings, and images of the bundled model to judge at once."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from thumbtune.feedback.store import jobs as rows
from thumbtune.studio.api.generations import GenerateRequest, generation
from thumbtune.studio.api.jobs import JobView, Plan, added
from thumbtune.studio.checkup import kept_checkup, measured
from thumbtune.studio.jobs.commands import IMAGES, copied
from thumbtune.studio.jobs.work import place_of
from thumbtune.studio.people import Owner, Studio
from thumbtune.studio.site import Site

router = APIRouter(tags=["home"])
DEMO = "demo"
PER_PROMPT = 4
MAX_DEMOS = 1000
PROMPTS = (  # of docs/first-lora.md, all of which the bundled model knows
    *("a red apple", "a pear", "a tulip", "a cat", "a bear", "a frog", "a penguin", "a butterfly", "a pizza"),
    *("a rocket", "a sailboat", "a house", "a guitar", "a banana", "a carrot", "a sunflower", "a fox", "an owl"),
    *("a car", "a ghost"),
)


class Finding(BaseModel):
    """A line of the doctor, and whether it is fine."""

    good: bool
    text: str


class Checkup(BaseModel):
    """What `thumbtune doctor` found on this machine, and when."""

    measured_at: str
    findings: list[Finding]


@router.get("/doctor")
def doctor(site: Studio, person: Owner) -> Checkup | None:
    """Return what the doctor found last; null before the first time."""
    found = kept_checkup(site)
    return None if found is None else Checkup.model_validate(asdict(found))


@router.post("/doctor")
def measure(site: Studio, person: Owner) -> Checkup:
    """Let the doctor look at this machine now, in a process of its own; it takes some seconds."""
    return Checkup.model_validate(asdict(measured(site)))


@router.post("/jobs/demo", status_code=201)
def demo(site: Studio, person: Owner) -> JobView:
    """Generate images of the bundled model, which come into the store to be judged; each time with other seeds."""
    return added(site, "generate", *_demo(site))


@router.post("/jobs/demo/check")
def check_demo(site: Studio, person: Owner) -> Plan:
    """Return the command that does the same."""
    return Plan(command=copied("generate", *_demo(site), place_of(site)))


def _demo(site: Site) -> tuple[str, dict[str, Any]]:
    """Return the folder and the arguments of the next demo, whose folder is not there and which no job writes."""
    place, taken = place_of(site), {job.folder for job in rows.list_jobs(site.store, kind="generate")}
    names = ((number, DEMO if number == 0 else f"{DEMO}-{number + 1}") for number in range(MAX_DEMOS))
    number, name = next(
        (number, name)
        for number, name in names
        if f"{IMAGES}/{name}" not in taken and not (place.root / IMAGES / name).exists()
    )
    body = GenerateRequest(name=name, prompts=list(PROMPTS), per_prompt=PER_PROMPT, seed=number * PER_PROMPT)
    return generation(site, body)
