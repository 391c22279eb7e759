"""What a training will need on this machine, told before it starts: memory by part, and settings that would fit.

The memory of tensors is that of `memory_estimate`. Beside them stand the programs of the process, or the driver of a
GPU; an allocator keeps a little more than it hands out.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from thumbtune.distributed import team
from thumbtune.errors import ThumbtuneError, plural
from thumbtune.hub import CONFIG
from thumbtune.memory import of_process, room_of
from thumbtune.models.drawing import MOST_WEIGHTS
from thumbtune.models.families import family_of
from thumbtune.models.family import UNET, VAE
from thumbtune.models.pipeline_files import factor_of, index_of, read_config
from thumbtune.models.weight_files import keys_in
from thumbtune.runs import build
from thumbtune.runs.memory_estimate import Estimate, estimate, longest_in_chunks
from thumbtune.runs.recipe import Recipe
from thumbtune.runs.values import height_and_width_of
from thumbtune.sides import height_and_width

GIB = 2**30
DRIVER = GIB // 2  # of CUDA with its libraries, in each process
KEPT = 1.05  # what an allocator takes for each byte that it hands out
SMALL = 0.5  # a training whose bound is this part of the memory or less is not estimated
COPIES_OF_WEIGHT, COPIES_OF_ACTIVATION = 6, 4  # of the latter: input, output, gradient and what a kernel adds
UNIT, LEAST_SIDE = 64, 512  # of the smaller sizes that are tried
TOKENS = 77  # that a text encoder reads at once
# bytes of holes for each one of activations in small blocks, by checkpointing: 2.0 to 2.8 and 1.0 to 1.1 were measured
HOLES = {True: 2, False: 1}
NO_SAMPLES = "train.sample_every=0"
# changes that save memory, the first ones at the least price
SAVERS = {
    "train.gradient_checkpointing": True,
    "train.micro_batch": 1,  # of pairs, two
    "train.precision": "bf16",
    "train.optimizer": "adamw-8bit",
    "train.weights": "lora",
    "train.quantize_base": "int8",
    "train.blocks_to_swap": "all",
}


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The memory that a training needs, and that there is. All numbers are bytes.

    estimate:  of the tensors; each is the peak of one kind of work, of which the process does one after the other
    beside:    what a process takes beside tensors; on a CPU it is measured in this one, after its imports
    room:      the memory of the device in all
    on_cpu:    whether networks are loaded into the same memory
    holes:     on a CPU, what freed activations of a step leave between others, which the C library does not give back
    processes: that share the memory
    """

    estimate: Estimate
    beside: int
    room: int
    holes: int = 0
    on_cpu: bool = False
    processes: int = 1

    def with_process(self, tensors: int) -> int:
        """Return what the process takes while it has tensors of so many bytes."""
        return int(tensors * KEPT) + self.beside

    @property
    def needed(self) -> int:
        """Return the most that all processes must have at once; several images can be drawn one by one."""
        return self._most(self.estimate.load)

    @property
    def pages(self) -> int:
        """Return what the files of converted weights take on top at most, until the system takes it back."""
        return self._most(self.estimate.load + self.estimate.converted) - self.needed

    @property
    def generate(self) -> int:
        """Return the peak of drawing; an accelerator that cannot hold all networks has them in turns."""
        one = self.estimate
        return (
            one.in_turns if not self.on_cpu and sum(one.networks.values()) > MOST_WEIGHTS * self.room else one.generate
        )

    @property
    def fits(self) -> bool:
        """Return whether there is as much memory as is needed."""
        return self.needed <= self.room

    def _most(self, load: int) -> int:
        one = self.estimate
        most = self.with_process(max(one.step + self.holes, one.encode))
        if not self.on_cpu:  # a GPU without memory for a sample raises an error, and training goes on
            return self.processes * most
        others = (self.processes - 1) * max(most, load + self.beside)
        return others + max(most, load + self.beside, self.with_process(one.samples) if one.samples else 0)


