"""Make the studio's application: the guard, the pages, the API and the static files."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from importlib import resources

from fastapi import FastAPI
from starlette.responses import JSONResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from thumbtune import __version__
from thumbtune.studio import api, pages
from thumbtune.studio.failures import add_failures
from thumbtune.studio.guard import Guard
from thumbtune.studio.jobs.work import working
from thumbtune.studio.people import Owner
from thumbtune.studio.site import Site

# what runs beside the requests while the studio does, such as a queue of jobs
BACKGROUND: tuple[Callable[[Site], AbstractContextManager[object]], ...] = (working,)


def make_app(site: Site) -> ASGIApp:
    """Return the application of a studio, with the guard around it."""
    return Guard(bare_app(site), site)


def bare_app(site: Site) -> FastAPI:
    """Return the application without its guard: for the schema, and for the guard."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as stack:
            for begin in BACKGROUND:
                stack.enter_context(begin(site))
            yield

    # no page of documentation: it would load scripts from another host
    app = FastAPI(
        title="Thumbtune studio",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.site = site
    add_failures(app)
    for router in api.ROUTERS:
        app.include_router(router, prefix=api.PREFIX)
    app.include_router(pages.router)

    @app.get("/openapi.json", include_in_schema=False)
    def schema(person: Owner) -> JSONResponse:
        return JSONResponse(app.openapi())

    static = str(resources.files("thumbtune.studio").joinpath("static"))
    app.mount("/static", StaticFiles(directory=static), name="static")
    return app
