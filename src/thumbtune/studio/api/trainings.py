"""Trainings: what is asked for, checked before it becomes a job, and what it would need."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.store import jobs as rows
from thumbtune.studio.api.jobs import JobView, Name, Plan, Text, added, refuse_missing
from thumbtune.studio.jobs.commands import RUNS, checked_name, copied, words
from thumbtune.studio.jobs.estimate import estimate
from thumbtune.studio.jobs.work import place_of, queue_of
from thumbtune.studio.people import Owner, Studio
from thumbtune.studio.site import Site

if TYPE_CHECKING:
    from thumbtune.runs.recipe import Recipe

router = APIRouter(tags=["jobs"])


class TrainRequest(BaseModel):
    """A training: a shipped recipe or the defaults, and settings as `--set` takes them."""

    name: Name
    recipe: Name | None = None
    settings: dict[Annotated[str, Field(max_length=64)], Text] = Field(default={}, max_length=200)


class RunName(BaseModel):
    """The name of a run."""

    name: Name


@router.post("/jobs/train", status_code=201)
def train(site: Studio, person: Owner, body: TrainRequest) -> JobView:
    """Train on the likes of the store."""
    recipe = _checked(site, body)
    if (place_of(site).run(body.name) / "recipe.yaml").exists():
        raise ThumbtuneError(
            f"There is a run {body.name} already; choose another name, or resume it.", code="job-run-exists"
        )
    return added(site, "train", f"{RUNS}/{body.name}", _arguments(body, recipe))


@router.post("/jobs/train/check")
def check(site: Studio, person: Owner, body: TrainRequest) -> Plan:
    """Check the settings of a training; return the command and the recipe that do the same, and what to ask before."""
    from thumbtune.studio.jobs.pace import question_of
    from thumbtune.studio.recipe_form import usual_steps, work_in, work_of

    recipe = _checked(site, body)
    asked = question_of(work_of(recipe), usual_steps(recipe.model), place_of(site).root / RUNS, work_in)
    return _plan(site, body, recipe, questions=[asked] if asked else [])


@router.post("/jobs/train/estimate")
def plan(site: Studio, person: Owner, body: TrainRequest) -> Plan:
    """Return what a training would need: memory, time and disk. It takes as long as loading the model."""
    recipe, queue = _checked(site, body), queue_of(site)
    if any(job.host == queue.host for job in rows.list_jobs(site.store, ("running",))):
        raise ThumbtuneError(
            "A job is at work, and an estimate would measure beside it; wait until it ends.", code="job-estimating"
        )
    found = _plan(site, body, recipe)
    found.lines = estimate(queue, words("train", f"{RUNS}/{body.name}", _arguments(body, recipe), queue.place.store))
    return found


@router.post("/jobs/resume", status_code=201)
def go_on(site: Studio, person: Owner, body: RunName) -> JobView:
    """Continue the training of a run, whoever began it, from its newest checkpoint."""
    refuse_missing(place_of(site), body.name)
    return added(site, "train", f"{RUNS}/{body.name}", {"settings": {}})


@router.post("/jobs/evaluate", status_code=201)
def evaluate(site: Studio, person: Owner, body: RunName) -> JobView:
    """Compare a run with its base on prompts that training did not see."""
    refuse_missing(place_of(site), body.name)
    return added(site, "evaluate", f"{RUNS}/{body.name}", {})


def _checked(site: Site, body: TrainRequest) -> "Recipe":
    """Return the recipe of a training whose settings can be used."""
    from thumbtune.studio.recipe_form import checked_recipe  # at the first request, so that a start is quick

    checked_name(body.name)
    return checked_recipe(body.recipe, body.settings, place_of(site))


def _arguments(body: TrainRequest, recipe: "Recipe") -> dict[str, Any]:
    return {"recipe": body.recipe, "settings": body.settings, "steps": recipe.train.steps}


def _plan(site: Site, body: TrainRequest, recipe: "Recipe", questions: Sequence[str] = ()) -> Plan:
    from thumbtune.studio.recipe_form import yaml_of

    place = place_of(site)
    return Plan(
        command=copied("train", f"{RUNS}/{body.name}", _arguments(body, recipe), place),
        recipe=yaml_of(body.recipe, body.settings, place),
        questions=[*questions],
    )
