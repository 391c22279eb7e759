"""What all families of pipelines share: pixels of an image, tokens, the process, the fingerprint, and drawing."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor, nn

from thumbtune.errors import ThumbtuneError
from thumbtune.images import rgb
from thumbtune.models.pipeline_files import check_size, drawn_unit, height_and_width
from thumbtune.models.process import Process, process_of
from thumbtune.models.prompt_encoding import of_equal_length
from thumbtune.models.protocol import PipelineModel, Sampler, Size, Trained


def freeze(networks: Iterable[nn.Module]) -> None:
    """Train none of the networks, and use them as they are used to draw."""
    for network in networks:
        network.requires_grad_(False)
        network.eval()


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


def fingerprint(
    facts: tuple[object, ...], networks: Sequence[nn.Module], tokenizers: Sequence[Any], device: torch.device
) -> str:
    """Return a hash of facts, of the sums of weights, of vocabularies, and of what computes.

    The last bits of a latent are those of the hardware and of the version of torch.
    """
    digest = hashlib.sha256(str((*facts, torch.__version__, _hardware(device))).encode())
    for network in networks:
        for name, weight in network.state_dict().items():
            digest.update(f"{name}{tuple(weight.shape)}{weight.cpu().double().sum().item():.9e}".encode())
    for tokenizer in tokenizers:
        digest.update(str(sorted(tokenizer.get_vocab().items())).encode())
    return digest.hexdigest()


def _hardware(device: torch.device) -> str:
    """Return the name of what computes on a device: the GPU, or the instructions of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"


def draw(model: PipelineModel, prompts: Sequence[str], seeds: Sequence[int], sampler: Sampler, output_type: str) -> Any:
    """Return what a pipeline draws for prompts, one seed each; a seed gives the same initial noise in any batch.

    Prompts that are read in an unusual way are embedded here, and those of equal lengths are drawn together.

    Raises:
        UsageError: the size is one that the pipeline cannot draw.
    """
    if sampler.size is not None:
        check_size(sampler.size, drawn_unit(model.pipeline.vae_scale_factor), "The size of the images")
    height, width = height_and_width(sampler.size or model.size)

    def drawn(texts: Mapping[str, Any], seeds: Sequence[int]) -> Any:
        return model.pipeline(
            **texts,
            num_inference_steps=sampler.steps,
            guidance_scale=sampler.guidance,
            height=height,
            width=width,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            output_type=output_type,
        ).images

    if model.encoding.is_usual:
        negative = {"negative_prompt": [sampler.negative] * len(prompts)} if sampler.negative else {}
        return drawn({"prompt": list(prompts), **negative}, seeds)
    images: dict[int, Any] = {}
    for places, texts in _embedded(model, prompts, sampler):
        images |= zip(places, drawn(texts, [seeds[place] for place in places]), strict=True)
    in_order = [images[place] for place in range(len(prompts))]
    return np.stack(in_order) if output_type == "np" else torch.stack(in_order)


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


def images_of(pipeline: Any, pixels: NDArray[Any]) -> list[Image.Image]:
    """Return drawn pixels in 0..1 as images.

    Raises:
        ThumbtuneError: they are NaN or infinite.
    """
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
