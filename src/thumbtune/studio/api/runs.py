"""Runs below the studio's root, whoever trained them, and the options of recipes."""

from dataclasses import asdict
from pathlib import Path as File
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel
from starlette.responses import FileResponse

from thumbtune.errors import ThumbtuneError
from thumbtune.studio.jobs.commands import RUNS, checked_model
from thumbtune.studio.jobs.progress import sample_file, sample_prompts, samples_of
from thumbtune.studio.jobs.runs import REPORT, Run, run_in, runs_in, steps_of
from thumbtune.studio.jobs.wording import in_studio
from thumbtune.studio.jobs.work import place_of
from thumbtune.studio.people import Owner, Studio

router = APIRouter(tags=["runs"])
RunName = Annotated[str, Path(max_length=64)]
Number = Annotated[int, Path(ge=0, le=10**9)]


class RunView(BaseModel):
    """A run: the steps that are done and planned, whether it has a result and a report, why a guard stopped it."""

    name: str
    step: int
    steps: int | None
    finished: bool
    stopped: str | None
    verdict: str | None
    changed_at: float
    reported: bool


class Samples(BaseModel):
    """The sample images of a step, by the number of their prompt."""

    step: int
    files: list[int]


class RunDetail(RunView):
    """A run with its steps, samples and the notes that were made when it began."""

    rows: list[dict[str, Any]]
    samples: list[Samples]
    prompts: list[str]
    notes: list[str]


class OptionView(BaseModel):
    """One option of a recipe."""

    key: str
    help: str
    default: str
    choices: list[str]
    first: bool


class PresetView(BaseModel):
    """A preset: the options that differ from the defaults of the model."""

    name: str
    title: str
    about: str
    settings: dict[str, str]


class Form(BaseModel):
    """What a recipe can say: its options with the defaults of a model, presets, and the shipped recipes.

    `settings`: those that the page Settings has for new trainings, if no shipped recipe is chosen.
    """

    options: list[OptionView]
    settings: dict[str, str]
    presets: list[PresetView]
    shipped: list[str]


@router.get("/runs")
def runs(site: Studio, person: Owner) -> list[RunView]:
    """Return the runs, the newest first."""
    return [RunView(**asdict(run)) for run in runs_in(place_of(site).root / RUNS)]


@router.get("/runs/{name}")
def run(site: Studio, person: Owner, name: RunName) -> RunDetail:
    """Return one run with its numbers."""
    folder = place_of(site).run(name)
    found = _found(folder)
    return RunDetail(
        **asdict(found),
        rows=steps_of(folder),
        samples=[Samples(**each) for each in samples_of(folder)],
        prompts=sample_prompts(folder),
        notes=found_notes(folder),
    )


@router.get("/runs/{name}/samples/{step}/{number}", response_class=FileResponse)
def sample(site: Studio, person: Owner, name: RunName, step: Number, number: Number) -> FileResponse:
    """Return a sample image."""
    file = sample_file(place_of(site).run(name), step, number)
    if file is None:
        raise ThumbtuneError(
            f"The run {name} has no sample {number} of step {step}; load the page again.", code="job-no-run"
        )
    return FileResponse(file, headers={"cache-control": "private, max-age=60"})


@router.get("/runs/{name}/report", response_class=FileResponse)
def report(site: Studio, person: Owner, name: RunName) -> FileResponse:
    """Return the report of a run, to be kept: the policy of pages forbids its own styles."""
    file = place_of(site).run(name) / REPORT
    if not file.is_file() or file.is_symlink():
        raise ThumbtuneError(f"The run {name} has no report yet; evaluate it first.", code="run-not-evaluated")
    return FileResponse(file, filename=f"{name}-{REPORT}", media_type="text/html")


@router.get("/recipe")
def recipe(site: Studio, person: Owner, model: str | None = None, shipped_recipe: str | None = None) -> Form:
    """Return the options of a recipe with the defaults of a model, and the presets for it."""
    from thumbtune.studio import recipe_form as form  # at the first request, so that a start is quick

    place = place_of(site)
    settings = {} if model is None else {"model": checked_model(model, place)}
    chosen = form.checked_recipe(shipped_recipe, settings, place)
    return Form(
        options=[OptionView(**{**asdict(one), "choices": list(one.choices)}) for one in form.options_of(chosen)],
        settings=form.chosen_settings(site.folder, chosen) if shipped_recipe is None else {},
        presets=[
            PresetView(name=name, title=each.title, about=each.about, settings=form.preset_settings(name, chosen))
            for name, each in form.PRESETS.items()
        ],
        shipped=form.shipped(),
    )


def _found(folder: File) -> Run:
    found = run_in(folder)
    if found is None:
        raise ThumbtuneError(f"There is no run {folder.name}; choose one of the list.", code="job-no-run")
    return found


def found_notes(folder: File) -> list[str]:
    """Return the notes of a run; none if its file of them cannot be read."""
    from thumbtune.training.records import read_story

    try:
        return [in_studio(note) for note in (read_story(folder) or {}).get("notes", [])]
    except ThumbtuneError as error:
        return [in_studio(str(error))]
