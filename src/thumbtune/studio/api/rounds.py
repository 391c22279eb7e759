"""The next round of a run: images of its tuned model to be judged, and the settings of the training after it."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from thumbtune.errors import UsageError
from thumbtune.feedback.store.jobs import has_prompts
from thumbtune.files import write_text
from thumbtune.studio.api.jobs import JobView, Name, Plan, added, refuse_missing, refuse_unfinished
from thumbtune.studio.api.prompts import lines_of, notes_on, questions_on
from thumbtune.studio.jobs.commands import FRESH, IMAGES, RUNS, checked_name, copied
from thumbtune.studio.jobs.work import place_of
from thumbtune.studio.people import Owner, Studio
from thumbtune.studio.site import Site

router = APIRouter(tags=["runs"])
RunName = Annotated[str, Path(max_length=64)]
MAX_FOLDERS = 1000


class RoundRequest(BaseModel):
    """Images of a finished run: of each prompt of the store, and of fresh ones, as many; at most `limit` prompts."""

    run: Name
    per_prompt: int = Field(default=4, ge=1, le=64)
    limit: int | None = Field(default=None, ge=1, le=100_000)
    prompts: list[Annotated[str, Field(min_length=1, max_length=2000)]] = Field(default=[], max_length=200)


class NextTraining(BaseModel):
    """A name and the settings, as `--set` takes them, of the training after a run, which begins from its LoRA."""

    name: str
    settings: dict[str, str]


@router.post("/jobs/round", status_code=201)
def start(site: Studio, person: Owner, body: RoundRequest) -> JobView:
    """Generate images with a run, which come into the store without a vote, and measure how uncertain it is of them."""
    folder, arguments = _round(site, body)
    place = place_of(site)
    if arguments["prompts"]:
        write_text(place.root / folder / FRESH, "\n".join(arguments["prompts"]) + "\n")
    return added(site, "round", folder, arguments)


@router.post("/jobs/round/check")
def check(site: Studio, person: Owner, body: RoundRequest) -> Plan:
    """Check what is to be generated, and return the command that does the same, and what to ask before."""
    from thumbtune.studio.recipe_form import base_of

    folder, arguments = _round(site, body)
    place = place_of(site)
    return Plan(
        command=copied("round", folder, arguments, place),
        notes=notes_on(body.prompts),
        questions=questions_on(arguments["prompts"], base_of(place.run(body.run))),
    )


@router.get("/runs/{name}/next")
def next_training(
    site: Studio, person: Owner, name: RunName, reference: Literal["last", "base"] = "last"
) -> NextTraining:
    """Return what the training after a run is to be: its own settings, begun from its LoRA."""
    from thumbtune.runs.next_training import folder_after
    from thumbtune.studio.recipe_form import settings_after

    place = place_of(site)
    refuse_missing(place, name)
    folder = place.run(name)
    begun = {"lora.start": f"{RUNS}/{name}", "lora.reference": reference}
    return NextTraining(name=folder_after(folder).name, settings=settings_after(folder, reference) | begun)


def _round(site: Site, body: RoundRequest) -> tuple[str, dict[str, Any]]:
    """Return the folder and the arguments of a round that can be made."""
    place = place_of(site)
    refuse_unfinished(place, body.run)
    prompts = lines_of(body.prompts)
    if not prompts and not has_prompts(site.store):
        raise UsageError(
            "The store has no prompt yet, so there is nothing to generate; write fresh prompts, a line each.",
            code="round-no-prompt",
        )
    names = (f"{body.run[:50]}-round{'' if n == 1 else f'-{n}'}" for n in range(1, MAX_FOLDERS))
    name = next(name for name in names if not (place.root / IMAGES / name).exists())
    arguments = {"run": body.run, "per_prompt": body.per_prompt, "limit": body.limit, "prompts": prompts}
    return f"{IMAGES}/{checked_name(name)}", arguments
