"""What all families of pipelines share: pixels of an image, tokens, the process, the fingerprint, and drawing."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor, nn

from thumbtune.errors import ThumbtuneError
from thumbtune.images import rgb
from thumbtune.memory import in_parts, make_room, ran_out
from thumbtune.models.half import computing
from thumbtune.models.pipeline_files import check_size, drawn_unit, height_and_width
from thumbtune.models.process import Process, process_of
from thumbtune.models.prompt_encoding import of_equal_length
from thumbtune.models.protocol import PipelineModel, Sampler, Size, Trained
from thumbtune.models.vae_settings import has_moments


def freeze(networks: Iterable[nn.Module]) -> None:
    """Train none of the networks, and use them as they are used to draw."""
    for network in networks:
        network.requires_grad_(False)
        network.eval()


def bring(device: torch.device, networks: Iterable[nn.Module], away: Iterable[nn.Module] = ()) -> None:
    """Move networks to a device, after others have left it for the CPU; none is moved to where it is."""
    cpu = torch.device("cpu")
    for wanted, group in ((cpu, away), (device, networks)):
        for network in group:
            if device_of(network) != wanted:
                network.to(wanted)


def device_of(network: nn.Module) -> torch.device:
    """Return the device of a network's weights."""
    return next(network.parameters()).device


def process_in(pipeline: Any) -> Process:
    """Return the noise process of a pipeline's scheduler.

    Raises:
        ThumbtuneError: it cannot be trained with.
    """
    try:
        return process_of(pipeline.scheduler.config)
    except ValueError as error:
        raise ThumbtuneError(
            f"The model's scheduler cannot be trained with: {error}", code="model-scheduler"
        ) from error


def pixels_of(image: Image.Image, size: Size) -> Tensor:
    """Return an image as centre-cropped and resized RGB in -1..1, [3, height, width], on white."""
    image = rgb(image)
    height, width = height_and_width(size)
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1


def ids_of(tokenizer: Any, prompts: Sequence[str], device: torch.device) -> Tensor:
    """Return the tokens of prompts, cut or padded to the tokenizer's length, [b, tokens]."""
    tokens = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    return tokens.input_ids.to(device)


def fingerprints(
    facts: tuple[object, ...],
    tag: str,
    networks: Sequence[nn.Module],
    tokenizers: Sequence[Any],
    device: torch.device,
) -> tuple[str, str]:
    """Return two hashes of facts, of the sums of weights, of vocabularies, and of what computes.

    The last bits of a latent are those of the hardware and of the version of torch.

    tag: how prompts are read, which is in the second hash alone; "": in the usual way
    """
    machine = (torch.__version__, _hardware(device))
    digests = [hashlib.sha256(str((*one, *machine)).encode()) for one in (facts, (*facts, tag))[: 2 if tag else 1]]
    for network in networks:
        for name, weight in network.state_dict().items():
            summed = f"{name}{tuple(weight.shape)}{weight.cpu().double().sum().item():.9e}".encode()
            for digest in digests:
                digest.update(summed)
    for tokenizer in tokenizers:
        words = str(sorted(tokenizer.get_vocab().items())).encode()
        for digest in digests:
            digest.update(words)
    return digests[0].hexdigest(), digests[-1].hexdigest()


def _hardware(device: torch.device) -> str:
    """Return the name of what computes on a device: the GPU, or the instructions of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"


def scaling_of(vae: Any, device: torch.device) -> tuple[Any, Any]:
    """Return what encoded latents are shifted by, and what they are then multiplied with; decoding does the reverse.

    Returns:
        Two numbers; or two tensors, [1, channels, 1, 1], of a VAE with a mean and a deviation for each channel.
    """
    if not has_moments(vae.config):
        return vae.config.get("shift_factor") or 0.0, vae.config.scaling_factor
    numbers = (vae.config["latents_mean"], vae.config["latents_std"])
    mean, deviation = (torch.tensor(one, device=device).view(1, -1, 1, 1) for one in numbers)
    return mean, vae.config.scaling_factor / deviation


def moments_in(vae: Any) -> tuple[object, ...]:
    """Return the mean and the deviation of each channel of a VAE's latents, for hashes; () if there are none."""
    return (list(vae.config["latents_mean"]), list(vae.config["latents_std"])) if has_moments(vae.config) else ()


