"""Scorers that need no published weights: tastes, the bundled judge, and a function in a user's own file.

def score(images, prompts):     # lists of PIL images and of prompts, of equal length
    return [...]                # a number for each; higher is better
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from thumbtune import plugins as own
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.evaluation.scorers import judge
from thumbtune.evaluation.scorers.tastes import TASTES
from thumbtune.files import file_sha256

OWN = "own"  # the preprocessing of a user's function, whose scores are not remembered
SHORT = 12  # characters of a hash that name a revision


@dataclass(frozen=True)
class Plain:
    """A scorer around a function of images and prompts."""

    id: str
    revision: str
    read: Callable[[Sequence[Image], Sequence[str]], Any]
    preprocessing: str = "rgb/1"

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> Float[Tensor, "n"]:
        """One number for each image.

        Raises:
            ThumbtuneError: the function gave no numbers.
            UsageError: it gave more or fewer than there are images.
        """
        said = self.read(images, prompts)
        try:
            found = torch.as_tensor(said, dtype=torch.float32).detach().cpu()
        except (TypeError, ValueError, RuntimeError) as error:
            raise ThumbtuneError(f"{self.id} gave no list of numbers ({str(error)[:100]}).") from error
        if found.shape != (len(images),):
            raise UsageError(
                f"{self.id} gave numbers of shape {tuple(found.shape)} for {len(images)} images; give one for each."
            )
        return found


def of_taste(name: str) -> Plain:
    """A named taste, which looks at the image alone."""
    score = TASTES[name].score
    return Plain(name, "1", lambda images, prompts: [score(image) for image in images])


def of_judge(folder: Path) -> Plain:
    """The bundled judge of faithfulness, for emoji images.

    Raises:
        ThumbtuneError: through its scores, where a prompt names nothing that it knows.
    """
    one = judge.Judge(folder)

    def read(images: Sequence[Image], prompts: Sequence[str]) -> Tensor:
        strange = next((prompt for prompt in prompts if not one.knows(prompt)), None)
        if strange is not None:
            raise ThumbtuneError(f"The bundled judge knows nothing that {strange[:60]!r} names; ask it about emoji.")
        return one.score(images, prompts)

    return Plain(judge.NAME, file_sha256(folder / "model.safetensors")[:SHORT], read, "judge/1")


def id_of(text: str) -> str:
    """`folder/my_file.py:score` -> `my_file.py:score`: where a file lies says nothing of what it gives."""
    file, _, function = text.rpartition(":")
    return f"{Path(file).name}:{function}"


def of_file(text: str) -> Plain:
    """A user's `my_file:score`.

    Raises:
        UsageError: there is no such file or function.
    """
    function = own.load(text, "scorers")
    if not callable(function):
        raise UsageError(f"scorers: {text} is no function; write `def score(images, prompts)`.")
    return Plain(id_of(text), file_sha256(own.file_of(text))[:SHORT], function, OWN)
