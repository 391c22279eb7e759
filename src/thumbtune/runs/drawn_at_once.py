"""How many images a CPU can draw at once: its system ends a process for which memory runs out, without an error.

On a GPU an error tells that memory ran out, and `memory.in_parts` goes on with fewer images.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from thumbtune.distributed import team
from thumbtune.errors import ThumbtuneError, note
from thumbtune.memory import free_in_machine
from thumbtune.models.families import adapter_of
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.model_options import PLAIN, ModelOptions
from thumbtune.models.pipeline_files import factor_of
from thumbtune.models.protocol import Size
from thumbtune.models.without_weights import pipeline_without_weights
from thumbtune.runs.forecast import gib, own_side, processes_here
from thumbtune.runs.memory_estimate import chunks_of_longest, drawing, prompt_in_chunks
from thumbtune.sides import height_and_width

CHEAP = 256 * 256  # pixels of all images together: fewer need no estimate
KEPT = 1.1  # what the C library takes for each byte
LARGE = 16  # times the pixels of a model's own images: such a drawing is told, since it takes long


def at_once(
    name: str,
    half: torch.dtype | None,
    size: Size | None,
    most: int,
    options: ModelOptions = PLAIN,
    prompts: Sequence[str] = (),
) -> int:
    """Return how many images can be drawn at once in the free memory: `most`, or that halved until it fits.

    It is asked before the model is loaded. A model that loading will refuse gives `most`. A note tells of large images.

    Args:
        name: a folder, a file or a hub id.
        half: the type below float32 in which the model draws, or None.
        size: of the images; None: the model's own.
        options: with which it is loaded and reads prompts.
        prompts: that are drawn, and the negative one; the longest counts.

    Raises:
        ThumbtuneError: not even one image fits.
    """
    if team().device.type != "cpu" or most * _pixels(Path(name), size) <= CHEAP:
        return most
    try:
        pipeline = pipeline_without_weights(name, options)
        if pipeline is None:
            return most
        with torch.device("meta"):
            model = adapter_of(pipeline, half=half)
        model.read_prompts(options.encoding)
        prompt = prompt_in_chunks(model, chunks_of_longest(name, prompts, options.encoding))
    except ThumbtuneError:
        return most
    own = size or model.size
    one, room = drawing(model, 1, own, prompt=prompt), free_in_machine() // processes_here()
    _check_one(model, own, one, room, prompt)
    if most == 1:
        return most
    return halved(most, one, drawing(model, 2, own, prompt=prompt) - one, room)


def _check_one(model: LatentDiffusion, size: Size, one: int, room: int, prompt: str) -> None:
    """Refuse images of which not one fits, and name a size that does; note those that are much larger than usual.

    Raises:
        ThumbtuneError: an image takes more than there is room for.
    """
    height, width = height_and_width(size)
    own = math.prod(height_and_width(model.size))
    if KEPT * one > room:
        raise ThumbtuneError(
            f"An image of {width}x{height} pixels needs {gib(int(KEPT * one))} of memory, and this machine has "
            f"{gib(room)} free; {_size_that_fits(model, (height, width), room, prompt)}.",
            code="memory-too-small-to-draw",
        )
    if height * width >= LARGE * own:
        note(
            f"An image of {width}x{height} pixels has {height * width // own} times the pixels of this model's own "
            f"and takes {gib(int(KEPT * one))} of memory; one step can take minutes, and a second Ctrl-C ends it."
        )


def _size_that_fits(model: LatentDiffusion, size: tuple[int, int], room: int, prompt: str) -> str:
    """Return advice: a size that fits, of the same shape, by halving it down to the model's own."""
    unit, own = model.unit, max(height_and_width(model.size))
    while max(size) > own:
        height, width = size = tuple(max(unit, side // 2 // unit * unit) for side in size)  # type: ignore[assignment]
        needed = int(KEPT * drawing(model, 1, size, prompt=prompt))
        if needed <= room:
            return f"with {width}x{height} (--size, or evaluate.size of a recipe) it needs {gib(needed)}"
    return "close other programs, or take a smaller model"


def _pixels(model: Path, size: Size | None) -> float:
    """Return the pixels of an image; infinity if a model does not tell its size in a folder."""
    if size is not None:
        return math.prod(height_and_width(size))
    factor = factor_of(str(model)) if model.is_dir() else None
    return math.inf if factor is None else own_side(model, factor) ** 2


def halved(most: int, one: int, more: int, room: int) -> int:
    """Return `most`, halved until so many images fit: the first takes `one`, each other `more`.

    >>> halved(8, 500, 100, 1000), halved(8, 500, 100, 2000), halved(8, 500, 100, 10)
    (4, 8, 1)
    """
    count = most
    while count > 1 and KEPT * (one + (count - 1) * more) > room:
        count //= 2
    return count
