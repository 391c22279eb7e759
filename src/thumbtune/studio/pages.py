"""The pages: a list of them, a line each, and how they are rendered. What they show comes from the API."""

from dataclasses import dataclass
from shlex import quote

from fastapi import APIRouter, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from thumbtune import __version__
from thumbtune.feedback.store.database import name_of
from thumbtune.studio.access import Person
from thumbtune.studio.guard import MAX_UPLOAD_BYTES, Refusal, signed_in, wants_page
from thumbtune.studio.people import Anybody, Studio
from thumbtune.studio.site import Site

COOKIE_SECONDS = 90 * 24 * 60 * 60
THEME_COOKIE = "thumbtune-theme"  # settings.js sets it: a page has its colours before its scripts run
ENDED = "Your link was ended; ask the owner of the studio for a new one."
THEMES = ("light", "dark")  # without the cookie: as the system


@dataclass(frozen=True)
class Page:
    """A page of the rail: templates/NAME.html.j2, with static/NAME.js as its module.

    for_raters: whether raters see it too; rail: its title in the rail, if a shorter one
    """

    name: str
    path: str
    title: str
    for_raters: bool = False
    rail: str = ""


PAGES = (
    Page("home", "/", "Home"),
    Page("generate", "/generate", "Generate"),
    Page("images", "/images", "Images"),
    Page("judge", "/judge", "Judge", for_raters=True),
    Page("train", "/train", "Train"),
    Page("compare", "/compare", "Compare"),
    Page("blind", "/blind", "Blind test", for_raters=True, rail="Blind"),
    Page("export", "/export", "Export"),
    Page("settings", "/settings", "Settings", for_raters=True),
)
ON_A_TELEPHONE = 5  # pages of the rail that a telephone shows beside "More"
PAGE_OF = {page.path: page for page in PAGES}

router = APIRouter(include_in_schema=False)
_environment = Environment(
    loader=PackageLoader("thumbtune", "studio/templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(request: Request, name: str, **values: object) -> HTMLResponse:
    """Return a page from its template, in the colours that this browser was told to keep."""
    theme = request.cookies.get(THEME_COOKIE)
    theme = theme if theme in THEMES else None
    page = _environment.get_template(f"{name}.html.j2")
    return HTMLResponse(page.render(version=__version__, theme=theme, **values))


def _show(request: Request, site: Studio, person: Anybody) -> Response:
    page = PAGE_OF[request.scope["route"].path]
    if not (page.for_raters or person.is_owner):
        return RedirectResponse("/judge", 303)
    likes = quote(name_of(site.likes))
    rail = {"rail": _rail(person), "on_a_telephone": ON_A_TELEPHONE}
    given = rail | {"person": person, "site": site, "likes": likes, "rater": quote(person.rater)}
    return render(request, page.name, page=page, upload_megabytes=MAX_UPLOAD_BYTES // 1_000_000, **given)


def _rail(person: Person) -> list[Page]:
    return [page for page in PAGES if page.for_raters or person.is_owner]


for _page in PAGES:
    router.add_api_route(_page.path, _show, methods=["GET"])


@router.get("/welcome")
def welcome(request: Request, site: Studio, token: str | None = None) -> Response:
    """Sign a person in who comes by a link; ask anybody else for the link.

    The page leads on by itself: browsers send no strict cookie to an address that another site's link redirects to.
    """
    if token is None:
        is_ended = site.cookie in request.cookies and request.state.person is None
        return render(request, "welcome", person=None, problem=ENDED if is_ended else "")
    try:
        person = signed_in(site, request.scope, token)
    except Refusal as refusal:
        if not wants_page(request.headers, request.url.path):
            raise
        page = render(request, "welcome", person=None, problem=str(refusal))
        page.status_code = refusal.status
        return page
    response = render(request, "welcome", person=person, problem="")
    set_cookie(response, site, person)
    return response


def missing(request: Request) -> HTMLResponse:
    """Return the page for an address that the studio does not have."""
    page = render(request, "missing")
    page.status_code = 404
    return page


def set_cookie(response: Response, site: Site, person: Person) -> None:
    """Sign a person in."""
    value = site.access.cookie_of(person)
    response.set_cookie(site.cookie, value, max_age=COOKIE_SECONDS, httponly=True, samesite="strict")