def forecast_of(recipe: Recipe) -> Forecast | None:
    """Return the memory that a recipe needs on this machine's best device.

    Returns:
        None for a model whose settings cannot be read, which loading will refuse.

    With `train.micro_batch: auto` on a GPU, the least number of images is in the network at once.

    Raises:
        ThumbtuneError: the model cannot be tuned.
    """
    device = team().device
    found = estimate(recipe, micro_batch=least_micro_batch(recipe))
    if found is None:
        return None
    if device.type != "cpu":
        return Forecast(estimate=found, beside=DRIVER, room=room_of(device))
    holes = found.heap * HOLES[recipe.train.gradient_checkpointing]
    return Forecast(
        estimate=found,
        beside=of_process(),
        room=room_of(device),
        on_cpu=True,
        holes=holes,
        processes=processes_here(),
    )


def processes_here() -> int:
    """Return how many processes of this training share the memory of this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or team().num_processes)


def check_memory(recipe: Recipe) -> None:
    """Refuse a training on a CPU for which there is too little memory: the system would end it without an error.

    A GPU raises an error, and training then puts fewer images into the network. What is cheap beyond doubt is not
    looked at: an estimate takes seconds.

    Raises:
        ThumbtuneError: there is too little.
    """
    device = team().device
    if device.type != "cpu" or processes_here() * bytes_at_most(recipe) < room_of(device) * SMALL:
        return
    forecast = forecast_of(recipe)
    if forecast is not None:
        refuse_too_large(recipe, forecast)


def bytes_at_most(recipe: Recipe) -> float:
    """Return a bound of the bytes of a training's tensors, from the shapes of its weights; infinity if not known.

    Only the files of the family's parts count: loading reads no others. What cannot be read is left to loading.

    Each weight is there as itself, reference, gradient, average and two moments. Each row of a weight makes a channel,
    which has a number for each place of an image at most: a pixel in the VAE, a place of the latents in the UNet.
    """
    base = Path(build.model_path(recipe.model))
    factor = factor_of(str(base)) if base.is_dir() else None
    if factor is None or recipe.lora.start is not None or not (base / UNET).is_dir():
        return math.inf
    tokens = TOKENS * longest_in_chunks(recipe)
    rank = max(recipe.lora.rank, recipe.lora.conv_rank or 0)
    side = recipe.train.size or own_side(base, factor)
    places = {VAE: side**2, UNET: micro_batch_of_process(recipe) * max(tokens, (side // factor) ** 2)}
    if recipe.train.sample_every:  # each is drawn alone, with and without its prompt
        size = height_and_width_of(recipe.evaluate.size)
        drawn = own_side(base, factor) if size is None else max(height_and_width(size))
        places[VAE] = max(places[VAE], drawn**2)
        places[UNET] = max(places[UNET], 2 * max(tokens, (drawn // factor) ** 2))
    weights = activations = 0
    for part, shapes in _shapes_by_part(base).items():
        if not shapes:
            return math.inf
        for shape in shapes:
            rows, columns = math.prod(shape[:1]), math.prod(shape[1:])
            weights += rows * columns + rank * (rows + columns)
            activations += rows * places.get(part, tokens)
    return 4 * (COPIES_OF_WEIGHT * weights + COPIES_OF_ACTIVATION * activations)


def _shapes_by_part(base: Path) -> dict[str, list[tuple[int, ...]]]:
    """Return the shapes of the weights of each network of a model; [] for one with a file that cannot be read."""
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for part in family_of((index_of(str(base)) or {}).get("_class_name")).networks:
        try:
            files = [keys_in(file) for file in (base / part).glob("*.safetensors")]
        except ThumbtuneError:
            files = []
        shapes[part] = [shape for keys in files for shape in keys.values()]
    return shapes


def own_side(base: Path, factor: int) -> float:
    """Return the larger side of a model's images; infinity if it is not known."""
    size: Any = (read_config(base / UNET / CONFIG) or {}).get("sample_size")
    sides = size if isinstance(size, list) else [size]
    return max(sides) * factor if all(isinstance(one, int) for one in sides) else math.inf


