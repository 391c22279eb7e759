"""What a family of networks must offer. An adapter overrides only what differs; one contract suite tests them all."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor, nn

from thumbtune.models.process import Latents, Process, Times

# what a network is told beside the noisy latents; every tensor has one row per image
Condition = dict[str, Float[Tensor, "b *rest"]]


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How images are drawn from a model: denoising steps and classifier-free guidance."""

    steps: int = 25
    guidance: float = 3.0
    size: int | None = None  # pixels a side; None: the model's own


@runtime_checkable
class Trained(Protocol):
    """What is trained of a network, and the frozen reference that this leaves; the methods are those of `Model`."""

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
        """Prepare a network for training; what is drawn at random follows from the seed."""
        ...


@runtime_checkable
class Model(Protocol):
    """A network in training, its frozen reference, and the parts that turn people's images and words into tensors.

    network: what Accelerate wraps; `predict` calls it
    process: how this family noises images
    """

    network: nn.Module

    @property
    def process(self) -> Process: ...

    def fingerprint(self) -> str:
        """Changes when `encode` or `embed` would give other numbers: part of every key of the cache."""
        ...

    def encode(self, images: Sequence[Image]) -> Latents:
        """Images -> scaled latents, without randomness (the mean of the posterior), float32 on the CPU."""
        ...

    def embed(self, prompts: Sequence[str]) -> Condition:
        """Prompts -> what the network is told, float32 on the CPU. The empty prompt is the unconditional one."""
        ...

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        """The network's output, comparable with `process.target`."""
        ...

    def reference(self) -> AbstractContextManager[None]:
        """Inside it, `predict` answers for the frozen reference."""
        ...

    def freeze_reference(self) -> None:
        """Make the present policy the reference."""
        ...

    def reference_state(self) -> dict[str, Tensor]:
        """What makes the reference another than the model's first one; empty where it is that one."""
        ...

    def restore_reference(self, state: dict[str, Tensor]) -> None:
        """Take a reference from what `reference_state` gave."""
        ...

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters that training changes; the names are those of the checkpoint."""
        ...

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], sampler: Sampler) -> list[Image]:
        """One image per prompt and seed; the same seed gives the same initial noise whatever the batch."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was tuned, in the formats that other programs load."""
        ...

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        ...
