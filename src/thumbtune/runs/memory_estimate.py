"""How much memory a training will need, part by part, from steps on tensors without values: `estimate(recipe)`.

The numbers are sums of the tensors that are alive at once (`training.live_memory`). On a GPU the workspaces of kernels,
the allocator's gaps and the driver come on top. On an accelerator parts that are not needed rest in the memory of the
machine: the trained network until all is encoded, text encoders while images are encoded, the VAE while prompts are,
both while training.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from thumbtune.clips import Clip
from thumbtune.distributed import team
from thumbtune.feedback.event_log.files import is_event_log
from thumbtune.feedback.store.store import Store, is_store
from thumbtune.files import sha256
from thumbtune.models.block_offload import bytes_offloaded
from thumbtune.models.families import adapter_of, family_of
from thumbtune.models.family import TEXT, VAE
from thumbtune.models.half import computing
from thumbtune.models.latent_diffusion import LatentDiffusion
from thumbtune.models.loading import stored_types
from thumbtune.models.pipeline_files import index_of
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.protocol import Size
from thumbtune.models.sizes import check_longest
from thumbtune.models.without_weights import pipeline_without_weights
from thumbtune.runs import build
from thumbtune.runs.feedback_source import event_log
from thumbtune.runs.recipe import Recipe
from thumbtune.runs.sharded_memory import Division, division_of
from thumbtune.runs.text_length import cut_prompts
from thumbtune.runs.values import height_and_width_of
from thumbtune.training.live_memory import LiveMemory, give_shapes, without_values
from thumbtune.training.optimizers import bytes_of_moments

IMAGES_AT_ONCE = 8  # of an evaluation
IMAGE = (64, 64)  # of any size: all are resized
COUNTED: dict[tuple[str, PromptEncoding, str], int] = {}  # chunks, by the hash of prompts and how they are read
CONVERTED = (torch.bfloat16, torch.float16, torch.int8, torch.uint8)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Bytes. Each peak contains the weights of all networks, and that of a step what the optimiser keeps.

    networks:  the weights of each network, by its name in the pipeline; those of the LoRA count with its network
    resting:   those of the networks that are in the memory of the machine, not on the accelerator, during a step
    optimiser: the two moments of every trained weight, and `reference`
    reference: the copy of the weights that all of them are compared with, if all are trained
    step:      the peak of a step with `micro_batch` images at once
    encode:    the peak of encoding an image or a prompt, on an accelerator without the trained network
    generate:  the peak of generating `at_once` images
    samples:   the peak of drawing a sample between two steps, beside what the optimiser keeps; 0 without samples
    load:      the weights of all networks as they are loaded, in the memory of the machine
    converted: those that are then quantised or stored in half precision
    gathered:  what a pass gathers of a network that is divided among processes; `networks` then has this process's part
    heap:      what of the step's activations is in blocks so small that the C library of a CPU does not give them back
    """

    networks: dict[str, int]
    resting: int = 0
    optimiser: int
    reference: int = 0
    step: int
    micro_batch: int
    encode: int
    generate: int
    at_once: int
    samples: int = 0
    load: int = 0
    converted: int = 0
    heap: int = 0
    gathered: int = 0

    @property
    def in_turns(self) -> int:
        """Return the peak of drawing where the text encoders leave the accelerator before the network comes."""
        texts = sum(kept for name, kept in self.networks.items() if name.startswith(TEXT))
        return max(self.encode, self.generate - texts)


