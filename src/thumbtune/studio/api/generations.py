"""Images to generate: what is asked for, checked before it becomes a job."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.store.tables import now
from thumbtune.feedback.store.votes import check_text
from thumbtune.sides import PIPELINE_UNIT, check_size
from thumbtune.studio.api.jobs import JobView, Name, Plan, Text, added, refuse_missing
from thumbtune.studio.api.prompts import notes_on, prompts_of, questions_on
from thumbtune.studio.jobs.commands import IMAGES, checked_model, checked_name, copied
from thumbtune.studio.jobs.work import place_of
from thumbtune.studio.people import Owner, Studio
from thumbtune.studio.site import Site

router = APIRouter(tags=["jobs"])


class GenerateRequest(BaseModel):
    """Images to generate: of each prompt as many, with seeds from `seed` on. Options as `thumbtune generate`."""

    name: Name | None = None
    prompts: list[Annotated[str, Field(min_length=1, max_length=2000)]] = Field(min_length=1, max_length=200)
    per_prompt: int = Field(default=4, ge=1, le=64)
    seed: int = Field(default=0, ge=0, le=2**31)
    run: Name | None = None
    model: Text | None = None
    steps: int | None = Field(default=None, ge=1, le=1000)
    guidance: float | None = Field(default=None, ge=0, le=100)
    size: Annotated[str, Field(pattern=r"^\d{1,5}(x\d{1,5})?$")] | None = None
    negative: Text = ""


@router.post("/jobs/generate", status_code=201)
def generate(site: Studio, person: Owner, body: GenerateRequest) -> JobView:
    """Generate images; each one comes into the store without a vote as soon as it is there."""
    return added(site, "generate", *generation(site, body))


@router.post("/jobs/generate/check")
def check_generation(site: Studio, person: Owner, body: GenerateRequest) -> Plan:
    """Check what is to be generated, and return the command that does the same, and what to ask before."""
    from thumbtune.studio.recipe_form import base_of  # at the first request, so that a start is quick

    folder, arguments = generation(site, body)
    place = place_of(site)
    model = body.model if body.run is None else base_of(place.run(body.run))
    return Plan(
        command=copied("generate", folder, arguments, place),
        notes=notes_on(body.prompts),
        questions=questions_on(arguments["prompts"], model),
    )


def generation(site: Site, body: GenerateRequest) -> tuple[str, dict[str, Any]]:
    """Return the folder and the arguments of a generation that can be made."""
    place = place_of(site)
    arguments = body.model_dump(exclude={"name"})
    arguments["prompts"] = prompts_of(body.prompts)
    check_text(body.negative, "prompt")
    if body.size is not None:
        check_drawn(body.size)
    if body.model is not None and body.run is not None:
        raise ThumbtuneError("A run generates with its own model; leave out the model, or the run.", code="job-two")
    if body.model is not None:
        checked_model(body.model, place)
    if body.run is not None:
        refuse_missing(place, body.run)
    name = checked_name(body.name or f"{now():%Y-%m-%d-%H%M%S-%f}"[:-3])
    return f"{IMAGES}/{name}", arguments


def check_drawn(size: str) -> None:
    """Refuse a size that no model draws, as the command does once it has loaded the model.

    Raises:
        UsageError: a side is too small, too large, or no multiple of what every pipeline needs.
    """
    from thumbtune.runs.values import height_and_width_of, image_size  # at the first request

    try:
        sides = height_and_width_of(image_size(size))
    except ValueError as error:
        raise UsageError(f"The size {size} {error}.", code="job-bad-size") from error
    if sides is not None:
        check_size(sides, PIPELINE_UNIT, "The size of the images")
