"""Upload images from a browser, one a request: its bytes are the body, which no form of another site can send so."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from thumbtune.studio.guard import UPLOAD_TYPE, UPLOADS, Refusal
from thumbtune.studio.people import Owner, Studio
from thumbtune.studio.uploads import received, stored

router = APIRouter(tags=["import"])
BODY = {"required": True, "content": {UPLOAD_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
PATH = UPLOADS.removeprefix("/api/v1")


class Uploaded(BaseModel):
    """What became of an image: new to the store, or there before under this prompt."""

    new: bool


@router.post(PATH, openapi_extra={"requestBody": BODY})
async def upload(
    request: Request,
    site: Studio,
    person: Owner,
    name: Annotated[str, Query(max_length=255)] = "",
    prompt: Annotated[str, Query(max_length=2000)] = "",
) -> Uploaded:
    """Put a PNG, JPEG or WebP into the store, without a vote. `prompt` is for an image in which none stands."""
    try:
        file = await received(request.stream())
    except ClientDisconnect as error:
        raise Refusal(400, "upload-cut", "The image did not come whole; upload it again.") from error
    with file:
        return Uploaded(new=await run_in_threadpool(stored, site, file, name, prompt))
