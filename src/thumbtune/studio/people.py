"""The arguments of routes that say who asks: `Anybody` who is signed in, the `Owner`, and the `Studio` itself."""

from typing import Annotated

from fastapi import Depends, Request

from thumbtune.studio.access import Person
from thumbtune.studio.guard import Refusal
from thumbtune.studio.site import Site


async def _site(request: Request) -> Site:
    return request.app.state.site


async def _person(request: Request) -> Person:
    person: Person | None = request.state.person
    assert person is not None, "the guard let nobody in"
    return person


async def _owner(request: Request) -> Person:
    person = await _person(request)
    if not person.is_owner:
        raise Refusal(403, "studio-owner-only", "Only the owner of the studio may do this; raters judge.")
    return person


Studio = Annotated[Site, Depends(_site)]
Anybody = Annotated[Person, Depends(_person)]
Owner = Annotated[Person, Depends(_owner)]