def draw(model: PipelineModel, prompts: Sequence[str], seeds: Sequence[int], sampler: Sampler) -> Tensor:
    """Return the latents that a pipeline draws, one seed each; a seed gives the same initial noise in any batch.

    Prompts that are read in an unusual way are embedded here, and those of equal lengths are drawn together. In half
    precision the networks alone compute in it, and guidance and the scheduler in float32.

    Raises:
        UsageError: the size is one that the pipeline cannot draw.
    """
    if sampler.size is not None:
        check_size(sampler.size, drawn_unit(model.pipeline.vae_scale_factor), "The size of the images")
    height, width = height_and_width(sampler.size or model.size)
    completed = [model.complete(prompt) for prompt in prompts]

    def drawn(texts: Mapping[str, Any], seeds: Sequence[int]) -> Tensor:
        bring(model.device, model.beside)
        with computing(model.device, model.half), _float_output(model.network, model.half):
            return model.pipeline(
                **texts,
                num_inference_steps=sampler.steps,
                guidance_scale=sampler.guidance,
                height=height,
                width=width,
                generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
                output_type="latent",
            ).images

    if model.encoding.is_usual:
        negative = {"negative_prompt": [sampler.negative] * len(completed)} if sampler.negative else {}
        return drawn({"prompt": completed, **negative}, seeds)
    latents: dict[int, Tensor] = {}
    for places, texts in _embedded(model, completed, sampler):
        latents |= zip(places, drawn(texts, [seeds[place] for place in places]), strict=True)
    return torch.stack([latents[place] for place in range(len(completed))])


def _embedded(
    model: PipelineModel, prompts: Sequence[str], sampler: Sampler
) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """Yield the places of prompts of one length, and what a pipeline is told of them and of the negative prompt."""
    rows = {
        text: {name: value[0] for name, value in model.embed([text]).items()} for text in {*prompts, sampler.negative}
    }
    for length in sorted({len(rows[prompt]["text"]) for prompt in prompts}):
        places = [place for place, prompt in enumerate(prompts) if len(rows[prompt]["text"]) == length]
        pairs = [(rows[prompts[place]], rows[sampler.negative]) for place in places]
        if sampler.guidance > 1:
            pairs = [of_equal_length(*pair) for pair in pairs]
        else:
            pairs = [(positive, positive) for positive, _ in pairs]  # a pipeline reads it, and does not use it
        texts = {}
        for name in pairs[0][0]:
            option = "prompt_embeds" if name == "text" else f"{name}_prompt_embeds"
            texts[option] = torch.stack([positive[name] for positive, _ in pairs])
            texts[f"negative_{option}"] = torch.stack([negative[name] for _, negative in pairs])
        yield places, texts


@contextmanager
def _float_output(network: nn.Module, half: torch.dtype | None) -> Iterator[None]:
    """Make a network answer in float32 inside the `with` block, if it computes in half precision."""
    if half is None:
        yield
        return
    hook = network.register_forward_hook(lambda _network, _inputs, output: (output[0].float(), *output[1:]))
    try:
        yield
    finally:
        hook.remove()


def decoded(vae: Any, latents: Tensor, half: torch.dtype | None) -> Tensor:
    """Return the pixels of latents, [b, 3, height, width], of about -1..1; `half` is the type of the VAE's weights.

    In half precision each image is decoded alone. In float32 all are decoded at once, and fewer if memory runs out. An
    image that is too large for the memory is decoded in tiles, which changes it a little where they meet.
    """
    with computing(latents.device, half):
        at_once = len(latents) if half is None else 1
        parts = in_parts(range(len(latents)), at_once, lambda rows: _part(vae, latents, rows))
        return torch.cat([pixels for _, pixels in parts])


def _part(vae: Any, latents: Tensor, rows: Sequence[int]) -> Tensor:
    part = latents[rows[0] : rows[-1] + 1]
    try:
        return vae.decode(part, return_dict=False)[0].float()
    except Exception as error:
        if not ran_out(error) or len(rows) > 1:
            raise
    make_room()  # outside of `except`, whose traceback holds the tensors of the failed attempt
    vae.enable_tiling()
    try:
        return vae.decode(part, return_dict=False)[0].float()
    finally:
        vae.disable_tiling()


def images_of(pipeline: Any, decoded_pixels: Tensor) -> list[Image.Image]:
    """Return decoded pixels as images.

    Raises:
        ThumbtuneError: they are NaN or infinite.
    """
    pixels: NDArray[Any] = pipeline.image_processor.postprocess(decoded_pixels, output_type="np")
    if not np.isfinite(pixels).all():  # Pillow would make them black, and a scorer would score that
        raise ThumbtuneError(
            "The model generates NaN or infinite values and no image; check its weights and those of its LoRA.",
            code="model-not-finite",
        )
    return pipeline.image_processor.numpy_to_pil(pixels)


def trained_part(trained: Trained | None) -> Trained:
    """Return the trained part of a network.

    Raises:
        ThumbtuneError: the model was loaded for generating images only.
    """
    if trained is None:
        raise ThumbtuneError(
            "This model was loaded without a tuning, so it cannot be trained; pass LoRA() or Full() as its tuning.",
            code="model-not-trainable",
        )
    return trained