def least_micro_batch(recipe: Recipe) -> int:
    """Return the images that are in the network at once: of `auto`, the least, which a shortage of memory ends with."""
    return _least(recipe) if recipe.train.micro_batch == "auto" else micro_batch_of_process(recipe)


def micro_batch_of_process(recipe: Recipe) -> int:
    """Return the images that are in the network at once in each process; on a CPU `auto` means the least."""
    if recipe.train.micro_batch == "auto":
        return _least(recipe)
    return max(_least(recipe), min(recipe.train.micro_batch, recipe.train.batch // team().num_processes))


def _least(recipe: Recipe) -> int:
    """Return the fewest images that a part of a step can have: of pairs, two."""
    return 2 if recipe.objective.name == "dpo" else 1


def images_that_fit(recipe: Recipe, forecast: Forecast) -> int:
    """Return how many images `train.micro_batch: auto` will have in the network at once, by halving the batch.

    Each image takes as much as the one before, so two counts tell all.

    forecast: of the least number, which fits
    """
    least = forecast.estimate.micro_batch
    more = estimate(recipe, micro_batch=2 * least)
    assert more is not None
    each = (more.step - forecast.estimate.step) / least
    most = least + (forecast.room - forecast.with_process(forecast.estimate.step)) / (KEPT * each)
    count = recipe.train.batch
    while count > max(most, least):
        count = max(least, count // 2)
    return count


def refuse_too_large(recipe: Recipe, forecast: Forecast) -> None:
    """Refuse a training for which there is too little memory, and name settings with which there is enough.

    Raises:
        ThumbtuneError: there is too little.
    """
    if forecast.fits:
        return
    found = settings_that_fit(recipe)
    if found is None:
        advice = "with every saving setting it needs more than that too: take another device, or a smaller model"
    else:
        settings, other = found
        advice = f"with {' '.join(f'--set {setting}' for setting in settings)} it needs {gib(other.needed)}"
    kind = "GPU" if team().device.type != "cpu" else "machine"
    raise ThumbtuneError(
        f"Training {recipe.model} needs {gib(forecast.needed)} of memory, and this {kind} has {gib(forecast.room)}; "
        f"{advice}.",
        code="memory-too-small",
    )


def settings_that_fit(recipe: Recipe) -> tuple[list[str], Forecast] | None:
    """Return the fewest changes of a recipe, in the order of their price, for which there is memory; None: none do.

    A smaller size is tried last: alone, then with other changes.
    """
    without: Recipe | None = None
    if recipe.train.sample_every and team().device.type == "cpu":
        alone = forecast_of(without := changed(recipe, "train.sample_every", 0))
        if alone is not None and alone.fits:
            return [NO_SAMPLES], alone
    if (found := _savers_that_fit(recipe)) is not None:
        return found
    smaller = {f"train.size={size}": changed(recipe, "train.size", size) for size in _smaller_sizes(recipe)}
    for setting, one in smaller.items():
        alone = forecast_of(one)
        if alone is not None and alone.fits:
            return [setting], alone
    for setting, one in smaller.items():
        if (found := _savers_that_fit(one)) is not None:
            return [setting, *found[0]], found[1]
    if without is not None and (found := settings_that_fit(without)) is not None:
        return [NO_SAMPLES, *found[0]], found[1]
    return None


def _smaller_sizes(recipe: Recipe) -> Iterator[int]:
    """Yield the halves of the size of training down to the model's own, then 512 if that is smaller still."""
    base = Path(build.model_path(recipe.model))
    factor = factor_of(str(base)) if base.is_dir() else None
    own = math.inf if factor is None else own_side(base, factor)
    size = recipe.train.size or own
    least = LEAST_SIDE if own == math.inf else int(own)
    while math.inf > size > least:
        size = max(least, int(size) // 2 // UNIT * UNIT)
        yield size
    if math.inf > size > LEAST_SIDE:
        yield LEAST_SIDE


def _savers_that_fit(recipe: Recipe) -> tuple[list[str], Forecast] | None:
    """Return the fewest changes other than of the size for which there is memory; None: none do."""
    settings: list[str] = []
    while saver := next(savers_of(recipe), None):  # a LoRA can save in other ways than all weights
        name, value = saver
        if name == "train.weights":  # a LoRA has few moments, so their bits save nothing
            recipe = changed(recipe, "train.optimizer", "adamw")
            settings = [setting for setting in settings if not setting.startswith("train.optimizer=")]
        recipe = changed(recipe, name, value)
        settings.append(f"{name}={str(value).lower() if isinstance(value, bool) else value}")
        found = forecast_of(recipe)
        if found is not None and found.fits:
            return settings, found
    return None


def savers_of(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Yield the changes that would save memory: those that the recipe does not have yet."""
    apart, lora = team().device.type != "cpu", recipe.train.weights == "lora"
    useful = {
        "train.micro_batch": least_micro_batch(recipe) > _least(recipe),
        "train.precision": apart and build.precision_of(recipe) == "no",
        "train.optimizer": not lora and find_spec("bitsandbytes") is not None,  # a LoRA has few moments
        # a CPU holds the weights in float32 while it rounds them
        "train.quantize_base": apart and lora and not recipe.lora.dora and recipe.train.quantize_base == "no",
        "train.blocks_to_swap": apart and lora,
    }
    for name, value in {**SAVERS, "train.micro_batch": _least(recipe)}.items():
        if useful.get(name, True) and getattr(recipe.train, name.removeprefix("train.")) != value:
            yield name, value


def changed(recipe: Recipe, name: str, value: Any) -> Recipe:
    """Return a recipe with another value of an option of its training, whether the two go together or not."""
    option = name.removeprefix("train.")
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={option: value})})


def gib(number: int) -> str:
    """Return bytes as a number of GiB or MiB.

    >>> gib(4_764_729_344), gib(39_845_888)
    ('4.4 GiB', '38 MiB')
    """
    return f"{number / GIB:.1f} GiB" if number >= GIB / 10 else f"{number / 2**20:.0f} MiB"


def memory_lines(forecast: Forecast) -> list[str]:
    """Return the memory of each part, in lines for people."""
    one = forecast.estimate
    weights = sum(one.networks.values())
    parts = ", ".join(f"{name} {gib(size)}" for name, size in one.networks.items())
    there = weights - one.resting
    activations = max(0, one.step - there - one.optimiser)
    process = "the process itself" if forecast.processes == 1 else f"{forecast.processes} processes on this machine"
    pages = f", and up to {gib(forecast.pages)} of pages that can be given back" if forecast.pages else ""
    return [
        f"networks {gib(weights)} ({parts})",
        f"a step with {plural(one.micro_batch, 'image')} at once {gib(one.step)}: networks {gib(there)}, optimiser "
        f"{gib(one.optimiser)}, activations and gradients {gib(activations)}",
        f"encoding {gib(one.encode)}; generating {plural(one.at_once, 'image')} at once {gib(forecast.generate)}"
        + (f"; a sample between two steps {gib(one.samples)}" if one.samples else ""),
        *_divided_lines(one),
        *_on_cpu_lines(forecast),
        f"with {process}, training takes {gib(forecast.needed)} of {gib(forecast.room)}{pages}",
    ]


def _divided_lines(one: Estimate) -> list[str]:
    """Return what a pass gathers of a network that is divided among processes, in a line for people."""
    if not one.gathered:
        return []
    return [
        f"each process has its part of the network; what a pass gathers of it takes up to {gib(one.gathered)} at once"
    ]


def _on_cpu_lines(forecast: Forecast) -> list[str]:
    """Return the parts that a CPU adds, in a line for people; on a GPU, what loading takes of the machine."""
    one = forecast.estimate
    if not forecast.on_cpu:
        return [f"loading {gib(one.load + one.converted)}, in the memory of the machine"]
    holes, process = gib(forecast.holes), gib(forecast.beside)
    return [f"loading {gib(one.load)}; holes between freed activations {holes}; process {process}"]
