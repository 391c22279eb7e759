"""Answers to requests that fail: one sentence and a code, as at the command line, with the status that fits."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.store.database import DatabaseFailed
from thumbtune.studio.folder_names import told_to
from thumbtune.studio.guard import Refusal, problem, wants_page
from thumbtune.studio.jobs.wording import in_studio
from thumbtune.studio.pages import missing

STATUS_OF = {
    "image-missing": 404,
    "vote-missing": 404,
    "image-not-read": 404,
    "job-missing": 404,
    "job-no-run": 404,
    "run-not-evaluated": 404,
    "run-not-compared": 404,
    "compare-no-checkpoint": 404,
    "export-no-file": 404,
    "export-nothing-written": 404,
    "job-busy": 409,
    "job-run-exists": 409,
    "job-unfinished-run": 409,
    "job-not-running": 409,
    "job-starting": 409,
    "job-not-stopped": 409,
    "job-estimating": 409,
    "blind-missing": 404,
    "blind-no-trial": 404,
    "blind-image-gone": 404,
    "blind-used": 410,
    "blind-ended": 409,
    "blind-not-ended": 409,
    "blind-no-answers": 409,
    "blind-many-answers": 409,
    "human-all-careless": 409,
    "human-only-repeats": 409,
    "vote-of-another-rater": 403,
    "vote-id-taken": 409,
    "studio-other-store": 409,
    "studio-other-rater": 409,
    "studio-no-rater": 404,
    "studio-rater-twice": 409,
    "studio-named-rater": 409,
    "studio-many-raters": 409,
    "image-unreadable": 415,
    "upload-unreadable": 415,
    "upload-no-prompt": 422,
    "upload-no-room": 507,
}
BAD_REQUEST, NOT_FOUND, FAILED, UNAVAILABLE = 400, 404, 500, 503


def add_failures(app: FastAPI) -> None:
    """Let an application answer our errors, and those of its libraries, in one form."""
    app.add_exception_handler(ThumbtuneError, _known)
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)  # which is raised again, so that the terminal shows it


def _known(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ThumbtuneError)
    default = UNAVAILABLE if isinstance(error, DatabaseFailed) else BAD_REQUEST
    sentence = told_to(getattr(request.state, "person", None), request.app.state.site, in_studio(str(error)))
    return JSONResponse(problem(error.code, sentence), STATUS_OF.get(error.code, default))


def _refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    return JSONResponse(problem(error.code, str(error)), error.status)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return JSONResponse(problem("studio-invalid", _first(error.errors())), 422)


def _first(errors: Sequence[Any]) -> str:
    """Return the first thing that is wrong with a request, without the value, which may be long or anything."""
    where = ".".join(str(part) for part in errors[0]["loc"])
    return f"{where} cannot be used: {errors[0]['msg']}."


def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    sentence = "The studio failed at this request; its terminal says where. Load the page again."
    return JSONResponse(problem("studio-failed", sentence), FAILED)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, Refusal):  # of a body that became too large while it was read
        return _refusal(request, error.__cause__)
    if error.status_code == NOT_FOUND and wants_page(request.headers, request.url.path):
        return missing(request)
    code = {404: "studio-no-such-address", 405: "studio-no-such-method"}.get(error.status_code, "studio-failed")
    return JSONResponse(problem(code, f"{error.detail}."), error.status_code, error.headers)
