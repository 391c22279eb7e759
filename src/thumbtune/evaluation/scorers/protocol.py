"""The Protocol of a scorer: it gives a number to each image and its prompt."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor


@runtime_checkable
class Scorer(Protocol):
    """Gives a number to each image for its prompt; higher is better."""

    @property
    def id(self) -> str: ...

    @property
    def revision(self) -> str:
        """Version of the weights or the code; do not compare scores of different revisions."""
        ...

    @property
    def preprocessing(self) -> str: ...

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> Float[Tensor, "n"]: ...
