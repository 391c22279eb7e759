"""The protocol of a family of networks. One test suite checks every family."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor, nn

from thumbtune.models.family import Family
from thumbtune.models.noise_levels import NoiseLevels
from thumbtune.models.process import Latents, Process, Times
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.sides import Size

# a network's inputs besides the noisy latents; every tensor has one row per image
Condition = dict[str, Float[Tensor, "b *rest"]]


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Options of generating images: steps, classifier-free guidance, size, what they should not show, and frames."""

    steps: int = 25
    guidance: float = 3.0
    size: Size | None = None  # None: the model's own
    negative: str = ""  # what guidance leads away from; "": from no prompt
    frames: int = 1  # of a clip: as many of them as the family's clips can have


@runtime_checkable
class Trained(Protocol):
    """The trained part of a network, and its frozen reference; the methods are those of `Model`."""

    def reference(self) -> AbstractContextManager[None]: ...

    def freeze_reference(self) -> None: ...

    def reference_state(self) -> dict[str, Tensor]: ...

    def restore_reference(self, state: dict[str, Tensor]) -> None: ...

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]: ...

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...


@runtime_checkable
class Tuning(Protocol):
    """A way to tune a network: a LoRA on it, or all of it."""

    def on(self, network: nn.Module, seed: int = 0) -> Trained:
        """Prepare a network for training, and return it with its reference; the seed determines random weights."""
        ...


@runtime_checkable
class Model(Protocol):
    """A network in training, its frozen reference, and the parts that turn images and prompts into tensors.

    network: the module that `predict` calls
    process: the noise process of this family
    """

    network: nn.Module

    @property
    def process(self) -> Process: ...

    def fingerprint(self) -> str:
        """Return a hash that changes if the results of `encode`, `image_condition` or `embed` change."""
        ...

    def fingerprints(self) -> tuple[str, str]:
        """Return a hash that changes if the results of `encode` or `image_condition` change, and `fingerprint()`.

        The keys of cached tensors contain them: the first is in those of images, the second in those of prompts.
        """
        ...

    def encode(self, images: Sequence[Image], size: Size | None = None) -> Latents:
        """Return scaled latents of images, without randomness (the mean of the posterior), float32 on the CPU.

        A family of clips encodes all frames of a `Clip`, and any other family the first one. All have one shape.

        size: the pixels that each image is resized and cropped to, at its centre; None: the model's own
        """
        ...

    def image_condition(self, images: Sequence[Image], size: Size | None = None) -> Condition:
        """Return what the network is told of the images themselves, such as their sizes; {} if that is nothing.

        It belongs to the image and not to its prompt: an image that loses its prompt keeps it.

        size: as in `encode`
        """
        ...

    def embed(self, prompts: Sequence[str]) -> Condition:
        """Return the condition of prompts, float32 on the CPU. The empty prompt is the unconditional one."""
        ...

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        """Return the network's output, comparable with `process.target`."""
        ...

    def reference(self) -> AbstractContextManager[None]:
        """Make `predict` use the frozen reference inside the `with` block."""
        ...

    def freeze_reference(self) -> None:
        """Make the present policy the reference."""
        ...

    def reference_state(self) -> dict[str, Tensor]:
        """Return the tensors of a synced reference; empty before the first sync."""
        ...

    def restore_reference(self, state: dict[str, Tensor]) -> None:
        """Restore a reference from the tensors that `reference_state` returned."""
        ...

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the names and parameters that training changes; checkpoints use the same names."""
        ...

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], sampler: Sampler) -> list[Image]:
        """Return one image per prompt and seed; a seed gives the same initial noise in any batch."""
        ...

    def save(self, folder: Path) -> None:
        """Write the tuned weights, in formats that other programs load."""
        ...

    def load(self, folder: Path) -> None:
        """Read the weights that `save` wrote."""
        ...


@runtime_checkable
class PipelineModel(Model, Protocol):
    """A `Model` that is made of a pipeline of diffusers.

    complete: what `generate` makes of each prompt, such as the prefix that a training put before prompts
    family: what is known of its kind before any weights
    half: the type below float32 in which frozen weights are stored and images are drawn, or None
    encoding: how prompts are read
    networks: those that are trained, by the part of the pipeline; it calls them to denoise
    size: pixels of its images: of both sides, or (height, width)
    trained_unit, unit: pixels of which the sides of images are multiples, in training and in drawing
    """

    family: ClassVar[Family]
    pipeline: Any
    complete: Callable[[str], str]
    half: torch.dtype | None
    encoding: PromptEncoding
    networks: dict[str, nn.Module]
    size: Size
    trained_unit: int
    unit: int

    @property
    def device(self) -> torch.device:
        """Return the device that computes."""
        ...

    @property
    def longest(self) -> int | None:
        """Return the longest side in pixels for which the network has positions; None: any side."""
        ...

    @property
    def frame_step(self) -> int:
        """Return the frames of which a clip has a multiple and one more; only of families with clips."""
        ...

    @property
    def frame_rate(self) -> int:
        """Return the frames a second of a clip; 0 of families without clips."""
        ...

    def read_prompts(self, encoding: PromptEncoding) -> None:
        """Read prompts in another way from now on.

        Raises:
            UsageError: its text encoders have no such layer.
        """
        ...

    def choose_noise_levels(self, levels: NoiseLevels) -> None:
        """Draw and weigh noise levels in another way from now on.

        Raises:
            UsageError: only models of rectified flow have one of these options.
        """
        ...

    def to(self, device: torch.device | str) -> "PipelineModel":
        """Move every part to a device, and return the model."""
        ...

    def on(self, device: torch.device | str) -> "PipelineModel":
        """Compute on a device from now on, to which each part moves when it is used; return the model."""
        ...

    @property
    def beside(self) -> tuple[nn.Module, ...]:
        """Return the networks that `predict` does not need: the VAE and the text encoders."""
        ...

    def rest(self) -> None:
        """Move the network to the device, and the parts that `predict` does not need away from it.

        `encode`, `embed` and `generate` bring those back.
        """
        ...
