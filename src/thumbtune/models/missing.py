"""A path that is not there, told before the hub is asked and before anything is loaded."""

import difflib
import re
from pathlib import Path

from thumbtune.errors import ThumbtuneError
from thumbtune.hub import is_hub_id

BUNDLED = Path(__file__).parents[1] / "bundled"
RECIPES = BUNDLED.with_name("recipes")
MIN_SIMILARITY = 0.8  # between a missing path and the one that is suggested
# what people call a model -> the shipped recipe that names it; spelling as in `_plain`
NICKNAMES = {
    "paper": "sd sd1 sd15 sdv15 sd15base sd15pruned sd14 stablediffusion stablediffusion1 stablediffusion15 "
    "stablediffusionv15 runwaymlstablediffusionv15",
    "paper-sd21": "sd2 sd21 sdv21 stablediffusion2 stablediffusion21 stablediffusionv21",
    "sdxl": "xl sdxl10 sdxlbase stablediffusionxl",
    "sd3": "sd35 sd35medium stablediffusion3 stablediffusion35",
    "flux": "flux1 flux1dev fluxdev",
}


def is_missing(name: str) -> bool:
    """Return whether a name is a path to nothing, and cannot be one on the hub.

    >>> is_missing("./model"), is_missing("loras/x.safetensors"), is_missing("owner/model")
    (True, True, False)
    """
    return not is_hub_id(name) and not Path(name).exists()


def missing(name: str, forms: str, option: str = "") -> str:
    """Return one sentence on a path to nothing, with a name beside it that is nearly the same if there is one.

    Args:
        forms: what can be named in its place.
        option: of which it is the value.
    """
    close = near(Path(name), has_bundled=not option)
    start = f"{option}: there" if option else "There"
    if not option and (model := model_of_recipe(name)) is not None:
        return f"{start} is no file or folder {name!r} here, but a recipe of that name; name its model, {model}."
    if not option and (recipe := recipe_called(name)) is not None:
        meant = f"did you mean {model_of_recipe(recipe)}, the model of the recipe {recipe}?"
        return f"{start} is no file or folder {name!r} here; {meant}"
    return f"{start} is no file or folder {name!r} here; {f'did you mean {close}?' if close else f'name {forms}.'}"


def recipe_called(name: str) -> str | None:
    """Return the shipped recipe of a model that people call so, in any spelling; None if there is none.

    >>> recipe_called("SD-1.5"), recipe_called("stable_diffusion_2_1"), recipe_called("sd9")
    ('paper', 'paper-sd21', None)
    """
    called = {_plain(file.stem): file.stem for file in RECIPES.glob("*.yaml")}
    called |= {word: recipe for recipe, words in NICKNAMES.items() for word in words.split()}
    return called.get(_plain(name))


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def model_of_recipe(name: str) -> str | None:
    """Return the model of the shipped recipe that has this name; None if there is none.

    >>> model_of_recipe("Qwen-Image"), model_of_recipe("qwen")
    ('Qwen/Qwen-Image', None)
    """
    file = next((file for file in RECIPES.glob("*.yaml") if file.stem == name.lower()), None)
    told = None if file is None else re.search(r"^model: (\S+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    return None if told is None else told[1]


def refuse_missing_model(name: str) -> None:
    """Refuse a path to nothing that stands where a model belongs.

    Raises:
        ThumbtuneError: it names the model that was perhaps meant.
    """
    if is_missing(name):
        forms = "a folder in diffusers' layout, a whole checkpoint in .safetensors, a hub id or tiny-emoji-64"
        raise ThumbtuneError(missing(name, forms), code="model-unloadable")


def near(path: Path, has_bundled: bool = True) -> Path | None:
    """Return a folder or file beside a missing one whose name is nearly the same, as after a typing error.

    has_bundled: whether a bundled model may be meant
    """
    try:
        beside = [] if path.exists() or not path.name else [found.name for found in path.parent.iterdir()]
    except (OSError, ValueError):  # the folder above is missing, too: perhaps this is a hub id
        return None
    bundled = [folder.name for folder in BUNDLED.iterdir()] if has_bundled and path.parent == Path() else []
    close = difflib.get_close_matches(path.name, [*beside, *bundled], 1, MIN_SIMILARITY)
    return path.with_name(close[0]) if close else None
