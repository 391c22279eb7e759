"""What a scorer must offer."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor


@runtime_checkable
class Scorer(Protocol):
    """Says how good an image is for its prompt; higher is better."""

    @property
    def id(self) -> str: ...

    @property
    def revision(self) -> str:
        """Which weights, or which code: scores of different revisions are not to be compared."""
        ...

    @property
    def preprocessing(self) -> str: ...

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> Float[Tensor, "n"]: ...
