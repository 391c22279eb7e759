"""Draw images with a pipeline: one seed each, the networks in the model's precision, guidance in float32."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from thumbtune.clips import usable
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.memory import in_parts, make_room, ran_out, room_of
from thumbtune.models.block_offload import offload
from thumbtune.models.devices import bring, bytes_that_move
from thumbtune.models.family import Family
from thumbtune.models.half import computing
from thumbtune.models.prompt_encoding import of_equal_length
from thumbtune.models.protocol import PipelineModel, Sampler
from thumbtune.models.sizes import check_longest
from thumbtune.sides import check_size, height_and_width

MOST_WEIGHTS = 0.8  # of the memory of an accelerator: activations need the rest


class Drawn(PipelineModel, Protocol):
    """A `PipelineModel` that says how its pipeline is called."""

    def texts(self, prompts: Sequence[str], sampler: Sampler) -> Mapping[str, Any]:
        """Return what the pipeline is told of prompts, and of what images should not show."""
        ...

    def guided(self, guidance: float) -> Mapping[str, Any]:
        """Return what the pipeline is told of guidance: u + guidance * (c - u), and 1 for none."""
        ...

    def unpacked(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the latents of a pipeline's result as `encode` gives them; `size` is (height, width) in pixels."""
        ...


def draw(model: Drawn, prompts: Sequence[str], seeds: Sequence[int], sampler: Sampler) -> Tensor:
    """Return the latents that a pipeline draws, one seed each; a seed gives the same initial noise in any batch.

    Prompts that are read in an unusual way are embedded here, and those of equal lengths are drawn together. In half
    precision the networks alone compute in it, and guidance and the scheduler in float32.

    Raises:
        UsageError: the size is one that the pipeline cannot draw, or the pipeline draws no clips.
    """
    check_clips(model.family, sampler.frames)
    clip = {"num_frames": usable(sampler.frames, model.frame_step)} if sampler.frames > 1 else {}
    if sampler.size is not None:
        check_size(sampler.size, model.unit, "The size of the images")
    check_longest(sampler.size or model.size, model.longest, "The size of the images")
    height, width = height_and_width(sampler.size or model.size)
    completed = [model.complete(prompt) for prompt in prompts]

    def drawn(texts: Mapping[str, Any], seeds: Sequence[int]) -> Tensor:
        with _placed(model), computing(model.device, model.half), _float_output(model.networks.values(), model.half):
            return model.unpacked(
                model.pipeline(
                    **texts,
                    **{**model.guided(sampler.guidance), **clip},
                    num_inference_steps=sampler.steps,
                    height=height,
                    width=width,
                    generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
                    output_type="latent",
                )[0],
                (height, width),
            )

    if model.encoding.is_usual:
        return drawn(model.texts(completed, sampler), seeds)
    latents: dict[int, Tensor] = {}
    for places, texts in _embedded(model, completed, sampler):
        latents |= zip(places, drawn(texts, [seeds[place] for place in places]), strict=True)
    return torch.stack([latents[place] for place in range(len(completed))])


def _embedded(model: Drawn, prompts: Sequence[str], sampler: Sampler) -> Iterator[tuple[list[int], dict[str, Any]]]:
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


def check_clips(family: Family, frames: int) -> None:
    """Refuse clips of a family that has images only.

    Raises:
        UsageError: more than one frame is asked of it.
    """
    if frames > 1 and not family.clips:
        raise UsageError(
            f"{family.name} has images only, and {frames} frames are asked of it; leave frames out or at 1, or take "
            "Wan or LTX-Video.",
            code="frames-images-only",
        )


def takes_turns(weights: int, device: torch.device) -> bool:
    """Return whether an accelerator cannot hold networks of so many bytes and draw too."""
    return device.type != "cpu" and weights > MOST_WEIGHTS * room_of(device)


@contextmanager
def _placed(model: Drawn) -> Iterator[None]:
    """Have all parts on the device inside the `with` block, or each one while the pipeline calls it.

    Of a network that the device cannot hold alone, the blocks travel there one by one.
    """
    parts = (model.network, *model.beside)
    for network in model.networks.values():
        if takes_turns(bytes_that_move(network), model.device):  # alone it is too large
            bring(torch.device("cpu"), [network])  # its blocks stay where they are from now on
            offload([network])
    if not takes_turns(sum(map(bytes_that_move, parts)), model.device):
        bring(model.device, parts)
        yield
        return
    bring(torch.device("cpu"), parts)
    model.pipeline.enable_model_cpu_offload(device=model.device)
    try:
        yield
    finally:
        model.pipeline.remove_all_hooks()


@contextmanager
def _float_output(networks: Iterable[nn.Module], half: torch.dtype | None) -> Iterator[None]:
    """Make networks answer in float32 inside the `with` block, if they compute in half precision."""
    with ExitStack() as hooks:
        for network in networks if half is not None else ():
            hook = network.register_forward_hook(lambda _network, _inputs, output: (_floats(output[0]), *output[1:]))
            hooks.callback(hook.remove)
        yield


def _floats(output: Any) -> Any:
    """Return a network's result in float32: a tensor, or, of Z-Image, a list with one for each image."""
    return [one.float() for one in output] if isinstance(output, list) else output.float()


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
    from diffusers.image_processor import VaeImageProcessor

    processor = getattr(pipeline, "image_processor", None) or VaeImageProcessor()  # one of videos has none
    pixels: Any = processor.postprocess(decoded_pixels, output_type="np")
    if not np.isfinite(pixels).all():  # Pillow would make them black, and a scorer would score that
        raise ThumbtuneError(
            "The model generates NaN or infinite values and no image; check its weights and those of its LoRA.",
            code="model-not-finite",
        )
    return processor.numpy_to_pil(pixels)
