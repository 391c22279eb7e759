"""Sentences without the folders of this machine, for everybody but the owner: errors name the file that is at fault."""

import os
from pathlib import Path

from thumbtune.studio.access import Person
from thumbtune.studio.site import Site


def told_to(person: Person | None, site: Site, sentence: str) -> str:
    """Return a sentence as a person may read it: the owner whole, all others with names in place of the folders."""
    if person is not None and person.is_owner:
        return sentence
    for folder, name in sorted(_names(site).items(), key=lambda one: -len(one[0])):
        at_begin = f"{name[0].upper()}{name[1:]}"
        sentence = at_begin + sentence[len(folder) :] if sentence.startswith(folder) else sentence
        sentence = sentence.replace(folder, name)
    return sentence


def _names(site: Site) -> dict[str, str]:
    """Return the folders that errors may contain, as they are written there, and what raters read in their place."""
    named = {
        site.store.name: "the store",
        site.likes: "the store",
        str(site.folder): "the studio's folder",
    }
    if site.store.storage is not None:
        named[site.store.storage.address("").rstrip("/")] = "the images"
    if site.root is not None:
        named[str(site.root)] = "the root"
    spelled = {}
    for place, name in named.items():
        spelled[place] = name
        if "://" not in place:
            spelled[str(Path(place).absolute())] = spelled[str(Path(place).resolve())] = name
    # a word alone, such as --likes likes, tells nothing, and other words contain it
    return {place: name for place, name in spelled.items() if os.sep in place.rstrip(os.sep)}