def estimate(
    recipe: Recipe,
    micro_batch: int | None = None,
    at_once: int = IMAGES_AT_ONCE,
    accelerator: bool | None = None,
    precision: build.Precision | None = None,
    processes: int | None = None,
) -> Estimate | None:
    """Return the memory that a recipe will need; None for a model that is not on this machine.

    Args:
        micro_batch: images in the network at once; None: as the recipe says.
        at_once: images that are generated together; clips are generated one by one.
        accelerator: whether it is asked for an accelerator with memory of its own; None: if there is one here.
        precision: in place of what the recipe's means here.
        processes: among which `train.shard` divides the network; None: those that were started here.

    Raises:
        ThumbtuneError: the model cannot be tuned, or a library is missing.
    """
    pipeline = pipeline_without_weights(build.model_path(recipe.model), build.options_of(recipe))
    if pipeline is None:
        return None
    size, at_once = micro_batch or build.micro_batch_of(recipe), at_once if recipe.frames == 1 else 1
    apart = team().device.type != "cpu" if accelerator is None else accelerator
    half = build.half_of(recipe, precision)
    load = _loaded(recipe, half, _networks_of(pipeline))
    with torch.device("meta"):
        tuning = build.tuning_of(recipe, pipeline, precision=precision)
        model = adapter_of(pipeline, tuning, recipe.seed, recipe.train.gradient_checkpointing, half)
    check_longest(recipe.train.size or model.size, model.longest, "train.size")
    check_longest(height_and_width_of(recipe.evaluate.size) or model.size, model.longest, "evaluate.size")
    _offload(recipe, model, apart)
    count: int = processes or team().num_processes
    division = division_of(model.network, count) if recipe.train.shard and count > 1 else None
    training = _of_training(model, recipe, size, apart, division)
    away = 0 if division is None else division.saved - division.gathered
    samples = training["optimiser"] + _drawing(recipe, 1, half, apart) - away if recipe.train.sample_every else 0
    return Estimate(
        **training,
        samples=samples,
        micro_batch=size,
        generate=_drawing(recipe, at_once, half, apart),
        at_once=at_once,
        load=load,
    )


def _offload(recipe: Recipe, model: LatentDiffusion, apart: bool) -> None:
    """Offload the blocks of a model as its recipe says; on an accelerator the copies of their weights count."""
    offloading = build.offload_blocks(recipe, model)
    if offloading is not None:
        offloading.always_copies = apart


def _of_training(
    model: LatentDiffusion, recipe: Recipe, size: int, apart: bool, division: Division | None
) -> dict[str, Any]:
    """Return the fields of an estimate that steps with `size` images at once, and encoding, tell."""
    pipeline = model.pipeline
    with without_values(), LiveMemory() as memory:
        networks = _with_shapes(memory, pipeline, apart)
        converted = _converted(pipeline)
        inputs = _inputs(model, recipe, recipe.train.size or model.size)
        rest = {name: kept if apart and name not in model.networks else 0 for name, kept in networks.items()}
        texts = sum(kept for name, kept in rest.items() if name != VAE)
        later = sum(networks[name] for name in model.networks) if apart else 0  # it comes when all is encoded
        encode = _peak(memory, lambda: inputs.latents(1)) - texts - later
        embed = _peak(memory, lambda: model.embed([inputs.prompt])) - rest[VAE] - later
        step, moments, reference = _step(memory, inputs, recipe, size, division)
        away = _offloaded(model) if apart else 0
        # the gradient of all weights is large, and stays until the update
        stays = 0 if division is not None and division.is_full else sum(w.nbytes for _, w in model.trainable())
        heap = max(0, memory.heap - stays)
    counted = {
        "networks": networks,
        "resting": texts + rest[VAE] + away,
        "optimiser": moments + reference,
        "reference": reference,
        "step": step - texts - rest[VAE] - away,
        "encode": max(encode, embed),
        "converted": converted,
        "heap": heap,
    }
    if division is None:
        return counted
    (trained,) = model.networks
    counted["networks"] = {**networks, trained: networks[trained] - division.saved}
    return division.of_step(counted, sum(4 * weight.numel() for _, weight in model.trainable()))


def _offloaded(model: LatentDiffusion) -> int:
    """Return the bytes of the weights that stay in the memory of the machine while their blocks compute."""
    return sum(map(bytes_offloaded, model.networks.values()))


def _loaded(recipe: Recipe, half: torch.dtype | None, networks: Mapping[str, nn.Module]) -> int:
    """Return the bytes of the weights of networks as they are loaded; float32 for those whose files are not here."""
    folder = Path(build.model_path(recipe.model))
    types: Mapping[str, torch.dtype] = {}
    is_plain = recipe.train.weights == "lora" and not recipe.lora.dora and recipe.lora.start is None
    if half is not None and is_plain and folder.is_dir():
        family = family_of((index_of(str(folder)) or {}).get("_class_name"))
        types = stored_types(family, folder)
    counts = {part: sum(weight.numel() for weight in network.parameters()) for part, network in networks.items()}
    return sum(count * types.get(part, torch.float32).itemsize for part, count in counts.items())


