"""Take results elsewhere: the files of a run, a merged model and the feedback, each with its command."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.responses import FileResponse, Response, StreamingResponse

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.policies import check_policy
from thumbtune.feedback.store import jobs as rows
from thumbtune.studio import exports
from thumbtune.studio.api.jobs import JobId, JobView, Name, Plan, added, refuse_missing
from thumbtune.studio.jobs.commands import EXPORTS, checked_name, copied
from thumbtune.studio.jobs.work import place_of
from thumbtune.studio.people import Owner, Studio
from thumbtune.studio.site import Site

router = APIRouter(tags=["exports"])
RunName = Annotated[str, Path(max_length=64)]
FileName = Annotated[str, Path(max_length=200)]
MAX_FOLDERS = 1000


class ResultFile(BaseModel):
    """A file of a run: its name, what it is for, and its size."""

    name: str
    about: str
    bytes: int


class Result(BaseModel):
    """The files of a finished run, and its model card as text."""

    files: list[ResultFile]
    card: str


class MergeRequest(BaseModel):
    """A run to be merged into its base: a folder of diffusers, or one file; `half`: float16, in half the size."""

    run: Name
    form: Literal["folder", "file"] = "folder"
    half: bool = True


class ExportRequest(BaseModel):
    """The feedback of the store. Raters get pseudonyms unless `names` is set; `policy`: one label an image."""

    form: Literal["parquet", "datasets", "folder", "webdataset"] = "parquet"
    policy: Annotated[str, Field(max_length=100)] | None = None
    names: bool = False


class Written(BaseModel):
    """What a job of merging or exporting wrote: the number of files, and their size in bytes."""

    name: str
    files: int
    bytes: int


@router.get("/runs/{name}/result")
def result(site: Studio, person: Owner, name: RunName) -> Result:
    """Return the files of a run's result with their sizes, and its card."""
    place = place_of(site)
    refuse_missing(place, name)
    files = exports.result_files(place.run(name))
    listed = [ResultFile(name=key, about=exports.about(key), bytes=file.stat().st_size) for key, file in files.items()]
    return Result(files=listed, card=exports.card_of(place.run(name)))


@router.get("/runs/{name}/result/{file}", response_class=FileResponse)
def result_file(site: Studio, person: Owner, name: RunName, file: FileName) -> FileResponse:
    """Return a file of a run's result, by its name in the list; weights are named after the run."""
    place = place_of(site)
    refuse_missing(place, name)
    found = exports.result_files(place.run(name)).get(file)
    if found is None:
        raise ThumbtuneError(f"The run {name} has no such file; choose one of the list.", code="export-no-file")
    return FileResponse(found, filename=f"{name}-{found.name}", media_type="application/octet-stream")


@router.post("/jobs/merge", status_code=201)
def merge(site: Studio, person: Owner, body: MergeRequest) -> JobView:
    """Write a run as a whole model, to be used without its LoRA."""
    return added(site, "merge", *_merge(site, body))


@router.post("/jobs/merge/check")
def check_merge(site: Studio, person: Owner, body: MergeRequest) -> Plan:
    """Return the command that merges a run."""
    return Plan(command=copied("merge", *_merge(site, body), place_of(site)))


@router.post("/jobs/export", status_code=201)
def export(site: Studio, person: Owner, body: ExportRequest) -> JobView:
    """Write the feedback with its images, to be downloaded."""
    return added(site, "export", *_export(site, body))


@router.post("/jobs/export/check")
def check_export(site: Studio, person: Owner, body: ExportRequest) -> Plan:
    """Return the command that exports the feedback."""
    return Plan(command=copied("export", *_export(site, body), place_of(site)))


@router.get("/jobs/{number}/written")
def written(site: Studio, person: Owner, number: JobId) -> Written:
    """Return what a job of merging or exporting wrote."""
    folder = place_of(site).root / _done(site, number)
    files = exports.written(folder)
    return Written(name=folder.name, files=len(files), bytes=sum(file.stat().st_size for file in files))


@router.get("/jobs/{number}/download", response_class=Response)
def download(site: Studio, person: Owner, number: JobId) -> Response:
    """Return what a job of merging or exporting wrote: its file, or a ZIP of its folder."""
    folder = place_of(site).root / _done(site, number)
    if folder.is_file():
        return FileResponse(folder, filename=folder.name, media_type="application/octet-stream")
    headers = {"content-disposition": f'attachment; filename="{folder.name}.zip"'}
    return StreamingResponse(exports.zipped(folder), media_type="application/zip", headers=headers)


def _merge(site: Site, body: MergeRequest) -> tuple[str, dict[str, Any]]:
    place = place_of(site)
    refuse_missing(place, body.run)
    if not exports.result_files(place.run(body.run)):
        raise ThumbtuneError(f"The run {body.run} has not finished; resume it first.", code="job-unfinished-run")
    folder = _free(site, f"{body.run[:50]}-merged", ".safetensors" if body.form == "file" else "")
    return folder, {"run": body.run, "half": body.half}


def _export(site: Site, body: ExportRequest) -> tuple[str, dict[str, Any]]:
    if body.policy is not None:
        check_policy(body.policy)
    return _free(site, f"likes-{body.form}"), body.model_dump()


def _free(site: Site, stem: str, suffix: str = "") -> str:
    """Return a path of exports that is not there, and that no job writes."""
    root = place_of(site).root
    taken = {job.folder for job in rows.list_jobs(site.store)}
    paths = (f"{EXPORTS}/{checked_name(stem)}{'' if n == 1 else f'-{n}'}{suffix}" for n in range(1, MAX_FOLDERS))
    return next(path for path in paths if path not in taken and not (root / path).exists())


def _done(site: Site, number: int) -> str:
    """Return the folder, or the file, of a job that has written one."""
    job = rows.get_job(site.store, number)
    there = job.kind in ("merge", "export") and job.state == "done" and (place_of(site).root / job.folder).exists()
    if not there:
        raise ThumbtuneError(
            f"Job {number} has written nothing to download; merge or export first.", code="export-nothing-written"
        )
    return job.folder
