"""Scorers without published weights: tastes, the bundled judge, and functions in users' own files.

def score(images, prompts):     # lists of PIL images and of prompts, of equal length
    return [...]                # a number for each image; higher is better
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from thumbtune import plugins
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.evaluation.scorers import faithfulness
from thumbtune.evaluation.scorers.tastes import TASTES
from thumbtune.files import file_sha256

PLUGIN_PREPROCESSING = "own"  # of users' functions, whose scores are not cached
REVISION_LENGTH = 12  # characters of a hash


@dataclass(frozen=True)
class FunctionScorer:
    """A scorer around a function of images and prompts."""

    id: str
    revision: str
    function: Callable[[Sequence[Image], Sequence[str]], Any]
    preprocessing: str = "rgb/1"

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> Float[Tensor, "n"]:
        """Return one number for each image.

        Raises:
            ThumbtuneError: the function did not return numbers.
            UsageError: the function returned more or fewer numbers than images.
        """
        result = self.function(images, prompts)
        try:
            scores = torch.as_tensor(result, dtype=torch.float32).detach().cpu()
        except (TypeError, ValueError, RuntimeError) as error:
            raise ThumbtuneError(
                f"{self.id} did not return a list of numbers ({str(error)[:100]}).", code="scorer-not-numbers"
            ) from error
        if scores.shape != (len(images),):
            raise UsageError(
                f"{self.id} returned numbers of shape {tuple(scores.shape)} for {len(images)} images; "
                "return one number for each image.",
                code="scorer-wrong-count",
            )
        return scores


def taste_scorer(name: str) -> FunctionScorer:
    """Return the scorer of a named taste, which ignores prompts."""
    score = TASTES[name].score
    return FunctionScorer(name, "1", lambda images, prompts: [score(image) for image in images])


def faithfulness_scorer(folder: Path) -> FunctionScorer:
    """Return the scorer of the bundled judge, for emoji images.

    Raises:
        ThumbtuneError: when scoring, if a prompt mentions no concept that the judge knows.
    """
    judge = faithfulness.FaithfulnessJudge(folder)

    def score(images: Sequence[Image], prompts: Sequence[str]) -> Tensor:
        unknown = next((prompt for prompt in prompts if not judge.knows(prompt)), None)
        if unknown is not None:
            raise ThumbtuneError(
                f"The bundled judge knows no concept in the prompt {unknown[:60]!r}; use it only for emoji prompts.",
                code="scorer-unknown-concept",
            )
        return judge.score(images, prompts)

    revision = file_sha256(folder / "model.safetensors")[:REVISION_LENGTH]
    return FunctionScorer(faithfulness.NAME, revision, score, "judge/2")


def plugin_id(text: str) -> str:
    """Return `folder/my_file.py:score` as `my_file.py:score`; the folder does not change the scores."""
    file, _, function = text.rpartition(":")
    return f"{Path(file).name}:{function}"


def plugin_scorer(text: str) -> FunctionScorer:
    """Return the scorer of a user's `my_file:score`.

    Raises:
        UsageError: the file or the function does not exist.
    """
    function = plugins.load(text, "scorers")
    if not callable(function):
        raise UsageError(
            f"scorers: {text} is not a function; write `def score(images, prompts)`.", code="scorer-not-a-function"
        )
    revision = file_sha256(plugins.file_of(text))[:REVISION_LENGTH]
    return FunctionScorer(plugin_id(text), revision, function, PLUGIN_PREPROCESSING)