def _networks_of(pipeline: Any) -> dict[str, nn.Module]:
    return {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}


def _converted(pipeline: Any) -> int:
    """Return the bytes of all weights that are not in float32."""
    values = (v for part in _networks_of(pipeline).values() for v in (*part.parameters(), *part.buffers()))
    return sum(value.nbytes for value in values if value.dtype in CONVERTED)


def _with_shapes(memory: LiveMemory, pipeline: Any, apart: bool) -> dict[str, int]:
    """Give the networks of a pipeline their shapes; return the bytes of each."""
    networks = {}
    for name, part in _networks_of(pipeline).items():
        before = memory.now
        give_shapes(part)
        for value in (*part.parameters(), *part.buffers()):
            memory.count(value)
        networks[name] = memory.now - before
        if apart:
            _as_on_a_gpu(part)
    return networks


def _as_on_a_gpu(part: nn.Module) -> None:
    """Let norms compute in float32 under autocast, as on CUDA; a CPU has them in half precision."""

    def in_float32(_norm: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (given[0].float(), *given[1:]) if torch.is_autocast_enabled("cpu") else given

    for layer in part.modules():
        if isinstance(layer, nn.GroupNorm | nn.LayerNorm):
            layer.register_forward_pre_hook(in_float32)


def _peak(memory: LiveMemory, work: Callable[[], object]) -> int:
    memory.begin_peak()
    work()
    return memory.peak


@dataclass(frozen=True)
class Inputs:
    """What a model is given, for images of one size, or clips; `prompt` is as long as the longest one."""

    model: LatentDiffusion
    size: Size
    prompt: str = "a"
    frames: int = 1

    def latents(self, count: int) -> Tensor:
        """Return the latents of images, or of clips, without content."""
        image = Image.new("RGB", IMAGE)
        one = self.model.encode([Clip([image] * self.frames, 1) if self.frames > 1 else image], size=self.size)
        return one.expand(count, *one.shape[1:]).contiguous()

    def condition(self, count: int) -> dict[str, Tensor]:
        """Return the condition of these images and a prompt."""
        about = self.model.image_condition([Image.new("RGB", IMAGE)], size=self.size)
        prompts = [self.prompt] if self.prompt == "a" else [self.prompt, "a"]  # of two lengths, with a mask
        one = {name: value[:1] for name, value in self.model.embed(prompts).items()} | about
        return {name: value.expand(count, *value.shape[1:]).contiguous() for name, value in one.items()}


def _inputs(model: LatentDiffusion, recipe: Recipe, size: Size) -> Inputs:
    """Return inputs with the longest prompt of the likes, where long ones are read in chunks."""
    model.read_prompts(build.encoding_of(recipe))
    return Inputs(model, size, prompt_in_chunks(model, longest_in_chunks(recipe)), recipe.frames)


def prompt_in_chunks(model: LatentDiffusion, count: int) -> str:
    """Return a prompt that a model reads in so many chunks; for one chunk, the shortest."""
    return " ".join(["a"] * (1 + (count - 1) * (model.pipeline.tokenizer.model_max_length - 2)))


def longest_in_chunks(recipe: Recipe) -> int:
    """Return how many chunks the longest prompt of the likes is read in; 1 if prompts are cut, or none are there."""
    is_log = is_event_log(recipe.likes)
    if recipe.prompts.over_length == "cut" or not (is_log or is_store(recipe.likes)):
        return 1
    if is_log:
        prompts = event_log(recipe.likes, recipe.events.reading()).prompts()
        return chunks_of_longest(build.model_path(recipe.model), prompts, build.encoding_of(recipe))
    with Store.open(recipe.likes, create=False) as store:
        prompts = store.prompts(store.newest())
        return chunks_of_longest(build.model_path(recipe.model), prompts, build.encoding_of(recipe))


def chunks_of_longest(model: str, prompts: Iterable[str], encoding: PromptEncoding) -> int:
    """Return how many chunks the longest of these prompts is read in; 1 if prompts are cut.

    A process counts the same prompts once: of thousands of long ones it takes seconds, and each estimate asks.

    Raises:
        ThumbtuneError: the model's tokenizer cannot be loaded.
    """
    if encoding.over_length == "cut":
        return 1
    distinct = list(dict.fromkeys(prompts))
    key = (model, encoding, sha256(json.dumps(distinct).encode()))
    if key not in COUNTED:
        COUNTED[key] = max(cut_prompts(model, distinct, encoding).divided.values(), default=1)
    return COUNTED[key]


def _drawing(recipe: Recipe, count: int, half: torch.dtype | None, apart: bool) -> int:
    """Return the peak of drawing with the tuned model, which is loaded anew: no base is quantised then."""
    pipeline = pipeline_without_weights(build.model_path(recipe.model), build.options_of(recipe))
    with torch.device("meta"):
        tuning = build.tuning_of(recipe, pipeline, training=False) if recipe.train.weights == "lora" else None
        model = adapter_of(pipeline, tuning, half=half)
    _offload(recipe, model, apart)
    size = height_and_width_of(recipe.evaluate.size) or model.size
    return _drawn(_inputs(model, recipe, size), count, apart)


def drawing(model: LatentDiffusion, count: int, size: Size, *, prompt: str = "a", apart: bool = False) -> int:
    """Return the peak of drawing so many images of one size at once with a model on the device `meta`.

    apart: whether it draws on an accelerator with memory of its own
    """
    return _drawn(Inputs(model, size, prompt), count, apart)


def _drawn(inputs: Inputs, count: int, apart: bool) -> int:
    with without_values(), LiveMemory() as memory:
        _with_shapes(memory, inputs.model.pipeline, apart)
        return _peak(memory, lambda: _generate(memory, inputs, count)) - (_offloaded(inputs.model) if apart else 0)


@torch.no_grad()
def _generate(memory: LiveMemory, inputs: Inputs, count: int) -> None:
    """Denoise once with guidance, and decode."""
    model, noisy, condition = inputs.model, inputs.latents(2 * count), inputs.condition(2 * count)
    memory.number = condition["text"].shape[1]
    with computing(torch.device("cpu"), model.half):
        model.predict(noisy, torch.zeros(2 * count), condition)
    model.pixels(noisy[:count])


def _step(
    memory: LiveMemory, inputs: Inputs, recipe: Recipe, count: int, division: Division | None
) -> tuple[int, int, int]:
    """Return the peak of the second of two steps, what moments and an average take, and a copied reference.

    Of a division, a process keeps its part of moments and gradients.
    """
    model = inputs.model
    trained = [parameter for _, parameter in model.trainable()]
    moments = bytes_of_moments(recipe.train.optimizer, trained)
    moments += sum(parameter.nbytes for parameter in trained) if recipe.train.ema else 0  # the average of the weights
    if division is not None and division.is_full:
        moments = division.share(moments)
        gradients = torch.empty(division.share(division.divided), dtype=torch.uint8)
        for parameter in trained:
            parameter.register_post_accumulate_grad_hook(partial(_pass_on, gradients))
    kept = torch.empty(moments, dtype=torch.uint8)  # updates are made in place: of a large network also on a GPU
    before = memory.now
    with model.reference():  # moves a copy of all weights to the device
        reference_bytes = memory.now - before
    latents, condition, t = inputs.latents(count), inputs.condition(count), torch.zeros(count)
    memory.number = condition["text"].shape[1]

    def error() -> Tensor:
        noisy, noise = latents + latents, torch.zeros_like(latents)
        with computing(torch.device("cpu"), model.half):
            output = model.predict(noisy, t, condition)
        return (output.float() - noise).pow(2).flatten(1).mean(1)

    def step() -> None:
        with torch.no_grad(), model.reference():
            reference = error()
        ((error() - reference) * recipe.train.lr).sigmoid().sum().backward()
        for parameter in trained:
            parameter.grad = None

    step()
    peak = _peak(memory, step)
    assert kept.nbytes == moments
    return peak, moments, reference_bytes


def _pass_on(gradients: Tensor, weight: Tensor) -> None:
    """Drop a gradient, of which the process keeps its rows in `gradients`."""
    weight.grad = None
